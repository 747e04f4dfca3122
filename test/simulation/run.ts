/** One seed of one topology: with what it is not to draw, what is said of it when it violates, and nothing of a test runner. */
import { type Simulated, type SimulateOptions, simulate } from '../../src/testing/simulate.ts'
import type { NamedBug } from './bugs.ts'
import { commandOf, keptLine, shrunk } from './report.ts'
import type { Case } from './topologies/case.ts'

/** What a seed is not to draw. */
export type Given = Partial<Pick<NamedBug, 'bug' | 'settings' | 'faults'>> & Pick<SimulateOptions, 'log'>

export function optionsOf(simulated: Case, seed: number, { bug, settings: given, faults, log }: Given = {}): SimulateOptions {
  const { feed, oracle } = simulated
  const settings = simulated.settings === undefined ? given : { ...simulated.settings, ...given }
  return {
    seed,
    feed,
    oracle,
    ...(bug === undefined ? {} : { bug }),
    ...(settings === undefined ? {} : { settings }),
    ...(faults === undefined ? {} : { faults }),
    ...(log === undefined ? {} : { log }),
  }
}

export function simulateCase(simulated: Case, seed: number, given?: Given): Promise<Simulated> {
  return simulate(simulated.topology, optionsOf(simulated, seed, given))
}

/** What was not kept, and the one command that repeats it with the fewest kinds of fault; undefined when all is well. */
export async function complaint(simulated: Case, seed: number, given: Given = {}): Promise<string | undefined> {
  const outcome = await simulateCase(simulated, seed, given)
  if (outcome.violations.length === 0) return undefined
  const faults = await shrunk(simulated.topology, optionsOf(simulated, seed, given), outcome)
  const repeat = { faults, settings: given.settings, log: given.log }
  const line = keptLine({ topology: simulated.name, seed, ...repeat, faults: given.faults }, outcome.violations)
  return `${outcome.violations.join('\n')}\n${commandOf(outcome, simulated.name, repeat)}\nto be kept in test/simulation/seeds.txt: ${line}`
}
