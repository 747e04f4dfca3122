/**
 * The simulator finds what it is for. Each deliberate bug is run with the seed that is known to find it; when the runtime has changed so much
 * that this seed is another story by now, the next ones are tried.
 */
import { expect, test } from 'vitest'
import { BUGS } from './bugs.ts'
import { simulateCase } from './kit.ts'
import { commandOf } from './report.ts'
import { caseOf } from './topologies/index.ts'

const SEEDS_MAX = 500
const PATIENCE_MS = 600_000

test.each(BUGS)('a bug is found: $about', { timeout: PATIENCE_MS }, async (named) => {
  const tried = [named.seed, ...Array.from({ length: SEEDS_MAX - 1 }, (_, i) => i + 1)]
  for (const seed of tried) {
    const simulated = caseOf(seed)
    const outcome = await simulateCase(simulated, seed, named)
    if (outcome.violations.length === 0) continue
    // Without the bug the same world keeps every promise, so it was the bug that was found.
    const sound = await simulateCase(simulated, seed, { ...named, bug: {} })
    const { faults, settings } = named
    expect(sound.violations.join('\n'), commandOf(sound, simulated.name, { faults, settings })).toBe('')
    if (seed !== named.seed) console.log(`"${named.name}" is now found by seed ${seed}, and no longer by ${named.seed}`)
    return
  }
  expect.fail(`no seed up to ${SEEDS_MAX - 1} finds "${named.name}"`)
})
