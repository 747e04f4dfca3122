/** Wherever the process dies, it goes on as if it had not: once for every event of a scripted scenario. */
import { describe, expect, test } from 'vitest'
import { dieAtEveryEvent, type Script, TORN } from './systematic.ts'
import { countingCase } from './topologies/counting.ts'
import { stockCase } from './topologies/stock.ts'

const PATIENCE_MS = 600_000

const complaintOf = async (script: Script): Promise<string> => {
  const { deaths, found } = await dieAtEveryEvent(script)
  expect(deaths).toBeGreaterThan(100)
  return found?.complaint ?? ''
}

describe.each(['exactly-once', 'at-least-once'] as const)('%s', (guarantee) => {
  test.each(['kill', 'power-cut'] as const)('holds through a %s at every await', { timeout: PATIENCE_MS }, async (kind) => {
    expect(await complaintOf({ simulated: countingCase, guarantee, kind })).toBe('')
  })
})

test('exactly once holds through a second kill at every await of the restart', { timeout: PATIENCE_MS }, async () => {
  const first = { event: 150, kind: 'kill' } as const
  expect(await complaintOf({ simulated: countingCase, guarantee: 'exactly-once', kind: 'kill', first })).toBe('')
})

test('exactly once holds through a power cut at every await that leaves files with holes', { timeout: PATIENCE_MS }, async () => {
  expect(await complaintOf(TORN)).toBe('')
})

test('exactly once holds across an inbox through a kill at every await', { timeout: PATIENCE_MS }, async () => {
  expect(await complaintOf({ simulated: stockCase, guarantee: 'exactly-once', kind: 'kill' })).toBe('')
})
