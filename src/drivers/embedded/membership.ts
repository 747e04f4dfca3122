/**
 * A member's side of a group: heartbeats by a timer of its own clock, and the events in order. When the member's clock stands still its
 * heartbeats stop, and the group gives it up after its session; that it was given up it learns by itself only when its clock goes on.
 */
import { TidemarkError } from '../../base/errors.ts'
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
  private events: GroupEvent[] = []
  private waiter: { resolve: (event: GroupEvent) => void; reject: (error: unknown) => void } | undefined
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
      throw new TidemarkError('OPTION_INVALID', 'sessionMs is not a duration', { detail: `It is ${sessionMs}.` })
    }
    this.options = options
    this.confirmedAt = options.clock.mono()
    this.enter()
    void this.beat()
  }

  next(signal: AbortSignal): Promise<GroupEvent> {
    if (this.waiter !== undefined) return Promise.reject(new TypeError('a membership has one waiter at a time'))
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    const event = this.events.shift()
    if (event !== undefined) return Promise.resolve(this.handed(event))
    if (this.replaced !== undefined) return Promise.reject(this.replaced)
    if (this.left) return Promise.reject(closedError('the membership'))
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.waiter = undefined
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', aborted, { once: true })
      const settle = <Value>(deed: (value: Value) => void) => {
        return (value: Value): void => {
          signal.removeEventListener('abort', aborted)
          this.waiter = undefined
          deed(value)
        }
      }
      this.waiter = { resolve: settle(resolve), reject: settle(reject) }
    })
  }

  heartbeatAge(): number {
    return this.lost ? Number.POSITIVE_INFINITY : this.options.clock.mono() - this.confirmedAt
  }

  rejoin(): void {
    const { groups, group } = this.options
    if (this.seat !== undefined && !this.left) groups.rejoin(group, this.seat.member)
  }

  leave(options: { keep: boolean }): Promise<void> {
    if (this.left) return Promise.resolve()
    this.left = true
    this.stop.abort()
    this.events = []
    this.waiter?.reject(closedError('the membership'))
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
      this.events = []
      this.seat = undefined
      this.lost = true
      if (event.kind === 'replaced') {
        this.replaced = event.error
        this.stop.abort()
      }
      this.push({ kind: 'lost', error: event.error })
    } else this.push(event)
  }

  private push(event: GroupEvent): void {
    if (this.waiter !== undefined) this.waiter.resolve(this.handed(event))
    else this.events.push(event)
  }

  private handed(event: GroupEvent): GroupEvent {
    if (event.kind === 'assigned') this.lost = false
    return event
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
