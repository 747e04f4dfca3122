/** Schemas in motion: older and newer writers, fields nobody knows, and ids that are kept in memory or in a file. No registry's driver exists. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { context, contract, type SchemaStore, schema, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { memorySchemas, schemaCatalogue } from '../../src/drivers/schemas/index.ts'
import { Item, item } from '../fixtures/plain.ts'

const shop = context('shop', { owner: 'shop' })
const sold = (version: number, fields: readonly object[]) =>
  schema<Record<string, unknown>>({ type: 'record', name: 'Sold', namespace: 'shop', fields: fields, doc: `version ${version}` })
const QUANTITY = { name: 'quantity', type: 'int' }
const CURRENCY = { name: 'currency', type: 'string', default: 'EUR' }
const COLOUR = { name: 'colour', type: 'string', default: 'none' }
const Old = sold(1, [QUANTITY])
const Now = sold(2, [QUANTITY, CURRENCY])
const Newer = sold(3, [QUANTITY, CURRENCY, COLOUR])

const sales = (version: number, event: typeof Old) =>
  contract('sales', {
    owner: shop,
    version,
    topic: 'shop.sales',
    partitions: 1,
    key: text,
    meaning: 'what was sold',
    events: { Sold: event },
  })
const following = topology('following', (flow) => {
  flow
    .source(sales(2, Now))
    .dedupe('once')
    .map('to-item', (event) => item(event.quantity as number, String(event.currency)), { value: Item })
    .to('out-step', 'out')
  return []
})

const folders: string[] = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true })
})
/** Both kinds of source there are. A registry would be a third one behind the same port. */
const SOURCES: readonly (readonly [what: string, make: () => Promise<SchemaStore>])[] = [
  ['ids in memory', async () => memorySchemas({ firstId: 70_000 })],
  [
    'a file of ids',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tidemark-schemas-'))
      folders.push(folder)
      return schemaCatalogue({ file: join(folder, 'catalogue.json'), writable: true })
    },
  ],
]

describe.each(SOURCES)('with %s', (_what, make) => {
  const feed = async (run: ReturnType<typeof harness<readonly []>>, version: number, event: typeof Old, fields: object): Promise<void> => {
    const by = sales(version, event)
    await run.feed(by as never, [by.make.Sold('k', fields as never) as never])
  }

  test('an older writer’s record gets the defaults of the reader (N06)', async () => {
    const run = harness(following, { schemas: await make() })
    await feed(run, 1, Old, { quantity: 3 })
    expect((await run.values('out', Item)).map(([, value]) => value)).toEqual([item(3, 'EUR')])
    await run.close()
  })

  test('a newer writer’s record is read, and each one with a field that nobody knows is counted (N04) (N06)', async () => {
    const run = harness(following, { schemas: await make() })
    await feed(run, 2, Now, { quantity: 1, currency: 'GBP' })
    expect(run.count('unknown_fields')).toBe(0)
    await feed(run, 3, Newer, { quantity: 2, currency: 'GBP', colour: 'red' })
    await feed(run, 3, Newer, { quantity: 3, currency: 'GBP', colour: 'blue' })
    expect((await run.values('out', Item)).map(([, value]) => value)).toEqual([item(1, 'GBP'), item(2, 'GBP'), item(3, 'GBP')])
    expect(run.count('unknown_fields', 'sales')).toBe(2)
    await run.close()
  })

  test('versions of a contract are counted as they come, in any mix (D10)', async () => {
    const run = harness(following, { schemas: await make() })
    for (const [version, event, fields] of [
      [1, Old, { quantity: 1 }],
      [3, Newer, { quantity: 2, currency: 'GBP', colour: 'red' }],
      [2, Now, { quantity: 3, currency: 'GBP' }],
      [1, Old, { quantity: 4 }],
    ] as const)
      await feed(run, version, event, fields)
    expect([1, 2, 3].map((version) => run.count('contract_version', 'sales', version))).toEqual([2, 1, 1])
    await run.close()
  })

  test('a restart knows every id again, also of records that were held meanwhile (N06)', async () => {
    const run = harness(
      topology('holding', (flow) => {
        flow
          .source(sales(2, Now))
          .order('in-sequence', { sequence: (_event, fact) => Number(fact.id) })
          .map('to-item', (event) => item(event.quantity as number, String(event.currency)), { value: Item })
          .to('out-step', 'out')
        return []
      }),
      { schemas: await make() },
    )
    const old = sales(1, Old)
    await run.feed(old as never, [{ ...old.make.Sold('k', { quantity: 2 }), id: '2' } as never])
    await run.restart()
    const now = sales(2, Now)
    await run.feed(now as never, [{ ...now.make.Sold('k', { quantity: 1, currency: 'GBP' }), id: '1' } as never])
    expect((await run.values('out', Item)).map(([, value]) => value)).toEqual([item(1, 'GBP'), item(2, 'EUR')])
    await run.close()
  })
})

test('a fact that comes again under another schema id, with the same bytes, is a duplicate and no conflict', async () => {
  const good = memorySchemas()
  const again = 999
  const run = harness(
    topology('regated', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
        .project('last', { row: Item, gate: { version: (v) => v.n }, fold: (_row, v) => v }),
    ]),
    { schemas: { ...good, byId: async (id) => (id === again ? Item.avro : good.byId(id)) } },
  )
  await run.app()
  const value = await run.encode(Item, item(1, 'a'))
  const under = (id: number, bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes)
    copy.writeUInt32BE(id, 1)
    return copy
  }
  await run.send('in', [{ key: 'k', value }])
  await run.send('in', [
    { key: 'k', value: under(again, value) },
    { key: 'k', value: under(again, await run.encode(Item, item(1, 'b'))) },
  ])
  expect([run.count('applied', 'last'), run.count('duplicate', 'last'), run.count('conflict', 'last')]).toEqual([1, 1, 1])
  await run.close()
})

test('a writer whose record cannot be read as ours is told apart from one that nobody knows', async () => {
  const run = harness(following)
  const Odd = sold(9, [{ name: 'quantity', type: 'string' }])
  const odd = sales(9, Odd)
  await run.feed(odd as never, [odd.make.Sold('k', { quantity: 'three' }) as never])
  expect((await run.dead('to-item')).map(({ headers }) => headers.tm_code)).toEqual(['SCHEMA_INCOMPATIBLE'])
  await run.close()
})

test('a schema that a hostile record could abuse is refused although its source has it', async () => {
  const good = memorySchemas()
  // A list of nothing: a few bytes that decode to a billion elements. Registered by somebody else, whose source did not mind.
  const evil = { type: 'record', name: 'Sold', fields: [{ name: 'quantity', type: { type: 'array', items: 'null' } }] } as const
  const id = 100
  const run = harness(following, { schemas: { ...good, byId: async (each) => (each === id ? evil : good.byId(each)) } })
  await run.app()
  const value = Buffer.from([0, 0, 0, 0, id, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0])
  const headers = ['ce_id:a', 'ce_source:/shop'].map((each) => ({
    name: each.split(':')[0] as string,
    value: Buffer.from(each.split(':')[1] as string),
  }))
  await run.send('shop.sales', [{ key: 'k', value, headers }])
  await run.send('shop.sales', [{ key: 'k', value, headers: [{ name: 'ce_id', value: Buffer.from('b') }, ...headers.slice(1)] }])
  expect((await run.dead('to-item')).map(({ headers: letter }) => letter.tm_code)).toEqual(['SCHEMA_INVALID', 'SCHEMA_INVALID'])
  await run.close()
})
