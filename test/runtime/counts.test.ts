/** A source that gets more partitions while it is read (C11): nothing of it is processed any more, no read that follows it is called fresh, and everybody is told. */
import { describe, expect, test } from 'vitest'
import { type Freshness, publisher, topology } from '#tidemark'
import { partitionOf } from '../../src/base/murmur.ts'
import type { Log, TopicDescription } from '../../src/ports/log.ts'
import type { App } from '../../src/runtime/app.ts'
import { inVirtualTime } from '../drivers/kafka/virtual.ts'
import { click, clicks, Item, item } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const projection = {
  row: Item,
  identity: 'once',
  windows: { clicks: { target: '5s', max: '1m' } },
  fold: { Clicked: (row: Item | undefined, event: Item) => item((row?.n ?? 0) + event.n) },
} as const
const direct = topology('direct', (flow) => [flow.source(clicks).dedupe('once').project('clicks-of', projection)])
const behind = topology('behind', (flow) => [flow.inbox('all', [flow.source(clicks).dedupe('once')]).project('clicks-of', projection)])

const freshnessOf = (app: App): Freshness => app.view('clicks-of').freshness().projection

/** A log that says, from some moment on, that the source has more partitions. */
function growing(): { over: (log: Log) => Log; partitions: number } {
  const grown = {
    partitions: 1,
    over: (log: Log): Log =>
      new Proxy(log, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name)
          if (typeof value !== 'function') return value
          if (name !== 'describe') return value.bind(target) as unknown
          return async (names: readonly string[]): Promise<TopicDescription[]> =>
            (await target.describe(names)).map((topic) =>
              topic.name === 'web.clicks' ? { ...topic, partitions: grown.partitions } : topic,
            )
        },
      }),
  }
  return grown
}

async function pass(cluster: Cluster, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await cluster.clock.advance('1s')
    await cluster.turns(20)
  }
}

describe('a source that gets more partitions', () => {
  test('is noticed within a quarter of a minute: its tasks halt with both counts, reads are unknown, and nothing is caught up', async () => {
    const cluster = await Cluster.open()
    const log = growing()
    const app = await cluster.start(direct, '0', { over: log.over })
    await cluster.settle()
    await pass(cluster, 20)
    expect(freshnessOf(app).state).toBe('fresh')
    log.partitions = 2
    await pass(cluster, 15)
    expect(app.tasks.map(({ state }) => state)).toEqual(['halted'])
    expect(app.failure).toMatchObject({ code: 'PARTITION_COUNT_CHANGED', message: expect.stringMatching(/2 partitions now, and 1 when/) })
    expect(freshnessOf(app)).toMatchObject({ state: 'unknown', reason: expect.stringContaining('partitions') })
    expect(await app.view('clicks-of').get('u')).toMatchObject({ freshness: { state: 'unknown' } })
    expect([await app.caughtUp(), app.lag()]).toEqual([false, undefined])
    expect(cluster.events.filter((event) => event.kind === 'warning')).toHaveLength(1)
    await cluster.close()
  })

  test('is not fresh either on a worker that only has the projection behind an inbox of it', async () => {
    const cluster = await Cluster.open()
    const log = growing()
    const front = await cluster.start(behind, 'front', { over: log.over })
    await cluster.settle()
    await cluster.start(behind, 'back', { over: log.over })
    await cluster.until(() => front.tasks.length === 1)
    await cluster.settle()
    await pass(cluster, 5)
    expect(freshnessOf(front).state).toBe('fresh')
    log.partitions = 4
    await pass(cluster, 15)
    expect(front.tasks).toEqual([{ name: 'all/0', state: 'running' }])
    expect(freshnessOf(front)).toMatchObject({ state: 'unknown', reason: expect.stringContaining('partitions') })
    expect((cluster.members.get('back') as { app: App }).app.tasks).toEqual([{ name: 'clicks/0', state: 'halted' }])
    await cluster.close()
  })

  test('stays halted on whoever takes its tasks over from another worker that knew', async () => {
    const cluster = await Cluster.open()
    const log = growing()
    const first = await cluster.start(behind, '0', { over: log.over })
    await cluster.settle()
    await cluster.start(behind, '1', { over: log.over })
    await cluster.until(() => first.tasks.length === 1)
    log.partitions = 4
    await pass(cluster, 15)
    await cluster.leave('1')
    await cluster.until(() => first.tasks.length === 2)
    await cluster.until(() => first.ready)
    expect(first.tasks.find(({ name }) => name === 'clicks/0')).toEqual({ name: 'clicks/0', state: 'halted' })
    await cluster.close()
  })
})

test('on Kafka: a record in a new partition is never called read, and a restart refuses it with both counts', async () => {
  await inVirtualTime({ nodes: 1 }, async ({ kafka, clock, start }) => {
    const { app, world, events } = await start(direct, '0')
    while (!app.ready) await clock.sleep(100)
    kafka.growTopic('web.clicks', 4)
    const key = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].find((each) => partitionOf(Buffer.from(each), 4) !== 0) as string
    const feed = publisher(clicks, { as: clicks.owner, log: world })
    await feed.publish(click(key, 'x'), { id: 'x' })
    await clock.sleep(15_000)
    expect(app.tasks.map(({ state }) => state)).toEqual(['halted'])
    expect(freshnessOf(app).state).toBe('unknown')
    expect(await app.caughtUp()).toBe(false)
    expect(events.filter((event) => event.kind === 'failure')).toMatchObject([
      { decision: 'halt', error: { code: 'PARTITION_COUNT_CHANGED' } },
    ])
    await app.close().catch(() => {})
    await expect(start(direct, '0')).rejects.toMatchObject({
      code: 'PLAN_CHANGED',
      detail: expect.stringContaining('stage "clicks" had 1 partitions and has 4'),
      hint: expect.any(String),
    })
  })
})
