// Made by "tidemark types" from the .avsc files beside it. Change those and run it again.
import { type Schema, schema } from '#tidemark'

/** Lines that were taken back, by an invoice of their own. */
export interface OrderCancelled {
  readonly country: string
  readonly customer: string | null
  readonly lines: readonly OrderLine[]
}

export const OrderCancelled: Schema<OrderCancelled> = schema({
  type: 'record',
  name: 'orders.OrderCancelled',
  doc: 'Lines that were taken back, by an invoice of their own.',
  fields: [
    { name: 'country', type: 'string' },
    { name: 'customer', type: ['null', 'string'], default: null },
    {
      name: 'lines',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'orders.OrderLine',
          doc: 'One line of an invoice, as it was typed. Two equal lines are two lines.',
          fields: [
            { name: 'sku', type: 'string', doc: 'The stock code, or a code for something that is no stock, such as POST.' },
            { name: 'description', type: ['null', 'string'], default: null },
            { name: 'quantity', type: 'long', doc: 'As typed where it is placed or added, absolute where it is cancelled.' },
            { name: 'unitPrice', type: 'string', doc: 'An exact decimal in pounds, such as 2.55 or 0.001.' },
            { name: 'typedAt', type: { type: 'long', logicalType: 'timestamp-millis' } },
          ],
        },
      },
    },
  ],
})

/** One line of an invoice, as it was typed. Two equal lines are two lines. */
export interface OrderLine {
  /** The stock code, or a code for something that is no stock, such as POST. */
  readonly sku: string
  readonly description: string | null
  /** As typed where it is placed or added, absolute where it is cancelled. */
  readonly quantity: number
  /** An exact decimal in pounds, such as 2.55 or 0.001. */
  readonly unitPrice: string
  /** Milliseconds since 1970 (UTC). */
  readonly typedAt: number
}

export const OrderLine: Schema<OrderLine> = schema({
  type: 'record',
  name: 'orders.OrderLine',
  doc: 'One line of an invoice, as it was typed. Two equal lines are two lines.',
  fields: [
    { name: 'sku', type: 'string', doc: 'The stock code, or a code for something that is no stock, such as POST.' },
    { name: 'description', type: ['null', 'string'], default: null },
    { name: 'quantity', type: 'long', doc: 'As typed where it is placed or added, absolute where it is cancelled.' },
    { name: 'unitPrice', type: 'string', doc: 'An exact decimal in pounds, such as 2.55 or 0.001.' },
    { name: 'typedAt', type: { type: 'long', logicalType: 'timestamp-millis' } },
  ],
})

/** Further lines of an order that was placed before. */
export interface OrderLinesAdded {
  readonly country: string
  readonly customer: string | null
  readonly lines: readonly OrderLine[]
}

export const OrderLinesAdded: Schema<OrderLinesAdded> = schema({
  type: 'record',
  name: 'orders.OrderLinesAdded',
  doc: 'Further lines of an order that was placed before.',
  fields: [
    { name: 'country', type: 'string' },
    { name: 'customer', type: ['null', 'string'], default: null },
    {
      name: 'lines',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'orders.OrderLine',
          doc: 'One line of an invoice, as it was typed. Two equal lines are two lines.',
          fields: [
            { name: 'sku', type: 'string', doc: 'The stock code, or a code for something that is no stock, such as POST.' },
            { name: 'description', type: ['null', 'string'], default: null },
            { name: 'quantity', type: 'long', doc: 'As typed where it is placed or added, absolute where it is cancelled.' },
            { name: 'unitPrice', type: 'string', doc: 'An exact decimal in pounds, such as 2.55 or 0.001.' },
            { name: 'typedAt', type: { type: 'long', logicalType: 'timestamp-millis' } },
          ],
        },
      },
    },
  ],
})

/** A customer committed to an order: its first lines, ten at most. */
export interface OrderPlaced {
  readonly country: string
  readonly customer: string | null
  readonly lines: readonly OrderLine[]
}

export const OrderPlaced: Schema<OrderPlaced> = schema({
  type: 'record',
  name: 'orders.OrderPlaced',
  doc: 'A customer committed to an order: its first lines, ten at most.',
  fields: [
    { name: 'country', type: 'string' },
    { name: 'customer', type: ['null', 'string'], default: null },
    {
      name: 'lines',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'orders.OrderLine',
          doc: 'One line of an invoice, as it was typed. Two equal lines are two lines.',
          fields: [
            { name: 'sku', type: 'string', doc: 'The stock code, or a code for something that is no stock, such as POST.' },
            { name: 'description', type: ['null', 'string'], default: null },
            { name: 'quantity', type: 'long', doc: 'As typed where it is placed or added, absolute where it is cancelled.' },
            { name: 'unitPrice', type: 'string', doc: 'An exact decimal in pounds, such as 2.55 or 0.001.' },
            { name: 'typedAt', type: { type: 'long', logicalType: 'timestamp-millis' } },
          ],
        },
      },
    },
  ],
})

/** Units that came back, and the money for them. */
export interface Returned {
  readonly units: number
  /** Quantity times price, in hundredths, rounded half up. */
  readonly cents: number
}

export const Returned: Schema<Returned> = schema({
  type: 'record',
  name: 'orders.Returned',
  doc: 'Units that came back, and the money for them.',
  fields: [
    { name: 'units', type: 'long' },
    { name: 'cents', type: 'long', doc: 'Quantity times price, in hundredths, rounded half up.' },
  ],
})

/** What one country bought on one UTC day, and what it sent back. */
export interface SalesOfDay {
  readonly units: number
  readonly cents: number
  readonly returnedUnits: number
  readonly returnedCents: number
}

export const SalesOfDay: Schema<SalesOfDay> = schema({
  type: 'record',
  name: 'orders.SalesOfDay',
  doc: 'What one country bought on one UTC day, and what it sent back.',
  fields: [
    { name: 'units', type: 'long' },
    { name: 'cents', type: 'long' },
    { name: 'returnedUnits', type: 'long' },
    { name: 'returnedCents', type: 'long' },
  ],
})

/** Units that left against money. */
export interface Sold {
  readonly units: number
  /** Quantity times price, in hundredths, rounded half up. */
  readonly cents: number
}

export const Sold: Schema<Sold> = schema({
  type: 'record',
  name: 'orders.Sold',
  doc: 'Units that left against money.',
  fields: [
    { name: 'units', type: 'long' },
    { name: 'cents', type: 'long', doc: 'Quantity times price, in hundredths, rounded half up.' },
  ],
})
