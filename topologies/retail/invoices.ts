/**
 * Plays the upstream contexts: turns rows of invoices into facts of orders and of the warehouse, the same facts whenever it is given the same
 * rows. Each has an id made of the file and of the row that it begins with, so a fact that is sent again is the same fact.
 */
import { createHash } from 'node:crypto'
import type { OrderLine } from '../../schemas/orders/index.ts'
import type { PhysicalQuantity } from '../../schemas/warehouse/index.ts'
import { isStockCode, orderLifecycle, stockMovements } from './contracts.ts'
import type { Row } from './csv.ts'

/** A fact on its way to the topic of one of the two contracts, with what its publisher needs to know. */
export type Upstream =
  | (Identity & { readonly contract: 'order-lifecycle'; readonly fact: FactOf<typeof orderLifecycle> })
  | (Identity & { readonly contract: 'stock-movements'; readonly fact: FactOf<typeof stockMovements> })

export interface Identity {
  readonly id: string
  /** Among the facts of its key, from 1. */
  readonly sequence: number
  /** Business time: that of its first row, ms since 1970. */
  readonly at: number
  /** The number of its first row, and which of that row's facts it is. */
  readonly row: number
  readonly part: Part
}

type FactOf<C extends { readonly make: { readonly [type: string]: (...of: never[]) => unknown } }> = ReturnType<C['make'][keyof C['make']]>
type Part = 'opening' | 'adjustment' | 'order'

/** Nobody knows what lay on the shelves before the first invoice, so each gets so much when it is first met. */
const OPENING_STOCK = 1_000
const LINES_MAX = 10

interface OpenOrder {
  readonly kind: 'placed' | 'cancelled'
  readonly first: Row
  readonly lines: OrderLine[]
}

export class Invoices {
  readonly #file: string
  /** The last sequence of each key, by contract. */
  readonly #orders = new Map<string, number>()
  readonly #movements = new Map<string, number>()
  #open: OpenOrder | undefined

  /** @param file the hash of the file that the rows come from */
  constructor(file: string) {
    this.#file = file
  }

  /** The facts that this row makes, or completes. */
  take(row: Row): Upstream[] {
    const facts: Upstream[] = []
    if (isStockCode(row.stockCode) && !this.#movements.has(shelfOf(row))) facts.push(this.#opening(row))
    const kind = kindOf(row)
    if (this.#open !== undefined && !continues(this.#open, row, kind)) facts.push(this.#closed(this.#open))
    if (kind === 'adjusted') facts.push(this.#adjustment(row))
    else {
      this.#open ??= { kind, first: row, lines: [] }
      this.#open.lines.push(lineOf(row, kind))
      if (this.#open.lines.length === LINES_MAX) facts.push(this.#closed(this.#open))
    }
    return facts
  }

  /** The fact that the end of the file completes. */
  end(): Upstream[] {
    return this.#open === undefined ? [] : [this.#closed(this.#open)]
  }

  #closed({ kind, first, lines }: OpenOrder): Upstream {
    this.#open = undefined
    const { invoice, country, customer } = first
    const identity = this.#identify(first, 'order', this.#orders, invoice)
    const order = { country, customer: customer === '' ? null : customer, lines }
    const { OrderPlaced, OrderLinesAdded, OrderCancelled } = orderLifecycle.make
    const make = kind === 'cancelled' ? OrderCancelled : identity.sequence === 1 ? OrderPlaced : OrderLinesAdded
    return { ...identity, contract: 'order-lifecycle', fact: make(invoice, order) }
  }

  #opening(row: Row): Upstream {
    const about = { country: row.country, quantity: OPENING_STOCK as PhysicalQuantity, synthetic: true }
    const identity = this.#identify(row, 'opening', this.#movements, shelfOf(row))
    return { ...identity, contract: 'stock-movements', fact: stockMovements.make.StockReceived(placeOf(row), about) }
  }

  #adjustment(row: Row): Upstream {
    const about = {
      country: row.country,
      quantity: row.quantity as PhysicalQuantity,
      reason: row.description === '' ? null : row.description,
    }
    const identity = this.#identify(row, 'adjustment', this.#movements, shelfOf(row))
    return { ...identity, contract: 'stock-movements', fact: stockMovements.make.StockAdjusted(placeOf(row), about) }
  }

  #identify(row: Row, part: Part, sequences: Map<string, number>, key: string): Identity {
    const sequence = (sequences.get(key) ?? 0) + 1
    sequences.set(key, sequence)
    return { id: idOf(this.#file, row.number, part), sequence, at: row.at, row: row.number, part }
  }
}

/** In this order: a row without price and customer corrects a count, whatever its invoice is called. */
function kindOf({ price, customer, invoice }: Row): 'adjusted' | 'cancelled' | 'placed' {
  if (Number(price) === 0 && customer === '') return 'adjusted'
  return /^c/i.test(invoice) ? 'cancelled' : 'placed'
}

function continues(order: OpenOrder, row: Row, kind: string): boolean {
  return order.kind === kind && order.first.invoice === row.invoice && order.first.country === row.country
}

function lineOf({ stockCode, description, quantity, price, at }: Row, kind: OpenOrder['kind']): OrderLine {
  return {
    sku: stockCode,
    description: description === '' ? null : description,
    quantity: kind === 'cancelled' ? Math.abs(quantity) : quantity,
    unitPrice: price,
    typedAt: at,
  }
}

function placeOf({ country, stockCode }: Row): { warehouse: string; sku: string } {
  return { warehouse: `wh-${country}`, sku: stockCode }
}

function shelfOf({ country, stockCode }: Row): string {
  return `${stockCode}|${country}`
}

/** 128 bits of SHA-256, hex: the form of all ids here. */
export function idOf(...parts: readonly (string | number)[]): string {
  return createHash('sha256').update(parts.join('/')).digest('hex').slice(0, 32)
}
