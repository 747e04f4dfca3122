/**
 * OffsetFetch 8: committed positions of groups.
 *
 *   request  => groups:[groupId:string topics:[topic:string [partition:int32]]?] requireStable:bool
 *   response => throttleMs:int32 groups:[groupId:string [topic:string [partition:int32 committedOffset:int64 committedLeaderEpoch:int32
 *               metadata:string? error:int16]] error:int16]
 */
import { type Api, api } from './api.ts'
import { type TopicPartitions, topicPartitions } from './parts.ts'
import { array, bool, int16, int32, int64, nullableArray, nullableString, string, struct } from './shape.ts'

export interface OffsetFetchGroupRequest {
  readonly groupId: string
  /** Null asks for all partitions with a position. */
  readonly topics: readonly TopicPartitions[] | null
}
export interface OffsetFetchRequest {
  readonly groups: readonly OffsetFetchGroupRequest[]
  /** Answers 88 UNSTABLE_OFFSET_COMMIT for a partition whose position an open transaction is about to change. Without it: the old position. */
  readonly requireStable: boolean
}

export interface OffsetFetchPartition {
  readonly partition: number
  /** -1 when there is none. */
  readonly committedOffset: number
  readonly committedLeaderEpoch: number
  readonly metadata: string | null
  readonly error: number
}
export interface OffsetFetchTopic {
  readonly topic: string
  readonly partitions: readonly OffsetFetchPartition[]
}
export interface OffsetFetchGroup {
  readonly groupId: string
  readonly topics: readonly OffsetFetchTopic[]
  readonly error: number
}
export interface OffsetFetchResponse {
  readonly throttleMs: number
  readonly groups: readonly OffsetFetchGroup[]
}

export const offsetFetch: Api<OffsetFetchRequest, OffsetFetchResponse> = api({
  key: 9,
  name: 'OffsetFetch',
  versions: [8, 8],
  request: struct<OffsetFetchRequest>({
    groups: array(struct<OffsetFetchGroupRequest>({ groupId: string, topics: nullableArray(topicPartitions) })),
    requireStable: bool,
  }),
  response: struct<OffsetFetchResponse>({
    throttleMs: int32,
    groups: array(
      struct<OffsetFetchGroup>({
        groupId: string,
        topics: array(
          struct<OffsetFetchTopic>({
            topic: string,
            partitions: array(
              struct<OffsetFetchPartition>({
                partition: int32,
                committedOffset: int64,
                committedLeaderEpoch: int32,
                metadata: nullableString,
                error: int16,
              }),
            ),
          }),
        ),
        error: int16,
      }),
    ),
  }),
})
