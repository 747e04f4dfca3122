/**
 * The records of one batch as columns: a place for each key, value and header list in one payload, and no object a record.
 * Decoding promises that every place lies in the payload, that records follow each other without a gap or an overlap, that offsets rise
 * within the batch, and that headers can be walked. It does not look into keys and values.
 *
 * Record => length:varint attributes:int8 timestampDelta:varlong offsetDelta:varint
 *           keyLength:varint key valueLength:varint value headerCount:varint [nameLength:varint name valueLength:varint value]
 */
import { TidemarkError } from '../../base/errors.ts'
import { skipHeaders } from './headers.ts'
import type { Limits } from './limits.ts'
import { readVarint, readVarlong, varintEnd } from './varint.ts'

/** Plain arrays of equal length, for hot loops. They are views: what is kept beyond the batch is copied. */
export interface Columns {
  readonly count: number
  /** What the places below refer to: the bytes of the batch itself, or its decompressed records. */
  readonly payload: Buffer
  /** Absolute offsets. */
  readonly offsets: Float64Array
  /** Absolute, ms since 1970. In a batch stamped by the log at append time, its append time everywhere. */
  readonly timestamps: Float64Array
  /** First byte of the key, -1 when the key is null. */
  readonly keyAt: Int32Array
  /** Place after the key, -1 when the key is null. */
  readonly keyEnd: Int32Array
  /** First byte of the value, -1 when the value is null. */
  readonly valueAt: Int32Array
  /** Place after the value, -1 when the value is null. */
  readonly valueEnd: Int32Array
  /** Where the headers begin: at their count, so that `payload[headersAt, headersEnd)` is what `BatchBuilder.add` takes. */
  readonly headersAt: Int32Array
  readonly headersEnd: Int32Array
  readonly headerCount: Int32Array
}

/** A record cannot be shorter: seven fields of one byte. */
export const RECORD_BYTES_MIN = 7

/** What the header of a batch says about its records. */
export interface RecordsFrame {
  readonly payload: Buffer
  /** Where the first record begins; the last ends with the payload. */
  readonly at: number
  readonly count: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly baseTimestamp: number
  /** The timestamp of every record, when the log set it; else undefined. */
  readonly appendTimestamp: number | undefined
}

/** @throws TidemarkError BATCH_CORRUPT, BATCH_LIMIT, BATCH_UNSUPPORTED */
export function decodeColumns(frame: RecordsFrame, limits: Limits): Columns {
  const { payload, count, baseOffset, baseTimestamp } = frame
  const payloadEnd = payload.length
  if (count * RECORD_BYTES_MIN > payloadEnd - frame.at) {
    throw corrupt(`The batch at offset ${baseOffset} counts ${count} records in ${payloadEnd - frame.at} bytes.`)
  }
  // One allocation for all columns: for small batches the allocator would cost more than the decoding.
  const memory = new ArrayBuffer(count * 44)
  const offsets = new Float64Array(memory, 0, count)
  const timestamps = new Float64Array(memory, count * 8, count)
  const keyAt = new Int32Array(memory, count * 16, count)
  const keyEnd = new Int32Array(memory, count * 20, count)
  const valueAt = new Int32Array(memory, count * 24, count)
  const valueEnd = new Int32Array(memory, count * 28, count)
  const headersAt = new Int32Array(memory, count * 32, count)
  const headersEnd = new Int32Array(memory, count * 36, count)
  const headerCount = new Int32Array(memory, count * 40, count)
  const { recordBytesMax, headersMax, headerBytesMax } = limits
  const deltaMax = frame.lastOffset - baseOffset

  // A varint that is bad moves `at` behind the end of the record. That is not looked at after each one: the next length, or the
  // last check of the record, does not fit then.
  let at = frame.at
  let lastDelta = -1
  for (let i = 0; i < count; i++) {
    let length = readVarint(payload, at, payloadEnd)
    at = varintEnd
    if (length < 0 || length > payloadEnd - at) throw badRecord(frame, i, 'its length reaches beyond the batch')
    const end = at + length
    at++ // attributes: none are defined

    let delta = readVarlong(payload, at, end)
    at = varintEnd
    const timestamp = baseTimestamp + delta
    if (timestamp > Number.MAX_SAFE_INTEGER || timestamp < Number.MIN_SAFE_INTEGER) throw badTimestamp(frame, i)
    timestamps[i] = timestamp

    delta = readVarint(payload, at, end)
    at = varintEnd
    if (delta <= lastDelta || delta > deltaMax) throw badRecord(frame, i, 'its offset does not rise within the batch')
    lastDelta = delta
    offsets[i] = baseOffset + delta
    if (length > recordBytesMax) throw recordTooLarge(baseOffset + delta, length, recordBytesMax)

    length = readVarint(payload, at, end)
    at = varintEnd
    if (length >= 0) {
      if (length > end - at) throw badRecord(frame, i, 'its key reaches beyond it')
      keyAt[i] = at
      at += length
      keyEnd[i] = at
    } else {
      if (length !== -1) throw badRecord(frame, i, 'its key has a negative length')
      keyAt[i] = -1
      keyEnd[i] = -1
    }

    length = readVarint(payload, at, end)
    at = varintEnd
    if (length >= 0) {
      if (length > end - at) throw badRecord(frame, i, 'its value reaches beyond it')
      valueAt[i] = at
      at += length
      valueEnd[i] = at
    } else {
      if (length !== -1) throw badRecord(frame, i, 'its value has a negative length')
      valueAt[i] = -1
      valueEnd[i] = -1
    }

    headersAt[i] = at
    headersEnd[i] = end
    const headers = readVarint(payload, at, end)
    at = varintEnd
    if (headers !== 0) {
      // Each header takes two bytes, so a count that lies is found before it costs anything.
      if (headers < 0 || headers * 2 > end - at) throw badRecord(frame, i, 'it counts more headers than it can hold')
      const bytes = end - (headersAt[i] as number)
      if (headers > headersMax || bytes > headerBytesMax) throw tooManyHeaders(baseOffset + lastDelta, headers, bytes, limits)
      headerCount[i] = headers
      at = skipHeaders(payload, at, end, headers)
    }
    if (at !== end) throw badRecord(frame, i, 'its fields do not fill its length')
  }
  if (at !== payloadEnd) throw corrupt(`The batch at offset ${baseOffset}: bytes follow its last record.`)
  if (frame.appendTimestamp !== undefined) timestamps.fill(frame.appendTimestamp)
  return { count, payload, offsets, timestamps, keyAt, keyEnd, valueAt, valueEnd, headersAt, headersEnd, headerCount }
}

function badRecord(frame: RecordsFrame, index: number, what: string): TidemarkError {
  return corrupt(`Record ${index} of ${frame.count} in the batch at offset ${frame.baseOffset}: ${what}.`)
}

function corrupt(detail: string): TidemarkError {
  return new TidemarkError('BATCH_CORRUPT', 'the records of a batch contradict themselves', {
    detail,
    hint: 'The checksum holds, so this is what its writer sent.',
  })
}

function badTimestamp(frame: RecordsFrame, index: number): TidemarkError {
  return new TidemarkError('BATCH_UNSUPPORTED', 'a record has a timestamp beyond 2^53', {
    detail: `Record ${index} of ${frame.count} in the batch at offset ${frame.baseOffset}.`,
  })
}

function recordTooLarge(offset: number, bytes: number, bytesMax: number): TidemarkError {
  return new TidemarkError('BATCH_LIMIT', 'a record is larger than allowed', {
    detail: `The record at offset ${offset} has ${bytes} bytes; ${bytesMax} are allowed.`,
    hint: 'Raise the limit "recordBytesMax" if such records are meant to be.',
  })
}

function tooManyHeaders(offset: number, count: number, bytes: number, { headersMax, headerBytesMax }: Limits): TidemarkError {
  return new TidemarkError('BATCH_LIMIT', 'a record has more headers than allowed', {
    detail: `The record at offset ${offset} has ${count} headers in ${bytes} bytes; ${headersMax} in ${headerBytesMax} are allowed.`,
    hint: 'Raise the limits "headersMax" and "headerBytesMax" if such records are meant to be.',
  })
}
