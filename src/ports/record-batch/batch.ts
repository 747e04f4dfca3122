/**
 * A record batch (format version 2) as a view over its bytes. The header is read at once; the records are decoded into columns when
 * they are first asked for, and then kept as long as the view is.
 * A view pins the buffer it lies in: what outlives the work on a batch is copied.
 *
 *  0 baseOffset:int64        21 attributes:int16       43 producerId:int64
 *  8 batchLength:int32       23 lastOffsetDelta:int32  51 producerEpoch:int16
 * 12 leaderEpoch:int32       27 baseTimestamp:int64    53 baseSequence:int32
 * 16 magic:int8 = 2          35 maxTimestamp:int64     57 recordCount:int32
 * 17 crc:uint32 (of 21 to the end)                     61 records, compressed as a whole
 *
 * attributes: bits 0-2 compression, 3 the log set the timestamps, 4 transactional, 5 control, 6 the cleaner put the time at which
 * tombstones go into baseTimestamp (KIP-534; the timestamps of records are relative to it all the same).
 */
import { EMPTY, utf8 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { type Columns, decodeColumns, RECORD_BYTES_MIN } from './columns.ts'
import { COMPRESSIONS, type Codecs, type Compression } from './compression.ts'
import { type Header, HeaderCursor } from './headers.ts'
import type { Limits } from './limits.ts'

export const BATCH_HEADER_BYTES = 61
export const ATTRIBUTE_APPEND_TIME = 8
export const ATTRIBUTE_TRANSACTIONAL = 16
export const ATTRIBUTE_CONTROL = 32
/** Columns hold places as 32-bit numbers. */
const PLACE_MAX = 2 ** 31 - 1

export class RecordBatch {
  /** The whole batch as it lies on the wire and on disk, header included. */
  readonly bytes: Buffer
  readonly baseOffset: number
  /** The offset of its last record when it was written; compaction keeps it, so reading goes on at `lastOffset + 1` even without records. */
  readonly lastOffset: number
  /** Records in it; 0 for a batch that compaction emptied. */
  readonly count: number
  readonly leaderEpoch: number
  /** -1 when its producer was not idempotent. */
  readonly producerId: number
  readonly producerEpoch: number
  /** The sequence number of its first record, -1 for control batches and producers without one. */
  readonly baseSequence: number
  readonly compression: Compression
  /** Who set the timestamps: the producer of each record, or the log when it appended the batch. */
  readonly timestampType: 'create' | 'append'
  readonly transactional: boolean
  /** Written by the log itself: it carries the end of a transaction, and no data. */
  readonly control: boolean
  /** What the timestamps of records are relative to, ms. Not always the time of a record: see bit 6 above. */
  readonly baseTimestamp: number
  /** The largest timestamp of its records when it was written, ms, or the time of its append. */
  readonly maxTimestamp: number
  private readonly codecs: Codecs
  private readonly limits: Limits
  private decoded: Columns | undefined

  /**
   * For `readBatches`, which has made sure of the length, the format version and the checksum.
   * @throws TidemarkError BATCH_CORRUPT, BATCH_LIMIT, BATCH_UNSUPPORTED
   */
  constructor(bytes: Buffer, codecs: Codecs, limits: Limits) {
    const attributes = bytes.readInt16BE(21)
    const baseOffset = readInt64(bytes, 0)
    const baseTimestamp = readInt64(bytes, 27)
    const maxTimestamp = readInt64(bytes, 35)
    const producerId = readInt64(bytes, 43)
    const lastOffsetDelta = bytes.readInt32BE(23)
    const count = bytes.readInt32BE(57)
    const compression = COMPRESSIONS[attributes & 7]
    if (compression === undefined) throw unsupported(baseOffset, `its compression has the number ${attributes & 7}`)
    if (![baseOffset, baseTimestamp, maxTimestamp, producerId].every(Number.isSafeInteger)) {
      throw unsupported(baseOffset, 'its offset, its producer or one of its timestamps lies beyond 2^53')
    }
    if (baseOffset < 0 || lastOffsetDelta < 0) throw corrupt(baseOffset, `it ends ${lastOffsetDelta} after its base offset`)
    if (baseOffset + lastOffsetDelta >= Number.MAX_SAFE_INTEGER) throw unsupported(baseOffset, 'its offsets reach beyond 2^53')
    if (count < 0 || count > lastOffsetDelta + 1) throw corrupt(baseOffset, `it counts ${count} records for ${lastOffsetDelta + 1} offsets`)
    if (count > limits.recordsMax) throw tooManyRecords(baseOffset, count, limits.recordsMax)
    if (compression === 'none' && count * RECORD_BYTES_MIN > bytes.length - BATCH_HEADER_BYTES) {
      throw corrupt(baseOffset, `it counts ${count} records in ${bytes.length - BATCH_HEADER_BYTES} bytes`)
    }
    this.bytes = bytes
    this.baseOffset = baseOffset
    this.lastOffset = baseOffset + lastOffsetDelta
    this.count = count
    this.leaderEpoch = bytes.readInt32BE(12)
    this.producerId = producerId
    this.producerEpoch = bytes.readInt16BE(51)
    this.baseSequence = bytes.readInt32BE(53)
    this.compression = compression
    this.timestampType = (attributes & ATTRIBUTE_APPEND_TIME) === 0 ? 'create' : 'append'
    this.transactional = (attributes & ATTRIBUTE_TRANSACTIONAL) !== 0
    this.control = (attributes & ATTRIBUTE_CONTROL) !== 0
    this.baseTimestamp = baseTimestamp
    this.maxTimestamp = maxTimestamp
    this.codecs = codecs
    this.limits = limits
    this.decoded = undefined
  }

  /**
   * The records, decoded at first use. For a compressed batch the decompressed records are kept with them.
   * @throws TidemarkError BATCH_CORRUPT, BATCH_LIMIT, BATCH_UNSUPPORTED
   */
  get columns(): Columns {
    this.decoded ??= this.decode()
    return this.decoded
  }

  /** How a control batch ends its producer's transaction; undefined for data, for an emptied batch and for controls of other kinds. */
  get controlType(): 'commit' | 'abort' | undefined {
    if (!this.control || this.count === 0) return undefined
    // ControlRecordKey => version:int16 type:int16
    const key = this.key(0)
    if (key === null || key.length < 4) throw corrupt(this.baseOffset, 'it is a control batch without a control type')
    const type = key.readInt16BE(2)
    return type === 0 ? 'abort' : type === 1 ? 'commit' : undefined
  }

  offset(i: number): number {
    return this.columns.offsets[this.index(i)] as number
  }

  timestamp(i: number): number {
    return this.columns.timestamps[this.index(i)] as number
  }

  /** A view, not a copy. */
  key(i: number): Buffer | null {
    const { payload, keyAt, keyEnd } = this.columns
    const at = keyAt[this.index(i)] as number
    return at < 0 ? null : payload.subarray(at, keyEnd[i])
  }

  /** A view, not a copy. */
  value(i: number): Buffer | null {
    const { payload, valueAt, valueEnd } = this.columns
    const at = valueAt[this.index(i)] as number
    return at < 0 ? null : payload.subarray(at, valueEnd[i])
  }

  /** All headers in order, names that repeat included. Values are views; bytes of a name that are not UTF-8 become U+FFFD. */
  headers(i: number): Header[] {
    const { payload, headersAt, headersEnd, headerCount } = this.columns
    const cursor = new HeaderCursor()
    cursor.reset(payload, headersAt[this.index(i)] as number, headersEnd[i] as number, headerCount[i] as number)
    const headers: Header[] = []
    while (cursor.next()) {
      const { nameAt, nameEnd, valueAt, valueEnd } = cursor
      headers.push({ name: utf8(payload, nameAt, nameEnd), value: valueAt < 0 ? null : payload.subarray(valueAt, valueEnd) })
    }
    return headers
  }

  private index(i: number): number {
    if (i >= 0 && i < this.count && Number.isInteger(i)) return i
    throw new TypeError(`a batch of ${this.count} records has no record ${i}`)
  }

  private decode(): Columns {
    const { bytes, compression, count, limits } = this
    let payload = bytes
    let at = BATCH_HEADER_BYTES
    if (compression !== 'none') {
      const packed = bytes.subarray(BATCH_HEADER_BYTES)
      // Compaction may leave a compressed batch without any bytes behind its header.
      payload = packed.length === 0 ? EMPTY : this.codecs.decompress(compression, packed, Math.min(limits.decompressedBytesMax, PLACE_MAX))
      at = 0
    }
    const appendTimestamp = this.timestampType === 'append' ? this.maxTimestamp : undefined
    const { baseOffset, lastOffset, baseTimestamp } = this
    return decodeColumns({ payload, at, count, baseOffset, lastOffset, baseTimestamp, appendTimestamp }, limits)
  }
}

/** Reads a signed 64-bit integer; above 2^53 it is no longer exact. */
function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
}

/** Writes a number as a signed 64-bit integer, big end first. */
export function writeInt64(into: Buffer, at: number, value: number): void {
  const high = Math.floor(value / 2 ** 32)
  into.writeInt32BE(high, at)
  into.writeUInt32BE(value - high * 2 ** 32, at + 4)
}

function corrupt(baseOffset: number, what: string): TidemarkError {
  return new TidemarkError('BATCH_CORRUPT', 'the header of a record batch contradicts itself', {
    detail: `The batch at offset ${baseOffset}: ${what}.`,
  })
}

function unsupported(baseOffset: number, what: string): TidemarkError {
  return new TidemarkError('BATCH_UNSUPPORTED', 'a record batch uses what is not supported', {
    detail: `The batch at offset ${baseOffset}: ${what}.`,
  })
}

function tooManyRecords(baseOffset: number, count: number, allowed: number): TidemarkError {
  return new TidemarkError('BATCH_LIMIT', 'a record batch has more records than allowed', {
    detail: `The batch at offset ${baseOffset} has ${count} records; ${allowed} are allowed.`,
    hint: 'Raise the limit "recordsMax" if such batches are meant to be.',
  })
}
