/** The simulator itself: the same seed is the same run, and whoever has a topology can have it simulated. */
import { describe, expect, test } from 'vitest'
import { FAULT_KINDS, simulate } from '../../src/testing/simulate.ts'
import { BUGS, type NamedBug } from './bugs.ts'
import { kept } from './kit.ts'
import { commandOf, keptLine } from './report.ts'
import { complaint, simulateCase } from './run.ts'
import { countingCase } from './topologies/counting.ts'
import { CASES, caseOf } from './topologies/index.ts'

const PATIENCE_MS = 300_000

describe('a seed', () => {
  test.each(CASES)('of $name is the same run whenever it is run', { timeout: PATIENCE_MS }, async (simulated) => {
    for (const seed of [11, 12, 13]) {
      const once = await simulateCase(simulated, seed)
      const again = await simulateCase(simulated, seed)
      expect(again).toEqual(once)
      expect(once.events).toBeGreaterThan(100)
    }
  })

  test('is another run than any other seed', { timeout: PATIENCE_MS }, async () => {
    const digests = new Set<number>()
    for (let seed = 1; seed <= 10; seed++) digests.add((await simulateCase(caseOf(seed), seed)).digest)
    expect(digests.size).toBe(10)
  })

  test('has some kinds of fault, and all seeds together have all of them', { timeout: PATIENCE_MS }, async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 40 && seen.size < FAULT_KINDS.length; seed++) {
      const { faults } = await simulateCase(caseOf(seed), seed)
      expect(faults.length).toBeLessThan(FAULT_KINDS.length)
      for (const kind of faults) seen.add(kind)
    }
    expect([...seen].sort()).toEqual([...FAULT_KINDS].sort())
  })

  test('that violates says with which command it is run again, with the fewest kinds of fault', { timeout: PATIENCE_MS }, async () => {
    const [simulated] = CASES as [(typeof CASES)[number]]
    const wrong = { ...simulated, oracle: { rows: { takings: () => new Map([['till-0', { cents: 0, facts: 0, last: 0 }]]) } } }
    const said = await complaint(wrong, 5)
    expect(said).toContain('O1: "takings"')
    expect(said).toContain('npm run simulate -- --seed 5 --topology counting --faults none --trace')
    expect(said).toContain('to be kept in test/simulation/seeds.txt: counting 5 # O1: "takings"')
  })
})

test('a topology without an oracle is judged by what holds for every topology', { timeout: PATIENCE_MS }, async () => {
  const { topology, feed } = countingCase
  for (let seed = 1; seed <= 5; seed++) expect((await simulate(topology, { seed, feed })).violations).toEqual([])
  // Rows on disk before the log has decided: what they are is not asked, only that they are what the changelog says.
  const tooEarly = BUGS.find(({ name }) => name === 'no-overlay') as NamedBug
  const { violations } = await simulate(topology, { seed: 5, feed, bug: tooEarly.bug, settings: { guarantee: 'exactly-once' } })
  expect(violations.join()).toContain('O4')
})

test('the line that is to be kept of a seed is read as what it was', () => {
  const faults = ['kill', 'log-late'] as const
  const set = { guarantee: 'at-least-once', workers: 2 } as const
  const lines = [
    keptLine({ topology: 'stock', seed: 7 }, ['O1: # is 1\nand more']),
    keptLine({ topology: 'payments', seed: 8, log: 'kafka', faults, settings: set }, ['O2']),
  ]
  lines.push(keptLine({ topology: 'visits', seed: 9, faults: [] }, ['O3']))
  expect(lines[0]).toBe('stock 7 # O1: # is 1')
  expect(kept(lines)).toEqual([
    { topology: 'stock', seed: 7, log: 'embedded' },
    { topology: 'payments', seed: 8, log: 'kafka', faults, settings: set },
    { topology: 'visits', seed: 9, log: 'embedded', faults: [] },
  ])
})

test('every kept seed names a topology that is there', () => {
  for (const { topology, seed, log } of kept()) expect(commandOf({ seed }, topology, { log })).toContain(`--seed ${seed} --topology`)
})
