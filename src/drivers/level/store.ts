/**
 * One task's rows in one LevelDB database.
 *
 * Promised: a batch is there as a whole or not at all, whatever ends the process; a batch whose `write` resolved survives `kill -9`;
 * after a failed batch nothing more is written until the store is opened again, because LevelDB would append behind half a record.
 * A batch that was refused may still be there after that: as a whole, or not at all.
 *
 * Not promised: without `durable`, a power cut may lose batches, the last ones first; where it lost earlier ones and not later ones, which
 * LevelDB lets happen, the next open refuses the store as damaged (`logs.ts`), and it is restored from the changelog. LevelDB does not check the sums of its tables when it reads them, so a flipped bit in a row may come
 * back as a row: rows carry their own hash.
 */
import type { ClassicLevel } from 'classic-level'
import { asBuffer } from '../../base/bytes.ts'
import type { StoreBatch, StoreRange, TaskStore } from '../../ports/store.ts'
import { closed, explain, refused } from './errors.ts'

/** The binding reads a limit as a signed 32-bit number. */
const LIMIT_MAX = 2 ** 31 - 1

/** A chained batch as abstract-level 3 lets its implementations see it ("Private API For Implementors" of its README); pinned with classic-level. */
interface EngineBatch {
  _put(key: Buffer, value: Buffer): void
  _del(key: Buffer): void
  _clear(): void
  _write(options: { sync: boolean }): Promise<void>
}

export class LevelStore implements TaskStore {
  readonly #db: ClassicLevel<Buffer, Buffer>
  readonly #path: string
  #writing: Promise<void> | undefined
  #batch: EngineBatch | undefined
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
   * One chained batch, used over and over through the methods by which abstract-level drives its implementations: they hand each row to the
   * engine as two arguments and nothing else, 0.3 us of the main thread a row, where the public `put` costs 0.4 and an array of operations
   * 1.3. And what the engine holds for a batch is only freed by the garbage collector, which cannot see how much it is: a batch a commit
   * made the process grow by 70 to 150 MB. Each `_put` copies, so all bytes are the caller's again when this function returns; that is also
   * why nothing may be awaited before the loop.
   */
  async write({ keys, values }: StoreBatch, options: { durable?: boolean } = {}): Promise<void> {
    if (this.#failure !== undefined) throw refused(this.#path, this.#failure)
    if (this.#writing !== undefined) throw new TypeError('one batch at a time: the write before this one has not resolved')
    if (this.#closing !== undefined) throw closed(this.#path)
    if (keys.length !== values.length) throw new TypeError(`a batch has ${keys.length} keys but ${values.length} values`)
    this.#batch ??= this.#db.batch() as unknown as EngineBatch
    const batch = this.#batch
    try {
      const bytes = fill(batch, keys, values)
      this.#writing = batch._write({ sync: options.durable === true })
      await this.#writing
      batch._clear()
      // The engine keeps the room of the largest batch; one that was much larger than a commit's is given back.
      if (bytes > BATCH_BYTES_KEPT) this.#batch = undefined
    } catch (error) {
      this.#batch = undefined
      if (error instanceof TypeError) throw error
      this.#failure = explain(error, 'write', this.#path)
      throw this.#failure
    } finally {
      this.#writing = undefined
    }
  }

  /** Waits for a batch that is being written. */
  close(): Promise<void> {
    this.#closing ??= Promise.resolve(this.#writing)
      .catch(() => {})
      .then(() => this.#db.close())
      .catch((error: unknown) => {
        throw explain(error, 'write', this.#path)
      })
      .finally(this.#onClosed)
    return this.#closing
  }
}

/** Room that a batch may keep for the next one. */
const BATCH_BYTES_KEPT = 8 * 1024 * 1024

/** Puts rows into a batch and returns how many bytes they have. @throws TypeError */
function fill(batch: EngineBatch, keys: StoreBatch['keys'], values: StoreBatch['values']): number {
  let bytes = 0
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]
    const value = values[i]
    if (key === undefined || value === undefined) throw new TypeError(`the batch has no key or no value at place ${i}`)
    bytes += key.length + (value?.length ?? 0)
    if (value === null) batch._del(asBuffer(key))
    else batch._put(asBuffer(key), asBuffer(value))
  }
  return bytes
}
