/**
 * DescribeProducers 0: the producers that a partition's leader remembers, and which of them holds back the last stable offset.
 *
 *   request  => [topic:string [partition:int32]]
 *   response => throttleMs:int32 [topic:string [partition:int32 error:int16 errorMessage:string? [producerId:int64 producerEpoch:int32
 *               lastSequence:int32 lastTimestamp:int64 coordinatorEpoch:int32 currentTransactionStartOffset:int64]]]
 */
import { type Api, api } from './api.ts'
import { type TopicPartitions, topicPartitions } from './parts.ts'
import { array, int16, int32, int64, nullableString, string, struct } from './shape.ts'

export interface DescribeProducersRequest {
  readonly topics: readonly TopicPartitions[]
}

export interface ActiveProducer {
  readonly producerId: number
  readonly producerEpoch: number
  readonly lastSequence: number
  readonly lastTimestamp: number
  readonly coordinatorEpoch: number
  /** -1 without an open transaction. */
  readonly currentTransactionStartOffset: number
}
export interface DescribedProducers {
  readonly partition: number
  readonly error: number
  readonly errorMessage: string | null
  readonly activeProducers: readonly ActiveProducer[]
}
export interface DescribeProducersTopic {
  readonly topic: string
  readonly partitions: readonly DescribedProducers[]
}
export interface DescribeProducersResponse {
  readonly throttleMs: number
  readonly topics: readonly DescribeProducersTopic[]
}

export const describeProducers: Api<DescribeProducersRequest, DescribeProducersResponse> = api({
  key: 61,
  name: 'DescribeProducers',
  versions: [0, 0],
  request: struct<DescribeProducersRequest>({ topics: array(topicPartitions) }),
  response: struct<DescribeProducersResponse>({
    throttleMs: int32,
    topics: array(
      struct<DescribeProducersTopic>({
        topic: string,
        partitions: array(
          struct<DescribedProducers>({
            partition: int32,
            error: int16,
            errorMessage: nullableString,
            activeProducers: array(
              struct<ActiveProducer>({
                producerId: int64,
                producerEpoch: int32,
                lastSequence: int32,
                lastTimestamp: int64,
                coordinatorEpoch: int32,
                currentTransactionStartOffset: int64,
              }),
            ),
          }),
        ),
      }),
    ),
  }),
})
