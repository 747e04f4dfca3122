/**
 * Retail in small: two sources keyed differently are put in order, translated, and meet in an inbox that two projections fold. Orders are about
 * an order and have lines of several articles; deliveries are about an article in a warehouse.
 */
import { compound, context, contract, ignore, schema, text, topology } from '#tidemark'
import { type Expected, type Fed, fed, type OutputModel, type Recorded } from '../../../src/testing/simulate.ts'
import { BEGIN_MS, below, type Case, factId, inSequence } from './case.ts'

const orders = context('orders', { owner: 'order-platform' })
const warehouse = context('warehouse', { owner: 'logistics' })
const inventory = context('inventory', { owner: 'supply-chain' })

interface Line {
  readonly article: string
  readonly quantity: number
}
const lines = {
  name: 'lines',
  type: {
    type: 'array',
    items: {
      type: 'record',
      name: 'Line',
      namespace: 'orders',
      fields: [
        { name: 'article', type: 'string' },
        { name: 'quantity', type: 'int' },
      ],
    },
  },
}
const Ordered = schema<{ lines: readonly Line[] }>({ type: 'record', name: 'Ordered', namespace: 'orders', fields: [lines] })
const Cancelled = schema<{ lines: readonly Line[] }>({ type: 'record', name: 'Cancelled', namespace: 'orders', fields: [lines] })
const Delivered = schema<{ quantity: number }>({
  type: 'record',
  name: 'Delivered',
  namespace: 'warehouse',
  fields: [{ name: 'quantity', type: 'int' }],
})
const Inspected = schema<{ by: string }>({
  type: 'record',
  name: 'Inspected',
  namespace: 'warehouse',
  fields: [{ name: 'by', type: 'string' }],
})
const Reserved = schema<{ quantity: number }>({
  type: 'record',
  name: 'Reserved',
  namespace: 'inventory',
  fields: [{ name: 'quantity', type: 'int' }],
})
const Arrived = schema<{ quantity: number }>({
  type: 'record',
  name: 'Arrived',
  namespace: 'inventory',
  fields: [{ name: 'quantity', type: 'int' }],
})
const Stock = schema<{ physical: number; reserved: number }>({
  type: 'record',
  name: 'Stock',
  namespace: 'inventory',
  fields: [
    { name: 'physical', type: 'long' },
    { name: 'reserved', type: 'long' },
  ],
})
const Activity = schema<{ facts: number }>({
  type: 'record',
  name: 'Activity',
  namespace: 'inventory',
  fields: [{ name: 'facts', type: 'int' }],
})

const lifecycle = contract('order-lifecycle', {
  owner: orders,
  version: 1,
  topic: 'orders.lifecycle.v1',
  partitions: 2,
  key: text,
  sequence: 'per key',
  meaning: 'what a customer has ordered and taken back',
  events: { Ordered, Cancelled },
})
const deliveries = contract('deliveries', {
  owner: warehouse,
  version: 1,
  topic: 'warehouse.deliveries.v1',
  partitions: 2,
  key: compound('house', 'article'),
  sequence: 'per key',
  meaning: 'what has come to a warehouse',
  events: { Delivered, Inspected },
})
const stockChanges = contract('stock-changes', {
  owner: inventory,
  version: 1,
  topic: 'inventory.stock-changes.v1',
  key: text,
  meaning: 'what changes the stock of an article',
  events: { Reserved, Arrived },
})
const windows = {
  'order-lifecycle': { target: '5s', max: '1m' },
  deliveries: { target: '5s', max: '1m' },
} as const

const stock = topology('stock', (flow) => {
  const reservations = flow
    .source(lifecycle)
    .dedupe('orders-once')
    .order('orders-in-sequence')
    .translate('orders-as-reservations', stockChanges, {
      Ordered: (order) => order.lines.map(({ article, quantity }) => stockChanges.make.Reserved(article, { quantity })),
      Cancelled: (order) => order.lines.map(({ article, quantity }) => stockChanges.make.Reserved(article, { quantity: -quantity })),
    })
  const arrivals = flow
    .source(deliveries)
    .dedupe('deliveries-once')
    .order('deliveries-in-sequence')
    .translate('deliveries-as-arrivals', stockChanges, {
      Delivered: ({ quantity }, { key }) =>
        quantity === 0 ? ignore('an empty delivery') : stockChanges.make.Arrived(key.article, { quantity }),
      Inspected: 'ignore',
    })
  const changes = flow.inbox('stock-inbox', [reservations, arrivals]).dedupe('changes-once', { by: 'id' })
  return [
    changes.project('stock', {
      row: Stock,
      owner: inventory,
      identity: 'changes-once',
      publish: 'inventory.stock.v1',
      windows,
      fold: {
        Reserved: (row = { physical: 0, reserved: 0 }, { quantity }) => ({ ...row, reserved: row.reserved + quantity }),
        Arrived: (row = { physical: 0, reserved: 0 }, { quantity }) => ({ ...row, physical: row.physical + quantity }),
      },
    }),
    changes.project('activity', {
      row: Activity,
      owner: inventory,
      identity: 'changes-once',
      windows,
      fold: (row) => ({ facts: (row?.facts ?? 0) + 1 }),
    }),
  ]
})

interface Change {
  readonly article: string
  readonly type: 'Reserved' | 'Arrived'
  readonly quantity: number
}

/** What a fact means for the stock, said once more and independently. */
function changesOf({ topic, key = '', value }: Recorded): Change[] {
  if (topic === lifecycle.topic) {
    const order = value as { type: string; lines: readonly Line[] }
    const sign = order.type === 'Ordered' ? 1 : -1
    return order.lines.map(({ article, quantity }) => ({ article, type: 'Reserved', quantity: sign * quantity }))
  }
  const delivery = value as { type: string; quantity: number }
  const article = key.slice(key.indexOf('|') + 1)
  return delivery.type === 'Delivered' && delivery.quantity !== 0 ? [{ article, type: 'Arrived', quantity: delivery.quantity }] : []
}

const textOf = ({ type, quantity }: Change, sequence: string): string => `${type} ${quantity} (${sequence})`

/** What an inbox must hold of one source: for each of its partitions and each article, in the order of the source's facts. */
const inboxOf = (from: string): OutputModel & { readonly to: string } => ({
  from,
  to: 'stock-inbox',
  read: ({ key, value, headers }): Expected | undefined => {
    const origin = headers.tm_origin ?? ''
    if (key === undefined || !origin.startsWith(`${from}/`)) return undefined
    return {
      lane: `${origin.slice(0, origin.indexOf('@'))} ${key}`,
      text: textOf({ article: key, ...(value as Pick<Change, 'type' | 'quantity'>) }, headers.ce_causationid ?? ''),
    }
  },
  fold: (records) =>
    inSequence(records).flatMap((record) =>
      changesOf(record).map((change) => ({
        lane: `${record.topic}/${record.partition} ${change.article}`,
        text: textOf(change, record.headers.ce_id ?? ''),
      })),
    ),
})

interface StockRow {
  physical: number
  reserved: number
}
function applied(rows: Map<string, StockRow>, { article, type, quantity }: Change): void {
  const row = rows.get(article) ?? { physical: 0, reserved: 0 }
  if (type === 'Reserved') row.reserved += quantity
  else row.physical += quantity
  rows.set(article, row)
}

/** Facts of an inbox, each once. */
function once(records: readonly Recorded[]): Recorded[] {
  const seen = new Set<string>()
  return records.filter(({ headers }) => {
    const id = headers.ce_id ?? ''
    if (seen.has(id)) return false
    seen.add(id)
    return true
  })
}

export const stockCase: Case = {
  name: 'stock',
  about: 'two sources keyed differently, translated, and folded by two projections behind one inbox',
  topology: stock,
  feed: (random) => {
    const numbers = new Map<string, number>()
    const next = (key: string): number => {
      const n = (numbers.get(key) ?? 0) + 1
      numbers.set(key, n)
      return n
    }
    const article = (): string => `a-${below(random, 4)}`
    return Array.from({ length: 20 + below(random, 20) }, (_, i): Fed => {
      const at = BEGIN_MS + i * 400
      if (random.unit() < 0.5) {
        const order = `o-${below(random, 5)}`
        const sequence = next(order)
        const of = Array.from({ length: 1 + below(random, 3) }, () => ({ article: article(), quantity: 1 + below(random, 9) }))
        const fact = random.unit() < 0.75 ? lifecycle.make.Ordered(order, { lines: of }) : lifecycle.make.Cancelled(order, { lines: of })
        return fed(lifecycle, fact, { at, id: factId('order', order, sequence), sequence })
      }
      const key = { house: `h-${below(random, 2)}`, article: article() }
      const sequence = next(`${key.house}|${key.article}`)
      const fact =
        random.unit() < 0.85
          ? deliveries.make.Delivered(key, { quantity: below(random, 50) })
          : deliveries.make.Inspected(key, { by: 'me' })
      return fed(deliveries, fact, { at, id: factId('delivery', `${key.house}${key.article}`, sequence), sequence })
    })
  },
  oracle: {
    rows: {
      stock: (records) => {
        const rows = new Map<string, StockRow>()
        for (const { key = '', value } of once(records)) applied(rows, { article: key, ...(value as Pick<Change, 'type' | 'quantity'>) })
        return rows
      },
      activity: (records) => {
        const rows = new Map<string, { facts: number }>()
        for (const { key = '' } of once(records)) rows.set(key, { facts: (rows.get(key)?.facts ?? 0) + 1 })
        return rows
      },
    },
    settled: {
      stock: (sources) => {
        const rows = new Map<string, StockRow>()
        for (const partitions of sources.values())
          for (const records of partitions)
            for (const record of inSequence(records)) for (const change of changesOf(record)) applied(rows, change)
        return rows
      },
    },
    outputs: [inboxOf(lifecycle.topic), inboxOf(deliveries.topic)],
    account: (count) => {
      const entered = count('records_in', 'stock-inbox') - count('duplicate', 'changes-once')
      if (entered !== count('applied', 'stock') || entered !== count('applied', 'activity'))
        return `${entered} changes entered, ${count('applied', 'stock')} and ${count('applied', 'activity')} were applied`
      return undefined
    },
  },
}
