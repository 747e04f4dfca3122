/**
 * One task's rows in one LevelDB database.
 *
 * Promised: a batch is there as a whole or not at all, whatever ends the process; a batch whose `write` resolved survives `kill -9`;
 * after a failed batch nothing more is written until the store is opened again, because LevelDB would append behind half a record.
 * A batch that was refused may still be there after that: as a whole, or not at all.
 *
 * Not promised: without `durable`, a power cut may lose batches, and LevelDB 1.20 starts a new write-ahead file without syncing the
 * old one, so that a later durable batch can survive an earlier one that was not durable. Whoever needs more after a power cut
 * restores from the changelog. LevelDB does not check the sums of its tables when it reads them, so a flipped bit in a row may come
 * back as a row: rows carry their own hash.
 */
import type { ClassicLevel } from 'classic-level'
import { asBuffer } from '../../base/bytes.ts'
import type { StoreBatch, StoreRange, TaskStore } from '../../ports/store.ts'
import { explain, refused } from './errors.ts'

/** The binding reads a limit as a signed 32-bit number. */
const LIMIT_MAX = 2 ** 31 - 1

type Rows = ReturnType<ClassicLevel<Buffer, Buffer>['batch']>

export class LevelStore implements TaskStore {
  readonly #db: ClassicLevel<Buffer, Buffer>
  readonly #path: string
  #writing = false
  #failure: Error | undefined
  #closing: Promise<void> | undefined

  readonly #onClosed: () => void

  constructor(db: ClassicLevel<Buffer, Buffer>, path: string, onClosed: () => void) {
    this.#db = db
    this.#path = path
    this.#onClosed = onClosed
  }

  /** The binding copies a value into a buffer of its own, so the caller may keep and change it. */
  get(key: Uint8Array): Buffer | undefined {
    try {
      return this.#db.getSync(asBuffer(key))
    } catch (error) {
      throw explain(error, 'read', this.#path)
    }
  }

  /** The moment is that of the call: the binding takes its snapshot before this returns. */
  async range({ from, to, limit }: StoreRange): Promise<(readonly [key: Buffer, value: Buffer])[]> {
    if (!(Number.isInteger(limit) && limit >= 0)) throw new TypeError(`limit must be a whole number from 0, not ${limit}`)
    const bounds = to === undefined ? { gte: asBuffer(from) } : { gte: asBuffer(from), lt: asBuffer(to) }
    try {
      return await this.#db.iterator({ ...bounds, limit: Math.min(limit, LIMIT_MAX) }).all()
    } catch (error) {
      throw explain(error, 'read', this.#path)
    }
  }

  /**
   * A chained batch, because it hands each row to the engine as two arguments: 0.4 us of the main thread a row, where an array of
   * operations costs 1.3 (for each the binding looks up three properties by name). Each `put` copies, so all bytes are the caller's
   * again when this function returns; that is also why nothing may be awaited before the loop.
   *
   * What the engine holds for a chained batch is freed by the garbage collector, which cannot see how much it is. With 4 tasks the
   * process grows by 70 MB for batches of 10,000 rows and by 120 MB for 30,000 (bench/store.ts), so prefer the smaller.
   */
  async write({ keys, values }: StoreBatch, options: { durable?: boolean } = {}): Promise<void> {
    if (this.#failure !== undefined) throw refused(this.#path, this.#failure)
    if (this.#writing) throw new TypeError('one batch at a time: the write before this one has not resolved')
    if (keys.length !== values.length) throw new TypeError(`a batch has ${keys.length} keys but ${values.length} values`)
    const rows = this.#fill(keys, values)
    this.#writing = true
    try {
      await rows.write({ sync: options.durable === true })
    } catch (error) {
      this.#failure = explain(error, 'write', this.#path)
      throw this.#failure
    } finally {
      this.#writing = false
    }
  }

  /** Waits for a batch that is being written. */
  close(): Promise<void> {
    this.#closing ??= this.#db
      .close()
      .catch((error: unknown) => {
        throw explain(error, 'write', this.#path)
      })
      .finally(this.#onClosed)
    return this.#closing
  }

  #fill(keys: StoreBatch['keys'], values: StoreBatch['values']): Rows {
    let rows: Rows | undefined
    try {
      rows = this.#db.batch()
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i]
        const value = values[i]
        if (key === undefined || value === undefined) throw new TypeError(`the batch has no key or no value at place ${i}`)
        if (value === null) rows.del(asBuffer(key))
        else rows.put(asBuffer(key), asBuffer(value))
      }
      return rows
    } catch (error) {
      void rows?.close()
      throw explain(error, 'write', this.#path)
    }
  }
}
