/** Time as simulated brokers and sockets know it: of the scheduler's world, or of this machine. */
import type { Clock } from '../../ports/clock.ts'
import type { Owner, Scheduler } from '../simulation/scheduler.ts'

export interface Timeline {
  /** Never goes back, ms. */
  readonly now: number
  /** Wall time of the brokers, ms since 1970. */
  wall(): number
  /** Lets something happen after `ms`. Returns what takes it back. */
  after(ms: number, label: string, run: () => void): () => void
}

/** Somebody's time in a simulated world: nothing happens to the dead, and to who stands still only when that one goes on. */
export function virtualTimeline(scheduler: Scheduler, owner: Owner, epochMs: number): Timeline {
  return {
    get now() {
      return scheduler.now
    },
    wall: () => Math.floor(epochMs + scheduler.now),
    after: (ms, label, run) => scheduler.after(Math.max(0, ms), owner, label, run),
  }
}

export function realTimeline(clock: Clock): Timeline {
  return {
    get now() {
      return clock.mono()
    },
    wall: () => clock.now(),
    after: (ms, _, run) => {
      const stop = new AbortController()
      clock.sleep(Math.max(0, ms), stop.signal).then(run, () => {})
      return () => stop.abort()
    },
  }
}
