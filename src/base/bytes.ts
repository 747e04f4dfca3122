/**
 * Bytes: order, and the variable-length integers that Kafka, Avro and our own formats share.
 * Offsets and times are numbers (exact to 2^53); a varint beyond that is refused, never rounded.
 */

export const EMPTY: Buffer = Buffer.alloc(0)

/** Node's own slicing methods: `toString` without its checks, which cost as much as the work for short texts. */
interface Slicing {
  latin1Slice(start: number, end: number): string
  utf8Slice(start: number, end: number): string
}

/** Bytes as a string of one UTF-16 unit a byte: cheap to make, and compares bytewise. For map keys, never for people. */
export function binary(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  return (asBuffer(bytes) as unknown as Slicing).latin1Slice(start, end)
}

/** UTF-8 bytes as text; what is not UTF-8 becomes U+FFFD. */
export function utf8(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  return (asBuffer(bytes) as unknown as Slicing).utf8Slice(start, end)
}

/** The inverse of `binary`. */
export function fromBinary(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Bytes that every varint of `value` fits in. */
export const VARINT_BYTES_MAX = 10

/** Length of `value` (an integer, 0 to 2^53) as an unsigned varint. */
export function uvarintLength(value: number): number {
  let length = 1
  for (let rest = value; rest >= 0x80; rest = rest > 0x7fffffff ? Math.floor(rest / 128) : rest >>> 7) length++
  return length
}

/** Writes an unsigned varint at `at` and returns the place after it. */
export function writeUvarint(into: Uint8Array, at: number, value: number): number {
  let rest = value
  while (rest > 0x7fffffff) {
    into[at++] = (rest % 128) | 0x80
    rest = Math.floor(rest / 128)
  }
  while (rest >= 0x80) {
    into[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  into[at++] = rest
  return at
}

/** Signed to unsigned, small absolute values first, as Kafka and Avro do it: 0, -1, 1, -2 become 0, 1, 2, 3. */
export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

export function varintLength(value: number): number {
  return uvarintLength(zigzag(value))
}

/** Writes a signed (zigzag) varint at `at` and returns the place after it. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  return writeUvarint(into, at, zigzag(value))
}

/**
 * A place in bytes that moves as it reads. One object is reused for many reads, so that reading allocates nothing.
 * A read past the end, or of a varint above 2^53, sets `bad` and gives 0; the caller checks `bad` once.
 */
export class ByteReader {
  bytes: Buffer
  at: number
  end: number
  bad = false

  constructor(bytes: Buffer = EMPTY, at = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  reset(bytes: Buffer, at = 0, end: number = bytes.length): this {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.bad = false
    return this
  }

  u8(): number {
    if (this.at >= this.end) return this.fail()
    return this.bytes[this.at++] as number
  }

  u32(): number {
    if (this.at + 4 > this.end) return this.fail()
    this.at += 4
    return this.bytes.readUInt32BE(this.at - 4)
  }

  uvarint(): number {
    let value = 0
    let scale = 1
    for (let read = 0; read < 8; read++) {
      if (this.at >= this.end) return this.fail()
      const byte = this.bytes[this.at++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value > Number.MAX_SAFE_INTEGER ? this.fail() : value
      scale *= 128
    }
    return this.fail()
  }

  varint(): number {
    return unzigzag(this.uvarint())
  }

  /** The next `length` bytes as a view, not a copy. */
  take(length: number): Buffer {
    if (length < 0 || length > this.end - this.at) {
      this.fail()
      return EMPTY
    }
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  /** A text with its length as an unsigned varint before it. */
  text(): string {
    return utf8(this.take(this.uvarint()))
  }

  private fail(): number {
    this.bad = true
    this.at = this.end
    return 0
  }
}

/** So few bytes are copied sooner by a loop than by a call out of the engine; the same for texts. */
const SHORT = 32
const ASCII_MAX = 128

function digitsOf(number: number): number {
  let digits = 1
  for (let rest = number; rest >= 10; rest = Math.floor(rest / 10)) digits++
  return digits
}

/** Bytes that grow as they are written. `bytes()` copies, so the writer can be reused; `view()` does not. */
export class ByteWriter {
  buffer: Buffer
  at = 0

  constructor(capacity = 256) {
    this.buffer = Buffer.allocUnsafe(capacity)
  }

  /** Makes room for `more` bytes. Fetch `this.buffer` only after this call: it may be another buffer by then. */
  reserve(more: number): void {
    if (this.at + more <= this.buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + more))
    this.buffer.copy(grown, 0, 0, this.at)
    this.buffer = grown
  }

  u8(value: number): this {
    this.reserve(1)
    this.buffer[this.at++] = value
    return this
  }

  u32(value: number): this {
    this.reserve(4)
    this.at = this.buffer.writeUInt32BE(value >>> 0, this.at)
    return this
  }

  uvarint(value: number): this {
    this.reserve(VARINT_BYTES_MAX)
    this.at = writeUvarint(this.buffer, this.at, value)
    return this
  }

  varint(value: number): this {
    return this.uvarint(zigzag(value))
  }

  put(bytes: Uint8Array): this {
    const { length } = bytes
    this.reserve(length)
    const { buffer, at } = this
    if (length > SHORT) buffer.set(bytes, at)
    else for (let i = 0; i < length; i++) buffer[at + i] = bytes[i] as number
    this.at = at + length
    return this
  }

  /**
   * Writes a short text of ASCII with its length as a signed varint before it, and behind the text a whole number from 0 where one is given, with
   * zeros to `width` digits. False, and nothing, where text or number are others.
   */
  ascii(text: string, number?: number, width = 1): boolean {
    const { length } = text
    if (length > ASCII_MAX || (number !== undefined && number < 0)) return false
    const digits = number === undefined ? 0 : Math.max(width, digitsOf(number))
    this.reserve(VARINT_BYTES_MAX + length + digits)
    const { buffer } = this
    const from = writeVarint(buffer, this.at, length + digits)
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code > 127) return false
      buffer[from + i] = code
    }
    const end = from + length + digits
    for (let at = end, rest = number ?? 0; at > from + length; ) {
      const tens = Math.floor(rest / 10)
      buffer[--at] = 48 + (rest - tens * 10)
      rest = tens
    }
    this.at = end
    return true
  }

  text(value: string): this {
    const length = Buffer.byteLength(value)
    this.uvarint(length).reserve(length)
    this.at += this.buffer.write(value, this.at, 'utf8')
    return this
  }

  view(): Buffer {
    return this.buffer.subarray(0, this.at)
  }

  bytes(): Buffer {
    return Buffer.from(this.view())
  }
}
