/** Wakes a loop that waits. A ring that comes while nobody waits is kept, so that no answer is slept through. */
import type { Clock } from '../ports/clock.ts'

/** Given as the reason, because an abort without one makes an error with a stack, and a loop waits often. */
const OVER = 'over'

export class Bell {
  #rung = false
  #ring: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#ring?.()
  }

  /** Waits for a ring, `ms` at most. */
  async wait(clock: Clock, ms: number): Promise<void> {
    if (!this.#rung) {
      const over = new AbortController()
      const rung = new Promise<void>((resolve) => {
        this.#ring = resolve
      })
      await Promise.race([rung, clock.sleep(ms, over.signal).catch(() => {})])
      this.#ring = undefined
      over.abort(OVER)
    }
    this.#rung = false
  }
}
