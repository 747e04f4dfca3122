// Made by "tidemark types" from the .avsc files beside it. Change those and run it again.
import { type Branded, type Schema, schema } from '#tidemark'

export type AllocatableQuantity = Branded<number, 'AllocatableQuantity'>

export type PhysicalQuantity = Branded<number, 'PhysicalQuantity'>

/** Physical stock was found to be more, or less, than was thought. */
export interface Adjusted {
  readonly quantity: PhysicalQuantity
}

export const Adjusted: Schema<Adjusted> = schema({
  type: 'record',
  name: 'inventory.Adjusted',
  doc: 'Physical stock was found to be more, or less, than was thought.',
  fields: [{ name: 'quantity', type: { type: 'long', 'tidemark.brand': 'PhysicalQuantity' } }],
})

/** What may still be promised of one SKU in one region. */
export interface AllocatableStock {
  /** What lies on the shelf. */
  readonly physical: PhysicalQuantity
  /** What is promised already. */
  readonly reserved: number
  /** What is left: physical less reserved. */
  readonly allocatable: AllocatableQuantity
}

export const AllocatableStock: Schema<AllocatableStock> = schema({
  type: 'record',
  name: 'inventory.AllocatableStock',
  doc: 'What may still be promised of one SKU in one region.',
  fields: [
    { name: 'physical', type: { type: 'long', 'tidemark.brand': 'PhysicalQuantity' }, doc: 'What lies on the shelf.' },
    { name: 'reserved', type: 'long', doc: 'What is promised already.' },
    { name: 'allocatable', type: { type: 'long', 'tidemark.brand': 'AllocatableQuantity' }, doc: 'What is left: physical less reserved.' },
  ],
})

/** Physical stock came. */
export interface Arrived {
  readonly quantity: PhysicalQuantity
}

export const Arrived: Schema<Arrived> = schema({
  type: 'record',
  name: 'inventory.Arrived',
  doc: 'Physical stock came.',
  fields: [{ name: 'quantity', type: { type: 'long', 'tidemark.brand': 'PhysicalQuantity' } }],
})

/** A promise of stock was taken back. */
export interface Released {
  readonly quantity: number
}

export const Released: Schema<Released> = schema({
  type: 'record',
  name: 'inventory.Released',
  doc: 'A promise of stock was taken back.',
  fields: [{ name: 'quantity', type: 'long' }],
})

/** Stock was promised to a customer. */
export interface Reserved {
  readonly quantity: number
}

export const Reserved: Schema<Reserved> = schema({
  type: 'record',
  name: 'inventory.Reserved',
  doc: 'Stock was promised to a customer.',
  fields: [{ name: 'quantity', type: 'long' }],
})
