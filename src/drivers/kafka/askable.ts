/** Which brokers a reader may ask, and when: one request each at a time, less often while one fails, little by little while records trickle. */
import type { Clock } from '../../ports/clock.ts'
import { isTrickle } from './tracks.ts'
import type { FetchResponse } from './wire/fetch.ts'

/**
 * Requests to a broker leave at least this far apart while records come in a trickle, ms: the broker gathers meanwhile, where asking at once would
 * fetch them one by one. What comes after a silence is not held up, because the request for it left long before. At 2,000 records a second this
 * leaves a third of the requests and takes a tenth off the worker's processor time (bench/w1/compare.ts m3), and no time is lost where a commit
 * takes longer anyway.
 */
const GATHER_MS = 10
/**
 * A broker that made us wait is asked for so much less for so long, ms: an answer that fills the window of a quota has to wait until that is empty,
 * and what it brings of a batch that does not fit counts as well. A real broker gave half of its quota in answers that filled the window, and four
 * fifths of it in smaller ones.
 */
const HELD_SHARE = 8
const HELD_MS = 60_000
const DEAF_MS_MIN = 10
const DEAF_MS_MAX = 1_000

/** For what any broker could have answered. */
export const ANY_NODE = -1

export class Askable {
  private readonly clock: Clock
  /** Brokers that have a request of ours. */
  private readonly asking = new Set<number>()
  private readonly deaf = new Map<number, { failures: number; until: number; error: unknown }>()
  /** When a broker whose records come in a trickle may be asked again. */
  private readonly gathering = new Map<number, number>()
  /** Until when a broker whose quota is used up reads nothing of ours, or did not. */
  private readonly held = new Map<number, number>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Whether no broker has a request. */
  get idle(): boolean {
    return this.asking.size === 0
  }

  may(node: number, now: number): boolean {
    return !this.asking.has(node) && (this.deaf.get(node)?.until ?? 0) <= now && (this.gathering.get(node) ?? 0) <= now
  }

  asked(node: number): void {
    this.asking.add(node)
  }

  /** Its request has come to an end, whatever it was. */
  ended(node: number): void {
    this.asking.delete(node)
  }

  answered(node: number, answer: FetchResponse, sentAt: number): void {
    this.deaf.delete(node)
    if (answer.throttleMs > 0) this.held.set(node, this.clock.mono() + answer.throttleMs)
    if (isTrickle(answer)) this.gathering.set(node, sentAt + GATHER_MS)
  }

  lost(node: number, error: unknown): void {
    const failures = (this.deaf.get(node)?.failures ?? 0) + 1
    this.deaf.set(node, { failures, until: this.clock.mono() + Math.min(DEAF_MS_MAX, DEAF_MS_MIN * 2 ** failures), error })
  }

  /** How much to ask a broker for. */
  bytesOf(node: number, bytes: number): number {
    return this.clock.mono() - this.heldUntil(node) > HELD_MS ? bytes : Math.ceil(bytes / HELD_SHARE)
  }

  /** Until when a broker has asked to be left alone, ms by the monotonic clock. */
  heldUntil(node: number): number {
    return this.held.get(node) ?? Number.NEGATIVE_INFINITY
  }

  /** Why a broker was not heard. */
  why(node: number): unknown {
    return (this.deaf.get(node) ?? this.deaf.get(ANY_NODE))?.error
  }

  /** When the next broker may be asked that may not be now, ms by the monotonic clock. */
  dueAt(now: number): number {
    let due = Number.POSITIVE_INFINITY
    for (const { until } of this.deaf.values()) if (until > now) due = Math.min(due, until)
    for (const until of this.gathering.values()) if (until > now) due = Math.min(due, until)
    return due
  }
}
