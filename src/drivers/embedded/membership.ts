/**
 * A member's side of a group: heartbeats by a timer of its own clock, and the events in order. When the member's clock stands still its
 * heartbeats stop, and the group gives it up after its session; that it was given up it learns by itself only when its clock goes on.
 */
import { TidemarkError } from '../../base/errors.ts'
import { Mailbox } from '../../base/mailbox.ts'
import type { Clock } from '../../ports/clock.ts'
import type { GroupEvent, JoinOptions, Membership } from '../../ports/log.ts'
import { closedError } from './errors.ts'
import type { Groups, Seat, SeatEvent } from './groups.ts'

export interface MembershipOptions {
  readonly group: string
  readonly join: JoinOptions
  readonly clock: Clock
  readonly groups: Groups
  readonly onEnd: (membership: EmbeddedMembership) => void
}

/** The longest time between two heartbeats, ms. */
const HEARTBEAT_MS_MAX = 1_000

export class EmbeddedMembership implements Membership {
  private readonly options: MembershipOptions
  private readonly stop = new AbortController()
  private readonly events = new Mailbox<GroupEvent>('a membership', ({ kind }) => {
    if (kind === 'assigned') this.lost = false
  })
  private seat: Seat | undefined
  private confirmedAt: number
  private left = false
  /** Why it never joins again. */
  private replaced: TidemarkError | undefined
  /** The seat was lost, and the assignment of the next one has not been taken: what the caller believes to own is others' by now. */
  private lost = false

  constructor(options: MembershipOptions) {
    const { sessionMs } = options.join
    if (!(sessionMs > 0 && Number.isFinite(sessionMs))) {
      throw new TidemarkError('OPTION_INVALID', 'sessionMs is not a duration', {
        detail: `It is ${sessionMs}.`,
        hint: 'Give milliseconds, such as 10000.',
      })
    }
    this.options = options
    this.confirmedAt = options.clock.mono()
    this.enter()
    void this.beat()
  }

  next(signal: AbortSignal): Promise<GroupEvent> {
    return this.events.next(signal)
  }

  heartbeatAge(): number {
    return this.lost ? Number.POSITIVE_INFINITY : this.options.clock.mono() - this.confirmedAt
  }

  confirm(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    if (this.replaced !== undefined) return Promise.reject(this.replaced)
    if (this.left) return Promise.reject(closedError('the membership'))
    const { groups, group, clock } = this.options
    const alive = this.seat !== undefined && groups.heartbeat(group, this.seat.member)
    if (alive) this.confirmedAt = clock.mono()
    return Promise.resolve(alive)
  }

  rejoin(): void {
    const { groups, group } = this.options
    if (this.seat !== undefined && !this.left) groups.rejoin(group, this.seat.member)
  }

  leave(options: { keep: boolean }): Promise<void> {
    if (this.left) return Promise.resolve()
    this.left = true
    this.stop.abort()
    this.events.clear()
    this.events.end(closedError('the membership'))
    const { groups, group, onEnd } = this.options
    if (this.seat !== undefined && !options.keep) groups.leave(group, this.seat.member)
    onEnd(this)
    return Promise.resolve()
  }

  private enter(): void {
    const { groups, group, join, clock } = this.options
    let current = true
    // Once a seat is lost nothing more is heard of it.
    const tell = (event: SeatEvent): void => {
      if (!current || this.left) return
      if (event.kind === 'lost' || event.kind === 'replaced') current = false
      this.hear(event)
    }
    const seat = groups.join(group, join, tell)
    this.confirmedAt = clock.mono()
    // The very first assignment may already have failed.
    if (current) this.seat = seat
  }

  private hear(event: SeatEvent): void {
    if (event.kind === 'lost' || event.kind === 'replaced') {
      // What was not heard before is void now: it was about partitions that others may own.
      this.events.clear()
      this.seat = undefined
      this.lost = true
      this.events.put({ kind: 'lost', error: event.error })
      if (event.kind !== 'replaced') return
      this.replaced = event.error
      this.events.end(event.error)
      this.stop.abort()
    } else this.events.put(event)
  }

  private async beat(): Promise<void> {
    const { groups, group, join, clock } = this.options
    const everyMs = Math.min(HEARTBEAT_MS_MAX, join.sessionMs / 3)
    const { signal } = this.stop
    while (!signal.aborted) {
      try {
        await clock.sleep(everyMs, signal)
      } catch {
        return
      }
      if (this.seat === undefined) this.enter()
      else if (groups.heartbeat(group, this.seat.member)) this.confirmedAt = clock.mono()
    }
  }
}
