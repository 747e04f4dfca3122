/**
 * The hunt for a deliberate bug, by the means that its entry names: random seeds as they are drawn, random seeds of which something is given, or
 * a death at every event of a script. What is known to find it is tried first; when the runtime has changed so much that this is another story
 * by now, the others are.
 */
import type { NamedBug } from './bugs.ts'
import { commandOf } from './report.ts'
import { type Given, simulateCase } from './run.ts'
import { dieAt, dieAtEveryEvent, commandOf as scriptOf } from './systematic.ts'
import { caseOf } from './topologies/index.ts'

export const SEEDS_MAX = 500

export type Means = 'random' | 'narrowed' | 'systematic'

export function meansOf({ systematic, settings, faults }: NamedBug): Means {
  if (systematic !== undefined) return 'systematic'
  return settings === undefined && faults === undefined ? 'random' : 'narrowed'
}

/** By which means a bug is found, for people. */
export function foundBy({ systematic, settings, faults, seed }: NamedBug): string {
  if (systematic !== undefined) {
    const { simulated, guarantee, kind, event } = systematic
    return `found by the systematic run: a death (${kind}) at every event of "${simulated.name}", ${guarantee}, such as at ${event}`
  }
  if (settings === undefined && faults === undefined) return `found by random seeds as they are drawn, such as ${seed}`
  const given = [
    ...(faults === undefined ? [] : [`with ${faults.join(', ')} as the only faults`]),
    ...(settings === undefined ? [] : [`where ${JSON.stringify(settings)} is given`]),
  ]
  return `found by random seeds ${given.join(' and ')}, such as ${seed}`
}

export interface Found {
  /** The seed, or the event of the script at which the process dies. */
  readonly at: number
  /** What is known to find it still does. */
  readonly known: boolean
  readonly violations: readonly string[]
  /** What the same world violates without the bug: nothing, or it proves nothing. */
  readonly sound: readonly string[]
  /** Repeats it. */
  readonly command: string
}

/** Undefined when nothing that may be tried finds it. */
export function hunt(named: NamedBug, log: NonNullable<Given['log']>): Promise<Found | undefined> {
  return named.systematic === undefined ? amongSeeds(named, log) : amongDeaths(named, named.systematic)
}

async function amongSeeds(named: NamedBug, log: NonNullable<Given['log']>): Promise<Found | undefined> {
  const tried = [named.seed ?? 1, ...Array.from({ length: SEEDS_MAX }, (_, i) => i + 1)]
  for (const [i, seed] of tried.entries()) {
    const simulated = caseOf(seed)
    const { bug, faults, settings } = named
    const given: Given = { log, ...(faults === undefined ? {} : { faults }), ...(settings === undefined ? {} : { settings }) }
    const { violations } = await simulateCase(simulated, seed, { ...given, bug })
    if (violations.length === 0) continue
    const sound = await simulateCase(simulated, seed, given)
    const command = commandOf({ seed }, simulated.name, { faults, settings, log, bug: named.name })
    return { at: seed, known: i === 0, violations, sound: sound.violations, command }
  }
  return undefined
}

async function amongDeaths(named: NamedBug, { event, ...script }: NonNullable<NamedBug['systematic']>): Promise<Found | undefined> {
  const known = { event, kind: script.kind }
  const first = await dieAt({ ...script, bug: named }, [known])
  const at = first.violations.length > 0 ? event : (await dieAtEveryEvent({ ...script, bug: named })).found?.event
  if (at === undefined) return undefined
  const deaths = [{ event: at, kind: script.kind }]
  const { violations } = at === event ? first : await dieAt({ ...script, bug: named }, deaths)
  const sound = await dieAt(script, deaths)
  return { at, known: at === event, violations, sound: sound.violations, command: scriptOf({ ...script, bug: named }, deaths) }
}
