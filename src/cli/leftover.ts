/** What was not applied although everything has been processed: rows that could not be read, records that are dead, keys that are parked. */
import type { Plan } from '../plan/plan.ts'
import type { Log } from '../ports/log.ts'
import { readDecisions } from '../runtime/decisions.ts'
import type { RunningFeed } from '../runtime/feed.ts'
import { letterName, letterTopics, readLetters } from '../runtime/letters.ts'
import type { Meter } from './meter.ts'
import { grouped } from './render.ts'

export interface Leftover {
  /** Rows of the feed's input that could not be read. */
  readonly rows: number
  /** Dead letters, of earlier runs as well, that were not redriven and that the feed did not break on purpose. */
  readonly dead: number
  /** Keys that were parked in this run and still are. */
  readonly parked: number
  /** Dead letters that the feed meant to be dead. */
  readonly meant: number
}

/** @throws TidemarkError LOG_*, BROKER_* */
export async function leftOver(log: Log, plan: Plan, feed: RunningFeed | undefined, meter: Meter): Promise<Leftover> {
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
  const parked = Math.max(0, meter.of('parked') - meter.of('unparked'))
  return { rows: feed?.problems.length ?? 0, dead, parked, meant }
}

export function isWhole({ rows, dead, parked }: Leftover): boolean {
  return rows + dead + parked === 0
}

/** What is left, in one line. @param more the command that tells more of dead letters */
export function leftLine({ rows, dead, parked }: Leftover, more: string): string {
  const parts = [
    ...(rows === 0 ? [] : [`${grouped(rows)} ${rows === 1 ? 'row' : 'rows'} of the input could not be read`]),
    ...(dead === 0 ? [] : [`${grouped(dead)} ${dead === 1 ? 'record is' : 'records are'} dead (${more} says why)`]),
    ...(parked === 0 ? [] : [`${grouped(parked)} ${parked === 1 ? 'key is' : 'keys are'} parked`]),
  ]
  return `NOT everything was applied: ${parts.join(', ')}.`
}
