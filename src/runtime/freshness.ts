/**
 * How fresh a projection is: for each fact that it follows, the age of the oldest one that may be missing, held against the window that the
 * projection declares for it. The worst fact decides.
 */

import { originText } from '../contract/envelope.ts'
import type { Freshness, WindowMs } from '../contract/window.ts'
import type { PartitionName } from '../ports/log.ts'
import { topicPartition } from '../ports/log.ts'
import type { Parked } from '../topology/node.ts'
import type { Frontier } from './frontier.ts'

/** A source that was not heard from for so long is not known to be idle, ms. */
const SILENCE_MS = 30_000

export interface FreshnessQuestion {
  readonly now: number
  /** The log partition that the projection's task reads. */
  readonly partition: PartitionName
  /** Each fact with its window, and its source partitions where the projection reads them through an inbox. */
  readonly facts: readonly {
    readonly fact: string
    readonly window: WindowMs
    readonly behindInbox: readonly PartitionName[] | undefined
  }[]
  readonly parked: Parked | undefined
  /** Share of the restore that is done, while one runs. */
  readonly restoring: number | undefined
}

export function freshnessOf(frontier: Frontier, question: FreshnessQuestion): Freshness {
  const { now, partition, facts, parked, restoring } = question
  if (restoring !== undefined) return { state: 'restoring', done: restoring }
  const heard = frontier.heardAt(partition)
  if (heard === undefined) return { state: 'unknown', reason: 'its log has not been read yet' }
  if (now - heard > SILENCE_MS) return { state: 'unknown', reason: 'its log has not answered for a while' }
  let worstAge = 0
  let worstOverrun = Number.NEGATIVE_INFINITY
  for (const { fact, window, behindInbox } of facts) {
    const through = behindInbox === undefined ? frontier.reachedAt(partition, now) : leastThrough(frontier, partition, behindInbox)
    if (through === undefined) return { state: 'unknown', reason: `nothing is known of the sources of "${fact}" yet` }
    const age = Math.max(0, now - through)
    worstAge = Math.max(worstAge, age)
    worstOverrun = Math.max(worstOverrun, age - window.targetMs)
  }
  if (facts.length === 0) {
    const through = frontier.reachedAt(partition, now)
    if (through === undefined) return { state: 'unknown', reason: 'nothing of its log has been processed yet' }
    worstAge = Math.max(0, now - through)
  }
  const { topic, partition: number } = topicPartition(partition)
  const asOf = originText(topic, number, (frontier.asOf(partition) ?? 0) - 1)
  if (parked !== undefined) return { state: 'stale', ageMs: worstAge, overrunMs: Math.max(0, worstOverrun), asOf, parked }
  return worstOverrun <= 0 ? { state: 'fresh', ageMs: worstAge, asOf } : { state: 'stale', ageMs: worstAge, overrunMs: worstOverrun, asOf }
}

/** The source that is furthest behind decides, because a fact of any of them may concern any row. */
function leastThrough(frontier: Frontier, inbox: PartitionName, sources: readonly PartitionName[]): number | undefined {
  const through = frontier.throughInbox(inbox)
  let least = Number.POSITIVE_INFINITY
  for (const source of sources) {
    const at = through.get(source)
    if (at === undefined) return undefined
    least = Math.min(least, at)
  }
  return least
}
