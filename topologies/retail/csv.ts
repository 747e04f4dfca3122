/**
 * Reads invoices: a CSV file, plain or gzip, with the eight columns of the UCI "Online Retail" data set.
 *
 * Promised: fields come trimmed and otherwise as they are written; every reading of a file gives the same rows; a row that cannot be read
 * is told with its line, never guessed. Not promised: any sense of the data. Who takes the rows decides that.
 */
import type { Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { type Split, Splitter } from './split.ts'
import { foreignKind, noInvoices, unreadable } from './unreadable.ts'

const COLUMNS = ['InvoiceNo', 'StockCode', 'Description', 'Quantity', 'InvoiceDate', 'UnitPrice', 'CustomerID', 'Country']
const HEADER = COLUMNS.join(',')

export interface Row {
  /** Its place among the rows of the file, broken ones counted, from 1. */
  readonly number: number
  readonly invoice: string
  readonly stockCode: string
  /** Empty where there is none. */
  readonly description: string
  /** Signed, as written. */
  readonly quantity: number
  /** ms since 1970. */
  readonly at: number
  /** A decimal, as written. */
  readonly price: string
  /** Empty where there is none. */
  readonly customer: string
  readonly country: string
}

/** A row that cannot be read: why, and the line that it begins on, from 1. */
export interface BrokenRow {
  readonly line: number
  readonly problem: string
}

/**
 * The rows of a file in order, some at a time.
 * @param hash takes in the bytes of the file, unpacked, so that a file and its gzip are the same
 * @throws TidemarkError INPUT_INVALID when the file cannot be read, or its first line does not name the columns
 * @example for await (const rows of readInvoices('invoices.csv.gz')) for (const row of rows) console.log(row)
 */
export async function* readInvoices(file: string, hash?: Hash): AsyncGenerator<readonly (Row | BrokenRow)[]> {
  const splitter = new Splitter()
  let headed = false
  let begin: Buffer = Buffer.alloc(0)
  let rows = 0
  const read = (records: readonly Split[]): (Row | BrokenRow)[] => {
    const [first, ...others] = records
    if (headed || first === undefined) return records.map((record) => rowOf(record, ++rows))
    checkHeader(file, begin, first)
    headed = true
    return read(others)
  }
  for await (const block of blocks(file)) {
    hash?.update(block)
    if (begin.length === 0) {
      begin = block.subarray(0, BEGIN_BYTES)
      const foreign = foreignKind(file, begin)
      if (foreign !== undefined) throw foreign
    }
    yield read(splitter.take(block))
  }
  yield read(splitter.end())
  if (!headed) checkHeader(file, begin, undefined)
}

const BLOCK_BYTES = 256 * 1024
/** So much of a file tells what kind of file it is. */
const BEGIN_BYTES = 512

/** The bytes of a file, unpacked where it is a gzip. */
async function* blocks(file: string): AsyncGenerator<Buffer> {
  try {
    const gzip = await beginsAsGzip(file)
    const bytes = createReadStream(file, { highWaterMark: BLOCK_BYTES })
    // An error on either side ends the loop below, so there is nothing left to say to a callback.
    yield* gzip ? pipeline(bytes, createGunzip({ chunkSize: BLOCK_BYTES }), () => {}) : bytes
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

async function beginsAsGzip(file: string): Promise<boolean> {
  const handle = await open(file)
  try {
    const magic = Buffer.alloc(2)
    await handle.read(magic, 0, 2, 0)
    return magic[0] === 0x1f && magic[1] === 0x8b
  } finally {
    await handle.close()
  }
}

function checkHeader(file: string, begin: Buffer, record: Split | undefined): void {
  if (record !== undefined && 'fields' in record && record.fields.map((name) => name.trim()).join(',') === HEADER) return
  const found =
    record === undefined ? 'it is empty' : 'problem' in record ? record.problem : `it begins with ${shown(record.fields.join(','))}`
  throw noInvoices(file, begin, found, HEADER)
}

function rowOf(record: Split, number: number): Row | BrokenRow {
  if ('problem' in record) return record
  const { line, fields } = record
  if (fields.length !== COLUMNS.length) return { line, problem: `it has ${fields.length} columns instead of ${COLUMNS.length}` }
  const [invoice, stockCode, description, quantity, date, price, customer, country] = fields.map((field) => field.trim()) as Eight
  const at = timeOf(date)
  const problem =
    nameProblem('invoice number', invoice) ??
    nameProblem('stock code', stockCode) ??
    nameProblem('country', country) ??
    (QUANTITY.test(quantity) ? undefined : `its quantity ${shown(quantity)} is no whole number of at most seven digits`) ??
    (at === undefined ? `its date ${shown(date)} is no time such as 2010-12-01 08:26:00` : undefined) ??
    (PRICE.test(price) ? undefined : `its price ${shown(price)} is no decimal below a million`)
  if (problem !== undefined) return { line, problem }
  // Adding 0 makes 0 of -0, which no integer on the wire could tell from it.
  return { number, invoice, stockCode, description, quantity: Number(quantity) + 0, at: at as number, price, customer, country }
}

type Eight = [string, string, string, string, string, string, string, string]

/** With these bounds the amount of any row is exact as a number of cents. */
const QUANTITY = /^-?\d{1,7}$/
const PRICE = /^-?\d{1,6}(\.\d{1,12})?$/

/** What tells rows apart must be there, and be text: bytes that are not UTF-8 come as U+FFFD, and two names that differ could look alike. */
function nameProblem(what: string, name: string): string | undefined {
  if (name === '') return `it has no ${what}`
  return name.includes('\uFFFD') ? `its ${what} is not UTF-8` : undefined
}

function timeOf(date: string): number | undefined {
  const [, day, time] = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})$/.exec(date) ?? []
  const at = Date.parse(`${day}T${time}.000Z`)
  // 30 February is not a day, though some parsers take it for 2 March. Logs have no times before 1970.
  return at >= 0 && new Date(at).toISOString() === `${day}T${time}.000Z` ? at : undefined
}

/** As JSON, because a file may hold anything, and what is wrong with it is shown on a terminal. */
function shown(field: string): string {
  return JSON.stringify(field.length > 40 ? `${field.slice(0, 40)}...` : field).replaceAll(/\p{Cc}/gu, '?')
}
