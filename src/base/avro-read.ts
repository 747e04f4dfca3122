/**
 * Reads an Avro schema, and refuses what could do harm.
 *
 * A schema is code to the library that runs it, and it decides what a few hostile bytes may cost, so
 * what is not understood here is refused and never reaches a codec. Promised of a type that was read: names are plain and unique,
 * no list has items of no bytes, no record needs itself to end, and no value has more than `SCHEMA_LIMITS.parts` parts before its
 * first list, map or union. Not promised: that a default fits its field (the codec that is built from the type says so).
 *
 * Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Aliases" and "Schema Resolution". Two attributes are ours:
 * `"tidemark.type": "bigint"` on a long that may pass 2^53, and `"tidemark.brand": "Name"` on a value that must not be mixed up.
 */
import {
  type AvroEnum,
  type AvroField,
  type AvroFixed,
  type AvroPrimitive,
  type AvroRecord,
  type AvroType,
  type AvroUnion,
  type Least,
  least,
  type Named,
  shortName,
} from './avro.ts'
import { TidemarkError } from './errors.ts'

/** Limits of a schema. Together they bound what building and running its codec can cost. */
export const SCHEMA_LIMITS = {
  /** Characters of its JSON. */
  length: 1_048_576,
  /** Records, enums, fixed, arrays, maps and unions. */
  types: 1_000,
  fieldsPerRecord: 1_000,
  branchesPerUnion: 100,
  /** Levels of JSON types within each other. */
  depth: 64,
  /** Values within a value before its first list, map or union. */
  parts: 10_000,
  /** Bytes of a fixed. */
  fixed: 16_777_216,
} as const

/** What is wrong with a schema and where: keys and indexes that lead to it in the JSON. */
export interface SchemaProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly hint: string | undefined
}

/**
 * Reads and lints a schema.
 * @throws TidemarkError SCHEMA_INVALID
 * @example readSchema({ type: 'record', name: 'orders.Line', fields: [{ name: 'sku', type: 'string' }] }).kind // 'record'
 */
export function readSchema(schema: unknown): AvroType {
  const read = tryRead(schema)
  if ('type' in read) return read.type
  const { message, path, hint } = read.problem
  throw new TidemarkError('SCHEMA_INVALID', message, {
    detail: `At ${path.length === 0 ? 'the top' : path.join('.')} of the schema.`,
    hint,
  })
}

/** What is wrong with a schema, or undefined. */
export function schemaProblem(schema: unknown): SchemaProblem | undefined {
  const read = tryRead(schema)
  return 'problem' in read ? read.problem : undefined
}

function tryRead(schema: unknown): { readonly type: AvroType } | { readonly problem: SchemaProblem } {
  try {
    return { type: new Reader().whole(schema) }
  } catch (error) {
    if (error instanceof Refused) return { problem: { path: error.path, message: error.message, hint: error.hint } }
    throw error
  }
}

class Refused extends Error {
  readonly path: readonly (string | number)[]
  readonly hint: string | undefined
  constructor(path: readonly (string | number)[], message: string, hint?: string) {
    super(message)
    this.path = path
    this.hint = hint
  }
}

type Path = readonly (string | number)[]
type Json = { readonly [attribute: string]: unknown }

const PRIMITIVES: ReadonlySet<string> = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/

class Reader {
  private readonly names = new Map<string, AvroType>()
  private readonly lists: { readonly items: AvroType; readonly path: Path }[] = []
  private readonly records: { readonly record: AvroRecord; readonly path: Path }[] = []
  private types = 0
  private depth = 0

  whole(schema: unknown): AvroType {
    const length = jsonLength(schema)
    if (length === undefined) throw new Refused([], 'a schema must be JSON')
    if (length > SCHEMA_LIMITS.length) throw new Refused([], `a schema must not exceed ${SCHEMA_LIMITS.length} characters`)
    const type = this.type(schema, '', [])
    const known = new Map<AvroType, Least>()
    for (const { record, path } of this.records) {
      const { bytes, parts } = least(record, known)
      if (bytes === Infinity)
        throw new Refused(path, `record "${record.name}" contains itself without end`, 'Put a union with null, an array or a map between.')
      if (parts > SCHEMA_LIMITS.parts)
        throw new Refused(path, `a value of record "${record.name}" has more than ${SCHEMA_LIMITS.parts} parts`)
    }
    for (const { items, path } of this.lists) {
      if (least(items, known).bytes === 0)
        throw new Refused(path, 'an array must not have items that take no bytes', 'A few bytes could claim billions of such items.')
    }
    return type
  }

  private type(schema: unknown, namespace: string, path: Path): AvroType {
    if (++this.depth > SCHEMA_LIMITS.depth) throw new Refused(path, `a schema must not nest deeper than ${SCHEMA_LIMITS.depth} levels`)
    const type = this.typeHere(schema, namespace, path)
    this.depth--
    return type
  }

  private typeHere(schema: unknown, namespace: string, path: Path): AvroType {
    if (typeof schema === 'string') return this.named(schema, namespace, path)
    if (Array.isArray(schema)) return this.union(schema, namespace, path)
    if (typeof schema !== 'object' || schema === null)
      throw new Refused(path, `a type must be a name, an object or a list, not ${saw(schema)}`)
    const json = schema as Json
    const kind = json.type
    if (kind === 'record') return this.record(json, namespace, path)
    if (kind === 'enum') return this.enum(json, namespace, path)
    if (kind === 'fixed') return this.fixed(json, namespace, path)
    if (kind === 'array') {
      this.count(path)
      const items = this.type(json.items, namespace, [...path, 'items'])
      this.lists.push({ items, path })
      return { kind: 'array', items }
    }
    if (kind === 'map') {
      this.count(path)
      return { kind: 'map', values: this.type(json.values, namespace, [...path, 'values']) }
    }
    return marked(this.type(kind, namespace, [...path, 'type']), json, path)
  }

  private named(name: string, namespace: string, path: Path): AvroType {
    if (PRIMITIVES.has(name)) return { kind: name as AvroPrimitive['kind'], big: false, logical: undefined, brand: undefined }
    const type = this.names.get(name.includes('.') || namespace === '' ? name : `${namespace}.${name}`)
    if (type === undefined)
      throw new Refused(path, `type "${name.slice(0, 255)}" is not defined`, 'A named type must be defined before it is used.')
    return type
  }

  private union(branches: readonly unknown[], namespace: string, path: Path): AvroUnion {
    this.count(path)
    if (branches.length === 0) throw new Refused(path, 'a union must have a branch')
    if (branches.length > SCHEMA_LIMITS.branchesPerUnion)
      throw new Refused(path, `a union must not have more than ${SCHEMA_LIMITS.branchesPerUnion} branches`)
    const seen = new Set<string>()
    const types = branches.map((branch, i) => {
      const type = this.type(branch, namespace, [...path, i])
      if (type.kind === 'union') throw new Refused([...path, i], 'a union must not contain a union')
      const name = 'name' in type ? type.name : type.kind
      if (seen.has(name)) throw new Refused([...path, i], `a union must not have "${name}" twice`)
      seen.add(name)
      return type
    })
    return { kind: 'union', branches: types }
  }

  private record(json: Json, outer: string, path: Path): AvroRecord {
    const named = this.name(json, outer, path)
    const fields: AvroField[] = []
    const record: AvroRecord = { kind: 'record', ...named, fields }
    if (record.brand !== undefined) throw new Refused(path, 'a record cannot have a brand', 'Brand the numbers and texts in it.')
    this.names.set(record.name, record)
    this.records.push({ record, path })
    const list = json.fields
    if (!Array.isArray(list)) throw new Refused(path, `record "${record.name}" must have a list of fields`)
    if (list.length > SCHEMA_LIMITS.fieldsPerRecord)
      throw new Refused(path, `a record must not have more than ${SCHEMA_LIMITS.fieldsPerRecord} fields`)
    const namespace = record.name.slice(0, Math.max(0, record.name.lastIndexOf('.')))
    const seen = new Set<string>()
    list.forEach((field: unknown, i) => {
      const at = [...path, 'fields', i]
      if (typeof field !== 'object' || field === null || Array.isArray(field)) throw new Refused(at, 'a field must be an object')
      const json = field as Json
      const name = checkedName(json.name, 'a field', at)
      if (seen.has(name)) throw new Refused(at, `record "${record.name}" has field "${name}" twice`)
      seen.add(name)
      fields.push({
        name,
        type: marked(this.type(json.type, namespace, [...at, 'type']), ownMarks(json), at),
        aliases: names(json.aliases, 'an alias', at),
        doc: textOf(json.doc),
        default: 'default' in json ? { json: json.default } : undefined,
      })
    })
    return record
  }

  private enum(json: Json, namespace: string, path: Path): AvroEnum {
    const named = this.name(json, namespace, path)
    const symbols = names(json.symbols, 'a symbol', path)
    if (symbols.length === 0) throw new Refused(path, `enum "${named.name}" must have symbols`)
    if (new Set(symbols).size !== symbols.length) throw new Refused(path, `enum "${named.name}" has a symbol twice`)
    const fallback = json.default
    if (fallback !== undefined && !symbols.includes(fallback as string))
      throw new Refused(path, `the default of enum "${named.name}" is not one of its symbols`)
    const type: AvroEnum = { kind: 'enum', ...named, symbols, default: fallback as string | undefined }
    this.names.set(type.name, type)
    return type
  }

  private fixed(json: Json, namespace: string, path: Path): AvroFixed {
    const named = this.name(json, namespace, path)
    const size = json.size
    if (!Number.isInteger(size) || (size as number) < 0 || (size as number) > SCHEMA_LIMITS.fixed)
      throw new Refused(path, `the size of fixed "${named.name}" must be an integer from 0 to ${SCHEMA_LIMITS.fixed}`)
    const type: AvroFixed = { kind: 'fixed', ...named, size: size as number }
    this.names.set(type.name, type)
    return type
  }

  private name(json: Json, outer: string, path: Path): Named {
    this.count(path)
    const given = json.name
    if (typeof given !== 'string') throw new Refused(path, `a ${String(json.type)} must have a name`)
    const dot = given.lastIndexOf('.')
    const namespace = dot >= 0 ? given.slice(0, dot) : typeof json.namespace === 'string' ? json.namespace : outer
    if (namespace !== '') for (const part of namespace.split('.')) checkedName(part, 'a namespace', path)
    // The library resolves names only against the namespace around them, so such a type could be defined but never found again.
    if (namespace === '' && outer !== '')
      throw new Refused(path, `type "${given.slice(0, 255)}" must not leave the namespace "${outer}"`, 'Give it a namespace.')
    const qualified = (name: string): string => (namespace === '' || name.includes('.') ? name : `${namespace}.${name}`)
    const name = qualified(checkedName(given.slice(dot + 1), `a ${String(json.type)}`, path))
    if (PRIMITIVES.has(shortName(name))) throw new Refused(path, `"${name}" is the name of a primitive type`)
    if (this.names.has(name)) throw new Refused(path, `type "${name}" is defined twice`, 'Refer to it by its name the second time.')
    const aliases = Array.isArray(json.aliases) ? (json.aliases as unknown[]) : []
    for (const alias of aliases) for (const part of String(alias).split('.')) checkedName(part, 'an alias', path)
    return { name, aliases: aliases.map((alias) => qualified(String(alias))), doc: textOf(json.doc), ...marks(json, path) }
  }

  private count(path: Path): void {
    if (++this.types > SCHEMA_LIMITS.types) throw new Refused(path, `a schema must not define more than ${SCHEMA_LIMITS.types} types`)
  }
}

/** Gives the marks of a field or of a wrapped type to the one value in it: a primitive, an enum, a fixed, or such a one in a union with null. */
function marked(type: AvroType, json: Json, path: Path): AvroType {
  const { brand, logical } = marks(json, path)
  const big = json['tidemark.type']
  if (big !== undefined && big !== 'bigint') throw new Refused(path, '"tidemark.type" knows only "bigint"')
  if (brand === undefined && logical === undefined && big === undefined) return type
  if (type.kind === 'union') {
    const values = type.branches.filter((branch) => branch.kind !== 'null')
    if (values.length === 1) {
      return { kind: 'union', branches: type.branches.map((branch) => (branch.kind === 'null' ? branch : marked(branch, json, path))) }
    }
  } else if (type.kind === 'long' || (big === undefined && type.kind !== 'array' && type.kind !== 'map' && type.kind !== 'record')) {
    const marksOfAll = { brand: brand ?? type.brand, logical: logical ?? type.logical }
    return 'name' in type ? { ...type, ...marksOfAll } : { ...type, ...marksOfAll, big: type.big || big === 'bigint' }
  }
  if (big !== undefined) throw new Refused(path, '"tidemark.type": "bigint" is for a long, or for a union of null and a long')
  if (brand !== undefined)
    throw new Refused(path, '"tidemark.brand" is for a number, a text, bytes or an enum', 'Put it on the items or fields inside.')
  return type
}

function marks(json: Json, path: Path): { readonly brand: string | undefined; readonly logical: string | undefined } {
  const brand = json['tidemark.brand']
  if (brand !== undefined && (typeof brand !== 'string' || !NAME.test(brand))) throw new Refused(path, '"tidemark.brand" must be a name')
  return { brand, logical: textOf(json.logicalType) }
}

/** A logical type belongs to a type; beside the type of a field it means nothing, in Avro as here. */
function ownMarks(field: Json): Json {
  return { ...field, logicalType: undefined }
}

function checkedName(name: unknown, of: string, path: Path): string {
  if (typeof name !== 'string' || !NAME.test(name))
    throw new Refused(path, `the name of ${of} must be letters, digits and underscores, not ${saw(name)}`)
  // Such a name would find the method of that name on every plain object that the library looks it up in.
  if (name in Object.prototype)
    throw new Refused(path, `${of} must not be named "${name}"`, 'Every JavaScript object has this name already.')
  return name
}

function names(list: unknown, of: string, path: Path): readonly string[] {
  if (list === undefined) return []
  if (!Array.isArray(list)) throw new Refused(path, `${of} must stand in a list`)
  return list.map((name) => checkedName(name, of, path))
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function saw(value: unknown): string {
  return typeof value === 'string'
    ? JSON.stringify(value.slice(0, 255))
    : value === null
      ? 'null'
      : Array.isArray(value)
        ? 'a list'
        : typeof value
}

function jsonLength(schema: unknown): number | undefined {
  try {
    return (JSON.stringify(schema) as string | undefined)?.length
  } catch {
    return undefined
  }
}
