/**
 * Restore: changelog to disk. Rows go over as bytes, undecoded: a chunk is reduced to the last write of each key, sorted, and written in one batch
 * with the position it reaches, so a crash in the middle costs what was left.
 *
 * It goes in slices, at a pace that all restores of a worker share (`pace.ts`), so that tasks which run keep their commits.
 *
 * It reads to the high watermark, never to the last stable offset: a transaction that is in doubt counts as soon as it is decided, and the
 * reader waits for that.
 */
import { binary } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log, PartitionName } from '../ports/log.ts'
import type { RecordBatch } from '../ports/record-batch/index.ts'
import type { TaskStore } from '../ports/store.ts'
import { type LastRecord, lastRecord } from './lineage.ts'
import { type Checkpoint, encodeCheckpoint } from './meta.ts'
import type { Pace, Slices } from './pace.ts'
import { CHK_KEY } from './rows.ts'

/** Rows written at once: what is sorted in one piece. */
const CHUNK_ROWS = 5_000
/** Rows collected between two looks at the clock. */
const STEP_ROWS = 250
const FETCH_BYTES = 2 * 1024 * 1024

export interface RestoreProgress {
  readonly records: number
  readonly bytes: number
  /** Records that are still to be read, about: what compaction removed is counted as well. */
  readonly left: number
  /** As long as the rest takes at the rate so far, s; undefined before anything was read. */
  readonly secondsLeft: number | undefined
}

export interface RestoreJob {
  readonly log: Log
  readonly db: TaskStore
  readonly clock: Clock
  readonly pace: Pace
  readonly changelog: PartitionName
  /** Where the disk is; its `next` moves on. */
  readonly checkpoint: Checkpoint
  /** The high watermark, taken after every earlier writer was fenced. */
  readonly until: number
  readonly signal: AbortSignal
  readonly onProgress: (progress: RestoreProgress) => void
}

/** @throws TidemarkError POSITION_GAP when the changelog does not reach back to the checkpoint */
export async function restore(job: RestoreJob): Promise<Checkpoint> {
  const { checkpoint, until, pace, signal } = job
  if (checkpoint.next >= until) return await write(job, new Map(), checkpoint.next, checkpoint.last)
  job.onProgress({ records: 0, bytes: 0, left: until - checkpoint.next, secondsLeft: undefined })
  const leave = await pace.enter(signal)
  try {
    return await new Restore(job).run()
  } finally {
    leave()
  }
}

class Restore {
  readonly #job: RestoreJob
  readonly #slices: Slices
  readonly #began: number
  /** The last write of each key since the last chunk. */
  readonly #chunk = new Map<string, readonly [key: Buffer, value: Buffer | null]>()
  #checkpoint: Checkpoint
  #position: number
  #last: Taken | undefined
  #records = 0
  #bytes = 0

  constructor(job: RestoreJob) {
    this.#job = job
    this.#slices = job.pace.slices()
    this.#began = job.clock.mono()
    this.#checkpoint = job.checkpoint
    this.#position = job.checkpoint.next
  }

  async run(): Promise<Checkpoint> {
    const { log, changelog, until, signal } = this.#job
    const reader = log.reader('committed')
    let writing = false
    try {
      reader.assign(new Map([[changelog, this.#position]]))
      while (this.#position < until) {
        signal.throwIfAborted()
        for (const fetched of await reader.poll({ bytes: FETCH_BYTES, waitMs: 100, signal })) {
          if (fetched.kind === 'failed') throw fetched.error
          if (fetched.kind === 'gap') throw gap(changelog, this.#position, fetched.logStart)
          for (const batch of fetched.batches) {
            for (let row = 0; row < batch.count; row += STEP_ROWS) {
              this.#collect(batch, row, Math.min(batch.count, row + STEP_ROWS))
              if (this.#slices.over(STEP_ROWS)) await this.#slices.next()
              if (this.#chunk.size < CHUNK_ROWS) continue
              writing = true
              await this.#write(Math.max(this.#position, (this.#last as Taken).offset + 1))
              writing = false
            }
            this.#bytes += batch.bytes.length
          }
          this.#position = Math.max(this.#position, fetched.next)
        }
        this.#tell()
      }
      writing = true
      await this.#write(this.#position)
      return this.#checkpoint
    } catch (error) {
      // What was read is kept: a log that fails again and again is got through all the same.
      if (!writing && this.#chunk.size > 0)
        await this.#write(Math.max(this.#checkpoint.next, (this.#last as Taken).offset + 1)).catch(() => {})
      throw error
    } finally {
      await reader.close()
    }
  }

  #tell(): void {
    const { clock, checkpoint, until, onProgress } = this.#job
    const left = Math.max(0, until - this.#position)
    const read = this.#position - checkpoint.next
    const secondsLeft = read === 0 ? undefined : ((clock.mono() - this.#began) / 1_000 / read) * left
    onProgress({ records: this.#records, bytes: this.#bytes, left, secondsLeft })
  }

  async #write(next: number): Promise<void> {
    const last = this.#last
    const record = last === undefined ? this.#checkpoint.last : lastRecord(last.offset, last.key, last.value)
    this.#checkpoint = await write(this.#job, this.#chunk, next, record)
    this.#chunk.clear()
    await this.#slices.next()
  }

  /** Rows of a batch, from one to before another. */
  #collect(batch: RecordBatch, from: number, to: number): void {
    const { payload, offsets, keyAt, keyEnd, valueAt, valueEnd } = batch.columns
    for (let i = from; i < to; i++) {
      const offset = offsets[i] as number
      if (offset < this.#position || (keyAt[i] as number) < 0) continue
      const key = payload.subarray(keyAt[i], keyEnd[i])
      const value = (valueAt[i] as number) < 0 ? null : payload.subarray(valueAt[i], valueEnd[i])
      this.#chunk.set(binary(key), [key, value])
      this.#last = { offset, key, value }
    }
    this.#records += to - from
  }
}

/** The record that was collected last. */
interface Taken {
  readonly offset: number
  readonly key: Buffer
  readonly value: Buffer | null
}

async function write(
  job: RestoreJob,
  chunk: ReadonlyMap<string, readonly [Buffer, Buffer | null]>,
  next: number,
  last: LastRecord | undefined,
): Promise<Checkpoint> {
  const checkpoint: Checkpoint = { ...job.checkpoint, next, last, syncedAt: job.clock.now() }
  // Sorted, an ordered store merges a chunk instead of searching a place for each row.
  const entries = [...chunk.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
  const keys: Buffer[] = entries.map(([key]) => key)
  const values: (Buffer | null)[] = entries.map(([, value]) => value)
  keys.push(CHK_KEY)
  values.push(encodeCheckpoint(checkpoint))
  await job.db.write({ keys, values })
  return checkpoint
}

function gap(changelog: PartitionName, position: number, logStart: number): TidemarkError {
  return new TidemarkError('POSITION_GAP', `changelog ${changelog} no longer has what the disk needs`, {
    detail: `The disk is at ${position}, the changelog begins at ${logStart}.`,
    hint: 'The local state is dropped and restored from the beginning of the changelog.',
  })
}
