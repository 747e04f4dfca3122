/** Compares both views with the recomputation, row by row, and says in one line how it ended. */
import { createHash } from 'node:crypto'
import type { FeedCheck, FeedSubject } from '#tidemark'
import type { Expected } from './recompute.ts'

/** The parts of each view's key, and the columns that are compared and added up. */
const STOCK = { view: 'allocatable-stock', key: ['sku', 'region'], columns: ['physical', 'reserved', 'allocatable'] } as const
const SALES = { view: 'sales-by-day', key: ['country', 'day'], columns: ['units', 'cents', 'returnedUnits', 'returnedCents'] } as const
type Shape = typeof STOCK | typeof SALES
type Numbers = Readonly<Record<string, number>>

/** A view as text: a line `key|column|column\n` a row, in the order of their bytes. */
interface Sheet {
  readonly lines: readonly string[]
  readonly sums: Numbers
  /** SHA-256 of all lines, hex. */
  readonly hash: string
}

export async function compare(subject: FeedSubject, expected: Expected): Promise<FeedCheck> {
  const stock = sheetOf(STOCK, await rowsOf(subject, STOCK))
  const sales = sheetOf(SALES, await rowsOf(subject, SALES))
  const differences = [
    differenceOf(STOCK, stock, sheetOf(STOCK, [...expected.stock])),
    differenceOf(SALES, sales, sheetOf(SALES, [...expected.sales])),
  ].filter((difference) => difference !== undefined)
  const equal = differences.length === 0
  const sentence = equal
    ? `Equal to a recomputation from the CSV: ${shown(STOCK, stock)}; ${shown(SALES, sales)}.`
    : `NOT equal to a recomputation from the CSV: ${differences.join('; ')}.`
  const { broken } = expected
  return {
    equal,
    sentence: broken === 0 ? sentence : `${sentence} Left out of both: ${broken} rows that could not be read.`,
    figures: {
      rows: stock.lines.length,
      sums: stock.sums,
      hash: stock.hash,
      equal,
      sales: { rows: sales.lines.length, sums: sales.sums, hash: sales.hash },
      brokenRows: broken,
    },
  }
}

async function rowsOf(subject: FeedSubject, { view, key }: Shape): Promise<[name: string, row: Numbers][]> {
  const reading = subject.view(view)
  const rows: [string, Numbers][] = []
  for (let after: string | undefined; ; ) {
    const page = await reading.page({ limit: 1_000, ...(after === undefined ? {} : { after }) })
    for (const row of page.rows) {
      const parts = row.key as Readonly<Record<string, string>>
      rows.push([key.map((part) => parts[part]).join('|'), row.value as Numbers])
    }
    if (page.next === undefined) return rows
    after = page.next
  }
}

function sheetOf({ columns }: Shape, rows: readonly (readonly [name: string, row: Numbers])[]): Sheet {
  const numbersOf = (row: Numbers): number[] => columns.map((column) => row[column] as number)
  const lines = rows.map(([name, row]) => Buffer.from(`${name}|${numbersOf(row).join('|')}\n`)).sort((a, b) => a.compare(b))
  const sums = columns.map((column, i) => [column, rows.reduce((sum, [, row]) => sum + (numbersOf(row)[i] as number), 0)] as const)
  const hash = createHash('sha256').update(Buffer.concat(lines)).digest('hex')
  return { lines: lines.map((line) => line.toString().trimEnd()), sums: Object.fromEntries(sums), hash }
}

/** For each side the first line that the other does not have. */
function differenceOf({ view }: Shape, found: Sheet, right: Sheet): string | undefined {
  if (found.hash === right.hash) return undefined
  const firstNotIn = (lines: readonly string[], others: ReadonlySet<string>): string => {
    const line = lines.find((each) => !others.has(each))
    return line === undefined ? 'nothing' : JSON.stringify(line)
  }
  const wrong = firstNotIn(found.lines, new Set(right.lines))
  return `${view} has ${wrong} where ${firstNotIn(right.lines, new Set(found.lines))} is right`
}

function shown({ view }: Shape, { lines, sums, hash }: Sheet): string {
  const figures = Object.entries(sums).map(([column, sum]) => `${grouped(sum)} ${column.replace('returned', 'returned ').toLowerCase()}`)
  return `${view} has ${grouped(lines.length)} rows, ${figures.join(', ')}, hash ${hash}`
}

function grouped(value: number): string {
  return value.toLocaleString('en')
}
