/** Plan locks as files: `<name>.plan.json` beside the topology's module, committed with it. */
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Change, compareLocks, factsOf, lockOf, lockText, type PlanLock, parseLock } from '../plan/lock.ts'
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
}

type Place = Pick<Loaded, 'topology' | 'folder'>

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
 * @throws TidemarkError PLAN_LOCK_INVALID, PLAN_REFUSED
 */
export function planned(place: Place): Planned {
  const lock = lockAt(place)
  const facts = factsOf(lock)
  return { plan: planOf(place.topology.graph, facts), facts, lock, file: fileOf(place) }
}

/** How the plan differs from its lock, worst first. */
export function changesOf({ plan, lock }: Planned): readonly Change[] {
  return lock === undefined ? [] : compareLocks(lock, lockOf(plan))
}

/** Agrees on the plan. Names that stores had before are kept as long as their store is there. */
export async function writeLock({ plan, lock, file }: Planned): Promise<void> {
  await writeFile(file, lockText(withOldNames(lockOf(plan), lock)))
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
