/**
 * What must be true of a topology, said by pure functions that know nothing of the runtime: they fold recorded facts, and what they return is
 * compared with what the application made of the same facts, at every moment at which somebody looks.
 */
import type { Counter } from '../../ports/telemetry.ts'
import type { Recorded } from './watch.ts'

/** What a topic must hold of one partition of a log: in order within a lane, in any order between lanes. */
export interface Expected {
  readonly lane: string
  readonly text: string
}

export interface OutputModel {
  /** The log whose facts it is made from: a source's topic, or the step of an inbox. */
  readonly from: string
  /** The lane and the text of a record that the topic holds; undefined for records that come from elsewhere. */
  readonly read: (record: Recorded) => Expected | undefined
  /** What the facts of one partition of that log become. Must be a prefix of what more facts become. */
  readonly fold: (records: readonly Recorded[]) => readonly Expected[]
}

export type Rows = ReadonlyMap<string, unknown>

export interface Oracle {
  /** Rows of a projection by the text of their keys, from the facts of one partition of the log that its stage reads. */
  readonly rows?: { readonly [projection: string]: (records: readonly Recorded[]) => Rows }
  /** Rows of a projection in the end, straight from all sources, by topic: they may not depend on who came first. */
  readonly settled?: { readonly [projection: string]: (sources: ReadonlyMap<string, readonly (readonly Recorded[])[]>) => Rows }
  /** Topics that the application writes, and inboxes by their step. */
  readonly outputs?: readonly (OutputModel & { readonly to: string })[]
  /** What does not add up in the counters, if anything. Counts are those of commits that succeeded. */
  readonly account?: (count: (counter: Counter, step: string) => number) => string | undefined
}

/** Rows as one text each, so that a difference can be shown. */
export function textsOf(rows: Rows): Map<string, string> {
  return new Map([...rows].map(([key, row]) => [key, JSON.stringify(sorted(row))]))
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, sorted(each)]),
  )
}

/** The first difference between two maps, in words; undefined when they are equal. */
export function difference(actual: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string | undefined {
  for (const [key, text] of expected) {
    const found = actual.get(key)
    if (found !== text) return `${key} is ${found ?? 'missing'} and should be ${text}`
  }
  for (const [key, text] of actual) if (!expected.has(key)) return `${key} is ${text} and should not be there`
  return undefined
}
