/** What was not applied although everything has been processed: rows that could not be read, records that are dead, facts that are held. */
import type { Plan } from '../plan/plan.ts'
import type { Log } from '../ports/log.ts'
import { readDecisions } from '../runtime/decisions.ts'
import type { RunningFeed } from '../runtime/feed.ts'
import { type Held, type HeldAt, heldTogether } from '../runtime/held.ts'
import { letterName, letterTopics, readLetters } from '../runtime/letters.ts'
import { grouped } from './render.ts'

export interface Leftover {
  /** Rows of the feed's input that could not be read. */
  readonly rows: number
  /** Dead letters, of earlier runs as well, that were not redriven and that the feed did not break on purpose. */
  readonly dead: number
  /** Facts that are held, since earlier runs as well: of keys that are parked, and of others that wait for a predecessor. */
  readonly held: number
  /** Keys that they are held of. */
  readonly keys: number
  /** Those of the keys that are parked. */
  readonly parked: number
  /** Steps that hold them. */
  readonly steps: readonly string[]
  /** Dead letters that the feed meant to be dead. */
  readonly meant: number
}

/**
 * @param held what each step holds
 * @throws TidemarkError LOG_*, BROKER_*
 */
export async function leftOver(log: Log, plan: Plan, feed: RunningFeed | undefined, held: readonly HeldAt[]): Promise<Leftover> {
  const live = new Set(plan.topics.map(({ name }) => name))
  const { redriven } = await readDecisions(log, plan.app)
  let dead = 0
  let meant = 0
  for (const of of await letterTopics(log, plan.graph)) {
    // What is dead in a generation that was replaced has been read again.
    if (!live.has(of.topic)) continue
    for await (const letter of readLetters(log, of)) {
      if (redriven.has(letterName(letter))) continue
      if (letter.id !== undefined && feed?.broken?.has(letter.id) === true) meant += 1
      else dead += 1
    }
  }
  const { facts, keys, parked } = heldTogether(held)
  const steps = held.filter((each) => each.facts > 0).map(({ step }) => step)
  return { rows: feed?.problems.length ?? 0, dead, held: facts, keys, parked, steps, meant }
}

export function isWhole({ rows, dead, held }: Leftover): boolean {
  return rows + dead + held === 0
}

/** What is left, in one line. @param more the command that tells more of dead letters */
export function leftLine({ rows, dead, held, keys, parked, steps }: Leftover, more: string): string {
  const parts = [
    ...(rows === 0 ? [] : [`${grouped(rows)} ${rows === 1 ? 'row' : 'rows'} of the input could not be read`]),
    ...(dead === 0 ? [] : [`${grouped(dead)} ${dead === 1 ? 'record is' : 'records are'} dead (${more} says why)`]),
    ...(held === 0 ? [] : [`${heldText({ facts: held, keys, parked })} at ${steps.map((step) => `"${step}"`).join(', ')}`]),
  ]
  return `NOT everything was applied: ${parts.join(', ')}.`
}

/** @example heldText({ facts: 12, keys: 4, parked: 1 }) // '12 facts of 4 keys are held (1 parked)' */
export function heldText({ facts, keys, parked }: Held): string {
  const whose = `${grouped(keys)} ${keys === 1 ? 'key' : 'keys'}`
  return `${grouped(facts)} ${facts === 1 ? 'fact of' : 'facts of'} ${whose} ${facts === 1 ? 'is' : 'are'} held${parked === 0 ? '' : ` (${grouped(parked)} parked)`}`
}
