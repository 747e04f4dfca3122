/**
 * The primitive types of Kafka's protocol, read from and written to bytes. Promises that bad bytes end in a `TidemarkError` WIRE_INVALID,
 * and that nothing is allocated for a length or a count before the bytes left have been seen to hold it. It knows no message: `shape.ts`
 * and the files beside it do.
 *
 * "Flexible" versions (KIP-482) write lengths as unsigned varints plus one, so that 0 is null, and end each struct with tagged fields;
 * the others ("classic") use int16 before strings, int32 before bytes and arrays, -1 for null, and have no tags.
 */
import { EMPTY, utf8, writeUvarint } from '../../../base/bytes.ts'
import { TidemarkError } from '../../../base/errors.ts'

/** The longest string of the classic form, bytes. */
const SHORT_MAX = 32_767
/** Bytes of an unsigned varint of 32 bits; every length, count and tag is one. */
const UVARINT_BYTES = 5
/** From this size on, bytes are referred to and not copied: below it, another part costs more than the copy. */
const REFER_BYTES = 4096
const UUID_BYTES = 16

/** The topic id of brokers and requests that name none. */
export const NO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA'

/** A place in the bytes of one message that moves as it reads. Bytes that it gives are views of the message and pin it in memory. */
export class WireReader {
  readonly bytes: Buffer
  at: number
  /** Where reading ends: of the message, or of the tagged field that is being read. */
  end: number
  version = 0
  flexible = true
  /** Which message this is, for errors only. */
  message = 'a message'
  /** The last field begun, for errors only. */
  field = ''
  /** Tagged fields that no shape knows: they were written by a newer broker, and are passed over. */
  skippedTags = 0

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes
    this.at = at
    this.end = bytes.length
  }

  get left(): number {
    return this.end - this.at
  }

  int8(): number {
    this.need(1)
    return this.bytes.readInt8(this.at++)
  }

  int16(): number {
    this.need(2)
    this.at += 2
    return this.bytes.readInt16BE(this.at - 2)
  }

  int32(): number {
    this.need(4)
    this.at += 4
    return this.bytes.readInt32BE(this.at - 4)
  }

  /** Exact, or refused: Kafka counts offsets and ids up from 0, so one beyond 2^53 is damage and not a number that was reached. */
  int64(): number {
    this.need(8)
    const value = this.bytes.readInt32BE(this.at) * 2 ** 32 + this.bytes.readUInt32BE(this.at + 4)
    if (!Number.isSafeInteger(value)) this.fail(`it has the number ${this.bytes.readBigInt64BE(this.at)}, which lies beyond 2^53`)
    this.at += 8
    return value
  }

  uvarint(): number {
    let value = 0
    let scale = 1
    for (let read = 0; read < UVARINT_BYTES; read++) {
      this.need(1)
      const byte = this.bytes[this.at++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value > 0xffff_ffff ? this.fail('it has a length beyond 32 bits') : value
      scale *= 128
    }
    return this.fail('it has a length without end')
  }

  /** A view of the next `length` bytes. */
  take(length: number): Buffer {
    this.need(length)
    this.at += length
    return length === 0 ? EMPTY : this.bytes.subarray(this.at - length, this.at)
  }

  /** The count of an array whose elements take at least `bytesMin` bytes each, or -1 for null. */
  count(bytesMin: number): number {
    const count = this.flexible ? this.uvarint() - 1 : this.int32()
    if (count < -1) this.fail(`it counts ${count} elements`)
    if (count * bytesMin > this.left) this.fail(`it counts ${count} elements of ${bytesMin} bytes or more, and ${this.left} bytes are left`)
    return count
  }

  nullableString(): string | null {
    const length = this.flexible ? this.uvarint() - 1 : this.int16()
    if (length === -1) return null
    this.need(length)
    this.at += length
    return utf8(this.bytes, this.at - length, this.at)
  }

  string(): string {
    return this.nullableString() ?? this.fail('it is null')
  }

  nullableBytes(): Buffer | null {
    const length = this.flexible ? this.uvarint() - 1 : this.int32()
    return length === -1 ? null : this.take(length)
  }

  nonNullBytes(): Buffer {
    return this.nullableBytes() ?? this.fail('it is null')
  }

  uuid(): string {
    return this.take(UUID_BYTES).toString('base64url')
  }

  /** @throws TidemarkError WIRE_INVALID */
  fail(what: string): never {
    throw new TidemarkError('WIRE_INVALID', `${this.message} cannot be read`, {
      detail: `${this.field === '' ? 'Its header' : `Its field "${this.field}"`}, byte ${this.at} of ${this.bytes.length}: ${what}.`,
      hint: 'Is this address a Kafka broker, and nothing between here and there that changes bytes?',
    })
  }

  private need(length: number): void {
    if (length < 0) this.fail(`it has the length ${length}`)
    if (length > this.end - this.at) this.fail(`it needs ${length} bytes, and ${this.left} are left`)
  }
}

/**
 * A message as it grows. Large bytes are referred to and not copied, so they must not change until the message was sent.
 * Values that a field cannot hold are mistakes of the caller: `TypeError`.
 */
export class WireWriter {
  version = 0
  flexible = true
  private readonly done: Buffer[] = []
  private doneBytes = 0
  private chunk: Buffer
  /** Where in the chunk the part begins that is not in `done` yet. */
  private from = 0
  private at = 0

  constructor(capacity = 512) {
    this.chunk = Buffer.allocUnsafe(capacity)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.doneBytes + this.at - this.from
  }

  int8(value: number): void {
    whole(value, -0x80, 0x7f)
    const at = this.reserve(1)
    this.chunk.writeInt8(value, at)
  }

  int16(value: number): void {
    whole(value, -0x8000, 0x7fff)
    const at = this.reserve(2)
    this.chunk.writeInt16BE(value, at)
  }

  int32(value: number): void {
    whole(value, -0x8000_0000, 0x7fff_ffff)
    const at = this.reserve(4)
    this.chunk.writeInt32BE(value, at)
  }

  int64(value: number): void {
    whole(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    const at = this.reserve(8)
    const high = Math.floor(value / 2 ** 32)
    this.chunk.writeInt32BE(high, at)
    this.chunk.writeUInt32BE(value - high * 2 ** 32, at + 4)
  }

  uvarint(value: number): void {
    whole(value, 0, 0xffff_ffff)
    const at = this.reserve(UVARINT_BYTES)
    this.at = writeUvarint(this.chunk, at, value)
  }

  /** Bytes without a length before them. */
  put(bytes: Uint8Array): void {
    if (bytes.length < REFER_BYTES) {
      const at = this.reserve(bytes.length)
      this.chunk.set(bytes, at)
      return
    }
    this.endPart()
    this.done.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    this.doneBytes += bytes.length
  }

  /** The count of an array; -1 for null. */
  count(count: number): void {
    if (this.flexible) this.uvarint(count + 1)
    else this.int32(count)
  }

  nullableString(value: string | null): void {
    if (value === null) {
      if (this.flexible) this.uvarint(0)
      else this.int16(-1)
      return
    }
    const length = Buffer.byteLength(value)
    if (this.flexible) this.uvarint(length + 1)
    else if (length > SHORT_MAX) throw new TypeError(`a string of ${length} bytes is too long for this field`)
    else this.int16(length)
    const at = this.reserve(length)
    this.chunk.write(value, at, 'utf8')
  }

  nullableBytes(value: Uint8Array | null): void {
    const length = value === null ? -1 : value.length
    if (this.flexible) this.uvarint(length + 1)
    else this.int32(length)
    if (value !== null) this.put(value)
  }

  uuid(value: string): void {
    const bytes = Buffer.from(value, 'base64url')
    if (bytes.length !== UUID_BYTES) throw new TypeError(`${JSON.stringify(value)} is no id of 16 bytes in base64url`)
    this.put(bytes)
  }

  /** The message in pieces, for `writev`: nothing large was copied. */
  parts(): Buffer[] {
    this.endPart()
    return this.done.slice()
  }

  /** The message in one piece: a copy when it refers to large bytes. */
  bytes(): Buffer {
    const parts = this.parts()
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, this.doneBytes)
  }

  /** The place for `length` more bytes. Use `this.chunk` only after this call: it may be another buffer by then. */
  private reserve(length: number): number {
    if (this.at + length > this.chunk.length) {
      this.endPart()
      this.chunk = Buffer.allocUnsafe(Math.max(this.chunk.length * 2, length))
      this.from = 0
      this.at = 0
    }
    this.at += length
    return this.at - length
  }

  private endPart(): void {
    if (this.at === this.from) return
    this.done.push(this.chunk.subarray(this.from, this.at))
    this.doneBytes += this.at - this.from
    this.from = this.at
  }
}

function whole(value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new TypeError(`${value} is not a whole number from ${least} to ${most}`)
}
