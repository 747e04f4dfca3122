/** `export`, `verify` and `replay` on a real broker, where workers have run and where one runs: on the retail topology, fed with a few invoices. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeUnless, type OwnKafka, startOwn, whyNoneOwn } from '../kafka/shared.ts'
import { csvIn } from '../topologies/rig.ts'
import { Command, type Ended, inProcess, temporary } from './tidemark.ts'

const RETAIL = 'topologies/retail'
const ROWS = Array.from({ length: 60 }, (_, i) => {
  const sku = ['85123A', '71053', '22423'][i % 3]
  const country = i % 5 === 0 ? 'EIRE' : 'United Kingdom'
  return `${536365 + Math.floor(i / 4)},${sku},HOLDER,${1 + (i % 7)},2010-12-0${1 + (i % 6)} 08:2${i % 10}:00,2.55,17850,${country}`
})
const VIEWS = ['allocatable-stock', 'sales-by-day'] as const
const PATIENCE_MS = 120_000

/** Rows as a set: partitions of another number would only change their order. */
const rowsOf = ({ out }: Ended): string[] => out.trim().split('\n').sort()

describeUnless(await whyNoneOwn(), 'on Kafka', () => {
  let cluster: OwnKafka
  let brokers = ''
  let folder = ''
  let dir = ''
  let csv = ''
  const rows = new Map<string, string[]>()
  const kafka = (...args: readonly string[]): Promise<Ended> => inProcess([...args, '--topology', RETAIL, '--brokers', brokers])
  const once = (): Promise<Ended> =>
    inProcess(['run', RETAIL, '--brokers', brokers, '--dir', dir, '--feed', '--csv', csv, '--once', '--json'])

  beforeAll(async () => {
    cluster = await startOwn()
    brokers = cluster.brokers.join(',')
    folder = mkdtempSync(join(tmpdir(), 'tidemark-cli-'))
    dir = join(folder, 'worker')
    csv = csvIn(folder, ROWS)
    // The same rows, on the embedded log.
    const embedded = join(folder, 'embedded')
    const ran = await inProcess(['dev', RETAIL, '--dir', embedded, '--csv', csv, '--once', '--json'])
    expect([ran.code, ran.err]).toEqual([0, expect.any(String)])
    for (const view of VIEWS) rows.set(view, rowsOf(await inProcess(['export', view, '--dir', embedded])))
    expect([...rows.values()].map(({ length }) => length)).toEqual([6, 12])
    expect((await inProcess(['topics', 'apply', RETAIL, '--brokers', brokers])).code).toBe(0)
    expect((await once()).code).toBe(0)
  }, PATIENCE_MS)
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true })
    await cluster?.stop()
  })

  test('export prints the rows that the embedded log has, of projections that are published and of those that are not', {
    timeout: PATIENCE_MS,
  }, async () => {
    for (const view of VIEWS) {
      const ended = await kafka('export', view)
      expect([ended.code, ended.err]).toEqual([0, ''])
      expect(rowsOf(ended)).toEqual(rows.get(view))
      // From the disk of the worker that ran.
      expect(rowsOf(await kafka('export', view, '--dir', dir))).toEqual(rows.get(view))
    }
    const some = rowsOf(await kafka('export', 'allocatable-stock', '--prefix', '85123A'))
    expect(some).toEqual(rows.get('allocatable-stock')?.filter((row) => row.includes('85123A')))
  })

  test('what is not there is said: a view, a worker, a topology', { timeout: PATIENCE_MS }, async () => {
    expect(await kafka('export', 'nothing')).toMatchObject({ code: 64, err: expect.stringContaining('VIEW_UNKNOWN') as string })
    expect(await kafka('verify', '--instance', 'never-ran')).toMatchObject({
      code: 78,
      err: expect.stringContaining('no worker has kept state') as string,
    })
    expect(await inProcess(['export', 'any', '--kafka'], temporary())).toMatchObject({
      code: 64,
      err: expect.stringContaining('Name it: --topology') as string,
    })
  })

  test('a worker that runs is not disturbed by export and verify, and keeps a replay away', { timeout: PATIENCE_MS }, async () => {
    const worker = new Command(['run', RETAIL, '--brokers', brokers, '--dir', dir, '--port', '0'])
    const [, url] = await worker.wrote(/(http:\/\/127\.0\.0\.1:\d+)\/views/)
    const served = async (): Promise<unknown> =>
      (await fetch(`${url}/views/allocatable-stock/85123A%7CEIRE`)).json().catch((error: unknown) => error)
    await expect.poll(served, { timeout: 30_000 }).toMatchObject({ freshness: { state: 'fresh' } })
    for (const view of VIEWS) expect(rowsOf(await kafka('export', view))).toEqual(rows.get(view))
    const verified = await kafka('verify')
    expect([verified.code, verified.out]).toEqual([0, expect.stringMatching(/everything is as it was written\n$/)])
    expect(await kafka('verify', '--dir', dir)).toMatchObject({ code: 75, err: expect.stringContaining('STORE_LOCKED') as string })
    expect(await kafka('replay', 'sales-by-day')).toMatchObject({ code: 75, err: expect.stringContaining('APP_RUNNING') as string })
    await expect.poll(served, { timeout: 30_000 }).toMatchObject({ freshness: { state: 'fresh' } })
    worker.signal('SIGTERM')
    expect(await worker.ended()).toMatchObject({ code: 0 })
    expect(worker.err).not.toContain('failed')
  })

  test('of two workers one has each row, and knows how fresh it is, although neither reads all sources', {
    timeout: PATIENCE_MS,
  }, async () => {
    const workers = [dir, join(folder, 'second')].map(
      (each, i) => new Command(['run', RETAIL, '--brokers', brokers, '--dir', each, '--instance', `${i}`, '--port', '0']),
    )
    const urls = await Promise.all(workers.map(async (worker) => (await worker.wrote(/(http:\/\/127\.0\.0\.1:\d+)\/views/))[1]))
    const keys = (rows.get('allocatable-stock') ?? []).map((row) => Object.values((JSON.parse(row) as { key: object }).key).join('|'))
    const states = async (): Promise<string[][]> =>
      await Promise.all(
        keys.map(async (key) => {
          const answers = await Promise.all(urls.map((url) => fetch(`${url}/views/allocatable-stock/${encodeURIComponent(key)}`)))
          const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as { freshness?: { state: string } }[]
          return bodies.map(({ freshness }) => freshness?.state ?? 'none').sort()
        }),
      )
    // Each key is fresh at the one that has it, and unknown to the other.
    await expect.poll(states, { timeout: 60_000, interval: 500 }).toEqual(keys.map(() => ['fresh', 'unknown']))
    for (const worker of workers) worker.signal('SIGTERM')
    for (const worker of workers) expect(await worker.ended()).toMatchObject({ code: 0 })
  })

  test('verify reads the state of a worker too; what is damaged is named, moved aside on demand, and comes back', {
    timeout: PATIENCE_MS,
  }, async () => {
    expect(await kafka('verify', '--dir', dir)).toMatchObject({ code: 0 })
    const tasks = readdirSync(join(dir, 'state', 'retail'))
    const stage = join(dir, 'state', 'retail', tasks.find((name) => name.startsWith('stock-g')) as string)
    const files = readdirSync(stage, { recursive: true, encoding: 'utf8' }).filter((name) => /\d+\.(ldb|log)$/.test(name))
    const contents = files.map((name) => ({ path: join(stage, name), bytes: readFileSync(join(stage, name)) }))
    const [{ path, bytes }] = contents.toSorted((a, b) => b.bytes.length - a.bytes.length) as [(typeof contents)[number]]
    bytes.fill(0x55, bytes.length >> 2, bytes.length >> 1)
    writeFileSync(path, bytes)
    const damaged = await kafka('verify', '--dir', dir)
    expect([damaged.code, damaged.out]).toEqual([1, expect.stringContaining('STORE_CORRUPT')])
    // The changelogs know nothing of that.
    expect(await kafka('verify')).toMatchObject({ code: 0 })
    expect(await kafka('verify', '--dir', dir, '--repair')).toMatchObject({
      code: 0,
      out: expect.stringContaining('its state was moved aside') as string,
    })
    expect((await once()).code).toBe(0)
    expect(await kafka('verify', '--dir', dir)).toMatchObject({ code: 0 })
  })

  test('replay makes a projection again and switches to it; workers take it up, and drop what it was before', {
    timeout: PATIENCE_MS,
  }, async () => {
    const compared = await kafka('replay', 'allocatable-stock', '--switch', 'never', '--json')
    expect([compared.code, JSON.parse(compared.out)]).toMatchObject([0, { equal: true, switched: false, generation: { live: 1 } }])
    expect(existsSync(join(dir, 'state', 'retail', 'stock-g1'))).toBe(true)
    const replayed = await kafka('replay', 'allocatable-stock', '--json')
    expect([replayed.code, JSON.parse(replayed.out)]).toMatchObject([0, { equal: true, switched: true }])
    expect((await once()).code).toBe(0)
    const stages = readdirSync(join(dir, 'state', 'retail')).filter((name) => name.startsWith('stock-g'))
    expect(stages).toEqual(['stock-g3'])
    for (const view of VIEWS) expect(rowsOf(await kafka('export', view))).toEqual(rows.get(view))
    expect(await kafka('verify', '--dir', dir)).toMatchObject({ code: 0 })
  })
})
