/**
 * Avro serdes over a schema source.
 *
 * Promised: a record costs no question, no new type and no new resolver, only the first of each schema id does; hostile bytes cost
 * one pass and a typed error. Not promised: a text that is not valid UTF-8 is not refused, its wrong bytes become U+FFFD; a writer's
 * schema that is a union of events at its top has no name by which an event's reader could be found, so it is EVENT_UNKNOWN.
 * A union of which two branches look alike in JavaScript (two records, two numbers) is a value wrapped in an object whose only key
 * is the branch's full name, as in Avro's JSON encoding; any other union is the value itself.
 */
import type { AvroSchema } from '../../base/avro.ts'
import type { SchemaSource, Serdes, ValueCodec, ValueCodecSpec } from '../../ports/serde.ts'
import { AvroCodec, type WriterSchema } from './codec.ts'
import { KnownSchemas, sourceFailed } from './known.ts'
import { type Reader, Readers } from './readers.ts'
import { scannable } from './scan.ts'

export interface AvroOptions {
  /**
   * A clock in ms that never goes back. With it, an id that the source does not have is asked for again only after a minute;
   * without it, at every `prepare` that meets it.
   */
  readonly now?: () => number
}

/**
 * @example const codec = await avroSerdes(memorySchemas()).values('', { readers: new Map([['', 'string']]), tagged: false, fields: undefined })
 */
export function avroSerdes(source: SchemaSource, options: AvroOptions = {}): Serdes {
  const schemas = new KnownSchemas(source, options.now)
  return {
    schemas: source,
    async values(subject: string, spec: ValueCodecSpec): Promise<ValueCodec> {
      const readers = new Readers(spec)
      const writers = new Map<string, WriterSchema>()
      if (spec.writes !== false && spec.fields === undefined) {
        for (const reader of readers.all) writers.set(reader.name, await writerSchema(subject, spec, reader))
      }
      return new AvroCodec(readers, schemas, writers, spec.tagged)
    },
  }

  async function writerSchema(subject: string, spec: ValueCodecSpec, { name, type, avsc }: Reader): Promise<WriterSchema> {
    const ownName = 'name' in type ? type.name : subject
    const schema = spec.readers.get(name) as AvroSchema
    const id = await source.idOf(ownName, schema).catch((error: unknown) => {
      throw sourceFailed(`The question was for the id of "${ownName}".`, error)
    })
    schemas.learn(id, schema)
    return { id, avsc, scan: scannable(type) }
  }
}
