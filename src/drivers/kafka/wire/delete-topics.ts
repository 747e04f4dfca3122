/**
 * DeleteTopics 6: removes topics by name or by id.
 *
 *   request  => topics:[name:string? topicId:uuid] timeoutMs:int32
 *   response => throttleMs:int32 topics:[name:string? topicId:uuid error:int16 errorMessage:string?]
 */
import { type Api, api } from './api.ts'
import { NO_UUID } from './bytes.ts'
import { array, int16, int32, nullableString, optional, struct, uuid } from './shape.ts'

export interface TopicToDelete {
  /** Null when the id counts. */
  readonly name: string | null
  /** Left out: none, the name counts. */
  readonly topicId?: string
}
export interface DeleteTopicsRequest {
  readonly topics: readonly TopicToDelete[]
  readonly timeoutMs: number
}

export interface DeletedTopic {
  readonly name: string | null
  readonly topicId: string
  readonly error: number
  readonly errorMessage: string | null
}
export interface DeleteTopicsResponse {
  readonly throttleMs: number
  readonly topics: readonly DeletedTopic[]
}

export const deleteTopics: Api<DeleteTopicsRequest, DeleteTopicsResponse> = api({
  key: 20,
  name: 'DeleteTopics',
  versions: [6, 6],
  request: struct<DeleteTopicsRequest>({
    topics: array(struct<TopicToDelete>({ name: nullableString, topicId: optional(uuid, NO_UUID) })),
    timeoutMs: int32,
  }),
  response: struct<DeleteTopicsResponse>({
    throttleMs: int32,
    topics: array(struct<DeletedTopic>({ name: nullableString, topicId: uuid, error: int16, errorMessage: nullableString })),
  }),
})
