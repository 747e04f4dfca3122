import { describe, expect, it } from 'vitest'
import type { AvroSchema } from '../../../src/base/avro.ts'
import { events, field, framed, plain, schemaOf, thrown } from './rig.ts'

const V1 = schemaOf('orders.OrderPlaced', [field('id', 'string'), field('lines', 'int')])
const V2 = schemaOf('orders.OrderPlaced', [field('id', 'string'), field('lines', 'int'), field('channel', 'string', { default: 'web' })])
const V3 = schemaOf('orders.OrderPlaced', [
  field('id', 'string'),
  field('lines', 'long'),
  field('gift', 'boolean'),
  field('source', 'string'),
])

describe('a record of another version', () => {
  it('has the default of the reader where its writer knew no such field', async () => {
    const { decode, write } = await events({ OrderPlaced: V2 })
    const id = await write(V1)
    expect(decode(framed(id, V1, { id: 'o', lines: 2 }))).toEqual({ type: 'OrderPlaced', id: 'o', lines: 2, channel: 'web' })
  })

  it('is read without the fields that its reader does not know, and these are counted', async () => {
    const { codec, decode, write, encode } = await events({
      OrderPlaced: schemaOf('OrderPlaced', [field('id', 'string'), field('lines', 'double')]),
    })
    const id = await write(V3)
    const bytes = framed(id, V3, { id: 'o', lines: 2, gift: true, source: 'x' })
    expect(decode(bytes)).toEqual({ type: 'OrderPlaced', id: 'o', lines: 2 })
    expect(codec.unknownFields(bytes, 0, bytes.length)).toBe(2)
    const own = encode({ type: 'OrderPlaced', id: 'o', lines: 2 })
    expect(codec.unknownFields(own, 0, own.length)).toBe(0)
  })

  it('counts a field that is only not asked for as known', async () => {
    const { codec, write } = await events({ OrderPlaced: V2 }, { fields: ['id'] })
    const bytes = framed(await write(V2), V2, { id: 'o', lines: 2, channel: 'web' })
    expect(codec.unknownFields(bytes, 0, bytes.length)).toBe(0)
  })

  it('gives each new default a value of its own', async () => {
    const { decode, write } = await plain(
      schemaOf('R', [
        field('tags', { type: 'map', values: 'int' }, { default: {} }),
        field('list', { type: 'array', items: 'int' }, { default: [1] }),
      ]),
    )
    const older = schemaOf('R', [])
    const bytes = framed(await write(older), older, {})
    const first = decode(bytes) as { tags: Record<string, number>; list: number[] }
    first.tags.a = 1
    first.list.push(2)
    expect(decode(bytes)).toEqual({ tags: {}, list: [1] })
    expect(Object.getPrototypeOf(first.tags)).toBeNull()
  })

  it.each<[unknown, unknown, unknown, unknown]>([
    ['int', 'long', 7, 7],
    ['int', 'double', 7, 7],
    ['int', { type: 'long', 'tidemark.type': 'bigint' }, -7, -7n],
    ['long', { type: 'long', 'tidemark.type': 'bigint' }, 2 ** 40, 2n ** 40n],
    [{ type: 'long', 'tidemark.type': 'bigint' }, 'long', 2n ** 40n, 2 ** 40],
    [{ type: 'long', 'tidemark.type': 'bigint' }, 'double', -(2n ** 53n) - 2n, -(2 ** 53) - 2],
    [{ type: 'long', 'tidemark.type': 'bigint' }, 'float', -(2n ** 53n) - 2n, -(2 ** 53)],
    ['float', 'double', 0.5, 0.5],
    ['string', 'bytes', 'ab', Buffer.from('ab')],
    ['bytes', 'string', Buffer.from('ab'), 'ab'],
    ['int', ['null', 'long'], 7, 7],
    [['null', 'int'], ['string', 'null', 'long'], null, null],
    [{ type: 'enum', name: 'E', symbols: ['A', 'B', 'C'] }, { type: 'enum', name: 'E', symbols: ['B', 'X'], default: 'X' }, 'C', 'X'],
    [{ type: 'array', items: 'int' }, { type: 'array', items: 'double' }, [1, 2], [1, 2]],
    [{ type: 'map', values: 'int' }, { type: 'map', values: 'double' }, { a: 1 }, { a: 1 }],
  ])('written as %j is read as %j', async (writer, reader, written, read) => {
    const from = await plain(schemaOf('R', [field('x', writer)]))
    const to = await plain(schemaOf('R', [field('x', reader)]), { writes: false })
    const id = await to.write(schemaOf('R', [field('x', writer)]))
    const bytes = from.encode({ x: written })
    bytes.writeUInt32BE(id, 1)
    expect(to.decode(bytes)).toEqual({ x: read })
  })

  it('of a plain value may be of any schema that resolves to the reader', async () => {
    const { decode, write } = await plain('double')
    expect(decode(framed(await write('int'), 'int', 7))).toBe(7)
    const bytes = framed(await write('string'), 'string', 'x')
    expect(thrown(() => decode(bytes))).toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: 'a record written as string cannot be read as double',
    })
  })
})

describe('the reader of a record', () => {
  const named = (name: string, aliases: string[] = []): AvroSchema => schemaOf(name, [field('id', 'string')], { aliases })

  it('is found by the short name of what it was written as, in whatever namespace', async () => {
    const { decode, write } = await events({ Placed: named('orders.OrderPlaced') })
    const foreign = named('com.acme.shop.OrderPlaced')
    expect(decode(framed(await write(foreign), foreign, { id: 'o' }))).toEqual({ type: 'Placed', id: 'o' })
  })

  it('is found by an alias, after those that have the name themselves', async () => {
    const { decode, write } = await events({ New: named('NewOrder', ['OrderPlaced', 'Bought']), Old: named('OrderPlaced') })
    for (const [name, type] of [
      ['OrderPlaced', 'Old'],
      ['Bought', 'New'],
      ['NewOrder', 'New'],
    ] as const) {
      const schema = named(`elsewhere.${name}`)
      expect(decode(framed(await write(schema), schema, { id: 'o' }))).toEqual({ type, id: 'o' })
    }
  })

  it('gets fields under their old names by aliases, so also a foreign field "type"', async () => {
    const { decode, write } = await events({ Paid: schemaOf('Paid', [field('kind', 'string', { aliases: ['type'] })]) })
    const foreign = schemaOf('Paid', [field('type', 'string')])
    expect(decode(framed(await write(foreign), foreign, { type: 'card' }))).toEqual({ type: 'Paid', kind: 'card' })
  })

  it('is refused when two could be meant', async () => {
    await expect(events({ A: named('a.Placed'), B: named('b.Placed') })).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
      message: 'two events read records named "Placed"',
    })
    await expect(events({ A: named('A', ['Placed']), B: named('B', ['x.Placed']) })).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
  })

  it('is missing for an event that the stream does not have, and the error names it', async () => {
    const { decode, write, codec } = await events({ OrderPlaced: V1 })
    const shipped = named('orders.OrderShipped')
    const bytes = framed(await write(shipped), shipped, { id: 'o' })
    const expected = { code: 'EVENT_UNKNOWN', message: 'a record was written as orders.OrderShipped, which is not an event of this stream' }
    expect(thrown(() => decode(bytes))).toMatchObject(expected)
    expect(thrown(() => codec.typeOf(bytes, 0, bytes.length))).toMatchObject(expected)
    const text = framed(await write('string'), 'string', 'x')
    expect(thrown(() => decode(text))).toMatchObject({ code: 'EVENT_UNKNOWN' })
  })

  it('refuses what it cannot resolve, and says what would help', async () => {
    const { decode, write } = await events({ OrderPlaced: V3 })
    const bytes = framed(await write(V1), V1, { id: 'o', lines: 2 })
    expect(thrown(() => decode(bytes))).toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: 'a record written as orders.OrderPlaced cannot be read as orders.OrderPlaced',
      detail: expect.stringContaining('no matching field for default-less orders.OrderPlaced.gift'),
      hint: expect.stringContaining('needs a default'),
    })
  })

  it('must not have a default that does not fit', async () => {
    await expect(plain(schemaOf('R', [field('a', 'int', { default: 'x' })]))).rejects.toMatchObject({
      code: 'SCHEMA_INVALID',
      message: 'a schema contradicts itself',
    })
  })
})
