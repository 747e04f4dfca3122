/**
 * Bytes of a row, the same on disk and in the changelog, and of the keys that rows lie under:
 *
 *   row    u8 format | u8 flags | varint version | varint event time | parts that flags announce | payload | u64 hash(key, row)
 *   key    varint store | [u32 bucket, highest bit set] | escaped key | 00 01 | sub-key           00 in a key is written 00 FF
 *   other  varint store | 00 '!t' | u64 time | escaped key | 00 01 | sub-key     a timer; '!w' for wall time
 *          00 'tm'                                                               what a commit says of the task: positions, times, sums
 *          00 'chk'                                                              how far into the changelog the disk is; never in a changelog
 *
 * The payload of a schema's row is framed like any value, schema id first, so rows outlive changes of their schema.
 */
import { ByteReader, ByteWriter, binary, writeUvarint } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { hash64, hashed } from '../base/murmur.ts'
import type { ValueCodec } from '../ports/serde.ts'
import type { RowFormat } from '../topology/node.ts'
import type { Row } from './slots.ts'
import { digestOf } from './sums.ts'

const FORMAT = 1
const TOMBSTONE = 1
const MARKED = 2
const ORIGIN = 4
const HASH_BYTES = 8

/** How the payload of a store's rows is written. `framed`: by a schema, with its id in front. */
export type RowCodec =
  | { readonly kind: 'schema'; readonly values: ValueCodec; readonly view: boolean }
  | { readonly kind: 'format'; readonly format: RowFormat; readonly view: boolean }

const FRAME_BYTES = 5

/** Writes rows and keys, into one buffer each that is reused: what `encode` and `key` return is valid until their next call. */
export class RowWriter {
  /** Where the payload of the row encoded last begins and ends in its bytes. */
  payloadAt = 0
  payloadEnd = 0
  readonly #bytes = new Views(4 * 1024)
  readonly #key = new Views(256)
  readonly #payload = new ByteWriter(1024)

  /** The key of a row in the task's store. */
  key(store: number, key: Uint8Array, sub: string, expiring: boolean): Buffer {
    this.#key.reserve(0, 16 + key.length * 2 + sub.length)
    const { bytes } = this.#key
    let at = writeUvarint(bytes, 0, store)
    let from = 0
    if (expiring) {
      for (; from < 4; from++) bytes[at++] = sub.charCodeAt(from)
    }
    at = escapeInto(bytes, at, key)
    bytes[at++] = 0
    bytes[at++] = 1
    for (let i = from; i < sub.length; i++) bytes[at++] = sub.charCodeAt(i)
    return this.#key.view(at)
  }

  /**
   * The bytes of a row under `key`, and into the row what they hash to. A view's row gets its digest too.
   * @throws TidemarkError VALUE_INVALID when the value does not fit its schema
   */
  encode(row: Row, key: Uint8Array, codec: RowCodec): Buffer {
    const { markHigh, markLow } = row
    const marked = markHigh !== 0 || markLow !== 0
    const origin = codec.view && row.offset >= 0
    let at = this.#front(row, (row.exists ? 0 : TOMBSTONE) | (marked ? MARKED : 0) | (origin ? ORIGIN : 0), marked, origin)
    const row0 = this.#bytes
    this.payloadAt = at
    if (row.exists) {
      if (codec.kind === 'format') {
        this.#payload.at = 0
        codec.format.write(row.value, this.#payload)
        row0.reserve(at, this.#payload.at)
        at += this.#payload.buffer.copy(row0.bytes, at, 0, this.#payload.at)
      } else {
        let end = codec.values.encode(row.value, row0.bytes, at)
        if (end < 0) {
          row0.reserve(at, -end)
          end = codec.values.encode(row.value, row0.bytes, at)
        }
        at = end
      }
    }
    this.payloadEnd = at
    row0.reserve(at, HASH_BYTES)
    const { bytes } = row0
    if (codec.view) {
      const contentAt = this.payloadAt + (codec.kind === 'schema' ? FRAME_BYTES : 0)
      row.digest = row.exists ? digestOf(row.slot.key, row.version, bytes, contentAt, at, row.digest) : undefined
    }
    hash64(key)
    hash64(bytes, 0, at, hashed.high, hashed.low)
    row.hashHigh = hashed.high
    row.hashLow = hashed.low
    at = bytes.writeInt32BE(hashed.high, at)
    at = bytes.writeInt32BE(hashed.low, at)
    return row0.view(at)
  }

  /** A row without content under `key`: for what only needs to be there. */
  empty(key: Uint8Array): Buffer {
    const bytes = Buffer.alloc(4 + HASH_BYTES)
    bytes[0] = FORMAT
    hash64(key)
    hash64(bytes, 0, 4, hashed.high, hashed.low)
    bytes.writeInt32BE(hashed.high, 4)
    bytes.writeInt32BE(hashed.low, 8)
    return bytes
  }

  #front(row: Row, flags: number, marked: boolean, origin: boolean): number {
    this.#bytes.reserve(0, 80 + row.topic.length * 3)
    const { bytes } = this.#bytes
    bytes[0] = FORMAT
    bytes[1] = flags
    let at = writeUvarint(bytes, 2, row.version)
    at = writeTime(bytes, at, row.at)
    if (marked) {
      at = bytes.writeInt32BE(row.markHigh, at)
      at = bytes.writeInt32BE(row.markLow, at)
    }
    if (origin) {
      const length = bytes.write(row.topic, at + 1, 'latin1')
      bytes[at] = length
      at = writeUvarint(bytes, at + 1 + length, row.partition)
      at = writeUvarint(bytes, at, row.offset)
      at = writeUvarint(bytes, at, row.contractVersion)
      at = writeTime(bytes, at, row.appliedAt)
    }
    return at
  }
}

/** A buffer that is written over and over, and views on its beginning: one for each length, because most rows and keys are of few lengths. */
class Views {
  bytes: Buffer
  #views: (Buffer | undefined)[] = []

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity)
  }

  reserve(at: number, more: number): void {
    if (at + more <= this.bytes.length) return
    const grown = Buffer.allocUnsafe((at + more) * 2)
    this.bytes.copy(grown, 0, 0, at)
    this.bytes = grown
    this.#views = []
  }

  view(length: number): Buffer {
    if (length >= VIEWS_MAX) return this.bytes.subarray(0, length)
    let view = this.#views[length]
    if (view === undefined) {
      view = this.bytes.subarray(0, length)
      this.#views[length] = view
    }
    return view
  }
}

const VIEWS_MAX = 2_048

/** Times may lie before 1970. */
function writeTime(into: Buffer, at: number, ms: number): number {
  return writeUvarint(into, at, ms < 0 ? -2 * ms - 1 : 2 * ms)
}

const reader = new ByteReader()

/**
 * Fills a row from its bytes on disk.
 * @throws TidemarkError STORE_CORRUPT when the hash says that key or row is not what was written
 */
export function decodeRow(row: Row, key: Uint8Array, bytes: Buffer, codec: RowCodec): void {
  const end = bytes.length - HASH_BYTES
  checkRow(key, bytes)
  row.hashHigh = bytes.readInt32BE(end)
  row.hashLow = bytes.readInt32BE(end + 4)
  row.stored = true
  reader.reset(bytes, 1, end)
  const flags = reader.u8()
  row.version = reader.uvarint()
  row.at = reader.varint()
  if ((flags & MARKED) !== 0) {
    row.markHigh = reader.u32() | 0
    row.markLow = reader.u32() | 0
  }
  if ((flags & ORIGIN) !== 0) {
    row.topic = binary(reader.take(reader.u8()))
    row.partition = reader.uvarint()
    row.offset = reader.uvarint()
    row.contractVersion = reader.uvarint()
    row.appliedAt = reader.varint()
  }
  row.exists = (flags & TOMBSTONE) === 0
  if (!row.exists) return
  const payloadAt = reader.at
  if (codec.view) row.digest = digestOf(row.slot.key, row.version, bytes, payloadAt + (codec.kind === 'schema' ? FRAME_BYTES : 0), end)
  row.value = codec.kind === 'schema' ? codec.values.decode(bytes, payloadAt, end) : codec.format.read(reader)
}

/** Where the payload of a live row lies, and the row's version; undefined for a tombstone. The bytes were checked. */
export function contentOf(bytes: Buffer): { readonly version: number; readonly at: number; readonly end: number } | undefined {
  const end = bytes.length - HASH_BYTES
  reader.reset(bytes, 1, end)
  const flags = reader.u8()
  if ((flags & TOMBSTONE) !== 0) return undefined
  const version = reader.uvarint()
  reader.varint()
  if ((flags & MARKED) !== 0) reader.take(8)
  if ((flags & ORIGIN) !== 0) {
    reader.take(reader.u8())
    for (let i = 0; i < 4; i++) reader.uvarint()
  }
  return { version, at: reader.at, end }
}

/** @throws TidemarkError STORE_CORRUPT */
export function checkRow(key: Uint8Array, bytes: Buffer): void {
  const end = bytes.length - HASH_BYTES
  if (end >= 4 && bytes[0] === FORMAT) {
    hash64(key)
    hash64(bytes, 0, end, hashed.high, hashed.low)
    if (bytes.readInt32BE(end) === hashed.high && bytes.readInt32BE(end + 4) === hashed.low) return
  }
  throw new TidemarkError('STORE_CORRUPT', 'a stored row is not what was written', {
    detail: `Its key is ${Buffer.from(key).toString('hex').slice(0, 80)}; it has ${bytes.length} bytes.`,
    hint: 'The disk, or something that writes to it, changed it. The state is moved aside and restored from its changelog.',
  })
}

/** Integrity hash at the end of a row's bytes, as two words; for sums over rows that are not decoded. */
export function hashOf(bytes: Buffer): { readonly high: number; readonly low: number } {
  return { high: bytes.readInt32BE(bytes.length - 8), low: bytes.readInt32BE(bytes.length - 4) }
}

export function escapeInto(into: Buffer, at: number, key: Uint8Array): number {
  for (let i = 0; i < key.length; i++) {
    const byte = key[i] as number
    into[at++] = byte
    if (byte === 0) into[at++] = 0xff
  }
  return at
}

/** The key and sub-key in a store key from `at` on; undefined when it is no row's key. */
export function unescapeKey(bytes: Uint8Array, at: number): { readonly key: Buffer; readonly sub: string } | undefined {
  const key: number[] = []
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i] as number
    if (byte !== 0) key.push(byte)
    else if (bytes[i + 1] === 0xff) {
      key.push(0)
      i += 1
    } else if (bytes[i + 1] === 1) return { key: Buffer.from(key), sub: binary(bytes, i + 2) }
    else return undefined
  }
  return undefined
}

export const TM_KEY: Buffer = Buffer.from([0, 0x74, 0x6d])
export const CHK_KEY: Buffer = Buffer.from([0, 0x63, 0x68, 0x6b])

/** First key behind all that begin with `prefix`; undefined when there is none. */
export function afterPrefix(prefix: Uint8Array): Buffer | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if ((prefix[i] as number) < 0xff) {
      const after = Buffer.from(prefix.subarray(0, i + 1))
      after[i] = (after[i] as number) + 1
      return after
    }
  }
  return undefined
}

/** `varint store`, with what follows. */
export function storePrefix(store: number, rest: Uint8Array = new Uint8Array()): Buffer {
  return new ByteWriter(8 + rest.length).uvarint(store).put(rest).bytes()
}
