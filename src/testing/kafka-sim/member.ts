/** A member of a simulated group, and the answers that it gets when it is refused. */
import type { JoinGroupRequest, JoinGroupResponse } from '../../drivers/kafka/wire/join-group.ts'
import type { SyncGroupResponse } from '../../drivers/kafka/wire/sync-group.ts'

export interface Member {
  readonly id: string
  readonly instance: string | null
  sessionMs: number
  rebalanceMs: number
  protocol: string
  metadata: Buffer
  assignment: Buffer
  /** It has asked for its part of this generation. */
  synced: boolean
  /** Who waits for the answer to a JoinGroup, and to a SyncGroup. */
  joining: ((answer: JoinGroupResponse) => void) | undefined
  syncing: ((answer: SyncGroupResponse) => void) | undefined
  /** Takes back the end of its session. */
  forget: () => void
}

/** What a member says of itself each time that it joins. */
export function described({
  sessionTimeoutMs,
  rebalanceTimeoutMs,
  protocols,
}: JoinGroupRequest): Pick<Member, 'sessionMs' | 'rebalanceMs' | 'protocol' | 'metadata'> {
  const [protocol] = protocols
  return {
    sessionMs: sessionTimeoutMs,
    rebalanceMs: rebalanceTimeoutMs,
    protocol: protocol?.name ?? '',
    metadata: Buffer.from(protocol?.metadata ?? []),
  }
}

export function newMember(id: string, request: JoinGroupRequest): Member {
  return {
    id,
    instance: request.instanceId,
    ...described(request),
    assignment: Buffer.alloc(0),
    synced: false,
    joining: undefined,
    syncing: undefined,
    forget: () => {},
  }
}

export function refusedJoin(error: number, memberId: string): JoinGroupResponse {
  return {
    throttleMs: 0,
    error,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: '',
    skipAssignment: false,
    memberId,
    members: [],
  }
}

export function refusedSync(error: number): SyncGroupResponse {
  return { throttleMs: 0, error, protocolType: null, protocolName: null, assignment: Buffer.alloc(0) }
}
