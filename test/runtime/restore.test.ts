/** Restores beside work: they leave tasks that run their commits, few are at work at once, and what was read is kept whatever happens. */
import { describe, expect, test } from 'vitest'
import { context, contract, publisher, text, topology } from '#tidemark'
import { TidemarkError } from '../../src/base/errors.ts'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { openEmbeddedLog } from '../../src/drivers/embedded/index.ts'
import { memoryState } from '../../src/drivers/memory/index.ts'
import type { Fetched, Log, Reader } from '../../src/ports/log.ts'
import { BatchBuilder } from '../../src/ports/record-batch/index.ts'
import type { TaskStore } from '../../src/ports/store.ts'
import { decodeCheckpoint } from '../../src/runtime/meta.ts'
import { Pace } from '../../src/runtime/pace.ts'
import { type RestoreProgress, restore } from '../../src/runtime/restore.ts'
import { CHK_KEY } from '../../src/runtime/rows.ts'
import { manualClock, seededRandom, simulatedDisk } from '../../src/testing/index.ts'
import { Clicked, click, clicks, Item, item } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

/** So many rows are restored between two turns of the loop, at most. */
const SLICE_ROWS = 2_000

/** A changelog of so many rows, each under a key of its own. */
async function changelog(partitions: number, rows: number) {
  const clock = manualClock()
  const random = seededRandom(5)
  const broker = await openEmbeddedLog({
    folder: 'log',
    fs: simulatedDisk({ random }).fs,
    clock,
    random,
    codecs: nativeCodecs,
    fsync: 'never',
  })
  const log = broker.client({ clock })
  await log.ensure([{ name: 'c', partitions, cleanup: 'compact', retentionMs: -1 }])
  const writer = await log.plainWriter()
  for (let partition = 0; partition < partitions; partition++) {
    for (let row = 0; row < rows; ) {
      const batch = new BatchBuilder({ codecs: nativeCodecs })
      for (let i = 0; i < 500 && row < rows; i++, row++) batch.add(0, Buffer.from(`key ${row}`), Buffer.from(`value ${row}`))
      await writer.append(`c/${partition}`, batch.finish())
    }
  }
  const stores: TaskStore[] = []
  const disk = memoryState()
  for (let partition = 0; partition < partitions; partition++)
    stores.push(await disk.open({ app: 'a', stage: 's', generation: 1, partition }))
  const run = (partition: number, pace: Pace, over: Partial<Parameters<typeof restore>[0]> = {}) => {
    const db = stores[partition] as TaskStore
    const known = db.get(CHK_KEY)
    const checkpoint = { app: 'a', stage: 's', changelogId: 'c', next: 0, syncedAt: 0, last: undefined }
    return restore({
      log,
      db,
      clock,
      pace,
      changelog: `c/${partition}`,
      checkpoint: known === undefined ? checkpoint : decodeCheckpoint(known),
      until: rows,
      signal: new AbortController().signal,
      onProgress: () => {},
      ...over,
    })
  }
  const restored = async (partition: number): Promise<number> =>
    (await (stores[partition] as TaskStore).range({ from: Buffer.from('key'), to: Buffer.from('kez'), limit: rows + 1 })).length
  return { clock, log, run, restored, close: () => broker.close() }
}

describe('restores', () => {
  test('leave the loop a turn after every slice, all of them together', async () => {
    const rows = 20_000
    const { clock, run, restored, close } = await changelog(6, rows)
    const pace = new Pace(clock)
    let turns = 0
    const stop = new AbortController()
    const beside = (async () => {
      for (; !stop.signal.aborted; turns++) await clock.turn()
    })()
    await Promise.all([0, 1, 2, 3, 4, 5].map((partition) => run(partition, pace)))
    stop.abort()
    await beside
    expect(turns).toBeGreaterThanOrEqual((6 * rows) / SLICE_ROWS)
    for (const partition of [0, 1, 2, 3, 4, 5]) expect(await restored(partition)).toBe(rows)
    await close()
  })

  test('are at most four at once: the others wait, and one that is given up does not keep its place', async () => {
    const { clock, run, restored, close } = await changelog(7, 6_000)
    const pace = new Pace(clock)
    const begun = new Set<number>()
    const ended = new Set<number>()
    let most = 0
    const giveUp = new AbortController()
    const all = [0, 1, 2, 3, 4, 5, 6].map((partition) =>
      run(partition, pace, {
        onProgress: ({ records }) => {
          if (records > 0) begun.add(partition)
          most = Math.max(most, begun.size - ended.size)
        },
        ...(partition === 4 ? { signal: giveUp.signal } : {}),
      }).finally(() => ended.add(partition)),
    )
    giveUp.abort(new Error('given up'))
    await expect(all[4]).rejects.toThrow('given up')
    await Promise.all(all.filter((_, partition) => partition !== 4))
    expect([most <= 4, begun.has(4), await restored(6)]).toEqual([true, false, 6_000])
    await close()
  })

  test('tell records, bytes, what is left, and how long that takes at the rate so far', async () => {
    const { clock, run, log, close } = await changelog(1, 30_000)
    const told: RestoreProgress[] = []
    await run(0, new Pace(clock), {
      log: over(log, (poll) => async (options) => {
        await clock.advance('1s')
        return await poll({ ...options, bytes: 1 })
      }),
      onProgress: (progress) => void told.push(progress),
    })
    expect(told[0]).toEqual({ records: 0, bytes: 0, left: 30_000, secondsLeft: undefined })
    const half = told.find(({ left }) => left <= 15_000) as RestoreProgress
    // One batch a second.
    expect(half.secondsLeft).toBeCloseTo(half.left / 500, 0)
    expect(told.at(-1)).toMatchObject({ records: 30_000, left: 0, secondsLeft: 0 })
    await close()
  })

  test('whose log fails again and again get on each time, however little it gave (B1)', async () => {
    const rows = 6_000
    const { clock, run, log, restored, close } = await changelog(1, rows)
    let failures = 0
    const failing = over(log, (poll) => {
      let polls = 0
      return (options) => {
        polls += 1
        if (polls > 2) return Promise.reject(new TidemarkError('BROKER_UNREACHABLE', 'no broker answered to reading c/0'))
        return poll({ ...options, bytes: 1 })
      }
    })
    for (;;) {
      try {
        await run(0, new Pace(clock), { log: failing })
        break
      } catch {
        failures += 1
        expect(await restored(0)).toBe(failures * 1_000)
      }
    }
    expect([failures, await restored(0)]).toEqual([5, rows])
    await close()
  })
})

/** A log whose readers poll otherwise. */
function over(log: Log, change: (poll: Reader['poll']) => (options: Parameters<Reader['poll']>[0]) => Promise<Fetched[]>): Log {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (name !== 'reader') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return (...args: Parameters<Log['reader']>): Reader => {
        const reader = target.reader(...args)
        return {
          assign: (positions) => reader.assign(positions),
          pause: (partitions) => reader.pause(partitions),
          poll: change((options) => reader.poll(options)),
          close: () => reader.close(),
        }
      }
    },
  })
}

const shop = context('shop', { owner: 'shop' })
const sales = contract('sales', {
  owner: shop,
  version: 1,
  topic: 'shop.sales',
  partitions: 1,
  key: text,
  meaning: 'what was sold',
  events: { Clicked },
}) as unknown as typeof clicks
const FACTS = 20_000

const two = topology('two', (flow) => [
  flow
    .source(clicks)
    .dedupe('clicks-once')
    .project('clicked', {
      row: Item,
      identity: 'clicks-once',
      windows: { clicks: { target: '5s', max: '1m' } },
      fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
    }),
  flow
    .source(sales)
    .dedupe('sales-once')
    .project('sold', {
      row: Item,
      identity: 'sales-once',
      windows: { sales: { target: '5s', max: '1m' } },
      fold: { Clicked: (row: Item | undefined, event: Item) => item((row?.n ?? 0) + event.n) },
    } as never),
])

test('a worker commits on for the tasks that it runs while it restores a large one that it has taken over', async () => {
  const cluster = await Cluster.open()
  const app = await cluster.start(two, 'a')
  await cluster.settle()
  await cluster.start(two, 'b')
  await cluster.until(() => app.tasks.length === 1)
  await cluster.settle()
  const [large, live] = app.tasks[0]?.name === 'clicks/0' ? [sales, clicks] : [clicks, sales]
  const { world } = cluster.world('feed')
  const filling = publisher(large, { as: large.owner, log: world })
  await Promise.all(Array.from({ length: FACTS }, (_, i) => filling.publish(click(`user ${i}`, `${i}`), { id: `${i}` })))
  await cluster.settle()
  const feeding = publisher(live, { as: live.owner, log: world })
  await cluster.leave('b')
  const events = (): { readonly kind: string; readonly left?: number }[] => cluster.events.filter(({ kind }) => kind === 'restore')
  const begun = events().length
  await cluster.until(() => events().length > begun)
  const before = cluster.counts.get('commits') as number
  let fed = 0
  while (!app.ready) {
    await feeding.publish(click('u', `live ${fed}`), { id: `live ${fed++}` })
    await cluster.turns(5)
  }
  const commits = (cluster.counts.get('commits') as number) - before
  expect(commits).toBeGreaterThanOrEqual(5)
  await cluster.settle()
  await cluster.close()
})
