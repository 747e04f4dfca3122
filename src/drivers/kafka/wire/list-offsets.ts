/**
 * ListOffsets 7: where a partition begins and ends, and the first record not older than a time.
 *
 *   request  => replicaId:int32 isolationLevel:int8 [topic:string [partition:int32 currentLeaderEpoch:int32 timestamp:int64]]
 *   response => throttleMs:int32 [topic:string [partition:int32 error:int16 timestamp:int64 offset:int64 leaderEpoch:int32]]
 */
import { type Api, api } from './api.ts'
import { CLIENT_REPLICA, isolationLevel } from './parts.ts'
import { array, int16, int32, int64, optional, string, struct } from './shape.ts'

/** Behind the last record, or behind the last decided one when read committed. */
export const LATEST = -1
export const EARLIEST = -2
/** Of the record with the largest timestamp. */
export const MAX_TIMESTAMP = -3

export interface ListOffsetsPartitionRequest {
  readonly partition: number
  /** -1 when unknown. */
  readonly currentLeaderEpoch: number
  /** `LATEST`, `EARLIEST`, `MAX_TIMESTAMP`, or a time in ms. */
  readonly timestamp: number
}
export interface ListOffsetsTopicRequest {
  readonly topic: string
  readonly partitions: readonly ListOffsetsPartitionRequest[]
}
export interface ListOffsetsRequest {
  /** Left out: -1, a client. */
  readonly replicaId?: number
  readonly isolationLevel: number
  readonly topics: readonly ListOffsetsTopicRequest[]
}

export interface ListOffsetsPartition {
  readonly partition: number
  readonly error: number
  readonly timestamp: number
  /** -1 when no record is as young. */
  readonly offset: number
  readonly leaderEpoch: number
}
export interface ListOffsetsTopic {
  readonly topic: string
  readonly partitions: readonly ListOffsetsPartition[]
}
export interface ListOffsetsResponse {
  readonly throttleMs: number
  readonly topics: readonly ListOffsetsTopic[]
}

export const listOffsets: Api<ListOffsetsRequest, ListOffsetsResponse> = api({
  key: 2,
  name: 'ListOffsets',
  versions: [7, 7],
  request: struct<ListOffsetsRequest>({
    replicaId: optional(int32, CLIENT_REPLICA),
    isolationLevel,
    topics: array(
      struct<ListOffsetsTopicRequest>({
        topic: string,
        partitions: array(struct<ListOffsetsPartitionRequest>({ partition: int32, currentLeaderEpoch: int32, timestamp: int64 })),
      }),
    ),
  }),
  response: struct<ListOffsetsResponse>({
    throttleMs: int32,
    topics: array(
      struct<ListOffsetsTopic>({
        topic: string,
        partitions: array(
          struct<ListOffsetsPartition>({ partition: int32, error: int16, timestamp: int64, offset: int64, leaderEpoch: int32 }),
        ),
      }),
    ),
  }),
})
