/**
 * What a keyed step sees of its store during one invocation. Writes go to the rows in memory at once, so that the step reads what it wrote,
 * and are undone when it throws: the unit of failure is one invocation of one node. Timers and pages it asks for count only once it has returned.
 */
import { TidemarkError } from '../base/errors.ts'
import type { RowView, Scope } from '../topology/node.ts'
import type { Rec } from './record.ts'
import type { KeySlot, Row } from './slots.ts'
import type { TaskState } from './state.ts'
import type { StoreState } from './store-state.ts'

/** A row as it was before this invocation touched it. */
class Before {
  row: Row | undefined
  value: unknown
  exists = false
  version = 0
  at = 0
  markHigh = 0
  markLow = 0
  topic = ''
  partition = 0
  offset = 0
  contractVersion = 0
  causeId = ''
  correlationId = ''
  wasDirty = false
}

interface TimerWish {
  readonly kind: 'stream' | 'wall'
  readonly at: number
  readonly sub: string
  readonly set: boolean
}

export class NodeScope implements Scope {
  readonly store: StoreState
  readonly #state: TaskState
  readonly #freeze: boolean
  #slot: KeySlot | undefined
  #cause: Rec | undefined
  readonly #before: Before[] = []
  #touched = 0
  #timers: TimerWish[] = []
  /** The timer whose going off this invocation is. */
  #woken: Omit<TimerWish, 'set'> | undefined
  #page: string | undefined

  constructor(state: TaskState, store: StoreState, freeze: boolean) {
    this.#state = state
    this.store = store
    // Marks are the operators' own: no function of the user's ever gets one, and dedupe grows its chunks in place.
    this.#freeze = freeze && !store.marks
  }

  /** Begins an invocation for a key; `cause` is the record behind it, or the one that stands for a timer. */
  begin(slot: KeySlot, cause: Rec): void {
    this.#slot = slot
    this.#cause = cause
    this.#woken = undefined
  }

  /** The invocation that has begun is a timer going off. */
  wakes(kind: TimerWish['kind'], at: number, sub: string): void {
    this.#woken = { kind, at, sub }
  }

  /** Lets the invocation count. */
  end(): void {
    this.#touched = 0
    if (this.#timers.length > 0) {
      const slot = this.#slot as KeySlot
      for (const { kind, at, sub, set } of this.#timers) this.#state.changeTimer(this.store, kind, at, slot.key, sub, set)
      this.#timers = []
    }
  }

  /** As if the invocation had not been. */
  undo(): void {
    for (let i = this.#touched - 1; i >= 0; i--) {
      const before = this.#before[i] as Before
      const row = before.row as Row
      row.value = before.value
      row.exists = before.exists
      row.version = before.version
      row.at = before.at
      row.markHigh = before.markHigh
      row.markLow = before.markLow
      if (this.store.codec.view) {
        row.topic = before.topic
        row.partition = before.partition
        row.offset = before.offset
        row.contractVersion = before.contractVersion
        row.causeId = before.causeId
        row.correlationId = before.correlationId
      }
      if (!before.wasDirty && row.dirty) this.#state.untouch(row)
    }
    this.#touched = 0
    this.#timers = []
    this.#page = undefined
  }

  /** Whether a page was asked for. */
  get wantsPage(): boolean {
    return this.#page !== undefined
  }

  /** The page that was asked for, once. */
  takePage(): string | undefined {
    const page = this.#page
    this.#page = undefined
    return page
  }

  get slot(): KeySlot {
    return this.#slot as KeySlot
  }

  get key(): unknown {
    return this.#cause?.key ?? (this.#slot as KeySlot).key
  }

  get streamTime(): number {
    return this.store.streamTime
  }

  get buckets(): readonly number[] {
    return this.store.buckets
  }

  get(sub = ''): unknown {
    const row = this.#state.row(this.#slot as KeySlot, this.store, sub)
    return row.exists ? row.value : undefined
  }

  row(sub = ''): RowView {
    return this.#state.row(this.#slot as KeySlot, this.store, sub)
  }

  put(value: unknown, sub = '', about?: { version: number; at: number }): void {
    if (value === undefined) throw new TypeError('a row cannot be undefined: delete it instead')
    // Now, and not when the commit writes the row: then no record could be named that is to blame.
    if (this.store.codec.kind === 'schema') this.store.codec.values.check(value)
    const row = this.#change(sub)
    row.value = this.#freeze ? frozen(value) : value
    row.exists = true
    row.version = about?.version ?? row.version
    row.at = about?.at ?? (this.#cause as Rec).at
    this.#provenance(row)
  }

  mark(high: number, low: number, sub = ''): void {
    const row = this.#change(sub)
    row.markHigh = high
    row.markLow = low
  }

  delete(sub = '', about?: { version: number; at: number }): void {
    const row = this.#state.row(this.#slot as KeySlot, this.store, sub)
    if (!row.exists && about === undefined && row.version === 0) return
    this.#change(sub)
    row.value = undefined
    row.exists = false
    row.version = about?.version ?? 0
    row.at = about?.at ?? 0
    row.markHigh = 0
    row.markLow = 0
    this.#provenance(row)
  }

  /** Notes with a row of a projection which record made it what it is, a deleted one included, and where it is published, of which fact it is the consequence. */
  #provenance(row: Row): void {
    if (!this.store.codec.view) return
    const cause = this.#cause as Rec
    const { topic, partition, offset } = cause.place()
    if (offset >= 0) {
      row.topic = topic
      row.partition = partition
      row.offset = offset
      row.contractVersion = cause.contractVersion
    }
    if (!this.store.published) return
    row.causeId = cause.id
    row.correlationId = cause.correlationId ?? row.causeId
  }

  range(from = '', to?: string): readonly (readonly [sub: string, value: unknown])[] {
    return this.#state.range(this.#slot as KeySlot, this.store, from, to)
  }

  page(from: string): void {
    this.#page = from
  }

  wakeAt(at: number, sub = ''): void {
    this.#wish('stream', at, sub, true)
  }

  cancelWake(at: number, sub = ''): void {
    this.#wish('stream', at, sub, false)
  }

  wakeAtWall(at: number, sub = ''): void {
    this.#wish('wall', at, sub, true)
  }

  #wish(kind: TimerWish['kind'], time: number, sub: string, set: boolean): void {
    if (!Number.isFinite(time)) throw new TypeError(`a timer cannot be set for ${time}`)
    // Timers are whole milliseconds, and none wakes before its moment.
    const at = Math.ceil(time)
    const woken = this.#woken
    if (set && woken?.kind === kind && (at < woken.at || (at === woken.at && sub <= woken.sub))) {
      // It is due at once, and would set itself again and again while nothing else happens.
      throw new TypeError(`the timer of ${woken.at} sets a timer for a moment that is over: ${at}`)
    }
    this.#timers.push({ kind, at, sub, set })
  }

  #change(sub: string): Row {
    const row = this.#state.row(this.#slot as KeySlot, this.store, sub)
    const before = this.#before[this.#touched] ?? new Before()
    this.#before[this.#touched++] = before
    before.row = row
    before.value = row.value
    before.exists = row.exists
    before.version = row.version
    before.at = row.at
    before.markHigh = row.markHigh
    before.markLow = row.markLow
    before.wasDirty = row.dirty
    if (this.store.codec.view) {
      before.topic = row.topic
      before.partition = row.partition
      before.offset = row.offset
      before.contractVersion = row.contractVersion
      before.causeId = row.causeId
      before.correlationId = row.correlationId
    }
    this.#state.touch(row)
    return row
  }
}

/** In tests and development rows are frozen, so that a fold that changes its argument is found at once and not by its first failure. */
function frozen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value
  for (const each of Object.values(value)) frozen(each)
  return Object.freeze(value)
}

/** What to do about records without a key. */
export const KEYLESS = 'Give its records keys where they are made, or make one of the value: .keyBy(step, key, to), then an inbox.'

/** Bytes of a key that may have state. Escaped, it may take twice that in the keys of its rows, and they must leave room for the rows. */
export const STATE_KEY_MAX: number = 2 * 1024 * 1024

/** @throws TidemarkError KEY_INVALID for a record that cannot have state, because it has no key, or one that no row fits under */
export function slotOf(state: TaskState, rec: Rec): KeySlot {
  const known = rec.slot
  if (known !== undefined) {
    // Timers of many other keys may have gone off since it was looked up, and taken its place.
    if (known.gone) rec.slot = state.slots.of(known.key, 0, known.key.length)
    return rec.slot as KeySlot
  }
  if (rec.keyAt < 0)
    throw new TidemarkError('KEY_INVALID', 'a record without a key came to a step that keeps state by key', { hint: KEYLESS })
  if (rec.keyEnd - rec.keyAt > STATE_KEY_MAX) {
    throw new TidemarkError('KEY_INVALID', `a key of ${rec.keyEnd - rec.keyAt} bytes came to a step that keeps state by key`, {
      detail: `Such keys may have ${STATE_KEY_MAX}.`,
      hint: 'A key is what a fact is about, not what it says: take a short one, such as a hash of this one (.keyBy, then an inbox).',
    })
  }
  rec.slot = state.slots.of(rec.payload, rec.keyAt, rec.keyEnd)
  return rec.slot
}
