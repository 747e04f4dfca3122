/**
 * Avro schemas as JSON (`AvroSchema`), and as a graph of types in which every name is resolved (`AvroType`, made by `avro-read.ts`).
 * Shared by contracts, which hold schemas, by serdes, which run them, and by the generator of TypeScript.
 */

export type AvroSchema = string | { readonly [attribute: string]: unknown } | readonly AvroSchema[]

export type AvroType = AvroPrimitive | AvroEnum | AvroFixed | AvroArray | AvroMap | AvroUnion | AvroRecord

export interface AvroPrimitive {
  readonly kind: 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'
  /** A long that is a bigint in TypeScript. */
  readonly big: boolean
  readonly logical: string | undefined
  readonly brand: string | undefined
}

/** What a record, an enum and a fixed have. */
export interface Named {
  /** The full name, such as `orders.OrderPlaced`. */
  readonly name: string
  /** Full names too. */
  readonly aliases: readonly string[]
  readonly doc: string | undefined
  readonly logical: string | undefined
  readonly brand: string | undefined
}

export interface AvroEnum extends Named {
  readonly kind: 'enum'
  readonly symbols: readonly string[]
  readonly default: string | undefined
}

export interface AvroFixed extends Named {
  readonly kind: 'fixed'
  /** Bytes. */
  readonly size: number
}

export interface AvroArray {
  readonly kind: 'array'
  readonly items: AvroType
}

export interface AvroMap {
  readonly kind: 'map'
  readonly values: AvroType
}

export interface AvroUnion {
  readonly kind: 'union'
  readonly branches: readonly AvroType[]
}

export interface AvroRecord extends Named {
  readonly kind: 'record'
  readonly fields: readonly AvroField[]
}

export interface AvroField {
  readonly name: string
  readonly type: AvroType
  readonly aliases: readonly string[]
  readonly doc: string | undefined
  /** The default as it stands in the schema, in a box because null is one. */
  readonly default: { readonly json: unknown } | undefined
}

/** The last part of a dotted name. */
export function shortName(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

/** What a value of each kind is in JavaScript. Branches of a union that are the same there must be wrapped to be told apart. */
export const IN_JAVASCRIPT: Readonly<
  Record<AvroType['kind'], 'null' | 'boolean' | 'number' | 'string' | 'bytes' | 'array' | 'object' | 'union'>
> = {
  null: 'null',
  boolean: 'boolean',
  int: 'number',
  long: 'number',
  float: 'number',
  double: 'number',
  bytes: 'bytes',
  fixed: 'bytes',
  string: 'string',
  enum: 'string',
  array: 'array',
  map: 'object',
  record: 'object',
  union: 'union',
}

/** The fewest bytes and parts of any value of a type: what a decoder reads and makes before data can choose more. */
export interface Least {
  readonly bytes: number
  readonly parts: number
}

/** Measures a type. `known` keeps what was measured, so that many types of one schema cost no more than one. */
export function least(type: AvroType, known: Map<AvroType, Least> = new Map<AvroType, Least>()): Least {
  if (type.kind !== 'record') return { bytes: leastBytes(type), parts: 1 }
  const found = known.get(type)
  if (found !== undefined) return found
  // Met again on the way down, the record contains itself directly: no value of it ends.
  known.set(type, { bytes: Infinity, parts: Infinity })
  let bytes = 0
  let parts = 1
  for (const field of type.fields) {
    const within = least(field.type, known)
    bytes += within.bytes
    parts += within.parts
  }
  known.set(type, { bytes, parts })
  return { bytes, parts }
}

function leastBytes(type: Exclude<AvroType, AvroRecord>): number {
  if (type.kind === 'null') return 0
  if (type.kind === 'float') return 4
  if (type.kind === 'double') return 8
  return type.kind === 'fixed' ? type.size : 1
}
