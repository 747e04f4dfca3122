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
  /** Until when a broker whose quota is used up reads nothing of ours. */
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
    else this.held.delete(node)
    if (isTrickle(answer)) this.gathering.set(node, sentAt + GATHER_MS)
  }

  lost(node: number, error: unknown): void {
    const failures = (this.deaf.get(node)?.failures ?? 0) + 1
    this.deaf.set(node, { failures, until: this.clock.mono() + Math.min(DEAF_MS_MAX, DEAF_MS_MIN * 2 ** failures), error })
  }

  /** Until when a broker has asked to be left alone, ms by the monotonic clock. */
  heldUntil(node: number): number {
    return this.held.get(node) ?? 0
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
