import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import avsc from 'avsc'
import {
  array,
  assert,
  bigInt,
  boolean,
  constantFrom,
  dictionary,
  double,
  float,
  integer,
  maxSafeInteger,
  oneof,
  option,
  property,
  record,
  string,
  uint8Array,
} from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeOf, type TidemarkError } from '../../../src/base/errors.ts'
import { events, field, framed, plain, schemaOf, thrown, withId } from './rig.ts'

const OrderPlaced = schemaOf('orders.OrderPlaced', [
  field('orderId', 'string'),
  field('quantity', 'int'),
  field('placedAt', { type: 'long', logicalType: 'timestamp-millis' }),
  field('total', 'double'),
  field('weight', 'float'),
  field('gift', 'boolean'),
  field('channel', { type: 'enum', name: 'Channel', symbols: ['web', 'store'] }),
  field('note', ['null', 'string']),
  field('digest', { type: 'fixed', name: 'Digest', size: 4 }),
  field('blob', ['null', 'bytes']),
  field('position', ['null', 'long'], { 'tidemark.type': 'bigint' }),
  field('tags', { type: 'map', values: 'string' }),
  field('lines', { type: 'array', items: schemaOf('Line', [field('sku', 'string'), field('prices', { type: 'array', items: 'long' })]) }),
])
const order = {
  orderId: 'o-1',
  quantity: 3,
  placedAt: 1_291_161_600_000,
  total: 12.5,
  weight: 0.5,
  gift: true,
  channel: 'store',
  note: null,
  digest: Buffer.from('abcd'),
  blob: null,
  position: 2n ** 62n,
  tags: { colour: 'red' },
  lines: [{ sku: '85123A', prices: [255, 2 ** 40] }],
}

describe('an encoded value', () => {
  it('is framed as Confluent does it, with Avro binary behind', async () => {
    const { encode } = await plain(schemaOf('orders.Line', [field('sku', 'string'), field('quantity', 'int')]))
    expect(encode({ sku: 'a1', quantity: -2 }).toString('hex')).toBe('000000000104613103')
  })

  it('is what any other Avro reader reads', async () => {
    const { encode } = await plain(OrderPlaced)
    const bytes = encode({ ...order, position: null })
    const read = avsc.Type.forSchema(OrderPlaced as never).fromBuffer(bytes.subarray(5)) as object
    expect({ ...read }).toEqual({ ...order, position: null })
  })

  it('is decoded to the same value', async () => {
    const { encode, decode } = await plain(OrderPlaced)
    const values = record({
      orderId: string({ unit: 'binary' }).map((text) => text.toWellFormed()),
      quantity: integer(),
      placedAt: maxSafeInteger(),
      total: double(),
      weight: float(),
      gift: boolean(),
      channel: constantFrom('web', 'store'),
      note: option(string()),
      digest: uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
      blob: option(uint8Array().map((bytes) => Buffer.from(bytes))),
      position: option(bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
      tags: dictionary(string(), string()),
      lines: array(record({ sku: string({ maxLength: 80 }), prices: array(maxSafeInteger()) })),
    })
    assert(
      property(values, (value) => {
        expect(decode(encode(value))).toEqual(value)
      }),
      { numRuns: 300, seed: 7 },
    )
  })

  it('needs as many bytes as it says when the buffer is too short, at any place', async () => {
    const { codec, encode } = await plain(OrderPlaced)
    const whole = encode(order)
    for (let room = 0; room < whole.length; room++) {
      const into = Buffer.alloc(3 + room)
      expect(codec.encode(order, into, 3)).toBe(-whole.length)
    }
    const into = Buffer.alloc(3 + whole.length)
    expect(codec.encode(order, into, 3)).toBe(into.length)
    expect(into.subarray(3)).toEqual(whole)
  })

  it('leaves the bytes behind it alone', async () => {
    const { codec } = await plain('string')
    for (const text of ['', 'abc', 'ééé', 'é'.repeat(30), `${'x'.repeat(63)}é`, '漢字', '😀'.repeat(20), '\ud800']) {
      const into = Buffer.alloc(300, 0xaa)
      const end = codec.encode(text, into, 0)
      expect(into.subarray(end).every((byte) => byte === 0xaa)).toBe(true)
    }
  })

  it('takes any Uint8Array for bytes, also in a union', async () => {
    const { encode, decode } = await plain(OrderPlaced)
    const value = { ...order, digest: new Uint8Array([1, 2, 3, 4]), blob: new Uint8Array([5]) }
    expect(decode(encode(value))).toEqual({ ...order, digest: Buffer.from([1, 2, 3, 4]), blob: Buffer.from([5]) })
  })

  it('writes a default where a field is missing', async () => {
    const { encode, decode } = await plain(
      schemaOf('R', [field('a', 'int', { default: 7 }), field('b', 'long', { default: 9, 'tidemark.type': 'bigint' })]),
    )
    expect(decode(encode({}))).toEqual({ a: 7, b: 9n })
  })
})

describe('a decoded value', () => {
  it('shares no bytes with its input', async () => {
    const { encode, decode } = await plain(OrderPlaced)
    const value = { ...order, orderId: 'a text of more than ten characters', blob: Buffer.from('bytes') }
    const bytes = encode(value)
    const decoded = decode(bytes)
    bytes.fill(0)
    expect(decoded).toEqual(value)
  })

  it('is found at any place of a larger buffer', async () => {
    const { codec, encode } = await plain(OrderPlaced)
    const bytes = encode(order)
    const inside = Buffer.concat([Buffer.alloc(11, 0xff), bytes, Buffer.alloc(11, 0xff)])
    expect(codec.decode(inside, 11, 11 + bytes.length)).toEqual(order)
  })

  it('is a plain object, and its maps have no prototype', async () => {
    const { encode, decode } = await plain(OrderPlaced)
    const decoded = decode(encode(order)) as typeof order
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
    expect(Object.getPrototypeOf(decoded.lines[0])).toBe(Object.prototype)
    expect(Object.getPrototypeOf(decoded.tags)).toBeNull()
    expect(structuredClone(decoded)).toEqual({ ...order, digest: new Uint8Array(order.digest) })
  })

  it.each([-(2n ** 53n) + 1n, -(2n ** 52n) - 1n, 2n ** 52n + 1n, 2n ** 53n - 1n, -(2n ** 51n), 2n ** 51n, 0n, -1n])(
    'holds the long %i exactly',
    async (long) => {
      const number = await plain('long')
      const big = await plain({ type: 'long', 'tidemark.type': 'bigint' })
      const bytes = big.encode(long)
      expect(bytes.subarray(5)).toEqual(zigzag(long))
      expect(big.decode(bytes)).toBe(long)
      expect(number.encode(Number(long))).toEqual(bytes)
      expect(number.decode(bytes)).toBe(Number(long))
    },
  )

  it('holds every long of 64 bits as a bigint', async () => {
    const { encode, decode } = await plain({ type: 'long', 'tidemark.type': 'bigint' })
    assert(
      property(bigInt(-(2n ** 63n), 2n ** 63n - 1n), (long) => {
        const bytes = encode(long)
        expect(bytes.subarray(5)).toEqual(zigzag(long))
        expect(decode(bytes)).toBe(long)
      }),
      { numRuns: 500, seed: 11 },
    )
  })

  it('has U+FFFD for half a surrogate pair, whatever the length of the text', async () => {
    const { encode, decode } = await plain('string')
    for (const length of [0, 5, 70]) expect(decode(encode(`${'x'.repeat(length)}\ud800`))).toBe(`${'x'.repeat(length)}\ufffd`)
  })

  it('wraps the branches of a union that look alike, as Avro does in JSON', async () => {
    const union = [schemaOf('a.A', [field('x', 'int')]), schemaOf('a.B', [field('x', 'int')]), 'null', 'int', 'long']
    const { encode, decode } = await plain(schemaOf('a.R', [field('u', union)]))
    for (const u of [{ 'a.B': { x: 1 } }, { 'a.A': { x: 2 } }, { long: 3 }, null]) expect(decode(encode({ u }))).toEqual({ u })
  })

  it('tells bytes, bigints, numbers and texts of a union apart without wrapping', async () => {
    const union = [
      'null',
      'bytes',
      'double',
      'string',
      { type: 'long', 'tidemark.type': 'bigint' },
      { type: 'array', items: 'int' },
      { type: 'map', values: 'int' },
    ]
    const { encode, decode } = await plain(schemaOf('R', [field('u', union)]))
    for (const u of [null, Buffer.from('x'), 1.5, 'x', 2n ** 60n, [1], { a: 1 }]) expect(decode(encode({ u }))).toEqual({ u })
  })
})

describe('a tagged codec', () => {
  const Placed = schemaOf('orders.OrderPlaced', [field('id', 'string'), field('lines', 'int', { default: 1 })])
  const Cancelled = schemaOf('orders.OrderCancelled', [field('id', 'string'), field('reason', 'string')])

  it('writes an event by its type and gives the type back as an own property', async () => {
    const { codec, encode, decode } = await events({ OrderPlaced: Placed, OrderCancelled: Cancelled })
    const event = { type: 'OrderCancelled', id: 'o-1', reason: 'late' }
    const bytes = encode(event)
    const decoded = decode(bytes)
    expect(decoded).toStrictEqual(event)
    expect(Object.keys(decoded as object)).toContain('type')
    expect(codec.typeOf(bytes, 0, bytes.length)).toBe('OrderCancelled')
  })

  it('makes all events of a type of one hidden class, whoever wrote them', async () => {
    const { decode, encode, write } = await events({ OrderPlaced: Placed })
    const older = schemaOf('orders.OrderPlaced', [field('id', 'string')])
    const id = await write(older)
    setFlagsFromString('--allow-natives-syntax')
    const sameShape = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: unknown, b: unknown) => boolean
    const own = decode(encode({ type: 'OrderPlaced', id: 'a', lines: 2 }))
    const foreign = decode(framed(id, older, { id: 'b' }))
    expect(foreign).toEqual({ type: 'OrderPlaced', id: 'b', lines: 1 })
    expect(sameShape(own, foreign)).toBe(true)
    expect(sameShape(own, { ...(own as object), more: 1 })).toBe(false)
    setFlagsFromString('--no-allow-natives-syntax')
  })

  it('refuses to write what is none of its events', async () => {
    const { codec } = await events({ OrderPlaced: Placed, OrderCancelled: Cancelled })
    for (const value of [{ type: 'OrderShipped', id: 'x' }, { id: 'x' }, null, undefined, 'OrderPlaced', { type: 'constructor' }]) {
      const error = thrown(() => codec.encode(value, Buffer.alloc(100), 0))
      expect(error).toMatchObject({ code: 'VALUE_INVALID', detail: 'Field "type" must be "OrderPlaced" or "OrderCancelled".' })
    }
  })

  it('is refused for an event with a field "type"', async () => {
    const made = events({ Paid: schemaOf('Paid', [field('type', 'string')]) })
    await expect(made).rejects.toMatchObject({ code: 'SCHEMA_INVALID', message: 'event "Paid" must not have a field "type"' })
  })
})

describe('a codec of some fields', () => {
  const Node = schemaOf('Node', [
    field('id', 'string'),
    field('skipped', { type: 'array', items: 'string' }),
    field('weight', 'double'),
    field('next', ['null', 'Node']),
  ])
  const value = { id: 'a', skipped: ['x', 'y'], weight: 1, next: { id: 'b', skipped: [], weight: 2, next: null } }

  it('decodes these only, and whole records inside them', async () => {
    const rig = await plain(Node, { fields: ['id', 'next'] })
    const id = await rig.write(Node)
    expect(rig.decode(framed(id, Node, value))).toEqual({ id: 'a', next: value.next })
  })

  it('tags its events, also when it reads no field', async () => {
    const rig = await events({ Node }, { fields: [] })
    const id = await rig.write(Node)
    expect(rig.decode(framed(id, Node, value))).toEqual({ type: 'Node' })
  })

  it('refuses bytes that are wrong in a field that it skips', async () => {
    const rig = await plain(Node, { fields: ['id'] })
    const id = await rig.write(Node)
    const bytes = framed(id, Node, value)
    expect(codeOf(thrown(() => rig.decode(bytes.subarray(0, -1))))).toBe('VALUE_INVALID')
  })

  it('does not encode', async () => {
    const { codec } = await plain(Node, { fields: ['id'] })
    expect(() => codec.encode(value, Buffer.alloc(100), 0)).toThrow(TypeError)
  })

  it('is refused when no schema has such a field', async () => {
    await expect(plain(Node, { fields: ['idd'] })).rejects.toMatchObject({ code: 'SCHEMA_INVALID', message: 'no schema has a field "idd"' })
    await expect(plain('string', { fields: ['id'] })).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
  })
})

describe('a value that does not fit', () => {
  const secret = 'a secret that no error may show'
  const wrong: [string, object, string][] = [
    ['a text for a number', { quantity: secret }, 'Field "quantity" must be int, not string.'],
    ['a fraction', { quantity: 1.5 }, 'Field "quantity" must be int, not a number that is not whole.'],
    ['33 bits', { quantity: 2 ** 31 }, 'Field "quantity" must be int, not one beyond its range.'],
    ['a long beyond 2^53', { placedAt: 2 ** 53 }, 'Field "placedAt" must be long, not one beyond its range.'],
    ['a bigint for a number', { placedAt: 1n }, 'Field "placedAt" must be long, not bigint.'],
    ['a number for a bigint', { position: 5 }, 'Field "position" must be null or a bigint of 64 bits, not number.'],
    ['65 bits', { position: 2n ** 63n }, 'Field "position" must be null or a bigint of 64 bits, not bigint.'],
    ['a missing field', { orderId: undefined }, 'Field "orderId" must be string, not missing.'],
    ['null', { total: null }, 'Field "total" must be double, not null.'],
    ['no symbol', { channel: secret }, 'Field "channel" must be one of web, store, not another string.'],
    ['a name of every object', { channel: 'constructor' }, 'Field "channel" must be one of web, store, not another string.'],
    ['a list as a symbol', { channel: ['web'] }, 'Field "channel" must be one of web, store, not a list.'],
    ['bytes of another length', { digest: Buffer.from(secret) }, 'Field "digest" must be orders.Digest, not 31 bytes.'],
    ['a Map', { tags: new Map([['a', secret]]) }, 'Field "tags" must be map, not object.'],
    ['an item of a list', { lines: [order.lines[0], { sku: 1, prices: [] }] }, 'Field "lines.1.sku" must be string, not number.'],
    ['an item of a list in a list', { lines: [{ sku: 'a', prices: [1, secret] }] }, 'Field "lines.0.prices.1" must be long, not string.'],
    ['a value of a map', { tags: { a: 'x', b: 7 } }, 'Field "tags.b" must be string, not number.'],
  ]
  it.each(wrong)('for %s is refused, by the name of its field', async (_, change, detail) => {
    const { codec } = await plain(OrderPlaced)
    const error = thrown(() => codec.encode({ ...order, ...change }, Buffer.alloc(1000), 0))
    expect(error).toMatchObject({ code: 'VALUE_INVALID', detail })
    expect((error as TidemarkError).cause).toBeUndefined()
    expect(thrown(() => codec.check({ ...order, ...change }))).toMatchObject({ code: 'VALUE_INVALID', detail })
    expect(`${(error as TidemarkError).explain()} ${(error as TidemarkError).stack ?? ''}`).not.toContain(secret)
  })

  it('is refused where a whole record is something else', async () => {
    const { codec } = await plain(OrderPlaced)
    for (const value of [undefined, null, 7, 'x', []]) {
      expect(codeOf(thrown(() => codec.encode(value, Buffer.alloc(100), 0)))).toBe('VALUE_INVALID')
      expect(codeOf(thrown(() => codec.check(value)))).toBe('VALUE_INVALID')
    }
  })

  it('is refused when it contains itself, or nests deeper than it could be read', async () => {
    const { codec } = await plain(schemaOf('Node', [field('next', ['null', 'Node'])]))
    const round: { next: unknown } = { next: null }
    round.next = round
    let deep: object | null = null
    for (let i = 0; i < 65; i++) deep = { next: deep }
    for (const value of [round, deep]) {
      expect(codeOf(thrown(() => codec.encode(value, Buffer.alloc(100_000), 0)))).toBe('VALUE_INVALID')
      expect(codeOf(thrown(() => codec.check(value)))).toBe('VALUE_INVALID')
    }
    const last = (deep as { next: unknown }).next
    expect(codec.encode(last, Buffer.alloc(1000), 0)).toBeGreaterThan(0)
    codec.check(last)
  })

  it('is refused when it has more parts than would be read again', async () => {
    const { codec } = await plain({ type: 'array', items: 'int' })
    const into = Buffer.alloc(1_100_000)
    const list = Array.from({ length: 999_999 }, () => 1)
    expect(codec.encode(list, into, 0)).toBeGreaterThan(0)
    codec.check(list)
    list.push(1, 1)
    const refusal = { code: 'VALUE_INVALID', detail: 'It has more than 1000000 values in it.' }
    expect(thrown(() => codec.encode(list, into, 0))).toMatchObject(refusal)
    expect(thrown(() => codec.check(list))).toMatchObject(refusal)
  })

  it('is refused by a check exactly when it cannot be written', async () => {
    const flat = [
      field('id', 'string'),
      field('n', 'int'),
      field('at', 'long'),
      field('ok', 'boolean'),
      field('note', ['null', 'string'], { default: null }),
    ]
    const some = oneof(string(), integer(), double(), boolean(), bigInt(), constantFrom(null, undefined, [], {}))
    const values = record({
      id: oneof(string(), some),
      n: oneof(integer(), some),
      at: oneof(maxSafeInteger(), some),
      ok: oneof(boolean(), some),
      note: some,
      list: constantFrom([1], ['a']),
    })
    for (const fields of [flat, [...flat, field('list', { type: 'array', items: 'int' })]]) {
      const { codec } = await plain(schemaOf('R', fields))
      const outcomes = new Set<string>()
      assert(
        property(values, (value) => {
          const written = codeOf(thrown(() => codec.encode(value, Buffer.alloc(200), 0)))
          expect(codeOf(thrown(() => codec.check(value)))).toBe(written)
          outcomes.add(written ?? 'written')
        }),
        { numRuns: 500, seed: 5 },
      )
      expect(outcomes).toEqual(new Set(['written', 'VALUE_INVALID']))
    }
  })
})

it('a plain codec refuses what is not framed, and says when it looks like JSON', async () => {
  const { decode } = await plain('string')
  expect(thrown(() => decode(Buffer.from('{"id": 1}')))).toMatchObject({
    code: 'FRAMING_INVALID',
    hint: expect.stringContaining('looks like JSON'),
  })
  const short = thrown(() => decode(Buffer.from('7'))) as TidemarkError
  expect([short.code, short.hint]).toEqual(['FRAMING_INVALID', undefined])
  for (let length = 0; length < 5; length++) expect(codeOf(thrown(() => decode(Buffer.alloc(length))))).toBe('FRAMING_INVALID')
  expect(thrown(() => decode(withId(9, Buffer.alloc(1))))).toMatchObject({ code: 'SCHEMA_UNKNOWN', message: 'schema id 9 is not known' })
})

/** The zigzag varint of a long, by the definition. */
function zigzag(long: bigint): Buffer {
  let rest = BigInt.asUintN(64, (long << 1n) ^ (long >> 63n))
  const bytes: number[] = []
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Buffer.from(bytes)
}
