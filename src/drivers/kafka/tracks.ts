/** Partitions that a reader reads, and how they are asked for. */
import { type Fetched, type Isolation, type PartitionName, topicPartition } from '../../ports/log.ts'
import type { PartitionLeader } from './cluster.ts'
import type { Trouble } from './reading.ts'
import type { FetchPartitionRequest, FetchRequest, FetchResponse } from './wire/fetch.ts'
import { READ_COMMITTED, READ_UNCOMMITTED } from './wire/parts.ts'

/** What a partition may fill of an answer although others are asked for as well, bytes: batches are not small. */
const SHARE_BYTES_MIN = 256 * 1024
/** An answer with fewer bytes is part of a trickle. */
const TRICKLE_BYTES = 64 * 1024

/** A partition that is read. A new assignment makes new ones, but for those that go on where they are. */
export interface Track {
  readonly name: PartitionName
  readonly topic: string
  readonly partition: number
  position: number
  /** Of the record before the position, so that a log that was cut below it is noticed; -1 when it is not known. */
  lastEpoch: number
  /** Of the topic that the position belongs to. */
  topicId: string | undefined
  /** Answered, and not handed out yet. */
  ready: Fetched | undefined
  /** In a request that is on its way. */
  asked: boolean
  /** Who leads it must be asked for first. */
  lost: boolean
  /** Look-ups that did not help. */
  misses: number
  /** Since when no broker has heard of it, ms by the monotonic clock. */
  missingSince: number | undefined
  /** Since when brokers say that the topic is another one, ms by the monotonic clock. */
  strangeSince: number | undefined
  /** Not asked for before, ms by the monotonic clock. */
  notBefore: number
  /** When the last request was sent that found nothing. */
  quietAt: number
  /** When a broker last answered for it, be it with an error, ms by the monotonic clock. */
  heardAt: number
  /** What it is answered with instead of records. */
  trouble: Trouble | undefined
}

/**
 * @param lastEpoch of the record before the position; -1 when it is not known
 * @param known the track that the last assignment had of it: it goes on when it is where the new one begins
 */
export function trackOf(name: PartitionName, position: number, lastEpoch: number, known: Track | undefined): Track {
  if (!Number.isSafeInteger(position) || position < 0) throw new TypeError(`a position is an offset, not ${position} (${name})`)
  if (known?.position === position) return known
  return {
    name,
    ...topicPartition(name),
    position,
    lastEpoch,
    topicId: known?.topicId,
    ready: undefined,
    asked: false,
    lost: false,
    misses: 0,
    missingSince: undefined,
    strangeSince: undefined,
    notBefore: 0,
    quietAt: Number.NEGATIVE_INFINITY,
    heardAt: Number.NEGATIVE_INFINITY,
    trouble: undefined,
  }
}

/** The Fetch that asks one broker for partitions, in this order: only the first is sure to be answered. */
export function requestFor(
  of: readonly { readonly track: Track; readonly leader: PartitionLeader }[],
  { bytes, waitMs, isolation }: { readonly bytes: number; readonly waitMs: number; readonly isolation: Isolation },
): FetchRequest {
  const share = Math.max(Math.floor(bytes / of.length), Math.min(bytes, SHARE_BYTES_MIN))
  const topics: { topic: string; partitions: FetchPartitionRequest[] }[] = []
  for (const { track, leader } of of) {
    const wanted: FetchPartitionRequest = {
      partition: track.partition,
      currentLeaderEpoch: leader.epoch,
      fetchOffset: track.position,
      lastFetchedEpoch: track.lastEpoch,
      partitionMaxBytes: share,
    }
    const last = topics.at(-1)
    if (last?.topic === track.topic) last.partitions.push(wanted)
    else topics.push({ topic: track.topic, partitions: [wanted] })
  }
  const isolationLevel = isolation === 'committed' ? READ_COMMITTED : READ_UNCOMMITTED
  return { maxWaitMs: Math.ceil(waitMs), minBytes: 1, maxBytes: bytes, isolationLevel, topics }
}

/** When the first of some partitions may be asked for that may not be now, or is to be told of, ms by the monotonic clock. */
export function dueOf(tracks: readonly Track[], now: number): number {
  let due = Number.POSITIVE_INFINITY
  for (const { notBefore, trouble } of tracks) {
    if (notBefore > now) due = Math.min(due, notBefore)
    if (trouble !== undefined && trouble.tellAt > now) due = Math.min(due, trouble.tellAt)
  }
  return due
}

export function isTrickle({ topics }: FetchResponse): boolean {
  let bytes = 0
  for (const { partitions } of topics) for (const { records } of partitions) bytes += records?.length ?? 0
  return bytes > 0 && bytes < TRICKLE_BYTES
}
