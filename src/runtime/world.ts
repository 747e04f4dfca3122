/** Everything outside that the runtime touches, in one value. Two applications in one process have two of these. */
import type { Clock, Failpoint, Random } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Codecs } from '../ports/record-batch/index.ts'
import type { Serdes } from '../ports/serde.ts'
import type { StateDriver } from '../ports/store.ts'
import type { Telemetry } from '../ports/telemetry.ts'

export interface World {
  readonly log: Log
  readonly state: StateDriver
  readonly serdes: Serdes
  readonly codecs: Codecs
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly failpoint: Failpoint
}

/** What a user may choose about how an application runs. */
export interface RuntimeOptions {
  readonly guarantee: 'exactly-once' | 'at-least-once'
  /** The worker's name among its application's, which survives restarts. Of no meaning to a dynamic member. */
  readonly instance: string
  /** A `static` member is known by its name and expected back when it stops; a `dynamic` one has no name, and leaves when it stops. */
  readonly membership: 'static' | 'dynamic'
  /** Longest time between two commits while there is work, ms. An idle worker commits at once. */
  readonly commitIntervalMs: number
  /** A commit is begun when about so many bytes wait for it. */
  readonly commitBytes: number
  /** Most keys that a task keeps in memory between commits. */
  readonly cacheKeys: number
  /** So many it keeps in any case, and more when keys come back that had to go. */
  readonly cacheKeysFirst: number
  /** So many more than that do all tasks of the process together. */
  readonly cacheKeysShared: number
  /** Bytes read ahead for a partition before it is paused. */
  readonly bufferBytes: number
  /** Bytes asked of the log at once. */
  readonly fetchBytes: number
  /** Records a task runs before another task gets its turn, and before the clock is asked. */
  readonly turnRecords: number
  /** How long a worker is waited for that is silent, or was stopped and is expected back, ms. */
  readonly sessionMs: number
  /** Refuse rows that a fold changed in place. Costs time; for tests and development. */
  readonly freezeRows: boolean
  /** Force every store batch to disk, so that a power cut costs no restore. */
  readonly durableStores: boolean
}

export const DEFAULT_OPTIONS: RuntimeOptions = Object.freeze({
  guarantee: 'exactly-once',
  instance: '0',
  membership: 'static',
  commitIntervalMs: 200,
  commitBytes: 32 * 1024 * 1024,
  cacheKeys: 32_768,
  cacheKeysFirst: 3_072,
  cacheKeysShared: 131_072,
  bufferBytes: 1024 * 1024,
  fetchBytes: 2 * 1024 * 1024,
  turnRecords: 512,
  sessionMs: 10_000,
  freezeRows: false,
  durableStores: false,
})
