import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { compare } from '../../topologies/retail/check.ts'
import { readInvoices } from '../../topologies/retail/csv.ts'
import { centsOf } from '../../topologies/retail/money.ts'
import { type Expected, recompute } from '../../topologies/retail/recompute.ts'
import { RIGHT } from './rig.ts'
import { SHIPPED, SHUFFLED, shuffled, unpacked } from './shuffle.ts'

/** Views that hold what was recomputed, so that `compare` prints its figures. */
function viewsOf(expected: Expected): Parameters<typeof compare>[0] {
  const rowsOf = (name: string) =>
    name === 'allocatable-stock'
      ? [...expected.stock].map(([key, value]) => {
          const [sku, ...region] = key.split('|')
          return { key: { sku, region: region.join('|') }, text: key, value }
        })
      : [...expected.sales].map(([key, value]) => ({ key: { country: key.slice(0, -11), day: key.slice(-10) }, text: key, value }))
  return { view: (name) => ({ name, page: () => Promise.resolve({ rows: rowsOf(name), next: undefined }) }) as never }
}

test.each([
  ['shipped', SHIPPED],
  ['shuffled', SHUFFLED],
])('the recomputation of the %s file gives the published figures', async (_name, file) => {
  const expected = await recompute(readInvoices(file))
  const { figures } = await compare(viewsOf(expected), expected)
  expect(figures).toMatchObject(RIGHT)
})

test('the shuffled file has the rows of the shipped one, in the order that its seed gives', () => {
  expect(gunzipSync(readFileSync(SHUFFLED)).toString()).toBe(shuffled(unpacked(SHIPPED)))
  expect(shuffled(unpacked(SHIPPED)).split('\n').sort()).toEqual(unpacked(SHIPPED).split('\n').sort())
})

test('a view that differs in one number is found, and both lines are named', async () => {
  const expected = await recompute(readInvoices(SHIPPED))
  const stock = new Map(expected.stock)
  stock.set('85123A|United Kingdom', { physical: 1, reserved: 2, allocatable: 3 })
  const check = await compare(viewsOf({ ...expected, stock }), expected)
  expect(check.equal).toBe(false)
  expect(check.sentence).toContain('NOT equal')
  expect(check.sentence).toContain('allocatable-stock has "85123A|United Kingdom|1|2|3" where "85123A|United Kingdom|1000|')
  expect(check.sentence).not.toContain('sales-by-day')
})

test('a view that lacks a row, or has one too many, is found', async () => {
  const expected = await recompute(readInvoices(SHIPPED))
  const less = new Map(expected.sales)
  less.delete('Germany|2010-12-01')
  expect((await compare(viewsOf({ ...expected, sales: less }), expected)).sentence).toContain(
    'sales-by-day has nothing where "Germany|2010-12-01|',
  )
  const more = new Map(expected.sales).set('Chile|2010-12-01', { units: 1, cents: 1, returnedUnits: 0, returnedCents: 0 })
  expect((await compare(viewsOf({ ...expected, sales: more }), expected)).sentence).toContain(
    '"Chile|2010-12-01|1|1|0|0" where nothing is right',
  )
})

test.each([
  [3, '2.55', 765],
  [3, '0.125', 38],
  [1, '0.005', 1],
  [1, '0.004', 0],
  [-3, '0.125', -38],
  [3, '-0.125', -38],
  [-3, '-0.125', 38],
  [7, '12', 8_400],
  [0, '2.55', 0],
  [1, '0.004999999999', 0],
  [9_999_999, '999999.999999999999', 999_999_900_000_000],
])('%d at %s is %d cents', (quantity, price, cents) => {
  expect(centsOf(quantity, price)).toBe(cents)
})

test.each(['', '.', '1.', '.5', '1e3', '+1', '1,5', 'NaN', ' 1'])('"%s" is no price', (price) => {
  expect(() => centsOf(1, price)).toThrow(RangeError)
})
