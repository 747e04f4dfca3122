/** The schemas that a codec makes values of, checked against each other, and the choice among them for what a record was written with. */
import { type AvroRecord, type AvroType, shortName } from '../../base/avro.ts'
import { canonicalSchema } from '../../base/avro-canonical.ts'
import { readSchema } from '../../base/avro-read.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { ValueCodecSpec } from '../../ports/serde.ts'
import { type AvscType, avscType } from './types.ts'

export interface Reader {
  /** Under which the codec knows it: an event type, or '' for a plain value. */
  readonly name: string
  readonly type: AvroType
  /** What values are made with: the whole type, or only the fields that the spec asks for. */
  readonly avsc: AvscType
  /** By which the same schema of a writer is known; undefined where only some fields are read. */
  readonly canonical: string | undefined
}

export class Readers {
  readonly all: readonly Reader[]
  private readonly byName = new Map<string, Reader>()
  private readonly byAlias = new Map<string, Reader>()
  private readonly plain: Reader | undefined

  /** @throws TidemarkError SCHEMA_INVALID */
  constructor({ readers, tagged, fields }: ValueCodecSpec) {
    if (readers.size === 0) throw new TypeError('a codec needs a reader')
    if (readers.size > 1 && (!tagged || readers.has('')))
      throw new TypeError('a codec of several readers must be tagged, and each must have a name')
    if (tagged && readers.has('')) throw new TypeError("a plain value has no name to be tagged with: its codec's reader is ''")
    this.all = [...readers].map(([name, schema]): Reader => {
      const type = readSchema(schema)
      if (name !== '' && type.kind !== 'record')
        throw refused(`event "${name}" must be an Avro record`, `Its schema is of type "${type.kind}".`)
      if (tagged) refuseTypeField(name, type as AvroRecord)
      if (fields === undefined) return { name, type, avsc: avscType(type, { big: true }), canonical: canonicalSchema(schema) }
      if (type.kind !== 'record') throw refused('only a record has fields to choose from', `The schema is of type "${type.kind}".`)
      return { name, type, avsc: avscType(onlyFields(type, fields), { big: true }), canonical: undefined }
    })
    for (const field of fields ?? []) {
      if (!this.all.some(({ type }) => type.kind === 'record' && type.fields.some(({ name }) => name === field)))
        throw refused(`no schema has a field "${field}"`, `The schemas are ${this.all.map(({ type }) => nameOf(type)).join(', ')}.`)
    }
    this.plain = readers.has('') ? this.all[0] : undefined
    this.index()
  }

  /** The reader for what was written as `type`, or undefined. Short names decide, the readers' own before their aliases. */
  of(type: AvroType): Reader | undefined {
    if (this.plain !== undefined || type.kind !== 'record') return this.plain
    return this.byName.get(shortName(type.name)) ?? this.byAlias.get(shortName(type.name))
  }

  named(name: unknown): Reader | undefined {
    return this.all.find((reader) => reader.name === name)
  }

  private index(): void {
    for (const reader of this.all) {
      if (reader === this.plain) continue
      const { name, aliases } = reader.type as AvroRecord
      claim(this.byName, shortName(name), reader)
      for (const alias of new Set(aliases.map(shortName))) claim(this.byAlias, alias, reader)
    }
  }
}

function claim(names: Map<string, Reader>, name: string, reader: Reader): void {
  const other = names.get(name)
  if (other !== undefined) throw refused(`two events read records named "${name}"`, `They are "${other.name}" and "${reader.name}".`)
  names.set(name, reader)
}

export function nameOf(type: AvroType): string {
  return 'name' in type ? type.name : type.kind
}

function refuseTypeField(name: string, type: AvroRecord): void {
  if (type.fields.some((field) => field.name === 'type')) {
    throw new TidemarkError('SCHEMA_INVALID', `event "${name}" must not have a field "type"`, {
      detail: 'In code, "type" tells the events of a stream apart.',
      hint: 'Read it under another name: {"name": "kind", "aliases": ["type"], ...}.',
    })
  }
}

/** The record under a name of its own, because inside a recursive record the whole one is needed too. It is found by its alias. */
function onlyFields(record: AvroRecord, fields: readonly string[]): AvroRecord {
  return {
    ...record,
    name: `${record.name}__fields`,
    aliases: [record.name, ...record.aliases],
    fields: record.fields.filter(({ name }) => fields.includes(name)),
  }
}

function refused(message: string, detail: string): TidemarkError {
  return new TidemarkError('SCHEMA_INVALID', message, { detail })
}

/** Top-level fields that a writer has and a reader does not know by name or alias. */
export function unknownFields(writer: AvroType, reader: AvroType): number {
  if (writer.kind !== 'record' || reader.kind !== 'record') return 0
  const known = new Set(reader.fields.flatMap(({ name, aliases }) => [name, ...aliases]))
  return writer.fields.filter(({ name }) => !known.has(name)).length
}
