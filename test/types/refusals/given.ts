/** What the refused programs have in common. This one compiles. */
import { type Branded, compound, context, contract, type Fact, type Flow, type Stream, schema, text } from '#tidemark'

export const orders = context('orders', { owner: 'order-platform' })
export const inventory = context('inventory', { owner: 'inventory' })
const quantity = [{ name: 'quantity', type: 'int' as const }]
export const OrderPlaced = schema<{ quantity: number }>({ type: 'record', name: 'OrderPlaced', fields: quantity })
export const OrderCancelled = schema<{ quantity: number }>({ type: 'record', name: 'OrderCancelled', fields: quantity })
export const Reserved = schema<{ quantity: number }>({ type: 'record', name: 'Reserved', fields: quantity })
export const Released = schema<{ quantity: number }>({ type: 'record', name: 'Released', fields: quantity })

export type PhysicalQuantity = Branded<number, 'PhysicalQuantity'>
export type AllocatableQuantity = Branded<number, 'AllocatableQuantity'>
export interface Stock {
  readonly physical: PhysicalQuantity
  readonly allocatable: AllocatableQuantity
}
export const Stock = schema<Stock>({
  type: 'record',
  name: 'Stock',
  fields: [
    { name: 'physical', type: 'int' },
    { name: 'allocatable', type: 'int' },
  ],
})
export const orderLifecycle = contract('order-lifecycle', {
  owner: orders,
  version: 1,
  topic: 'orders.lifecycle',
  key: text,
  sequence: 'per key',
  meaning: 'what a customer has committed to, and what ended it',
  events: { OrderPlaced, OrderCancelled },
})
export const stockChanges = contract('stock-changes', {
  owner: inventory,
  version: 1,
  topic: 'inventory.changes',
  key: compound('sku', 'region'),
  meaning: 'what changes the stock of a place',
  events: { Reserved, Released },
})
export const window = { target: '5s', max: '1m' } as const
export const row: Stock = { physical: 1 as PhysicalQuantity, allocatable: 1 as AllocatableQuantity }
export const placedOnce = (flow: Flow): Stream<string, NonNullable<typeof orderLifecycle._value>, 'order-lifecycle'> =>
  flow.source(orderLifecycle).dedupe('once')
export const keyOf = (fact: Fact<string>): { sku: string; region: string } => ({ sku: fact.key, region: 'EU' })
/** All that is refused one by one elsewhere, done right. */
export const complete = (flow: Flow): unknown =>
  flow
    .inbox('stock', [
      placedOnce(flow).translate('as-reservations', stockChanges, {
        OrderPlaced: (event, fact) => stockChanges.make.Reserved(keyOf(fact), { quantity: event.quantity }),
        OrderCancelled: 'ignore',
      }),
    ])
    .project('allocatable-stock', {
      row: Stock,
      owner: inventory,
      identity: 'once',
      windows: { 'order-lifecycle': window },
      decisions: { ship: { maxStaleness: '5s', otherwise: 'refuse' } },
      fold: { Reserved: () => row, Released: () => row },
    })
