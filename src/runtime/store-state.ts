/** One store of one task while it runs: its clock, its timers, its time buckets, its sums, and which of its rows wait for the next commit. */
import type { StorePlan } from '../plan/plan.ts'
import type { Holding, StoreSpec } from '../topology/node.ts'
import { HeldCount } from './held.ts'
import type { StoreMeta } from './meta.ts'
import type { RowCodec } from './rows.ts'
import type { Row } from './slots.ts'
import { Sums } from './sums.ts'
import { TimerQueue } from './timers.ts'

/** Before the first record. */
export const NEVER: number = Number.MIN_SAFE_INTEGER
const BUCKET_MAX = 0xffffffff
/**
 * Buckets are numbered from here on, so that the first byte of a row's key in an expiring store is never 0: a timer's begins with 00 '!', and a
 * bucket number could otherwise read like that.
 */
const BUCKET_ZERO = 0x80000000
const BUCKET_MS_MIN = 1_000

export class StoreState {
  readonly plan: StorePlan
  readonly spec: StoreSpec | undefined
  /** Place among the stores of its task. */
  readonly index: number
  readonly codec: RowCodec
  readonly ranged: boolean
  readonly marks: boolean
  readonly expiring: boolean
  /** Its rows go to a state topic. */
  readonly published: boolean
  readonly timers: TimerQueue
  readonly wallTimers: TimerQueue
  readonly sums: Sums
  /** What its step holds, as the rows say that were sealed; right once `counted`. */
  readonly held: HeldCount = new HeldCount()
  /** Reads from a main row what is held of its key; undefined for a store of a step that holds nothing. */
  readonly holding: ((row: unknown) => Holding | undefined) | undefined
  /** Whether `held` is known: a commit has said it, or there was nothing to count. */
  counted = true
  streamTime: number = NEVER
  /** Rows that differ from what was sealed last; may name a row twice or one that is clean again. */
  dirty: Row[] = []
  /** Timers set (true) or taken back since the last seal, by store key. */
  timerChanges: Map<string, boolean> = new Map()
  /** Rows to remove because their bucket is dead: store key, and the bytes that lie there. */
  swept: (readonly [key: Buffer, bytes: Buffer])[] = []
  /** Oldest bucket that may still hold rows. */
  firstBucket = 0
  readonly #keepMs: number
  readonly #bucketMs: number
  #buckets: readonly number[] = []
  #bucketsFrom = NEVER
  #bucketsUntil = NEVER

  constructor(
    plan: StorePlan,
    spec: StoreSpec | undefined,
    index: number,
    codec: RowCodec,
    holding?: (row: unknown) => Holding | undefined,
  ) {
    this.plan = plan
    this.holding = holding
    this.spec = spec
    this.index = index
    this.codec = codec
    this.ranged = spec?.ranged ?? false
    this.marks = spec?.marks ?? true
    this.expiring = spec?.expires !== undefined
    this.published = spec?.view?.publish !== undefined
    this.#keepMs = spec?.expires?.keepMs ?? 0
    // Two buckets cover the horizon, so at most three are alive: fewer would keep rows much longer, more would cost a probe each.
    this.#bucketMs = Math.max(BUCKET_MS_MIN, Math.ceil(this.#keepMs / 2))
    this.timers = new TimerQueue(plan.id, 'stream')
    this.wallTimers = new TimerQueue(plan.id, 'wall')
    this.sums = new Sums()
    this.firstBucket = BUCKET_MAX
  }

  /** Takes up where a commit left off. */
  resume(meta: StoreMeta): void {
    this.streamTime = meta.streamTime ?? NEVER
    this.firstBucket = meta.firstBucket
    this.sums.words.set(meta.sums.words)
    this.#bucketsUntil = NEVER
    if (meta.held !== undefined) this.held.set(meta.held)
    this.counted = meta.held !== undefined
  }

  meta(): StoreMeta {
    return {
      streamTime: this.streamTime === NEVER ? undefined : this.streamTime,
      firstBucket: this.firstBucket,
      sums: this.sums,
      held: this.holding === undefined ? undefined : this.held,
    }
  }

  /** A main row was read from the disk: what its bytes say is in the counts already. */
  noteHeld(row: Row): void {
    if (row.exists) row.holding = this.holding?.(row.value)
  }

  /** A main row becomes bytes: the counts go from what its bytes said to what it says now. */
  recount(row: Row): void {
    const before = row.holding
    const now = row.exists ? this.holding?.(row.value) : undefined
    // Almost always nothing is held, and nothing was.
    if (before === now) return
    if (before !== undefined) this.held.add(before, -1)
    if (now !== undefined) this.held.add(now, 1)
    row.holding = now
  }

  bucketOf(time: number): number {
    return Math.max(BUCKET_ZERO, Math.min(BUCKET_ZERO + Math.floor(time / this.#bucketMs), BUCKET_MAX - 1))
  }

  get bucket(): number {
    return this.bucketOf(this.streamTime)
  }

  /** Oldest bucket that is alive: its end is less than the horizon ago. */
  get oldestAlive(): number {
    return this.bucketOf(this.streamTime - this.#keepMs)
  }

  /** Buckets that may hold live rows, oldest first, the present one included. */
  get buckets(): readonly number[] {
    if (this.streamTime >= this.#bucketsFrom && this.streamTime < this.#bucketsUntil) return this.#buckets
    const last = this.bucket
    this.firstBucket = Math.min(this.firstBucket, last)
    const buckets: number[] = []
    for (let bucket = Math.max(this.oldestAlive, this.firstBucket); bucket <= last; bucket++) buckets.push(bucket)
    this.#buckets = buckets
    this.#bucketsFrom = this.streamTime
    // The list holds until the present bucket ends, or the oldest one dies.
    const endOf = (bucket: number): number => (bucket - BUCKET_ZERO + 1) * this.#bucketMs
    this.#bucketsUntil = Math.min(endOf(last), endOf(this.oldestAlive) + this.#keepMs)
    return buckets
  }
}
