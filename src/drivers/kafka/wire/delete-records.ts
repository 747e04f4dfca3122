/**
 * DeleteRecords 2: moves the start of partitions forward. Goes to each partition's leader.
 *
 *   request  => [topic:string [partition:int32 offset:int64]] timeoutMs:int32
 *   response => throttleMs:int32 [topic:string [partition:int32 lowWatermark:int64 error:int16]]
 */
import { type Api, api } from './api.ts'
import { array, int16, int32, int64, string, struct } from './shape.ts'

export interface DeleteRecordsPartitionRequest {
  readonly partition: number
  /** The first offset to keep; -1 for none of them, up to the high watermark. */
  readonly offset: number
}
export interface DeleteRecordsTopicRequest {
  readonly topic: string
  readonly partitions: readonly DeleteRecordsPartitionRequest[]
}
export interface DeleteRecordsRequest {
  readonly topics: readonly DeleteRecordsTopicRequest[]
  readonly timeoutMs: number
}

export interface DeletedRecords {
  readonly partition: number
  /** Where the partition begins now; -1 with an error. */
  readonly lowWatermark: number
  readonly error: number
}
export interface DeleteRecordsTopic {
  readonly topic: string
  readonly partitions: readonly DeletedRecords[]
}
export interface DeleteRecordsResponse {
  readonly throttleMs: number
  readonly topics: readonly DeleteRecordsTopic[]
}

export const deleteRecords: Api<DeleteRecordsRequest, DeleteRecordsResponse> = api({
  key: 21,
  name: 'DeleteRecords',
  versions: [2, 2],
  request: struct<DeleteRecordsRequest>({
    topics: array(
      struct<DeleteRecordsTopicRequest>({
        topic: string,
        partitions: array(struct<DeleteRecordsPartitionRequest>({ partition: int32, offset: int64 })),
      }),
    ),
    timeoutMs: int32,
  }),
  response: struct<DeleteRecordsResponse>({
    throttleMs: int32,
    topics: array(
      struct<DeleteRecordsTopic>({
        topic: string,
        partitions: array(struct<DeletedRecords>({ partition: int32, lowWatermark: int64, error: int16 })),
      }),
    ),
  }),
})
