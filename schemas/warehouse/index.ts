// Made by "tidemark types" from the .avsc files beside it. Change those and run it again.
import { type Branded, type Schema, schema } from '#tidemark'

export type PhysicalQuantity = Branded<number, 'PhysicalQuantity'>

/** A count on the shelf was corrected. */
export interface StockAdjusted {
  /** Where the warehouse delivers to. */
  readonly country: string
  /** The difference: negative for what is gone. */
  readonly quantity: PhysicalQuantity
  /** As typed, such as "damaged" or "?". */
  readonly reason: string | null
}

export const StockAdjusted: Schema<StockAdjusted> = schema({
  type: 'record',
  name: 'warehouse.StockAdjusted',
  doc: 'A count on the shelf was corrected.',
  fields: [
    { name: 'country', type: 'string', doc: 'Where the warehouse delivers to.' },
    { name: 'quantity', type: { type: 'long', 'tidemark.brand': 'PhysicalQuantity' }, doc: 'The difference: negative for what is gone.' },
    { name: 'reason', type: ['null', 'string'], default: null, doc: 'As typed, such as "damaged" or "?".' },
  ],
})

/** Goods came in. */
export interface StockReceived {
  /** Where the warehouse delivers to. */
  readonly country: string
  readonly quantity: PhysicalQuantity
  /** True for an opening stock that nobody counted: invoices tell what was sold, not what there was. */
  readonly synthetic: boolean
}

export const StockReceived: Schema<StockReceived> = schema({
  type: 'record',
  name: 'warehouse.StockReceived',
  doc: 'Goods came in.',
  fields: [
    { name: 'country', type: 'string', doc: 'Where the warehouse delivers to.' },
    { name: 'quantity', type: { type: 'long', 'tidemark.brand': 'PhysicalQuantity' } },
    {
      name: 'synthetic',
      type: 'boolean',
      default: false,
      doc: 'True for an opening stock that nobody counted: invoices tell what was sold, not what there was.',
    },
  ],
})
