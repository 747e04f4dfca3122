/**
 * What a power cut may leave of write-ahead files: they are written here byte by byte as LevelDB writes them, so that each loss can be made. The
 * first test shows that LevelDB takes them for its own.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { levelState } from '../../src/drivers/level/index.ts'
import { holeInLogs } from '../../src/drivers/level/logs.ts'
import { plainCodecs } from '../../src/ports/record-batch/index.ts'

const ID = { app: 'shop', stage: 'orders', generation: 1, partition: 0 }
const BLOCK = 32_768
/** Rows that are in a table, before the write-ahead files begin. */
const SETTLED = 3

let folder: string
let path: string
/** Number of the write-ahead file that counts. */
let current: number

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-logs-'))
  path = join(folder, 'shop', 'orders-g1', '0')
  const store = await levelState({ folder }).open(ID)
  for (let row = 1; row <= SETTLED; row++) await store.write({ keys: [key(row)], values: [Buffer.from('settled')] })
  await store.close()
  // The second open makes a table of them, and begins another file.
  await (await levelState({ folder }).open(ID)).close()
  const logs = (await readdir(path)).filter((name) => name.endsWith('.log'))
  expect(logs).toHaveLength(1)
  current = Number.parseInt(logs[0] as string, 10)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const key = (row: number): Buffer => Buffer.from(`row-${String(row).padStart(4, '0')}`)

/** A batch of one row. Rows are numbered from 1, and LevelDB numbers them so, too. */
function batch(row: number, bytes: number): Buffer {
  const head = Buffer.alloc(12)
  head.writeBigUInt64LE(BigInt(row))
  head.writeUInt32LE(1, 8)
  const [name, value] = [key(row), Buffer.alloc(bytes, row)]
  return Buffer.concat([head, Buffer.from([1]), varint(name.length), name, varint(value.length), value])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) | 128)
  }
}

/** Records as db/log_writer.cc lays them out. */
function log(records: readonly Buffer[]): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (const record of records) {
    for (let from = 0, begun = false; !begun || from < record.length; begun = true) {
      if (BLOCK - (at % BLOCK) < 7) {
        pieces.push(Buffer.alloc(BLOCK - (at % BLOCK)))
        at += BLOCK - (at % BLOCK)
      }
      const to = Math.min(record.length, from + BLOCK - (at % BLOCK) - 7)
      const type = to === record.length ? (begun ? 4 : 1) : begun ? 3 : 2
      const content = Buffer.concat([Buffer.from([type]), record.subarray(from, to)])
      const crc = plainCodecs.crc32c(content)
      const header = Buffer.alloc(6)
      header.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0)
      header.writeUInt16LE(to - from, 4)
      pieces.push(header, content)
      at += header.length + content.length
      from = to
    }
  }
  return Buffer.concat(pieces)
}

/** Rows from `first` to `last`, of so many bytes each. */
function rows(first: number, last: number, bytes = 100): Buffer {
  return log(Array.from({ length: last - first + 1 }, (_, i) => batch(first + i, bytes)))
}

const put = (number: number, content: Buffer): Promise<void> => writeFile(join(path, `${String(number).padStart(6, '0')}.log`), content)

/** How many rows an open finds, or why it is refused. */
async function opened(): Promise<number | string> {
  try {
    const store = await levelState({ folder }).open(ID)
    const found = await store.range({ from: Buffer.alloc(0), to: undefined, limit: 10_000 })
    await store.close()
    expect(found.map(([name]) => name.toString())).toEqual(found.map((_, i) => key(i + 1).toString()))
    return found.length
  } catch (error) {
    expect(error).toMatchObject({ code: 'STORE_CORRUPT' })
    return (error as { detail: string }).detail.replace(/^.*": /, '')
  }
}

describe('two write-ahead files', () => {
  test('are read one after the other, whatever the size of their batches', async () => {
    await put(current, log([batch(4, 100), batch(5, 3 * BLOCK), batch(6, BLOCK - 7 - 40), batch(7, 0)]))
    await put(current + 7, rows(8, 12, 20_000))
    expect(await opened()).toBe(12)
  })

  test('of which the newer one ends too early lose the last batches and are no damage: the changelog has those', async () => {
    await put(current, rows(4, 8))
    await put(current + 7, rows(9, 12).subarray(0, -5))
    expect(await opened()).toBe(11)
  })

  test('of which the newer one never reached the disk are none', async () => {
    await put(current, rows(4, 8))
    await put(current + 7, Buffer.alloc(0))
    expect(await opened()).toBe(8)
  })

  test('of which the older one ends too early are damage, at the end of a batch too', async () => {
    await put(current + 7, rows(9, 12))
    const lost = 'batches between them are lost'
    await put(current, rows(4, 8).subarray(0, -5))
    expect(await opened()).toBe(`00${String(current + 7).padStart(4, '0')}.log goes on with row 9 behind row 7: ${lost}`)
    await put(current, rows(4, 6))
    expect(await opened()).toBe(`00${String(current + 7).padStart(4, '0')}.log goes on with row 9 behind row 6: ${lost}`)
  })

  test('of which the older one is empty, or gone, are damage', async () => {
    await put(current + 7, rows(4, 12))
    await put(current, Buffer.alloc(0))
    expect(await opened()).toMatch(/has no batch, and 0+\d+\.log has later ones$/)
    await rm(join(path, `${String(current).padStart(6, '0')}.log`))
    expect(await opened()).toMatch(/^the write-ahead file \d+ has no batch/)
  })
})

describe('one write-ahead file', () => {
  test('that begins later than the tables end is damage', async () => {
    await put(current, rows(5, 8))
    expect(await opened()).toMatch(/goes on with row 5 behind row 3/)
  })

  test.each([
    ['first', 0],
    ['second', 1],
  ])('whose %s block was never written, and later ones were, is damage: LevelDB passes over it without a word', async (_which, block) => {
    const content = rows(4, 24, 5_000)
    content.fill(0, block * BLOCK, (block + 1) * BLOCK)
    await put(current, content)
    expect(await opened()).toMatch(/\.log cannot be read at byte \d+, and can behind it$/)
  })

  test('whose end was never written is none', async () => {
    const content = rows(4, 24, 5_000)
    content.fill(0, rows(4, 9, 5_000).length)
    await put(current, content)
    expect(await opened()).toBe(9)
  })
})

test('batches as LevelDB itself writes them have no hole, wherever the last file is cut', async () => {
  const store = await levelState({ folder, writeBufferBytes: 65_536 }).open(ID)
  for (let i = 0; i < 40; i++) {
    const sizes = [0, 10, 3_000, 33_000].map((bytes, at) => [Buffer.from(`x-${i}-${at}`), Buffer.alloc(bytes, i)] as const)
    await store.write({ keys: sizes.map(([name]) => name), values: sizes.map(([, value]) => value) })
  }
  await store.close()
  const last = (await readdir(path))
    .filter((name) => name.endsWith('.log'))
    .sort()
    .at(-1) as string
  const whole = await readFile(join(path, last))
  expect(await holeInLogs(path)).toBeUndefined()
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length }), async (length) => {
      await writeFile(join(path, last), whole.subarray(0, length))
      expect(await holeInLogs(path)).toBeUndefined()
    }),
    { numRuns: 60 },
  )
})
