/**
 * TxnOffsetCommit 3 to 5: the same bytes. Positions that become visible with a transaction, refused from a member that is none any more
 * (KIP-447). Under 5 the coordinator adds them to the transaction by itself; under 3 AddOffsetsToTxn must come first; 4 is refused with 120
 * instead of 48 when it did not.
 *
 *   request  => transactionalId:string groupId:string producerId:int64 producerEpoch:int16 generationId:int32 memberId:string
 *               instanceId:string? [topic:string [partition:int32 committedOffset:int64 committedLeaderEpoch:int32 metadata:string?]]
 *   response => throttleMs:int32 [topic:string [partition:int32 error:int16]]
 */
import { type Api, api } from './api.ts'
import { type CommittedTopic, committedTopic, type TopicResults, topicResults } from './parts.ts'
import { array, int16, int32, int64, nullableString, string, struct } from './shape.ts'

export interface TxnOffsetCommitRequest {
  readonly transactionalId: string
  readonly groupId: string
  readonly producerId: number
  readonly producerEpoch: number
  /** -1 with an empty member id is not fenced at all. */
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly topics: readonly CommittedTopic[]
}
export interface TxnOffsetCommitResponse {
  readonly throttleMs: number
  readonly topics: readonly TopicResults[]
}

export const txnOffsetCommit: Api<TxnOffsetCommitRequest, TxnOffsetCommitResponse> = api({
  key: 28,
  name: 'TxnOffsetCommit',
  versions: [3, 5],
  request: struct<TxnOffsetCommitRequest>({
    transactionalId: string,
    groupId: string,
    producerId: int64,
    producerEpoch: int16,
    generationId: int32,
    memberId: string,
    instanceId: nullableString,
    topics: array(committedTopic),
  }),
  response: struct<TxnOffsetCommitResponse>({ throttleMs: int32, topics: array(topicResults) }),
})
