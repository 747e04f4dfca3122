/**
 * OffsetCommit 8: positions outside a transaction, for at-least-once.
 *
 *   request  => groupId:string generationId:int32 memberId:string instanceId:string?
 *               [topic:string [partition:int32 committedOffset:int64 committedLeaderEpoch:int32 metadata:string?]]
 *   response => throttleMs:int32 [topic:string [partition:int32 error:int16]]
 */
import { type Api, api } from './api.ts'
import { type CommittedTopic, committedTopic, type TopicResults, topicResults } from './parts.ts'
import { array, int32, nullableString, string, struct } from './shape.ts'

export interface OffsetCommitRequest {
  readonly groupId: string
  /** -1 with an empty member id for a group without members. */
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly topics: readonly CommittedTopic[]
}
export interface OffsetCommitResponse {
  readonly throttleMs: number
  readonly topics: readonly TopicResults[]
}

export const offsetCommit: Api<OffsetCommitRequest, OffsetCommitResponse> = api({
  key: 8,
  name: 'OffsetCommit',
  versions: [8, 8],
  request: struct<OffsetCommitRequest>({
    groupId: string,
    generationId: int32,
    memberId: string,
    instanceId: nullableString,
    topics: array(committedTopic),
  }),
  response: struct<OffsetCommitResponse>({ throttleMs: int32, topics: array(topicResults) }),
})
