/** Avro types as JSON again: for the library that runs them, and as the text by which two schemas are the same. */
import type { AvroField, AvroSchema, AvroType } from './avro.ts'
import { readSchema } from './avro-read.ts'

/**
 * A type as JSON again, with full names and only what decides bytes and resolution: no documentation, no attributes of others.
 * @param big keep `"tidemark.type": "bigint"`
 */
export function plainSchema(type: AvroType, { big }: { readonly big: boolean }): AvroSchema {
  const defined = new Set<string>()
  const plain = (type: AvroType): AvroSchema => {
    switch (type.kind) {
      case 'array':
        return { type: 'array', items: plain(type.items) }
      case 'map':
        return { type: 'map', values: plain(type.values) }
      case 'union':
        return type.branches.map(plain)
      case 'record':
      case 'enum':
      case 'fixed': {
        if (defined.has(type.name)) return type.name
        defined.add(type.name)
        const json: Record<string, unknown> = { type: type.kind, name: type.name }
        if (type.aliases.length > 0) json.aliases = type.aliases
        if (type.kind === 'enum') json.symbols = type.symbols
        if (type.kind === 'enum' && type.default !== undefined) json.default = type.default
        if (type.kind === 'fixed') json.size = type.size
        if (type.kind === 'record') json.fields = type.fields.map((field) => plainField(field, plain(field.type)))
        else if (type.logical !== undefined) json.logicalType = type.logical
        return json
      }
      default: {
        const json: Record<string, unknown> = { type: type.kind }
        if (type.logical !== undefined) json.logicalType = type.logical
        if (big && type.big) json['tidemark.type'] = 'bigint'
        return Object.keys(json).length === 1 ? type.kind : json
      }
    }
  }
  return plain(type)
}

function plainField(field: AvroField, type: AvroSchema): AvroSchema {
  const json: Record<string, unknown> = { name: field.name, type }
  if (field.default !== undefined) json.default = sorted(field.default.json)
  if (field.aliases.length > 0) json.aliases = field.aliases
  return json
}

function sorted(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(sorted)
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(
    Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [key, sorted(value)]),
  )
}

/**
 * One text for all schemas that read and write alike: full names, field order, defaults, aliases and logical types count;
 * documentation, spacing, the order of attributes and what only TypeScript sees (brand, bigint) do not.
 */
export function canonicalSchema(schema: AvroSchema): string {
  return JSON.stringify(plainSchema(readSchema(schema), { big: false }))
}
