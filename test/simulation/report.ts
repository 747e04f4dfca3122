/** What is said of a seed that violates: the one command that repeats it, and the fewest kinds of fault that it needs. */
import type { Topology } from '#tidemark'
import { type FaultKind, type Settings, type Simulated, type SimulateOptions, simulate } from '../../src/testing/simulate.ts'

export interface Repeat {
  readonly bug?: string | undefined
  /** Only these kinds of fault; those that the seed has, if not given. */
  readonly faults?: readonly FaultKind[] | undefined
  /** Settings that the seed did not draw. */
  readonly settings?: Partial<Settings> | undefined
  /** What the log was; the embedded one if not given. */
  readonly log?: SimulateOptions['log'] | undefined
}

export function commandOf({ seed }: Pick<Simulated, 'seed'>, topology: string, { bug, faults, settings, log }: Repeat = {}): string {
  const kinds = faults === undefined ? '' : ` --faults ${faults.join(',') || 'none'}`
  const set = settings === undefined ? '' : ` --set '${JSON.stringify(settings)}'`
  return `npm run simulate --${log === 'kafka' ? ' --kafka' : ''} --seed ${seed} --topology ${topology}${kinds}${set}${bug === undefined ? '' : ` --bug ${bug}`} --trace`
}

/** Leaves out one kind of fault after the other, as long as the same seed still violates (Zeller's delta debugging, one at a time). */
export async function shrunk(topology: Topology, options: SimulateOptions, { faults }: Simulated): Promise<readonly FaultKind[]> {
  const { trace: _, ...quiet } = options
  let kinds = faults
  for (const kind of faults) {
    const fewer = kinds.filter((each) => each !== kind)
    const { violations } = await simulate(topology, { ...quiet, faults: fewer })
    if (violations.length > 0) kinds = fewer
  }
  return kinds
}

/** A seed that has found a defect, with what it took. */
export interface Kept {
  readonly topology: string
  readonly seed: number
  readonly log: NonNullable<SimulateOptions['log']>
  readonly faults?: readonly FaultKind[]
  readonly settings?: Partial<Settings>
}

/** Its line in the list of kept seeds; what follows `#` is to say what it was, once that is known. */
export function keptLine(
  { topology, seed, log, faults, settings }: Pick<Kept, 'topology' | 'seed'> & Repeat,
  violations: readonly string[],
): string {
  const parts = [
    topology,
    String(seed),
    ...(log === 'kafka' ? ['kafka'] : []),
    ...(faults === undefined ? [] : [`faults=${faults.join(',') || 'none'}`]),
    ...(settings === undefined || Object.keys(settings).length === 0 ? [] : [`set=${JSON.stringify(settings)}`]),
  ]
  return `${parts.join(' ')} # ${(violations[0] ?? '').split('\n', 1)[0]?.slice(0, 140)}`
}
