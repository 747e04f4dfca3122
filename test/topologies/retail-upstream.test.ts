/** What the feed makes of rows before anything is sent: facts, faults, times. */
import { expect, test } from 'vitest'
import type { Row } from '../../topologies/retail/csv.ts'
import { type Delivery, Faults, NO_FAULTS } from '../../topologies/retail/faults.ts'
import { Invoices, type Upstream } from '../../topologies/retail/invoices.ts'
import { gapBetween, Pace, waitMs } from '../../topologies/retail/pace.ts'

const AT = Date.UTC(2010, 11, 1, 8, 26)
let number = 0
const row = (invoice: string, more: Partial<Row> = {}): Row => ({
  number: ++number,
  invoice,
  stockCode: '71053',
  description: 'LANTERN',
  quantity: 6,
  at: AT,
  price: '3.39',
  customer: '17850.0',
  country: 'EIRE',
  ...more,
})

function factsOf(rows: readonly Row[], file = 'file'): Upstream[] {
  const invoices = new Invoices(file)
  return [...rows.flatMap((each) => invoices.take(each)), ...invoices.end()]
}
/** Facts of orders, or all without the opening stock that every first row brings. */
const withoutOpening = (facts: readonly Upstream[]): Upstream[] => facts.filter(({ part }) => part !== 'opening')
const shown = ({ fact, sequence }: Upstream): unknown[] => [
  fact.value.type,
  typeof fact.key === 'string' ? fact.key : `${fact.key.warehouse}|${fact.key.sku}`,
  sequence,
  'lines' in fact.value ? fact.value.lines.map(({ quantity }) => quantity) : fact.value.quantity,
]

test('consecutive rows of an invoice are one order of ten lines at most, and what follows are lines added', () => {
  const rows = [...Array.from({ length: 11 }, (_, i) => row('1', { quantity: i })), row('2'), row('1', { quantity: 20 })]
  expect(withoutOpening(factsOf(rows)).map(shown)).toEqual([
    ['OrderPlaced', '1', 1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ['OrderLinesAdded', '1', 2, [10]],
    ['OrderPlaced', '2', 1, [6]],
    ['OrderLinesAdded', '1', 3, [20]],
  ])
})

test('another kind or another country ends an event, and two equal rows are two lines', () => {
  const rows = [
    row('1'),
    row('1'),
    row('1', { country: 'France' }),
    row('1', { price: '0', customer: '' }),
    row('1', { country: 'France' }),
  ]
  expect(withoutOpening(factsOf(rows)).map(shown)).toEqual([
    ['OrderPlaced', '1', 1, [6, 6]],
    ['OrderLinesAdded', '1', 2, [6]],
    ['StockAdjusted', 'wh-EIRE|71053', 2, 6],
    ['OrderLinesAdded', '1', 3, [6]],
  ])
})

test('an invoice that starts with C takes back absolute quantities, under its own number and in as many events', () => {
  const rows = [row('C1', { quantity: -2 }), row('c1', { quantity: 3 }), row('C1', { quantity: -4 })]
  expect(withoutOpening(factsOf(rows)).map(shown)).toEqual([
    ['OrderCancelled', 'C1', 1, [2]],
    ['OrderCancelled', 'c1', 1, [3]],
    ['OrderCancelled', 'C1', 2, [4]],
  ])
})

test('a row without price and customer is an adjustment with its sign, even on an invoice that starts with C', () => {
  const adjusted = { price: '0.0', customer: '', quantity: -7, description: 'damaged' }
  const facts = factsOf([row('C9', adjusted), row('9', { price: '0.00' }), row('9', { customer: '' })])
  expect(facts.map(shown)).toEqual([
    ['StockReceived', 'wh-EIRE|71053', 1, 1_000],
    ['StockAdjusted', 'wh-EIRE|71053', 2, -7],
    ['OrderPlaced', '9', 1, [6, 6]],
  ])
  expect(facts[1]?.fact.value).toMatchObject({ country: 'EIRE', reason: 'damaged' })
})

test('the first stock row of a SKU and country of any kind brings its opening stock first, and says that it is synthetic', () => {
  const facts = factsOf([
    row('1'),
    row('2'),
    row('3', { country: 'France' }),
    row('4', { stockCode: 'POST' }),
    row('5', { stockCode: '71053a' }),
  ])
  expect(facts.filter(({ part }) => part === 'opening').map(shown)).toEqual([
    ['StockReceived', 'wh-EIRE|71053', 1, 1_000],
    ['StockReceived', 'wh-France|71053', 1, 1_000],
    ['StockReceived', 'wh-EIRE|71053a', 1, 1_000],
  ])
  expect(facts[0]?.fact.value).toMatchObject({ synthetic: true, country: 'EIRE' })
})

test('a line keeps its description, price and time as they are in the row, and says so where there is none', () => {
  const later = AT + 86_400_000
  const [order] = withoutOpening(factsOf([row('1', { price: '3.390', customer: '', description: '', at: later })]))
  expect(order).toMatchObject({ at: later, fact: { value: { customer: null, country: 'EIRE' } } })
  expect(order?.fact.value).toMatchObject({ lines: [{ sku: '71053', description: null, quantity: 6, unitPrice: '3.390', typedAt: later }] })
})

test('ids follow from the file and the row alone, and are all different', () => {
  const rows = Array.from({ length: 50 }, (_, i) =>
    row(String(i), { stockCode: String(10_000 + i), ...(i % 3 === 0 ? { price: '0', customer: '' } : {}) }),
  )
  const ids = factsOf(rows).map(({ id }) => id)
  expect(factsOf(rows).map(({ id }) => id)).toEqual(ids)
  expect(new Set(ids).size).toBe(100)
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true)
  expect(factsOf(rows, 'other').some(({ id }) => ids.includes(id))).toBe(false)
})

// --- faults -----------------------------------------------------------------------------------------------------------------------

const many = factsOf(Array.from({ length: 6_000 }, (_, i) => row(`${Math.floor(i / 3) % 1_500}`, { stockCode: `${10_000 + (i % 900)}` })))
function delivered(seed: number, facts: readonly Upstream[] = many): Delivery[] {
  const faults = new Faults(seed)
  return [...facts.flatMap((fact) => faults.take(fact)), ...faults.end()]
}

test('without a seed every fact leaves once and in order', () => {
  expect(many.flatMap((fact) => NO_FAULTS.take(fact))).toEqual(many.map((upstream) => ({ kind: 'fact', upstream })))
  expect(NO_FAULTS.end()).toEqual([])
})

test.each([0, 1, 2, 3])('with seed %d every fact leaves, some again within 2,000 records, some after the next of their key', (seed) => {
  const all = delivered(seed)
  const first = new Map(all.flatMap(({ kind, upstream }, i) => (kind === 'fact' ? [[upstream.id, i] as const] : [])))
  expect(all.filter(({ kind }) => kind === 'fact')).toHaveLength(many.length)
  expect(first.size).toBe(many.length)

  const again = all.flatMap(({ kind, upstream }, i) => (kind === 'again' ? [i - (first.get(upstream.id) as number)] : []))
  expect(again.length / many.length).toBeGreaterThan(0.01)
  expect(again.length / many.length).toBeLessThan(0.03)
  expect(Math.min(...again)).toBeGreaterThanOrEqual(1)
  expect(Math.max(...again)).toBeLessThanOrEqual(2_000)

  const keyOf = ({ contract, fact }: Upstream): string => contract + JSON.stringify(fact.key)
  const leftBefore = new Map<string, Upstream[]>()
  for (const { kind, upstream } of all) {
    if (kind === 'fact') leftBefore.set(keyOf(upstream), [...(leftBefore.get(keyOf(upstream)) ?? []), upstream])
  }
  let swapped = 0
  for (const facts of leftBefore.values()) {
    facts.forEach(({ sequence }, i) => {
      // One place off at most: a fact lets the next of its key pass, and only that one.
      expect(Math.abs(sequence - (i + 1))).toBeLessThanOrEqual(1)
      if (sequence === i) swapped += 1
    })
  }
  expect(swapped / many.length).toBeGreaterThan(0.002)

  const poison = all.flatMap((delivery) => (delivery.kind === 'poison' ? [delivery] : []))
  expect(poison.some(({ bytes }) => bytes[0] === 0 && bytes.readUInt32BE(1) >= 0x7f000000)).toBe(true)
  expect(poison.some(({ bytes }) => bytes[0] !== 0)).toBe(true)
})

test('a fact whose key has no next one leaves at the end, if it is drawn to be late', () => {
  const single = factsOf(Array.from({ length: 400 }, (_, i) => row(`s${i}`)))
  const order = delivered(5, single).flatMap(({ kind, upstream }) => (kind === 'fact' ? [single.indexOf(upstream)] : []))
  const backwards = order.filter((place, i) => i > 0 && place < (order[i - 1] as number))
  expect(backwards).toHaveLength(1)
  expect(order.toSorted((a, b) => a - b)).toEqual(single.map((_, i) => i))
})

test('faults follow from the seed alone', () => {
  expect(delivered(7)).toEqual(delivered(7))
  expect(delivered(8)).not.toEqual(delivered(7))
})

// --- pace -------------------------------------------------------------------------------------------------------------------------

test('a pace is a multiple of real time, and no wait is longer than a second', () => {
  expect(waitMs(gapBetween(undefined, 5), 1)).toBe(0)
  expect(waitMs(gapBetween(1_000, 61_000), 100)).toBe(600)
  expect(waitMs(gapBetween(0, 86_400_000), 100)).toBe(1_000)
  expect(waitMs(gapBetween(2_000, 1_000), 1)).toBe(0)
})

test('the pace that is chosen makes the rows last as long as wanted, night and day', () => {
  const times = Array.from({ length: 2_000 }, (_, i) => AT + i * 60_000 + Math.floor(i / 400) * 50_000_000)
  const pace = new Pace()
  for (const at of times) pace.note(at)
  const factor = pace.factorFor(180_000)
  const lasts = times.reduce((sum, at, i) => sum + waitMs(gapBetween(times[i - 1], at), factor), 0)
  expect(lasts).toBeGreaterThan(179_999)
  expect(lasts).toBeLessThanOrEqual(180_000)
})

test('rows that are through sooner than wanted come in real time, and rows of one moment at once', () => {
  const pace = new Pace()
  for (const at of [0, 500, 1_000]) pace.note(at)
  expect(pace.factorFor(180_000)).toBe(1)
  expect(new Pace().factorFor(180_000)).toBe(1)
})
