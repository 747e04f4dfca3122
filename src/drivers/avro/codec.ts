/**
 * Values and their Avro bytes, framed as Confluent's serializers do it: a zero byte, the schema id as four bytes, the value.
 *
 * A writer's schema is matched to a reader once an id and codec; a record then costs a look at the last id, one walk (`Scan`) and one
 * decode. Every refusal is a typed error that names the field and never shows a value.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { ValueCodec } from '../../ports/serde.ts'
import type { KnownSchemas, Written } from './known.ts'
import { nameOf, type Reader, type Readers, unknownFields } from './readers.ts'
import { Scan, type Scannable } from './scan.ts'
import { type AvscType, misfitOf } from './types.ts'

/** Bytes before the value. */
const FRAME = 5
/** A larger buffer was for one large value and is let go. */
const SCRATCH_KEPT_MAX = 64 * 1024

/** What one writer's schema is to one codec. */
interface Match {
  readonly reader: Reader
  readonly resolver: ReturnType<AvscType['createResolver']> | undefined
  readonly scan: Scannable
  readonly unknownFields: number
  /** For errors. */
  readonly writer: string
}

/** What a value is written as. */
export interface WriterSchema {
  readonly id: number
  readonly avsc: AvscType
  readonly scan: Scannable
}

export class AvroCodec implements ValueCodec {
  readonly knows: (id: number) => boolean
  private readonly readers: Readers
  private readonly schemas: KnownSchemas
  private readonly writers: ReadonlyMap<string, WriterSchema>
  private readonly tagged: boolean
  private readonly matches = new Map<number, Match>()
  private readonly scan = new Scan()
  private scratch = Buffer.allocUnsafe(256)
  private lastId = -1
  private last: Match | undefined

  /** @param writers by reader name; empty for a codec that only decodes */
  constructor(readers: Readers, schemas: KnownSchemas, writers: ReadonlyMap<string, WriterSchema>, tagged: boolean) {
    this.readers = readers
    this.schemas = schemas
    this.writers = writers
    this.tagged = tagged
    this.knows = (id) => schemas.settled(id)
  }

  prepare(ids: readonly number[]): Promise<void> {
    return this.schemas.ask(ids)
  }

  decode(bytes: Buffer, start: number, end: number): unknown {
    const match = this.match(bytes, start, end)
    const { reader, scan } = match
    if (!this.scan.check(scan, bytes, start + FRAME, end)) throw misfit(match, this.scan.why())
    let decoded: { readonly value: unknown; readonly offset: number }
    try {
      decoded = reader.avsc.decode(bytes, start + FRAME, match.resolver)
    } catch (error) {
      throw this.unreadable(match, bytes, start, end, error)
    }
    if (decoded.offset !== end) throw misfit(match, 'It was read to another end than its own.')
    if (this.tagged) (decoded.value as { type: string }).type = reader.name
    return decoded.value
  }

  typeOf(bytes: Buffer, start: number, end: number): string {
    return this.match(bytes, start, end).reader.name
  }

  unknownFields(bytes: Buffer, start: number, end: number): number {
    return this.match(bytes, start, end).unknownFields
  }

  encode(value: unknown, into: Buffer, at: number): number {
    const writer = this.writer(value)
    let end: number
    try {
      end = writer.avsc.encode(value, into, at + FRAME)
    } catch {
      // The library's own error would show the value.
      throw invalid(misfitOf(writer.avsc, value), writer)
    }
    if (end < 0) return at + end - into.length
    if (end - at - FRAME > writer.scan.harmlessBytes && !this.scan.check(writer.scan, into, at + FRAME, end))
      throw invalid(this.scan.why(), writer)
    into[at] = 0
    into.writeUInt32BE(writer.id, at + 1)
    return end
  }

  check(value: unknown): void {
    const writer = this.writer(value)
    if (writer.scan.bounded) {
      if (!fits(writer.avsc, value)) throw invalid(misfitOf(writer.avsc, value), writer)
      return
    }
    // Whether lists are too large or records too deep is known only from their bytes.
    const end = this.encode(value, this.scratch, 0)
    if (end >= 0) return
    const larger = Buffer.allocUnsafe(-end)
    this.encode(value, larger, 0)
    if (larger.length <= SCRATCH_KEPT_MAX) this.scratch = larger
  }

  private writer(value: unknown): WriterSchema {
    const name = this.tagged ? (value as { readonly type?: unknown } | null | undefined)?.type : this.readers.all[0]?.name
    const writer = this.writers.get(name as string)
    if (writer !== undefined) return writer
    if (this.writers.size === 0) throw new TypeError('this codec only decodes: it reads some fields only, or was made with "writes: false"')
    throw invalid(`Field "type" must be ${[...this.writers.keys()].map((name) => `"${name}"`).join(' or ')}.`)
  }

  private match(bytes: Buffer, start: number, end: number): Match {
    if (end - start < FRAME || bytes[start] !== 0) throw framing(bytes, start, end)
    const id = bytes.readUInt32BE(start + 1)
    if (id === this.lastId) return this.last as Match
    const match = this.matches.get(id) ?? this.matched(id)
    this.lastId = id
    this.last = match
    return match
  }

  private matched(id: number): Match {
    const written = this.schemas.get(id)
    if (written === undefined) {
      throw new TidemarkError('SCHEMA_UNKNOWN', `schema id ${id} is not known`, {
        detail: 'The schema source has no schema of this id, or was not asked for it.',
        hint: 'Was the record written with another schema registry or catalogue?',
      })
    }
    if ('refused' in written) {
      const { message, detail, hint } = written.refused
      throw new TidemarkError('SCHEMA_INVALID', `the schema of id ${id} is refused: ${message}`, { detail, hint })
    }
    const reader = this.readers.of(written.type)
    if (reader === undefined) {
      throw new TidemarkError('EVENT_UNKNOWN', `a record was written as ${nameOf(written.type)}, which is not an event of this stream`, {
        detail: `Its schema id is ${id}. The events are ${this.readers.all.map(({ name }) => name).join(', ')}.`,
        hint: 'Add it to the contract, or give the event that replaces it an alias of this name.',
        type: nameOf(written.type),
      })
    }
    const match: Match = {
      reader,
      resolver: written.canonical === reader.canonical ? undefined : resolver(reader, written, id),
      scan: written.scan,
      unknownFields: unknownFields(written.type, reader.type),
      writer: `schema id ${id}, ${nameOf(written.type)}`,
    }
    this.matches.set(id, match)
    return match
  }

  /** The walk found the bytes whole, so it is a long beyond what its reader can hold, or an enum without a counterpart. */
  private unreadable(match: Match, bytes: Buffer, start: number, end: number, error: unknown): TidemarkError {
    const found = !this.scan.check(match.scan, bytes, start + FRAME, end, true)
    return misfit(match, found ? this.scan.why() : `${messageOf(error)}.`)
  }
}

function fits(type: AvscType, value: unknown): boolean {
  try {
    return type.isValid(value)
  } catch {
    // A getter of the value threw; writing it would fail as well.
    return false
  }
}

function resolver(reader: Reader, { avsc, type }: Exclude<Written, { refused: unknown }>, id: number): Match['resolver'] {
  try {
    return reader.avsc.createResolver(avsc, { ignoreNamespaces: true })
  } catch (error) {
    throw new TidemarkError('SCHEMA_INCOMPATIBLE', `a record written as ${nameOf(type)} cannot be read as ${nameOf(reader.type)}`, {
      detail: `Schema id ${id}: ${messageOf(error).slice(0, 500)}.`,
      hint: 'A field of ours that the writer does not have needs a default; one under another name there needs an alias.',
    })
  }
}

function framing(bytes: Buffer, start: number, end: number): TidemarkError {
  const first = bytes[start]
  const json = first === 0x7b || first === 0x5b || first === 0x22
  return new TidemarkError('FRAMING_INVALID', 'a value is not framed with a schema id', {
    detail:
      end - start < FRAME && (end <= start || first === 0)
        ? `It has ${end - start} bytes, and the frame alone takes ${FRAME}.`
        : `It starts with the byte 0x${(first as number).toString(16).padStart(2, '0')} instead of 0x00.`,
    hint: json ? 'It looks like JSON. Its producer must write Avro with a schema id before it.' : undefined,
  })
}

function misfit({ reader, writer }: Match, why: string): TidemarkError {
  return new TidemarkError('VALUE_INVALID', `a value is not a whole ${nameOf(reader.type)}`, { detail: `${why} (${writer})` })
}

function invalid(detail: string, writer?: WriterSchema): TidemarkError {
  const name = writer?.avsc.name
  return new TidemarkError('VALUE_INVALID', `a value does not fit its schema${name === undefined ? '' : ` (${name})`}`, { detail })
}
