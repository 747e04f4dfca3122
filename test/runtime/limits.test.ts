/**
 * Hostile and excessive input: answered record by record, with memory that does not grow with it. TIDEMARK_FAILING says how many records fail
 * in the tests that flood (100,000 in CI; the row that they prove speaks of a million), and then the figures are printed.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { type Flow, silent, start, text, topology } from '#tidemark'
import { type Harness, harness, type RawRecord } from '#tidemark/testing'
import { memorySchemas } from '../../src/drivers/schemas/index.ts'
import { BatchBuilder, type BatchBuilder as Builder, DEFAULT_LIMITS } from '../../src/ports/record-batch/index.ts'
import type { World } from '../../src/runtime/world.ts'
import { EmailOptIn, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

type Run = Harness<readonly []>
const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })

const FAILING = Number(process.env.TIDEMARK_FAILING ?? 100_000)

/** Appends many records in batches of a thousand, as producers do. */
async function pour(
  { log, codecs }: Pick<World, 'log' | 'codecs'>,
  count: number,
  add: (builder: Builder, i: number) => void,
): Promise<void> {
  const writer = await log.plainWriter()
  for (let from = 0; from < count; from += 1_000) {
    const builder = new BatchBuilder({ codecs })
    for (let i = from; i < Math.min(count, from + 1_000); i++) add(builder, i)
    await writer.append('in/0', builder.finish())
  }
  await writer.close()
}

async function flood(run: unknown, count: number, add: (builder: Builder, i: number) => void): Promise<void> {
  await pour(await (run as Run).access(), count, add)
  await (run as Run).settle()
}
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const heapAfterCollection = (): number => {
  gc()
  return process.memoryUsage().heapUsed
}

/** Heap that may come with any number of records, bytes: what kept one small object for each would take more than twice that in CI. */
const ROOM = 4 * 1024 * 1024

describe(`${FAILING} records that fail`, { timeout: Math.max(300_000, 5 * FAILING) }, () => {
  /** Lets a twentieth of them fail, and then all others, and holds the heap against what it was in between. */
  const measured = async (what: string, count: number, fail: (count: number) => Promise<void>): Promise<void> => {
    await fail(count / 20)
    const before = heapAfterCollection()
    const began = process.cpuUsage()
    await fail(count - count / 20)
    const grown = heapAfterCollection() - before
    const { user, system } = process.cpuUsage(began)
    const micros = (user + system) / (count - count / 20)
    if (process.env.TIDEMARK_FAILING !== undefined)
      console.log(`${count} records ${what}: heap ${(grown / 1024 ** 2).toFixed(1)} MiB more, ${micros.toFixed(0)} us of CPU a record`)
    // Each that is run again is a commit of its own, and a commit leaves some hundred bytes on the harness's disk, which is memory.
    expect(grown).toBeLessThan(what === 'retried' ? ROOM + 700 * count : ROOM)
    // A thousandth of a second is some fifty times what one takes: what searched through all that failed before would take longer.
    expect(micros).toBeLessThan(what === 'retried' ? 20_000 : 1_000)
  }

  test('and are dead-lettered leave the heap as it was, and each is there as a letter (I16)', async () => {
    const failure = new Error('none passes')
    const run = harness(
      topology('failing', (flow) => {
        items(flow)
          .filter('sieve', () => {
            throw failure
          })
          .to('out-step', 'out')
        return []
      }),
    )
    const value = await run.encode(Item, item(1))
    // Bytes of the log lie outside the heap.
    await measured('dead-lettered', FAILING, (count) =>
      flood(run, count, (builder, i) => builder.add(1, Buffer.from(`k${i % 500}`), value)),
    )
    expect(run.count('dead', 'sieve', 'STEP_FAILED')).toBe(FAILING)
    await run.close()
  })

  test('and are parked lie on disk, in order behind the first of their key, and leave the heap as it was (I16)', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tidemark-limits-'))
    const failure = new Error('none passes')
    const parking = topology('parking', (flow) => {
      items(flow)
        .filter(
          'sieve',
          () => {
            throw failure
          },
          { onError: 'park' },
        )
        .to('out-step', 'out')
      return []
    })
    const encoding = harness(parking)
    const value = await encoding.encode(Item, item(1))
    await encoding.close()
    const counts = new Map<string, number>()
    const telemetry = {
      ...silent,
      count: (counter: string, _about: unknown, by = 1) => void counts.set(counter, (counts.get(counter) ?? 0) + by),
    }
    const app = await start(parking, { dir, fsync: 'never', schemas: memorySchemas(), telemetry })
    try {
      // Of a key with many the last 64 stay in memory: so few keys that all have them before it is measured.
      await measured('parked', FAILING, async (count) => {
        await pour(app.access, count, (builder, i) => builder.add(1, Buffer.from(`k${i % 50}`), value))
        await app.settled()
      })
      expect([counts.get('parked'), counts.get('held'), counts.get('dead')]).toEqual([50, FAILING - 50, undefined])
    } finally {
      await app.close()
      await rm(dir, { recursive: true })
    }
  })

  test('and are run again, one after the other, wait in their log and not in memory (I16)', async () => {
    // Each waits, and is committed before the next: a hundredth of them is what a test has time for.
    const count = FAILING / 100
    const tried = new Set<number>()
    const run = harness(
      topology('retrying', (flow) => {
        items(flow)
          .filter(
            'sieve',
            (_value, { offset }) => {
              if (tried.delete(offset)) return true
              tried.add(offset)
              throw new Error('at first')
            },
            { onError: { retry: 3, then: 'halt' } },
          )
          .to('out-step', 'out')
        return []
      }),
    )
    const value = await run.encode(Item, item(1))
    await measured('retried', count, async (many) => {
      const end = new AbortController()
      const flooded = flood(run, many, (builder, i) => builder.add(1, Buffer.from(`k${i % 500}`), value)).finally(() => end.abort())
      while (!end.signal.aborted) await run.clock.advance(100)
      await flooded
    })
    expect([run.count('retried', 'sieve'), (await run.topic('out')).length, tried.size]).toEqual([count, count, 0])
    await run.close()
  })
})

describe('records that fail', () => {
  test('and name as many schemas that nobody knows make no commit larger', async () => {
    const run = harness(
      topology('flooded', (flow) => {
        items(flow)
          .order('in-sequence', { sequence: (_v, fact) => fact.offset + 1 })
          .to('out-step', 'out')
        return []
      }),
    )
    await run.app()
    await flood(run, 3_000, (builder, i) => {
      const bytes = Buffer.alloc(7)
      bytes.writeUInt32BE(1_000_000 + i, 1)
      builder.add(1, Buffer.from(`k${i % 5}`), bytes)
    })
    await run.put('in', Item, [['k', item(1)]])
    const said = (await run.topic('flooded-in-g1-changelog')).findLast(({ key }) => key === '\u0000tm')
    expect(said?.value?.length).toBeLessThan(2_000)
    await run.close()
  })
})

describe('one record with an envelope that lies', () => {
  const following = topology('following', (flow) => [
    flow
      .source(preferences)
      .dedupe('once')
      .project('versions', {
        row: Item,
        identity: 'once',
        windows: { 'contact-preferences': { target: '5s', max: '1m' } },
        fold: { EmailOptIn: (row) => item((row?.n ?? 0) + 1), EmailOptOut: (row) => item((row?.n ?? 0) + 1) },
      }),
  ])
  const headers = (over: Readonly<Record<string, string>>): NonNullable<RawRecord['headers']> =>
    Object.entries({ ce_id: 'a', ce_source: '/crm', ce_type: 'crm.EmailOptIn', ce_sequence: '1', ...over }).map(([name, value]) => ({
      name,
      value: Buffer.from(value),
    }))

  test.each<[what: string, over: Readonly<Record<string, string>>, at?: number]>([
    ['a version of its contract beyond what numbers hold', { ce_contractversion: '9999999999999999' }],
    ['a version of its contract in letters', { ce_contractversion: 'one' }],
    ['a recorded time of another geological age', { ce_recordedtime: '+275760-09-13T00:00:00.000Z' }],
    ['a recorded time that is none', { ce_recordedtime: 'yesterday' }],
    ['a recorded time before all clocks', { ce_recordedtime: '-271821-04-20T00:00:00.000Z' }],
    ['the time of the year 9999', {}, Date.UTC(9999, 11, 31)],
    ['no time', {}, -1],
    ['time zero', {}, 0],
    ['a time before 1970', {}, -86_400_000],
    ['an id of half a megabyte', { ce_id: 'x'.repeat(50_000) }],
  ])('%s: its row is written, read again and restored', async (_what, over, at) => {
    const run = harness(following)
    await run.app()
    const value = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
    await run.send('crm.preferences.v1', [{ key: 'c', value, headers: headers(over), ...(at === undefined ? {} : { at }) }])
    await run.restart()
    await run.send('crm.preferences.v1', [
      { key: 'c', value, headers: headers({ ...over, ce_id: 'b', ce_sequence: '2' }), ...(at === undefined ? {} : { at }) },
    ])
    expect(await run.rows('versions')).toEqual({ c: item(2) })
    await run.stop()
    for (const id of await run.state.list('following')) await run.state.destroy(id)
    expect(await run.rows('versions')).toEqual({ c: item(2) })
    expect([run.count('wipes'), run.count('dead')]).toEqual([0, 0])
    expect((await (await run.view('versions')).get('c')).row?.contractVersion).toBe(1)
    await run.close()
  })

  test.each([2 ** 51 + 1, 2 ** 53 - 1, -(2 ** 51) - 1])(
    'a timestamp of %s is no clock’s: the record is dead-lettered and its partition goes on',
    async (at) => {
      const run = harness(following)
      await run.app()
      const value = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
      await run.send('crm.preferences.v1', [
        { key: 'c', value, headers: headers({}), at },
        { key: 'c', value, headers: headers({}), at: 5 },
      ])
      expect(await run.rows('versions')).toEqual({ c: item(1) })
      expect((await run.dead('contact-preferences')).map(({ headers: letter }) => letter.tm_code)).toEqual(['ENVELOPE_INVALID'])
      await run.close()
    },
  )
})

test('times as far apart as times can be go through one batch, one commit and one restore', async () => {
  const run = harness(
    topology('times', (flow) => {
      items(flow)
        .order('in-sequence', { sequence: (v) => v.n })
        .to('out-step', 'out')
      return []
    }),
  )
  await run.put('in', Item, [
    ['k', item(3), 2 ** 51],
    ['k', item(2), -(2 ** 51)],
  ])
  await run.restart()
  await run.put('in', Item, [['k', item(1), 0]])
  expect((await run.values('out', Item)).map(([, value, at]) => [value?.n, at])).toEqual([
    [1, 0],
    [2, -(2 ** 51)],
    [3, 2 ** 51],
  ])
  await run.close()
})

describe('a row that outgrows what a log takes', () => {
  const growing = (seven: number, publish?: string) =>
    topology('growing', (flow) => [
      flow
        .inbox('all', [items(flow)])
        .dedupe('once', { id: (v) => `${v.n}` })
        .project('sums', {
          row: Sum,
          identity: 'once',
          ...(publish === undefined ? {} : { publish }),
          fold: (row, v) => ({ total: v.n, notes: (row?.notes ?? '') + 'x'.repeat(v.n === 7 ? seven : v.n) }),
        }),
    ])
  test('halts its task, with its step and key named, and a mended fold goes on from what was committed', async () => {
    const run = harness(growing(17 * 1024 * 1024))
    await run.put('in', Item, [['k', item(1_000)]])
    await run.put('in', Item, [
      ['k', item(7)],
      ['l', item(1)],
    ])
    expect(await run.failure()).toMatchObject({
      code: 'BATCH_LIMIT',
      message: 'a row of "sums" cannot be written: a record is larger than allowed',
      detail: expect.stringContaining('It lies under the key "k".') as string,
    })
    expect((await (await run.view('sums')).get('k')).value?.notes).toHaveLength(1_000)
    await run.close()
    const mended = harness(growing(7), { after: run })
    const rows = await mended.rows('sums')
    expect([rows.k?.notes.length, rows.l?.notes.length]).toEqual([1_007, 1])
    await mended.close()
  })

  test('only by the envelope that it is published with halts its task as well, and is not tried for ever', async () => {
    const run = harness(growing(DEFAULT_LIMITS.recordBytesMax - 150, 'sums-state'))
    await run.put('in', Item, [['k', item(7)]])
    expect(await run.failure()).toMatchObject({
      code: 'BATCH_LIMIT',
      message: 'a row of "sums" cannot be written: a record is larger than allowed',
    })
    expect([await run.rows('sums'), await run.topic('sums-state')]).toEqual([{}, []])
    await run.close()
  })
})

describe('a record that is as large as a log takes', () => {
  /** Sends a record of that size under "k", and one of a few bytes under "k" and "l" each; its number is 2, theirs are 1 and 3. */
  const outcome = async (build: (flow: Flow) => void, room = 200): Promise<unknown> => {
    const run = harness(
      topology('enormous', (flow) => {
        build(flow)
        return []
      }),
    )
    await run.app()
    const small = await run.encode(Item, item(1, 'x'))
    const huge = await run.encode(Item, item(2, 'x'.repeat(DEFAULT_LIMITS.recordBytesMax - room - small.length)))
    await run.send('in', [{ key: 'k', value: huge }])
    await run.put('in', Item, [
      ['k', item(3)],
      ['l', item(1)],
    ])
    const said = {
      passed: (await run.values('out', Item)).map(([key, value]) => `${key}${value?.n}`),
      dead: (await run.dead('step')).map(({ headers, key }) => [key, headers.tm_code, headers.tm_truncated?.startsWith(`${huge.length} `)]),
      failure: await run.failure(),
      restarts: run.events.filter(({ kind }) => kind === 'failure').length,
    }
    await run.close()
    return said
  }
  const fine = { failure: undefined, restarts: 0 }

  test('passes through what does not keep it', async () => {
    expect(
      await outcome((flow) =>
        items(flow)
          .dedupe('step', { sequence: (v) => v.n })
          .to('out-step', 'out'),
      ),
    ).toEqual({
      ...fine,
      dead: [],
      passed: ['k2', 'k3', 'l1'],
    })
  })

  test('cannot wait for its predecessor, because no row takes it: it is dead-lettered, and the others go their way', async () => {
    expect(
      await outcome((flow) =>
        items(flow)
          .order('step', { sequence: (v) => v.n })
          .to('out-step', 'out'),
      ),
    ).toEqual({
      ...fine,
      dead: [['k', 'BATCH_LIMIT', true]],
      passed: ['l1'],
    })
  })

  test('cannot be parked when it fails: it is dead-lettered by its own failure, and its key goes on', async () => {
    const sieve = ({ n }: Item): boolean => {
      if (n === 2) throw new Error('a defect')
      return true
    }
    expect(await outcome((flow) => items(flow).filter('step', sieve, { onError: 'park' }).to('out-step', 'out'))).toEqual({
      ...fine,
      dead: [['k', 'STEP_FAILED', true]],
      passed: ['k3', 'l1'],
    })
  })

  test('cannot be held behind one that was parked either: it is dead-lettered, and its successors are held', async () => {
    expect(
      await outcome(
        (flow) =>
          items(flow)
            .flatMap('first', (v) => (v.n === 2 ? [item(0), v] : [v]), { value: Item })
            .filter(
              'step',
              ({ n }) => {
                if (n === 0) throw new Error('a defect')
                return true
              },
              { onError: 'park' },
            )
            .to('out-step', 'out'),
        // A value that was made leaves room for an envelope; what is held has that and its place in the row beside it.
        4_200,
      ),
    ).toEqual({ ...fine, dead: [['k', 'BATCH_LIMIT', true]], passed: ['l1'] })
  })
})

test('a key so long that no row fits under it fails the step that keeps state, and nothing else', async () => {
  const run = harness(
    topology('endless', (flow) => {
      items(flow)
        .dedupe('once', { sequence: (v) => v.n })
        .to('out-step', 'out')
      return []
    }),
  )
  await run.app()
  const value = await run.encode(Item, item(1))
  // Zeros take twice their room in the key of a row.
  await run.send('in', [{ key: Buffer.alloc(9 * 1024 * 1024), value }])
  await run.send('in', [
    { key: Buffer.alloc(1024 * 1024), value },
    { key: 'k', value },
  ])
  expect([await run.failure(), run.events.filter(({ kind }) => kind === 'failure')]).toEqual([undefined, []])
  expect((await run.dead('once')).map(({ headers }) => headers.tm_code)).toEqual(['KEY_INVALID'])
  expect(await run.topic('out')).toHaveLength(2)
  await run.close()
})

test('a fact that outgrows what a log takes fails the step that made it, and nothing else', async () => {
  const run = harness(
    topology('bloating', (flow) => {
      items(flow)
        .map('bloat', (v) => item(v.n, 'x'.repeat(v.n)), { value: Item })
        .filter('all', () => true)
        .to('out-step', 'out')
      return []
    }),
  )
  await run.put('in', Item, [
    ['k', item(10)],
    ['k', item(17 * 1024 * 1024)],
    ['k', item(11)],
  ])
  expect((await run.values('out', Item)).map(([, value]) => value?.n)).toEqual([10, 11])
  expect((await run.dead('bloat')).map(({ headers }) => headers.tm_code)).toEqual(['BATCH_LIMIT'])
  await run.close()
})

test('names that every object has are keys like any other', async () => {
  const run = harness(
    topology('named', (flow) => [
      flow
        .inbox('all', [items(flow)])
        .dedupe('once', { id: (v) => v.note })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ]),
  )
  const keys = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '']
  await run.put(
    'in',
    Item,
    keys.map((key, i) => [key, item(i + 1, 'a')] as const),
  )
  await run.restart()
  await run.put(
    'in',
    Item,
    keys.map((key, i) => [key, item(i + 1, 'b')] as const),
  )
  const view = await run.view('sums')
  const { rows } = await view.page()
  expect(Object.fromEntries(rows.map(({ text: key, value }) => [`is ${key}`, value.total]))).toEqual(
    Object.fromEntries(keys.map((key, i) => [`is ${key}`, 2 * (i + 1)])),
  )
  for (const [i, key] of keys.entries()) expect((await view.get(key)).value).toEqual({ total: 2 * (i + 1), notes: 'ab' })
  await run.close()
})
