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
import type { Ways } from './heard.ts'

/** A source that was not heard from for so long is not known to be idle, ms. */
const SILENCE_MS = 30_000

const BARRED = 'the number of partitions has changed of'

export interface FreshnessQuestion {
  readonly now: number
  /** The log partition that the projection's task reads. */
  readonly partition: PartitionName
  /** Each fact with its window, and how it comes from its source partitions where the projection reads them through an inbox. */
  readonly facts: readonly {
    readonly fact: string
    readonly window: WindowMs
    readonly behindInbox: Ways | undefined
  }[]
  /** Where the projection reads an inbox, how all that it follows comes into it. */
  readonly behindInbox: Ways | undefined
  readonly parked: Parked | undefined
  /** Share of the restore that is done, while one runs. */
  readonly restoring: number | undefined
}

export function freshnessOf(frontier: Frontier, question: FreshnessQuestion): Freshness {
  const { now, partition, facts, behindInbox, parked, restoring } = question
  if (restoring !== undefined) return { state: 'restoring', done: restoring }
  const heard = frontier.heardAt(partition)
  if (heard === undefined)
    return { state: 'unknown', reason: 'its log is not read here: another worker has its task, or it is not open yet' }
  if (now - heard > SILENCE_MS) return { state: 'unknown', reason: 'its log has not answered for a while' }
  let worstAge = 0
  let worstOverrun = Number.NEGATIVE_INFINITY
  for (const { fact, window, behindInbox: ways } of facts) {
    const age = ageOf(frontier, partition, ways, now)
    if (typeof age === 'string') return { state: 'unknown', reason: `${age} the sources of "${fact}"` }
    worstAge = Math.max(worstAge, age)
    worstOverrun = Math.max(worstOverrun, age - window.targetMs)
  }
  if (facts.length === 0) {
    const age = ageOf(frontier, partition, behindInbox, now)
    if (typeof age === 'string') return { state: 'unknown', reason: `${age} its sources` }
    worstAge = age
  }
  const { topic, partition: number } = topicPartition(partition)
  const asOf = originText(topic, number, (frontier.asOf(partition) ?? 0) - 1)
  if (parked !== undefined) return { state: 'stale', ageMs: worstAge, overrunMs: Math.max(0, worstOverrun), asOf, parked }
  return worstOverrun <= 0 ? { state: 'fresh', ageMs: worstAge, asOf } : { state: 'stale', ageMs: worstAge, overrunMs: worstOverrun, asOf }
}

/** The age of the oldest fact that may be missing, ms; or, before the name of its sources, why that is not known. */
function ageOf(frontier: Frontier, log: PartitionName, ways: Ways | undefined, now: number): number | string {
  if (ways === undefined) {
    if (frontier.isBarred(log)) return BARRED
    const through = frontier.reachedAt(log, now)
    return through === undefined ? 'nothing has been processed yet of' : Math.max(0, now - through)
  }
  // The source that is furthest behind decides, because a fact of any of them may concern any row.
  let age = 0
  for (const [source, each] of ways) {
    if (frontier.isBarred(source)) return BARRED
    const through = frontier.throughInbox(log, source, each)
    if (through === undefined) return 'nothing is known yet of'
    const heard = Math.max(through, frontier.sourceHeardAt(source) ?? through)
    if (now - heard > SILENCE_MS) return 'nothing has been heard for a while of'
    age = Math.max(age, now - through)
  }
  return age
}
