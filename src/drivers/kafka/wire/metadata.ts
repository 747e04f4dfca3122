/**
 * Metadata 12: brokers, and topics by name or id with their leaders. Topics come in the broker's own order: match them by name.
 *
 *   request  => topics:[topicId:uuid name:string?]? allowAutoTopicCreation:bool includeTopicAuthorizedOperations:bool
 *   response => throttleMs:int32 brokers:[nodeId:int32 host:string port:int32 rack:string?] clusterId:string? controllerId:int32
 *               [error:int16 name:string? topicId:uuid internal:bool [error:int16 partition:int32 leaderId:int32 leaderEpoch:int32
 *               replicas:[int32] inSyncReplicas:[int32] offlineReplicas:[int32]] authorizedOperations:int32]
 */
import { type Api, api } from './api.ts'
import { NO_UUID } from './bytes.ts'
import { array, bool, int16, int32, nullableArray, nullableString, optional, string, struct, uuid } from './shape.ts'

export interface MetadataTopicRequest {
  /** Left out: none, the name counts. */
  readonly topicId?: string
  readonly name: string | null
}
export interface MetadataRequest {
  /** Null asks for all topics, an empty list for none. */
  readonly topics: readonly MetadataTopicRequest[] | null
  readonly allowAutoTopicCreation: boolean
  readonly includeTopicAuthorizedOperations: boolean
}

export interface MetadataBroker {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
}
export interface MetadataPartition {
  /** 5 LEADER_NOT_AVAILABLE while there is none. */
  readonly error: number
  readonly partition: number
  /** -1 for none. */
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  readonly offlineReplicas: readonly number[]
}
export interface MetadataTopic {
  readonly error: number
  /** Null when it was asked for by an id that does not exist. */
  readonly name: string | null
  readonly topicId: string
  readonly internal: boolean
  readonly partitions: readonly MetadataPartition[]
  /** Bits by operation; -2^31 when it was not asked for. */
  readonly authorizedOperations: number
}
export interface MetadataResponse {
  readonly throttleMs: number
  readonly brokers: readonly MetadataBroker[]
  readonly clusterId: string | null
  readonly controllerId: number
  readonly topics: readonly MetadataTopic[]
}

export const metadata: Api<MetadataRequest, MetadataResponse> = api({
  key: 3,
  name: 'Metadata',
  versions: [12, 12],
  request: struct<MetadataRequest>({
    topics: nullableArray(struct<MetadataTopicRequest>({ topicId: optional(uuid, NO_UUID), name: nullableString })),
    allowAutoTopicCreation: bool,
    includeTopicAuthorizedOperations: bool,
  }),
  response: struct<MetadataResponse>({
    throttleMs: int32,
    brokers: array(struct<MetadataBroker>({ nodeId: int32, host: string, port: int32, rack: nullableString })),
    clusterId: nullableString,
    controllerId: int32,
    topics: array(
      struct<MetadataTopic>({
        error: int16,
        name: nullableString,
        topicId: uuid,
        internal: bool,
        partitions: array(
          struct<MetadataPartition>({
            error: int16,
            partition: int32,
            leaderId: int32,
            leaderEpoch: int32,
            replicas: array(int32),
            inSyncReplicas: array(int32),
            offlineReplicas: array(int32),
          }),
        ),
        authorizedOperations: int32,
      }),
    ),
  }),
})
