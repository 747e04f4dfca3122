/** Damage on disk: noticed when it is read, named, and mended from the changelog; what no read can notice, verify finds. */
import { describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { decodeCheckpoint, encodeCheckpoint } from '../../src/runtime/meta.ts'
import { CHK_KEY, TM_KEY } from '../../src/runtime/rows.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const items = (flow: Flow) => flow.inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
const sums = topology('damaged', (flow) => [
  items(flow)
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
    .project('sums', { row: Sum, identity: 'once', fold: summed }),
])
const ordered = topology('damaged', (flow) => {
  items(flow)
    .order('in-sequence', { sequence: (value) => value.n, gap: { hold: '10s', then: 'skip' } })
    .to('out-step', 'out')
  return []
})

const ID = { app: 'damaged', stage: 'all', generation: 1, partition: 0 }
type Any = Harness<readonly never[]>
type Entry = readonly [key: Buffer, value: Buffer]
/** What lies on the disk of the only task, while nothing runs. */
async function disk<T>(
  run: unknown,
  work: (entries: readonly Entry[], write: (key: Uint8Array, value: Uint8Array | null) => Promise<void>) => T,
): Promise<Awaited<T>> {
  await (run as Any).close()
  const db = await (run as Any).state.open(ID)
  const entries = await db.range({ from: Buffer.alloc(0), to: undefined, limit: 10_000 })
  const result = await work(entries, (key, value) => db.write({ keys: [key], values: [value] }))
  await db.close()
  return result
}
const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] as number) ^ 4
  return copy
}
/** The number of the store of a step: dedupe comes first. */
const STORE = { once: 1, sums: 2, 'in-sequence': 1 }
const rowOf = (entries: readonly Entry[], store: number, contains: string): Entry =>
  entries.find(([key]) => key[0] === store && key.includes(contains)) as Entry

const filled = async (): Promise<Harness<typeof sums.projections>> => {
  const run = harness(sums)
  await run.put('in', Item, [
    ['k', item(1, 'a')],
    ['l', item(2, 'b')],
    ['k', item(4, 'c')],
  ])
  return run
}
const RIGHT = { k: { total: 5, notes: 'ac' }, l: { total: 2, notes: 'b' } }
const named = (run: unknown, code: string): number =>
  (run as Any).events.filter((event) => 'error' in event && event.error?.code === code).length

describe('a bit flipped in a stored row', () => {
  test.each([0, 1, 2, 3, 10, -1, -8])('at byte %i is noticed by the step that reads it, and mended from the changelog', async (at) => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = rowOf(entries, STORE.sums, 'k')
      await write(key, flipped(value, at < 0 ? value.length + at : at))
    })
    await run.put('in', Item, [['k', item(8, 'd')]])
    expect(await run.rows('sums')).toEqual({ ...RIGHT, k: { total: 13, notes: 'acd' } })
    expect(named(run, 'STORE_CORRUPT')).toBeGreaterThan(0)
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    expect(run.count('dead')).toBe(0)
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('is never given to a reader: the read fails with its name, and after it the row is mended', async () => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = rowOf(entries, STORE.sums, 'k')
      await write(key, flipped(value, value.length - 12))
    })
    const view = await run.view('sums')
    await expect(view.get('k')).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    await run.settle()
    expect((await (await run.view('sums')).get('k')).value).toEqual(RIGHT.k)
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('is noticed by a page of rows as well', async () => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = rowOf(entries, STORE.sums, 'l')
      await write(key, flipped(value, 5))
    })
    const view = await run.view('sums')
    await expect(view.page()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    await run.settle()
    expect(await run.rows('sums')).toEqual(RIGHT)
    await run.close()
  })

  test('of marks forgets no mark: the fact that was seen is still known', async () => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = rowOf(entries, STORE.once, 'k')
      await write(key, flipped(value, value.length - 12))
    })
    await run.put('in', Item, [['k', item(1, 'a')]])
    expect(await run.rows('sums')).toEqual(RIGHT)
    await run.close()
  })

  test('is found by verify, in a row that nobody reads, and mended when that is asked for', async () => {
    const run = await filled()
    const damage = (): Promise<void> =>
      disk(run, async (entries, write) => {
        const [key, value] = rowOf(entries, STORE.sums, 'l')
        await write(key, flipped(value, 5))
      })
    await damage()
    const { problems, repaired } = await run.verify()
    // The row itself, and the sum of its range without it.
    expect([problems.map(({ where, error }) => `${where} ${error.code}`), repaired]).toEqual([
      ['all/0 STORE_CORRUPT', 'all/0 STORE_CORRUPT'],
      [],
    ])
    expect((await run.verify({ repair: true })).repaired).toEqual(['all/0'])
    expect(await run.rows('sums')).toEqual(RIGHT)
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })
})

describe('what no read of a row can notice', () => {
  test('a bit flipped in a key, which reads as missing, is found by verify', async () => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = rowOf(entries, STORE.sums, 'l')
      await write(key, null)
      await write(Buffer.from(key.toString('latin1').replace('l', 'm'), 'latin1'), value)
    })
    const { problems } = await run.verify()
    expect(problems.map(({ error }) => error.message)).toEqual([
      'a stored row is not what was written',
      'rows of store "sums" are missing or too many',
    ])
    await run.verify({ repair: true })
    expect(await run.rows('sums')).toEqual(RIGHT)
    await run.close()
  })

  test('a row that is gone is found by the sums', async () => {
    const run = await filled()
    await disk(run, (entries, write) => write(rowOf(entries, STORE.sums, 'l')[0], null))
    expect((await run.verify()).problems).toMatchObject([
      {
        where: 'all/0',
        error: {
          message: 'rows of store "sums" are missing or too many',
          detail: expect.stringContaining('it has 1 rows and should have 2') as string,
        },
      },
    ])
    await run.close()
  })

  test('a row that a step knows must be there and is not, is damage and no fact’s fault: nothing that was held is lost', async () => {
    const run = harness(ordered)
    await run.put('in', Item, [
      ['k', item(1)],
      ['k', item(3)],
    ])
    await disk(run, (entries, write) => write(rowOf(entries, STORE['in-sequence'], '!p')[0], null))
    await run.put('in', Item, [['k', item(2)]])
    expect((await run.values('out', Item)).map(([, value]) => value?.n)).toEqual([1, 2, 3])
    expect([run.count('dead'), run.count('wipes', 'all', 'STORE_CORRUPT')]).toEqual([0, 1])
    await run.close()
  })
})

describe('what a task keeps about itself', () => {
  test.each<[what: string, key: Buffer]>([
    ['how far the disk is', CHK_KEY],
    ['what the last commit said', TM_KEY],
  ])('%s: any bit flipped in it is noticed at the start, and the state is restored', async (_what, key) => {
    for (const at of [0, 3, 8, 20, -1]) {
      const run = await filled()
      await disk(run, async (entries, write) => {
        const [, value] = entries.find(([each]) => each.equals(key)) as Entry
        await write(key, flipped(value, at < 0 ? value.length + at : at))
      })
      expect(await run.rows('sums')).toEqual(RIGHT)
      await run.put('in', Item, [
        ['k', item(4, 'c')],
        ['k', item(8, 'd')],
      ])
      expect(await run.rows('sums')).toMatchObject({ k: { total: 13 } })
      expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
      await run.close()
    }
  })

  test('a disk that lost either of them, or all, is restored', async () => {
    for (const lost of [[CHK_KEY], [TM_KEY], 'all'] as const) {
      const run = await filled()
      await disk(run, async (entries, write) => {
        for (const [key] of entries) if (lost === 'all' || lost.some((each) => each.equals(key))) await write(key, null)
      })
      await run.put('in', Item, [['k', item(8, 'd')]])
      expect(await run.rows('sums')).toEqual({ ...RIGHT, k: { total: 13, notes: 'acd' } })
      expect((await run.verify()).problems).toEqual([])
      await run.close()
    }
  })

  test('a timer whose key was damaged is noticed at the start: it would go off for another key', async () => {
    const run = harness(ordered)
    await run.put('in', Item, [
      ['k', item(1), 1_000],
      ['k', item(3), 2_000],
    ])
    await disk(run, async (entries, write) => {
      const [key, value] = entries.find(([each]) => each.includes('!t')) as Entry
      await write(key, null)
      await write(flipped(key, key.length - 3), value)
    })
    await run.put('in', Item, [['other', item(1), 30_000]])
    expect((await run.values('out', Item)).map(([key, value]) => `${key}${value?.n}`)).toEqual(['k1', 'k3', 'other1'])
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('state of another application is not touched, and stops the start with a word on what it is', async () => {
    const run = await filled()
    await disk(run, async (entries, write) => {
      const [key, value] = entries.find(([each]) => each.equals(CHK_KEY)) as Entry
      await write(key, encodeCheckpoint({ ...decodeCheckpoint(value), app: 'another' }))
    })
    await run.app()
    await run.settle()
    expect(await run.failure()).toMatchObject({ code: 'STORE_FOREIGN' })
    run.crash()
    expect(await disk(run, (entries) => entries.length)).toBeGreaterThan(3)
  })
})

describe('a disk that does not fit its changelog is dropped and restored, and counted', () => {
  const checkpoint = (
    run: unknown,
    change: (known: ReturnType<typeof decodeCheckpoint>) => Partial<ReturnType<typeof decodeCheckpoint>>,
  ): Promise<void> =>
    disk(run, async (entries, write) => {
      const known = decodeCheckpoint((entries.find(([each]) => each.equals(CHK_KEY)) as Entry)[1])
      await write(CHK_KEY, encodeCheckpoint({ ...known, ...change(known) }))
    })

  test('because it is ahead: the log lost records', async () => {
    const run = await filled()
    await checkpoint(run, ({ next }) => ({ next: next + 100 }))
    expect(await run.rows('sums')).toEqual(RIGHT)
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('because the changelog has another record than the one that the disk took last: the log lost some, and went on', async () => {
    const run = await filled()
    await checkpoint(run, ({ last }) => ({ last: { ...(last as NonNullable<typeof last>), high: (last?.high ?? 0) ^ 1 } }))
    expect(await run.rows('sums')).toEqual(RIGHT)
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('because it is before the first record that the changelog still has', async () => {
    const run = await filled()
    await run.put('in', Item, [['k', item(8, 'd')]])
    const { log } = await run.access()
    await log.trim('damaged-all-g1-changelog/0', 1)
    await checkpoint(run, () => ({ next: 0 }))
    await run.app()
    await run.settle()
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('because it slept longer than tombstones are kept: a row that was deleted meanwhile would come back', async () => {
    const run = await filled()
    const asleep = await disk(run, (entries) => entries.map((entry) => entry))
    await run.put('in', Item, [['l', item(16, 'z')]])
    await disk(run, async (entries, write) => {
      for (const [key] of entries) await write(key, null)
      for (const [key, value] of asleep) await write(key, value)
    })
    await run.clock.advance('4d')
    expect(await run.rows('sums')).toEqual({ ...RIGHT, l: { total: 18, notes: 'bz' } })
    expect(run.count('wipes', 'all', 'STORE_CORRUPT')).toBe(1)
    await run.close()
  })

  test('but what it passed because it was aborted is read again: a log that lost records and went on may have others there', async () => {
    const run = await filled()
    const former = await disk(run, (entries) => entries.map((entry) => entry))
    await run.put('in', Item, [['l', item(16, 'z')]])
    const { next } = decodeCheckpoint((await disk(run, (entries) => entries.find(([key]) => key.equals(CHK_KEY)) as Entry))[1])
    const begunWith = async (rows: readonly Entry[], change: { last?: undefined }): Promise<void> => {
      await disk(run, async (entries, write) => {
        for (const [key] of entries) await write(key, null)
        for (const [key, value] of rows) await write(key, value)
        const known = decodeCheckpoint((former.find(([key]) => key.equals(CHK_KEY)) as Entry)[1])
        await write(CHK_KEY, encodeCheckpoint({ ...known, next, ...change }))
      })
      expect(await run.rows('sums')).toEqual({ ...RIGHT, l: { total: 18, notes: 'bz' } })
    }
    await begunWith(former, {})
    // A disk that has taken no record at all, only passed some, is read from the beginning.
    await begunWith([], { last: undefined })
    expect(run.count('wipes')).toBe(0)
    await run.close()
  })

  test('but not because the process died, wherever that was: then it is read on from where it is', async () => {
    for (const crash of Object.values(CRASH)) {
      const run = await filled()
      await run.put('in', Item, [['k', item(8, 'd')]], crash)
      expect(await run.rows('sums')).toEqual({ ...RIGHT, k: { total: 13, notes: 'acd' } })
      expect(run.count('wipes')).toBe(0)
      await run.close()
    }
  })
})

describe('positions of the group that do not fit the state', () => {
  /** Moves the group while nothing runs, as a tool does that resets offsets; it is the state that says what was processed. */
  const moved = async (run: Harness<typeof sums.projections>, to: number): Promise<void> => {
    await run.settle()
    const { log } = await run.access()
    await log.commitPositions({ group: 'damaged', identity: undefined, positions: new Map([['damaged-all-g1-inbox/0', to]]) })
  }

  test.each([0, 1, 1_000])(
    'stop the start where they were moved to %i, because facts would be applied twice or never; moved back, it goes on',
    async (to) => {
      const run = await filled()
      const { log } = await run.access()
      const there = (await log.committed('damaged', ['damaged-all-g1-inbox/0'])) as ReadonlyMap<string, number>
      await moved(run, to)
      run.crash()
      await run.app()
      await run.settle()
      expect(await run.failure()).toMatchObject({
        code: 'OFFSETS_LOST',
        message: 'group "damaged" and the state disagree about damaged-all-g1-inbox/0',
        detail: `The group says ${to}, the state says ${there.get('damaged-all-g1-inbox/0')}.`,
      })
      const again = (await run.access()).log
      await again.commitPositions({ group: 'damaged', identity: undefined, positions: there })
      run.crash()
      await run.put('in', Item, [['k', item(8, 'd')]])
      expect(await run.rows('sums')).toEqual({ ...RIGHT, k: { total: 13, notes: 'acd' } })
      await run.close()
    },
  )
})

test('state that is gone altogether is restored, and nothing is applied twice', async () => {
  const run = await filled()
  await run.stop()
  await run.state.destroy(ID)
  await run.put('in', Item, [
    ['k', item(4, 'c')],
    ['l', item(8, 'd')],
  ])
  expect(await run.rows('sums')).toEqual({ ...RIGHT, l: { total: 10, notes: 'bd' } })
  expect(run.count('restored', 'all')).toBeGreaterThan(0)
  await run.close()
})

describe('a bit flipped in a segment of the log', () => {
  /** Writes "in" without reading it, so that what is damaged is still to be read. */
  const writer = topology('writer', (flow) => {
    flow.stream('before', { key: text, value: Item }, { partitions: 1 }).to('out-step', 'in', { partitions: 1 })
    return []
  })
  const written = async (): Promise<Any> => {
    const run = harness(writer)
    await run.put(
      'before',
      Item,
      Array.from({ length: 20 }, (_, i) => [`k${i}`, item(i, 'note')] as const),
    )
    await run.close()
    return run
  }

  test('is refused and named where it is read, the task halts there, and verify names the partition', async () => {
    const before = await written()
    const [path, bytes] = [...before.disk.files()].find(([name, content]) => name.includes('/in-') && content.includes('note')) as [
      string,
      Buffer,
    ]
    before.disk.faults.flip(path, bytes.indexOf('note'), 1)
    const run = harness(sums, { after: before })
    await run.app()
    await run.settle()
    expect(await run.failure()).toMatchObject({ code: 'LOG_CORRUPT', detail: expect.stringContaining('in') as string })
    expect((await run.topic('damaged-all-g1-inbox')).filter(({ key }) => key !== undefined)).toEqual([])
    const { problems } = await run.verify()
    expect(problems).toMatchObject([{ where: 'in/0', error: { code: 'LOG_CORRUPT' } }])
    await run.close()
  })
})

test('state whose log is gone is found by verify', async () => {
  const before = await filled()
  await before.close()
  const { clock, state, schemas } = before
  const run = harness(sums, { after: { clock, state, schemas, disk: harness(sums).disk } })
  const { problems } = await run.verify()
  expect(problems.map(({ where, error }) => [where, error.code])).toEqual([['all/0', 'TOPIC_RECREATED']])
  await run.close()
})
