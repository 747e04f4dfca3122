/**
 * Records to a batch. One buffer is filled from front to back, the header of the batch is written last, and nothing is allocated for a
 * record. What `finish` gives is complete but for what only its sender knows: producer, sequence, transaction (see stamp.ts).
 * The bytes are those of Kafka's own producer: every varint as short as it can be, offsets without holes.
 */
import { EMPTY, varintLength, writeVarint } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { BATCH_HEADER_BYTES, writeInt64 } from './batch.ts'
import { COMPRESSIONS, type Codecs, type Compression } from './compression.ts'
import { NO_HEADERS } from './headers.ts'
import { DEFAULT_LIMITS, type Limits } from './limits.ts'
import { readVarint, varint32Length, varintEnd, writeVarint32 } from './varint.ts'

/** A whole batch without its stamp. */
export interface EncodedBatch {
  readonly bytes: Buffer
  readonly count: number
  /** The largest timestamp of its records, ms. */
  readonly maxTimestamp: number
}

export interface BatchBuilderOptions {
  readonly codecs: Codecs
  /** How `finish` packs the records. Default `none`. */
  readonly compression?: Compression
  /** Bytes of the first buffer. It grows as needed, and later ones begin with what the batch before them took. Default 1 KiB. */
  readonly capacity?: number
  /** Whoever reads the batch has limits; what exceeds them is refused here already. Default `DEFAULT_LIMITS`. */
  readonly limits?: Limits
}

/** What the length of a batch can say. */
const BATCH_BYTES_CEILING = 2 ** 31 - 1
/** Up to here the zigzag form of a timestamp's delta is exact. */
const DELTA_MAX = 2 ** 52
/** Below this many bytes a loop is faster than a call of the engine's copy. */
const LOOP_BYTES_MAX = 24

/**
 * Builds one batch after another.
 * @example
 * const builder = new BatchBuilder({ codecs })
 * builder.add(time, key, value)
 * const batch = builder.finish()
 * stampBatch(batch, { producerId, producerEpoch, baseSequence, transactional: true }, codecs)
 */
export class BatchBuilder {
  /**
   * Where the record added last lies in `buffer`, and in the batch that `finish` gives when nothing is compressed.
   * -1 for a key or a value that is null, and before the first record of a batch.
   */
  keyAt = -1
  keyEnd = -1
  valueAt = -1
  valueEnd = -1
  private bytes: Buffer = EMPTY
  private at = BATCH_HEADER_BYTES
  private records = 0
  private baseTimestamp = 0
  private maxTimestamp = 0
  /** Where `reserve` said that a value may be written; -1 when nothing is reserved. */
  private reservedAt = -1
  /** Bytes of the last record before and behind its value: the next one is probably alike. */
  private before = 16
  private behind = 1
  private capacity: number
  private readonly capacityMin: number
  private readonly codecs: Codecs
  private readonly compression: Compression
  private readonly limits: Limits

  /** @throws TypeError when an option is not what it should be */
  constructor(options: BatchBuilderOptions) {
    const { codecs, compression = 'none', capacity = 1024, limits = DEFAULT_LIMITS } = options
    if (!COMPRESSIONS.includes(compression)) throw new TypeError(`there is no compression "${compression}"`)
    if (!Number.isSafeInteger(capacity) || capacity < 0) throw new TypeError(`capacity is a number of bytes, not ${capacity}`)
    this.codecs = codecs
    this.compression = compression
    this.capacity = capacity
    this.capacityMin = capacity
    this.limits = limits
  }

  /** Records in the batch so far. */
  get count(): number {
    return this.records
  }

  /** Bytes of the batch if it were finished now without compression. */
  get byteLength(): number {
    return this.at
  }

  /** What is being filled. Fetch it anew after every call: it may be another buffer by then. */
  get buffer(): Buffer {
    return this.bytes
  }

  /**
   * Adds a record, whose bytes are copied.
   * @param timestamp ms since 1970, an integer
   * @param headers as `encodeHeaders` makes them or as they lie in another record, count included; none when left out
   * @throws TidemarkError BATCH_LIMIT when the record or the batch would exceed a limit; the batch stays as it was
   * @throws TypeError when the timestamp is not an integer, or the headers are something else
   */
  add(timestamp: number, key: Uint8Array | null, value: Uint8Array | null, headers: Uint8Array = NO_HEADERS): void {
    const valueLength = value === null ? -1 : value.length
    const body = this.bodyLength(timestamp, key, valueLength, headers)
    this.grow(this.at + varint32Length(body) + body, this.at)
    const at = this.writeFront(timestamp, key, valueLength, body)
    if (value !== null) put(this.bytes, at, value)
    this.writeBack(timestamp, at, valueLength, headers)
  }

  /**
   * Makes room for a value of up to `valueBytes` bytes and returns the place in `buffer` at which to write it, so that an encoder needs
   * no buffer of its own. What `addReserved` does not take up is forgotten at the next call; reserving again, for more, is allowed.
   * @throws TidemarkError BATCH_LIMIT when such a value would exceed a limit
   * @example
   * let at = builder.reserve(256)
   * let end = codec.encode(row, builder.buffer, at)
   * if (end < 0) end = codec.encode(row, builder.buffer, (at = builder.reserve(-end)))
   * builder.addReserved(time, key, end)
   */
  reserve(valueBytes: number): number {
    if (!(valueBytes >= 0)) throw new TypeError(`a value has a number of bytes, not ${valueBytes}`)
    if (valueBytes > this.limits.recordBytesMax) throw this.recordTooLarge(valueBytes)
    // The value is laid where it belongs if the record is like the one before it; else `addReserved` moves it by some bytes.
    const at = this.at + this.before
    this.grow(at + valueBytes + this.behind, this.at)
    this.reservedAt = at
    return at
  }

  /**
   * Adds a record whose value was written into `buffer` from the reserved place to `valueEnd`.
   * @throws TidemarkError BATCH_LIMIT as `add`
   * @throws TypeError when nothing was reserved, or as `add`
   */
  addReserved(timestamp: number, key: Uint8Array | null, valueEnd: number, headers: Uint8Array = NO_HEADERS): void {
    const reservedAt = this.reservedAt
    if (reservedAt < 0) throw new TypeError('no place is reserved for the value')
    if (!(Number.isInteger(valueEnd) && valueEnd >= reservedAt && valueEnd <= this.bytes.length))
      throw new TypeError(`a value at ${reservedAt} cannot end at ${valueEnd}`)
    const valueLength = valueEnd - reservedAt
    const body = this.bodyLength(timestamp, key, valueLength, headers)
    const end = this.at + varint32Length(body) + body
    this.grow(end, valueEnd)
    const valueAt = end - headers.length - valueLength
    if (valueAt !== reservedAt) this.bytes.copyWithin(valueAt, reservedAt, valueEnd)
    this.writeBack(timestamp, this.writeFront(timestamp, key, valueLength, body), valueLength, headers)
  }

  /**
   * The batch of all records since the last call. Its buffer is handed over, and the builder is empty again.
   * @throws TypeError when there are no records
   * @throws TidemarkError BATCH_UNSUPPORTED when the codecs do not know the compression; the records stay
   */
  finish(): EncodedBatch {
    const { records: count, maxTimestamp } = this
    if (count === 0) throw new TypeError('a batch needs a record')
    let bytes = this.bytes.subarray(0, this.at)
    if (this.compression !== 'none') {
      const packed = this.codecs.compress(this.compression, bytes.subarray(BATCH_HEADER_BYTES))
      bytes = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + packed.length)
      bytes.set(packed, BATCH_HEADER_BYTES)
    }
    bytes.fill(0, 0, BATCH_HEADER_BYTES)
    bytes.writeInt32BE(bytes.length - 12, 8)
    bytes.writeInt32BE(-1, 12)
    bytes[16] = 2
    bytes.writeInt16BE(COMPRESSIONS.indexOf(this.compression), 21)
    bytes.writeInt32BE(count - 1, 23)
    writeInt64(bytes, 27, this.baseTimestamp)
    writeInt64(bytes, 35, maxTimestamp)
    writeInt64(bytes, 43, -1)
    bytes.writeInt16BE(-1, 51)
    bytes.writeInt32BE(-1, 53)
    bytes.writeInt32BE(count, 57)
    // The next batch is probably about as large, and a buffer that fits need not grow.
    this.capacity = Math.max(this.capacityMin, this.at + (this.at >>> 3))
    if (this.compression === 'none') this.bytes = EMPTY
    this.at = BATCH_HEADER_BYTES
    this.records = 0
    this.reservedAt = -1
    this.keyAt = this.keyEnd = this.valueAt = this.valueEnd = -1
    return { bytes, count, maxTimestamp }
  }

  /** Bytes of a record behind its length. Refuses what must not be written, before anything is. */
  private bodyLength(timestamp: number, key: Uint8Array | null, valueLength: number, headers: Uint8Array): number {
    const delta = this.records === 0 ? 0 : timestamp - this.baseTimestamp
    if (!Number.isSafeInteger(timestamp) || delta > DELTA_MAX || delta < -DELTA_MAX) {
      throw new TypeError(`a timestamp is an integer of milliseconds, within 2^52 of the first in its batch, and not ${timestamp}`)
    }
    const keyLength = key === null ? -1 : key.length
    const fields =
      1 +
      deltaLength(delta) +
      varint32Length(this.records) +
      varint32Length(keyLength) +
      varint32Length(valueLength) +
      Math.max(keyLength, 0) +
      Math.max(valueLength, 0)
    const body = fields + headers.length
    const { recordBytesMax, recordsMax, batchBytesMax, headersMax, headerBytesMax } = this.limits
    if (body > recordBytesMax) throw this.recordTooLarge(body)
    if (this.records >= recordsMax) throw limit('a batch cannot take another record', `It has ${recordsMax}.`)
    if (headers !== NO_HEADERS) {
      const count = readVarint(headers, 0, headers.length)
      if (varintEnd > headers.length || count < 0 || count * 2 > headers.length) throw new TypeError('headers begin with their count')
      if (count > headersMax || headers.length > headerBytesMax) {
        throw limit('a record has more headers than allowed', `Record ${this.records} has ${count} headers in ${headers.length} bytes.`)
      }
    }
    if (this.at + body + 5 > Math.min(batchBytesMax, BATCH_BYTES_CEILING)) {
      throw limit(
        'a batch cannot take another record',
        `With it the batch would have ${this.at + body} bytes; ${batchBytesMax} are allowed.`,
      )
    }
    return body
  }

  private recordTooLarge(bytes: number): TidemarkError {
    const detail = `Record ${this.records} of the batch has ${bytes} bytes; ${this.limits.recordBytesMax} are allowed.`
    return limit('a record is larger than allowed', detail)
  }

  /** Makes the buffer reach to `end`, and keeps its first `used` bytes. */
  private grow(end: number, used: number): void {
    if (end <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(end, this.bytes.length * 2, this.capacity))
    this.bytes.copy(grown, 0, 0, used)
    this.bytes = grown
  }

  /** Writes a record up to its value and returns the value's place. */
  private writeFront(timestamp: number, key: Uint8Array | null, valueLength: number, body: number): number {
    const { bytes, records } = this
    let at = writeVarint32(bytes, this.at, body)
    bytes[at++] = 0
    at = records === 0 ? writeVarint32(bytes, at, 0) : writeDelta(bytes, at, timestamp - this.baseTimestamp)
    at = writeVarint32(bytes, at, records)
    if (key === null) {
      bytes[at++] = 1
      this.keyAt = this.keyEnd = -1
    } else {
      at = writeVarint32(bytes, at, key.length)
      this.keyAt = at
      at = put(bytes, at, key)
      this.keyEnd = at
    }
    return writeVarint32(bytes, at, valueLength)
  }

  /** Writes what follows the value, and counts the record. */
  private writeBack(timestamp: number, valueAt: number, valueLength: number, headers: Uint8Array): void {
    this.before = valueAt - this.at
    this.behind = headers.length
    this.reservedAt = -1
    const valueEnd = valueLength < 0 ? valueAt : valueAt + valueLength
    this.valueAt = valueLength < 0 ? -1 : valueAt
    this.valueEnd = valueLength < 0 ? -1 : valueEnd
    this.at = put(this.bytes, valueEnd, headers)
    if (this.records === 0) {
      this.baseTimestamp = timestamp
      this.maxTimestamp = timestamp
    } else if (timestamp > this.maxTimestamp) this.maxTimestamp = timestamp
    this.records++
  }
}

function deltaLength(delta: number): number {
  return delta === (delta | 0) ? varint32Length(delta) : varintLength(delta)
}

function writeDelta(into: Buffer, at: number, delta: number): number {
  return delta === (delta | 0) ? writeVarint32(into, at, delta) : writeVarint(into, at, delta)
}

/** Copies all of `bytes` to `at` and returns the place after them. */
function put(into: Buffer, at: number, bytes: Uint8Array): number {
  const length = bytes.length
  if (length > LOOP_BYTES_MAX) {
    into.set(bytes, at)
    return at + length
  }
  for (let i = 0; i < length; i++) into[at++] = bytes[i] as number
  return at
}

function limit(message: string, detail: string): TidemarkError {
  return new TidemarkError('BATCH_LIMIT', message, { detail })
}
