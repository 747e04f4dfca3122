/**
 * DescribeTransactions 0: what a coordinator knows of transactional ids.
 *
 *   request  => transactionalIds:[string]
 *   response => throttleMs:int32 [error:int16 transactionalId:string state:string transactionTimeoutMs:int32
 *               transactionStartTimeMs:int64 producerId:int64 producerEpoch:int16 [topic:string [partition:int32]]]
 */
import { type Api, api } from './api.ts'
import { type TopicPartitions, topicPartitions } from './parts.ts'
import { array, int16, int32, int64, string, struct } from './shape.ts'

export interface DescribeTransactionsRequest {
  readonly transactionalIds: readonly string[]
}

export interface DescribedTransaction {
  readonly error: number
  readonly transactionalId: string
  readonly state: string
  readonly transactionTimeoutMs: number
  /** -1 when none is open. */
  readonly transactionStartTimeMs: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly topics: readonly TopicPartitions[]
}
export interface DescribeTransactionsResponse {
  readonly throttleMs: number
  readonly transactions: readonly DescribedTransaction[]
}

export const describeTransactions: Api<DescribeTransactionsRequest, DescribeTransactionsResponse> = api({
  key: 65,
  name: 'DescribeTransactions',
  versions: [0, 0],
  request: struct<DescribeTransactionsRequest>({ transactionalIds: array(string) }),
  response: struct<DescribeTransactionsResponse>({
    throttleMs: int32,
    transactions: array(
      struct<DescribedTransaction>({
        error: int16,
        transactionalId: string,
        state: string,
        transactionTimeoutMs: int32,
        transactionStartTimeMs: int64,
        producerId: int64,
        producerEpoch: int16,
        topics: array(topicPartitions),
      }),
    ),
  }),
})
