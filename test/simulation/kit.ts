/**
 * The seeds of a run of the tests. What the seeds of a run are is fixed, so that a run that failed fails again; the environment
 * may ask for others: TIDEMARK_SIM_SEEDS (how many, all topologies together) and TIDEMARK_SIM_FROM (the first).
 */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FAULTS, type FaultKind, type Settings } from '../../src/testing/simulate.ts'
import type { NamedBug } from './bugs.ts'
import { foundBy, hunt, SEEDS_MAX } from './hunt.ts'
import type { Kept } from './report.ts'
import { complaint, type Given, simulateCase } from './run.ts'
import type { Case } from './topologies/case.ts'
import { CASES, caseOf } from './topologies/index.ts'
import { retailCase } from './topologies/retail.ts'

const SEEDS = Number(process.env.TIDEMARK_SIM_SEEDS ?? 1_000)
const FROM = Number(process.env.TIDEMARK_SIM_FROM ?? 1)
/** Of so many seeds, one runs on Kafka as well; at least once, where the embedded log has drawn it for every third. */
const KAFKA_SHARE = { 'exactly-once': 1 / 8, 'at-least-once': 1 / 16 } as const
/** Of so many seeds, one is run with retail besides; it is the largest topology, and takes twice the time of another. */
const RETAIL_SHARE = 1 / 20
/** Of fewer seeds none might have a crash. */
const RETAIL_LEAST = 6
/** So many seeds that violate are told of; one takes seconds to shrink. */
const TOLD_MAX = 2
/** Time for the seeds of one topology where a machine is slow; it decides nothing else. */
const PATIENCE_MS = Math.max(600_000, SEEDS * 400)

/** The seeds that one topology has of a run; retail, which is beside the round, has so many of it. */
function seedsOf(simulated: Case, seeds: number): readonly number[] {
  const first = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => FROM + i)
  if (simulated === retailCase) return first(Math.max(RETAIL_LEAST, Math.ceil(seeds * RETAIL_SHARE)))
  return first(seeds).filter((seed) => caseOf(seed) === simulated)
}

/** A bug is found by the means that its entry names, and the same world without it keeps every promise. */
export async function isFound(named: NamedBug, log: Kept['log']): Promise<void> {
  const found = await hunt(named, log)
  if (found === undefined) expect.fail(`"${named.name}" is not ${foundBy(named)}, nor by any other of ${SEEDS_MAX} seeds or all events`)
  expect(found.sound.join('\n'), found.command).toBe('')
  if (!found.known) console.log(`"${named.name}" is now found at ${found.at}, and no longer ${foundBy(named)}`)
}

/** Registers the test of one topology under its seeds; those that have failed before come first. */
export function holdsUnderItsSeeds(simulated: Case): void {
  register(simulated, '', SEEDS, { log: 'embedded' })
}

/** The same on Kafka, where seeds are fewer: each takes longer. */
export function holdsOnKafka(simulated: Case, guarantee: Settings['guarantee']): void {
  const of = guarantee === 'exactly-once' ? { log: 'kafka' as const } : { log: 'kafka' as const, settings: { guarantee } }
  register(simulated, ` on a simulated Kafka, ${guarantee},`, Math.ceil(SEEDS * KAFKA_SHARE[guarantee]), of)
}

function register(simulated: Case, where: string, count: number, of: Given & { readonly log: Kept['log'] }): void {
  test(`whatever fails, ${simulated.name}${where} keeps what is promised: ${simulated.about}`, { timeout: PATIENCE_MS }, async () => {
    const complaints: string[] = []
    let looks = 0
    let crashes = 0
    const again: readonly (Given & { readonly seed: number })[] = kept().filter(
      (each) => each.topology === simulated.name && each.log === of.log && each.settings?.guarantee === of.settings?.guarantee,
    )
    for (const { seed, ...given } of [...again, ...seedsOf(simulated, count).map((each) => ({ seed: each, ...of }))]) {
      const outcome = await simulateCase(simulated, seed, given)
      looks += outcome.looks
      crashes += outcome.crashes
      if (outcome.violations.length > 0)
        complaints.push((await complaint(simulated, seed, given)) ?? `seed ${seed} violates only now and then`)
      if (complaints.length >= TOLD_MAX) break
    }
    expect(complaints.join('\n\n')).toBe('')
    // A world in which nothing goes wrong, or that nobody looks at, would keep any promise.
    expect(crashes).toBeGreaterThan(0)
    expect(looks).toBeGreaterThan(0)
  })
}

/** Seeds that have found a defect once, each with what it took. */
export function kept(lines = readFileSync(new URL('seeds.txt', import.meta.url), 'utf8').split('\n')): readonly Kept[] {
  return lines.flatMap((line): Kept[] => {
    const [topology, seed, ...more] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (topology === undefined || topology === '') return []
    const one: { -readonly [Field in keyof Kept]: Kept[Field] } = { topology, seed: Number(seed), log: 'embedded' }
    for (const each of more) {
      if (each === 'kafka') one.log = 'kafka'
      else if (each === 'faults=none') one.faults = []
      else if (each.startsWith('faults=')) one.faults = each.slice('faults='.length).split(',') as FaultKind[]
      else if (each.startsWith('set=')) one.settings = JSON.parse(each.slice('set='.length)) as Partial<Settings>
      else throw new TypeError(`seeds.txt: "${each}" in "${line}"`)
    }
    const known = (one.faults ?? []).every((kind) => kind in FAULTS) && CASES.some(({ name }) => name === topology)
    if (!known || !Number.isSafeInteger(one.seed)) throw new TypeError(`seeds.txt: "${line}"`)
    return [one]
  })
}
