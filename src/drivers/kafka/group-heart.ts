/**
 * The heart of a member: when the next heartbeat is due, who waits for it, and when the group has confirmed the member last. It beats by a timer
 * of the clock, whatever the caller does: a caller that works in slices and gives up its turn between them is never further behind than one.
 */
import type { Clock } from '../../ports/clock.ts'
import { Confirmations } from './confirmations.ts'
import { isFinal } from './group-ends.ts'
import type { Troubles } from './group-troubles.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'

/** The longest time between two heartbeats, ms; a rebalance is noticed by them. */
const BEAT_MS_MAX = 500
/** Heartbeats in the time after which the group gives a silent member up. */
const BEATS_A_SESSION = 6

export interface HeartParts {
  readonly clock: Clock
  readonly sessionMs: number
  readonly troubles: Troubles
  /** Aborted when the member has left. */
  readonly signal: AbortSignal
  /** Sends a heartbeat, `beside` over another socket than the member's own. The answer is a number of the protocol. */
  readonly send: (beside: boolean) => Promise<number>
  /** What it means that the group does not count the member any more. */
  readonly end: (error: number) => Error
}

export class Heart {
  /** Who asks whether the member still is one. */
  readonly confirmations: Confirmations = new Confirmations()
  readonly #parts: HeartParts
  readonly #beatMs: number
  #confirmedAt: number
  /** Somebody waits for the next heartbeat. */
  #urgent = false
  #interrupt: () => void = () => {}

  constructor(parts: HeartParts) {
    this.#parts = parts
    this.#beatMs = Math.min(BEAT_MS_MAX, parts.sessionMs / BEATS_A_SESSION)
    this.#confirmedAt = parts.clock.mono()
  }

  /** Time since the group last confirmed the member, ms. */
  get age(): number {
    return this.#parts.clock.mono() - this.#confirmedAt
  }

  /** The next heartbeat is to come at once. */
  hurry(): void {
    this.#urgent = true
    this.#interrupt()
  }

  /** Something else is to be done than to wait for the next heartbeat. */
  interrupt(): void {
    this.#interrupt()
  }

  /** Until the next heartbeat is due, or something is to be done before. @throws the reason of the signal */
  async rest(): Promise<void> {
    const { clock, signal } = this.#parts
    signal.throwIfAborted()
    if (this.#urgent) return
    const early = new AbortController()
    this.#interrupt = () => early.abort()
    const stopped = (): void => early.abort()
    signal.addEventListener('abort', stopped, { once: true })
    try {
      await clock.sleep(this.#beatMs, early.signal).catch(() => {})
    } finally {
      signal.removeEventListener('abort', stopped)
      this.#interrupt = () => {}
    }
    signal.throwIfAborted()
  }

  /** One heartbeat. @throws Ended when the group does not count the member any more */
  async beat(beside = false): Promise<number> {
    const { send, end, troubles } = this.#parts
    const alive = this.asking()
    this.#urgent = false
    let error: number
    try {
      error = await send(beside)
    } catch (failed) {
      if (isFinal(failed)) throw failed
      // The caller sees the age of the last one; what became of the member a later one will tell.
      troubles.note(failed)
      return E.NONE
    }
    if (error !== E.NONE && error !== E.REBALANCE_IN_PROGRESS) throw end(error)
    troubles.over()
    alive()
    return error
  }

  /** To be called before a question is sent that the group answers to members only; what it returns, when it was answered. */
  asking(): () => void {
    const sentAt = this.#parts.clock.mono()
    const confirmed = this.confirmations.asking()
    return () => {
      this.#confirmedAt = Math.max(this.#confirmedAt, sentAt)
      confirmed()
    }
  }

  /** Beats over another socket until an answer has come that keeps the member's own one busy. `onRefused` when the group has gone on meanwhile. */
  async beatUntil<Answer>(answer: Promise<Answer>, onRefused: () => void): Promise<Answer> {
    const waiting = { over: false }
    const come = answer.then(
      () => {},
      () => {},
    )
    void come.then(() => {
      waiting.over = true
      this.#interrupt()
    })
    // One that is refused after the answer has come says nothing of the generation that began with it.
    const refused = (): void => {
      if (!waiting.over) onRefused()
    }
    while (!waiting.over) {
      await this.rest()
      // What becomes of the member, the answer says.
      if (!waiting.over) await Promise.race([come, this.beat(true).catch(refused)])
    }
    return await answer
  }
}
