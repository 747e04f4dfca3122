/**
 * The retail topology itself, the one that `npm start` runs: two sources keyed differently, three translations, two inboxes, two projections.
 * The facts are made of rows of invoices by the feed's own code and sent in any order that keeps the order of each key, so that each seed is
 * another interleaving of the sources. What must come of them is said by the witness of the demonstration, which shares no code with the
 * topology and takes all orders before all movements: no row may depend on who came first.
 */
import type { Contract } from '#tidemark'
import type { Random } from '../../../src/ports/clock.ts'
import { type Expected, type Fed, fed, type OutputModel, type Recorded } from '../../../src/testing/simulate.ts'
import { orderLifecycle, stockMovements } from '../../../topologies/retail/contracts.ts'
import type { Row } from '../../../topologies/retail/csv.ts'
import { retail } from '../../../topologies/retail/index.ts'
import { Invoices, type Upstream } from '../../../topologies/retail/invoices.ts'
import { Witness } from '../../../topologies/retail/recompute.ts'
import { BEGIN_MS, below, type Case, inSequence } from './case.ts'

const DAY_MS = 86_400_000
/** The last two are no stock: they travel like any code and change nothing. */
const CODES = ['85123A', '22086', '71053', 'POST', 'M'] as const
const COUNTRIES = ['France', 'EIRE'] as const
const PRICES = ['2.55', '0.125', '1.005', '10'] as const

// --- rows, and facts of them ------------------------------------------------------------------------------------------------------

/** Rows of a few invoices, each of one country; an invoice that goes on after another has lines that are added. */
function rowsOf(random: Random): Row[] {
  const one = <T>(of: readonly T[]): T => of[below(random, of.length)] as T
  const rows: Row[] = []
  for (let number = 1, count = 14 + below(random, 14), invoice = 0; number <= count; number++) {
    if (random.unit() < 0.6) invoice = below(random, 5)
    const kind = random.unit()
    const row = {
      number,
      stockCode: one(CODES),
      description: '',
      // Back and forth by months: the time of a fact decides on which day it counts, and nothing else.
      at: BEGIN_MS + below(random, 3) * 40 * DAY_MS + below(random, 2) * DAY_MS,
      price: one(PRICES),
      customer: '17850',
      country: COUNTRIES[invoice % COUNTRIES.length] as string,
    }
    if (kind < 0.15) rows.push({ ...row, invoice: `A${invoice}`, price: '0', customer: '', quantity: below(random, 9) - 4 })
    else if (kind < 0.35) rows.push({ ...row, invoice: `C${invoice}`, quantity: -1 - below(random, 9) })
    else rows.push({ ...row, invoice: `5363${invoice}`, quantity: 1 + below(random, 9) })
  }
  return rows
}

const keyOf = ({ contract, fact }: Upstream): string => `${contract} ${JSON.stringify(fact.key)}`

/** Any interleaving of the keys of both sources: only what is said of one key stays in order. */
function interleaved(facts: readonly Upstream[], random: Random): Upstream[] {
  const lanes = [...Map.groupBy(facts, keyOf).values()].map((lane) => [...lane])
  const sent: Upstream[] = []
  while (lanes.length > 0) {
    const place = below(random, lanes.length)
    const [lane] = lanes.slice(place, place + 1) as [Upstream[]]
    sent.push(lane.shift() as Upstream)
    if (lane.length === 0) lanes.splice(place, 1)
  }
  return sent
}

function sent(upstream: Upstream, more: { readonly id?: string; readonly raw?: Uint8Array } = {}): Fed {
  const { contract, fact, at, id, sequence } = upstream
  const of = (contract === 'order-lifecycle' ? orderLifecycle : stockMovements) as unknown as Contract<string, unknown, unknown>
  // What cannot be read takes no sequence, so nothing ever waits for it.
  return fed(of, fact as never, more.raw === undefined ? { at, id, sequence } : { at, id: `${id}-broken`, raw: more.raw })
}

// --- what must come of them -------------------------------------------------------------------------------------------------------

interface Line {
  readonly sku: string
  readonly quantity: number
  readonly unitPrice: string
  readonly typedAt: number
}
type Order = { readonly type: string; readonly country: string; readonly lines: readonly Line[] }
type Movement = { readonly type: string; readonly country: string; readonly quantity: number }

const isStock = (code: string): boolean => /^[0-9]{5}[A-Za-z]*$/.test(code)

/** The rows that facts were made of, as far as they matter. A receipt has none: the witness knows of opening stock. */
function rowsBehind({ topic, key = '', at, value }: Recorded): Row[] {
  const row = { number: 0, description: '', at, invoice: key, price: '0', customer: '' }
  if (topic === orderLifecycle.topic) {
    const { type, country, lines } = value as Order
    const sign = type === 'OrderCancelled' ? -1 : 1
    return lines.map(({ sku, quantity, unitPrice, typedAt }) => ({
      ...row,
      stockCode: sku,
      country,
      quantity: sign * quantity,
      price: unitPrice,
      customer: 'somebody',
      at: typedAt,
    }))
  }
  const { type, country, quantity } = value as Movement
  return type === 'StockAdjusted' ? [{ ...row, stockCode: key.slice(key.indexOf('|') + 1), country, quantity }] : []
}

function settled(sources: ReadonlyMap<string, readonly (readonly Recorded[])[]>): ReturnType<Witness['expected']> {
  const witness = new Witness()
  for (const topic of [orderLifecycle.topic, stockMovements.topic])
    for (const records of sources.get(topic) ?? [])
      for (const record of inSequence(records)) for (const row of rowsBehind(record)) witness.take(row)
  return witness.expected()
}

/** Cents of a line, by counting in units of a tenth of a mill: enough places for the prices above. */
function cents({ quantity, unitPrice }: Line): number {
  const [whole = '0', places = ''] = unitPrice.split('.')
  return Math.floor((quantity * Number(`${whole}${places.padEnd(4, '0')}`) + 50) / 100)
}

interface Meant {
  readonly key: string
  readonly text: string
}
/** What an order means for the stock, what it means for sales, and what a movement means, said once more. */
const TRANSLATED: Readonly<Record<string, (record: Recorded) => Meant[]>> = {
  'orders-as-stock-changes': ({ value }) => {
    const { type, country, lines } = value as Order
    const change = type === 'OrderCancelled' ? 'Released' : 'Reserved'
    return lines.flatMap(({ sku, quantity }) => (isStock(sku) ? [{ key: `${sku}|${country}`, text: `${change} ${quantity}` }] : []))
  },
  'orders-as-sales': ({ value }) => {
    const { type, country, lines } = value as Order
    const sale = type === 'OrderCancelled' ? 'Returned' : 'Sold'
    return lines.flatMap((line) => {
      const day = new Date(line.typedAt).toISOString().slice(0, 10)
      return isStock(line.sku) ? [{ key: `${country}|${day}`, text: `${sale} ${line.quantity} ${cents(line)}` }] : []
    })
  },
  'movements-as-stock-changes': ({ key = '', value }) => {
    const { type, country, quantity } = value as Movement
    const sku = key.slice(key.indexOf('|') + 1)
    return isStock(sku) ? [{ key: `${sku}|${country}`, text: `${type === 'StockReceived' ? 'Arrived' : 'Adjusted'} ${quantity}` }] : []
  },
}

type Fact = { readonly type: string; readonly quantity?: number; readonly units?: number; readonly cents?: number }
const textOf = ({ type, quantity, units, cents: of }: Fact): string => `${type} ${quantity ?? `${units} ${of}`}`

/** What an inbox must hold of one source: for each partition and key, in the order of the source's facts, and made from which of them. */
function inboxOf(from: string, to: string, step: string): OutputModel & { readonly to: string } {
  return {
    from,
    to,
    read: ({ key, value, headers }): Expected | undefined => {
      const origin = headers.tm_origin ?? ''
      if (key === undefined || !origin.startsWith(`${from}/`)) return undefined
      return { lane: `${origin.slice(0, origin.indexOf('@'))} ${key}`, text: `${textOf(value as Fact)} of ${headers.ce_causationid}` }
    },
    fold: (records) =>
      inSequence(records).flatMap((record) =>
        (TRANSLATED[step] as (record: Recorded) => Meant[])(record).map(({ key, text }) => ({
          lane: `${record.topic}/${record.partition} ${key}`,
          text: `${text} of ${record.headers.ce_id}`,
        })),
      ),
  }
}

// --- the rows of an inbox, at every moment ------------------------------------------------------------------------------------------

function folded<Row extends object>(
  none: Row,
  take: (row: Row, fact: Required<Fact>) => Row,
): (records: readonly Recorded[]) => Map<string, Row> {
  return (records) => {
    const rows = new Map<string, Row>()
    for (const { key = '', value } of records) rows.set(key, take(rows.get(key) ?? none, value as Required<Fact>))
    return rows
  }
}

const stockOf = folded({ physical: 0, reserved: 0, allocatable: 0 }, ({ physical, reserved }, { type, quantity }) => {
  const shelf = physical + (type === 'Arrived' || type === 'Adjusted' ? quantity : 0)
  const promised = reserved + (type === 'Reserved' ? quantity : type === 'Released' ? -quantity : 0)
  return { physical: shelf, reserved: promised, allocatable: shelf - promised }
})
const salesOf = folded({ units: 0, cents: 0, returnedUnits: 0, returnedCents: 0 }, (row, { type, units, cents: of }) =>
  type === 'Sold'
    ? { ...row, units: row.units + units, cents: row.cents + of }
    : { ...row, returnedUnits: row.returnedUnits + units, returnedCents: row.returnedCents + of },
)

export const retailCase: Case = {
  name: 'retail',
  about: 'orders and movements of real shape, in any order of the sources, become stock and sales as the witness says',
  topology: retail,
  // What adds up here trusts the steps before its inbox, which is enough exactly once only.
  settings: { guarantee: 'exactly-once' },
  feed: (random) => {
    const invoices = new Invoices('simulated')
    const facts = [...rowsOf(random).flatMap((row) => invoices.take(row)), ...invoices.end()]
    return interleaved(facts, random).flatMap((upstream) =>
      random.unit() < 0.06 ? [sent(upstream, { raw: Buffer.from('poison') }), sent(upstream)] : [sent(upstream)],
    )
  },
  oracle: {
    rows: { 'allocatable-stock': stockOf, 'sales-by-day': salesOf },
    settled: { 'allocatable-stock': (sources) => settled(sources).stock, 'sales-by-day': (sources) => settled(sources).sales },
    outputs: [
      inboxOf(orderLifecycle.topic, 'stock', 'orders-as-stock-changes'),
      inboxOf(stockMovements.topic, 'stock', 'movements-as-stock-changes'),
      inboxOf(orderLifecycle.topic, 'sales', 'orders-as-sales'),
    ],
    account: (count) => {
      for (const [inbox, projection] of [
        ['stock', 'allocatable-stock'],
        ['sales', 'sales-by-day'],
      ] as const) {
        const [entered, applied] = [count('records_in', inbox), count('applied', projection)]
        if (entered !== applied) return `${entered} facts entered "${inbox}", ${applied} were applied by "${projection}"`
      }
      return undefined
    },
  },
}
