/** What differs from seed to seed about how the application and the log run: above all limits so small that rare branches are common. */

import { TidemarkError } from '../../base/errors.ts'
import { needFunction, refuseUnknown, shown } from '../../base/options.ts'
import { checkTopology } from '../../operators/given.ts'
import { type FaultKind, oneOf, streamOf } from './faults.ts'

export interface Settings {
  readonly guarantee: 'exactly-once' | 'at-least-once'
  /** Workers that are wanted; others join and leave where the seed has that. */
  readonly workers: number
  readonly fsync: 'commit' | 'interval' | 'never'
  readonly segmentBytes: number
  readonly journalBytes: number
  readonly commitIntervalMs: number
  readonly commitBytes: number
  readonly cacheKeys: number
  readonly bufferBytes: number
  readonly fetchBytes: number
  readonly turnRecords: number
  readonly sessionMs: number
  readonly durableStores: boolean
  /** How long facts come and faults happen, ms of simulated time. */
  readonly activeMs: number
  /** Facts that producers send at once, at most. */
  readonly chunk: number
  /** Rebuild the projections at the end and compare. */
  readonly replay: boolean
  /** On Kafka: the protocol of transactions that the cluster has agreed on. */
  readonly transactionProtocol: 1 | 2
  /** On Kafka: after this long an open transaction is aborted, ms. */
  readonly transactionMs: number
  /** On Kafka: epochs of a producer id before it needs another id; so few that this happens. */
  readonly epochMax: number
  /** On Kafka: how often requests meet their faults, as a multiple of what the seed has. */
  readonly requestFaults: number
  /** On Kafka: how long a request or an answer is on its way, on average, ms. Where that is long, everything meets everything. */
  readonly legMs: number
}

/**
 * What is not promised on Kafka. At least once nothing fences a writer: a second process under the name of one that lives has its place at once,
 * without the time in which the first would find out. Who runs them sees to it that there is one, as a StatefulSet does.
 */
export const NEVER_ON_KAFKA: Readonly<Record<Settings['guarantee'], readonly FaultKind[]>> = {
  'exactly-once': [],
  'at-least-once': ['worker-doubled'],
}

const MIB = 1024 * 1024

export function settingsOf(seed: number, given: Partial<Settings> = {}): Settings {
  const random = streamOf(seed, 'settings')
  const pick = <T>(...choices: readonly T[]): T => oneOf(random, choices)
  const settings: Settings = {
    guarantee: pick('exactly-once', 'exactly-once', 'at-least-once'),
    workers: pick(1, 1, 2, 2, 3),
    fsync: pick('commit', 'interval', 'never'),
    segmentBytes: pick(64 * MIB, 64 * MIB, 2_048, 16_384),
    journalBytes: pick(4 * MIB, 4 * MIB, 2_048, 16_384),
    commitIntervalMs: pick(0, 5, 50, 200),
    commitBytes: pick(1, 700, 32 * MIB, 32 * MIB),
    cacheKeys: pick(1, 4, 8_192),
    bufferBytes: pick(1, 2_000, 4 * MIB),
    fetchBytes: pick(1, 1_000, 4 * MIB),
    turnRecords: pick(1, 3, 512),
    sessionMs: pick(1_500, 4_000),
    durableStores: pick(true, false),
    activeMs: pick(2_000, 4_000, 8_000),
    chunk: pick(1, 4, 20),
    replay: pick(true, false, false),
    transactionProtocol: pick(1, 2, 2),
    transactionMs: pick(2_000, 10_000),
    epochMax: pick(6, 32_766),
    requestFaults: pick(1, 1, 6),
    legMs: pick(0.3, 0.3, 12),
  }
  refuseUnknown(given, Object.keys(settings), 'settings of simulate()')
  return { ...settings, ...given }
}

const OPTIONS = ['seed', 'log', 'feed', 'oracle', 'faults', 'settings', 'deaths', 'bug', 'trace']

/**
 * What a simulation is given, when it can be one.
 * @throws TidemarkError OPTION_INVALID
 */
export function checkedOptions<O extends { readonly seed: number; readonly feed: unknown }>(topology: unknown, options: O): O {
  checkTopology(topology, 'what simulate() is given')
  refuseUnknown(options, OPTIONS, 'simulate()')
  if (!Number.isSafeInteger(options.seed))
    throw new TidemarkError('OPTION_INVALID', `seed of simulate() is ${shown(options.seed)}`, { hint: 'It is a whole number, such as 7.' })
  needFunction(options.feed, 'feed of simulate()', 'Say what producers send: feed: (random) => [fed(orders, fact, { at, id })].')
  return options
}
