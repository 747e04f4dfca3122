/** Values and their bytes. Decoding is synchronous: whatever must be asked for first (a schema) is asked for at the batch's edge. */

import type { AvroSchema } from '../base/avro.ts'

/** Where schemas and their ids come from: a folder, a registry. Ids are for ever: an id never names another schema. */
export interface SchemaSource {
  /** The schema of an id, or undefined when the source has answered that there is none. Rejects with SCHEMA_SOURCE_FAILED when it could not answer. */
  byId(id: number): Promise<AvroSchema | undefined>
  /**
   * The id of a schema under a subject, which is registered when it is new.
   * @throws TidemarkError SCHEMA_UNREGISTERED when it is new and the source only reads; SCHEMA_SOURCE_FAILED when it could not answer
   */
  idOf(subject: string, schema: AvroSchema): Promise<number>
}

/** A schema source that can also be one layer of several. */
export interface SchemaStore extends SchemaSource {
  /** Whether `idOf` may register. */
  readonly writable: boolean
  /** The id of a schema under a subject, or undefined when it is not registered. Changes nothing. */
  find(subject: string, schema: AvroSchema): Promise<number | undefined>
}

/** Which schemas a codec may meet and what it makes of them. */
export interface ValueCodecSpec {
  /** Reader schemas by the name under which a value is known (an event type; one entry '' for a plain value). */
  readonly readers: ReadonlyMap<string, AvroSchema>
  /** Give decoded values an own property `type` with the reader's name. */
  readonly tagged: boolean
  /** Decode only these top-level fields; undefined for all. Such a codec does not encode. */
  readonly fields: readonly string[] | undefined
  /**
   * Whether the codec will encode. Then its readers get their ids, and are registered where they are new, before the first record.
   * Default true; false for what others write, whose schemas are not ours to register.
   */
  readonly writes?: boolean
}

/**
 * Bytes to values and back, for one stream. Framed by Confluent's wire format: a zero byte, the schema id as four bytes, the value.
 * A decoded value shares no bytes with its input.
 */
export interface ValueCodec {
  /** Whether `prepare` could tell nothing new of this schema id: it is known, or lately known to be unknown. */
  readonly knows: (id: number) => boolean
  /** Asks the schema source for ids. An id without a schema is remembered as unknown for a while. */
  prepare(ids: readonly number[]): Promise<void>
  /**
   * @throws TidemarkError FRAMING_INVALID, SCHEMA_UNKNOWN, EVENT_UNKNOWN, SCHEMA_INCOMPATIBLE (the writer's schema cannot be read as the
   * reader's), SCHEMA_INVALID (the lint refuses the writer's schema), VALUE_INVALID
   */
  decode(bytes: Buffer, start: number, end: number): unknown
  /** The name under which `decode` would know the value, without decoding it. */
  typeOf(bytes: Buffer, start: number, end: number): string
  /**
   * Writes the framed value and returns the place after it, or the negative of the bytes that it would need; what was written is then
   * undefined, but only within `into`.
   * @throws TidemarkError VALUE_INVALID
   */
  encode(value: unknown, into: Buffer, at: number): number
  /** Refuses a value that `encode` could not write, without writing it. @throws TidemarkError VALUE_INVALID */
  check(value: unknown): void
  /** Fields in the writer's schema that the reader does not know, for a framed value. */
  unknownFields(bytes: Buffer, start: number, end: number): number
}

export interface Serdes {
  readonly schemas: SchemaSource
  /**
   * Makes a codec. A named schema is registered under its full name, so that one event has one id on every topic; `subject` is for a
   * schema without a name.
   * @throws TidemarkError SCHEMA_INVALID, SCHEMA_UNREGISTERED, SCHEMA_SOURCE_FAILED
   */
  values(subject: string, spec: ValueCodecSpec): Promise<ValueCodec>
}
