/**
 * Options as people write them. Types are only stripped where a program runs, so a word that says nothing is refused here too, wherever options
 * or terms are taken: at the top and in what lies within.
 */
import { TidemarkError } from './errors.ts'

/**
 * @param known every word that may be said
 * @param of what the options belong to, such as `step "once"`
 * @throws TidemarkError OPTION_INVALID when something is said that says nothing, or when there are no options where they should be
 */
export function refuseUnknown(given: object, known: readonly string[], of: string): void {
  const hint = `It has ${known.join(', ')}.`
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new TidemarkError('OPTION_INVALID', `${of} is ${JSON.stringify(given)}, where options are meant`, { hint })
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new TidemarkError('OPTION_INVALID', `${of} has no option "${unknown}"`, { hint })
}

/**
 * @param value one of a few words
 * @param what what says it, such as `by of step "once"`
 * @throws TidemarkError OPTION_INVALID
 */
export function oneOf(value: string, words: readonly string[], what: string): void {
  if (words.includes(value)) return
  throw new TidemarkError('OPTION_INVALID', `${what} is ${JSON.stringify(value)}`, { hint: `It is one of ${words.join(', ')}.` })
}

/** @throws TidemarkError OPTION_INVALID for what is no whole number, or below `least` */
export function wholeNumber(value: unknown, least: number, what: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= least) return
  throw new TidemarkError('OPTION_INVALID', `${what} is ${shown(value)}`, { hint: `It is a whole number from ${least}.` })
}

/** @throws TidemarkError OPTION_INVALID */
export function yesOrNo(value: unknown, what: string): void {
  if (typeof value === 'boolean') return
  throw new TidemarkError('OPTION_INVALID', `${what} is ${shown(value)}`, { hint: 'It is true or false.' })
}

/** What JSON has no words for, such as NaN, is named all the same. */
function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value))
}
