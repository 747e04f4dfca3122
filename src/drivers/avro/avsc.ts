/**
 * avsc's types, with our own handling of what it gets wrong. Records, resolution and generated code stay its own.
 *
 * Each class here replaces one behaviour of avsc 5.7.9 (pinned exactly, because these methods are not public) and says which.
 * Values are plain: objects with the prototype of `{}`, maps without any, so that no key of a record can reach a prototype.
 * A `_read` also runs as the method of a resolver, so it may use nothing of `this` but `valuesType`.
 * Only bytes that passed `Scan` may be read with these types.
 */
import avsc from 'avsc'
import { asBuffer } from '../../base/bytes.ts'

/** Fast paths that Node has and its types leave out. */
interface Slicing extends Buffer {
  utf8Slice(start: number, end: number): string
  utf8Write(text: string, at: number, length: number): number
}

/** avsc's place in bytes. Reads and writes past the end do nothing; `pos` beyond the end tells of them. */
interface Tap {
  buf: Slicing
  pos: number
  readLong(): number
  readString(): string
  writeLong(value: number): void
  writeFixed(bytes: Buffer, length: number): void
}

type Hook = ((value: unknown, type: unknown) => void) | undefined

interface Resolver {
  _read: (tap: Tap) => unknown
}

interface Writer {
  readonly typeName: string
  _read(tap: Tap): unknown
}

/** What avsc's types have and do not tell of. */
interface Inner {
  _read(tap: Tap): unknown
  _write(tap: Tap, value: unknown): void
  _check(value: unknown, flags?: unknown, hook?: Hook, path?: unknown): boolean
  _copy(value: unknown, options?: unknown): unknown
  _update(resolver: Resolver, writer: Writer, options?: unknown): void
}

type Opened<T> = new (schema?: unknown, options?: object) => T

const LongType = avsc.types.LongType as unknown as Opened<avsc.types.LongType & Inner>
const DoubleType = avsc.types.DoubleType as unknown as Opened<avsc.types.DoubleType & Inner>
const FloatType = avsc.types.FloatType as unknown as Opened<avsc.types.FloatType & Inner>
const StringType = avsc.types.StringType as unknown as Opened<avsc.types.StringType & Inner>
const BytesType = avsc.types.BytesType as unknown as Opened<avsc.types.BytesType & Inner>
const FixedType = avsc.types.FixedType as unknown as Opened<avsc.types.FixedType & Inner>
const EnumType = avsc.types.EnumType as unknown as Opened<
  avsc.types.EnumType & Inner & { readonly _indices: Readonly<Record<string, number>> }
>
const MapType = avsc.types.MapType as unknown as Opened<avsc.types.MapType & Inner>
const RecordType = avsc.types.RecordType as unknown as Opened<
  avsc.types.RecordType & { _createConstructor(stackTraces?: boolean, withoutMethods?: boolean): { prototype: unknown } }
>
const UnionType = avsc.types.UnwrappedUnionType as unknown as Opened<
  avsc.types.UnwrappedUnionType & {
    readonly _bucketIndices: Readonly<Record<string, number>>
    _getIndex(value: unknown): number | undefined
  }
>

const misfit = (): Error => new Error('the value does not fit')

function answer(fits: boolean, value: unknown, type: unknown, hook: Hook): boolean {
  if (!fits && hook !== undefined) hook(value, type)
  return fits
}

/** Beyond this, avsc's sums of doubles lose the last bit of the zigzag form, and with it the sign. */
const EXACT = 2 ** 51

function readBig(tap: Tap): bigint {
  let value = 0n
  for (let shift = 0n; ; shift += 7n) {
    const byte = tap.buf[tap.pos++] as number
    value |= BigInt(byte & 0x7f) << shift
    if (byte < 0x80) return BigInt.asIntN(64, value & 1n ? ~(value >> 1n) : value >> 1n)
  }
}

function writeBig(tap: Tap, value: bigint): void {
  let rest = BigInt.asUintN(64, value < 0n ? ~(value << 1n) : value << 1n)
  while (rest >= 0x80n) {
    tap.buf[tap.pos++] = Number(rest & 0x7fn) | 0x80
    rest >>= 7n
  }
  tap.buf[tap.pos++] = Number(rest)
}

/** avsc decodes -(2^52) - 1 as 2^52 + 1, and writes it so. Ours is exact for all safe integers and refuses the rest. */
export class Long extends LongType {
  override _read(tap: Tap): number {
    const start = tap.pos
    const value = tap.readLong()
    if (value < EXACT && value > -EXACT) return value
    tap.pos = start
    const exact = Number(readBig(tap))
    if (!Number.isSafeInteger(exact)) throw misfit()
    return exact
  }

  override _write(tap: Tap, value: unknown): void {
    if (!Number.isSafeInteger(value)) throw misfit()
    const long = value as number
    if (long < EXACT && long > -EXACT) tap.writeLong(long)
    else writeBig(tap, BigInt(long))
  }

  override _check(value: unknown, _flags?: unknown, hook?: Hook): boolean {
    return answer(Number.isSafeInteger(value), value, this, hook)
  }
}

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

/** A long as a bigint. avsc has a long of one's own too, but makes three objects for each. */
export class BigLong extends LongType {
  static {
    // By this name a union asks the type itself which values are its own.
    Object.defineProperty(BigLong.prototype, 'typeName', { value: 'abstract:long' })
    Object.defineProperty(BigLong.prototype, '_concreteTypeName', { value: 'long' })
  }

  override _read(tap: Tap): bigint {
    return readBig(tap)
  }

  override _write(tap: Tap, value: unknown): void {
    if (!this._check(value)) throw misfit()
    writeBig(tap, value as bigint)
  }

  override _check(value: unknown, _flags?: unknown, hook?: Hook): boolean {
    return answer(typeof value === 'bigint' && value >= INT64_MIN && value <= INT64_MAX, value, this, hook)
  }

  /** Also makes a default of the schema, a JSON number, a value. */
  override _copy(value: unknown): bigint {
    const big = Number.isSafeInteger(value) ? BigInt(value as number) : value
    if (!this._check(big)) throw misfit()
    return big as bigint
  }

  override _update(resolver: Resolver, writer: Writer): void {
    if (writer.typeName === 'long') resolver._read = readBig
    else if (writer.typeName === 'int') resolver._read = (tap) => BigInt(writer._read(tap) as number)
  }
}

/** Reads a writer's long as a double, which avsc does with the wrong sign beyond 2^52. */
export class Double extends DoubleType {
  override _update(resolver: Resolver, writer: Writer): void {
    super._update(resolver, writer)
    if (writer.typeName === 'long') resolver._read = (tap) => Number(readBig(tap))
  }
}

export class Float extends FloatType {
  override _update(resolver: Resolver, writer: Writer): void {
    super._update(resolver, writer)
    if (writer.typeName === 'long') resolver._read = (tap) => Math.fround(Number(readBig(tap)))
  }
}

const chars = String.fromCharCode

/**
 * A short ASCII text is made without a call out of JavaScript, which is most of what it costs (a quarter of a whole record's decode).
 * avsc writes garbage behind a short text with characters beyond ASCII, and a lone surrogate as one or as three characters by length;
 * here it is always U+FFFD, as everywhere in JavaScript.
 */
export class Text extends StringType {
  override _read(tap: Tap): string {
    const buf = tap.buf
    const length = tap.readLong()
    const p = tap.pos
    tap.pos = p + length
    if (length <= 10) {
      let all = 0
      for (let i = 0; i < length; i++) all |= buf[p + i] as number
      if (all < 0x80) return ascii(buf, p, length)
    }
    return buf.utf8Slice(p, p + length)
  }

  override _write(tap: Tap, value: unknown): void {
    if (typeof value !== 'string') throw misfit()
    const length = value.length
    const buf = tap.buf
    const start = tap.pos
    if (length < 64) {
      buf[start] = length << 1
      let i = 0
      for (; i < length; i++) {
        const code = value.charCodeAt(i)
        if (code >= 0x80) break
        buf[start + 1 + i] = code
      }
      if (i === length) {
        tap.pos = start + 1 + length
        return
      }
    }
    const bytes = Buffer.byteLength(value)
    tap.writeLong(bytes)
    const at = tap.pos
    tap.pos = at + bytes
    if (tap.pos <= buf.length) buf.utf8Write(value, at, bytes)
  }
}

/** Texts of up to ten bytes. One call with all characters is the cheapest way to one flat string. */
function ascii(b: Buffer, p: number, length: number): string {
  const at = (i: number): number => b[p + i] as number
  switch (length) {
    case 0:
      return ''
    case 1:
      return chars(at(0))
    case 2:
      return chars(at(0), at(1))
    case 3:
      return chars(at(0), at(1), at(2))
    case 4:
      return chars(at(0), at(1), at(2), at(3))
    case 5:
      return chars(at(0), at(1), at(2), at(3), at(4))
    case 6:
      return chars(at(0), at(1), at(2), at(3), at(4), at(5))
    case 7:
      return chars(at(0), at(1), at(2), at(3), at(4), at(5), at(6))
    case 8:
      return chars(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
    case 9:
      return chars(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8))
    default:
      return chars(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9))
  }
}

/** avsc takes only a Buffer; any Uint8Array will do. */
export class Bytes extends BytesType {
  override _write(tap: Tap, value: unknown): void {
    if (!(value instanceof Uint8Array)) throw misfit()
    tap.writeLong(value.length)
    tap.writeFixed(asBuffer(value), value.length)
  }

  override _check(value: unknown, _flags?: unknown, hook?: Hook): boolean {
    return answer(value instanceof Uint8Array, value, this, hook)
  }
}

export class Fixed extends FixedType {
  override _write(tap: Tap, value: unknown): void {
    if (!this._check(value)) throw misfit()
    tap.writeFixed(asBuffer(value as Uint8Array), this.size)
  }

  override _check(value: unknown, _flags?: unknown, hook?: Hook): boolean {
    return answer(value instanceof Uint8Array && value.length === this.size, value, this, hook)
  }
}

/** avsc takes "constructor" for a symbol, because every object has one, and writes it as the first symbol. */
export class Enum extends EnumType {
  override _write(tap: Tap, value: unknown): void {
    if (!this._check(value)) throw misfit()
    tap.writeLong(this._indices[value as string] as number)
  }

  override _check(value: unknown, _flags?: unknown, hook?: Hook): boolean {
    return answer(typeof value === 'string' && Object.hasOwn(this._indices, value), value, this, hook)
  }
}

/** avsc makes `{}`, where a key `__proto__` sets the prototype. A `Map` has no own keys and would be written as empty. */
export class PlainMap extends MapType {
  override _read(tap: Tap): unknown {
    const values = this.valuesType as Inner
    const map = Object.create(null) as Record<string, unknown>
    for (let count = tap.readLong(); count !== 0; count = tap.readLong()) {
      if (count < 0) {
        count = -count
        tap.readLong()
      }
      while (count-- > 0) {
        const key = tap.readString()
        map[key] = values._read(tap)
      }
    }
    return map
  }

  override _check(value: unknown, flags?: unknown, hook?: Hook, path?: unknown): boolean {
    if (value instanceof Map || value instanceof Uint8Array) return answer(false, value, this, hook)
    return super._check(value, flags, hook, path)
  }

  override _write(tap: Tap, value: unknown): void {
    if (value instanceof Map || value instanceof Uint8Array) throw misfit()
    super._write(tap, value)
  }

  override _copy(value: unknown, options?: unknown): unknown {
    return Object.assign(Object.create(null) as object, super._copy(value, options))
  }
}

/** A union of values that JavaScript tells apart. avsc knows bytes only as a Buffer. */
export class Union extends UnionType {
  override _getIndex(value: unknown): number | undefined {
    if (value instanceof Uint8Array) return this._bucketIndices.buffer
    return super._getIndex(value)
  }
}

/** Records as plain objects. avsc gives each type a class, and methods to each class. */
export class PlainRecord extends RecordType {
  override _createConstructor(): { prototype: unknown } {
    const made = super._createConstructor(false, true)
    made.prototype = Object.prototype
    return made
  }
}
