/** A topology for the simulator, with facts for it and what must come of them. */
import type { Topology } from '#tidemark'
import { sha256Hex128 } from '../../../src/base/sha256.ts'
import type { Random } from '../../../src/ports/clock.ts'
import type { Fed, Oracle, Recorded, Settings } from '../../../src/testing/simulate.ts'

export interface Case {
  readonly name: string
  /** One sentence, for people. */
  readonly about: string
  readonly topology: Topology
  /** What its seeds are not to draw, because the topology is not made for it. */
  readonly settings?: Partial<Settings>
  readonly feed: (random: Random) => readonly Fed[]
  readonly oracle: Oracle
}

/** When the facts of all cases begin, ms. */
export const BEGIN_MS: number = Date.UTC(2026, 0, 1)

export function below(random: Random, count: number): number {
  return Math.floor(random.unit() * count)
}

/** An id as producers make them. */
export function factId(kind: string, key: string, number: number): string {
  return sha256Hex128(`${kind}/${key}/${number}`)
}

export function sequenceOf({ headers }: Recorded): number | undefined {
  const text = headers.ce_sequence
  return text === undefined ? undefined : Number(text)
}

/**
 * What a dedupe by sequence and an order step behind it let pass, from the recorded facts of one partition: each number of a key once, and
 * none before its predecessors.
 */
export function inSequence(records: readonly Recorded[]): Recorded[] {
  const passed: Recorded[] = []
  const keys = new Map<string, { next: number; held: Map<number, Recorded> }>()
  for (const record of records) {
    const n = sequenceOf(record)
    if (n === undefined || record.key === undefined) continue
    const state = keys.get(record.key) ?? { next: 1, held: new Map<number, Recorded>() }
    keys.set(record.key, state)
    if (n < state.next || state.held.has(n)) continue
    state.held.set(n, record)
    for (let due = state.held.get(state.next); due !== undefined; due = state.held.get(state.next)) {
      state.held.delete(state.next)
      state.next += 1
      passed.push(due)
    }
  }
  return passed
}

export function isPoison({ bytes, value }: Recorded): boolean {
  return bytes !== null && value === undefined
}
