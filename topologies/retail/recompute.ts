/**
 * The independent witness: what both views must hold in the end, straight from the rows. It shares no code with the feed's translation into
 * facts, nor with the topology's translations and folds, so that a mistake there cannot hide here. Do not make it share any.
 */
import type { BrokenRow, Row } from './csv.ts'

export interface Expected {
  /** By `sku|country`. */
  readonly stock: ReadonlyMap<string, { readonly physical: number; readonly reserved: number; readonly allocatable: number }>
  /** By `country|day`. */
  readonly sales: ReadonlyMap<string, Readonly<Record<'units' | 'cents' | 'returnedUnits' | 'returnedCents', number>>>
  /** Rows that could not be read. */
  readonly broken: number
}

export async function recompute(rows: AsyncIterable<readonly (Row | BrokenRow)[]>): Promise<Expected> {
  const witness = new Witness()
  for await (const some of rows) for (const row of some) witness.take(row)
  return witness.expected()
}

/** The same, a row at a time. */
export class Witness {
  readonly #stock = new Map<string, { physical: number; reserved: number; allocatable: number }>()
  readonly #sales = new Map<string, { units: number; cents: number; returnedUnits: number; returnedCents: number }>()
  #broken = 0

  take(row: Row | BrokenRow): void {
    if ('problem' in row) {
      this.#broken += 1
      return
    }
    if (!/^[0-9]{5}[a-zA-Z]*$/.test(row.stockCode)) return

    const sku = `${row.stockCode}|${row.country}`
    const shelf = this.#stock.get(sku) ?? { physical: 1000, reserved: 0, allocatable: 0 }
    this.#stock.set(sku, shelf)
    if (row.customer === '' && /^-?[0.]+$/.test(row.price)) {
      shelf.physical += row.quantity
      return
    }

    const day = `${row.country}|${new Date(row.at).toJSON().split('T', 1)[0]}`
    const sold = this.#sales.get(day) ?? { units: 0, cents: 0, returnedUnits: 0, returnedCents: 0 }
    this.#sales.set(day, sold)
    if (row.invoice[0] === 'C' || row.invoice[0] === 'c') {
      const returned = row.quantity < 0 ? -row.quantity : row.quantity
      shelf.reserved -= returned
      sold.returnedUnits += returned
      sold.returnedCents += amount(returned, row.price)
    } else {
      shelf.reserved += row.quantity
      sold.units += row.quantity
      sold.cents += amount(row.quantity, row.price)
    }
  }

  expected(): Expected {
    for (const shelf of this.#stock.values()) shelf.allocatable = shelf.physical - shelf.reserved
    return { stock: this.#stock, sales: this.#sales, broken: this.#broken }
  }
}

/** Cents by long division: whole ones first, then one more, away from zero, when half of one or more is left. */
function amount(quantity: number, price: string): number {
  const point = price.indexOf('.')
  const places = point < 0 ? 0 : price.length - point - 1
  const product = BigInt(price.replace('.', '')) * BigInt(quantity)
  const one = 10n ** BigInt(places)
  const whole = (product * 100n) / one
  const left = (product * 100n) % one
  const away = 2n * left >= one ? 1n : 2n * left <= -one ? -1n : 0n
  return Number(whole + away)
}
