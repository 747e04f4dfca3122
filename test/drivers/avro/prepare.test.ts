import { describe, expect, it } from 'vitest'
import type { AvroSchema } from '../../../src/base/avro.ts'
import { TidemarkError } from '../../../src/base/errors.ts'
import { avroSerdes } from '../../../src/drivers/avro/index.ts'
import type { SchemaSource } from '../../../src/ports/serde.ts'
import { framed, thrown } from './rig.ts'

/** A source that counts, waits to be let go, and fails on demand. */
class Source implements SchemaSource {
  /** 1 is what the codecs write themselves, 2 is somebody else's. */
  readonly schemas = new Map<number, AvroSchema>([
    [1, 'string'],
    [2, 'string'],
  ])
  readonly asked: number[] = []
  readonly registered: string[] = []
  failure: Error | undefined
  open = 0
  openMax = 0

  async byId(id: number): Promise<AvroSchema | undefined> {
    this.asked.push(id)
    this.openMax = Math.max(this.openMax, ++this.open)
    await Promise.resolve()
    this.open--
    if (this.failure !== undefined) throw this.failure
    return this.schemas.get(id)
  }

  async idOf(subject: string): Promise<number> {
    if (this.failure !== undefined) throw this.failure
    this.registered.push(subject)
    return 1
  }
}

const spec = { readers: new Map<string, AvroSchema>([['', 'string']]), tagged: false, fields: undefined }

describe('preparing for schema ids', () => {
  it('asks once for an id, whoever asks for it and when', async () => {
    const source = new Source()
    const serdes = avroSerdes(source, { now: () => 0 })
    const [a, b] = await Promise.all([serdes.values('a', spec), serdes.values('b', spec)])
    await Promise.all([a.prepare([2, 2]), b.prepare([2]), a.prepare([2])])
    await a.prepare([2])
    expect(source.asked).toEqual([2])
    expect(a.knows(2) && b.knows(2)).toBe(true)
    const bytes = framed(2, 'string', 'x')
    expect(b.decode(bytes, 0, bytes.length)).toBe('x')
  })

  it('never asks for the id of a schema that it writes itself', async () => {
    const source = new Source()
    const codec = await avroSerdes(source, { now: () => 0 }).values('a', spec)
    expect(codec.knows(1)).toBe(true)
    await codec.prepare([1])
    expect(source.asked).toEqual([])
  })

  it('asks for an unknown id again only after a minute', async () => {
    const source = new Source()
    let now = 1000
    const codec = await avroSerdes(source, { now: () => now }).values('a', spec)
    const bytes = framed(9, 'string', 'x')
    await codec.prepare([9])
    expect(codec.knows(9)).toBe(true)
    expect(thrown(() => codec.decode(bytes, 0, bytes.length))).toMatchObject({ code: 'SCHEMA_UNKNOWN' })
    source.schemas.set(9, 'string')
    now += 59_999
    await codec.prepare([9])
    expect(source.asked).toEqual([9])
    now += 1
    expect(codec.knows(9)).toBe(false)
    await codec.prepare([9])
    expect(codec.decode(bytes, 0, bytes.length)).toBe('x')
    expect(source.asked).toEqual([9, 9])
  })

  it('asks for an unknown id every time without a clock', async () => {
    const source = new Source()
    const codec = await avroSerdes(source).values('a', spec)
    await codec.prepare([9])
    expect(codec.knows(9)).toBe(false)
    await codec.prepare([9])
    expect(source.asked).toEqual([9, 9])
  })

  it('forgets a failure, so that the caller may ask again', async () => {
    const source = new Source()
    const codec = await avroSerdes(source, { now: () => 0 }).values('a', spec)
    source.failure = new Error('connection refused')
    await expect(codec.prepare([2])).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      detail: 'The question was for schema id 2. connection refused',
      cause: source.failure,
    })
    expect(codec.knows(2)).toBe(false)
    source.failure = undefined
    await codec.prepare([2])
    expect(codec.knows(1)).toBe(true)
  })

  it('passes on the typed error of a source', async () => {
    const source = new Source()
    const serdes = avroSerdes(source, { now: () => 0 })
    source.failure = new TidemarkError('SCHEMA_UNREGISTERED', 'it is new')
    await expect(serdes.values('a', spec)).rejects.toBe(source.failure)
  })

  it('asks for a flood of ids a few at a time', async () => {
    const source = new Source()
    const codec = await avroSerdes(source, { now: () => 0 }).values('a', spec)
    await codec.prepare(Array.from({ length: 1000 }, (_, i) => i + 100))
    expect(source.asked.length).toBe(1000)
    expect(source.openMax).toBe(8)
  })

  it('remembers no more than ten thousand unknown ids', async () => {
    const source = new Source()
    const codec = await avroSerdes(source, { now: () => 0 }).values('a', spec)
    await codec.prepare(Array.from({ length: 10_001 }, (_, i) => i + 100))
    expect(codec.knows(100)).toBe(false)
    expect(codec.knows(101)).toBe(true)
  })

  it('refuses the records of a hostile schema, and not the question for it', async () => {
    const source = new Source()
    source.schemas
      .set(2, { type: 'array', items: 'null' })
      .set(3, { type: 'record', name: 'R', fields: [{ name: 'a', type: 'int', default: 'x' }] })
    const codec = await avroSerdes(source, { now: () => 0 }).values('a', spec)
    await codec.prepare([2, 3])
    for (const id of [2, 3]) {
      const bytes = framed(id, 'string', 'x')
      expect(thrown(() => codec.decode(bytes, 0, bytes.length))).toMatchObject({
        code: 'SCHEMA_INVALID',
        message: expect.stringContaining(`the schema of id ${id} is refused`),
      })
    }
  })
})

describe('making a codec', () => {
  it('registers a named schema under its own name and another under the subject', async () => {
    const source = new Source()
    const serdes = avroSerdes(source)
    await serdes.values('clicks', spec)
    const Placed = { type: 'record', name: 'orders.OrderPlaced', fields: [] }
    await serdes.values('orders.lifecycle.v1', { readers: new Map([['OrderPlaced', Placed]]), tagged: true, fields: undefined })
    expect(source.registered).toEqual(['clicks', 'orders.OrderPlaced'])
  })

  it('registers nothing for a codec that only reads', async () => {
    const source = new Source()
    const codec = await avroSerdes(source).values('clicks', { ...spec, writes: false })
    expect(source.registered).toEqual([])
    expect(() => codec.encode('x', Buffer.alloc(100), 0)).toThrow(TypeError)
  })

  it('rejects when the source cannot give an id', async () => {
    const source = new Source()
    source.failure = new Error('timeout')
    await expect(avroSerdes(source).values('clicks', spec)).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      detail: 'The question was for the id of "clicks". timeout',
    })
  })

  it('is a wrong call when values could not be told apart', async () => {
    const serdes = avroSerdes(new Source())
    const R = { type: 'record', name: 'R', fields: [] }
    const readers = (...names: string[]): Map<string, AvroSchema> => new Map(names.map((name) => [name, R]))
    await expect(serdes.values('x', { readers: readers(), tagged: false, fields: undefined })).rejects.toThrow(TypeError)
    await expect(serdes.values('x', { readers: readers('a', 'b'), tagged: false, fields: undefined })).rejects.toThrow(TypeError)
    await expect(serdes.values('x', { readers: readers('', 'b'), tagged: true, fields: undefined })).rejects.toThrow(TypeError)
    await expect(serdes.values('x', { readers: readers(''), tagged: true, fields: undefined })).rejects.toThrow(TypeError)
    const event = { readers: new Map<string, AvroSchema>([['E', 'string']]), tagged: true, fields: undefined }
    await expect(serdes.values('x', event)).rejects.toMatchObject({ code: 'SCHEMA_INVALID', message: 'event "E" must be an Avro record' })
  })
})
