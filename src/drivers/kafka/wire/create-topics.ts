/**
 * CreateTopics 7: makes topics. The answer comes when they exist on the controller; a leader may still need a moment.
 *
 *   request  => topics:[name:string partitions:int32 replicationFactor:int16 assignments:[partition:int32 brokerIds:[int32]]
 *               configs:[name:string value:string?]] timeoutMs:int32 validateOnly:bool
 *   response => throttleMs:int32 topics:[name:string topicId:uuid error:int16 errorMessage:string? partitions:int32
 *               replicationFactor:int16 configs:[name:string value:string? readOnly:bool source:int8 sensitive:bool]?
 *               tag 0 configError:int16]
 */
import { type Api, api } from './api.ts'
import { array, bool, int8, int16, int32, nullableArray, nullableString, optional, string, struct, tagged, uuid } from './shape.ts'

export interface ReplicaAssignment {
  readonly partition: number
  readonly brokerIds: readonly number[]
}
export interface NamedValue {
  readonly name: string
  readonly value: string | null
}
export interface NewTopic {
  readonly name: string
  /** -1 for the broker's default, and with `assignments`. */
  readonly partitions: number
  /** -1 for the broker's default, and with `assignments`. */
  readonly replicationFactor: number
  /** Left out: the controller chooses. */
  readonly assignments?: readonly ReplicaAssignment[]
  readonly configs: readonly NamedValue[]
}
export interface CreateTopicsRequest {
  readonly topics: readonly NewTopic[]
  readonly timeoutMs: number
  /** Checks without making anything. */
  readonly validateOnly: boolean
}

export interface CreatedConfig {
  readonly name: string
  readonly value: string | null
  readonly readOnly: boolean
  /** See `DescribedConfig.source`. */
  readonly source: number
  readonly sensitive: boolean
}
export interface CreatedTopic {
  readonly name: string
  readonly topicId: string
  /** 36 TOPIC_ALREADY_EXISTS. */
  readonly error: number
  readonly errorMessage: string | null
  /** -1 when the configs may not be seen. */
  readonly partitions: number
  readonly replicationFactor: number
  readonly configs: readonly CreatedConfig[] | null
  /** 29 when the right DESCRIBE_CONFIGS is missing. */
  readonly configError: number | undefined
}
export interface CreateTopicsResponse {
  readonly throttleMs: number
  readonly topics: readonly CreatedTopic[]
}

export const createTopics: Api<CreateTopicsRequest, CreateTopicsResponse> = api({
  key: 19,
  name: 'CreateTopics',
  versions: [7, 7],
  request: struct<CreateTopicsRequest>({
    topics: array(
      struct<NewTopic>({
        name: string,
        partitions: int32,
        replicationFactor: int16,
        assignments: optional(array(struct<ReplicaAssignment>({ partition: int32, brokerIds: array(int32) })), []),
        configs: array(struct<NamedValue>({ name: string, value: nullableString })),
      }),
    ),
    timeoutMs: int32,
    validateOnly: bool,
  }),
  response: struct<CreateTopicsResponse>({
    throttleMs: int32,
    topics: array(
      struct<CreatedTopic>({
        name: string,
        topicId: uuid,
        error: int16,
        errorMessage: nullableString,
        partitions: int32,
        replicationFactor: int16,
        configs: nullableArray(
          struct<CreatedConfig>({ name: string, value: nullableString, readOnly: bool, source: int8, sensitive: bool }),
        ),
        configError: tagged(0, int16),
      }),
    ),
  }),
})
