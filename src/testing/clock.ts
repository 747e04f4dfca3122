/** A clock moved by hand. Time stands still until a test moves it, so a test of a five-minute wait takes no time and never flickers. */
import { type Duration, durationMs } from '../base/time.ts'
import type { Clock } from '../ports/clock.ts'

interface Sleeper {
  readonly at: number
  readonly order: number
  readonly wake: () => void
}

export interface ManualClock extends Clock {
  /** Moves time on, and wakes who slept until then, in order. */
  advance(by: Duration): Promise<void>
  /** A clock that shows the same time and can be stopped for good: who sleeps on it then never wakes. For a process that dies. */
  fork(): Clock & { stop(): void }
}

/** 2026-01-01T00:00:00Z, when the clocks of tests begin. */
export const TEST_EPOCH_MS: number = Date.UTC(2026, 0, 1)

export function manualClock(start: number = TEST_EPOCH_MS): ManualClock {
  let now = start
  let order = 0
  const sleepers: Sleeper[] = []
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  const sleepUntil = (at: number, signal: AbortSignal | undefined, alive: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      const sleeper: Sleeper = {
        at,
        order: order++,
        wake: () => {
          signal?.removeEventListener('abort', aborted)
          if (alive()) resolve()
        },
      }
      const aborted = (): void => {
        const place = sleepers.indexOf(sleeper)
        if (place >= 0) sleepers.splice(place, 1)
        if (alive()) reject(signal?.reason as Error)
      }
      sleepers.push(sleeper)
      signal?.addEventListener('abort', aborted, { once: true })
    })

  const view = (alive: () => boolean): Clock => ({
    now: () => now,
    mono: () => now - start,
    sleep: (ms, signal) => sleepUntil(now + ms, signal, alive),
    turn: () => (alive() ? turn() : new Promise(() => {})),
  })

  return {
    ...view(() => true),
    async advance(by) {
      const until = now + durationMs(by)
      for (;;) {
        const [next] = sleepers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at || a.order - b.order)
        if (next === undefined) break
        sleepers.splice(sleepers.indexOf(next), 1)
        now = Math.max(now, next.at)
        next.wake()
        // Whoever woke may sleep again before the time that is being moved to.
        await turn()
      }
      now = until
      await turn()
    },
    fork() {
      let alive = true
      return {
        ...view(() => alive),
        stop: () => {
          alive = false
        },
      }
    },
  }
}
