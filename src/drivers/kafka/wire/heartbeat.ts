/**
 * Heartbeat 4: keeps a member alive and tells it of a rebalance (27).
 *
 *   request  => groupId:string generationId:int32 memberId:string instanceId:string?
 *   response => throttleMs:int32 error:int16
 */
import { type Api, api } from './api.ts'
import { int16, int32, nullableString, string, struct } from './shape.ts'

export interface HeartbeatRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
}
export interface HeartbeatResponse {
  readonly throttleMs: number
  readonly error: number
}

export const heartbeat: Api<HeartbeatRequest, HeartbeatResponse> = api({
  key: 12,
  name: 'Heartbeat',
  versions: [4, 4],
  request: struct<HeartbeatRequest>({ groupId: string, generationId: int32, memberId: string, instanceId: nullableString }),
  response: struct<HeartbeatResponse>({ throttleMs: int32, error: int16 }),
})
