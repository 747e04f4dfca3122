/**
 * Groups, the coordinator's side: who is a member, in which generation, and whose commits count. The rules are those of Kafka's classic
 * protocol with eager rebalancing, without its network.
 *
 * A rebalance asks every member of the current generation to let go and waits for each of them, at most for its session. Until the new
 * generation begins, commits of the old one count; from then on only those of the new one do. A static member that comes back takes the
 * seat of its predecessor and moves nothing.
 *
 *   empty --join--> stable <--all let go-- revoking
 *                     `----join, leave, rejoin, expulsion----^
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import type { Assignment, GroupEvent, GroupMember, Identity, JoinOptions, TopicPartition } from '../../ports/log.ts'

/** What a membership gets told. `replaced` is final; after `lost` it may join again. */
export type SeatEvent = GroupEvent | { readonly kind: 'replaced'; readonly error: TidemarkError }

export interface Seat {
  readonly member: string
  readonly instance: string | undefined
  readonly sessionMs: number
}

interface SeatState extends Seat {
  readonly userData: () => Uint8Array
  readonly assign: JoinOptions['assign']
  readonly tell: (event: SeatEvent) => void
  /** When the member was last heard of, by the monotonic clock. */
  seenAt: number
  /** Part of the current generation. */
  seated: boolean
  /** Has let go, or holds nothing to let go. */
  ready: boolean
  partitions: readonly TopicPartition[]
  assigned: Uint8Array
  readonly gone: AbortController
}

interface Group {
  readonly name: string
  readonly seats: Map<string, SeatState>
  generation: number
  /** When the rebalance began that is under way. */
  revokingSince: number | undefined
  /** Counts rebalances, so that an answer to an earlier one is told from an answer to this. */
  round: number
  /** The functions of members are being called; what they ask for meanwhile comes after. */
  planning: boolean
  again: boolean
}

/** Openings of the log are this far apart in generation numbers, so no generation is ever used twice. */
const GENERATIONS_AN_OPENING = 1_000_000

export class Groups {
  private readonly groups = new Map<string, Group>()
  private readonly clock: Clock
  private readonly random: Random
  private readonly firstGeneration: number

  /** @param incarnation counts the openings of the log */
  constructor(clock: Clock, random: Random, incarnation: number) {
    this.clock = clock
    this.random = random
    this.firstGeneration = incarnation * GENERATIONS_AN_OPENING
  }

  /** Takes a seat. What comes of it is told, the first assignment before this returns if nobody has to let go first. */
  join(name: string, options: JoinOptions, tell: (event: SeatEvent) => void): Seat {
    const group = this.group(name)
    const { instance, sessionMs, userData, assign } = options
    const member = `${instance ?? 'member'}-${this.random.id()}`
    const former = instance === undefined ? undefined : [...group.seats.values()].find((seat) => seat.instance === instance)
    const seat: SeatState = {
      member,
      instance,
      sessionMs,
      userData,
      assign,
      tell,
      seenAt: this.clock.mono(),
      seated: false,
      ready: true,
      partitions: [],
      assigned: Buffer.alloc(0),
      gone: new AbortController(),
    }
    if (former !== undefined) this.replace(group, former, seat)
    else {
      group.seats.set(member, seat)
      this.rebalance(group)
    }
    void this.watch(group, seat)
    return seat
  }

  /** Tells that a member lives. False when it is no member any more. */
  heartbeat(name: string, member: string): boolean {
    const seat = this.groups.get(name)?.seats.get(member)
    if (seat === undefined) return false
    seat.seenAt = this.clock.mono()
    return true
  }

  rejoin(name: string, member: string): void {
    const group = this.groups.get(name)
    if (group?.seats.has(member)) this.rebalance(group)
  }

  leave(name: string, member: string): void {
    const group = this.groups.get(name)
    const seat = group?.seats.get(member)
    if (group === undefined || seat === undefined) return
    this.remove(group, seat)
    this.rebalance(group)
  }

  /** Why a commit of this identity does not count, or undefined when it does. */
  refusal(name: string, identity: Identity): TidemarkError | undefined {
    const group = this.groups.get(name)
    const seat = group?.seats.get(identity.member)
    if (group === undefined || seat === undefined) {
      const successor = [...(group?.seats.values() ?? [])].find((each) => each.instance === identity.instance)
      if (identity.instance === undefined || successor === undefined)
        return rejected(name, identity, 'It is no member of the group any more.')
      return rejected(name, identity, `Another process is "${identity.instance}" by now.`)
    }
    if (seat.instance !== identity.instance) return rejected(name, identity, `Its instance is "${seat.instance}".`)
    if (seat.seated && identity.generation === group.generation) return undefined
    return rejected(name, identity, `The group is in generation ${group.generation}; the commit was made in ${identity.generation}.`)
  }

  /** Ends every seat, without telling anybody. */
  close(): void {
    for (const group of this.groups.values()) for (const seat of group.seats.values()) seat.gone.abort()
    this.groups.clear()
  }

  private group(name: string): Group {
    let group = this.groups.get(name)
    if (group === undefined) {
      group = {
        name,
        seats: new Map(),
        generation: this.firstGeneration,
        revokingSince: undefined,
        round: 0,
        planning: false,
        again: false,
      }
      this.groups.set(name, group)
    }
    return group
  }

  /** A static member came back before its session was over. */
  private replace(group: Group, former: SeatState, seat: SeatState): void {
    // The new one takes the old one's place in the order, so the leader stays the leader.
    const seats = [...group.seats.values()]
    group.seats.clear()
    for (const each of seats) group.seats.set(each === former ? seat.member : each.member, each === former ? seat : each)
    former.gone.abort()
    former.tell({ kind: 'replaced', error: replaced(group.name, former) })
    if (group.revokingSince !== undefined || !former.seated) {
      this.rebalance(group)
      return
    }
    seat.partitions = former.partitions
    seat.assigned = former.assigned
    this.seat(group, seat)
  }

  private remove(group: Group, seat: SeatState): void {
    group.seats.delete(seat.member)
    seat.gone.abort()
  }

  private rebalance(group: Group): void {
    if (group.planning) {
      group.again = true
      return
    }
    if (group.revokingSince === undefined) {
      group.revokingSince = this.clock.mono()
      const round = ++group.round
      for (const seat of group.seats.values()) {
        seat.ready = !seat.seated
        if (!seat.ready) seat.tell({ kind: 'revoking', done: () => this.letGo(group, seat, round) })
      }
    }
    this.complete(group)
  }

  private letGo(group: Group, seat: SeatState, round: number): void {
    if (group.round !== round || group.revokingSince === undefined || seat.ready) return
    seat.ready = true
    this.complete(group)
  }

  /** Begins the next generation, if everybody has let go. */
  private complete(group: Group): void {
    if (group.revokingSince === undefined || group.planning) return
    let plan: ReadonlyMap<string, Assignment> | undefined
    while (plan === undefined && group.seats.size > 0) {
      const seats = [...group.seats.values()]
      if (seats.some(({ ready }) => !ready)) return
      group.planning = true
      plan = this.plan(group, seats)
      group.planning = false
    }
    group.revokingSince = undefined
    if (plan === undefined) return
    group.generation++
    for (const seat of group.seats.values()) {
      const assignment = plan.get(seat.member)
      seat.partitions = assignment?.partitions ?? []
      seat.assigned = assignment?.userData ?? Buffer.alloc(0)
      this.seat(group, seat)
    }
    if (!group.again) return
    group.again = false
    this.rebalance(group)
  }

  /** What the leader decides; undefined when a member whose function threw had to go first. */
  private plan(group: Group, seats: readonly SeatState[]): ReadonlyMap<string, Assignment> | undefined {
    const members: GroupMember[] = []
    let asked = seats[0] as SeatState
    try {
      for (const seat of seats) {
        asked = seat
        members.push({ member: seat.member, instance: seat.instance, userData: seat.userData() })
      }
      asked = seats[0] as SeatState
      return new Map(asked.assign(members))
    } catch (error) {
      this.expel(group, asked, `Its part of the assignment failed: ${messageOf(error)}`, error)
      return undefined
    }
  }

  private seat(group: Group, seat: SeatState): void {
    seat.seated = true
    const { member, instance, partitions, assigned } = seat
    const identity = { member, generation: group.generation, instance }
    seat.tell({ kind: 'assigned', identity, partitions, userData: assigned })
  }

  private expel(group: Group, seat: SeatState, why: string, cause?: unknown): void {
    this.remove(group, seat)
    const error = new TidemarkError('MEMBER_LOST', `group "${group.name}" has given up a member`, { detail: why, cause })
    seat.tell({ kind: 'lost', error })
  }

  /** Expels a member that is silent for a session, or does not let go for one. */
  private async watch(group: Group, seat: SeatState): Promise<void> {
    const { signal } = seat.gone
    while (!signal.aborted) {
      const now = this.clock.mono()
      const letGoBy = seat.ready || group.revokingSince === undefined ? Infinity : group.revokingSince + seat.sessionMs
      const until = Math.min(seat.seenAt + seat.sessionMs, letGoBy)
      if (until <= now) {
        const silent = now >= seat.seenAt + seat.sessionMs
        this.expel(group, seat, `It ${silent ? 'was not heard of' : 'did not let go of its partitions'} for ${seat.sessionMs} ms.`)
        return this.rebalance(group)
      }
      try {
        await this.clock.sleep(until - now, signal)
      } catch {
        return
      }
    }
  }
}

function rejected(group: string, identity: Identity, why: string): TidemarkError {
  return new TidemarkError('COMMIT_REJECTED', `group "${group}" refuses a commit of a former owner`, {
    detail: `Member ${identity.member} of generation ${identity.generation}: ${why}`,
  })
}

function replaced(group: string, seat: Seat): TidemarkError {
  return new TidemarkError('MEMBER_REPLACED', `another process is "${seat.instance}" of group "${group}" by now`, {
    detail: `Member ${seat.member} was replaced and is not let in again.`,
    hint: 'Two processes run under one instance name. Give each its own, or stop one of them.',
  })
}
