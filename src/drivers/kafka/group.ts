/**
 * A member of a group, by the classic protocol: JoinGroup 9, SyncGroup 5, Heartbeat 4, LeaveGroup 5, over a socket of its own, because a broker
 * answers JoinGroup only when all members have come.
 *
 * A rebalance waits for all members, for a dead one as long as its session. Until JoinGroup is answered the old generation counts, so a member
 * that is `fenced` joins at once and works on under it meanwhile, with heartbeats over another socket: what it commits too late is refused. A member
 * that is not lets its partitions go before JoinGroup is sent, because the others may have them before it hears that it lost them. Static members
 * (those with an instance name) come back without anybody else noticing.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { Mailbox } from '../../base/mailbox.ts'
import type { Assignment, GroupEvent, Identity, JoinOptions, Membership, TopicPartition } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import { closedError, isCoordinatorMoved, LinkLost } from './failures.ts'
import { assignmentBytes, assignmentOf, subscriptionBytes, toMember } from './group-bytes.ts'
import { Ended, endOf, isFinal } from './group-ends.ts'
import { Heart } from './group-heart.ts'
import { Troubles } from './group-troubles.ts'
import type { Purpose } from './lanes.ts'
import { GROUP } from './positions.ts'
import type { Api } from './wire/api.ts'
import { CONSUMER_PROTOCOL_TYPE } from './wire/consumer-protocol.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { heartbeat } from './wire/heartbeat.ts'
import { type JoinGroupResponse, joinGroup } from './wire/join-group.ts'
import { leaveGroup } from './wire/leave-group.ts'
import { syncGroup } from './wire/sync-group.ts'

export interface MembershipOptions {
  readonly cluster: Cluster
  readonly group: string
  readonly join: JoinOptions
  /** The name of the socket that is this member's alone. */
  readonly purpose: Purpose
  readonly onEnd: (membership: KafkaMembership) => void
}

const PROTOCOL = 'tidemark'
const NETWORK_MS = 5_000
const LEAVE_MS = 2_000

export class KafkaMembership implements Membership {
  private readonly options: MembershipOptions
  private readonly cluster: Cluster
  private readonly stop = new AbortController()
  private readonly rebalanceMs: number
  private readonly events = new Mailbox<GroupEvent>('a membership', ({ kind }) => {
    if (kind === 'assigned') this.void = false
  })
  private readonly heart: Heart
  private member = ''
  private generation = -1
  /** An assignment was told and not taken back. */
  private seated = false
  /** What the caller knows of its part does not count any more: membership was lost, or another generation has begun. */
  private void = false
  private left = false
  /** Why it will never be a member again. */
  private over: TidemarkError | undefined
  private nonce = 0
  private rejoining = false
  private readonly troubles: Troubles
  /** Since when the group says nothing but that it has no room. */
  private fullSince: number | undefined

  constructor(options: MembershipOptions) {
    const { cluster, join } = options
    const { sessionMs } = join
    if (!(sessionMs > 0 && Number.isFinite(sessionMs))) {
      throw new TidemarkError('OPTION_INVALID', 'sessionMs is not a duration', {
        detail: `It is ${sessionMs}.`,
        hint: 'Give milliseconds, such as 10000.',
      })
    }
    this.options = options
    this.cluster = cluster
    this.rebalanceMs = sessionMs
    this.troubles = new Troubles(cluster.clock, options.group, (error) => this.events.put({ kind: 'troubled', error }))
    this.heart = new Heart({
      clock: cluster.clock,
      sessionMs,
      troubles: this.troubles,
      signal: this.stop.signal,
      send: (beside) => this.heartbeat(beside),
      end: (error) => this.end('stay in', error),
    })
    void this.run()
  }

  next(signal: AbortSignal): Promise<GroupEvent> {
    return this.events.next(signal)
  }

  heartbeatAge(): number {
    return this.void ? Number.POSITIVE_INFINITY : this.heart.age
  }

  confirm(signal: AbortSignal): Promise<boolean> {
    const answer = this.heart.confirmations.ask(signal)
    // The loss was told, and is what `next` says.
    if (!this.seated && this.over === undefined && !this.left) this.heart.confirmations.refuse()
    this.heart.hurry()
    return answer
  }

  rejoin(): void {
    if (!this.seated || this.left) return
    this.rejoining = true
    this.heart.interrupt()
  }

  async leave(options: { keep: boolean }): Promise<void> {
    if (this.left) return
    this.left = true
    this.stop.abort(closedError('the membership'))
    this.events.clear()
    this.events.end(closedError('the membership'))
    this.heart.confirmations.end(closedError('the membership'))
    const { group, join, purpose, onEnd } = this.options
    const { member, cluster } = this
    if (member !== '' && !options.keep && this.over === undefined && !cluster.closing.aborted) {
      // Over another socket: our own may have a JoinGroup that waits for others.
      const leaving = { memberId: member, instanceId: join.instance ?? null, reason: 'it left' }
      await cluster
        .askCoordinator(GROUP, group, {
          api: leaveGroup,
          request: { groupId: group, members: [leaving] },
          errorOf: ({ error }) => error,
          again: true,
          patienceMs: LEAVE_MS,
          timeoutMs: LEAVE_MS,
        })
        // It is given up after its session then.
        .catch(() => {})
    }
    cluster.drop(purpose)
    onEnd(this)
  }

  // --- the life of a member ----------------------------------------------------------------------------------------------------

  private async run(): Promise<void> {
    const { signal } = this.stop
    const { clock, random, closing } = this.cluster
    while (!signal.aborted) {
      try {
        const assignment = await this.enter()
        if (signal.aborted) return
        this.seated = true
        const { member, generation } = this
        const identity: Identity = { member, generation, instance: this.options.join.instance }
        this.events.put({ kind: 'assigned', identity, ...assignment })
        await this.stay()
        if (this.options.join.fenced !== true) await this.letGo()
      } catch (error) {
        if (signal.aborted || closing.aborted) return
        this.onFailed(error)
        if (this.over !== undefined) return
        await clock.sleep(this.troubles.pauseMs(random.unit()), signal).catch(() => {})
      }
    }
  }

  /** Either it is over for good, and whoever waits hears why, or it is tried again for as long as it takes. There is nothing in between. */
  private onFailed(error: unknown): void {
    if (error instanceof Ended) this.onEnded(error)
    else if (isFinal(error)) {
      const failure =
        error instanceof TidemarkError
          ? error
          : new TidemarkError('MEMBER_LOST', `group "${this.options.group}": ${messageOf(error)}`, { cause: error })
      this.lose(failure)
      this.finish(failure)
    } else {
      // The group may count this member all the same, so nothing is given up before somebody says so.
      this.troubles.note(error)
    }
  }

  private onEnded({ failure, how }: Ended): void {
    if (how !== 'again') this.member = ''
    this.lose(failure)
    const now = this.cluster.clock.mono()
    this.fullSince = how === 'when it lasts' ? (this.fullSince ?? now) : undefined
    const full = this.fullSince !== undefined && now - this.fullSince > this.options.join.sessionMs
    if (how === 'for good' || full) {
      this.finish(failure)
      return
    }
    this.heart.confirmations.refuse()
    this.troubles.note(failure)
  }

  /** Takes back what was told: it is about partitions that others may own. */
  private lose(error: TidemarkError): void {
    if (!this.seated) return
    this.seated = false
    this.events.clear()
    this.void = true
    this.events.put({ kind: 'lost', error })
  }

  private finish(error: TidemarkError): void {
    this.over = error
    this.seated = false
    this.events.end(error)
    this.heart.confirmations.end(error)
  }

  // --- joining -----------------------------------------------------------------------------------------------------------------

  /** JoinGroup and SyncGroup, until the group is of one generation with us in it. */
  private async enter(): Promise<{ partitions: readonly TopicPartition[]; userData: Uint8Array }> {
    for (let attempt = 0; ; attempt++) {
      this.stop.signal.throwIfAborted()
      const joined = await this.joinOnce()
      if (joined === undefined) {
        if (attempt > 0) await this.cluster.pause(attempt)
        continue
      }
      const alive = this.heart.asking()
      const answer = await this.sync(joined, await this.plan(joined))
      if (answer.error === E.REBALANCE_IN_PROGRESS) continue
      if (answer.error !== E.NONE) throw this.end('begin a generation of', answer.error)
      alive()
      const assignment = assignmentOf(answer.assignment)
      this.troubles.over()
      return assignment
    }
  }

  /** One JoinGroup; undefined when another one is needed. */
  private async joinOnce(): Promise<JoinGroupResponse | undefined> {
    const { group, join } = this.options
    this.rejoining = false
    const metadata = subscriptionBytes(this.nonce, join.userData())
    const joining = this.ask(joinGroup, {
      request: {
        groupId: group,
        sessionTimeoutMs: join.sessionMs,
        rebalanceTimeoutMs: this.rebalanceMs,
        memberId: this.member,
        instanceId: join.instance ?? null,
        protocolType: CONSUMER_PROTOCOL_TYPE,
        protocols: [{ name: PROTOCOL, metadata }],
        reason: null,
      },
      timeoutMs: this.rebalanceMs + join.sessionMs + NETWORK_MS,
    })
    const passed = (): void => {
      this.void = true
    }
    const answer = await (this.seated ? this.heart.beatUntil(joining, passed) : joining)
    switch (answer.error) {
      case E.NONE:
        passed()
        this.member = answer.memberId
        this.generation = answer.generationId
        return answer
      case E.MEMBER_ID_REQUIRED:
        this.member = answer.memberId
        return undefined
      case E.REBALANCE_IN_PROGRESS:
        return undefined
      case E.UNKNOWN_MEMBER_ID:
        if (this.seated) throw this.end('join', answer.error)
        this.member = ''
        return undefined
      default:
        throw this.end('join', answer.error)
    }
  }

  /** What the leader decides; nothing from the others. */
  private async plan({ leader, memberId, skipAssignment, members }: JoinGroupResponse): Promise<ReadonlyMap<string, Assignment>> {
    if (leader !== memberId || skipAssignment) return new Map()
    try {
      return this.options.join.assign(members.map(toMember))
    } catch (error) {
      const { group, join } = this.options
      const request = { groupId: group, members: [{ memberId, instanceId: join.instance ?? null, reason: 'its assignor failed' }] }
      await this.ask(leaveGroup, { request, timeoutMs: LEAVE_MS }).catch(() => {})
      throw new Ended(
        new TidemarkError('MEMBER_LOST', `group "${group}" has no assignment`, {
          detail: `The leader's part of it failed: ${messageOf(error)}`,
          cause: error,
        }),
        'anew',
      )
    }
  }

  private sync(joined: JoinGroupResponse, plan: ReadonlyMap<string, Assignment>): Promise<{ error: number; assignment: Buffer }> {
    const { group, join } = this.options
    return this.ask(syncGroup, {
      request: {
        groupId: group,
        generationId: joined.generationId,
        memberId: joined.memberId,
        instanceId: join.instance ?? null,
        protocolType: CONSUMER_PROTOCOL_TYPE,
        protocolName: PROTOCOL,
        assignments: [...plan].map(([memberId, assignment]) => ({ memberId, assignment: assignmentBytes(assignment) })),
      },
      timeoutMs: this.rebalanceMs + NETWORK_MS,
    })
  }

  // --- staying -----------------------------------------------------------------------------------------------------------------

  /** Heartbeats, until partitions are to move. */
  private async stay(): Promise<void> {
    while (!this.rejoining) {
      await this.heart.rest()
      if (!this.rejoining && (await this.heart.beat()) === E.REBALANCE_IN_PROGRESS) return
    }
    // Without a difference the brokers would see no reason for a rebalance.
    this.nonce++
  }

  /** Asks the caller to let go, and keeps its membership alive until it has. */
  private async letGo(): Promise<void> {
    const revoking = { done: false }
    this.events.put({
      kind: 'revoking',
      done: () => {
        revoking.done = true
        this.heart.interrupt()
      },
    })
    while (!revoking.done) {
      await this.heart.rest()
      if (!revoking.done) await this.heart.beat()
    }
  }

  private async heartbeat(beside: boolean): Promise<number> {
    const { group, join, purpose } = this.options
    const request = { groupId: group, generationId: this.generation, memberId: this.member, instanceId: join.instance ?? null }
    const timeoutMs = Math.max(1_000, join.sessionMs / 3)
    return (await this.ask(heartbeat, { request, timeoutMs, purpose: beside ? `${purpose} beside` : purpose })).error
  }

  /** @throws LinkLost also when no coordinator is ready: that says nothing about this member */
  private async ask<Request, Response extends { readonly error: number }>(
    api: Api<Request, Response>,
    call: { readonly request: Request; readonly timeoutMs: number; readonly purpose?: Purpose },
  ): Promise<Response> {
    const { group, join } = this.options
    const answer = await this.cluster.askCoordinator(GROUP, group, {
      api,
      request: call.request,
      errorOf: ({ error }) => error,
      again: true,
      purpose: call.purpose ?? this.options.purpose,
      patienceMs: join.sessionMs / 2,
      timeoutMs: call.timeoutMs,
    })
    if (isCoordinatorMoved(answer.error)) throw new LinkLost(`${api.name} of group "${group}": no coordinator is ready`, true, undefined)
    return answer
  }

  private end(doing: string, error: number): Ended {
    const { group, join } = this.options
    return endOf({ group, member: this.member, instance: join.instance, sessionMs: join.sessionMs }, doing, error)
  }
}
