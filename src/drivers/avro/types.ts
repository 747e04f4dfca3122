/** Avro types as avsc runs them, built from what the lint has understood; and in words, what of a value does not fit one. */
import avsc from 'avsc'
import { type AvroType, IN_JAVASCRIPT } from '../../base/avro.ts'
import { plainSchema } from '../../base/avro-canonical.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { BigLong, Bytes, Double, Enum, Fixed, Float, Long, PlainMap, PlainRecord, Text, Union } from './avsc.ts'

export type AvscType = avsc.Type

const OWN: ReadonlyMap<string, AvscType> = new Map<string, AvscType>([
  ['long', new Long()],
  ['string', new Text()],
  ['bytes', new Bytes()],
  ['float', new Float()],
  ['double', new Double()],
])
const BIG_LONG = new BigLong()

function ownType(schema: unknown, options: object): AvscType | undefined {
  if (typeof schema === 'string') return OWN.get(schema)
  if (Array.isArray(schema)) return unionOf(schema, options)
  const json = schema as { readonly type: string; readonly 'tidemark.type'?: string }
  if (json['tidemark.type'] === 'bigint') return BIG_LONG
  if (json.type === 'record') return new PlainRecord(schema, options)
  if (json.type === 'map') return new PlainMap(schema, options)
  if (json.type === 'enum') return new Enum(schema, options)
  if (json.type === 'fixed') return new Fixed(schema, options)
  return OWN.get(json.type)
}

/** As avsc chooses: where two branches look alike in JavaScript, a value is wrapped in an object whose key names its branch. */
function unionOf(schema: readonly unknown[], options: object): AvscType {
  const types = schema.map((branch) => avsc.Type.forSchema(branch as never, options))
  const kinds = types.map((type) => (type === BIG_LONG ? 'bigint' : IN_JAVASCRIPT[type.typeName as AvroType['kind']]))
  return new Set(kinds).size === kinds.length ? new Union(types, options) : new avsc.types.WrappedUnionType(types as never, options)
}

/**
 * The type that avsc runs. It is built from what the lint has understood, so nothing else of a schema reaches generated code.
 * @param big give longs that are declared so as bigints; a writer's are only skipped or resolved
 * @throws TidemarkError SCHEMA_INVALID when a default does not fit its field
 */
export function avscType(type: AvroType, { big }: { readonly big: boolean }): AvscType {
  try {
    return avsc.Type.forSchema(plainSchema(type, { big }) as never, { typeHook: ownType, omitRecordMethods: true })
  } catch (error) {
    throw new TidemarkError('SCHEMA_INVALID', 'a schema contradicts itself', { detail: `${messageOf(error).slice(0, 500)}.` })
  }
}

/** Which field of a value does not fit, what it must be and what it is. Tells nothing of the value but its type. */
export function misfitOf(type: AvscType, value: unknown): string {
  let found: string | undefined
  try {
    type.isValid(value, {
      errorHook: (path, value, type) => {
        found ??= `${path.length === 0 ? 'It' : `Field "${path.join('.')}"`} must be ${wanted(type)}, not ${given(value, type)}.`
      },
    })
  } catch {
    found ??= 'It is nested too deep, or contains itself.'
  }
  return found ?? 'It changed while it was written.'
}

function wanted(type: AvscType): string {
  if ('types' in type) return (type.types as readonly AvscType[]).map(wanted).join(' or ')
  if ('symbols' in type) return `one of ${(type.symbols as readonly string[]).join(', ')}`
  return type === BIG_LONG ? 'a bigint of 64 bits' : (type.branchName ?? type.typeName)
}

function given(value: unknown, type: AvscType): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (typeof value === 'string' && 'symbols' in type) return 'another string'
  if (typeof value !== 'number' || (type.typeName !== 'int' && type.typeName !== 'long')) return typeof value
  return Number.isInteger(value) ? 'one beyond its range' : 'a number that is not whole'
}
