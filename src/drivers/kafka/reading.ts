/**
 * What the error of a partition means to who reads it, number by number, and how long it may go on. Reading twice changes nothing, so what may pass
 * is asked for again for as long as it takes, less and less often, and told after a while; the other partitions are read meanwhile. What will not
 * pass by itself ends the reading of that partition at once.
 *
 * | the broker answers | it means |
 * |---|---|
 * | OFFSET_OUT_OF_RANGE | the position is measured against the log: a gap, or the leader is behind (`measure`) |
 * | a leader that is none, is not ready, or has lost its disk; a topic that is not there, or has another id | who leads is asked again (`moved`) |
 * | UNKNOWN_SERVER_ERROR, time-outs, fetch sessions, tiers, numbers newer than this file | the same is asked again (`again`) |
 * | CORRUPT_MESSAGE | for some seconds again, of another leader if there is one; then the log is damaged (`damaged`) |
 * | a right that is missing, a request that it does not take | nothing helps but a person (`refused`) |
 */

import { TidemarkError } from '../../base/errors.ts'
import { readableMs } from '../../base/time.ts'
import type { PartitionName } from '../../ports/log.ts'
import { unreachable } from './failures.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'

export type ReadVerdict = 'measure' | 'moved' | 'again' | 'damaged' | 'refused'

/** What Fetch and ListOffsets may answer for a partition, and what is done about it. Whatever is not here is asked for again. */
export const READ_VERDICTS: ReadonlyMap<number, ReadVerdict> = new Map<number, ReadVerdict>([
  [E.OFFSET_OUT_OF_RANGE, 'measure'],
  [E.UNKNOWN_TOPIC_OR_PARTITION, 'moved'],
  [E.LEADER_NOT_AVAILABLE, 'moved'],
  [E.NOT_LEADER_OR_FOLLOWER, 'moved'],
  [E.REPLICA_NOT_AVAILABLE, 'moved'],
  [E.KAFKA_STORAGE_ERROR, 'moved'],
  [E.LISTENER_NOT_FOUND, 'moved'],
  [E.FENCED_LEADER_EPOCH, 'moved'],
  [E.UNKNOWN_LEADER_EPOCH, 'moved'],
  [E.OFFSET_NOT_AVAILABLE, 'moved'],
  [E.UNKNOWN_TOPIC_ID, 'moved'],
  [E.INCONSISTENT_TOPIC_ID, 'moved'],
  [E.NEW_LEADER_ELECTED, 'moved'],
  [E.UNKNOWN_SERVER_ERROR, 'again'],
  [E.REQUEST_TIMED_OUT, 'again'],
  [E.BROKER_NOT_AVAILABLE, 'again'],
  [E.NETWORK_EXCEPTION, 'again'],
  [E.FETCH_SESSION_ID_NOT_FOUND, 'again'],
  [E.INVALID_FETCH_SESSION_EPOCH, 'again'],
  [E.FETCH_SESSION_TOPIC_ID_ERROR, 'again'],
  [E.THROTTLING_QUOTA_EXCEEDED, 'again'],
  [E.OFFSET_MOVED_TO_TIERED_STORAGE, 'again'],
  [E.CORRUPT_MESSAGE, 'damaged'],
  [E.INVALID_FETCH_SIZE, 'refused'],
  [E.INVALID_TOPIC_EXCEPTION, 'refused'],
  [E.TOPIC_AUTHORIZATION_FAILED, 'refused'],
  [E.CLUSTER_AUTHORIZATION_FAILED, 'refused'],
  [E.UNSUPPORTED_VERSION, 'refused'],
  [E.INVALID_REQUEST, 'refused'],
  [E.UNSUPPORTED_FOR_MESSAGE_FORMAT, 'refused'],
  [E.POLICY_VIOLATION, 'refused'],
  [E.UNSUPPORTED_COMPRESSION_TYPE, 'refused'],
])

export function readVerdict(error: number): ReadVerdict {
  return READ_VERDICTS.get(error) ?? 'again'
}

/** An error that a partition has been answered with since it was last read. */
export interface Trouble {
  readonly error: number
  /** ms by the monotonic clock. */
  readonly since: number
  readonly times: number
  /** When the caller is to hear of it, ms by the monotonic clock. */
  readonly tellAt: number
}

/** How long a partition may be unreadable before the caller hears of it, and how often it hears again, ms. */
const TELL_FIRST_MS = 10_000
const TELL_AGAIN_MS = 60_000
const AGAIN_MS_MIN = 20
const AGAIN_MS_MAX = 1_000
/** How long a batch is asked for whose bytes are wrong, ms. */
const DAMAGED_MS = 3_000

export function troubled(before: Trouble | undefined, error: number, now: number): Trouble {
  return {
    error,
    since: before?.since ?? now,
    times: (before?.times ?? 0) + 1,
    tellAt: before?.tellAt ?? now + TELL_FIRST_MS,
  }
}

export function toldOf(trouble: Trouble, now: number): Trouble {
  return { ...trouble, tellAt: now + TELL_AGAIN_MS }
}

/** How long to wait before the partition is asked for again, ms. */
export function troubleMs({ times }: Trouble): number {
  return Math.min(AGAIN_MS_MAX, AGAIN_MS_MIN * 2 ** Math.min(times - 1, 10))
}

/** Whether the broker has had enough chances to find other bytes. */
export function isDamage({ error, since }: Trouble, now: number): boolean {
  return readVerdict(error) === 'damaged' && now - since >= DAMAGED_MS
}

/** Tells of trouble that may pass. */
export function unreadable(name: PartitionName, node: number | undefined, { error, since }: Trouble, now: number): TidemarkError {
  const { name: number, sentence } = kafkaError(error)
  const who = node === undefined || node < 0 ? 'The brokers have' : `Broker ${node}, which leads it, has`
  return new TidemarkError('PARTITION_UNREADABLE', `partition ${name} cannot be read at the moment`, {
    detail: `${who} answered ${number} for ${readableMs(now - since)}: ${sentence}.`,
    hint: 'It is asked for again until it can be read, and nothing is lost. The log of the broker says why.',
  })
}

/** Tells that nobody answers for a partition. */
export function silent(name: PartitionName, node: number | undefined, why: unknown): TidemarkError {
  const cause = why ?? new Error(node === undefined ? 'nobody has heard of the partition' : 'it does not answer')
  return unreachable(`reading ${name}`, `broker ${node ?? '?'}`, cause)
}
