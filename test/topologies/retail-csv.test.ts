import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { type BrokenRow, type Row, readInvoices } from '../../topologies/retail/csv.ts'
import { type Split, Splitter } from '../../topologies/retail/split.ts'
import { HEADER, inFolder } from './rig.ts'

async function read(content: string | Buffer): Promise<(Row | BrokenRow)[]> {
  return inFolder(async (folder) => {
    const file = join(folder, 'invoices.csv')
    writeFileSync(file, content)
    const rows: (Row | BrokenRow)[] = []
    for await (const some of readInvoices(file)) rows.push(...some)
    return rows
  })
}
const readRows = (...rows: readonly string[]): Promise<(Row | BrokenRow)[]> => read(`${[HEADER, ...rows].join('\n')}\n`)
const row = (invoice: string, description = 'LANTERN'): string =>
  `${invoice},71053,${description},6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom`
const BAD_QUOTE = 'a quote in it is misplaced or never closed'
const invoicesOf = (rows: readonly (Row | BrokenRow)[]): string[] =>
  rows.map((each) => ('problem' in each ? `line ${each.line}: ${each.problem}` : each.invoice))

test('a row comes with its fields trimmed, its case kept and its time in UTC', async () => {
  expect(await readRows(' 536365 , 84029g ,  KNITTED FLAG , -6 , 2010-12-01 08:26:00 , 3.390 , 17850.0 , EIRE ')).toEqual([
    {
      number: 1,
      invoice: '536365',
      stockCode: '84029g',
      description: 'KNITTED FLAG',
      quantity: -6,
      at: Date.UTC(2010, 11, 1, 8, 26),
      price: '3.390',
      customer: '17850.0',
      country: 'EIRE',
    },
  ])
})

test('quoted fields may hold commas, quotes and line ends, and the lines after them keep their numbers', async () => {
  const rows = await readRows(row('1', '"TRAY, 7"" WIDE\r\nAND LONG"'), row('2').replace(',6,', ',six,'), row('3'))
  expect(rows[0]).toMatchObject({ description: 'TRAY, 7" WIDE\r\nAND LONG' })
  expect(rows[1]).toEqual({ line: 4, problem: 'its quantity "six" is no whole number of at most seven digits' })
  expect(rows[2]).toMatchObject({ number: 3, invoice: '3' })
})

test.each([
  ['six columns', '1,71053,LANTERN,6,2010-12-01 08:26:00,3.39', 'it has 6 columns instead of 8'],
  ['nine columns', `${row('1')},more`, 'it has 9 columns instead of 8'],
  ['no invoice number', row(' '), 'it has no invoice number'],
  ['no stock code', row('1').replace('71053', ''), 'it has no stock code'],
  ['no country', row('1').replace('United Kingdom', ' '), 'it has no country'],
  ['a broken quantity', row('1').replace(',6,', ',6.5,'), 'its quantity "6.5" is no whole number of at most seven digits'],
  ['no quantity', row('1').replace(',6,', ',,'), 'its quantity "" is no whole number of at most seven digits'],
  ['a huge quantity', row('1').replace(',6,', ',12345678,'), 'its quantity "12345678" is no whole number of at most seven digits'],
  ['a day that no month has', row('1').replace('12-01', '02-30'), 'its date "2010-02-30 08:26:00" is no time such as 2010-12-01 08:26:00'],
  [
    'another form of date',
    row('1').replace('2010-12-01 08:26:00', '12/1/2010 8:26'),
    'its date "12/1/2010 8:26" is no time such as 2010-12-01 08:26:00',
  ],
  [
    'a date that would write on the terminal',
    row('1').replace('2010-12-01 08:26:00', '"20\u001b[31m\u009b10\r\n"'),
    'its date "20\\u001b[31m?10" is no time such as 2010-12-01 08:26:00',
  ],
  ['a time before 1970', row('1').replace('2010', '1969'), 'its date "1969-12-01 08:26:00" is no time such as 2010-12-01 08:26:00'],
  ['a price in words', row('1').replace('3.39', 'free'), 'its price "free" is no decimal below a million'],
  ['a price with an exponent', row('1').replace('3.39', '1e3'), 'its price "1e3" is no decimal below a million'],
  ['a quote in the middle of a field', row('1', 'FRAME 7" WIDE'), BAD_QUOTE],
  ['something behind a closing quote', row('1', '"FRAME" WIDE'), BAD_QUOTE],
  ['a quote that is never closed', row('1', '"FRAME'), BAD_QUOTE],
  ['more bytes than a row may have', row('1', 'x'.repeat(70_000)), 'it is longer than 65536 bytes'],
])('a row with %s is told with its line and costs no other row', async (_what, broken, problem) => {
  expect(invoicesOf(await readRows(row('a', '"quoted"'), broken, row('b', '"quoted"'), row('c')))).toEqual([
    'a',
    `line 3: ${problem}`,
    'b',
    'c',
  ])
})

test('a quote that stays open to the end of the file costs its own row only', async () => {
  expect(invoicesOf(await readRows(row('a'), row('1', '"FRAME'), row('b'), row('c')))).toEqual(['a', `line 3: ${BAD_QUOTE}`, 'b', 'c'])
})

test('bytes that are not UTF-8 break a row where they name something, and are shown as such in a description', async () => {
  const latin = (text: string): Buffer => Buffer.from(`${HEADER}\n${text}\n`, 'latin1')
  expect(invoicesOf(await read(latin(row('1').replace('71053', '7105\u00e9'))))).toEqual(['line 2: its stock code is not UTF-8'])
  expect(await read(latin(row('1', '\u00a35 LANTERN')))).toMatchObject([{ description: '\uFFFD5 LANTERN' }])
})

test('a byte order mark, Windows line ends, blank lines and a missing last line end change nothing', async () => {
  expect(invoicesOf(await read(`\uFEFF${HEADER}\r\n${row('a')}\r\n\r\n\n${row('b')}\n${row('broken').replace('3.39', '-')}`))).toEqual([
    'a',
    'b',
    'line 6: its price "-" is no decimal below a million',
  ])
  expect(await read(`${HEADER}\n`)).toEqual([])
})

test('a file and its gzip are the same rows and the same hash', async () => {
  await inFolder(async (folder) => {
    const content = `${HEADER}\n${row('a')}\n${row('b')}\n`
    const hashes: string[] = []
    for (const [name, bytes] of [
      ['plain', Buffer.from(content)],
      ['packed', gzipSync(content)],
    ] as const) {
      const file = join(folder, name)
      writeFileSync(file, bytes)
      const hash = createHash('sha256')
      const rows: (Row | BrokenRow)[] = []
      for await (const some of readInvoices(file, hash)) rows.push(...some)
      expect(invoicesOf(rows)).toEqual(['a', 'b'])
      hashes.push(hash.digest('hex'))
    }
    expect(hashes[1]).toBe(hashes[0])
  })
})

test.each([
  ['an empty file', '', 'it is empty'],
  ['a file of something else', 'key,value\n1,2\n', 'it begins with "key,value"'],
  ['columns in another order', `${HEADER.split(',').toReversed().join(',')}\n`, 'it begins with "Country,CustomerID,'],
  ['a header that cannot be read', `Invoice"No,${HEADER}\n`, BAD_QUOTE],
  ['one endless line', 'x'.repeat(700_000), 'it is longer than 65536 bytes'],
  ['half a gzip', gzipSync(`${HEADER}\n${row('a')}\n`).subarray(0, 60), 'ends in the middle of what it has packed'],
  ['a gzip with other bytes in it', damagedGzip(), 'cannot be unpacked: '],
  ['a binary file', Buffer.from('\x7fELF"\x02\x01\x00\x00'), 'is binary: its byte 7 is 0'],
  ['a binary file that was packed', gzipSync(Buffer.from('"\x00\x01')), 'is binary: its byte 1 is 0'],
  ['a workbook of Excel', Buffer.from('PK\x03\x04\x14\x00'), 'a zip archive, or a workbook of Excel'],
  ['text in UTF-16', Buffer.from(`\ufeff${HEADER}\n`, 'utf16le'), 'is text in UTF-16'],
])('%s is refused with a sentence', async (_what, content, detail) => {
  await expect(read(content)).rejects.toMatchObject({
    code: 'INPUT_INVALID',
    detail: expect.stringContaining(detail),
    hint: expect.any(String),
  })
})

test.each([
  ['a file that is not there', 'nothing.csv', 'there is no such file of invoices', 'does not exist'],
  ['a folder', '.', 'the invoices are a folder', 'is no file'],
])('%s is refused with a sentence', async (_what, name, message, detail) => {
  await inFolder(async (folder) => {
    await expect(readInvoices(join(folder, name)).next()).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message,
      detail: expect.stringContaining(detail),
      hint: expect.stringContaining('--csv '),
    })
  })
})

function damagedGzip(): Buffer {
  const packed = gzipSync(`${HEADER}\n${row('a')}\n`)
  packed.fill(0xff, 20, 40)
  return packed
}

/** Short enough that lines, records and blocks often end on either side of it. */
const BYTES_MAX = 24
const text = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.stringMatching(/^[a-c\u00e9\u20ac]{0,5}(,[a-c]{0,3}){0,3}$/) },
      { weight: 3, arbitrary: fc.stringMatching(/^"[a\n,]{0,12}"(,[ab]{0,2}){0,2}$/) },
      { weight: 3, arbitrary: fc.stringMatching(/^[a,"\r]{0,6}$/) },
      { weight: 2, arbitrary: fc.stringMatching(/^"?[xy]{10,60}$/) },
    ),
    { maxLength: 12 },
  )
  .chain((lines) => fc.constantFrom('\n', '\r\n').map((end) => lines.join(end)))

function split(bytes: Buffer, cuts: readonly number[]): Split[] {
  const splitter = new Splitter(BYTES_MAX)
  const records: Split[] = []
  let at = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    records.push(...splitter.take(bytes.subarray(at, cut)))
    at = cut
  }
  return [...records, ...splitter.take(bytes.subarray(at)), ...splitter.end()]
}

test('records do not depend on how the bytes are cut into blocks', () => {
  fc.assert(
    fc.property(text, fc.array(fc.nat(1_000), { maxLength: 6 }), (text, cuts) => {
      const bytes = Buffer.from(text)
      const places = cuts.map((place) => place % (bytes.length + 1))
      expect(split(bytes, places)).toEqual(split(bytes, []))
    }),
    { numRuns: 1_000 },
  )
})

test('every line that is not blank is in a record or is told, and in one only', () => {
  fc.assert(
    fc.property(text, (text) => {
      const told = split(Buffer.from(text), []).flatMap((record) => {
        const height = 'fields' in record ? record.fields.join('').split('\n').length : 1
        return Array.from({ length: height }, (_, i) => record.line + i)
      })
      expect(told).toEqual([...new Set(told)].sort((a, b) => a - b))
      const lines = text.split('\n')
      expect(lines.flatMap((line, i) => (line.replace(/\r$/, '') === '' || told.includes(i + 1) ? [] : [i + 1]))).toEqual([])
    }),
    { numRuns: 1_000 },
  )
})
