/** Chance from a seed: the same seed kills at the same times and flips the same bits. When a process is at which line is not in our hands. */
import { seededRandom } from '../../src/testing/random.ts'

export interface Chance {
  /** A whole number from `from` to below `to`. */
  between(from: number, to: number): number
  pick<T>(all: readonly T[]): T
}

export function chanceOf(seed: number): Chance {
  const random = seededRandom(seed)
  const between = (from: number, to: number): number => from + Math.floor(random.unit() * (to - from))
  return { between, pick: (all) => all.at(between(0, all.length)) as (typeof all)[number] }
}
