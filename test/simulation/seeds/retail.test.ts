/** The retail topology under its seeds; and that a row which depends on who came first would be found. */
import { expect, test } from 'vitest'
import { topology } from '#tidemark'
import { AllocatableStock } from '../../../schemas/inventory/index.ts'
import { simulate } from '../../../src/testing/simulate.ts'
import { inventory, isStockCode, orderLifecycle, stockChanges, stockMovements } from '../../../topologies/retail/contracts.ts'
import { holdsUnderItsSeeds } from '../kit.ts'
import { retailCase } from '../topologies/retail.ts'

holdsUnderItsSeeds(retailCase)

/** Where it is hasty it promises only what lies on the shelf already: whoever orders before the goods have come is forgotten. */
const promising = (hasty: boolean) =>
  topology('promising', (flow) => {
    const orders = flow.source(orderLifecycle).dedupe('orders-once').order('orders-in-sequence')
    const movements = flow.source(stockMovements).dedupe('movements-once').order('movements-in-sequence')
    const promises = orders.translate('promises', stockChanges, {
      OrderPlaced: ({ country, lines }) =>
        lines.map(({ sku, quantity }) => stockChanges.make.Reserved({ sku, region: country }, { quantity })),
      OrderLinesAdded: ({ country, lines }) =>
        lines.map(({ sku, quantity }) => stockChanges.make.Reserved({ sku, region: country }, { quantity })),
      OrderCancelled: ({ country, lines }) =>
        lines.map(({ sku, quantity }) => stockChanges.make.Released({ sku, region: country }, { quantity })),
    })
    const arrivals = movements.translate('arrivals', stockChanges, {
      StockReceived: ({ country, quantity }, { key: { sku } }) => stockChanges.make.Arrived({ sku, region: country }, { quantity }),
      StockAdjusted: ({ country, quantity }, { key: { sku } }) => stockChanges.make.Adjusted({ sku, region: country }, { quantity }),
    })
    const rowOf = (row: AllocatableStock | undefined, physical: number, reserved: number) => {
      const [shelf, promised] = [(row?.physical ?? 0) + physical, (row?.reserved ?? 0) + reserved]
      return { physical: shelf, reserved: promised, allocatable: shelf - promised } as AllocatableStock
    }
    return [
      flow
        .inbox('stock', [promises, arrivals])
        .filter('stock-codes', (_, { key }) => isStockCode(key.sku))
        .project('allocatable-stock', {
          row: AllocatableStock,
          owner: inventory,
          identity: ['orders-once', 'movements-once'],
          windows: { 'order-lifecycle': { target: '5s', max: '1m' }, 'stock-movements': { target: '5s', max: '1m' } },
          fold: {
            Reserved: (row, { quantity }) => rowOf(row, 0, hasty && row === undefined ? 0 : quantity),
            Released: (row, { quantity }) => rowOf(row, 0, hasty && row === undefined ? 0 : -quantity),
            Arrived: (row, { quantity }) => rowOf(row, quantity, 0),
            Adjusted: (row, { quantity }) => rowOf(row, quantity, 0),
          },
        }),
    ]
  })

test('a row that depends on which source came first is found, without any fault', { timeout: 300_000 }, async () => {
  const { feed, oracle } = retailCase
  const settled = { 'allocatable-stock': oracle.settled?.['allocatable-stock'] ?? (() => new Map()) }
  const found = { hasty: [] as string[], patient: [] as string[] }
  for (let seed = 1; seed <= 5 && found.hasty.length === 0; seed++) {
    const given = { seed, feed, oracle: { settled }, faults: [], settings: { guarantee: 'exactly-once' } } as const
    found.hasty.push(...(await simulate(promising(true), given)).violations)
    found.patient.push(...(await simulate(promising(false), given)).violations)
  }
  expect(found.hasty.join()).toContain('"allocatable-stock" in the end, straight from the sources')
  expect(found.patient).toEqual([])
})
