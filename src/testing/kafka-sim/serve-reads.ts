/** Simulated brokers to readers: ListOffsets and Fetch. */
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import {
  type FetchPartition,
  type FetchPartitionRequest,
  type FetchRequest,
  type FetchTopic,
  fetch,
} from '../../drivers/kafka/wire/fetch.ts'
import { EARLIEST, LATEST, listOffsets } from '../../drivers/kafka/wire/list-offsets.ts'
import { READ_COMMITTED } from '../../drivers/kafka/wire/parts.ts'
import { partitionName } from '../../ports/log.ts'
import type { SimKafka } from './cluster.ts'
import { type Call, type Handler, serve } from './handler.ts'
import type { Partition } from './partition.ts'

function offsetOf(partition: Partition, node: number, timestamp: number, committed: boolean): { offset: number; timestamp: number } {
  const { high, stable } = partition.endsAt(node)
  if (timestamp === EARLIEST) return { offset: partition.start, timestamp: -1 }
  if (timestamp === LATEST) return { offset: committed ? stable : high, timestamp: -1 }
  const found = partition.atTime(timestamp)
  return found === undefined || found.offset >= (committed ? stable : high) ? { offset: -1, timestamp: -1 } : found
}

// --- Fetch -------------------------------------------------------------------------------------------------------------------------

/** One look at all that a Fetch asks for. `full` when it is answered as it is. */
function look(kafka: SimKafka, node: number, request: FetchRequest): { readonly topics: FetchTopic[]; readonly full: boolean } {
  const committed = request.isolationLevel === READ_COMMITTED
  let left = request.maxBytes
  let full = false
  let first = true
  const topics = request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map((wanted): FetchPartition => {
      const partition = kafka.partition(topic, wanted.partition)
      const error = kafka.ailing('Fetch', partitionName(topic, wanted.partition), node) || fetchError(partition, node, wanted)
      if (partition === undefined || error !== E.NONE) {
        full = true
        return refused(wanted.partition, error)
      }
      const divergingEpoch = partition.divergence(wanted.fetchOffset, wanted.lastFetchedEpoch)
      if (divergingEpoch !== undefined) {
        full = true
        return { ...refused(wanted.partition, E.NONE), divergingEpoch }
      }
      const { high, stable } = partition.endsAt(node)
      const until = committed ? stable : high
      const records = partition.read(wanted.fetchOffset, until, Math.min(wanted.partitionMaxBytes, left), first)
      left -= records.length
      if (records.length > 0) {
        first = false
        full = true
      }
      return {
        partition: wanted.partition,
        error: E.NONE,
        highWatermark: high,
        lastStableOffset: stable,
        logStartOffset: partition.start,
        abortedTransactions: committed ? partition.abortedBetween(wanted.fetchOffset, until) : null,
        preferredReadReplica: -1,
        records,
        divergingEpoch: undefined,
        currentLeader: undefined,
        snapshotId: undefined,
      }
    }),
  }))
  return { topics, full }
}

function fetchError(partition: Partition | undefined, node: number, { currentLeaderEpoch, fetchOffset }: FetchPartitionRequest): number {
  if (partition === undefined) return E.UNKNOWN_TOPIC_OR_PARTITION
  const error = partition.refusal(node, currentLeaderEpoch, false)
  if (error !== E.NONE) return error
  return fetchOffset < partition.start || fetchOffset > partition.endsAt(node).high ? E.OFFSET_OUT_OF_RANGE : E.NONE
}

function refused(partition: number, error: number): FetchPartition {
  return {
    partition,
    error,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: null,
    preferredReadReplica: -1,
    records: null,
    divergingEpoch: undefined,
    currentLeader: undefined,
    snapshotId: undefined,
  }
}

/** Answers when there is something, or when the time is over. */
async function wait({ kafka, node }: Call, request: FetchRequest): Promise<FetchTopic[]> {
  const { timeline } = kafka
  const until = timeline.now + request.maxWaitMs
  const partitions = request.topics.flatMap(({ topic, partitions: of }) =>
    of.flatMap(({ partition }) => kafka.partition(topic, partition) ?? []),
  )
  for (;;) {
    const { topics, full } = look(kafka, node, request)
    if (full || request.minBytes <= 0 || timeline.now >= until) return topics
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        cancel()
        for (const { watchers } of partitions) watchers.delete(wake)
        resolve()
      }
      const cancel = timeline.after(until - timeline.now, 'fetch has waited', wake)
      for (const { watchers } of partitions) watchers.add(wake)
    })
  }
}

export const READ_HANDLERS: readonly (readonly [key: number, handler: Handler])[] = [
  serve(listOffsets, ({ isolationLevel, topics }, { kafka, node }) => ({
    throttleMs: 0,
    topics: topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition, currentLeaderEpoch, timestamp }) => {
        const found = kafka.partition(topic, partition)
        const own = found === undefined ? E.UNKNOWN_TOPIC_OR_PARTITION : found.refusal(node, currentLeaderEpoch, false)
        const error = kafka.ailing('ListOffsets', partitionName(topic, partition), node) || own
        if (found === undefined || error !== E.NONE) return { partition, error, timestamp: -1, offset: -1, leaderEpoch: -1 }
        const { epoch } = found.seenBy(node)
        return { partition, error, leaderEpoch: epoch, ...offsetOf(found, node, timestamp, isolationLevel === READ_COMMITTED) }
      }),
    })),
  })),
  serve(fetch, async (request, call) => ({ throttleMs: 0, error: E.NONE, sessionId: 0, topics: await wait(call, request) })),
]
