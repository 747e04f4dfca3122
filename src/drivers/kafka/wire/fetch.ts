/**
 * Fetch 12: the last version that names topics, and the first with leader epochs in both directions. Without a session: a request names
 * all that it wants, and every answer stands alone.
 *
 *   request  => replicaId:int32 maxWaitMs:int32 minBytes:int32 maxBytes:int32 isolationLevel:int8 sessionId:int32 sessionEpoch:int32
 *               [topic:string [partition:int32 currentLeaderEpoch:int32 fetchOffset:int64 lastFetchedEpoch:int32 logStartOffset:int64
 *                 partitionMaxBytes:int32]] forgotten:[topic:string [partition:int32]] rackId:string
 *   response => throttleMs:int32 error:int16 sessionId:int32 [topic:string [partition:int32 error:int16 highWatermark:int64
 *               lastStableOffset:int64 logStartOffset:int64 aborted:[producerId:int64 firstOffset:int64]? preferredReadReplica:int32
 *               records:bytes? tag 0 divergingEpoch(epoch:int32 endOffset:int64) tag 1 currentLeader(leaderId:int32 leaderEpoch:int32)
 *               tag 2 snapshotId(endOffset:int64 epoch:int32)]]
 */
import { type Api, api } from './api.ts'
import { CLIENT_REPLICA, type CurrentLeader, currentLeader, isolationLevel, type TopicPartitions, topicPartitions } from './parts.ts'
import { array, int16, int32, int64, nullableArray, nullableBytes, optional, string, struct, tagged } from './shape.ts'

export interface FetchPartitionRequest {
  readonly partition: number
  /** The leader that the caller knows; another one answers 74 or 75. Without it (-1) a deposed leader may answer old data. */
  readonly currentLeaderEpoch: number
  readonly fetchOffset: number
  /** Epoch of the last batch read, so that a truncated log is noticed; -1 when unknown. */
  readonly lastFetchedEpoch: number
  /** For followers. Left out: -1. */
  readonly logStartOffset?: number
  /** The first batch comes whole even when it is larger. */
  readonly partitionMaxBytes: number
}
export interface FetchTopicRequest {
  readonly topic: string
  readonly partitions: readonly FetchPartitionRequest[]
}
export interface FetchRequest {
  /** Left out: -1, a client. */
  readonly replicaId?: number
  readonly maxWaitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  /** `READ_UNCOMMITTED` or `READ_COMMITTED`. */
  readonly isolationLevel: number
  /** Left out: 0, none. */
  readonly sessionId?: number
  /** Left out: -1, no session. */
  readonly sessionEpoch?: number
  readonly topics: readonly FetchTopicRequest[]
  /** Topics to take out of a session. Left out: none. */
  readonly forgottenTopics?: readonly TopicPartitions[]
  /** Left out: ''. */
  readonly rackId?: string
}

export interface AbortedRange {
  readonly producerId: number
  readonly firstOffset: number
}
export interface FetchPartition {
  readonly partition: number
  readonly error: number
  /** -1 in some errors, such as 1 OFFSET_OUT_OF_RANGE. */
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  /** In the order in which the transactions ended, not in that of their offsets. Null when read uncommitted. */
  readonly abortedTransactions: readonly AbortedRange[] | null
  readonly preferredReadReplica: number
  /** Whole batches and maybe the beginning of another: a view of the answer. */
  readonly records: Buffer | null
  /** The log was truncated below `fetchOffset`: this epoch ends there. */
  readonly divergingEpoch: { readonly epoch: number; readonly endOffset: number } | undefined
  /** Who leads instead. Brokers fill it in from version 16 on, so ask Metadata. */
  readonly currentLeader: CurrentLeader | undefined
  readonly snapshotId: { readonly endOffset: number; readonly epoch: number } | undefined
}
export interface FetchTopic {
  readonly topic: string
  readonly partitions: readonly FetchPartition[]
}
export interface FetchResponse {
  readonly throttleMs: number
  readonly error: number
  readonly sessionId: number
  readonly topics: readonly FetchTopic[]
}

/** A batch of this size is still received, and refused for its size, bytes. */
const OVERSIZE_BYTES = 192 * 1024 * 1024
/** Of an answer, what is not records: names, offsets, aborted transactions. */
const BESIDE_BYTES = 16 * 1024 * 1024

export const fetch: Api<FetchRequest, FetchResponse> = api({
  key: 1,
  name: 'Fetch',
  versions: [12, 12],
  // The first batch comes whole, however many bytes were asked for. One that is larger than we read is told with its partition, as long as
  // it can come through.
  answerBytesMax: ({ maxBytes }, batchBytesMax) => maxBytes + Math.max(batchBytesMax, OVERSIZE_BYTES) + BESIDE_BYTES,
  request: struct<FetchRequest>({
    replicaId: optional(int32, CLIENT_REPLICA),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32,
    isolationLevel,
    sessionId: optional(int32, 0),
    sessionEpoch: optional(int32, -1),
    topics: array(
      struct<FetchTopicRequest>({
        topic: string,
        partitions: array(
          struct<FetchPartitionRequest>({
            partition: int32,
            currentLeaderEpoch: int32,
            fetchOffset: int64,
            lastFetchedEpoch: int32,
            logStartOffset: optional(int64, -1),
            partitionMaxBytes: int32,
          }),
        ),
      }),
    ),
    forgottenTopics: optional(array(topicPartitions), []),
    rackId: optional(string, ''),
  }),
  response: struct<FetchResponse>({
    throttleMs: int32,
    error: int16,
    sessionId: int32,
    topics: array(
      struct<FetchTopic>({
        topic: string,
        partitions: array(
          struct<FetchPartition>({
            partition: int32,
            error: int16,
            highWatermark: int64,
            lastStableOffset: int64,
            logStartOffset: int64,
            abortedTransactions: nullableArray(struct<AbortedRange>({ producerId: int64, firstOffset: int64 })),
            preferredReadReplica: int32,
            records: nullableBytes,
            divergingEpoch: tagged(0, struct<{ readonly epoch: number; readonly endOffset: number }>({ epoch: int32, endOffset: int64 })),
            currentLeader: tagged(1, currentLeader),
            snapshotId: tagged(2, struct<{ readonly endOffset: number; readonly epoch: number }>({ endOffset: int64, epoch: int32 })),
          }),
        ),
      }),
    ),
  }),
})
