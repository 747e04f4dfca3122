/**
 * DescribeGroups 5: classic groups with their members and what each was given. Goes to each group's coordinator.
 *
 *   request  => groups:[string] includeAuthorizedOperations:bool
 *   response => throttleMs:int32 groups:[error:int16 groupId:string state:string protocolType:string protocolName:string
 *               members:[memberId:string instanceId:string? clientId:string clientHost:string metadata:bytes assignment:bytes]
 *               authorizedOperations:int32]
 */
import { type Api, api } from './api.ts'
import { array, bool, bytes, int16, int32, nullableString, string, struct } from './shape.ts'

export interface DescribeGroupsRequest {
  readonly groups: readonly string[]
  readonly includeAuthorizedOperations: boolean
}

export interface DescribedMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  /** For consumers: `decodeSubscription`. Empty while the group is not stable. */
  readonly metadata: Buffer
  /** For consumers: `decodeAssignment`. Empty while the group is not stable. */
  readonly assignment: Buffer
}
export interface DescribedGroup {
  readonly error: number
  readonly groupId: string
  /** `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, or `Dead`, which includes groups that do not exist. */
  readonly state: string
  readonly protocolType: string
  readonly protocolName: string
  readonly members: readonly DescribedMember[]
  /** Bits by operation; -2^31 when it was not asked for. */
  readonly authorizedOperations: number
}
export interface DescribeGroupsResponse {
  readonly throttleMs: number
  readonly groups: readonly DescribedGroup[]
}

export const describeGroups: Api<DescribeGroupsRequest, DescribeGroupsResponse> = api({
  key: 15,
  name: 'DescribeGroups',
  versions: [5, 5],
  request: struct<DescribeGroupsRequest>({ groups: array(string), includeAuthorizedOperations: bool }),
  response: struct<DescribeGroupsResponse>({
    throttleMs: int32,
    groups: array(
      struct<DescribedGroup>({
        error: int16,
        groupId: string,
        state: string,
        protocolType: string,
        protocolName: string,
        members: array(
          struct<DescribedMember>({
            memberId: string,
            instanceId: nullableString,
            clientId: string,
            clientHost: string,
            metadata: bytes,
            assignment: bytes,
          }),
        ),
        authorizedOperations: int32,
      }),
    ),
  }),
})
