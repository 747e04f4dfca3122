/**
 * What people give, as they write it. Types are only stripped where a program runs, so a word that says nothing, and a value of another kind than
 * is meant, are refused here too, wherever options, terms or arguments are taken: at the top and in what lies within.
 */
import { TidemarkError } from './errors.ts'
import { nearest } from './nearest.ts'

/**
 * @param known every word that may be said
 * @param of what the options belong to, such as `step "once"`
 * @throws TidemarkError OPTION_INVALID when something is said that says nothing, or when there are no options where they should be
 */
export function refuseUnknown(given: object, known: readonly string[], of: string): void {
  if (!isRecord(given)) refuse(given, of, 'options', `It has ${known.join(', ')}.`)
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined)
    throw new TidemarkError('OPTION_INVALID', `${of} has no option "${unknown}"`, { hint: meantOf(unknown, known, 'It has') })
}

/**
 * @param value one of a few words
 * @param what what says it, such as `by of step "once"`
 * @throws TidemarkError OPTION_INVALID
 */
export function oneOf(value: string, words: readonly string[], what: string): void {
  if (words.includes(value)) return
  throw new TidemarkError('OPTION_INVALID', `${what} is ${shown(value)}`, { hint: meantOf(value, words, 'It is one of') })
}

/**
 * What may be said instead of a word: the one that was most likely meant, and all.
 * @param begin how the list of all begins
 * @example meantOf('limt', ['limit', 'after'], 'It has') // 'Did you mean "limit"? It has limit, after.'
 */
export function meantOf(word: unknown, known: readonly string[], begin: string): string {
  const meant = typeof word === 'string' ? nearest(word, known) : undefined
  return `${meant === undefined ? '' : `Did you mean "${meant}"? `}${begin} ${known.join(', ')}.`
}

/**
 * Refuses a value for its kind.
 * @param what what is given, such as `key of contract "orders"`
 * @param meant what it should be, such as `a key`
 * @throws TidemarkError OPTION_INVALID, always
 */
export function refuse(given: unknown, what: string, meant: string, hint: string): never {
  throw new TidemarkError('OPTION_INVALID', `${what} is ${shown(given)}, where ${meant} ${meant === 'options' ? 'are' : 'is'} meant`, {
    hint,
  })
}

/**
 * @param hint an example of the function that is meant
 * @throws TidemarkError OPTION_INVALID unless it is a function
 */
export function needFunction(given: unknown, what: string, hint: string): void {
  if (typeof given !== 'function') refuse(given, what, 'a function', hint)
}

/** @throws TidemarkError OPTION_INVALID unless it is a text */
export function needText(given: unknown, what: string, hint: string): void {
  if (typeof given !== 'string') refuse(given, what, 'a text', hint)
}

/** @throws TidemarkError OPTION_INVALID unless it is a list of texts */
export function needTexts(given: unknown, what: string, hint: string): void {
  if (!Array.isArray(given) || given.some((each) => typeof each !== 'string')) refuse(given, what, 'a list of texts', hint)
}

/** Whether a value has members that can be looked at: an object that is no list. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Longer values are named, not shown. */
const SHOWN_MAX = 80

/**
 * A value as an error shows it: in one short line, whatever it is.
 * @example shown({ attempts: 3 }) // '{"attempts":3}'
 * @example shown(new Map()) // 'a Map'
 */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > SHOWN_MAX ? `${value.slice(0, SHOWN_MAX)}...` : value)
  if (typeof value === 'function') return value.name === '' ? 'a function' : `a function (${value.name})`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  const kind = Array.isArray(value) ? 'list' : classOf(value)
  const text = kind === 'list' || kind === 'object' ? plainText(value) : undefined
  if (text !== undefined) return text
  const { name } = value as { readonly name?: unknown }
  const called = typeof name === 'string' && name.length <= SHOWN_MAX ? ` (of the name "${name}")` : ''
  return `${/^[aeio]/i.test(kind) ? 'an' : 'a'} ${kind}${called}`
}

function classOf(value: object): string {
  const made = (value as { readonly constructor?: unknown }).constructor
  return typeof made === 'function' && made !== Object && made.name !== '' ? made.name : 'object'
}

/** JSON, where that is short and says everything. */
function plainText(value: object): string | undefined {
  let whole = true
  const each = (_name: string, member: unknown): unknown => {
    if (typeof member === 'function' || typeof member === 'bigint' || typeof member === 'symbol') whole = false
    return typeof member === 'bigint' ? undefined : member
  }
  try {
    const text = JSON.stringify(value, each)
    return whole && text.length <= SHOWN_MAX ? text : undefined
  } catch {
    // It has itself as a part.
    return undefined
  }
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
