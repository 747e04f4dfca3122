/**
 * A scripted scenario in which the process dies before event k, for every k: a few facts, from the first start until everything is processed.
 * Nothing else goes wrong, so each death is the only reason for what follows.
 */
import { type Death, type Settings, type Simulated, type SimulateOptions, simulate } from '../../src/testing/simulate.ts'
import type { NamedBug } from './bugs.ts'
import type { Case } from './topologies/case.ts'
import { countingCase } from './topologies/counting.ts'

const FACTS = 5
const SEED = 1
const SETTINGS: Partial<Settings> = {
  workers: 1,
  fsync: 'commit',
  segmentBytes: 16_384,
  journalBytes: 16_384,
  commitIntervalMs: 5,
  commitBytes: 700,
  cacheKeys: 4,
  bufferBytes: 4 * 1024 * 1024,
  fetchBytes: 4 * 1024 * 1024,
  turnRecords: 3,
  sessionMs: 1_500,
  durableStores: false,
  activeMs: 150,
  chunk: 20,
  replay: false,
}

export interface Script {
  readonly simulated: Case
  readonly guarantee: Settings['guarantee']
  readonly kind: Death['kind']
  /** A death before the one at k, so that k runs through what its successor does to get going again. */
  readonly first?: Death
  readonly bug?: Pick<NamedBug, 'name' | 'bug'>
  /** What differs from the settings that all scripts have. */
  readonly settings?: Partial<Settings>
  /** So many of the facts. Default: 5. */
  readonly facts?: number
}

/** Facts enough that files have several sectors, and nothing is synced: what a power cut leaves of them may have holes. */
export const TORN: Script = { simulated: countingCase, guarantee: 'exactly-once', kind: 'torn', facts: 12, settings: { fsync: 'never' } }

export interface Systematic {
  /** Deaths tried, one a run. */
  readonly deaths: number
  /** Of the first run that violates: what, and the command that repeats it. */
  readonly found: { readonly event: number; readonly complaint: string } | undefined
}

export function dieAt({ simulated, guarantee, bug, settings, facts = FACTS }: Script, deaths: readonly Death[]): Promise<Simulated> {
  const options: SimulateOptions = {
    seed: SEED,
    feed: (random) => simulated.feed(random).slice(0, facts),
    oracle: simulated.oracle,
    faults: [],
    settings: { ...SETTINGS, ...settings, guarantee },
    deaths,
    ...(bug === undefined ? {} : { bug: bug.bug }),
  }
  return simulate(simulated.topology, options)
}

/** Runs a script once for every event that it has, and stops at the first violation. */
export async function dieAtEveryEvent(script: Script): Promise<Systematic> {
  const before = script.first === undefined ? [] : [script.first]
  const { events } = await dieAt(script, before)
  for (let event = (script.first?.event ?? 0) + 1; event <= events; event++) {
    const deaths: readonly Death[] = [...before, { event, kind: script.kind }]
    const { violations } = await dieAt(script, deaths)
    if (violations.length === 0) continue
    return { deaths: event, found: { event, complaint: `${violations.join('\n')}\n${commandOf(script, deaths)}` } }
  }
  return { deaths: events - (script.first?.event ?? 0), found: undefined }
}

export function commandOf({ simulated, guarantee, bug, settings, facts = FACTS }: Script, deaths: readonly Death[]): string {
  const at = deaths.map(({ event, kind }) => `${event}${{ kill: '', 'power-cut': '!', torn: '~' }[kind]}`).join(',')
  const set = JSON.stringify({ ...SETTINGS, ...settings, guarantee })
  const more = bug === undefined ? '' : ` --bug ${bug.name}`
  return `npm run simulate -- --seed ${SEED} --topology ${simulated.name} --faults none --facts ${facts} --deaths '${at}' --set '${set}'${more} --trace`
}
