/** The real runtime and the real Kafka driver on simulated brokers: what is promised holds through the faults of a network and of a cluster. */
import { describe, expect, test } from 'vitest'
import { KAFKA_FAULT_KINDS } from '../../src/testing/simulate.ts'
import { holdsOnKafka } from './kit.ts'
import { complaint, simulateCase } from './run.ts'
import { CASES, caseOf } from './topologies/index.ts'

const PATIENCE_MS = 300_000

for (const guarantee of ['exactly-once', 'at-least-once'] as const)
  for (const simulated of CASES) if ((simulated.settings?.guarantee ?? guarantee) === guarantee) holdsOnKafka(simulated, guarantee)

describe('a seed on Kafka', () => {
  test('is the same run whenever it is run, under both protocols of transactions', { timeout: PATIENCE_MS }, async () => {
    for (const transactionProtocol of [1, 2] as const) {
      const given = { log: 'kafka', settings: { transactionProtocol } } as const
      const once = await simulateCase(caseOf(11), 11, given)
      expect(await simulateCase(caseOf(11), 11, given)).toEqual(once)
      expect(once.events).toBeGreaterThan(100)
    }
  })

  test('has some kinds of fault, and all seeds together have all of them', { timeout: PATIENCE_MS }, async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= 40 && seen.size < KAFKA_FAULT_KINDS.length; seed++) {
      const { faults } = await simulateCase(caseOf(seed), seed, { log: 'kafka', settings: { activeMs: 100, replay: false } })
      for (const kind of faults) seen.add(kind)
    }
    expect([...seen].sort()).toEqual([...KAFKA_FAULT_KINDS].sort())
  })

  test('that violates says with which command it is run again', { timeout: PATIENCE_MS }, async () => {
    const [simulated] = CASES as [(typeof CASES)[number]]
    const wrong = { ...simulated, oracle: { rows: { takings: () => new Map([['till-0', { cents: 0, facts: 0, last: 0 }]]) } } }
    const said = await complaint(wrong, 5, { log: 'kafka' })
    expect(said).toContain('npm run simulate -- --kafka --seed 5 --topology counting --faults none --trace')
  })
})
