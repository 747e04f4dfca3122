/** Durations as people write them, and the two clocks of tidemark as types. */
import { TidemarkError } from './errors.ts'
import { shown } from './options.ts'

/** `'30s'`, `'1.5h'` or a number of milliseconds. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/**
 * Times further than this from 1970 (73,000 years) are no clock's, ms. Twice it is exact still, and so is the distance of any two times: rows
 * and batches write them so.
 */
export const TIME_MAX_MS: number = 2 ** 51

/** @example plausibleTime(Number.NaN) // false */
export function plausibleTime(ms: number): boolean {
  return Number.isSafeInteger(ms) && ms <= TIME_MAX_MS && ms >= -TIME_MAX_MS
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * A duration in milliseconds.
 * @throws TidemarkError OPTION_INVALID when it is negative, not finite or not a duration
 * @example durationMs('1.5h') // 5_400_000
 */
export function durationMs(duration: Duration, option = 'duration'): number {
  const parts = typeof duration === 'number' ? undefined : /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration)
  const ms = typeof duration === 'number' ? duration : parts ? Number(parts[1]) * (UNIT_MS[parts[2] as string] as number) : Number.NaN
  if (Number.isFinite(ms) && ms >= 0) return Math.round(ms)
  throw new TidemarkError('OPTION_INVALID', `${option} is not a duration`, {
    detail: `It is ${shown(duration)}.`,
    hint: 'Write a number of milliseconds or a number with ms, s, m, h or d, such as "30s".',
  })
}

/** A duration as people read it, to three figures: `1.5 s`, `2 min`. */
export function readableMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Number((ms / 1_000).toPrecision(3))} s`
  if (ms < 7_200_000) return `${Number((ms / 60_000).toPrecision(3))} min`
  if (ms < 172_800_000) return `${Number((ms / 3_600_000).toPrecision(3))} h`
  return `${Number((ms / 86_400_000).toPrecision(3))} d`
}
