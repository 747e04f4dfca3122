/** How long a feed waits between two rows: the time between them, divided by a factor, and a second at most, so that no night is waited for. */

const WAIT_MAX_MS = 1_000

export class Pace {
  /** How often each time between two rows occurs, ms. */
  readonly #gaps = new Map<number, number>()
  #last: number | undefined

  /** Takes note of a row's time. Rows that go back in time wait for nothing. */
  note(at: number): void {
    const gap = gapBetween(this.#last, at)
    this.#last = at
    if (gap > 0) this.#gaps.set(gap, (this.#gaps.get(gap) ?? 0) + 1)
  }

  /** The factor with which the rows noted last about so long; 1, real time, where they are through sooner. */
  factorFor(ms: number): number {
    let slow = 1
    if (this.#lasts(slow) <= ms) return slow
    let fast = 2
    while (this.#lasts(fast) > ms) fast *= 2
    // Halving the range 40 times leaves less than a millionth of a millionth of it.
    for (let i = 0; i < 40; i++) {
      const middle = (slow + fast) / 2
      if (this.#lasts(middle) > ms) slow = middle
      else fast = middle
    }
    return fast
  }

  #lasts(factor: number): number {
    let ms = 0
    for (const [gap, times] of this.#gaps) ms += times * waitMs(gap, factor)
    return ms
  }
}

export function gapBetween(last: number | undefined, at: number): number {
  return last === undefined ? 0 : Math.max(0, at - last)
}

export function waitMs(gap: number, factor: number): number {
  return Math.min(gap / factor, WAIT_MAX_MS)
}
