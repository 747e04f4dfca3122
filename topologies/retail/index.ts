/**
 * Orders and warehouse movements become the stock that a shop may still promise, and the sales of each day.
 *
 *   orders ---- once, in sequence --+-- as sales --------------> inbox "sales" --> sales-by-day
 *                                   |
 *                                   +-- as stock changes --+
 *                                                          +---> inbox "stock" --> allocatable-stock
 *   movements - once, in sequence ----- as stock changes --+
 *
 * `tidemark dev topologies/retail` runs it; the feed beside this file then plays orders and warehouse from real invoices.
 */
import { type Ignored, ignore, reject, topology } from '#tidemark'
import { type AllocatableQuantity, AllocatableStock, type PhysicalQuantity } from '../../schemas/inventory/index.ts'
import { type OrderCancelled, type OrderLine, type OrderPlaced, SalesOfDay } from '../../schemas/orders/index.ts'
import { inventory, isStockCode, orderLifecycle, orders, sales, stockChanges, stockMovements } from './contracts.ts'
import { centsOf } from './money.ts'

export { feed } from './feed.ts'

export const retail = topology('retail', (flow) => {
  const orderEvents = flow
    .source(orderLifecycle)
    .dedupe('orders-once')
    .order('orders-in-sequence', { gap: { hold: { records: 1_000 }, then: 'park' } })

  const movements = flow
    .source(stockMovements)
    .dedupe('movements-once')
    .order('movements-in-sequence', { gap: { hold: { records: 1_000 }, then: 'park' } })

  const promises = orderEvents.translate('orders-as-stock-changes', stockChanges, {
    OrderPlaced: reserve,
    OrderLinesAdded: reserve,
    OrderCancelled: release,
  })

  const arrivals = movements.translate('movements-as-stock-changes', stockChanges, {
    StockReceived: ({ country, quantity }, { key: { sku } }) =>
      quantity > 0 ? stockChanges.make.Arrived({ sku, region: country }, { quantity }) : reject('a receipt must be positive'),
    StockAdjusted: ({ country, quantity }, { key: { sku } }) =>
      isStockCode(sku) ? stockChanges.make.Adjusted({ sku, region: country }, { quantity }) : notStock,
  })

  const allocatableStock = flow.inbox('stock', [promises, arrivals]).project('allocatable-stock', {
    row: AllocatableStock,
    owner: inventory,
    // Quantities add up, so a fact that came twice would count twice: these two steps let each pass once.
    identity: ['orders-once', 'movements-once'],
    fold: {
      Reserved: (row = nothing, { quantity }) => stock(row.physical, row.reserved + quantity),
      Released: (row = nothing, { quantity }) => stock(row.physical, row.reserved - quantity),
      Arrived: (row = nothing, { quantity }) => stock(row.physical + quantity, row.reserved),
      Adjusted: (row = nothing, { quantity }) => stock(row.physical + quantity, row.reserved),
    },
    windows: {
      'order-lifecycle': { target: '5s', quantile: 0.99, max: '30s' },
      'stock-movements': { target: '30s', max: '2m' },
    },
    decisions: {
      'show-on-page': { maxStaleness: '1m', otherwise: 'proceed' },
      'promise-online': { maxStaleness: '5s', otherwise: 'refuse' },
    },
    publish: 'inventory.allocatable-stock.v1',
  })

  const salesFacts = orderEvents.translate('orders-as-sales', sales, {
    OrderPlaced: sell,
    OrderLinesAdded: sell,
    OrderCancelled: takeBack,
  })

  const salesByDay = flow.inbox('sales', [salesFacts]).project('sales-by-day', {
    row: SalesOfDay,
    owner: orders,
    identity: 'orders-once',
    fold: {
      Sold: (row = noSales, { units, cents }) => ({ ...row, units: row.units + units, cents: row.cents + cents }),
      Returned: (row = noSales, { units, cents }) => ({
        ...row,
        returnedUnits: row.returnedUnits + units,
        returnedCents: row.returnedCents + cents,
      }),
    },
    windows: { 'order-lifecycle': { target: '1m', max: '5m' } },
  })

  return [allocatableStock, salesByDay]
})

// --- the same orders in inventory's words -----------------------------------------------------------------------------------------

/** Orders placed and lines added speak of the same things. */
type Order = OrderPlaced

function reserve({ country, lines }: Order) {
  return forStock(lines, ({ sku, quantity }) => stockChanges.make.Reserved({ sku, region: country }, { quantity }))
}

function release({ country, lines }: OrderCancelled) {
  return forStock(lines, ({ sku, quantity }) => stockChanges.make.Released({ sku, region: country }, { quantity }))
}

const nothing = stock(0, 0)

function stock(physical: number, reserved: number): AllocatableStock {
  return { physical: physical as PhysicalQuantity, reserved, allocatable: (physical - reserved) as AllocatableQuantity }
}

// --- and in those of sales --------------------------------------------------------------------------------------------------------

function sell({ country, lines }: Order) {
  return forStock(lines, (line) => sales.make.Sold({ country, day: dayOf(line) }, amountOf(line)))
}

function takeBack({ country, lines }: OrderCancelled) {
  return forStock(lines, (line) => sales.make.Returned({ country, day: dayOf(line) }, amountOf(line)))
}

const noSales: SalesOfDay = { units: 0, cents: 0, returnedUnits: 0, returnedCents: 0 }

function dayOf({ typedAt }: OrderLine): string {
  return new Date(typedAt).toISOString().slice(0, 10)
}

function amountOf({ quantity, unitPrice }: OrderLine): { units: number; cents: number } {
  return { units: quantity, cents: centsOf(quantity, unitPrice) }
}

// --- what is stock ----------------------------------------------------------------------------------------------------------------

const notStock = ignore('not a stock code')

function forStock<F>(lines: readonly OrderLine[], fact: (line: OrderLine) => F): (F | Ignored)[] {
  return lines.map((line) => (isStockCode(line.sku) ? fact(line) : notStock))
}
