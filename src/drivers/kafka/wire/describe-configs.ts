/**
 * DescribeConfigs 4: settings of topics or brokers.
 *
 *   request  => resources:[resourceType:int8 resourceName:string configurationKeys:[string]?] includeSynonyms:bool
 *               includeDocumentation:bool
 *   response => throttleMs:int32 results:[error:int16 errorMessage:string? resourceType:int8 resourceName:string configs:[name:string
 *               value:string? readOnly:bool source:int8 sensitive:bool synonyms:[name:string value:string? source:int8] type:int8
 *               documentation:string?]]
 */
import { type Api, api } from './api.ts'
import { array, bool, int8, int16, int32, nullableArray, nullableString, string, struct } from './shape.ts'

export const TOPIC_RESOURCE = 2
/** Ask the broker whose number is the name. */
export const BROKER_RESOURCE = 4

export interface ConfigResource {
  /** `TOPIC_RESOURCE` or `BROKER_RESOURCE`. */
  readonly resourceType: number
  readonly resourceName: string
  /** Null for all. */
  readonly configurationKeys: readonly string[] | null
}
export interface DescribeConfigsRequest {
  readonly resources: readonly ConfigResource[]
  readonly includeSynonyms: boolean
  readonly includeDocumentation: boolean
}

export interface ConfigSynonym {
  readonly name: string
  readonly value: string | null
  readonly source: number
}
export interface DescribedConfig {
  readonly name: string
  /** Null for a secret, and for what is not set. */
  readonly value: string | null
  readonly readOnly: boolean
  /** 1 set on the topic, 2 and 3 on a broker or all of them at run time, 4 in a broker's file, 5 the default. */
  readonly source: number
  readonly sensitive: boolean
  readonly synonyms: readonly ConfigSynonym[]
  readonly type: number
  readonly documentation: string | null
}
export interface DescribedResource {
  readonly error: number
  readonly errorMessage: string | null
  readonly resourceType: number
  readonly resourceName: string
  readonly configs: readonly DescribedConfig[]
}
export interface DescribeConfigsResponse {
  readonly throttleMs: number
  readonly results: readonly DescribedResource[]
}

export const describeConfigs: Api<DescribeConfigsRequest, DescribeConfigsResponse> = api({
  key: 32,
  name: 'DescribeConfigs',
  versions: [4, 4],
  request: struct<DescribeConfigsRequest>({
    resources: array(struct<ConfigResource>({ resourceType: int8, resourceName: string, configurationKeys: nullableArray(string) })),
    includeSynonyms: bool,
    includeDocumentation: bool,
  }),
  response: struct<DescribeConfigsResponse>({
    throttleMs: int32,
    results: array(
      struct<DescribedResource>({
        error: int16,
        errorMessage: nullableString,
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct<DescribedConfig>({
            name: string,
            value: nullableString,
            readOnly: bool,
            source: int8,
            sensitive: bool,
            synonyms: array(struct<ConfigSynonym>({ name: string, value: nullableString, source: int8 })),
            type: int8,
            documentation: nullableString,
          }),
        ),
      }),
    ),
  }),
})
