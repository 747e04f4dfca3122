/**
 * LeaveGroup 5: members go, by their own wish or by an administrator's.
 *
 *   request  => groupId:string members:[memberId:string instanceId:string? reason:string?]
 *   response => throttleMs:int32 error:int16 members:[memberId:string instanceId:string? error:int16]
 */
import { type Api, api } from './api.ts'
import { array, int16, int32, nullableString, string, struct } from './shape.ts'

export interface LeavingMember {
  /** '' to name a static member by its instance id alone. */
  readonly memberId: string
  readonly instanceId: string | null
  /** For the broker's log. */
  readonly reason: string | null
}
export interface LeaveGroupRequest {
  readonly groupId: string
  readonly members: readonly LeavingMember[]
}

export interface LeftMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly error: number
}
export interface LeaveGroupResponse {
  readonly throttleMs: number
  readonly error: number
  readonly members: readonly LeftMember[]
}

export const leaveGroup: Api<LeaveGroupRequest, LeaveGroupResponse> = api({
  key: 13,
  name: 'LeaveGroup',
  versions: [5, 5],
  request: struct<LeaveGroupRequest>({
    groupId: string,
    members: array(struct<LeavingMember>({ memberId: string, instanceId: nullableString, reason: nullableString })),
  }),
  response: struct<LeaveGroupResponse>({
    throttleMs: int32,
    error: int16,
    members: array(struct<LeftMember>({ memberId: string, instanceId: nullableString, error: int16 })),
  }),
})
