/**
 * FindCoordinator 4: which broker looks after groups or transactional ids, several at once.
 *
 *   request  => keyType:int8 keys:[string]
 *   response => throttleMs:int32 [key:string nodeId:int32 host:string port:int32 error:int16 errorMessage:string?]
 */
import { type Api, api } from './api.ts'
import { array, int8, int16, int32, nullableString, string, struct } from './shape.ts'

export const GROUP_COORDINATOR = 0
export const TRANSACTION_COORDINATOR = 1

export interface FindCoordinatorRequest {
  /** `GROUP_COORDINATOR` or `TRANSACTION_COORDINATOR`. */
  readonly keyType: number
  readonly keys: readonly string[]
}
export interface Coordinator {
  readonly key: string
  /** -1 with an error. */
  readonly nodeId: number
  readonly host: string
  readonly port: number
  /** 15 COORDINATOR_NOT_AVAILABLE while its topic is being made. */
  readonly error: number
  readonly errorMessage: string | null
}
export interface FindCoordinatorResponse {
  readonly throttleMs: number
  readonly coordinators: readonly Coordinator[]
}

export const findCoordinator: Api<FindCoordinatorRequest, FindCoordinatorResponse> = api({
  key: 10,
  name: 'FindCoordinator',
  versions: [4, 4],
  request: struct<FindCoordinatorRequest>({ keyType: int8, keys: array(string) }),
  response: struct<FindCoordinatorResponse>({
    throttleMs: int32,
    coordinators: array(
      struct<Coordinator>({ key: string, nodeId: int32, host: string, port: int32, error: int16, errorMessage: nullableString }),
    ),
  }),
})
