/**
 * Reading a partition's files: batches from an offset on, and the offset of a time. Every batch that is read has its checksum verified and
 * must follow the one before it: without a hole where nothing is compacted, and never backwards. What does not is damage, and is named by
 * file and byte; the sound batches before it are given out first.
 */
import type { TidemarkError } from '../../base/errors.ts'
import { type BatchesRead, type Codecs, type Limits, type RecordBatch, readBatches } from '../../ports/record-batch/index.ts'
import { damaged } from './errors.ts'
import { readHeader } from './header.ts'
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
  /** Batches that begin here or later are left out. Always a place between two batches. */
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
  while (next < to && (left > 0 || batches.length === 0)) {
    // Compaction may have put another file into this one's place since.
    if (place === undefined || place.segment.gone) {
      place = await locate(partition, next)
      if (place === undefined) break
      if (place.segment.gone) continue
    }
    if (place.position >= place.segment.size) {
      const following: Segment | undefined = partition.segments[partition.segments.indexOf(place.segment) + 1]
      if (following === undefined) break
      if (following.base !== place.offset) {
        if (batches.length > 0) break
        throw damage(partition, place, `the records before offset ${following.base} are missing.`)
      }
      place = { segment: following, position: 0, offset: following.base }
      continue
    }
    const reached: Place = place
    const limit = partition.segments[partition.segments.indexOf(reached.segment) + 1]?.base ?? Infinity
    let found: BatchesRead
    try {
      found = await readPiece(partition, reached, Math.min(Math.max(left, PIECE_BYTES_MIN), PIECE_BYTES), codecs, limits)
    } catch (error) {
      if (reached.segment.gone) continue
      if (batches.length > 0) break
      throw error
    }
    for (const batch of found.batches) {
      const wrong = misplaced(partition, place, batch, { to, limit })
      if (wrong !== undefined && batches.length === 0) throw wrong
      if (wrong !== undefined || batch.baseOffset >= to) return { batches, places, next, place }
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
  for (const segment of partition.segments.slice()) {
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

/** Where the batch with an offset lies, or where the way to it is damaged; undefined without any segment. */
async function locate(partition: Scanned, offset: number): Promise<Place | undefined> {
  let misled = false
  for (;;) {
    const at = partition.segments.findLastIndex(({ base }) => base <= offset)
    const segment = partition.segments[Math.max(at, 0)]
    if (segment === undefined) return undefined
    const start = { segment, position: 0, offset: segment.base }
    if (offset <= segment.base) return start
    const index = await indexOf(segment)
    const entry = index?.before(offset)
    const place = await walkTo(entry === undefined ? start : { segment, ...entry }, offset)
    if (segment.gone) continue
    if (place !== undefined || misled) return place ?? start
    // The index is a help only: it led to a place where no batch begins.
    await segment.forgetIndex()
    misled = true
  }
}

/**
 * Walks over the headers of batches to the one with an offset. What is passed over is not read, so it may even be damaged.
 * Undefined when the batch that was to begin here does not.
 */
async function walkTo(from: Place, offset: number): Promise<Place | undefined> {
  const { segment } = from
  let place = from
  while (place.position < segment.size && !segment.gone) {
    const piece = await segment.read(place.position, PIECE_BYTES_MIN).catch((error: unknown) => {
      if (segment.gone) return Buffer.alloc(0)
      throw error
    })
    const first = place.position
    for (;;) {
      const header = readHeader(piece, place.position - first)
      if (place === from && from.position > 0 && header?.baseOffset !== from.offset) return undefined
      if (header === undefined || header.baseOffset < place.offset || header.lastOffset >= offset) break
      place = { segment, position: place.position + header.bytes, offset: header.lastOffset + 1 }
    }
    // The batch that was looked for, or damage; else the piece was too small.
    if (place.position === first || place.position - first + BATCH_HEADER_BYTES <= piece.length) break
  }
  return place
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

/**
 * The checksum of a batch does not cover its offset, so that has to fit what surrounds it. Holes are left by compaction alone, which never
 * reaches as far as anybody reads.
 * @param bounds `to` lies between two batches; `limit` is the first offset of the next file
 */
function misplaced(partition: Scanned, place: Place, batch: RecordBatch, bounds: { to: number; limit: number }): TidemarkError | undefined {
  const { baseOffset, lastOffset } = batch
  const { to, limit } = bounds
  const hole = baseOffset > place.offset && (partition.topic.cleanup !== 'compact' || baseOffset >= to)
  const across = baseOffset < to && lastOffset >= to
  if (baseOffset < place.offset || hole || across) return damage(partition, place, `offsets ${baseOffset} to ${lastOffset} stand there.`)
  if (lastOffset < limit) return undefined
  return damage(partition, place, `a batch reaches to offset ${lastOffset}, but the next file begins with ${limit}.`)
}

function damage(partition: Scanned, place: Place, what: string, cause?: unknown): TidemarkError {
  const { segment, position, offset } = place
  const where = { topic: partition.topic.name, partition: partition.ref.partition, offset, path: segment.path, byte: position }
  return damaged(where, what, cause)
}
