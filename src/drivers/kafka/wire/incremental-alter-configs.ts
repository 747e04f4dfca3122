/**
 * IncrementalAlterConfigs 1: changes single settings and leaves the others.
 *
 *   request  => resources:[resourceType:int8 resourceName:string configs:[name:string operation:int8 value:string?]] validateOnly:bool
 *   response => throttleMs:int32 [error:int16 errorMessage:string? resourceType:int8 resourceName:string]
 */
import { type Api, api } from './api.ts'
import { array, bool, int8, int16, int32, nullableString, string, struct } from './shape.ts'

export const SET_CONFIG = 0
/** Back to the default. */
export const DELETE_CONFIG = 1

export interface ConfigChange {
  readonly name: string
  /** `SET_CONFIG` or `DELETE_CONFIG`; 2 and 3 add to and take from a list. */
  readonly operation: number
  readonly value: string | null
}
export interface ResourceChange {
  /** `TOPIC_RESOURCE` or `BROKER_RESOURCE` of describe-configs.ts. */
  readonly resourceType: number
  readonly resourceName: string
  readonly configs: readonly ConfigChange[]
}
export interface IncrementalAlterConfigsRequest {
  readonly resources: readonly ResourceChange[]
  /** Checks without changing anything. */
  readonly validateOnly: boolean
}

export interface ChangedResource {
  readonly error: number
  readonly errorMessage: string | null
  readonly resourceType: number
  readonly resourceName: string
}
export interface IncrementalAlterConfigsResponse {
  readonly throttleMs: number
  readonly resources: readonly ChangedResource[]
}

export const incrementalAlterConfigs: Api<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse> = api({
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: [1, 1],
  request: struct<IncrementalAlterConfigsRequest>({
    resources: array(
      struct<ResourceChange>({
        resourceType: int8,
        resourceName: string,
        configs: array(struct<ConfigChange>({ name: string, operation: int8, value: nullableString })),
      }),
    ),
    validateOnly: bool,
  }),
  response: struct<IncrementalAlterConfigsResponse>({
    throttleMs: int32,
    resources: array(struct<ChangedResource>({ error: int16, errorMessage: nullableString, resourceType: int8, resourceName: string })),
  }),
})
