/**
 * SyncGroup 5: the leader hands in what each member gets, and each member gets it. Answered when the leader has sent its own.
 *
 *   request  => groupId:string generationId:int32 memberId:string instanceId:string? protocolType:string? protocolName:string?
 *               assignments:[memberId:string assignment:bytes]
 *   response => throttleMs:int32 error:int16 protocolType:string? protocolName:string? assignment:bytes
 */
import { type Api, api } from './api.ts'
import { array, bytes, int16, int32, nullableString, string, struct } from './shape.ts'

export interface MemberAssignment {
  readonly memberId: string
  /** For consumers: `encodeAssignment`. The broker stores all of them as one record, so they must stay small. */
  readonly assignment: Buffer
}
export interface SyncGroupRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly protocolType: string | null
  readonly protocolName: string | null
  /** Empty from all but the leader. */
  readonly assignments: readonly MemberAssignment[]
}
export interface SyncGroupResponse {
  readonly throttleMs: number
  readonly error: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  /** Empty for a member that the leader gave nothing. */
  readonly assignment: Buffer
}

export const syncGroup: Api<SyncGroupRequest, SyncGroupResponse> = api({
  key: 14,
  name: 'SyncGroup',
  versions: [5, 5],
  request: struct<SyncGroupRequest>({
    groupId: string,
    generationId: int32,
    memberId: string,
    instanceId: nullableString,
    protocolType: nullableString,
    protocolName: nullableString,
    assignments: array(struct<MemberAssignment>({ memberId: string, assignment: bytes })),
  }),
  response: struct<SyncGroupResponse>({
    throttleMs: int32,
    error: int16,
    protocolType: nullableString,
    protocolName: nullableString,
    assignment: bytes,
  }),
})
