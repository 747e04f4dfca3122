import avsc from 'avsc'
import { describe, expect, it } from 'vitest'
import type { AvroSchema } from '../../../src/base/avro.ts'
import { field, framed, plain, schemaOf, thrown, withId } from './rig.ts'

/** Longs in Avro binary, for bytes made by hand. */
const longs = (...values: number[]): Buffer => Buffer.concat(values.map((value) => avsc.Type.forSchema('long').toBuffer(value)))
const text = (value: string): Buffer => avsc.Type.forSchema('string').toBuffer(value)

async function refusal(schema: AvroSchema, value: Buffer): Promise<unknown> {
  const { decode } = await plain(schema)
  return thrown(() => decode(withId(1, value)))
}

const Line = schemaOf('Line', [field('sku', 'string'), field('quantity', 'int')])
const Node = schemaOf('Node', [field('next', ['null', 'Node'])])
const Tree = schemaOf('Tree', [field('children', { type: 'array', items: 'Tree' })])

describe('hostile bytes are refused with the field and the reason', () => {
  const cases: [string, AvroSchema, Buffer, string][] = [
    ['a value that ends early', Line, Buffer.from('0461', 'hex'), 'Field "sku": the value ends before it is whole. (schema id 1, Line)'],
    ['no value at all', Line, Buffer.alloc(0), 'Field "sku": the value ends before it is whole. (schema id 1, Line)'],
    ['bytes behind the value', Line, Buffer.concat([text('a'), longs(1, 7)]), '1 bytes follow the value. (schema id 1, Line)'],
    ['a length of four gigabytes', Line, longs(2 ** 32), 'Field "sku": the value ends before it is whole. (schema id 1, Line)'],
    ['a negative length', Line, longs(-5), 'Field "sku": a length is negative. (schema id 1, Line)'],
    ['a length without end', Line, Buffer.alloc(300, 0x80), 'Field "sku": the value ends before it is whole. (schema id 1, Line)'],
    [
      'an int of 33 bits',
      Line,
      Buffer.concat([text('a'), longs(2 ** 31)]),
      'Field "quantity": an int does not fit 32 bits. (schema id 1, Line)',
    ],
    ['a long of 65 bits', 'long', Buffer.from('ffffffffffffffffff02', 'hex'), 'A long does not fit 64 bits. (schema id 1, long)'],
    ['a long of eleven bytes', 'long', Buffer.from('8080808080808080808000', 'hex'), 'A long does not fit 64 bits. (schema id 1, long)'],
    [
      'a long beyond 2^53',
      schemaOf('R', [field('a', 'long')]),
      Buffer.from('ffffffffffffffffff01', 'hex'),
      'Field "a": a long is beyond 2^53. (schema id 1, R)',
    ],
    ['a boolean that is two', 'boolean', Buffer.from([2]), 'A boolean is neither 0 nor 1. (schema id 1, boolean)'],
    ['an unknown branch', ['null', 'string'], longs(2), 'There are 2 branches, and this is another. (schema id 1, union)'],
    ['a negative branch', ['null', 'string'], longs(-1), 'There are 2 branches, and this is another. (schema id 1, union)'],
    [
      'an unknown symbol',
      { type: 'enum', name: 'E', symbols: ['A'] },
      longs(1),
      'There are 1 symbols, and this is another. (schema id 1, E)',
    ],
    ['a short fixed', { type: 'fixed', name: 'F', size: 4 }, Buffer.alloc(3), 'The value ends before it is whole. (schema id 1, F)'],
    [
      'fifty million items in five bytes',
      { type: 'array', items: 'int' },
      longs(50_000_000),
      'A list claims more items than its bytes can hold. (schema id 1, array)',
    ],
    [
      'a count beyond 2^53',
      { type: 'array', items: 'int' },
      Buffer.from('feffffffffffffffff01', 'hex'),
      'A list claims more items than its bytes can hold. (schema id 1, array)',
    ],
    [
      'fifty million entries in five bytes',
      { type: 'map', values: 'null' },
      longs(50_000_000),
      'A list claims more items than its bytes can hold. (schema id 1, map)',
    ],
    [
      'a block of another size',
      { type: 'array', items: 'int' },
      longs(-2, 9, 1, 1, 0),
      'A block does not have the size that it states. (schema id 1, array)',
    ],
    [
      'a block of a negative size',
      { type: 'array', items: 'int' },
      longs(-2, -9, 1, 1, 0),
      'A block has a negative size. (schema id 1, array)',
    ],
    ['a list without an end', { type: 'array', items: 'int' }, longs(2, 1, 1), 'The value ends before it is whole. (schema id 1, array)'],
    [
      'an item that ends early',
      { type: 'array', items: Line },
      Buffer.concat([longs(2), text('a'), longs(1), text('bc'), Buffer.from([0x80])]),
      'Field "1.quantity": the value ends before it is whole. (schema id 1, array)',
    ],
    [
      'a chain of 65 records',
      Node,
      Buffer.concat([Buffer.alloc(64, 2), longs(0)]),
      `Field "${'next.'.repeat(63)}next": it nests deeper than 64 records. (schema id 1, Node)`,
    ],
    [
      'a tree of a million levels',
      Tree,
      Buffer.alloc(1_000_000, 2),
      `Field "${'children.0.'.repeat(63)}children.0": it nests deeper than 64 records. (schema id 1, Tree)`,
    ],
  ]
  it.each(cases)('%s', async (_, schema, value, detail) => {
    expect(await refusal(schema, value)).toMatchObject({ code: 'VALUE_INVALID', detail })
  })

  it('a million items of ten thousand parts', async () => {
    const item = schemaOf('Item', [field('a', 'int'), ...Array.from({ length: 998 }, (_, i) => field(`n${i}`, 'null'))])
    expect(await refusal({ type: 'array', items: item }, Buffer.concat([longs(1_000_000), Buffer.alloc(1_000_001, 0)]))).toMatchObject({
      code: 'VALUE_INVALID',
      detail: 'It has more than 1000000 values in it. (schema id 1, array)',
    })
  })

  it('64 records within each other are still read', async () => {
    const { decode, encode } = await plain(Node)
    const bytes = withId(1, Buffer.concat([Buffer.alloc(63, 2), longs(0)]))
    expect(encode(decode(bytes))).toEqual(bytes)
  })

  it('blocks with their sizes are read, as other writers make them', async () => {
    const { decode } = await plain({ type: 'array', items: 'int' })
    expect(decode(withId(1, longs(-2, 2, 5, 6, 1, 7, 0)))).toEqual([5, 6, 7])
    const map = await plain({ type: 'map', values: 'int' })
    expect(map.decode(withId(1, Buffer.concat([longs(-1, 3), text('a'), longs(5, 0)])))).toEqual({ a: 5 })
  })
})

describe('keys of a map', () => {
  it('cannot reach a prototype', async () => {
    const { decode } = await plain({ type: 'map', values: { type: 'map', values: 'string' } })
    const bytes = Buffer.concat([longs(1), text('__proto__'), longs(1), text('polluted'), text('yes'), longs(0, 0)])
    const decoded = decode(withId(1, bytes)) as Record<string, unknown>
    expect(decoded.polluted).toBeUndefined()
    expect(Object.getPrototypeOf(decoded)).toBeNull()
    expect(Object.keys(decoded)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('that every object has are keys like others, both ways', async () => {
    const { encode, decode } = await plain({ type: 'map', values: 'int' })
    const map = Object.create(null) as Record<string, number>
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) map[key] = 1
    expect(decode(encode(map))).toEqual(map)
    expect('toString' in (decode(encode({})) as object)).toBe(false)
  })
})

describe('one bad record does not harm the next', () => {
  it('with a length that made avsc lose all bytes afterwards', async () => {
    const { decode, encode } = await plain('bytes')
    expect(thrown(() => decode(withId(1, Buffer.concat([Buffer.alloc(200, 0x80), Buffer.from([0])]))))).toMatchObject({
      code: 'VALUE_INVALID',
    })
    expect(decode(encode(Buffer.from('hello')))).toEqual(Buffer.from('hello'))
  })

  it('with a long that a reader of other fields never looks at', async () => {
    const schema = schemaOf('R', [field('id', 'string'), field('huge', { type: 'long', 'tidemark.type': 'bigint' })])
    const { encode } = await plain(schema)
    const reader = await plain(schemaOf('R', [field('id', 'string')]), { writes: false })
    const id = await reader.write(schema)
    const bytes = encode({ id: 'a', huge: 2n ** 63n - 1n })
    bytes.writeUInt32BE(id, 1)
    expect(reader.decode(bytes)).toEqual({ id: 'a' })
  })
})

it('a record under the id of another schema is refused or has the shape of its reader', async () => {
  const { decode, write } = await plain(Line)
  const other = schemaOf('Line', [field('quantity', 'int'), field('sku', 'string')])
  const id = await write(other)
  expect(decode(framed(id, other, { quantity: 3, sku: 'a' }))).toEqual({ sku: 'a', quantity: 3 })
  expect(thrown(() => decode(framed(id, Line, { quantity: 3, sku: 'a' })))).toMatchObject({ code: 'VALUE_INVALID' })
})
