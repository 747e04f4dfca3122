/** The system's time and randomness. Not for secrets: `unit` is `Math.random`. */
import { randomUUID } from 'node:crypto'
import type { Clock, Random } from '../../ports/clock.ts'

/** The longest time that one timer of Node can wait, ms; it fires at once for more. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** @example await nodeClock.sleep(100, signal) */
export const nodeClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  async sleep(ms, signal) {
    let left = ms
    do {
      const piece = Math.min(left, TIMER_MS_MAX)
      await timer(piece, signal)
      left -= piece
    } while (left > 0)
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
}

export const nodeRandom: Random = {
  unit: () => Math.random(),
  id: () => randomUUID().replaceAll('-', ''),
}

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return
    }
    const aborted = (): void => {
      clearTimeout(handle)
      reject(signal?.reason as Error)
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener('abort', aborted)
      resolve()
    }, ms)
    signal?.addEventListener('abort', aborted, { once: true })
  })
}
