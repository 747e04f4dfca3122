/** `tidemark dev`, as a process: it ends as it says, goes on where it was, and never takes what another process has. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Command, inProcess, lastLine, ROOT, SHOP, temporary, tidemark } from './tidemark.ts'

/** A shop whose feed waits at its fiftieth order, with everything applied. */
async function waiting(dir: string, ...more: string[]): Promise<Command> {
  const command = new Command(['dev', SHOP, '--dir', dir, '--port', '0', '--pause-at', '50', ...more])
  await command.wrote(/feed 50\/200 .* applied 50 /)
  return command
}

describe('once', () => {
  test('feeds, applies and checks everything, ends by itself, and a second time applies nothing twice', async () => {
    const dir = temporary()
    const first = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect(first.code).toBe(0)
    expect(JSON.parse(first.out)).toMatchObject({
      rows: 15,
      units: 19_900,
      equal: true,
      applied: 200,
      duplicate: 0,
      stale: 0,
      gap: 0,
      parked: 0,
      dead: 0,
      heldNow: { facts: 0, keys: 0, parked: 0 },
      seconds: expect.any(Number),
    })
    const second = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect(second.code).toBe(0)
    expect(JSON.parse(second.out)).toMatchObject({ rows: 15, units: 19_900, equal: true, applied: 0 })
  })

  test('without --json ends with the line of the check, in plain lines', async () => {
    const { code, out } = await tidemark('dev', SHOP, '--dir', temporary(), '--once', '--poison')
    expect(code).toBe(0)
    expect(lastLine(out)).toBe('15 rows, 19900 units: equal to the recomputation (19900)')
    expect(out).toMatch(/feed 200\/200 .* applied 200 .* dead-lettered 1 /)
    expect(out).toContain('dead: 1 record that the feed had broken on purpose')
    expect(out).not.toContain('\u001b')
  })

  test('ends with a code of its own and says what was not applied, until that has been put right: a second run is no success either', async () => {
    const dir = temporary()
    const { code, out } = await tidemark('dev', SHOP, '--dir', dir, '--once', '--broken', '--negative')
    // The check fails as well here, and is the worse news.
    expect(code).toBe(1)
    expect(out).toContain('input: line 3: an order without units')
    const left = `1 row of the input could not be read, 2 records are dead ("tidemark dead list --dir ${dir}" says why)`
    expect(lastLine(out)).toBe(`NOT everything was applied: ${left}.`)
    const equal = temporary()
    const broken = await tidemark('dev', SHOP, '--dir', equal, '--once', '--broken')
    expect([broken.code, lastLine(broken.out)]).toEqual([
      3,
      expect.stringContaining('1 row of the input could not be read, 1 record is dead'),
    ])
    expect(broken.out).toContain('equal to the recomputation')
    const second = await tidemark('dev', SHOP, '--dir', equal, '--once', '--json')
    expect([second.code, JSON.parse(second.out)]).toMatchObject([3, { equal: true, dead: 0, notApplied: { rows: 0, dead: 1, parked: 0 } }])
  })

  test('shows what is held and which keys are parked, of earlier runs too, and is no success while anything is', async () => {
    const dir = temporary()
    const folder = temporary()
    writeFileSync(join(folder, 'index.ts'), `export { feed, shop } from ${JSON.stringify(join(ROOT, SHOP, 'index.ts'))}\n`)
    await tidemark('plan', folder, '--write')
    expect(await tidemark('dev', folder, '--dir', dir, '--once', '--orders', '100')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/ parked 0 {2}dead-lettered 0 {2}held now 0 {2}lag 0 /),
    })
    // The order has forgotten what passed, so it waits for the first order of each customer, and parks those of whom it has more than a hundred.
    writeFileSync(join(folder, 'index.ts'), `export { feed, shop } from ${JSON.stringify(join(ROOT, SHOP, 'reordered.ts'))}\n`)
    await tidemark('plan', folder, '--write', '--give-up', 'orders/orders-in-order')
    const some = await tidemark('dev', folder, '--dir', dir, '--once', '--orders', '150')
    expect([some.code, some.out]).toEqual([1, expect.stringMatching(/ parked 0 {2}dead-lettered 0 {2}held now 50 of 5 keys {2}lag 0 /)])
    expect(lastLine(some.out)).toBe('NOT everything was applied: 50 facts of 5 keys are held at "orders-in-turn".')
    const more = await tidemark('dev', folder, '--dir', dir, '--once', '--orders', '620', '--json')
    const now = { facts: 520, keys: 5, parked: 5, steps: [{ step: 'orders-in-turn', facts: 520, keys: 5, parked: 5 }] }
    expect(JSON.parse(more.out)).toMatchObject({ parked: 5, heldNow: now, notApplied: { rows: 0, dead: 0, held: 520, keys: 5, parked: 5 } })
    // Without a feed there is nothing to compare, and what is held is still there.
    writeFileSync(join(folder, 'index.ts'), `export { shop } from ${JSON.stringify(join(ROOT, SHOP, 'reordered.ts'))}\n`)
    const last = await tidemark('dev', folder, '--dir', dir, '--once', '--json')
    expect([last.code, JSON.parse(last.out)]).toMatchObject([3, { parked: 0, heldNow: now, notApplied: { held: 520, parked: 5 } }])
    const plain = await tidemark('dev', folder, '--dir', dir, '--once')
    expect([plain.code, lastLine(plain.out)]).toEqual([
      3,
      'NOT everything was applied: 520 facts of 5 keys are held (5 parked) at "orders-in-turn".',
    ])
  })

  test('fails when the check finds a difference', async () => {
    const { code, out } = await tidemark('dev', SHOP, '--dir', temporary(), '--once', '--lying', '--json')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ equal: false, applied: 200 })
  })

  test('fails when a task halts, and says where and why', async () => {
    const { code, out, err } = await tidemark('dev', `${SHOP}/halting.ts`, '--dir', temporary(), '--once', '--negative', '--json')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'STEP_FAILED', detail: 'RangeError: less than nothing is wanted' } })
    expect(err).toMatch(/failure: task orders\/\d halted at "orders-as-wants"/)
    expect(err).toContain('parts.ts')
  })

  test('ends with the error of a disk that refuses its state again and again, and goes on when that is mended', async () => {
    const dir = temporary()
    writeFileSync(join(dir, 'state'), 'in the way')
    const { code, out } = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      applied: 0,
      error: { code: 'STORE_IO', message: 'the disk refused to open the state of a task', hint: expect.stringContaining('Move it away') },
    })
    rmSync(join(dir, 'state'))
    const mended = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect([mended.code, JSON.parse(mended.out)]).toMatchObject([0, { equal: true, applied: 200 }])
  })

  test('that is interrupted says so, and is no success', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const command = new Command(['dev', SHOP, '--dir', temporary(), '--once', '--json', '--pause-at', '50'])
      await command.wrote(/feed 50\/200 .* applied 50 /)
      command.signal(signal)
      const { code, out } = await command.ended()
      expect(code).toBe(130)
      expect(JSON.parse(out)).toMatchObject({ interrupted: true, applied: 50 })
    }
  })
})

describe('on no terminal', () => {
  test('says once what to try next, also on a row as soon as there is one, and at the end what stands out', async () => {
    const command = await waiting(temporary())
    const [, row] = await command.wrote(/try: curl '(\S+\/views\/demand-by-sku\/\S+)' {3}\(one row, and how fresh it is\)/)
    expect(await (await fetch(row as string)).json()).toMatchObject({ freshness: { state: expect.any(String) } })
    const [, page] = await command.wrote(/try: curl '(\S+\?limit=5)' {3}\(a page of rows\)/)
    expect(await (await fetch(page as string)).json()).toMatchObject({ rows: expect.any(Array) })
    command.signal('SIGINT')
    const { out } = await command.ended()
    for (const once of [`try: npx tidemark plan ${SHOP} `, 'try: Ctrl-C ', 'one row', 'a page of rows'])
      expect(out.split(once)).toHaveLength(2)
    expect(out.split('\n').slice(-3, -1)).toEqual(['busiest: sku 2', expect.stringMatching(/^stopped\. /)])

    const through = await tidemark('dev', SHOP, '--dir', temporary(), '--once')
    expect(through.out.split('\n').slice(-3, -1)).toEqual(['busiest: sku 2', expect.stringContaining('equal to the recomputation')])
  })

  test('says how many more rows could not be read than it lists, and --json lists them all, as one object', async () => {
    const [dir, other] = [temporary(), temporary()]
    const csv = join(dir, 'invoices.csv')
    const rows = Array.from(
      { length: 14 },
      (_, i) => `5363${i},85123A,HEART,${i < 12 ? 'many' : 6},2010-12-01 08:26:00,2.55,17850,United Kingdom`,
    )
    writeFileSync(csv, ['InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country', ...rows, ''].join('\n'))
    const plain = await inProcess(['dev', 'topologies/retail', '--dir', join(dir, 'data'), '--csv', csv, '--once'])
    expect(plain.code).toBe(3)
    expect(plain.out.match(/^input: line \d+ is left out: .*$/gm)).toHaveLength(10)
    expect(plain.out).toContain('\ninput: 2 more rows could not be read; --json lists them all, under "unread"\n')
    const json = await inProcess(['dev', 'topologies/retail', '--dir', join(other, 'data'), '--csv', csv, '--once', '--json'])
    const { unread } = JSON.parse(json.out) as { unread: readonly string[] }
    expect(json.out.trimEnd()).not.toContain('\n')
    expect(unread.map((sentence) => /^line (\d+) is left out: /.exec(sentence)?.[1])).toEqual(
      Array.from({ length: 12 }, (_, i) => `${i + 2}`),
    )
    // Told on stderr there, as everything that is no answer.
    expect(json.err).toContain('input: 2 more rows could not be read')
    expect(json.err).toContain('try: npx tidemark plan topologies/retail')
  })
})

test('a start after a kill says where it goes on, what it restored and how long that took; a first start says nothing', async () => {
  const dir = temporary()
  const first = await waiting(dir)
  expect(first.out).not.toContain('goes on from')
  first.signal('SIGKILL')
  await first.ended()
  const { code, out } = await tidemark('dev', SHOP, '--dir', dir, '--once')
  expect([code, out.match(/goes on from/g)?.length]).toEqual([0, 1])
  expect(out).toMatch(/^goes on from \d+ committed records, restored \d+ rows in [\d,]+ ms$/m)
})

describe('an interrupt', () => {
  test('drains, commits and says where it goes on; started again it goes on there', async () => {
    const dir = temporary()
    const first = await waiting(dir)
    first.signal('SIGINT')
    const { code, out } = await first.ended()
    expect(code).toBe(130)
    expect(lastLine(out)).toBe(`stopped. The next start in ${dir} goes on at 50 of 200 of the feed, and where this one committed.`)
    const second = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect(JSON.parse(second.out)).toMatchObject({ equal: true, applied: 150 })
  })

  test('after everything was checked is a success, and so is a request to end', async () => {
    const through = new Command(['dev', SHOP, '--dir', temporary(), '--port', '0'])
    await through.wrote(/equal to the recomputation/)
    through.signal('SIGINT')
    expect((await through.ended()).code).toBe(0)
    const asked = await waiting(temporary())
    asked.signal('SIGTERM')
    expect((await asked.ended()).code).toBe(0)
  })

  test('that comes twice at once is one, and a second one later ends the process whatever it waits for', async () => {
    const command = await waiting(temporary(), '--stubborn')
    command.signal('SIGINT')
    command.signal('SIGINT')
    // It waits for its feed, for ever, until another one comes that is not the same key still.
    const again = setInterval(() => command.signal('SIGINT'), 400)
    const { code, out } = await command.ended()
    clearInterval(again)
    expect(code).toBe(130)
    expect(out).not.toContain('stopped.')
  })
})

describe('a folder', () => {
  test('that another process has open is refused, for dev and for export, with where to read instead', async () => {
    const dir = temporary()
    const first = await waiting(dir)
    const [, url] = await first.wrote(/views are served at (\S+)/)
    const second = await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')
    expect(second.code).toBe(75)
    expect(JSON.parse(second.out)).toMatchObject({ error: { code: 'LOG_LOCKED' } })
    const exported = await tidemark('export', 'demand-by-sku', '--dir', dir)
    expect(exported.code).toBe(75)
    expect(exported.err).toContain(`${url}/demand-by-sku`)
    expect(await (await fetch(`${url}/demand-by-sku?limit=1`)).json()).toMatchObject({ rows: [{ value: { orders: 4 } }] })
    first.signal('SIGTERM')
    await first.ended()
  })

  test('that is a file is refused in one sentence, by every command that is given it', async () => {
    const file = join(temporary(), 'taken')
    writeFileSync(file, 'a file')
    for (const words of [['dev', SHOP, '--once'], ['run', SHOP], ['verify'], ['export', 'demand-by-sku'], ['replay', 'demand-by-sku']]) {
      const { code, out, err } = await inProcess([...words, '--dir', file])
      expect([words[0], code === 64 || code === 78, out]).toEqual([words[0], true, ''])
      expect(err).toMatch(/^(OPTION|INPUT)_INVALID: .*taken.*\n.* is a file\.\nhint: .*\n$/)
    }
  })

  test('remembers its topology, and is below .tidemark unless it is named', async () => {
    const working = temporary()
    const { code, err } = await new Command(['dev', join(ROOT, SHOP), '--once'], working).ended()
    expect([code, err]).toEqual([0, ''])
    expect(JSON.parse(readFileSync(join(working, '.tidemark', 'shop', 'tidemark.json'), 'utf8'))).toEqual({ topology: join(ROOT, SHOP) })
    const exported = await new Command(['export', 'demand-by-sku', '--prefix', 'sku 1|shop/customer-4'], working).ended()
    expect(exported.out).toBe('{"key":{"sku":"sku 1","shop":"shop/customer-4"},"value":{"orders":14,"units":1421,"cents":"142100"}}\n')
  })
})

test('a port that is taken is passed over, and which one is used is said', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  const command = new Command(['dev', SHOP, '--dir', temporary(), '--port', `${port}`])
  const [, served] = await command.wrote(/warning: port \d+ is taken; the views are served on port (\d+)/)
  expect(Number(served)).toBeGreaterThan(port)
  expect((await fetch(`http://127.0.0.1:${served}/health/live`)).status).toBe(200)
  command.signal('SIGTERM')
  await command.ended()
  await new Promise((resolve) => taken.close(resolve))
})

test('a fold whose code changed without its revision is warned of, until somebody decides', async () => {
  const dir = temporary()
  const run = (file: string): ReturnType<typeof tidemark> => inProcess(['dev', `${SHOP}/${file}`, '--dir', dir, '--once'])
  expect((await run('index.ts')).out).not.toContain('warning')
  const warning = 'warning: the code of "demand-by-sku" changed and its revision did not'
  expect((await run('rewritten.ts')).out).toContain(warning)
  expect((await run('rewritten.ts')).out).toContain(warning)
  expect((await run('index.ts')).out).not.toContain('warning')
  writeFileSync(join(dir, 'folds.json'), '{ no json')
  const broken = await run('index.ts')
  expect([broken.code, existsSync(join(dir, 'folds.json'))]).toEqual([78, true])
  expect(broken.err).toContain('INPUT_INVALID')
})
