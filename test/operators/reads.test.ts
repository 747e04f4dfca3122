/** `reads`: a step that says which fields it reads is given those, and nothing else is decoded for it. */
import { describe, expect, test } from 'vitest'
import { context, contract, type Flow, schema, text, topology } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'

interface Order {
  readonly sku: string
  readonly units: number
  readonly note: string
}
const Ordered = schema<Order>({
  type: 'record',
  name: 'Ordered',
  namespace: 'shop',
  fields: [
    { name: 'sku', type: 'string' },
    { name: 'units', type: 'int' },
    { name: 'note', type: 'string' },
  ],
})
const shop = context('shop', { owner: 'shop' })
const stock = context('stock', { owner: 'stock' })
const orders = contract('orders', {
  owner: shop,
  version: 1,
  topic: 'shop.orders',
  partitions: 1,
  key: text,
  meaning: 'x',
  events: { Ordered },
})
const Wanted = schema<{ units: number }>({ type: 'record', name: 'Wanted', namespace: 'stock', fields: [{ name: 'units', type: 'int' }] })
const wants = contract('wants', {
  owner: stock,
  version: 1,
  topic: 'stock.wants',
  partitions: 1,
  key: text,
  meaning: 'x',
  events: { Wanted },
})
const plain = (flow: Flow) => flow.stream('in', { key: text, value: Ordered }, { partitions: 1 })
const order: Order = { sku: 'a', units: 3, note: 'by hand' }

/** What the functions of a step were given. */
const seen: unknown[] = []
const facts = (flow: Flow) => flow.source(orders, { noDedupe: 'each is sent once here' })

type Step = readonly [step: string, reads: readonly string[] | undefined, given: unknown, build: (flow: Flow) => void]
const note = (value: unknown): true => {
  seen.push(value)
  return true
}
const STEPS: readonly Step[] = [
  [
    'filter',
    ['sku'],
    { sku: 'a' },
    (flow) =>
      plain(flow)
        .filter('step', note, { reads: ['sku'] })
        .to('out-step', 'out'),
  ],
  [
    'branch',
    ['sku', 'note'],
    { sku: 'a', note: 'by hand' },
    (flow) =>
      plain(flow)
        .branch('step', { all: note }, { reads: ['sku', 'note'] })
        .all.to('out-step', 'out'),
  ],
  ['branch', [], undefined, (flow) => plain(flow).branch('step', { all: note }, { reads: [] }).all.to('out-step', 'out')],
  ['branch', undefined, order, (flow) => plain(flow).branch('step', { all: note }).all.to('out-step', 'out')],
  [
    'process',
    ['units'],
    { units: 3 },
    (flow) =>
      plain(flow)
        .process('step', { rows: Ordered, passes: true, reads: ['units'], run: ({ value }, _scope, out) => note(value) && out.same() })
        .to('out-step', 'out'),
  ],
]

test.each(STEPS)('%s that reads %j is given %j, and what goes on is whole', async (_operator, _reads, given, build) => {
  const run = harness(
    topology('reading', (flow) => {
      build(flow)
      return []
    }),
  )
  seen.length = 0
  await run.put('in', Ordered, [['k', order]])
  expect(seen.map((value) => (value === undefined ? undefined : { ...(value as object) }))).toEqual([given])
  expect((await run.values('out', Ordered)).map(([key, value]) => [key, value])).toEqual([['k', order]])
  await run.close()
})

test.each([
  [['units'], { type: 'Ordered', units: 3 }],
  [[], { type: 'Ordered' }],
  [undefined, { type: 'Ordered', ...order }],
] as const)('translate that reads %j is given %j', async (reads, given) => {
  const run = harness(
    topology('translating', (flow) => {
      const options = reads === undefined ? {} : { reads: reads as readonly 'units'[] }
      facts(flow)
        .translate(
          'step',
          wants,
          { Ordered: (event, fact) => note(event) && wants.make.Wanted(fact.key, { units: event.units ?? 0 }) },
          options,
        )
        .to('out-step', 'out')
      return []
    }),
  )
  seen.length = 0
  await run.feed(orders, [orders.make.Ordered('k', order)])
  expect(seen.map((value) => ({ ...(value as object) }))).toEqual([given])
  expect(await run.topic('out')).toHaveLength(1)
  await run.close()
})

describe('what no step reads is not decoded', () => {
  /** A text that is none: its length says more than there is. */
  const broken = async (run: Harness<readonly []>): Promise<Buffer> => {
    const bytes = await run.encode(Ordered, order)
    bytes[bytes.length - 'by hand'.length - 1] = 0x7e
    return bytes
  }
  test.each([
    [
      'branch',
      (flow: Flow) =>
        plain(flow)
          .branch('step', { all: () => true }, { reads: [] })
          .all.to('out-step', 'out'),
    ],
    [
      'process',
      (flow: Flow) =>
        plain(flow)
          .process('step', { rows: Ordered, passes: true, reads: [], run: (_incoming, _scope, out) => out.same() })
          .to('out-step', 'out'),
    ],
  ])('by a %s that reads nothing: also bytes that are no value pass', async (_what, build) => {
    const run = harness(
      topology('blind', (flow) => {
        build(flow)
        return []
      }),
    )
    await run.send('in', [{ key: 'k', value: await broken(run) }])
    expect([await run.topic('out'), run.count('dead')]).toMatchObject([[{ key: 'k' }], 0])
    await run.close()
  })

  test('and what it reads is: the same bytes are dead-lettered by the step that wants the field', async () => {
    const run = harness(
      topology('seeing', (flow) => {
        plain(flow)
          .branch('step', { all: ({ note: words }) => words !== '' }, { reads: ['note'] })
          .all.to('out-step', 'out')
        return []
      }),
    )
    await run.send('in', [{ key: 'k', value: await broken(run) }])
    expect((await run.dead('step')).map(({ headers }) => headers.tm_code)).toEqual(['VALUE_INVALID'])
    await run.close()
  })
})

test('a field that is not read is not there for the compiler either', () => {
  topology('narrow', (flow) => {
    facts(flow).translate(
      'step',
      wants,
      // @ts-expect-error: "note" is not read
      { Ordered: (event, fact) => note(event.note) && wants.make.Wanted(fact.key, event) },
      { reads: ['units'] },
    )
    // @ts-expect-error: "note" is not read
    plain(flow).branch('other', { all: (value) => value.note !== '' }, { reads: ['sku'] })
    return []
  })
})

test('a field that no event has is refused, as the compiler refuses it', async () => {
  const run = harness(
    topology('mistaken', (flow) => {
      plain(flow)
        // @ts-expect-error: "unit" is no field
        .process('step', { rows: Ordered, passes: true, reads: ['unit'], run: () => {} })
        .to('out-step', 'out')
      return []
    }),
  )
  await expect(run.app()).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
})
