/**
 * What the three contexts of the retail business promise one another: which facts there are, what they mean, who owns them, how they travel.
 * The words of each fact are in `schemas/<context>/*.avsc`.
 */
import { compound, context, contract, text } from '#tidemark'
import { Adjusted, Arrived, Released, Reserved } from '../../schemas/inventory/index.ts'
import { OrderCancelled, OrderLinesAdded, OrderPlaced, Returned, Sold } from '../../schemas/orders/index.ts'
import { StockAdjusted, StockReceived } from '../../schemas/warehouse/index.ts'

export const orders = context('orders', { owner: 'order-platform' })
export const warehouse = context('warehouse', { owner: 'logistics' })
export const inventory = context('inventory', { owner: 'stock' })

/** Key: the invoice number. */
export const orderLifecycle = contract('order-lifecycle', {
  owner: orders,
  version: 1,
  topic: 'orders.lifecycle.v1',
  key: text,
  sequence: 'per key',
  meaning: 'what a customer has committed to, and what ended it',
  events: { OrderPlaced, OrderLinesAdded, OrderCancelled },
})

export const stockMovements = contract('stock-movements', {
  owner: warehouse,
  version: 1,
  topic: 'warehouse.movements.v1',
  key: compound('warehouse', 'sku'),
  sequence: 'per key',
  meaning: 'what came to a shelf, and what a count of the shelf corrected',
  events: { StockReceived, StockAdjusted },
})

export const stockChanges = contract('stock-changes', {
  owner: inventory,
  version: 1,
  topic: 'inventory.stock-changes.v1',
  key: compound('sku', 'region'),
  meaning: 'everything that changes what may still be promised',
  events: { Reserved, Released, Arrived, Adjusted },
})

export const sales = contract('sales', {
  owner: orders,
  version: 1,
  topic: 'orders.sales.v1',
  key: compound('country', 'day'),
  meaning: 'what left against money on a UTC day, and what came back',
  events: { Sold, Returned },
})

/** What all three mean by stock: 85123A is some. POST, M, DOT and BANK CHARGES are postage, typing and fees. */
export function isStockCode(code: string): boolean {
  return /^\d{5}[A-Za-z]*$/.test(code)
}
