/** Randomness from a seed (mulberry32, Tommy Ettinger, public domain): the same seed gives the same run. */
import type { Random } from '../ports/clock.ts'

export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const unit = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const word = (): string =>
    Math.floor(unit() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  return { unit, id: () => word() + word() + word() + word() }
}
