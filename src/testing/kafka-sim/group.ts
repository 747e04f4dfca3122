/**
 * One group at its simulated coordinator, by the classic protocol as Kafka has it: members, generations, the barrier of a rebalance, sessions,
 * static members, and what is left of all that when another broker becomes the coordinator.
 *
 *   empty ──join──► preparing ──all have joined, or time is over──► completing ──the leader has sent what it decided──► stable
 *     ▲                 ▲───────────somebody joins, leaves, or is silent for its session──────────────────────────────────┘
 *     └──described is left─┘
 */
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import type { JoinGroupRequest, JoinGroupResponse } from '../../drivers/kafka/wire/join-group.ts'
import type { LeavingMember } from '../../drivers/kafka/wire/leave-group.ts'
import type { SyncGroupRequest, SyncGroupResponse } from '../../drivers/kafka/wire/sync-group.ts'
import { described, type Member, newMember, refusedJoin, refusedSync } from './member.ts'
import { GroupOffsets } from './positions.ts'
import type { Timeline } from './timeline.ts'

type State = 'empty' | 'preparing' | 'completing' | 'stable'

interface Who {
  readonly memberId: string
  readonly instanceId: string | null
  readonly generationId: number
}

/** What a coordinator has written down, and the next one reads. */
interface Snapshot {
  readonly generation: number
  readonly leader: string
  readonly members: readonly Member[]
}

const NOTHING = Buffer.alloc(0)

export class Group {
  readonly id: string
  readonly offsets: GroupOffsets = new GroupOffsets()
  readonly #timeline: Timeline
  #state: State = 'empty'
  #generation = 0
  #leader = ''
  #members = new Map<string, Member>()
  /** Ids that were given out and not used yet. */
  readonly #promised = new Set<string>()
  #protocol = ''
  #ids = 0
  #snapshot: Snapshot = { generation: 0, leader: '', members: [] }
  #cancel: () => void = () => {}

  constructor(id: string, timeline: Timeline) {
    this.id = id
    this.#timeline = timeline
  }

  // --- joining -----------------------------------------------------------------------------------------------------------------

  join(request: JoinGroupRequest, clientId: string): Promise<JoinGroupResponse> {
    const { memberId, instanceId } = request
    const refuse = (error: number, id = memberId): Promise<JoinGroupResponse> => Promise.resolve(refusedJoin(error, id))
    if (memberId === '') {
      const id = `${instanceId ?? clientId}-${this.id}-${this.#ids++}`
      if (instanceId === null) {
        this.#promised.add(id)
        return refuse(E.MEMBER_ID_REQUIRED, id)
      }
      const former = this.#byInstance(instanceId)
      return former === undefined ? this.#enter(newMember(id, request)) : this.#replace(former, id, request)
    }
    if (this.#promised.delete(memberId)) return this.#enter(newMember(memberId, request))
    const error = this.#stranger(memberId, instanceId)
    if (error !== E.NONE) return refuse(error)
    const member = this.#members.get(memberId) as Member
    const changed = !member.metadata.equals(request.protocols[0]?.metadata ?? NOTHING)
    if (this.#state === 'completing' && !changed) return Promise.resolve(this.#joined(member))
    if (this.#state === 'stable' && memberId !== this.#leader && !changed) return Promise.resolve(this.#joined(member))
    return this.#again(member, request)
  }

  #enter(member: Member): Promise<JoinGroupResponse> {
    this.#members.set(member.id, member)
    if (this.#leader === '') this.#leader = member.id
    return this.#await(member)
  }

  #again(member: Member, request: JoinGroupRequest): Promise<JoinGroupResponse> {
    Object.assign(member, described(request))
    return this.#await(member)
  }

  #await(member: Member): Promise<JoinGroupResponse> {
    return new Promise((resolve) => {
      member.joining = resolve
      if (this.#state !== 'preparing') this.#prepare()
      else this.#completeIfAll()
    })
  }

  /** A static member comes back as another process. In a stable group described else notices. */
  #replace(former: Member, id: string, request: JoinGroupRequest): Promise<JoinGroupResponse> {
    former.joining?.(refusedJoin(E.FENCED_INSTANCE_ID, former.id))
    former.syncing?.(refusedSync(E.FENCED_INSTANCE_ID))
    former.forget()
    const member: Member = { ...newMember(id, request), assignment: former.assignment, synced: former.synced }
    // In the place of the former one: the order of members is the order in which they came.
    this.#members = new Map([...this.#members].map(([key, each]) => (each === former ? [id, member] : [key, each])))
    const led = this.#leader === former.id
    if (led) this.#leader = id
    if (this.#state !== 'stable') return this.#await(member)
    this.#watch(member)
    this.#write()
    return Promise.resolve({ ...this.#joined(member), skipAssignment: led })
  }

  #prepare(): void {
    for (const member of this.#members.values()) {
      member.syncing?.(refusedSync(E.REBALANCE_IN_PROGRESS))
      member.syncing = undefined
    }
    this.#state = 'preparing'
    this.#deadline('rebalance', () => this.#complete(true))
    this.#completeIfAll()
  }

  #deadline(what: string, over: () => void): void {
    this.#cancel()
    const ms = Math.max(0, ...[...this.#members.values()].map(({ rebalanceMs }) => rebalanceMs))
    this.#cancel = this.#timeline.after(ms, `${what} of group ${this.id} is over`, over)
  }

  #completeIfAll(): void {
    if (this.#state === 'preparing' && [...this.#members.values()].every(({ joining }) => joining !== undefined)) this.#complete(false)
  }

  #complete(overdue: boolean): void {
    const joined = [...this.#members.values()].filter(({ joining }) => joining !== undefined)
    // Static members are waited for until their session ends.
    if (overdue)
      for (const member of this.#members.values()) if (member.joining === undefined && member.instance === null) this.#drop(member)
    const [first] = joined
    if (first === undefined && this.#members.size > 0) {
      this.#deadline('rebalance', () => this.#complete(true))
      return
    }
    this.#cancel()
    this.#generation += 1
    if (first === undefined) {
      this.#state = 'empty'
      this.#leader = ''
      this.#write()
      return
    }
    if (this.#members.get(this.#leader)?.joining === undefined) this.#leader = first.id
    this.#state = 'completing'
    this.#protocol = first.protocol
    for (const member of this.#members.values()) {
      member.synced = false
      this.#watch(member)
      const answer = member.joining
      member.joining = undefined
      answer?.(this.#joined(member))
    }
    this.#deadline('synchronisation', () => this.#expectSync())
  }

  #joined(member: Member): JoinGroupResponse {
    const leads = member.id === this.#leader
    return {
      throttleMs: 0,
      error: E.NONE,
      generationId: this.#generation,
      protocolType: 'consumer',
      protocolName: this.#protocol,
      leader: this.#leader,
      skipAssignment: false,
      memberId: member.id,
      members: leads
        ? [...this.#members.values()].map(({ id, instance, metadata }) => ({ memberId: id, instanceId: instance, metadata }))
        : [],
    }
  }

  // --- synchronising -----------------------------------------------------------------------------------------------------------

  sync({ assignments, protocolName, ...who }: SyncGroupRequest): Promise<SyncGroupResponse> {
    const error = this.memberError(who)
    if (error !== E.NONE) return Promise.resolve(refusedSync(error))
    if (protocolName !== this.#protocol) return Promise.resolve(refusedSync(E.INCONSISTENT_GROUP_PROTOCOL))
    const member = this.#members.get(who.memberId) as Member
    if (this.#state === 'preparing') return Promise.resolve(refusedSync(E.REBALANCE_IN_PROGRESS))
    member.synced = true
    if (this.#state === 'stable') {
      this.#watch(member)
      return Promise.resolve(given(member, this.#protocol))
    }
    return new Promise((resolve) => {
      member.syncing = resolve
      if (member.id === this.#leader)
        this.#settle(new Map(assignments.map(({ memberId, assignment }) => [memberId, Buffer.from(assignment)])))
    })
  }

  #settle(assignments: ReadonlyMap<string, Buffer>): void {
    this.#state = 'stable'
    for (const member of this.#members.values()) member.assignment = assignments.get(member.id) ?? NOTHING
    this.#write()
    for (const member of this.#members.values()) {
      const answer = member.syncing
      member.syncing = undefined
      if (answer !== undefined) this.#watch(member)
      answer?.(given(member, this.#protocol))
    }
  }

  /** Who has joined and does not ask for its part is given up. */
  #expectSync(): void {
    const silent = [...this.#members.values()].filter(({ synced }) => !synced)
    if (silent.length === 0 || (this.#state !== 'stable' && this.#state !== 'completing')) return
    for (const member of silent) this.#drop(member)
    this.#prepare()
  }

  // --- staying and leaving -----------------------------------------------------------------------------------------------------

  heartbeat(who: Who): number {
    const error = this.memberError(who)
    if (error !== E.NONE) return error
    const member = this.#members.get(who.memberId) as Member
    this.#watch(member)
    if (this.#state === 'completing') member.synced = true
    return this.#state === 'preparing' ? E.REBALANCE_IN_PROGRESS : E.NONE
  }

  leave({ memberId, instanceId }: LeavingMember): number {
    const id = memberId === '' && instanceId !== null ? (this.#byInstance(instanceId)?.id ?? '') : memberId
    if (this.#promised.delete(id)) return E.NONE
    const error = this.#stranger(id, instanceId)
    if (error === E.NONE) this.#remove(this.#members.get(id) as Member)
    return error
  }

  /** Whether somebody is a member of this generation; 0 when so. */
  memberError({ memberId, instanceId, generationId }: Who): number {
    const error = this.#stranger(memberId, instanceId)
    return error === E.NONE && generationId !== this.#generation ? E.ILLEGAL_GENERATION : error
  }

  /** Whether positions may be committed in this name; 0 when so. */
  commitError(who: Who, transactional: boolean): number {
    const anonymous = who.generationId < 0 && who.memberId === '' && who.instanceId === null
    // In a transaction described who gives no name is held to one, as in Kafka: that is what a driver must never do.
    if (anonymous) return transactional || this.#members.size === 0 ? E.NONE : E.UNKNOWN_MEMBER_ID
    if (who.generationId < 0 && this.#state === 'empty') return E.NONE
    const error = this.memberError(who)
    if (error !== E.NONE || transactional) return error
    if (this.#state === 'completing') return E.REBALANCE_IN_PROGRESS
    this.#watch(this.#members.get(who.memberId) as Member)
    return E.NONE
  }

  #stranger(memberId: string, instanceId: string | null): number {
    const holder = instanceId === null ? undefined : this.#byInstance(instanceId)
    if (holder !== undefined && holder.id !== memberId) return E.FENCED_INSTANCE_ID
    return this.#members.has(memberId) ? E.NONE : E.UNKNOWN_MEMBER_ID
  }

  #byInstance(instance: string): Member | undefined {
    return [...this.#members.values()].find((member) => member.instance === instance)
  }

  /** Heard of: its session begins anew. */
  #watch(member: Member): void {
    member.forget()
    const over = (): void => {
      if (this.#members.get(member.id) !== member) return
      // Who waits for an answer of ours is not silent.
      if (member.joining !== undefined || member.syncing !== undefined) this.#watch(member)
      else this.#remove(member)
    }
    member.forget = this.#timeline.after(member.sessionMs, `session of ${member.id} is over`, over)
  }

  #drop(member: Member): void {
    member.forget()
    member.joining?.(refusedJoin(E.UNKNOWN_MEMBER_ID, member.id))
    member.syncing?.(refusedSync(E.UNKNOWN_MEMBER_ID))
    this.#members.delete(member.id)
    if (this.#leader === member.id) this.#leader = this.#members.keys().next().value ?? ''
  }

  #remove(member: Member): void {
    this.#drop(member)
    if (this.#state === 'preparing') this.#completeIfAll()
    else this.#prepare()
  }

  // --- another coordinator -----------------------------------------------------------------------------------------------------

  #write(): void {
    const members = [...this.#members.values()].map((member) => ({ ...member }))
    this.#snapshot = { generation: this.#generation, leader: this.#leader, members }
  }

  /** Its coordinator is none any more: whoever waits is told so, and what was not written down is forgotten. */
  unload(): void {
    this.#cancel()
    for (const member of this.#members.values()) {
      member.forget()
      member.joining?.(refusedJoin(E.NOT_COORDINATOR, member.id))
      member.syncing?.(refusedSync(E.NOT_COORDINATOR))
    }
    this.#members = new Map()
    this.#promised.clear()
  }

  /** The next coordinator has read what was written down: sessions begin anew. */
  load(): void {
    const { generation, leader, members } = this.#snapshot
    this.#generation = generation
    this.#leader = leader
    this.#members = new Map(
      members.map((member) => [member.id, { ...member, synced: true, joining: undefined, syncing: undefined, forget: () => {} }]),
    )
    this.#state = members.length === 0 ? 'empty' : 'stable'
    for (const member of this.#members.values()) this.#watch(member)
  }
}

function given({ assignment }: Member, protocolName: string): SyncGroupResponse {
  return { throttleMs: 0, error: E.NONE, protocolType: 'consumer', protocolName, assignment }
}
