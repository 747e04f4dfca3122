/**
 * The hunt for a deliberate bug: its own seed first, and when the runtime has changed so much that this seed is another story by now, the next
 * ones.
 */
import { expect } from 'vitest'
import type { NamedBug } from './bugs.ts'
import { type Given, simulateCase } from './kit.ts'
import { commandOf } from './report.ts'
import { caseOf } from './topologies/index.ts'

const SEEDS_MAX = 500

/** Ends when a seed has found the bug, and the same world without it keeps every promise. */
export async function hunt(named: NamedBug, log: NonNullable<Given['log']>): Promise<void> {
  const tried = [named.seed, ...Array.from({ length: SEEDS_MAX - 1 }, (_, i) => i + 1)]
  for (const seed of tried) {
    const simulated = caseOf(seed)
    const outcome = await simulateCase(simulated, seed, { ...named, log })
    if (outcome.violations.length === 0) continue
    const sound = await simulateCase(simulated, seed, { ...named, log, bug: {} })
    const { faults, settings } = named
    expect(sound.violations.join('\n'), commandOf(sound, simulated.name, { faults, settings, log })).toBe('')
    if (seed !== named.seed) console.log(`"${named.name}" is now found by seed ${seed}, and no longer by ${named.seed}`)
    return
  }
  expect.fail(`no seed up to ${SEEDS_MAX - 1} finds "${named.name}"`)
}
