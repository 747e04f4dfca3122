/** The retail topology in the harness: what each step says of an order, what becomes of broken bytes, and what a crash may not change. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Access } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'
import type { OrderLine } from '../../schemas/orders/index.ts'
import type { PhysicalQuantity } from '../../schemas/warehouse/index.ts'
import { orderLifecycle, sales, stockChanges, stockMovements } from '../../topologies/retail/contracts.ts'
import { readInvoices } from '../../topologies/retail/csv.ts'
import { type Delivery, Faults } from '../../topologies/retail/faults.ts'
import { feed, retail } from '../../topologies/retail/index.ts'
import { Invoices } from '../../topologies/retail/invoices.ts'
import { readPosition } from '../../topologies/retail/position.ts'
import { csvIn, inFolder } from './rig.ts'
import { SHIPPED, unpacked } from './shuffle.ts'

type Retail = Harness<typeof retail.projections>
const AT = Date.UTC(2010, 11, 1, 23, 59)
const line = (sku: string, quantity: number, unitPrice: string, more: Partial<OrderLine> = {}): OrderLine => ({
  sku,
  description: null,
  quantity,
  unitPrice,
  typedAt: AT,
  ...more,
})
const eire = { country: 'EIRE', customer: '14911.0' }

/** Facts that an inbox got, decoded and without what varies: `[key, event, id, causation, source]`. */
async function inboxOf(run: Retail, step: 'stock' | 'sales'): Promise<unknown[]> {
  const { events } = step === 'stock' ? stockChanges : sales
  const readers = new Map(Object.entries(events).map(([type, { avro }]) => [type, avro]))
  const codec = await (await run.access()).serdes.values('test', { readers, tagged: true, fields: undefined, writes: false })
  const records = (await run.topic(`retail-${step}-g1-inbox`)).filter(({ key }) => key !== undefined)
  const ids = records.flatMap(({ value }) => (value === undefined ? [] : [value.readUInt32BE(1)]))
  await codec.prepare([...new Set(ids)])
  return records
    .toSorted((a, b) => a.offset - b.offset)
    .map(({ key, value, headers }) => [
      key,
      codec.decode(value as Buffer, 0, (value as Buffer).length),
      headers.ce_type,
      headers.ce_causationid,
      headers.ce_source,
    ])
}

describe('one order, two languages', () => {
  test('inventory hears what is reserved and released, sales what was earned and given back', async () => {
    const run = harness(retail)
    const { OrderPlaced, OrderLinesAdded, OrderCancelled } = orderLifecycle.make
    await run.feed(orderLifecycle, [
      { ...OrderPlaced('1', { ...eire, lines: [line('85123A', 6, '2.55'), line('POST', 1, '18.00')] }), id: 'placed', at: AT },
      { ...OrderLinesAdded('1', { ...eire, lines: [line('85123A', 1, '0.125', { typedAt: AT + 60_000 })] }), id: 'added', at: AT },
      { ...OrderCancelled('C2', { ...eire, lines: [line('85123A', 2, '2.55')] }), id: 'cancelled', at: AT },
    ])
    // Two invoices are two keys, and there is no order between keys.
    expect(new Set(await inboxOf(run, 'stock'))).toEqual(
      new Set([
        ['85123A|EIRE', { type: 'Reserved', quantity: 6 }, 'inventory.Reserved', 'placed', '/inventory'],
        ['85123A|EIRE', { type: 'Reserved', quantity: 1 }, 'inventory.Reserved', 'added', '/inventory'],
        ['85123A|EIRE', { type: 'Released', quantity: 2 }, 'inventory.Released', 'cancelled', '/inventory'],
      ]),
    )
    expect(new Set(await inboxOf(run, 'sales'))).toEqual(
      new Set([
        ['EIRE|2010-12-01', { type: 'Sold', units: 6, cents: 1_530 }, 'orders.Sold', 'placed', '/orders'],
        ['EIRE|2010-12-02', { type: 'Sold', units: 1, cents: 13 }, 'orders.Sold', 'added', '/orders'],
        ['EIRE|2010-12-01', { type: 'Returned', units: 2, cents: 510 }, 'orders.Returned', 'cancelled', '/orders'],
      ]),
    )
    expect([
      run.count('ignored', 'orders-as-stock-changes', 'not a stock code'),
      run.count('ignored', 'orders-as-sales', 'not a stock code'),
    ]).toEqual([1, 1])
    await run.close()
  })

  test('inventory hears of movements in its own words, and the warehouse becomes a region', async () => {
    const run = harness(retail)
    const { StockReceived, StockAdjusted } = stockMovements.make
    const shelf = { warehouse: 'wh-EIRE', sku: '85123A' }
    const physical = (quantity: number): { country: string; quantity: PhysicalQuantity } => ({
      country: 'EIRE',
      quantity: quantity as PhysicalQuantity,
    })
    await run.feed(stockMovements, [
      { ...StockReceived(shelf, { ...physical(1_000), synthetic: true }), id: 'received' },
      { ...StockAdjusted(shelf, { ...physical(-4), reason: 'damaged' }), id: 'adjusted' },
      { ...StockAdjusted({ ...shelf, sku: 'POST' }, { ...physical(-1), reason: null }), id: 'postage' },
      { ...StockReceived(shelf, { ...physical(0), synthetic: false }), id: 'nothing' },
    ])
    expect(await inboxOf(run, 'stock')).toEqual([
      ['85123A|EIRE', { type: 'Arrived', quantity: 1_000 }, 'inventory.Arrived', 'received', '/inventory'],
      ['85123A|EIRE', { type: 'Adjusted', quantity: -4 }, 'inventory.Adjusted', 'adjusted', '/inventory'],
    ])
    expect(await run.rows('allocatable-stock')).toEqual({ '85123A|EIRE': { physical: 996, reserved: 0, allocatable: 996 } })
    expect(await run.rows('sales-by-day')).toEqual({})
    // A receipt of nothing is a mistake of the warehouse, and is kept for it.
    const [letter, ...others] = await run.dead('movements-as-stock-changes')
    expect(others).toEqual([])
    expect(letter?.headers).toMatchObject({ ce_id: 'nothing', tm_code: 'STEP_REJECTED', tm_reason: 'a receipt must be positive' })
    await run.close()
  })

  test('a translation makes the same facts of the same order in every run', async () => {
    const idsIn = async (): Promise<unknown[]> => {
      const run = harness(retail)
      await run.feed(orderLifecycle, [
        { ...orderLifecycle.make.OrderPlaced('1', { ...eire, lines: [line('85123A', 6, '2.55')] }), id: 'placed', at: AT },
      ])
      const ids = [...(await run.topic('retail-stock-g1-inbox')), ...(await run.topic('retail-sales-g1-inbox'))].map(
        ({ headers }) => headers.ce_id,
      )
      await run.close()
      return ids.filter((id) => id !== undefined)
    }
    const ids = await idsIn()
    expect(ids).toHaveLength(2)
    expect(new Set(ids).size).toBe(2)
    expect(await idsIn()).toEqual(ids)
  })

  test('a price that is none is kept apart, with its bytes, and stops neither the stock nor the next order', async () => {
    const run = harness(retail)
    const { OrderPlaced } = orderLifecycle.make
    await run.feed(orderLifecycle, [
      OrderPlaced('1', { ...eire, lines: [line('85123A', 6, 'free')] }),
      OrderPlaced('2', { ...eire, lines: [line('85123A', 1, '2')] }),
    ])
    expect(await run.rows('allocatable-stock')).toEqual({ '85123A|EIRE': { physical: 0, reserved: 7, allocatable: -7 } })
    expect(await run.rows('sales-by-day')).toEqual({ 'EIRE|2010-12-01': { units: 1, cents: 200, returnedUnits: 0, returnedCents: 0 } })
    const [letter] = await run.dead('orders-as-sales')
    expect([letter?.key, letter?.headers.tm_code, letter?.headers.tm_detail]).toEqual([
      '1',
      'STEP_FAILED',
      'RangeError: "free" is not a price',
    ])
    await run.close()
  })
})

/** What the feed sends for a file and a seed, worked out without sending it. */
async function deliveriesOf(file: string, seed: number): Promise<Delivery[]> {
  const invoices = new Invoices(createHash('sha256').update(readFileSync(file)).digest('hex'))
  const faults = new Faults(seed)
  const all: Delivery[] = []
  for await (const rows of readInvoices(file))
    for (const row of rows) if (!('problem' in row)) for (const upstream of invoices.take(row)) all.push(...faults.take(upstream))
  for (const upstream of invoices.end()) all.push(...faults.take(upstream))
  return [...all, ...faults.end()]
}

const ROWS = unpacked(SHIPPED).split('\n').slice(1, 2_501)
const byText = (a: string, b: string): number => (a < b ? -1 : 1)
const NEVER = new AbortController().signal

test('broken bytes under a real key end in the dead letters of their source, as they came and with the reason; they hold nothing up, and a replay gives the same views', async () => {
  await inFolder(async (dir) => {
    const csv = csvIn(dir, ROWS)
    const run = harness(retail)
    const running = await feed.open(await run.access(), { dir, unpaced: true, options: { csv, seed: '6' } })
    await running.run(NEVER)
    await run.settle()
    const letters = [...(await run.dead('order-lifecycle')), ...(await run.dead('stock-movements'))]
    const poison = (await deliveriesOf(csv, 6)).flatMap((delivery) => (delivery.kind === 'poison' ? [delivery] : []))
    expect(poison.length).toBeGreaterThan(4)
    const told = letters.map(({ key, value, headers }) => [
      key,
      value?.toString('hex'),
      headers.ce_id,
      headers.tm_code,
      headers.ce_sequence,
    ])
    const wanted = poison.map(({ upstream: { fact }, bytes, id }) => [
      typeof fact.key === 'string' ? fact.key : `${fact.key.warehouse}|${fact.key.sku}`,
      bytes.toString('hex'),
      id,
      bytes[0] === 0 ? 'SCHEMA_UNKNOWN' : 'FRAMING_INVALID',
      undefined,
    ])
    expect(new Set(told)).toEqual(new Set(wanted))
    expect(told).toHaveLength(wanted.length)
    expect(
      letters.every(
        ({ headers }) => headers.tm_reason !== '' && /^(orders\.lifecycle|warehouse\.movements)\.v1\/\d@\d+$/.test(headers.tm_origin ?? ''),
      ),
    ).toBe(true)
    expect([run.count('parked'), run.count('dead')]).toEqual([0, poison.length])
    expect(await running.check(await run.app())).toMatchObject({ equal: true })
    await running.close()

    // What the inboxes recorded gives both views again, byte for byte, whatever the sources went through.
    for (const view of ['allocatable-stock', 'sales-by-day'] as const) {
      const live = await run.stateHash(view)
      expect(await run.replay(view, { switch: 'never' })).toMatchObject({ equal: true, projections: [{ name: view, live, rebuilt: live }] })
    }
    await run.close()
  })
})

test.each([1, 2])('crashes in the middle of the feed change nothing of what it sends (seed %d)', async (seed) => {
  await inFolder(async (dir) => {
    const csv = csvIn(dir, ROWS)
    const run = harness(retail, { seed })
    const opened = async () => feed.open(await run.access(), { dir, unpaced: true, options: { csv, seed: String(seed) } })
    for (const rows of [300, 900, 1_000, 1_800, 2_400]) {
      const running = await opened()
      // What was running when the process died never answers: nobody waits for it.
      running.run(NEVER).catch(() => {})
      while (running.done < rows) await run.clock.turn()
      run.crash()
    }
    const last = await opened()
    await last.run(NEVER)
    await run.settle()
    expect(await last.check(await run.app())).toMatchObject({ equal: true })
    const sent = [...(await run.topic('orders.lifecycle.v1')), ...(await run.topic('warehouse.movements.v1'))]
    const wanted = (await deliveriesOf(csv, seed)).map((delivery) => (delivery.kind === 'poison' ? delivery.id : delivery.upstream.id))
    expect(sent.map(({ headers }) => String(headers.ce_id)).sort(byText)).toEqual(wanted.sort(byText))
    await last.close()
    await run.close()
  })
})

/** The same thing, but for some of its methods. */
function but<T extends object>(thing: T, others: Partial<T>): T {
  return new Proxy(thing, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in others ? others : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** The world of a process that dies when a commit of the feed is decided and before the feed is told. */
function dyingAtCommit<A extends Access>(access: A, die: () => void): A {
  const writer: Access['log']['writer'] = async (id) => {
    const opened = await access.log.writer(id)
    return but(opened, {
      commit: async (positions) => {
        await opened.commit(positions)
        die()
        return new Promise<never>(() => {})
      },
    })
  }
  return but(access, { log: but(access.log, { writer }) } as Partial<A>)
}

test('a feed that dies as soon as its facts are visible finds the position that belongs to them', async () => {
  await inFolder(async (dir) => {
    const csv = csvIn(dir, ROWS)
    const run = harness(retail)
    const sent = async (): Promise<number> =>
      (await run.topic(orderLifecycle.topic)).length + (await run.topic(stockMovements.topic)).length
    for (let death = 1; death <= 4; death++) {
      const { promise: died, resolve: die } = Promise.withResolvers<void>()
      const running = await feed.open(dyingAtCommit(await run.access(), die), { dir, unpaced: true, options: { csv, seed: '2' } })
      running.run(NEVER).catch(() => {})
      await died
      run.crash()
      const position = await readPosition(await run.access())
      expect([position?.records, await sent()]).toEqual([300 * death, 300 * death])
    }
    await run.close()
  })
})
