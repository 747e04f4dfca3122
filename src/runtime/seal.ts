/**
 * Sealing: dirty rows become bytes, once, for changelog, disk and state topic together. After the seal only bytes travel, so the steps may go
 * on and change the rows for the next commit while this one is on its way.
 */
import { binary, fromBinary, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { BatchBuilder, type Codecs, type EncodedBatch } from '../ports/record-batch/index.ts'
import type { StoreBatch } from '../ports/store.ts'
import type { NodeId } from '../topology/node.ts'
import { asFailure, TaskStopped } from './failure.ts'
import type { HeldAt } from './held.ts'
import { encodeMeta, type TaskMeta } from './meta.ts'
import { BATCH_BYTES, type Outbox } from './outbox.ts'
import { Published } from './published.ts'
import type { Flavour } from './record.ts'
import { hashOf, storePrefix, TM_KEY, unescapeKey } from './rows.ts'
import type { Row } from './slots.ts'
import type { TaskState } from './state.ts'
import type { StoreState } from './store-state.ts'
import { rangeOf } from './sums.ts'

/** What one commit writes of a task's state. */
export interface SealedState {
  /** In this order: rows of effects, then marks, and what the commit says of the task last. */
  readonly changelog: readonly EncodedBatch[]
  /** The same, as writes to disk. */
  readonly writes: SealedWrites
  /** Rows that stay in memory until the disk has them. */
  readonly rows: readonly Row[]
  /** Buckets of expiring stores that were dead when this was sealed, by store. */
  readonly oldestAlive: readonly number[]
  /** What steps hold with this. */
  readonly held: readonly HeldAt[]
}

/**
 * The records of sealed batches as writes to disk; the bytes are those of the batches. A view of each key and value is made when the disk takes
 * them: two objects a row that would have to live for as long as the log needs to decide are what makes garbage collection dear.
 */
export class SealedWrites {
  readonly #batches: readonly EncodedBatch[]
  /** By batch, the places of its records: key from, key to, value from (-1 deletes), value to. */
  readonly #places: readonly Int32Array[]

  constructor(batches: readonly EncodedBatch[], places: readonly Int32Array[]) {
    this.#batches = batches
    this.#places = places
  }

  /** What the last record writes. */
  get last(): { readonly key: Uint8Array; readonly value: Uint8Array | null } {
    const places = this.#places.at(-1) as Int32Array
    const { bytes } = this.#batches.at(-1) as EncodedBatch
    return { key: keyAt(bytes, places, places.length - 4), value: valueAt(bytes, places, places.length - 4) }
  }

  /** All of them in one batch, with one more write at its end where it is given. */
  batch(more?: { readonly key: Uint8Array; readonly value: Uint8Array }): StoreBatch {
    const keys: Uint8Array[] = []
    const values: (Uint8Array | null)[] = []
    for (let b = 0; b < this.#batches.length; b++) {
      const { bytes } = this.#batches[b] as EncodedBatch
      const places = this.#places[b] as Int32Array
      for (let i = 0; i < places.length; i += 4) {
        keys.push(keyAt(bytes, places, i))
        values.push(valueAt(bytes, places, i))
      }
    }
    if (more !== undefined) {
      keys.push(more.key)
      values.push(more.value)
    }
    return { keys, values }
  }
}

function keyAt(bytes: Buffer, places: Int32Array, i: number): Uint8Array {
  return bytes.subarray(places[i], places[i + 1])
}

function valueAt(bytes: Buffer, places: Int32Array, i: number): Uint8Array | null {
  return (places[i + 2] as number) < 0 ? null : bytes.subarray(places[i + 2], places[i + 3])
}

/**
 * A row that cannot be written stops its task, and is named. By now several facts may have had a part in it, so none of them can be put aside
 * for it, and trying again would end the same way.
 */
function unwritable(row: Row, { plan }: StoreState, error: unknown): TaskStopped {
  const failure = asFailure(error, plan.step)
  const key = utf8(row.slot.key.subarray(0, 100))
  return new TaskStopped(
    'halt',
    plan.step,
    new TidemarkError(failure.code, `a row of "${plan.name}" cannot be written: ${failure.message}`, {
      detail: `It lies under the key ${JSON.stringify(key)}. ${failure.detail ?? ''}`.trim(),
      hint: 'The state is as it was committed last. Mend the step that makes the row, and start again: it goes on from there.',
      cause: error,
    }),
  )
}

function publishedOf(store: StoreState, app: string, flavours: ReadonlyMap<NodeId, Pick<Flavour, 'key'>>): Published | undefined {
  const { spec, plan } = store
  const topic = spec?.view?.publish
  if (spec === undefined || topic === undefined || !('avro' in spec.rows)) return undefined
  const { key } = flavours.get(plan.step) as Flavour
  return new Published(store, topic, spec.view?.owner?.name ?? app, spec.rows.name, key)
}

export class Sealer {
  readonly #state: TaskState
  readonly #outbox: Outbox
  readonly #partition: number
  readonly #builder: BatchBuilder
  /** Stores in the order in which they become durable where commits are not atomic: effects before the marks that say they were made. */
  readonly #order: readonly StoreState[]
  /** By the store's place in the task, how its rows are published. */
  readonly #published: readonly (Published | undefined)[]
  #batches: EncodedBatch[] = []
  #batchPlaces: Int32Array[] = []
  /** Places of the records of the batch at hand, as `SealedWrites` has them. */
  #places = new Int32Array(1024)
  #placed = 0

  constructor(
    state: TaskState,
    outbox: Outbox,
    codecs: Codecs,
    app: string,
    partition: number,
    flavours: ReadonlyMap<NodeId, Pick<Flavour, 'key'>>,
  ) {
    this.#state = state
    this.#outbox = outbox
    this.#partition = partition
    this.#builder = new BatchBuilder({ codecs, capacity: 16 * 1024 })
    this.#order = [...state.stores].sort((a, b) => Number(a.marks) - Number(b.marks))
    this.#published = state.stores.map((store) => publishedOf(store, app, flavours))
  }

  seal(now: number, meta: () => TaskMeta): SealedState {
    const state = this.#state
    const rows: Row[] = []
    for (const store of this.#order) {
      const { dirty } = store
      store.dirty = []
      const published = this.#published[store.index]
      for (let i = 0; i < dirty.length; i++) {
        const row = dirty[i] as Row
        // Touched and undone, or touched again after an undo: the list may name it twice.
        if (!row.dirty) continue
        row.dirty = false
        rows.push(row)
        try {
          this.#row(row, store, now)
          if (published !== undefined) this.#publish(row, published, now)
        } catch (error) {
          throw unwritable(row, store, error)
        }
      }
      for (const [name, set] of store.timerChanges) this.#add(now, fromBinary(name), set ? this.#timerRow(name) : null)
      if (store.timerChanges.size > 0) store.timerChanges = new Map()
      this.#sweep(store, now)
    }
    state.changes = 0
    this.#add(now, TM_KEY, encodeMeta(meta()))
    this.#finish()
    const sealed = {
      changelog: this.#batches,
      writes: new SealedWrites(this.#batches, this.#batchPlaces),
      rows,
      oldestAlive: state.stores.map((store) => store.oldestAlive),
      held: state.held,
    }
    this.#batches = []
    this.#batchPlaces = []
    return sealed
  }

  #row(row: Row, store: StoreState, now: number): void {
    const { sums, codec } = store
    const range = rangeOf(row.slot.hash)
    if (store.holding !== undefined && row.sub === '') store.recount(row)
    const key = this.#state.writer.key(store.plan.id, row.slot.key, row.sub, store.expiring)
    if (row.stored) sums.row(range, row.hashHigh, row.hashLow, -1)
    if (row.digest !== undefined) sums.digest(range, row.digest, -1)
    if (!row.exists && row.version === 0) {
      row.digest = undefined
      if (row.stored) this.#add(now, key, null)
      row.stored = false
      return
    }
    row.appliedAt = now
    const bytes = this.#state.writer.encode(row, key, codec)
    sums.row(range, row.hashHigh, row.hashLow, 1)
    if (row.digest !== undefined) sums.digest(range, row.digest, 1)
    row.stored = true
    this.#add(now, key, bytes)
  }

  /** The row as other contexts see it: its key, its value as it was just encoded, and the envelope of a state. */
  #publish(row: Row, published: Published, now: number): void {
    const { writer } = this.#state
    const bytes = this.#builder.buffer
    const { valueAt } = this.#builder
    const value = row.exists ? bytes.subarray(valueAt + writer.payloadAt, valueAt + writer.payloadEnd) : null
    this.#outbox.put(published.topic, this.#partition, row.at, row.slot.key, value, published.headers(row, now))
  }

  /** A timer is a row without content: it lies under its time and key. */
  #timerRow(name: string): Buffer {
    return this.#state.writer.empty(fromBinary(name))
  }

  #sweep(store: StoreState, now: number): void {
    if (store.swept.length === 0) return
    const strip = storePrefix(store.plan.id).length
    for (const [key, bytes] of store.swept) {
      const place = unescapeKey(key, strip + 4)
      if (place === undefined) continue
      const slot = this.#state.slots.of(place.key, 0, place.key.length)
      const row = slot.subs[store.index]?.get(binary(key, strip, strip + 4) + place.sub)
      if (row !== undefined) {
        row.exists = false
        row.value = undefined
        row.stored = false
      }
      const { high, low } = hashOf(bytes)
      store.sums.row(rangeOf(slot.hash), high, low, -1)
      this.#add(now, key, null)
    }
    store.swept = []
  }

  #add(now: number, key: Buffer, value: Buffer | null): void {
    if (this.#builder.count > 0 && this.#builder.byteLength + key.length + (value?.length ?? 0) > BATCH_BYTES) this.#finish()
    const builder = this.#builder
    builder.add(now, key, value)
    const at = this.#placed
    if (at + 4 > this.#places.length) {
      const grown = new Int32Array(this.#places.length * 2)
      grown.set(this.#places)
      this.#places = grown
    }
    this.#places[at] = builder.keyAt
    this.#places[at + 1] = builder.keyEnd
    this.#places[at + 2] = builder.valueAt
    this.#places[at + 3] = builder.valueEnd
    this.#placed = at + 4
  }

  #finish(): void {
    this.#batches.push(this.#builder.finish())
    this.#batchPlaces.push(this.#places.slice(0, this.#placed))
    this.#placed = 0
  }
}
