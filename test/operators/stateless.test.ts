/** map, filter, flatMap, keyBy, branch, merge, to: plain streams without a contract, and what becomes of keys, times, headers and ids. */
import { describe, expect, test } from 'vitest'
import { compound, context, contract, type Flow, schema, text, topology } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'
import { derivedId } from '../../src/contract/envelope.ts'
import { billing, crm, optIn, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum } from '../fixtures/plain.ts'

type Run = Harness<readonly []>
const plain = (define: (items: ReturnType<typeof source>, flow: Flow) => void): Run =>
  harness(
    topology('plain', (flow) => {
      define(source(flow), flow)
      return []
    }),
  )
const source = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })
const out = async (run: Run, topic = 'out'): Promise<(readonly [string | undefined, Item | null])[]> =>
  (await run.values(topic, Item)).map(([key, value]) => [key, value])

const three = [
  ['a', item(1, 'one')],
  ['b', item(2, 'two')],
  ['a', item(3, 'three')],
] as const

describe('a plain stream needs no contract, no envelope, no dedupe and no window', () => {
  test('filter lets pass what its question is answered with yes for, as it is', async () => {
    const run = plain((items) => items.filter('odd', ({ n }) => n % 2 === 1).to('out-step', 'out'))
    await run.send('in', [
      { key: 'a', value: await run.encode(Item, item(1)), at: 77, headers: [{ name: 'trace', value: Buffer.from('t-1') }] },
    ])
    await run.put('in', Item, [['b', item(2)]])
    expect(await run.topic('out')).toMatchObject([
      { key: 'a', at: 77, headers: { trace: 't-1' }, value: (await run.topic('in'))[0]?.value },
    ])
    await run.close()
  })

  test('map gives another value under the same key, time and headers', async () => {
    const run = plain((items) =>
      items.map('twice', ({ n, note }) => ({ n: n * 2, note: `${note}!` }), { value: Item }).to('out-step', 'out'),
    )
    await run.send('in', [{ key: 'a', value: await run.encode(Item, item(1, 'x')), at: 5, headers: [{ name: 'trace', value: null }] }])
    expect(await out(run)).toEqual([['a', item(2, 'x!')]])
    expect(await run.topic('out')).toMatchObject([{ at: 5, headers: { trace: '' } }])
    await run.close()
  })

  test('flatMap gives none, one or several, and each has an id of its own, derived from its cause (G06)', async () => {
    const run = plain((items) =>
      items.flatMap('repeat', ({ n }) => Array.from({ length: n - 1 }, (_, i) => item(i, `${n}`)), { value: Item }).to('out-step', 'out'),
    )
    await run.put('in', Item, three)
    expect(await out(run)).toEqual([
      ['b', item(0, '2')],
      ['a', item(0, '3')],
      ['a', item(1, '3')],
    ])
    const seen = await run.topic('out')
    // A plain record has no id but its place.
    expect(seen.map(({ headers }) => headers.ce_id)).toEqual([
      derivedId('in/0@1', 'repeat', 0),
      derivedId('in/0@2', 'repeat', 0),
      derivedId('in/0@2', 'repeat', 1),
    ])
    expect(seen.map(({ headers }) => headers.ce_causationid)).toEqual(['in/0@1', 'in/0@2', 'in/0@2'])
    await run.close()
  })

  test('keyBy gives another key, which chooses another partition, and leaves the value as it came', async () => {
    const run = plain((items) =>
      items.keyBy('by-note', compound('note', 'n'), ({ note, n }) => ({ note, n: `${n}|` })).to('out-step', 'out', { partitions: 3 }),
    )
    await run.put('in', Item, three)
    const seen = await run.topic('out')
    expect(new Set(seen.map(({ key }) => key))).toEqual(new Set(['one|1\\|', 'three|3\\|', 'two|2\\|']))
    expect(new Set(seen.map(({ value }) => value?.toString('hex')))).toEqual(
      new Set((await run.topic('in')).map(({ value }) => value?.toString('hex'))),
    )
    await run.close()
  })

  test('keyBy after map writes the new value under the new key, and a filter between them may read it', async () => {
    const run = plain((items, flow) => {
      const rekeyed = items
        .map('twice', ({ n, note }) => ({ n: n * 2, note }), { value: Item })
        .keyBy('by-note', text, ({ note }) => note)
        .filter('large', ({ n }) => n > 2)
        .keyBy('by-number', text, ({ n }) => `n${n}`)
      flow.inbox('all', [rekeyed]).to('out-step', 'out')
    })
    await run.put('in', Item, three)
    expect((await out(run)).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1))).toEqual([
      ['n4', item(4, 'two')],
      ['n6', item(6, 'three')],
    ])
    await run.close()
  })

  test('branch sends a record to the first branch that says yes, and what nobody wants nowhere', async () => {
    const run = plain((items) => {
      const { large, odd } = items.branch('sort', { large: ({ n }) => n > 2, odd: ({ n }) => n % 2 === 1 })
      large.to('large-step', 'large')
      odd.to('odd-step', 'odd')
    })
    await run.put('in', Item, three)
    expect([await out(run, 'large'), await out(run, 'odd')]).toEqual([[['a', item(3, 'three')]], [['a', item(1, 'one')]]])
    await run.close()
  })

  test('a branch that nothing follows swallows what it takes', async () => {
    const run = plain((items) => {
      const { rest } = items.branch('sort', { none: ({ n }) => n === 2, rest: () => true })
      rest.to('out-step', 'out')
    })
    await run.put('in', Item, three)
    expect((await out(run)).map(([, value]) => value?.n)).toEqual([1, 3])
    await run.close()
  })

  test('merge keeps the order of each of its streams, and a record that comes by two ways comes twice', async () => {
    const run = plain((items) => {
      const odd = items.filter('odd', ({ n }) => n % 2 === 1)
      items.merge('both', odd).to('out-step', 'out')
    })
    await run.put('in', Item, three)
    const numbers = (await out(run)).map(([, value]) => value?.n)
    expect(numbers).toEqual([1, 1, 2, 3, 3])
    await run.close()
  })

  test('merges of merges, and a merge of two topics, bring everything once', async () => {
    const run = plain((items, flow) => {
      const other = flow.stream('other', { key: text, value: Item }, { partitions: 1 })
      const third = flow.stream('third', { key: text, value: Item }, { partitions: 1 })
      items.merge('two', other).merge('three', third).to('out-step', 'out')
    })
    await run.put('in', Item, three)
    await run.put('third', Item, [['c', item(4)]])
    await run.put('other', Item, [['d', item(5)]])
    expect((await out(run)).map(([, value]) => value?.n)).toEqual([1, 2, 3, 4, 5])
    await run.close()
  })

  test('two topics are read by the times of their records, whichever was written first', async () => {
    const run = plain((items, flow) => {
      items.merge('two', flow.stream('other', { key: text, value: Item }, { partitions: 1 })).to('out-step', 'out')
    })
    await run.app()
    run.crash()
    const values = (numbers: readonly number[]): (readonly [string, Item, number])[] => numbers.map((n) => ['k', item(n), 1_000 + n])
    // Both wait in the log before the program starts again: the harness writes to one topic at a time.
    const { log, codecs } = await run.access()
    const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
    const writer = await log.writer('feed')
    for (const [topic, numbers] of [
      ['other', [2, 4, 6]],
      ['in', [1, 3, 5]],
    ] as const) {
      const batch = new BatchBuilder({ codecs })
      for (const [key, value, at] of values(numbers)) batch.add(at, Buffer.from(key), await run.encode(Item, value))
      await writer.append(`${topic}/0`, batch.finish())
    }
    // Visible together, so both are queued before either runs.
    await writer.commit([])
    await writer.close()
    await run.settle()
    expect((await out(run)).map(([, value]) => value?.n)).toEqual([1, 2, 3, 4, 5, 6])
    await run.close()
  })

  test('what goes out is counted, and a restart sends nothing twice', async () => {
    const run = plain((items) => items.filter('all', () => true).to('out-step', 'out'))
    await run.put('in', Item, three)
    await run.restart()
    await run.put('in', Item, three)
    expect([run.count('records_in', 'in'), run.count('records_out', 'out-step'), (await out(run)).length]).toEqual([6, 6, 6])
    await run.close()
  })

  test('conform takes over a language, with a reason, and changes nothing of the records', async () => {
    const run = harness(
      topology('conforming', (flow) => {
        flow
          .source(preferences)
          .dedupe('once')
          .conform('as-they-say', billing, { why: 'billing has no word of its own for this' })
          .to('out-step', 'out')
        return []
      }),
    )
    await run.feed(preferences, [optIn('c', 1, { id: 'fact-1' })])
    expect(await run.topic('out')).toMatchObject([{ key: 'c', headers: { ce_id: 'fact-1', ce_type: 'crm.EmailOptIn' } }])
    await run.close()
  })
})

/**
 * Kafka Streams hands null keys and values to functions of stateless steps (kafka-streams.md 2.9). Here a function gets what its types
 * promise: a null value is a deletion, which only tables read (`process`, through `incoming.empty`), so a function that asks for the value of
 * one fails it, and it is dead-lettered, counted and kept. What does not ask passes it on. Nothing is dropped in silence.
 */
describe('null keys and values', () => {
  const nulls = (run: Run): Promise<void> =>
    run.encode(Item, item(1, 'x')).then((value) =>
      run.send('in', [
        { key: null, value },
        { key: 'k', value: null },
        { key: null, value: null },
        { key: 'k', value },
      ]),
    )
  const shown = async (run: Run, topic = 'out'): Promise<string[]> =>
    (await run.topic(topic)).map(({ key, value }) => `${key ?? 'null'}=${value === undefined ? 'null' : 'value'}`)
  const dead = async (run: Run, step: string): Promise<string[]> => (await run.dead(step)).map(({ headers }) => headers.tm_code ?? '')

  test.each<[what: string, build: (items: ReturnType<typeof source>) => void, out: string[], dead: string[]]>([
    ['to passes all', (items) => items.to('step', 'out'), ['null=value', 'k=null', 'null=null', 'k=value'], []],
    [
      'a filter that reads the value fails what has none',
      (items) => items.filter('step', ({ n }) => n === 1).to('out-step', 'out'),
      ['null=value', 'k=value'],
      ['VALUE_INVALID', 'VALUE_INVALID'],
    ],
    [
      'a filter that reads the key fails what has none',
      (items) => items.filter('step', (_value, fact) => fact.key === 'k').to('out-step', 'out'),
      ['k=value'],
      ['VALUE_INVALID', 'VALUE_INVALID', 'KEY_INVALID'],
    ],
    [
      'map fails what has no value',
      (items) => items.map('step', (value) => value, { value: Item }).to('out-step', 'out'),
      ['null=value', 'k=value'],
      ['VALUE_INVALID', 'VALUE_INVALID'],
    ],
    [
      'flatMap makes facts, and a fact has a key',
      (items) => items.flatMap('step', (value) => [value], { value: Item }).to('out-step', 'out'),
      ['k=value'],
      ['KEY_INVALID', 'VALUE_INVALID', 'VALUE_INVALID'],
    ],
    [
      'keyBy by the value gives a key to what has none',
      (items) => items.keyBy('step', text, ({ note }) => note).to('out-step', 'out'),
      ['x=value', 'x=value'],
      ['VALUE_INVALID', 'VALUE_INVALID'],
    ],
    [
      'branch asks for the value',
      (items) => items.branch('step', { all: (value) => value.n > 0 }).all.to('out-step', 'out'),
      ['null=value', 'k=value'],
      ['VALUE_INVALID', 'VALUE_INVALID'],
    ],
    [
      'dedupe needs a key',
      (items) => items.dedupe('step', { id: (_value, fact) => fact.id }).to('out-step', 'out'),
      ['k=value'],
      ['KEY_INVALID', 'VALUE_INVALID', 'KEY_INVALID'],
    ],
    [
      'order by a number in the value needs both',
      (items) => items.order('step', { sequence: () => 1 }).to('out-step', 'out'),
      ['k=value'],
      ['KEY_INVALID', 'VALUE_INVALID', 'KEY_INVALID'],
    ],
    [
      'process reads a null value as a deletion, and needs a key',
      (items) =>
        items
          .process('step', { rows: Item, passes: true, run: (incoming, _scope, out) => void (incoming.empty && out.same()) })
          .to('out-step', 'out'),
      ['k=null'],
      ['KEY_INVALID', 'KEY_INVALID'],
    ],
  ])('%s', async (_what, build, passed, died) => {
    const run = plain((items) => build(items))
    await nulls(run)
    expect([(await shown(run)).sort(), (await dead(run, 'step')).sort()]).toEqual([[...passed].sort(), [...died].sort()])
    await run.close()
  })

  test('an inbox takes null values and refuses null keys, which are its own control records', async () => {
    const run = plain((items, flow) => flow.inbox('all', [items]).to('out-step', 'out'))
    await nulls(run)
    expect([await shown(run), await dead(run, 'all')]).toEqual([
      ['k=null', 'k=value'],
      ['KEY_INVALID', 'KEY_INVALID'],
    ])
    await run.close()
  })

  test('a projection folds no null value: it has no case for it', async () => {
    const run = harness(
      topology('folding', (flow) => [
        flow.inbox('all', [source(flow)]).project('last', {
          row: Sum,
          gate: { version: (value) => value.n },
          fold: (_row, value) => ({ total: value.n, notes: value.note }),
        }),
      ]),
    )
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', null],
      ['k', item(2, 'b')],
    ])
    expect(await run.rows('last')).toEqual({ k: { total: 2, notes: 'b' } })
    expect((await run.dead('last')).map(({ headers }) => headers.tm_code)).toEqual(['VALUE_INVALID'])
    await run.close()
  })
})

test('one source, many translations: each context gets the fact in its own words (E13)', async () => {
  const event = <Fields>(namespace: string, name: string, ...fields: string[]) =>
    schema<Fields>({ type: 'record', name, namespace, fields: fields.map((field) => ({ name: field, type: 'string' as const })) })
  const CustomerAddressChanged = event<{ street: string; city: string }>('crm', 'CustomerAddressChanged', 'street', 'city')
  const InvoiceContactUpdated = event<{ address: string }>('billing', 'InvoiceContactUpdated', 'address')
  const DeliveryDestinationUpdated = event<{ city: string }>('shipping', 'DeliveryDestinationUpdated', 'city')
  const AddressVelocitySignal = event<{ subject: string }>('fraud', 'AddressVelocitySignal', 'subject')
  const spoken = <Events extends Parameters<typeof contract>[1]['events']>(owner: typeof crm, events: Events) =>
    contract(`${owner.name}-facts`, {
      owner,
      version: 1,
      topic: `${owner.name}.facts`,
      partitions: 1,
      key: text,
      meaning: 'a test',
      events,
    })
  const addresses = spoken(crm, { CustomerAddressChanged })
  const invoicing = spoken(billing, { InvoiceContactUpdated })
  const delivery = spoken(context('shipping', { owner: 'logistics' }), { DeliveryDestinationUpdated })
  const signals = spoken(context('fraud', { owner: 'risk' }), { AddressVelocitySignal })
  const run = harness(
    topology('many', (flow) => {
      const facts = flow.source(addresses).dedupe('once')
      facts
        .translate('as-contact', invoicing, {
          CustomerAddressChanged: ({ street, city }, { key }) =>
            invoicing.make.InvoiceContactUpdated(key, { address: `${street}, ${city}` }),
        })
        .to('to-billing', 'out-billing')
      facts
        .translate('as-destination', delivery, {
          CustomerAddressChanged: ({ city }, { key }) => delivery.make.DeliveryDestinationUpdated(key, { city }),
        })
        .to('to-shipping', 'out-shipping')
      facts
        .translate('as-signal', signals, {
          CustomerAddressChanged: (_event, { key }) => signals.make.AddressVelocitySignal('all', { subject: key }),
        })
        .to('to-fraud', 'out-fraud')
      return []
    }),
  )
  await run.feed(addresses, [{ ...addresses.make.CustomerAddressChanged('c-1', { street: 'Rue 1', city: 'Lyon' }), id: 'f-1' }])
  const golden = async (context: string): Promise<unknown> =>
    (await run.topic(`out-${context}`)).map(({ key, headers, value }) => ({
      key,
      type: headers.ce_type,
      source: headers.ce_source,
      cause: headers.ce_causationid,
      id: headers.ce_id,
      // Behind the frame: one text, with its length.
      text: value?.subarray(6).toString(),
    }))
  expect(await golden('billing')).toEqual([
    {
      key: 'c-1',
      type: 'billing.InvoiceContactUpdated',
      source: '/billing',
      cause: 'f-1',
      id: derivedId('f-1', 'as-contact', 0),
      text: 'Rue 1, Lyon',
    },
  ])
  expect(await golden('shipping')).toEqual([
    {
      key: 'c-1',
      type: 'shipping.DeliveryDestinationUpdated',
      source: '/shipping',
      cause: 'f-1',
      id: derivedId('f-1', 'as-destination', 0),
      text: 'Lyon',
    },
  ])
  expect(await golden('fraud')).toEqual([
    { key: 'all', type: 'fraud.AddressVelocitySignal', source: '/fraud', cause: 'f-1', id: derivedId('f-1', 'as-signal', 0), text: 'c-1' },
  ])
  await run.close()
})
