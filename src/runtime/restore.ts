/**
 * Restore: changelog to disk. Rows go over as bytes, undecoded: a chunk is reduced to the last write of each key, sorted, and written in one batch
 * with the position it reaches, so a crash in the middle costs what was left.
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
import { CHK_KEY } from './rows.ts'

/** Rows written at once. */
const CHUNK_ROWS = 20_000
const FETCH_BYTES = 8 * 1024 * 1024

export interface RestoreJob {
  readonly log: Log
  readonly db: TaskStore
  readonly clock: Clock
  readonly changelog: PartitionName
  /** Where the disk is; its `next` moves on. */
  readonly checkpoint: Checkpoint
  /** The high watermark, taken after every earlier writer was fenced. */
  readonly until: number
  readonly signal: AbortSignal
  readonly onProgress: (progress: { readonly records: number; readonly bytes: number; readonly left: number }) => void
}

/** @throws TidemarkError POSITION_GAP when the changelog does not reach back to the checkpoint */
export async function restore(job: RestoreJob): Promise<Checkpoint> {
  const { log, changelog, until, signal } = job
  let checkpoint = job.checkpoint
  if (checkpoint.next >= until) return await write(job, new Map(), checkpoint.next, checkpoint.last)
  const reader = log.reader('committed')
  let records = 0
  let bytes = 0
  const chunk = new Map<string, readonly [key: Buffer, value: Buffer | null]>()
  let last: Taken | undefined
  try {
    reader.assign(new Map([[changelog, checkpoint.next]]))
    let position = checkpoint.next
    while (position < until) {
      signal.throwIfAborted()
      for (const fetched of await reader.poll({ bytes: FETCH_BYTES, waitMs: 100, signal })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') throw gap(changelog, position, fetched.logStart)
        for (const batch of fetched.batches) {
          last = collect(batch, position, chunk) ?? last
          records += batch.count
          bytes += batch.bytes.length
        }
        position = Math.max(position, fetched.next)
      }
      job.onProgress({ records, bytes, left: Math.max(0, until - position) })
      if (chunk.size >= CHUNK_ROWS || position >= until) {
        checkpoint = await write(job, chunk, position, last === undefined ? checkpoint.last : lastRecord(last.offset, last.key, last.value))
        chunk.clear()
      }
    }
    return checkpoint
  } finally {
    await reader.close()
  }
}

/** The record that was collected last. */
interface Taken {
  readonly offset: number
  readonly key: Buffer
  readonly value: Buffer | null
}

function collect(batch: RecordBatch, from: number, chunk: Map<string, readonly [Buffer, Buffer | null]>): Taken | undefined {
  const { payload, offsets, keyAt, keyEnd, valueAt, valueEnd, count } = batch.columns
  let last: Taken | undefined
  for (let i = 0; i < count; i++) {
    const offset = offsets[i] as number
    if (offset < from || (keyAt[i] as number) < 0) continue
    const key = payload.subarray(keyAt[i], keyEnd[i])
    const value = (valueAt[i] as number) < 0 ? null : payload.subarray(valueAt[i], valueEnd[i])
    chunk.set(binary(key), [key, value])
    last = { offset, key, value }
  }
  return last
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
