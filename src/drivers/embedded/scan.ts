/**
 * Reading a partition's files: batches from an offset on, and the offset of a time. Every batch that is read has its checksum verified and
 * must follow the one before it: without a hole where nothing is compacted, and never backwards. What does not is damage, and is named by
 * file and byte; the sound batches before it are given out first.
 */
import type { TidemarkError } from '../../base/errors.ts'
import { type BatchesRead, type Codecs, type Limits, type RecordBatch, readBatches } from '../../ports/record-batch/index.ts'
import { damaged } from './errors.ts'
import { BATCH_BYTES_BEFORE_LENGTH, BATCH_HEADER_BYTES } from './layout.ts'
import { PIECE_BYTES, type Segment } from './segment.ts'
import type { SegmentIndex } from './segment-index.ts'

/** What a scan needs of a partition. */
export interface Scanned {
  readonly topic: { readonly name: string; readonly cleanup: 'compact' | 'delete' }
  readonly ref: { readonly partition: number }
  readonly segments: readonly Segment[]
}

/** Where the next batch lies, and the smallest offset that it may have. */
export interface Place {
  readonly segment: Segment
  readonly position: number
  readonly offset: number
}

export interface ScanOptions {
  /** Batches that end before it are left out. */
  readonly from: number
  /** Batches that begin here or later are left out. */
  readonly to: number
  /** About how many bytes; at least one batch where there is one. */
  readonly bytes: number
  /** Where an earlier scan ended, if it ended at `from`. */
  readonly place?: Place | undefined
}

export interface Scan {
  readonly batches: RecordBatch[]
  /** Where each of them ends. */
  readonly places: Place[]
  /** Offset behind the last of them. */
  readonly next: number
  /** Where the next scan goes on. */
  readonly place: Place | undefined
}

/** The least that is read at once: small budgets would else cost a call of the disk for every batch. */
const PIECE_BYTES_MIN = 64 * 1024

/**
 * @throws TidemarkError LOG_CORRUPT when the first batch is damaged, LOG_IO
 */
export async function scan(partition: Scanned, options: ScanOptions, codecs: Codecs, limits: Limits): Promise<Scan> {
  const { from, to, bytes } = options
  const batches: RecordBatch[] = []
  const places: Place[] = []
  let next = from
  let left = bytes
  let place = options.place?.offset === from ? options.place : undefined
  let trusted = place !== undefined
  while (next < to && (left > 0 || batches.length === 0)) {
    // Compaction may have put another file into this one's place since.
    if (place === undefined || place.segment.gone) {
      place = await locate(partition, next)
      trusted = false
      if (place === undefined) break
      if (place.segment.gone) continue
    }
    if (place.position >= place.segment.size) {
      const following: Segment | undefined = partition.segments[partition.segments.indexOf(place.segment) + 1]
      if (following === undefined || place.segment.gone) break
      if (following.base !== place.offset) {
        if (batches.length > 0) break
        throw damage(partition, place, `the records before offset ${following.base} are missing.`)
      }
      place = { segment: following, position: 0, offset: following.base }
      trusted = true
      continue
    }
    const reached: Place = place
    const limit = partition.segments[partition.segments.indexOf(reached.segment) + 1]?.base ?? Infinity
    let found: BatchesRead
    try {
      found = await readPiece(partition, reached, Math.min(Math.max(left, PIECE_BYTES_MIN), PIECE_BYTES), codecs, limits)
      checkFirst(partition, reached, found.batches[0] as RecordBatch, trusted)
    } catch (error) {
      if (reached.segment.gone) continue
      if (batches.length > 0) break
      // The index is a help only: it may have led to a place where no batch begins.
      if (trusted || reached.position === 0) throw error
      await reached.segment.forgetIndex()
      place = await locate(partition, next)
      trusted = true
      continue
    }
    trusted = true
    for (const batch of found.batches) {
      if (batch.baseOffset >= to) return { batches, places, next, place }
      const wrong = misplaced(partition, place, batch, limit)
      if (wrong !== undefined) {
        if (batches.length > 0) return { batches, places, next, place }
        throw wrong
      }
      place = { segment: place.segment, position: place.position + batch.bytes.length, offset: batch.lastOffset + 1 }
      if (batch.lastOffset < next) continue
      batches.push(batch)
      places.push(place)
      next = place.offset
      left -= batch.bytes.length
      if (left <= 0) break
    }
  }
  return { batches, places, next, place }
}

/**
 * The offset of the first record of data that is not older than `time`, or `high` when all are older.
 */
export async function offsetSince(
  partition: Scanned,
  time: number,
  range: { from: number; high: number },
  codecs: Codecs,
  limits: Limits,
): Promise<number> {
  for (const segment of [...partition.segments]) {
    const index = await indexOf(segment)
    if (index === undefined) return offsetSince(partition, time, range, codecs, limits)
    if (index.maxTimestamp < time) continue
    let from = Math.max(range.from, index.since(time)?.offset ?? segment.base)
    for (;;) {
      const { batches, next } = await scan(partition, { from, to: range.high, bytes: PIECE_BYTES }, codecs, limits)
      for (const batch of batches) {
        if (batch.control || batch.count === 0 || batch.maxTimestamp < time) continue
        const { offsets, timestamps } = batch.columns
        const at = timestamps.findIndex((each, i) => each >= time && (offsets[i] as number) >= range.from)
        if (at >= 0) return offsets[at] as number
      }
      if (next === from || next >= range.high) return range.high
      from = next
    }
  }
  return range.high
}

/** Where the batch with an offset is to be looked for; undefined without any segment. */
async function locate(partition: Scanned, offset: number): Promise<Place | undefined> {
  for (;;) {
    const at = partition.segments.findLastIndex(({ base }) => base <= offset)
    const segment = partition.segments[Math.max(at, 0)]
    if (segment === undefined) return undefined
    if (offset <= segment.base) return { segment, position: 0, offset: segment.base }
    const index = await indexOf(segment)
    if (segment.gone) continue
    const entry = index?.before(offset)
    return { segment, position: entry?.position ?? 0, offset: entry?.offset ?? segment.base }
  }
}

/** Undefined when compaction replaced the segment meanwhile, and nothing can be learned from its file any more. */
async function indexOf(segment: Segment): Promise<SegmentIndex | undefined> {
  try {
    return await segment.indexed()
  } catch (error) {
    if (segment.gone) return undefined
    throw error
  }
}

async function readPiece(partition: Scanned, place: Place, bytes: number, codecs: Codecs, limits: Limits): Promise<BatchesRead> {
  const { segment, position } = place
  const piece = await segment.read(position, bytes)
  const found = parse(partition, place, piece, codecs, limits)
  if (found.batches.length > 0) return found
  // A batch larger than the piece: its header says how large.
  const whole = piece.length < BATCH_HEADER_BYTES ? 0 : piece.readInt32BE(8) + BATCH_BYTES_BEFORE_LENGTH
  if (whole <= piece.length || position + whole > segment.size) throw damage(partition, place, 'the last batch is cut short.')
  const rest = parse(partition, place, await segment.read(position, whole), codecs, limits)
  if (rest.batches.length === 0) throw damage(partition, place, 'the file ends within a batch.')
  return rest
}

function parse(partition: Scanned, place: Place, piece: Buffer, codecs: Codecs, limits: Limits): BatchesRead {
  try {
    return readBatches(piece, codecs, limits)
  } catch (error) {
    const { message, detail } = error as TidemarkError
    throw damage(partition, place, `${message}. ${detail ?? ''}`.trimEnd(), error)
  }
}

/** An index entry names the very batch that begins at its place. */
function checkFirst(partition: Scanned, place: Place, batch: RecordBatch, trusted: boolean): void {
  if (trusted || place.position === 0 || batch.baseOffset === place.offset) return
  throw damage(partition, place, `offset ${batch.baseOffset} stands there.`)
}

/** @param limit the first offset of the next file */
function misplaced(partition: Scanned, place: Place, batch: RecordBatch, limit: number): TidemarkError | undefined {
  const hole = batch.baseOffset > place.offset && partition.topic.cleanup !== 'compact'
  if (batch.baseOffset < place.offset || hole) return damage(partition, place, `offset ${batch.baseOffset} stands there.`)
  if (batch.lastOffset < limit) return undefined
  return damage(partition, place, `a batch reaches to offset ${batch.lastOffset}, but the next file begins with ${limit}.`)
}

function damage(partition: Scanned, place: Place, what: string, cause?: unknown): TidemarkError {
  const { segment, position, offset } = place
  const where = { topic: partition.topic.name, partition: partition.ref.partition, offset, path: segment.path, byte: position }
  return damaged(where, what, cause)
}
