/**
 * The pace of restores: they are work for many seconds beside tasks that run, so they get what these leave. Few are at work at once; each works in
 * slices, and all of them together have one slice between two turns of the loop. Commits and heartbeats of a worker are therefore behind by one slice
 * at most, however many of its tasks are being restored.
 */
import type { Clock } from '../ports/clock.ts'

/** Restores that are at work at once: more make none of them faster, and each has a few megabytes in memory. */
const AT_ONCE = 4
/** A slice ends after this long, ms, */
const SLICE_MS = 5
/** or after so many rows: some milliseconds, and what counts where time stands still. */
const SLICE_ROWS = 2_000

export class Pace {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  #working = 0
  #last: Promise<void> = Promise.resolve()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Waits until there is room for one more restore; who is let in leaves by what is returned. @throws what the signal says */
  async enter(signal: AbortSignal): Promise<() => void> {
    while (this.#working >= AT_ONCE) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = (): void => resolve()
      this.#waiting.push(wake)
      signal.addEventListener('abort', wake, { once: true })
      await promise
      signal.removeEventListener('abort', wake)
      if (!signal.aborted) continue
      const place = this.#waiting.indexOf(wake)
      if (place >= 0) this.#waiting.splice(place, 1)
      // Whoever was let in and does not want it any more lets the next one in.
      else this.#waiting.shift()?.()
      signal.throwIfAborted()
    }
    this.#working += 1
    return () => {
      this.#working -= 1
      this.#waiting.shift()?.()
    }
  }

  /** A restore's part of it. */
  slices(): Slices {
    return new Slices(this.#clock, () => this.#turn())
  }

  /** One restore after the other, each in a turn of its own. */
  #turn(): Promise<void> {
    this.#last = this.#last.then(() => this.#clock.turn())
    return this.#last
  }
}

export class Slices {
  readonly #clock: Clock
  readonly #turn: () => Promise<void>
  #began: number
  #rows = 0

  constructor(clock: Clock, turn: () => Promise<void>) {
    this.#clock = clock
    this.#turn = turn
    this.#began = clock.mono()
  }

  /** After some rows of work, at most a few hundred: true when the slice is over, and `next` is to be awaited. */
  over(rows: number): boolean {
    this.#rows += rows
    return this.#rows >= SLICE_ROWS || this.#clock.mono() - this.#began >= SLICE_MS
  }

  async next(): Promise<void> {
    await this.#turn()
    this.#rows = 0
    this.#began = this.#clock.mono()
  }
}
