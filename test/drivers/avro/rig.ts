/** What the codec's tests share: a foreign producer (avsc as others use it), and codecs in one line. */
import avsc from 'avsc'
import type { AvroSchema } from '../../../src/base/avro.ts'
import { avroSerdes } from '../../../src/drivers/avro/index.ts'
import { memorySchemas } from '../../../src/drivers/schemas/index.ts'
import type { ValueCodec, ValueCodecSpec } from '../../../src/ports/serde.ts'

export const schemaOf = (name: string, fields: unknown[], more: object = {}): AvroSchema => ({ type: 'record', name, fields, ...more })
export const field = (name: string, type: unknown, more: object = {}): object => ({ name, type, ...more })

/** A value as another producer writes it under an id. */
export function framed(id: number, schema: unknown, value: unknown): Buffer {
  return withId(id, avsc.Type.forSchema(schema as never).toBuffer(value))
}

export function withId(id: number, bytes: Uint8Array): Buffer {
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(id, 1)
  return Buffer.concat([frame, bytes])
}

/** A codec of one plain value: what is written, what is read, and both. */
export async function plain(schema: AvroSchema, spec: Partial<ValueCodecSpec> = {}): Promise<Rig> {
  return rig({ readers: new Map([['', schema]]), tagged: false, fields: undefined, ...spec })
}

/** A codec of events by their names. */
export async function events(readers: Record<string, AvroSchema>, spec: Partial<ValueCodecSpec> = {}): Promise<Rig> {
  return rig({ readers: new Map(Object.entries(readers)), tagged: true, fields: undefined, ...spec })
}

export interface Rig {
  readonly codec: ValueCodec
  readonly encode: (value: unknown) => Buffer
  readonly decode: (bytes: Buffer) => unknown
  /** Registers a writer's schema and returns its id, which the codec then knows. */
  readonly write: (schema: AvroSchema) => Promise<number>
}

async function rig(spec: ValueCodecSpec): Promise<Rig> {
  const source = memorySchemas()
  const codec = await avroSerdes(source, { now: () => 0 }).values('values', spec)
  await codec.prepare([1, 2, 3, 4, 5].slice(0, spec.writes === false || spec.fields !== undefined ? 0 : spec.readers.size))
  return {
    codec,
    encode(value) {
      const needed = codec.encode(value, Buffer.alloc(0), 0)
      const bytes = Buffer.alloc(-needed)
      if (codec.encode(value, bytes, 0) !== bytes.length) throw new Error('the codec told a wrong length')
      return bytes
    },
    decode: (bytes) => codec.decode(bytes, 0, bytes.length),
    async write(schema) {
      const id = await source.idOf('writer', schema)
      await codec.prepare([id])
      return id
    },
  }
}

/** What a call throws. */
export function thrown(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  return undefined
}
