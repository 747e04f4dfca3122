/** Promises to the compiler, checked by `npm run types`: two quantities cannot be mixed up, though both are numbers. */
import type { Branded } from '../../src/contract/schema.ts'

type PhysicalQuantity = Branded<number, 'PhysicalQuantity'>
type AllocatableQuantity = Branded<number, 'AllocatableQuantity'>
type OrderId = Branded<string, 'OrderId'>

interface Stock {
  readonly physical: PhysicalQuantity
  readonly reserved: number
  readonly allocatable: AllocatableQuantity
}

export const counted: PhysicalQuantity = 12 as PhysicalQuantity

/** Arithmetic gives a plain number, and someone must say what it means. */
export function settled(stock: Stock): Stock {
  return { ...stock, allocatable: (stock.physical - stock.reserved) as AllocatableQuantity }
}

/** A branded value is what it is made of, wherever that is enough. */
export const shown: string = counted.toFixed(0)
export const plain: number = counted

// @ts-expect-error allocatable stock is not physical stock
export const mixed: AllocatableQuantity = counted

// @ts-expect-error a number is no quantity until someone says so
export const bare: PhysicalQuantity = 12

// @ts-expect-error the result of arithmetic is a plain number
export const sum: PhysicalQuantity = counted + counted

export const swapped = (stock: Stock): Stock => ({
  ...stock,
  // @ts-expect-error the two fields cannot be swapped
  physical: stock.allocatable,
})

export const order = 'o-1' as OrderId
// @ts-expect-error a text is no order id until someone says so
export const wrong: OrderId = 'o-1'

/** A contract of the same brand in another module is the same type: brands are equal by name. */
type SameElsewhere = Branded<number, 'PhysicalQuantity'>
export const same: SameElsewhere = counted
