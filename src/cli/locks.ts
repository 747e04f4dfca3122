/** Plan locks as files: `<name>.plan.json` beside the topology's module, committed with it. */
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'
import {
  type Change,
  compareLocks,
  factsOf,
  givingUp,
  isPlanned,
  lockOf,
  lossesBetween,
  type PlanLock,
  withoutGivenUp,
} from '../plan/lock.ts'
import { lockText, parseLock } from '../plan/lock-text.ts'
import type { Plan, PlanFacts } from '../plan/plan.ts'
import { planOf } from '../plan/planner.ts'
import type { Loaded } from './load.ts'

export interface Planned {
  readonly plan: Plan
  readonly facts: PlanFacts
  /** The lock as committed; undefined where there is none yet. */
  readonly lock: PlanLock | undefined
  /** Where it lies, or would. */
  readonly file: string
  /** What the command line calls the topology. */
  readonly name: string
}

type Place = Pick<Loaded, 'topology' | 'folder' | 'name'>

function fileOf({ topology, folder }: Place): string {
  return join(folder, `${topology.name}.plan.json`)
}

/** The committed lock of a topology, or undefined where there is none yet. @throws TidemarkError PLAN_LOCK_INVALID */
export function lockAt(place: Place): PlanLock | undefined {
  const file = fileOf(place)
  return existsSync(file) ? parseLock(readFileSync(file, 'utf8'), file) : undefined
}

/**
 * The plan of a topology, with the numbers that its lock has given.
 * @param givenUp state that is given up: its numbers go to nothing else
 * @throws TidemarkError PLAN_LOCK_INVALID, PLAN_REFUSED
 */
export function planned(place: Place, givenUp: readonly string[] = []): Planned {
  const lock = lockAt(place)
  const facts = factsOf(lock === undefined ? undefined : withoutGivenUp(lock, givenUp))
  return { plan: planOf(place.topology.graph, facts), facts, lock, file: fileOf(place), name: place.name }
}

/** How the plan differs from its lock, worst first. */
export function changesOf({ plan, lock, name }: Planned): readonly Change[] {
  return lock === undefined ? [] : compareLocks(lock, lockOf(plan), name)
}

/** What the lock knows and the plan has no use for, as `--give-up` names it. */
export function lossesOf({ plan, lock }: Planned): readonly string[] {
  return lock === undefined ? [] : lossesBetween(lock, lockOf(plan))
}

/**
 * Agrees on the plan. Names that stores had before are kept as long as their store is there, and what was given up for those that have not
 * started since.
 * @throws TidemarkError OPTION_INVALID for what is given up and in use, or not known, PLAN_REFUSED for state that the lock would forget without a word
 */
export async function writeLock(made: Planned, givenUp: readonly string[]): Promise<void> {
  const { plan, lock, file, name } = made
  const next = lockOf(plan)
  const used = givenUp.find((entry) => isPlanned(entry, next))
  if (used !== undefined)
    throw new TidemarkError('OPTION_INVALID', `"${used}" is in the plan, so it is not given up`, {
      hint: 'Give up what steps kept that are gone, as "tidemark plan --check" names it.',
    })
  refuseUnknown(made, givenUp)
  const unsaid = lossesOf(made).filter((entry) => !givenUp.includes(entry))
  if (unsaid.length > 0)
    throw new TidemarkError('PLAN_REFUSED', `the lock would forget state: ${unsaid.join(', ')}`, {
      detail: 'An application that has run has rows there, and would not start.',
      hint: `Where a step was renamed, keep its state: give its entry in the lock the new name, and add "was" with the old one. If it may go: ${givingUp([...givenUp, ...unsaid], name)}`,
    })
  const all = [...new Set([...(lock?.givenUp ?? []), ...givenUp])].filter((entry) => !isPlanned(entry, next)).sort()
  await writeFile(file, lockText({ ...withOldNames(next, lock), ...(all.length === 0 ? {} : { givenUp: all }) }))
}

/** What a lock does not know it cannot give up: a mistyped name would be told as done. Without a lock there is nothing to look in. */
function refuseUnknown(made: Planned, givenUp: readonly string[]): void {
  const { lock } = made
  if (lock === undefined) return
  const known = [
    ...Object.keys(lock.stages),
    ...Object.entries(lock.stores).map(([name, { stage }]) => `${stage}/${name}`),
    ...(lock.givenUp ?? []),
  ]
  const unknown = givenUp.find((entry) => !known.includes(entry))
  if (unknown === undefined) return
  const losses = lossesOf(made)
  const meant = nearest(unknown, losses)
  throw new TidemarkError('OPTION_INVALID', `the lock has no "${unknown}" that could be given up`, {
    detail: losses.length === 0 ? 'The plan has a use for all state that the lock knows.' : `What may be given up is ${losses.join(', ')}.`,
    hint: `${meant === undefined ? '' : `Did you mean "${meant}"? `}Where a start names it all the same (PLAN_CHANGED), the lock was made anew since that ran: write the name under "givenUp" in ${made.file}.`,
  })
}

function withOldNames(next: PlanLock, before: PlanLock | undefined): PlanLock {
  const stores = Object.entries(next.stores).map(([name, store]) => {
    const was = before?.stores[name]?.was
    return [name, was === undefined ? store : { ...store, was }] as const
  })
  return { ...next, stores: Object.fromEntries(stores) }
}

/** A difference and what to do about it, as lines. */
export function changeLines({ effect, what, then }: Change): string[] {
  return [`${EFFECTS[effect]}: ${what}`, `  ${then}`]
}

const EFFECTS: Readonly<Record<Change['effect'], string>> = { safe: 'safe', rebuild: 'needs a rebuild', refused: 'refused' }
