/**
 * JoinGroup 9: enters a group, or enters it anew. Answered when all members have joined, so it blocks its socket until then.
 *
 *   request  => groupId:string sessionTimeoutMs:int32 rebalanceTimeoutMs:int32 memberId:string instanceId:string? protocolType:string
 *               protocols:[name:string metadata:bytes] reason:string?
 *   response => throttleMs:int32 error:int16 generationId:int32 protocolType:string? protocolName:string? leader:string
 *               skipAssignment:bool memberId:string members:[memberId:string instanceId:string? metadata:bytes]
 */
import { type Api, api } from './api.ts'
import { array, bool, bytes, int16, int32, nullableString, string, struct } from './shape.ts'

export interface JoinGroupProtocol {
  readonly name: string
  /** For consumers: `encodeSubscription`. */
  readonly metadata: Buffer
}
export interface JoinGroupRequest {
  readonly groupId: string
  /** Outside the broker's limits: 26. */
  readonly sessionTimeoutMs: number
  /** How long the others wait for this member at a rebalance. */
  readonly rebalanceTimeoutMs: number
  /** '' at first. A dynamic member is then given one with 79 MEMBER_ID_REQUIRED and joins again. */
  readonly memberId: string
  readonly instanceId: string | null
  readonly protocolType: string
  readonly protocols: readonly JoinGroupProtocol[]
  /** For the broker's log. */
  readonly reason: string | null
}

export interface JoinGroupMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly metadata: Buffer
}
export interface JoinGroupResponse {
  readonly throttleMs: number
  readonly error: number
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leader: string
  /** A leader that came back as the same static member: it sends SyncGroup without assignments. */
  readonly skipAssignment: boolean
  readonly memberId: string
  /** All members for the leader, none for the others. */
  readonly members: readonly JoinGroupMember[]
}

export const joinGroup: Api<JoinGroupRequest, JoinGroupResponse> = api({
  key: 11,
  name: 'JoinGroup',
  versions: [9, 9],
  request: struct<JoinGroupRequest>({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: int32,
    memberId: string,
    instanceId: nullableString,
    protocolType: string,
    protocols: array(struct<JoinGroupProtocol>({ name: string, metadata: bytes })),
    reason: nullableString,
  }),
  response: struct<JoinGroupResponse>({
    throttleMs: int32,
    error: int16,
    generationId: int32,
    protocolType: nullableString,
    protocolName: nullableString,
    leader: string,
    skipAssignment: bool,
    memberId: string,
    members: array(struct<JoinGroupMember>({ memberId: string, instanceId: nullableString, metadata: bytes })),
  }),
})
