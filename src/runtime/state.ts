/**
 * The state of one task: rows in memory over rows on disk. What has not been committed lives in the overlay, which is nothing but the rows
 * that are marked dirty; disk is written only after the log has decided, in one batch with the positions, so a crash never needs a wipe.
 *
 * Reads go row in memory -> disk, synchronously. Sealing (`seal.ts`) turns dirty rows into bytes.
 */

import { invariant } from '../base/assert.ts'
import { binary, fromBinary } from '../base/bytes.ts'
import { codeOf, TidemarkError } from '../base/errors.ts'
import type { TaskStore } from '../ports/store.ts'
import type { HeldAt } from './held.ts'
import { afterPrefix, checkRow, decodeRow, RowWriter, storePrefix, unescapeKey } from './rows.ts'
import { KeySlot, KeySlots, type Room, Row } from './slots.ts'
import type { StoreState } from './store-state.ts'

/** Rows under one key that are loaded at once for a ranged store, and their bytes. */
const RANGE_ROWS_MAX = 10_000
const RANGE_BYTES_MAX = 8 * 1024 * 1024
const PAGE = 1_000
/** Rows with a sub-key that one key keeps in memory once they are on disk. */
const SUBS_KEPT = 64

export class TaskState {
  readonly stores: readonly StoreState[]
  readonly slots: KeySlots
  readonly db: TaskStore
  readonly writer: RowWriter = new RowWriter()
  /** Dirty rows and changed timers: what the next commit will write. */
  changes = 0

  constructor(db: TaskStore, stores: readonly StoreState[], room: Room) {
    this.db = db
    this.stores = stores
    this.slots = new KeySlots(stores.length, room)
  }

  /** Ends with its disk, and leaves the memory it had to other tasks. */
  async close(): Promise<void> {
    this.slots.close()
    await this.db.close()
  }

  /** @throws TidemarkError STORE_CORRUPT, STORE_IO */
  row(slot: KeySlot, store: StoreState, sub: string): Row {
    const { index } = store
    const found = sub === '' ? slot.mains[index] : slot.subs[index]?.get(sub)
    if (found !== undefined) return found
    const row = new Row(slot, index, sub)
    if (slot.subs[index]?.complete !== true) {
      const key = this.writer.key(store.plan.id, slot.key, sub, store.expiring)
      const bytes = this.db.get(key)
      if (bytes !== undefined) this.#decode(row, key, bytes, store)
    }
    place(row)
    return row
  }

  #decode(row: Row, key: Uint8Array, bytes: Buffer, store: StoreState): void {
    try {
      decodeRow(row, key, bytes, store.codec)
      if (store.holding !== undefined && row.sub === '') store.noteHeld(row)
    } catch (error) {
      if (codeOf(error) === 'STORE_CORRUPT') throw error
      throw new TidemarkError('STORE_CORRUPT', `a row of store "${store.plan.name}" cannot be read`, {
        detail: 'Its bytes are those that were written, but its schema or format does not fit them any more.',
        hint: `If the store's meaning changed, raise the revision of its step and rebuild it.`,
        cause: error,
      })
    }
  }

  /** Notes that a row will be written by the next commit. */
  touch(row: Row): void {
    if (row.dirty) return
    row.dirty = true
    row.slot.pins += 1
    this.changes += 1
    ;(this.stores[row.store] as StoreState).dirty.push(row)
  }

  /** Takes a touch back, for an invocation that failed. */
  untouch(row: Row): void {
    row.dirty = false
    row.slot.pins -= 1
    this.changes -= 1
  }

  /** The disk has a row as it was sealed. */
  settled(row: Row): void {
    const { slot } = row
    slot.pins -= 1
    // A key may hold a hundred thousand records behind a gap: what waits lies on disk and not here, however often the key is met.
    if (row.sub === '' || row.dirty || this.stores[row.store]?.ranged === true) return
    const subs = slot.subs[row.store]
    if (subs !== undefined && subs.size > SUBS_KEPT) subs.drop(row)
  }

  /** Sets a timer, or takes it back. */
  changeTimer(store: StoreState, kind: 'stream' | 'wall', at: number, key: Uint8Array, sub: string, set: boolean): void {
    const queue = kind === 'stream' ? store.timers : store.wallTimers
    const name = queue.nameOf(at, key, sub)
    if (set ? queue.set(name) : queue.cancel(name)) {
      store.timerChanges.set(name, set)
      this.changes += 1
    }
  }

  /** Takes up the timers that are on disk. @throws TidemarkError STORE_CORRUPT when one is not what was set */
  async loadTimers(): Promise<void> {
    for (const store of this.stores) {
      for (const queue of [store.timers, store.wallTimers]) {
        for await (const page of this.#under(queue.prefix)) {
          for (const [key, bytes] of page) {
            checkRow(key, bytes)
            queue.set(binary(key))
          }
        }
      }
    }
  }

  /** What steps hold, as of the rows that were sealed. */
  get held(): readonly HeldAt[] {
    return this.stores.flatMap(({ plan, holding, held: { facts, keys, parked } }) =>
      holding === undefined ? [] : [{ step: plan.step, facts, keys, parked }],
    )
  }

  /**
   * Counts from the rows what steps hold, where no commit has said it: in state of before there were counts, or behind a commit that was cut
   * short. The next commit says it. @throws TidemarkError STORE_CORRUPT
   */
  async countHeld(): Promise<void> {
    for (const store of this.stores) {
      if (store.holding === undefined || store.counted) continue
      const prefix = storePrefix(store.plan.id)
      for await (const page of this.#under(prefix)) {
        for (const [key, bytes] of page) {
          const place = unescapeKey(key, prefix.length)
          if (place === undefined || place.sub !== '') continue
          const row = new Row(new KeySlot(place.key, 0, 0), store.index, '')
          this.#decode(row, key, bytes, store)
          if (row.holding !== undefined) store.held.add(row.holding, 1)
        }
      }
      store.counted = true
    }
  }

  /** Everything on disk whose key begins with `prefix`, page by page. */
  async *#under(prefix: Buffer): AsyncGenerator<(readonly [key: Buffer, bytes: Buffer])[]> {
    let from = prefix
    for (;;) {
      const page = await this.db.range({ from, to: afterPrefix(prefix), limit: PAGE })
      yield page
      if (page.length < PAGE) return
      from = Buffer.concat([(page.at(-1) as readonly [Buffer, Buffer])[0], Buffer.from([0])])
    }
  }

  /** Loads all rows of a ranged store under a key, at the batch's edge. A key with too many stays incomplete, and `range` says so. */
  async load(slot: KeySlot, store: StoreState): Promise<void> {
    const subs = slot.subsOf(store.index)
    if (subs.complete) return
    const prefix = Buffer.from(this.writer.key(store.plan.id, slot.key, '', false))
    let from = prefix
    let count = 0
    let bytes = 0
    const end = afterPrefix(prefix)
    for (;;) {
      const page = await this.db.range({ from, to: end, limit: PAGE })
      for (const [key, value] of page) {
        const sub = unescapeKey(key, storePrefix(store.plan.id).length)?.sub ?? ''
        const known = sub === '' ? slot.mains[store.index] : subs.get(sub)
        count += 1
        bytes += value.length
        // A row in memory is newer than the one on disk, or the same.
        if (known !== undefined) continue
        const row = new Row(slot, store.index, sub)
        this.#decode(row, key, value, store)
        place(row)
      }
      if (page.length < PAGE) break
      if (count >= RANGE_ROWS_MAX || bytes >= RANGE_BYTES_MAX) return
      from = Buffer.concat([(page.at(-1) as readonly [Buffer, Buffer])[0], Buffer.from([0])])
    }
    subs.complete = true
  }

  /** Rows of a ranged store in memory, with `from <= sub < to`. @throws TidemarkError SCOPE_TOO_LARGE */
  range(slot: KeySlot, store: StoreState, from: string, to: string | undefined): (readonly [sub: string, value: unknown])[] {
    invariant(store.ranged, `store "${store.plan.name}" is not declared ranged`)
    const subs = slot.subsOf(store.index)
    if (!subs.complete) {
      throw new TidemarkError('SCOPE_TOO_LARGE', `a key of store "${store.plan.name}" has more rows than are loaded at once`, {
        detail: `The limit is ${RANGE_ROWS_MAX} rows or ${RANGE_BYTES_MAX} bytes.`,
        hint: 'Read them with scope.page(from), which wakes the step with page after page.',
      })
    }
    const found: [string, unknown][] = []
    const main = slot.mains[store.index]
    if (main?.exists === true && from === '') found.push(['', main.value])
    for (const row of subs) if (row.exists && row.sub >= from && (to === undefined || row.sub < to)) found.push([row.sub, row.value])
    return found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  }

  /** One page of a key's rows from disk and memory together. */
  async page(
    slot: KeySlot,
    store: StoreState,
    from: string,
  ): Promise<{ rows: (readonly [sub: string, value: unknown])[]; next: string | undefined }> {
    const prefix = Buffer.from(this.writer.key(store.plan.id, slot.key, '', false))
    const stored = await this.db.range({ from: Buffer.concat([prefix, fromBinary(from)]), to: afterPrefix(prefix), limit: PAGE })
    const strip = storePrefix(store.plan.id).length
    const subs = stored.map(([key]) => unescapeKey(key, strip)?.sub ?? '')
    const last = stored.length < PAGE ? undefined : subs.at(-1)
    for (const { sub } of slot.subsOf(store.index))
      if (sub >= from && (last === undefined || sub <= last) && !subs.includes(sub)) subs.push(sub)
    const rows = subs.sort().flatMap((sub) => {
      const row = this.row(slot, store, sub)
      return row.exists ? [[sub, row.value] as const] : []
    })
    return { rows, next: last === undefined ? undefined : `${last}\x00` }
  }

  /**
   * Collects rows of dead buckets for removal, a slice a call: `store.swept` goes into the next commit. Only buckets that were dead when the
   * last commit finished, so nothing of them is on its way to disk.
   */
  async sweep(store: StoreState, oldestAlive: number, limit: number): Promise<void> {
    if (!store.expiring || store.swept.length > 0) return
    while (store.firstBucket < oldestAlive) {
      const bucket = Buffer.alloc(4)
      bucket.writeUInt32BE(store.firstBucket)
      const prefix = storePrefix(store.plan.id, bucket)
      const page = await this.db.range({ from: prefix, to: afterPrefix(prefix), limit })
      if (page.length > 0) {
        store.swept = page
        this.changes += page.length
        return
      }
      // Buckets in between may be empty for years of stream time: go on from the first row there is.
      const end = Buffer.alloc(4)
      end.writeUInt32BE(oldestAlive)
      const [first] = await this.db.range({ from: prefix, to: storePrefix(store.plan.id, end), limit: 1 })
      store.firstBucket = first === undefined ? oldestAlive : first[0].readUInt32BE(storePrefix(store.plan.id).length)
    }
  }
}

function place(row: Row): void {
  if (row.sub === '') row.slot.mains[row.store] = row
  else row.slot.subsOf(row.store).add(row)
}
