/** Promises of the retail topology to the compiler: what lies on the shelf is not what may be promised, and views know their keys, rows and decisions. */
import type { Running } from '#tidemark'
import type { AllocatableQuantity, AllocatableStock } from '../../schemas/inventory/index.ts'
import type { PhysicalQuantity } from '../../schemas/warehouse/index.ts'
import { stockChanges, stockMovements } from '../../topologies/retail/contracts.ts'
import type { retail } from '../../topologies/retail/index.ts'

declare const running: Running<typeof retail.projections>
declare const row: AllocatableStock
declare const arrived: PhysicalQuantity
const key = { sku: '85123A', region: 'EIRE' }
const place = { warehouse: 'wh-EIRE', sku: '85123A' }

/** The warehouse's quantity is inventory's: a brand is known by its name. */
export const arrival: unknown = stockChanges.make.Arrived(key, { quantity: arrived })
export const shelf: PhysicalQuantity = row.physical
// @ts-expect-error what may be promised did not arrive
export const wrong: unknown = stockChanges.make.Arrived(key, { quantity: row.allocatable })
// @ts-expect-error nor may what lies on the shelf be promised as it is
export const mixed: AllocatableQuantity = row.physical
// @ts-expect-error a bare number is no count of the shelf
export const bare: unknown = stockMovements.make.StockAdjusted(place, { country: 'EIRE', quantity: 1, reason: null })

export const stock: Promise<unknown> = running.view('allocatable-stock').decide('promise-online', key)
export const units: Promise<number | undefined> = running
  .view('sales-by-day')
  .get({ country: 'EIRE', day: '2010-12-01' })
  .then(({ value }) => value?.units)
// @ts-expect-error no such view
export const view: unknown = running.view('stock')
// @ts-expect-error a key of another shape
export const text: unknown = running.view('allocatable-stock').get('85123A|EIRE')
// @ts-expect-error a decision that the projection does not declare
export const decision: unknown = running.view('allocatable-stock').decide('ship', key)
