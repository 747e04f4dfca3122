/**
 * AddPartitionsToTxn 3, for transaction protocol 1: tells the coordinator which partitions a transaction will write, before it does.
 *
 *   request  => transactionalId:string producerId:int64 producerEpoch:int16 [topic:string [partition:int32]]
 *   response => throttleMs:int32 [topic:string [partition:int32 error:int16]]
 */
import { type Api, api } from './api.ts'
import { type TopicPartitions, type TopicResults, topicPartitions, topicResults } from './parts.ts'
import { array, int16, int32, int64, string, struct } from './shape.ts'

export interface AddPartitionsToTxnRequest {
  readonly transactionalId: string
  readonly producerId: number
  readonly producerEpoch: number
  readonly topics: readonly TopicPartitions[]
}
/** One bad partition refuses all: the others answer 55 OPERATION_NOT_ATTEMPTED. */
export interface AddPartitionsToTxnResponse {
  readonly throttleMs: number
  readonly topics: readonly TopicResults[]
}

export const addPartitionsToTxn: Api<AddPartitionsToTxnRequest, AddPartitionsToTxnResponse> = api({
  key: 24,
  name: 'AddPartitionsToTxn',
  versions: [3, 3],
  request: struct<AddPartitionsToTxnRequest>({
    transactionalId: string,
    producerId: int64,
    producerEpoch: int16,
    topics: array(topicPartitions),
  }),
  response: struct<AddPartitionsToTxnResponse>({ throttleMs: int32, topics: array(topicResults) }),
})
