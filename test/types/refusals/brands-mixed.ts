// refused: Type '"PhysicalQuantity"' is not assignable to type '"AllocatableQuantity"'
// Allocatable stock is not physical stock, though both are numbers.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock, window } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', {
    row: Stock,
    identity: 'once',
    windows: { 'order-lifecycle': window },
    fold: (stock = row) => ({ ...stock, allocatable: stock.physical }),
  })
