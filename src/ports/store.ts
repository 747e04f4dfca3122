/**
 * Where a task's rows lie: one ordered map from bytes to bytes a task, written in atomic batches.
 * Reads are synchronous, because the hot path is; ranges are not, because no embedded engine iterates synchronously.
 */

/** Names one task's state on disk. */
export interface StateId {
  readonly app: string
  readonly stage: string
  readonly generation: number
  readonly partition: number
}

/** Writes that take effect together or not at all. Two columns, so that a batch of 10,000 rows is not 10,000 objects. */
export interface StoreBatch {
  readonly keys: readonly Uint8Array[]
  /** The value for the key at the same place; null deletes. A later write of a key wins over an earlier one. */
  readonly values: readonly (Uint8Array | null)[]
}

export interface StoreRange {
  /** First key, included. */
  readonly from: Uint8Array
  /** End, not included; undefined for no end. */
  readonly to: Uint8Array | undefined
  /** At most so many entries. */
  readonly limit: number
}

export interface TaskStore {
  /** The value as last written by a finished batch. The bytes belong to the caller. */
  get(key: Uint8Array): Buffer | undefined
  /** Entries in byte order of their keys, from one consistent moment. */
  range(range: StoreRange): Promise<(readonly [key: Buffer, value: Buffer])[]>
  /** One batch at a time. `durable` makes it survive a power cut. The bytes may be reused once this returns (not: resolves). */
  write(batch: StoreBatch, options?: { durable?: boolean }): Promise<void>
  close(): Promise<void>
}

export interface StateDriver {
  readonly name: string
  /**
   * Opens a task's store, and makes an empty one when there is none.
   * @throws TidemarkError STORE_LOCKED, STORE_CORRUPT, STORE_IO
   */
  open(id: StateId): Promise<TaskStore>
  /**
   * Reads all of a task's state that lies on a disk and compares it with the checksums of the engine, where that has any and does not compare
   * them at every read. For a tool, while nobody has the state open.
   * @throws TidemarkError STORE_CORRUPT, STORE_LOCKED, STORE_IO
   */
  check?(id: StateId): Promise<void>
  /** Moves damaged state aside (one copy is kept), so that `open` starts empty and restore fills it again. */
  quarantine(id: StateId): Promise<void>
  /** Removes state for good: a generation that was replaced. */
  destroy(id: StateId): Promise<void>
  /** What is there. */
  list(app: string): Promise<StateId[]>
}
