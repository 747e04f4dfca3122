/** The retail topology end to end on the real embedded log: whatever its feed does to the facts, both views hold what the CSV says. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { APPLIED, csvIn, inFolder, RIGHT, Session, whole } from './rig.ts'
import { SHUFFLED } from './shuffle.ts'

/** More by hand: TIDEMARK_SEEDS=50. */
const SEEDS = Array.from({ length: Number(process.env.TIDEMARK_SEEDS ?? 5) }, (_, i) => String(i + 1))

test('the real invoices become the published figures, each fact applied once', async () => {
  await inFolder(async (dir) => {
    const { check, count, facts } = await whole(dir)
    expect(check.figures).toMatchObject(RIGHT)
    expect(check.sentence).toContain('Equal to a recomputation from the CSV: allocatable-stock has 2,504 rows')
    expect([count('applied'), facts]).toEqual([APPLIED, APPLIED])
    for (const counter of ['duplicate', 'stale', 'gap', 'parked', 'dead', 'rejected', 'retried'] as const)
      expect([counter, count(counter)]).toEqual([counter, 0])
    // 38 lines of postage, fees and the like, each in the words of both translations.
    expect(count('ignored')).toBe(76)
  })
})

describe.each(SEEDS)('with the faults of seed %s', (seed) => {
  test('the result is the same, and nothing is parked', async () => {
    await inFolder(async (dir) => {
      const { check, count, facts } = await whole(dir, { seed })
      expect(check.figures).toMatchObject(RIGHT)
      expect([count('applied'), facts]).toEqual([APPLIED, APPLIED])
      expect(count('parked')).toBe(0)
      // The faults were there: a seed that does nothing proves nothing.
      for (const counter of ['duplicate', 'gap', 'released', 'dead'] as const) expect(count(counter)).toBeGreaterThan(0)
      expect(count('released')).toBe(count('gap') + count('held'))
    })
  })
})

test('rows in random order, months and invoices mixed, give the same result', async () => {
  await inFolder(async (dir) => {
    const { check, count, facts } = await whole(dir, { csv: SHUFFLED, seed: '11' })
    expect(check.figures).toMatchObject(RIGHT)
    expect(facts).toBe(APPLIED)
    expect([count('parked'), count('late')]).toEqual([0, 0])
  })
})

test('a CSV with every dirty case gives what a person would work out', async () => {
  const at = '2010-12-01 23:59:00'
  const twelve = Array.from({ length: 12 }, (_, i) => `1,${10_001 + i},LINE,1,${at},1.00,7,UK`)
  const rows = [
    // Two equal rows are two lines; with twelve more they are two events.
    `1,85123A,"HEART, WHITE",6,${at},2.55,7,UK`,
    `1,85123A,"HEART, WHITE",6,${at},2.55,7,UK`,
    ...twelve,
    // The same invoice goes on after midnight, which is another day's sale.
    '1,85123A,HEART,1,2010-12-02 00:00:00,2.55,7,UK',
    // Taken back, with and without a capital C, and with quantities of either sign.
    `C2,85123A,HEART,-2,${at},2.55,7,UK`,
    `c3,85123A,HEART,1,${at},2.55,,UK`,
    // A count corrected; one for a SKU that nobody met before, one on an invoice that starts with C.
    `4,22139,"?",-56,${at},0.0,,UK`,
    `C5,22139,found,6,${at},0,,UK`,
    // Free of charge for a customer is a sale.
    `6,22139,GIFT,3,${at},0.0,7,UK`,
    // Codes with letters, and codes that are no stock.
    `7,22139bG,"TRAY",2,${at},0.10,7,UK`,
    ...['POST', 'M', 'gift_0001_20', 'BANK CHARGES', '2213', '221390', '22139-B'].map((code) => `7,${code},,1,${at},100,7,UK`),
    `7,POST,,9,${at},0,,UK`,
    // Three decimals, half a cent either way, and a line end within a field.
    `8,30000,"TWO\nLINES",3,${at},0.125,7,UK`,
    `8,30000,,1,${at},0.004,7,UK`,
    `8,30000,,-3,${at},0.125,7,UK`,
    // A bad debt has a price below nothing.
    `A9,B,Adjust bad debt,1,${at},-11062.06,,UK`,
    `A9,30001,,1,${at},-0.125,,UK`,
    // Another country has a warehouse and sales of its own, and its name may hold what keys are cut at.
    `8,30000,,2,${at},1.00,7,Left|Right \\ Up`,
    // Broken in every way.
    'x,30000,,1',
    `,30000,,1,${at},1,7,UK`,
    `x,,,1,${at},1,7,UK`,
    `x,30000,,one,${at},1,7,UK`,
    'x,30000,,1,yesterday,1,7,UK',
    `x,30000,,1,${at},cheap,7,UK`,
    `x,30000,FRAME 7" WIDE,1,${at},1,7,UK`,
    // And one that is not, at the end.
    ` 10 , 30000 ,, 4 , ${at} , 1.00 ,, UK `,
  ]
  await inFolder(async (dir) => {
    const session = await Session.begin(join(dir, 'data'), { csv: csvIn(dir, rows), seed: '3' })
    const check = await session.finish()
    expect(check).toMatchObject({ equal: true, figures: { rows: 18, brokenRows: 7 } })
    expect(check.sentence).toContain('Left out of both: 7 rows that could not be read.')
    expect(session.feed.problems).toHaveLength(7)
    expect(session.feed.problems[0]).toBe('line 38 is left out: it has 4 columns instead of 8')
    const stockOf = async (sku: string, region = 'UK'): Promise<unknown> =>
      (await session.running.view('allocatable-stock').get({ sku, region })).value
    expect(await stockOf('85123A')).toEqual({ physical: 1_000, reserved: 10, allocatable: 990 })
    expect(await stockOf('10012')).toEqual({ physical: 1_000, reserved: 1, allocatable: 999 })
    expect(await stockOf('22139')).toEqual({ physical: 950, reserved: 3, allocatable: 947 })
    expect(await stockOf('22139bG')).toEqual({ physical: 1_000, reserved: 2, allocatable: 998 })
    expect(await stockOf('30000')).toEqual({ physical: 1_000, reserved: 5, allocatable: 995 })
    expect(await stockOf('30000', 'Left|Right \\ Up')).toEqual({ physical: 1_000, reserved: 2, allocatable: 998 })
    expect(await stockOf('POST')).toBeUndefined()
    expect(await stockOf('221390')).toBeUndefined()
    const salesOf = async (day: string): Promise<unknown> => (await session.running.view('sales-by-day').get({ country: 'UK', day })).value
    expect(await salesOf('2010-12-01')).toEqual({ units: 35, cents: 4_667, returnedUnits: 3, returnedCents: 765 })
    expect(await salesOf('2010-12-02')).toEqual({ units: 1, cents: 255, returnedUnits: 0, returnedCents: 0 })
    await session.close()
  })
})

test.each([
  ['a seed that is no whole number', { seed: '1.5' }, 'OPTION_INVALID'],
  ['a seed in words', { seed: 'x' }, 'OPTION_INVALID'],
  ['a negative seed', { seed: '-1' }, 'OPTION_INVALID'],
  ['a pace of nothing', { pace: '0' }, 'OPTION_INVALID'],
  ['a pace in words', { pace: 'fast' }, 'OPTION_INVALID'],
  ['no file name', { csv: '' }, 'OPTION_INVALID'],
  ['a file that is not there', { csv: 'nothing.csv' }, 'INPUT_INVALID'],
])('%s is refused', async (_what, options, code) => {
  await inFolder(async (dir) => {
    await expect(Session.begin(dir, options)).rejects.toMatchObject({ code })
  })
})

test('a file without rows is through at once, and both views are empty', async () => {
  await inFolder(async (dir) => {
    const { check, facts } = await whole(join(dir, 'data'), { csv: csvIn(dir, []), seed: '1' })
    expect([check.equal, check.figures.rows, facts]).toEqual([true, 0, 0])
  })
})
