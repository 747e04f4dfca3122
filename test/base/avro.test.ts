import { describe, expect, it } from 'vitest'
import { type AvroSchema, least } from '../../src/base/avro.ts'
import { canonicalSchema } from '../../src/base/avro-canonical.ts'
import { readSchema, SCHEMA_LIMITS, schemaProblem } from '../../src/base/avro-read.ts'
import { codeOf } from '../../src/base/errors.ts'

const record = (fields: unknown[], name = 'a.R'): AvroSchema => ({ type: 'record', name, fields })
const field = (name: string, type: unknown, more: object = {}) => ({ name, type, ...more })

describe('reading a schema', () => {
  it('resolves every name, also of a record within itself', () => {
    const type = readSchema(
      record([field('next', ['null', 'R']), field('kind', { type: 'enum', name: 'Kind', symbols: ['X'] }), field('also', 'a.Kind')]),
    )
    if (type.kind !== 'record') throw new Error('not a record')
    const next = type.fields[0]?.type
    expect(next?.kind === 'union' && next.branches[1]).toBe(type)
    expect(type.fields[2]?.type).toBe(type.fields[1]?.type)
    expect(type.fields[1]?.type).toMatchObject({ kind: 'enum', name: 'a.Kind' })
  })

  it('gives a mark on a field to the value in it, also beside null', () => {
    const type = readSchema(
      record([
        field('position', 'long', { 'tidemark.type': 'bigint' }),
        field('until', ['null', 'long'], { 'tidemark.type': 'bigint' }),
        field('quantity', 'int', { 'tidemark.brand': 'PhysicalQuantity' }),
        field('cents', { type: 'long', 'tidemark.brand': 'Cents' }),
      ]),
    )
    expect(type).toMatchObject({
      fields: [
        { type: { kind: 'long', big: true } },
        { type: { branches: [{ kind: 'null' }, { kind: 'long', big: true }] } },
        { type: { kind: 'int', brand: 'PhysicalQuantity' } },
        { type: { kind: 'long', big: false, brand: 'Cents' } },
      ],
    })
  })

  it('takes a logical type from a type and not from the field around it, as Avro does', () => {
    const type = readSchema(
      record([field('a', { type: 'long', logicalType: 'timestamp-millis' }), field('b', 'long', { logicalType: 'timestamp-millis' })]),
    )
    expect(type).toMatchObject({ fields: [{ type: { logical: 'timestamp-millis' } }, { type: { logical: undefined } }] })
  })

  const wide = (count: number): AvroSchema => record(Array.from({ length: count }, (_, i) => field(`f${i}`, 'int')))
  const nested = (levels: number): unknown => (levels === 0 ? 'int' : { type: 'array', items: nested(levels - 1) })
  /** Records of which each holds the next twice: a value of no bytes with 2^n records in it. */
  const doubling = (n: number): AvroSchema => {
    let inner: unknown = { type: 'record', name: 'R0', fields: [] }
    for (let i = 1; i <= n; i++) inner = { type: 'record', name: `R${i}`, fields: [field('a', inner), field('b', `R${i - 1}`)] }
    return inner as AvroSchema
  }
  const refused: [string, unknown, RegExp][] = [
    ['a number', 7, /must be a name, an object or a list, not number/],
    ['null', null, /not null/],
    ['an unknown name', 'Line', /"Line" is not defined/],
    ['a name of every object', { type: 'constructor' }, /"constructor" is not defined/],
    ['a name of every object, in a list', record([field('a', ['toString'])]), /"toString" is not defined/],
    ['a record without fields', { type: 'record', name: 'R' }, /must have a list of fields/],
    ['a record without a name', { type: 'record', fields: [] }, /must have a name/],
    ['code in a name', record([], 'R){process$exit()}//'), /the name of a record must be letters/],
    ['code in a namespace', { type: 'record', name: 'R', namespace: 'a;b', fields: [] }, /the name of a namespace must be letters/],
    ['code in a field', record([field('a = 1; x', 'int')]), /the name of a field must be letters/],
    ['code in a symbol', { type: 'enum', name: 'E', symbols: ["A'"] }, /the name of a symbol must be letters/],
    ['code in an alias', record([field('a', 'int', { aliases: ['b c'] })]), /the name of an alias must be letters/],
    ['a field __proto__', record([field('__proto__', 'int')]), /a field must not be named "__proto__"/],
    ['a field constructor', record([field('constructor', 'int')]), /a field must not be named "constructor"/],
    ['a symbol __proto__', { type: 'enum', name: 'E', symbols: ['__proto__'] }, /a symbol must not be named "__proto__"/],
    ['a field twice', record([field('a', 'int'), field('a', 'int')]), /has field "a" twice/],
    [
      'a type twice',
      record([field('a', { type: 'fixed', name: 'F', size: 1 }), field('b', { type: 'fixed', name: 'F', size: 1 })]),
      /"a.F" is defined twice/,
    ],
    ['the name of a primitive', { type: 'record', name: 'a.string', fields: [] }, /name of a primitive type/],
    [
      'a type that leaves its namespace',
      record([field('a', { type: 'fixed', name: 'F', namespace: '', size: 1 })]),
      /must not leave the namespace "a"/,
    ],
    ['an empty union', [], /must have a branch/],
    ['a union in a union', ['null', ['int']], /must not contain a union/],
    ['a branch twice', ['int', 'int'], /must not have "int" twice/],
    ['too many branches', Array.from({ length: 101 }, (_, i) => ({ type: 'fixed', name: `F${i}`, size: 1 })), /more than 100 branches/],
    ['a symbol twice', { type: 'enum', name: 'E', symbols: ['A', 'A'] }, /has a symbol twice/],
    ['no symbols', { type: 'enum', name: 'E', symbols: [] }, /must have symbols/],
    ['a default that is no symbol', { type: 'enum', name: 'E', symbols: ['A'], default: 'B' }, /not one of its symbols/],
    ['a fixed of a negative size', { type: 'fixed', name: 'F', size: -1 }, /must be an integer from 0/],
    ['a fixed beyond memory', { type: 'fixed', name: 'F', size: 2 ** 31 }, /must be an integer from 0/],
    ['a list of nulls', { type: 'array', items: 'null' }, /items that take no bytes/],
    ['a list of empty records', { type: 'array', items: record([field('a', 'null')]) }, /items that take no bytes/],
    ['a list of empty fixed', { type: 'array', items: { type: 'fixed', name: 'F', size: 0 } }, /items that take no bytes/],
    ['a record that needs itself', record([field('a', 'R')]), /contains itself without end/],
    [
      'records that need each other',
      record([field('b', { type: 'record', name: 'S', fields: [field('a', 'R')] })]),
      /contains itself without end/,
    ],
    ['a million records in no bytes', doubling(20), /more than 10000 parts/],
    ['more records than time, in no bytes', doubling(60), /more than 10000 parts/],
    ['too many fields', wide(SCHEMA_LIMITS.fieldsPerRecord + 1), /more than 1000 fields/],
    [
      'too many types',
      Array.from({ length: 12 }, (_, i) =>
        record(
          Array.from({ length: 100 }, (_, j) => field(`f${j}`, { type: 'fixed', name: `F${i}_${j}`, size: 1 })),
          `R${i}`,
        ),
      ),
      /more than 1000 types/,
    ],
    ['too deep a schema', nested(200), /deeper than 64 levels/],
    ['a schema deeper than the stack', nested(9_000), /must (be JSON|not nest deeper)/],
    ['a schema of two megabytes', record([field('a', 'int', { doc: 'x'.repeat(2_000_000) })]), /must not exceed 1048576 characters/],
    ['an unknown tidemark.type', record([field('a', 'long', { 'tidemark.type': 'decimal' })]), /knows only "bigint"/],
    ['a bigint int', record([field('a', 'int', { 'tidemark.type': 'bigint' })]), /is for a long/],
    ['a branded record', { ...(record([]) as object), 'tidemark.brand': 'B' }, /a record cannot have a brand/],
    [
      'a branded list',
      record([field('a', { type: 'array', items: 'int' }, { 'tidemark.brand': 'B' })]),
      /is for a number, a text, bytes or an enum/,
    ],
    ['code in a brand', record([field('a', 'int', { 'tidemark.brand': 'B; x' })]), /"tidemark.brand" must be a name/],
  ]
  it.each(refused)('refuses %s', (_, schema, message) => {
    expect(schemaProblem(schema)?.message).toMatch(message)
  })

  it('refuses a schema that contains itself', () => {
    const schema: { type: string; items?: unknown } = { type: 'array' }
    schema.items = schema
    expect(schemaProblem(schema)?.message).toBe('a schema must be JSON')
  })

  it('says where in the schema the mistake is', () => {
    const schema = record([field('a', 'int'), field('b', { type: 'array', items: ['null', 'Lime'] })])
    expect(schemaProblem(schema)?.path).toEqual(['fields', 1, 'type', 'items', 1])
    expect(() => readSchema(schema)).toThrow(
      expect.objectContaining({ code: 'SCHEMA_INVALID', detail: 'At fields.1.type.items.1 of the schema.' }),
    )
  })

  it('accepts what is merely unusual', () => {
    expect(schemaProblem(wide(SCHEMA_LIMITS.fieldsPerRecord))).toBeUndefined()
    expect(schemaProblem({ type: { type: 'string' } })).toBeUndefined()
    expect(schemaProblem(record([field('children', { type: 'array', items: 'R' })]))).toBeUndefined()
    expect(schemaProblem({ type: 'map', values: 'null' })).toBeUndefined()
    expect(schemaProblem(doubling(10))).toBeUndefined()
  })

  it('raises only typed errors', () => {
    for (const [, schema] of refused) {
      let code: unknown
      try {
        readSchema(schema)
      } catch (error) {
        code = codeOf(error)
      }
      expect(code).toBe('SCHEMA_INVALID')
    }
  })
})

describe('the fewest bytes of a value', () => {
  it.each<[unknown, number, number]>([
    ['null', 0, 1],
    ['double', 8, 1],
    [{ type: 'fixed', name: 'F', size: 16 }, 16, 1],
    [record([field('a', 'string'), field('b', 'float'), field('c', ['null', 'long'])]), 6, 4],
    [record([field('next', ['null', 'R'])]), 1, 2],
  ])('of %j are %i in %i parts', (schema, bytes, parts) => {
    expect(least(readSchema(schema))).toEqual({ bytes, parts })
  })
})

describe('two schemas are the same', () => {
  const placed = {
    type: 'record',
    name: 'OrderPlaced',
    namespace: 'orders',
    fields: [
      { name: 'id', type: 'string' },
      { name: 'at', type: 'long', default: 0 },
    ],
  }
  const same: [string, unknown][] = [
    ['with a full name instead of a namespace', { type: 'record', name: 'orders.OrderPlaced', fields: placed.fields }],
    ['with documentation', { ...placed, doc: 'what a customer wants', fields: [{ ...placed.fields[0], doc: 'id' }, placed.fields[1]] }],
    [
      'with attributes in another order',
      {
        fields: [
          { type: 'string', name: 'id' },
          { default: 0, type: { type: 'long' }, name: 'at' },
        ],
        name: 'orders.OrderPlaced',
        type: 'record',
      },
    ],
    [
      'with marks for TypeScript',
      {
        ...placed,
        fields: [
          { ...placed.fields[0], 'tidemark.brand': 'OrderId' },
          { ...placed.fields[1], 'tidemark.type': 'bigint' },
        ],
      },
    ],
    ['with attributes of others', { ...placed, 'connect.version': 3 }],
  ]
  it.each(same)('%s', (_, other) => {
    expect(canonicalSchema(other as AvroSchema)).toBe(canonicalSchema(placed))
  })

  const different: [string, unknown][] = [
    ['fields in another order', { ...placed, fields: placed.fields.toReversed() }],
    ['another default', { ...placed, fields: [placed.fields[0], { name: 'at', type: 'long', default: 1 }] }],
    ['no default', { ...placed, fields: [placed.fields[0], { name: 'at', type: 'long' }] }],
    [
      'a logical type',
      { ...placed, fields: [placed.fields[0], { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' }, default: 0 }] },
    ],
    ['an alias', { ...placed, aliases: ['Placed'] }],
    ['another namespace', { ...placed, namespace: 'sales' }],
  ]
  it.each(different)('and not with %s', (_, other) => {
    expect(canonicalSchema(other as AvroSchema)).not.toBe(canonicalSchema(placed))
  })
})
