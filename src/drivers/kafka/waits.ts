/** Waits of a reader's poll: until it is woken, or its client closes, or its caller gives up, or time is over. */
import type { Clock } from '../../ports/clock.ts'

/** Given as the reason of what is over, because an abort without one makes an error with a stack. */
const OVER = 'over'

export class Waits {
  private readonly clock: Clock
  private readonly closing: AbortSignal
  private woken: () => void = () => {}

  constructor(clock: Clock, closing: AbortSignal) {
    this.clock = clock
    this.closing = closing
  }

  /** Ends a wait; nothing while there is none. */
  wake(): void {
    this.woken()
  }

  async wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const timer = new AbortController()
    const { promise: woken, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.woken = wake
    this.closing.addEventListener('abort', wake, { once: true })
    signal?.addEventListener('abort', wake, { once: true })
    try {
      await Promise.race([woken, this.clock.sleep(Math.max(1, ms), timer.signal).catch(() => {})])
    } finally {
      timer.abort(OVER)
      this.closing.removeEventListener('abort', wake)
      signal?.removeEventListener('abort', wake)
      this.woken = () => {}
    }
  }
}
