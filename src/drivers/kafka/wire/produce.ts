/**
 * Produce 10 to 12: the same bytes. Under 12 the leader adds the partition to the transaction by itself (transaction.version 2 or more);
 * before, AddPartitionsToTxn must come first. Version 10 (brokers before 3.8) says 48 where 11 says 120.
 *
 *   request  => transactionalId:string? acks:int16 timeoutMs:int32 [topic:string [partition:int32 records:bytes?]]
 *   response => [topic:string [partition:int32 error:int16 baseOffset:int64 logAppendTimeMs:int64 logStartOffset:int64
 *               recordErrors:[batchIndex:int32 message:string?] errorMessage:string?
 *               tag 0 currentLeader(leaderId:int32 leaderEpoch:int32)]] throttleMs:int32
 *               tag 0 nodeEndpoints:[nodeId:int32 host:string port:int32 rack:string?]
 */
import { type Api, api } from './api.ts'
import { type CurrentLeader, currentLeader } from './parts.ts'
import { array, int16, int32, int64, nullableBytes, nullableString, string, struct, tagged } from './shape.ts'

export interface ProducePartitionRequest {
  readonly partition: number
  /** Exactly one batch; two are refused with 87. Referred to until the request was sent: it must not change before. */
  readonly records: Buffer | null
}
export interface ProduceTopicRequest {
  readonly topic: string
  readonly partitions: readonly ProducePartitionRequest[]
}
export interface ProduceRequest {
  readonly transactionalId: string | null
  /** -1 waits for all in-sync replicas, 1 for the leader. 0 gets no answer at all. */
  readonly acks: number
  readonly timeoutMs: number
  readonly topics: readonly ProduceTopicRequest[]
}

export interface RecordError {
  /** Place of the record in its batch. */
  readonly batchIndex: number
  readonly message: string | null
}
export interface ProducePartition {
  readonly partition: number
  readonly error: number
  readonly baseOffset: number
  /** -1 unless the topic stamps records with the time of their append. */
  readonly logAppendTimeMs: number
  readonly logStartOffset: number
  readonly recordErrors: readonly RecordError[]
  readonly errorMessage: string | null
  /** With 6: who leads instead. */
  readonly currentLeader: CurrentLeader | undefined
}
export interface ProduceTopic {
  readonly topic: string
  readonly partitions: readonly ProducePartition[]
}
export interface NodeEndpoint {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
}
export interface ProduceResponse {
  readonly topics: readonly ProduceTopic[]
  readonly throttleMs: number
  /** Where the leaders named in `currentLeader` listen. */
  readonly nodeEndpoints: readonly NodeEndpoint[] | undefined
}

export const produce: Api<ProduceRequest, ProduceResponse> = api({
  key: 0,
  name: 'Produce',
  versions: [10, 12],
  request: struct<ProduceRequest>({
    transactionalId: nullableString,
    acks: int16,
    timeoutMs: int32,
    topics: array(
      struct<ProduceTopicRequest>({
        topic: string,
        partitions: array(struct<ProducePartitionRequest>({ partition: int32, records: nullableBytes })),
      }),
    ),
  }),
  response: struct<ProduceResponse>({
    topics: array(
      struct<ProduceTopic>({
        topic: string,
        partitions: array(
          struct<ProducePartition>({
            partition: int32,
            error: int16,
            baseOffset: int64,
            logAppendTimeMs: int64,
            logStartOffset: int64,
            recordErrors: array(struct<RecordError>({ batchIndex: int32, message: nullableString })),
            errorMessage: nullableString,
            currentLeader: tagged(0, currentLeader),
          }),
        ),
      }),
    ),
    throttleMs: int32,
    nodeEndpoints: tagged(0, array(struct<NodeEndpoint>({ nodeId: int32, host: string, port: int32, rack: nullableString }))),
  }),
})
