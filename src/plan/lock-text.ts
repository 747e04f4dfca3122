/** The plan lock as text: written in one way only, and read strictly, because people edit it and numbers of stores come from it. */
import { messageOf, TidemarkError } from '../base/errors.ts'
import { shown } from '../base/options.ts'
import type { LockedStage, LockedStore, LockedTopic, PlanLock } from './lock.ts'
import type { TopicRole } from './plan.ts'

/** The lock as it is kept: no time, no path, stable order. */
export function lockText(lock: PlanLock): string {
  return `${JSON.stringify(lock, null, 2)}\n`
}

/**
 * @param where what the text is called in errors, such as a path
 * @throws TidemarkError PLAN_LOCK_INVALID
 */
export function parseLock(text: string, where: string): PlanLock {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw invalid(where, `It is not JSON: ${messageOf(error)}.`, MAKE_ANEW, error)
  }
  return checkedLock(parsed, where)
}

/** What a member of an entry has to be, in words, and whether it is that. */
type Check = readonly [words: string, fits: (value: unknown) => boolean]
type Shape<T> = { readonly [Name in keyof T]-?: Check }

const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1
const whole: Check = ['a whole number from 1', isWhole]
const text: Check = ['a text', (value) => typeof value === 'string' && value !== '']
const oneOf = (...words: readonly string[]): Check => [
  words.map((word) => `"${word}"`).join(' or '),
  (value) => words.includes(value as string),
]
const listOf = (words: string, fits: (value: unknown) => boolean): Check => [
  `a list of ${words}`,
  (value) => Array.isArray(value) && value.every(fits),
]
const anObject: Check = ['an object', (value) => typeof value === 'object' && value !== null && !Array.isArray(value)]

const ROLES: { readonly [Role in TopicRole]: true } = {
  source: true,
  inbox: true,
  changelog: true,
  dead: true,
  state: true,
  sink: true,
  decisions: true,
}
const STAGE: Shape<LockedStage> = { class: oneOf('fold', 'ingest'), generation: whole, partitions: whole }
const STORE: Shape<LockedStore> = { id: whole, stage: text, fingerprint: text, revision: whole, was: text }
const TOPIC: Shape<LockedTopic> = { role: oneOf(...Object.keys(ROLES)), partitions: whole, cleanup: oneOf('compact', 'delete') }
const LOCK: Shape<PlanLock> = {
  lockVersion: ['1', (value) => value === 1],
  app: text,
  stages: anObject,
  stores: anObject,
  topics: anObject,
  spent: listOf('whole numbers from 1', isWhole),
  givenUp: listOf('texts', (value) => typeof value === 'string'),
}
const OPTIONAL: ReadonlySet<string> = new Set<keyof PlanLock | keyof LockedStore>(['was', 'spent', 'givenUp'])

const MAKE_ANEW = 'Bring the committed one back, or make a new one with "tidemark plan --write".'
const RENAMING =
  'For a renamed step, give its whole entry the new name, and add "was" with the old one: its number is what its rows lie under. Or bring the committed lock back.'

/**
 * A value as a plan lock, when it is one in every part.
 * @param where what it is called in errors
 * @throws TidemarkError PLAN_LOCK_INVALID
 */
export function checkedLock(value: unknown, where: string): PlanLock {
  check('It', value, LOCK, where, MAKE_ANEW)
  const { stages, stores, topics } = value as PlanLock
  for (const [name, stage] of Object.entries(stages)) check(`Stage "${name}"`, stage, STAGE, where, MAKE_ANEW)
  for (const [name, store] of Object.entries(stores)) check(`Store "${name}"`, store, STORE, where, RENAMING)
  checkFormerNames(stores, where)
  for (const [name, topic] of Object.entries(topics)) check(`Topic "${name}"`, topic, TOPIC, where, MAKE_ANEW)
  return value as PlanLock
}

/** A store was called one thing before, which is not what it is called now, and no two were called the same. */
function checkFormerNames(stores: PlanLock['stores'], where: string): void {
  const heirs = new Map<string, string>()
  for (const [name, { was }] of Object.entries(stores)) {
    if (was === undefined) continue
    const other = heirs.get(was)
    if (was === name) throw invalid(where, `Store "${name}" has "was" "${was}", which is its own name.`, RENAMING)
    if (other !== undefined)
      throw invalid(
        where,
        `Stores "${other}" and "${name}" both have "was" "${was}", and only one can keep its state.`,
        `Take "was" out of the one that has started everywhere under its new name. ${RENAMING}`,
      )
    heirs.set(was, name)
  }
}

function check(what: string, value: unknown, shape: Readonly<Record<string, Check>>, where: string, hint: string): void {
  if (!anObject[1](value)) throw invalid(where, `${what} is not an object.`, hint)
  const given = value as Readonly<Record<string, unknown>>
  for (const [name, [words, fits]] of Object.entries(shape)) {
    if (given[name] === undefined && OPTIONAL.has(name)) continue
    if (given[name] === undefined) throw invalid(where, `${what} has no "${name}".`, hint)
    if (!fits(given[name])) throw invalid(where, `${what} has "${name}" ${shown(given[name])}, which is not ${words}.`, hint)
  }
  const unknown = Object.keys(given).find((name) => shape[name] === undefined)
  if (unknown !== undefined)
    throw invalid(where, `${what} has "${unknown}", which says nothing. Known are ${Object.keys(shape).join(', ')}.`, hint)
}

function invalid(where: string, detail: string, hint: string, cause?: unknown): TidemarkError {
  return new TidemarkError('PLAN_LOCK_INVALID', `${where} is not a plan lock`, { detail, hint, cause })
}
