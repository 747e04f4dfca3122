/**
 * ApiVersions 4, or 3 where a broker does not know 4: which versions a broker speaks, and which features its cluster has finalized.
 * Version 3 hides supported features whose lowest version is 0; finalized ones are in both.
 * A broker that does not know the version asked for answers 35 in the layout of version 0, with what it does know about this API.
 *
 *   request    => clientSoftwareName:string clientSoftwareVersion:string
 *   response   => error:int16 [apiKey:int16 minVersion:int16 maxVersion:int16] throttleMs:int32
 *                 tag 0 supportedFeatures:[name:string minVersion:int16 maxVersion:int16] tag 1 finalizedFeaturesEpoch:int64
 *                 tag 2 finalizedFeatures:[name:string maxVersionLevel:int16 minVersionLevel:int16] tag 3 zkMigrationReady:bool
 *   response 0 => error:int16 [apiKey:int16 minVersion:int16 maxVersion:int16], classic
 */
import { type Api, api } from './api.ts'
import type { WireReader, WireWriter } from './bytes.ts'
import { array, bool, int16, int32, int64, type Shape, string, struct, tagged } from './shape.ts'

export interface ApiVersionsRequest {
  /** Letters, digits, `-` and `.`; else error 42. */
  readonly clientSoftwareName: string
  readonly clientSoftwareVersion: string
}

export interface ApiVersionRange {
  readonly apiKey: number
  readonly minVersion: number
  readonly maxVersion: number
}
export interface SupportedFeature {
  readonly name: string
  readonly minVersion: number
  readonly maxVersion: number
}
export interface FinalizedFeature {
  readonly name: string
  /** What the whole cluster has agreed on: `transaction.version` 2 or more means transaction protocol 2. */
  readonly maxVersionLevel: number
  readonly minVersionLevel: number
}
export interface ApiVersionsResponse {
  readonly error: number
  readonly apiKeys: readonly ApiVersionRange[]
  readonly throttleMs: number
  readonly supportedFeatures: readonly SupportedFeature[] | undefined
  readonly finalizedFeaturesEpoch: number | undefined
  readonly finalizedFeatures: readonly FinalizedFeature[] | undefined
  readonly zkMigrationReady: boolean | undefined
}

const UNSUPPORTED_VERSION = 35

const apiKeys: Shape<readonly ApiVersionRange[]> = array(struct<ApiVersionRange>({ apiKey: int16, minVersion: int16, maxVersion: int16 }))
const spoken: Api<ApiVersionsRequest, ApiVersionsResponse> = api({
  key: 18,
  name: 'ApiVersions',
  versions: [3, 4],
  request: struct<ApiVersionsRequest>({ clientSoftwareName: string, clientSoftwareVersion: string }),
  response: struct<ApiVersionsResponse>({
    error: int16,
    apiKeys,
    throttleMs: int32,
    supportedFeatures: tagged(0, array(struct<SupportedFeature>({ name: string, minVersion: int16, maxVersion: int16 }))),
    finalizedFeaturesEpoch: tagged(1, int64),
    finalizedFeatures: tagged(2, array(struct<FinalizedFeature>({ name: string, maxVersionLevel: int16, minVersionLevel: int16 }))),
    zkMigrationReady: tagged(3, bool),
  }),
})

export const apiVersions: Api<ApiVersionsRequest, ApiVersionsResponse> = {
  ...spoken,
  decode: (reader, version) => (speaksVersion(reader) ? spoken.decode(reader, version) : decodeVersion0(reader)),
  encodeResponse: (response, version, writer) =>
    response.error === UNSUPPORTED_VERSION ? encodeVersion0(response, writer) : spoken.encodeResponse(response, version, writer),
}

function speaksVersion(reader: WireReader): boolean {
  const error = reader.int16()
  reader.at -= 2
  return error !== UNSUPPORTED_VERSION
}

function decodeVersion0(reader: WireReader): ApiVersionsResponse {
  reader.message = 'an answer of ApiVersions 0'
  reader.flexible = false
  return {
    error: reader.int16(),
    apiKeys: apiKeys.read(reader),
    throttleMs: 0,
    supportedFeatures: undefined,
    finalizedFeaturesEpoch: undefined,
    finalizedFeatures: undefined,
    zkMigrationReady: undefined,
  }
}

function encodeVersion0(response: ApiVersionsResponse, writer: WireWriter): void {
  writer.flexible = false
  writer.int16(response.error)
  apiKeys.write(writer, response.apiKeys)
}
