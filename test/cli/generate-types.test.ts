import { describe, expect, it } from 'vitest'
import { type Generated, generateModules } from '../../src/cli/generate-types.ts'

const field = (name: string, type: unknown, more: object = {}): object => ({ name, type, ...more })
const record = (name: string, fields: object[], more: object = {}): object => ({ type: 'record', name, ...more, fields })

/** Modules for schemas by their paths, such as `orders/OrderPlaced.avsc`. */
function generate(files: Record<string, unknown>): Generated {
  const texts = Object.entries(files).map(([path, json]) => ({
    path,
    context: path.slice(0, path.indexOf('/')),
    text: typeof json === 'string' ? json : JSON.stringify(json, null, 2),
  }))
  return generateModules(texts, 'tidemark')
}

/** The members of the interface that a record becomes. */
function members(fields: object[], more: Record<string, unknown> = {}): string[] {
  const { problems, modules } = generate({ 'a/R.avsc': record('a.R', fields), ...more })
  expect(problems).toEqual([])
  const body = /export interface R \{\n([^}]*)\n\}/s.exec(modules[0]?.text ?? '')?.[1] ?? ''
  return body.split('\n').map((line) => line.trim())
}

describe('a generated module', () => {
  it('has an interface and a schema of one name for each record', () => {
    const { modules, schemas, problems } = generate({
      'orders/OrderPlaced.avsc': record(
        'OrderPlaced',
        [
          field('orderId', 'string', { doc: 'Unique for ever.' }),
          field('channel', { type: 'enum', name: 'Channel', symbols: ['web', 'store'] }),
          field('total', 'long', { 'tidemark.brand': 'Cents', doc: 'With tax.\nIn the currency of the region.' }),
          field('lines', { type: 'array', items: record('Line', [field('sku', 'string')], { doc: 'One article.' }) }),
        ],
        { namespace: 'orders', doc: 'A customer has committed to buying.' },
      ),
    })
    expect(problems).toEqual([])
    expect(modules.map(({ context }) => context)).toEqual(['orders'])
    expect(modules[0]?.text).toBe(`// Made by "tidemark types" from the .avsc files beside it. Change those and run it again.
import { type Branded, type Schema, schema } from 'tidemark'

export type Cents = Branded<number, 'Cents'>

export type Channel = 'web' | 'store'

/** One article. */
export interface Line {
  readonly sku: string
}

/** A customer has committed to buying. */
export interface OrderPlaced {
  /** Unique for ever. */
  readonly orderId: string
  readonly channel: Channel
  /**
   * With tax.
   * In the currency of the region.
   */
  readonly total: Cents
  readonly lines: readonly Line[]
}

export const OrderPlaced: Schema<OrderPlaced> = schema({
  type: 'record',
  name: 'OrderPlaced',
  namespace: 'orders',
  doc: 'A customer has committed to buying.',
  fields: [
    { name: 'orderId', type: 'string', doc: 'Unique for ever.' },
    { name: 'channel', type: { type: 'enum', name: 'Channel', symbols: ['web', 'store'] } },
    { name: 'total', type: 'long', 'tidemark.brand': 'Cents', doc: 'With tax.\\nIn the currency of the region.' },
    {
      name: 'lines',
      type: { type: 'array', items: { type: 'record', name: 'Line', doc: 'One article.', fields: [{ name: 'sku', type: 'string' }] } },
    },
  ],
})
`)
    expect(schemas.map(({ subject, path }) => [subject, path])).toEqual([['orders.OrderPlaced', 'orders/OrderPlaced.avsc']])
  })

  it('is the same for the same files', () => {
    const files = {
      'a/X.avsc': record('a.X', [field('a', 'int')]),
      'a/Y.avsc': record('a.Y', [field('x', 'a.X')]),
      'b/Z.avsc': record('b.Z', []),
    }
    expect(generate(files)).toEqual(generate(files))
  })

  it('gives every Avro type its TypeScript type', () => {
    expect(
      members([
        field('a', 'string'),
        field('b', 'int'),
        field('c', 'long'),
        field('d', 'long', { 'tidemark.type': 'bigint' }),
        field('e', 'float'),
        field('f', 'double'),
        field('g', 'boolean'),
        field('h', 'bytes'),
        field('i', { type: 'fixed', name: 'Hash', size: 16 }),
        field('j', 'null'),
        field('k', ['null', 'string']),
        field('l', ['string', 'null', 'int']),
        field('m', { type: 'array', items: ['null', 'long'] }),
        field('n', { type: 'array', items: { type: 'array', items: 'int' } }),
        field('o', { type: 'map', values: 'double' }),
        field('p', { type: 'map', values: ['null', { type: 'array', items: 'R' }] }),
        field('q', ['null', 'long'], { 'tidemark.brand': 'Cents' }),
        field('r', ['null', 'long'], { 'tidemark.type': 'bigint' }),
      ]),
    ).toEqual([
      'readonly a: string',
      'readonly b: number',
      'readonly c: number',
      'readonly d: bigint',
      'readonly e: number',
      'readonly f: number',
      'readonly g: boolean',
      'readonly h: Uint8Array',
      'readonly i: Hash',
      'readonly j: null',
      'readonly k: string | null',
      'readonly l: string | number | null',
      'readonly m: readonly (number | null)[]',
      'readonly n: readonly (readonly number[])[]',
      'readonly o: Readonly<Record<string, number>>',
      'readonly p: Readonly<Record<string, readonly R[] | null>>',
      'readonly q: Cents | null',
      'readonly r: bigint | null',
    ])
  })

  it('wraps the branches of a union that look alike, as the codec does', () => {
    const text = generate({
      'a/R.avsc': record('a.R', [
        field('by', ['null', record('Card', [field('x', 'int')]), record('Cash', [field('x', 'int')])]),
        field('n', ['int', 'double']),
      ]),
    }).modules[0]?.text
    expect(text).toContain("  readonly by: { readonly 'a.Card': Card } | { readonly 'a.Cash': Cash } | null\n")
    expect(text).toContain('  readonly n: { readonly int: number } | { readonly double: number }\n')
  })

  it('says what a number counts when its schema does so only by a logical type', () => {
    expect(
      members([
        field('at', { type: 'long', logicalType: 'timestamp-millis' }),
        field('day', ['null', { type: 'int', logicalType: 'date' }]),
        field('other', { type: 'long', logicalType: 'timestamp-micros', 'tidemark.type': 'bigint' }, { doc: 'When it left.' }),
        field('id', { type: 'string', logicalType: 'uuid' }),
      ]),
    ).toEqual([
      '/** Milliseconds since 1970 (UTC). */',
      'readonly at: number',
      '/** Days since 1970. */',
      'readonly day: number | null',
      '/** When it left. */',
      'readonly other: bigint',
      'readonly id: string',
    ])
  })

  it('cannot be left by a comment', () => {
    const text = generate({ 'a/R.avsc': record('a.R', [], { doc: 'x */ export const evil = 1 /*' }) }).modules[0]?.text
    expect(text).toContain('/** x *\\/ export const evil = 1 /* */\n')
  })
})

describe('a type of another file', () => {
  const Money = record('Money', [field('cents', 'long'), field('currency', 'Currency')], { namespace: 'shared' })
  const Currency = { type: 'enum', name: 'Currency', namespace: 'shared', symbols: ['EUR', 'USD'] }

  it('is written into each schema that uses it, once, and is one type in a module', () => {
    const { problems, schemas, modules } = generate({
      'shared/Money.avsc': Money,
      'shared/Currency.avsc': Currency,
      'orders/A.avsc': record('orders.A', [field('price', 'shared.Money'), field('tax', 'shared.Money'), field('in', 'shared.Currency')]),
      'orders/B.avsc': record('orders.B', [field('price', ['null', 'shared.Money']), field('a', { type: 'array', items: 'A' })]),
    })
    expect(problems).toEqual([])
    const expanded = {
      type: 'record',
      name: 'shared.Money',
      fields: [field('cents', 'long'), field('currency', { type: 'enum', name: 'shared.Currency', symbols: ['EUR', 'USD'] })],
    }
    expect(schemas.find(({ subject }) => subject === 'orders.A')?.schema).toEqual(
      record('orders.A', [field('price', expanded), field('tax', 'shared.Money'), field('in', 'shared.Currency')]),
    )
    const orders = modules.find(({ context }) => context === 'orders')?.text ?? ''
    expect(orders.match(/export interface Money /g)).toHaveLength(1)
    expect(orders).toContain('readonly a: readonly A[]')
    expect(modules.find(({ context }) => context === 'shared')?.text).toContain("export type Currency = 'EUR' | 'USD'\n")
  })

  it('may refer back', () => {
    const { problems, schemas } = generate({
      'a/A.avsc': record('a.A', [field('b', ['null', 'B'])]),
      'a/B.avsc': record('a.B', [field('a', ['null', 'A'])]),
    })
    expect(problems).toEqual([])
    expect(schemas[0]?.schema).toEqual(record('a.A', [field('b', ['null', record('a.B', [field('a', ['null', 'A'])])])]))
  })
})

describe('a mistake is told with its file, its line and what to do', () => {
  const lines = (...text: string[]): string => text.join('\n')
  const cases: [string, Record<string, unknown>, { path: string; line: number; message: string; hint: unknown }][] = [
    [
      'no JSON',
      { 'a/R.avsc': lines('{', '  "type": "record",', '}') },
      { path: 'a/R.avsc', line: 3, message: 'it is not JSON: Expected double-quoted property name', hint: undefined },
    ],
    [
      'an unknown type',
      {
        'a/R.avsc': lines(
          '{ "type": "record", "name": "a.R", "fields": [',
          '  { "name": "x", "type": "int" },',
          '  { "name": "y", "type": [',
          '    "null", "Lime"] }',
          '] }',
        ),
      },
      { path: 'a/R.avsc', line: 4, message: 'type "Lime" is not defined', hint: 'A named type must be defined before it is used.' },
    ],
    [
      'a field that would hide the type of an event',
      {
        'a/R.avsc': lines(
          '{ "type": "record", "name": "a.R", "fields": [',
          '  { "name": "id", "type": "string" },',
          '  { "name": "type", "type": "string" }',
          '] }',
        ),
      },
      {
        path: 'a/R.avsc',
        line: 3,
        message: 'a field must not be named "type", which tells events apart in code',
        hint: expect.stringContaining('"aliases": ["type"]'),
      },
    ],
    [
      'a decimal',
      {
        'a/R.avsc': lines(
          '{ "type": "record", "name": "a.R", "fields": [',
          '  { "name": "m", "type": { "type": "map", "values":',
          '    { "type": "bytes", "logicalType": "decimal", "precision": 9 } } }',
          '] }',
        ),
      },
      { path: 'a/R.avsc', line: 3, message: 'a decimal has no exact counterpart in JavaScript', hint: expect.stringContaining('cents') },
    ],
    [
      'a list of nothing',
      { 'a/R.avsc': record('a.R', [field('x', { type: 'array', items: 'null' })]) },
      { path: 'a/R.avsc', line: 7, message: 'an array must not have items that take no bytes', hint: expect.any(String) },
    ],
    [
      'no named type',
      { 'a/R.avsc': '"string"' },
      { path: 'a/R.avsc', line: 1, message: 'a file must define a record, an enum or a fixed, not a type "string"', hint: undefined },
    ],
    [
      'a name that TypeScript keeps for itself',
      { 'a/R.avsc': record('a.Record', []) },
      { path: 'a/R.avsc', line: 1, message: '"Record" cannot be the name of a type in TypeScript', hint: expect.any(String) },
    ],
    [
      'a type of two files',
      { 'a/Q.avsc': record('a.R', []), 'a/R.avsc': record('a.R', []) },
      { path: 'a/R.avsc', line: 1, message: 'its type is defined in a/Q.avsc too', hint: expect.any(String) },
    ],
    [
      'two types of one short name',
      {
        'a/Q.avsc': record('a.Q', [field('line', record('x.Line', []))]),
        'a/R.avsc': record('a.R', [field('line', record('y.Line', []))]),
      },
      { path: 'a/R.avsc', line: 1, message: '"Line" means something else in a/Q.avsc', hint: expect.any(String) },
    ],
    [
      'two types of one short name in one file',
      { 'a/R.avsc': record('a.R', [field('p', record('x.Line', [])), field('q', record('y.Line', []))]) },
      { path: 'a/R.avsc', line: 1, message: '"Line" means something else in the same file', hint: expect.any(String) },
    ],
    [
      'one type written out in two ways',
      {
        'a/Q.avsc': record('a.Q', [field('line', record('Line', [field('x', 'int')]))]),
        'a/R.avsc': record('a.R', [field('line', record('Line', [field('x', 'long')]))]),
      },
      { path: 'a/R.avsc', line: 1, message: '"Line" means something else in a/Q.avsc', hint: expect.any(String) },
    ],
    [
      'a brand of a number and of a text',
      { 'a/R.avsc': record('a.R', [field('p', 'int', { 'tidemark.brand': 'Id' }), field('q', 'string', { 'tidemark.brand': 'Id' })]) },
      { path: 'a/R.avsc', line: 1, message: '"Id" means something else in the same file', hint: expect.any(String) },
    ],
  ]
  it.each(cases)('%s', (_, files, problem) => {
    expect(generate(files).problems).toEqual([problem])
  })

  it('and all mistakes at once', () => {
    const { problems } = generate({ 'a/P.avsc': '{', 'a/Q.avsc': record('a.Q', [field('x', 'nope')]), 'b/R.avsc': record('b.schema', []) })
    expect(problems.map(({ path }) => path)).toEqual(['a/P.avsc', 'a/Q.avsc', 'b/R.avsc'])
  })
})
