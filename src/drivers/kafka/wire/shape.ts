/**
 * The layout of messages as values: a shape reads and writes one type, and a struct of named shapes is checked by the compiler against the
 * interface that it stands for. The order of the names is the order on the wire. One description serves both directions, so a message that
 * was read can be written again byte for byte: that is how the tests hold each layout against a real broker.
 */
import { type WireReader, WireWriter } from './bytes.ts'

export interface Shape<T> {
  /** The fewest bytes that a value takes: what bounds a count before anything is allocated for it. */
  readonly bytesMin: number
  /** Set for a tagged field: it lies at the end of its struct, and may be missing. */
  readonly tag?: number
  read(from: WireReader): T
  write(into: WireWriter, value: T): void
}

/** The shapes of all fields of `T`, in the order of the wire. */
export type Fields<T> = { readonly [K in keyof T]-?: Shape<T[K]> }

export const bool: Shape<boolean> = {
  bytesMin: 1,
  read: (from) => from.int8() !== 0,
  write: (into, value) => into.int8(value ? 1 : 0),
}
export const int8: Shape<number> = { bytesMin: 1, read: (from) => from.int8(), write: (into, value) => into.int8(value) }
export const int16: Shape<number> = { bytesMin: 2, read: (from) => from.int16(), write: (into, value) => into.int16(value) }
export const int32: Shape<number> = { bytesMin: 4, read: (from) => from.int32(), write: (into, value) => into.int32(value) }
export const int64: Shape<number> = { bytesMin: 8, read: (from) => from.int64(), write: (into, value) => into.int64(value) }
export const string: Shape<string> = { bytesMin: 1, read: (from) => from.string(), write: (into, value) => into.nullableString(value) }
export const nullableString: Shape<string | null> = {
  bytesMin: 1,
  read: (from) => from.nullableString(),
  write: (into, value) => into.nullableString(value),
}
/** Read as a view of the message, written without a copy when large. */
export const bytes: Shape<Buffer> = { bytesMin: 1, read: (from) => from.nonNullBytes(), write: (into, value) => into.nullableBytes(value) }
export const nullableBytes: Shape<Buffer | null> = {
  bytesMin: 1,
  read: (from) => from.nullableBytes(),
  write: (into, value) => into.nullableBytes(value),
}
/** 16 bytes as 22 characters of base64url, the way Kafka's own tools print them. */
export const uuid: Shape<string> = { bytesMin: 16, read: (from) => from.uuid(), write: (into, value) => into.uuid(value) }

export function nullableArray<T>(element: Shape<T>): Shape<readonly T[] | null> {
  const elementMin = Math.max(1, element.bytesMin)
  return {
    bytesMin: 1,
    read(from) {
      const count = from.count(elementMin)
      if (count === -1) return null
      const values: T[] = []
      for (let i = 0; i < count; i++) values.push(element.read(from))
      return values
    },
    write(into, values) {
      into.count(values === null ? -1 : values.length)
      if (values !== null) for (const value of values) element.write(into, value)
    },
  }
}

export function array<T>(element: Shape<T>): Shape<readonly T[]> {
  const nullable = nullableArray(element)
  return {
    bytesMin: 1,
    read: (from) => nullable.read(from) ?? from.fail('it is null'),
    write: (into, values) => nullable.write(into, values),
  }
}

/**
 * A field that the versions from `first` on have. Older ones read as `absent`, and a request that asks for more than its version can say
 * is a mistake of the caller.
 * @example since(2, nullableString, null)
 */
export function since<T>(first: number, shape: Shape<T>, absent: T): Shape<T> {
  return {
    bytesMin: 0,
    read: (from) => (from.version < first ? absent : shape.read(from)),
    write(into, value) {
      if (into.version >= first) shape.write(into, value)
      else if (value !== absent) throw new TypeError(`version ${into.version} has no place for ${JSON.stringify(value)}; ${first} has`)
    },
  }
}

/** A field that callers may leave out; it is always there when read. */
export function optional<T>(shape: Shape<T>, value: T): Shape<T> {
  return {
    bytesMin: shape.bytesMin,
    read: (from) => shape.read(from),
    write: (into, given: T | undefined) => shape.write(into, given ?? value),
  }
}

/** A tagged field: undefined when it is missing. */
export function tagged<T>(tag: number, shape: Shape<T>): Shape<T | undefined> {
  return {
    bytesMin: 0,
    tag,
    read: (from) => shape.read(from),
    write(into, value) {
      if (value !== undefined) shape.write(into, value)
    },
  }
}

/**
 * Named fields in the order of the wire, tagged ones last.
 * @example const broker: Shape<Broker> = struct({ nodeId: int32, host: string, port: int32, rack: nullableString })
 */
export function struct<T extends object>(fields: Fields<T>): Shape<T> {
  const all = Object.entries<Shape<unknown>>(fields as Record<string, Shape<unknown>>)
  const plain = all.filter(([, shape]) => shape.tag === undefined)
  const tags = new Map(all.flatMap(([name, shape]) => (shape.tag === undefined ? [] : [[shape.tag, { name, shape }] as const])))
  const ascending = [...tags].sort(([one], [other]) => one - other)
  return {
    bytesMin: plain.reduce((sum, [, shape]) => sum + shape.bytesMin, 0),
    read(from) {
      const value: Record<string, unknown> = {}
      for (const [name, shape] of plain) {
        from.field = name
        value[name] = shape.read(from)
      }
      // Set even when missing, so that all values of a shape look alike to the engine.
      for (const [, { name }] of ascending) value[name] = undefined
      if (from.flexible) readTags(from, tags, value)
      return value as T
    },
    write(into, value) {
      const given = value as Record<string, unknown>
      for (const [name, shape] of plain) shape.write(into, given[name])
      if (!into.flexible) return
      if (ascending.length === 0) into.uvarint(0)
      else writeTags(into, ascending, given)
    },
  }
}

interface Tagged {
  readonly name: string
  readonly shape: Shape<unknown>
}

function readTags(from: WireReader, tags: ReadonlyMap<number, Tagged>, value: Record<string, unknown>): void {
  for (let rest = from.uvarint(); rest > 0; rest--) {
    const known = tags.get(from.uvarint())
    const size = from.uvarint()
    if (known === undefined) {
      from.take(size)
      from.skippedTags++
      continue
    }
    from.field = known.name
    const outer = from.end
    if (size > from.left) from.fail(`it needs ${size} bytes, and ${from.left} are left`)
    from.end = from.at + size
    value[known.name] = known.shape.read(from)
    if (from.left > 0) from.fail(`${from.left} of its ${size} bytes are left over`)
    from.end = outer
  }
}

function writeTags(into: WireWriter, tags: readonly (readonly [number, Tagged])[], value: Record<string, unknown>): void {
  const present = tags.filter(([, { name }]) => value[name] !== undefined)
  into.uvarint(present.length)
  for (const [tag, { name, shape }] of present) {
    // Its size comes before it, so it is written apart first. Tagged fields are small and rare.
    const apart = new WireWriter(64)
    apart.version = into.version
    shape.write(apart, value[name])
    into.uvarint(tag)
    into.uvarint(apart.length)
    into.put(apart.bytes())
  }
}
