/** Behind an inbox a projection is as fresh as its sources, on whatever worker it is read, and whoever reads the sources. */
import { describe, expect, test } from 'vitest'
import { type Freshness, publisher, TidemarkError, text, topology } from '#tidemark'
import { type OffsetAt, partitionName } from '../../src/ports/log.ts'
import type { App } from '../../src/runtime/app.ts'
import { click, clicks, Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const WINDOWS = { clicks: { target: '5s', max: '1m' } } as const

/** Two tasks: `all/0`, which has the projection, and `clicks/0`, which reads the source. The first of two workers keeps the first of them. */
const behind = topology('behind', (flow) => [
  flow.inbox('all', [flow.source(clicks).dedupe('once')]).project('clicks-of', {
    row: Item,
    identity: 'once',
    windows: WINDOWS,
    fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
  }),
])

const ages = (freshness: Freshness): number => ('ageMs' in freshness ? freshness.ageMs : Number.NaN)

interface Pair {
  readonly cluster: Cluster
  /** Has the projection, and reads no source. */
  readonly front: App
  readonly publish: (id: string) => Promise<void>
  readonly freshness: () => Freshness
}

async function pair(guarantee: 'exactly-once' | 'at-least-once' = 'exactly-once', hang: { at?: string } = {}): Promise<Pair> {
  const cluster = await Cluster.open()
  const front = await cluster.start(behind, 'front', { guarantee })
  await cluster.settle()
  await cluster.start(behind, 'back', { guarantee, hang })
  await cluster.until(() => front.tasks.length === 1)
  await cluster.settle()
  expect([...cluster.members.values()].map(({ app }) => app.tasks.map(({ name }) => name))).toEqual([['all/0'], ['clicks/0']])
  const publish = async (id: string): Promise<void> => {
    const { world } = cluster.world(`feed-${id}`)
    const events = publisher(clicks, { as: clicks.owner, log: world })
    await events.publish(click('u', id), { id })
    await events.close()
  }
  const freshness = (): Freshness => (cluster.members.get('front') as { app: App }).app.view('clicks-of').freshness().projection
  return { cluster, front, publish, freshness }
}

/** What lies in all topics: whoever writes anything moves an end. */
async function ends(cluster: Cluster): Promise<ReadonlyMap<string, number>> {
  const { world } = cluster.world('observer')
  const topics = await world.log.describe()
  const names = topics.flatMap(({ name, partitions }) => Array.from({ length: partitions }, (_, i) => partitionName(name, i)))
  const found = await world.log.offsets(names, 'high')
  await world.log.close()
  return found
}

async function pass(cluster: Cluster, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await cluster.clock.advance('1s')
    await cluster.turns(20)
  }
}

describe.each(['exactly-once', 'at-least-once'] as const)('%s', (guarantee) => {
  test('a projection is fresh on a worker that reads none of its sources, and stays so while they are idle, although nobody writes anything (K17)', async () => {
    const { cluster, publish, freshness } = await pair(guarantee)
    await publish('a')
    await cluster.settle()
    await pass(cluster, 3)
    expect(freshness()).toMatchObject({ state: 'fresh' })
    expect(ages(freshness())).toBeLessThanOrEqual(1_000)
    const before = await ends(cluster)
    await pass(cluster, 600)
    expect(freshness()).toMatchObject({ state: 'fresh' })
    expect(ages(freshness())).toBeLessThanOrEqual(1_000)
    expect(await ends(cluster)).toEqual(before)
    await cluster.close()
  })

  test('while facts flow it is never further behind than progress is told', async () => {
    const { cluster, publish, freshness } = await pair(guarantee)
    for (let i = 0; i < 30; i++) {
      await publish(`f${i}`)
      await cluster.clock.advance(300)
      await cluster.turns(40)
      if (i > 5) expect(ages(freshness())).toBeLessThanOrEqual(2_000)
    }
    await cluster.close()
  })

  test('a source that was never written to is known to be idle', async () => {
    const { cluster, freshness } = await pair(guarantee)
    await pass(cluster, 3)
    expect(freshness()).toMatchObject({ state: 'fresh' })
    await cluster.close()
  })

  test('a restart of the worker that has the projection forgets nothing of it, although the sources are silent', async () => {
    const { cluster, publish, freshness } = await pair(guarantee)
    await publish('a')
    await cluster.settle()
    await pass(cluster, 3)
    cluster.kill('front')
    const front = await cluster.start(behind, 'front', { guarantee })
    await cluster.settle()
    await pass(cluster, 2)
    expect(front.tasks.map(({ name }) => name)).toEqual(['all/0'])
    expect(freshness()).toMatchObject({ state: 'fresh' })
    expect(ages(freshness())).toBeLessThanOrEqual(1_000)
    await cluster.close()
  })

  test('a worker that dies before it has told how far it came is made up for by the next one', async () => {
    const { cluster, publish, freshness } = await pair(guarantee)
    await pass(cluster, 3)
    await publish('a')
    await publish('b')
    await cluster.settle()
    cluster.kill('back')
    await cluster.start(behind, 'back', { guarantee })
    await cluster.settle()
    await pass(cluster, 2)
    expect(freshness()).toMatchObject({ state: 'fresh' })
    expect(ages(freshness())).toBeLessThanOrEqual(1_000)
    await cluster.close()
  })

  test('a source that nobody gets on with makes it stale, by as much as has passed since', async () => {
    const hang: { at?: string } = {}
    const { cluster, publish, freshness } = await pair(guarantee, hang)
    await publish('a')
    await cluster.settle()
    await pass(cluster, 3)
    hang.at = guarantee === 'exactly-once' ? 'commit.before-decision' : 'commit.before-outputs'
    const at = cluster.clock.now()
    await publish('b')
    await pass(cluster, 2)
    expect(freshness()).toMatchObject({ state: 'fresh' })
    await pass(cluster, 18)
    const stale = freshness()
    expect(stale).toMatchObject({ state: 'stale' })
    expect(ages(stale)).toBeGreaterThanOrEqual(cluster.clock.now() - at)
    expect(ages(stale)).toBeLessThanOrEqual(cluster.clock.now() - at + 2_000)
    // However long it takes: it is known that the source has something.
    await pass(cluster, 60)
    expect(freshness()).toMatchObject({ state: 'stale' })
    cluster.kill('back')
    await cluster.close()
  })
})

test('two workers say the same of one projection, although only one of them reads the sources', async () => {
  const cluster = await Cluster.open()
  const wide = topology('wide', (flow) => [
    flow.inbox('all', [flow.source(clicks).dedupe('once')], { partitions: 3 }).project('clicks-of', {
      row: Item,
      identity: 'once',
      windows: WINDOWS,
      fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
    }),
  ])
  const workers = [await cluster.start(wide, 'w0'), await cluster.start(wide, 'w1')]
  await cluster.until(() => workers.every(({ tasks }) => tasks.length === 2))
  await cluster.settle()
  const { world } = cluster.world('feed')
  const events = publisher(clicks, { as: clicks.owner, log: world })
  for (let i = 0; i < 5; i++) await events.publish(click(`u${i}`, `c${i}`), { id: `c${i}` })
  await cluster.settle()
  await pass(cluster, 3)
  const readers = workers.map(({ tasks }) => tasks.filter(({ name }) => name.startsWith('clicks')).length)
  expect(readers.toSorted((a, b) => a - b)).toEqual([0, 1])
  const known = workers.map((app) =>
    app
      .view('clicks-of')
      .freshness()
      .partitions.flatMap(({ freshness }) => (freshness.state === 'unknown' ? [] : [freshness])),
  )
  expect(known.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([1, 2])
  expect(known.flat().map(({ state }) => state)).toEqual(['fresh', 'fresh', 'fresh'])
  for (const each of known.flat()) expect(ages(each)).toBeLessThanOrEqual(1_000)
  await events.close()
  await cluster.close()
})

test('a source that does not answer any more is unknown after a while, and until then as old as what was heard last', async () => {
  const cluster = await Cluster.open()
  const gone = { by: false }
  const front = await cluster.start(behind, 'front', {
    over: (log) => {
      const offsets = log.offsets.bind(log)
      const lost = (names: readonly string[]): boolean => gone.by && names.some((name) => name.startsWith(clicks.topic))
      return Object.assign(log, {
        offsets: (names: readonly string[], at: OffsetAt) =>
          lost(names) ? Promise.reject(new TidemarkError('LOG_IO', 'no answer')) : offsets(names, at),
      })
    },
  })
  await cluster.settle()
  await cluster.start(behind, 'back')
  await cluster.until(() => front.tasks.length === 1)
  await cluster.settle()
  await pass(cluster, 3)
  const freshness = (): Freshness => front.view('clicks-of').freshness().projection
  expect(freshness()).toMatchObject({ state: 'fresh' })
  gone.by = true
  await pass(cluster, 20)
  expect(freshness()).toMatchObject({ state: 'stale' })
  expect(ages(freshness())).toBeGreaterThanOrEqual(19_000)
  await pass(cluster, 15)
  expect(freshness()).toEqual({ state: 'unknown', reason: 'nothing has been heard for a while of the sources of "clicks"' })
  gone.by = false
  await pass(cluster, 2)
  expect(freshness()).toMatchObject({ state: 'fresh' })
  await cluster.close()
})

describe('behind two inboxes', () => {
  /** Tasks `a-second/0` (the projection), `b-first/0` and `clicks/0`. */
  const chained = topology('chained', (flow) => [
    flow
      .inbox('a-second', [
        flow.inbox('b-first', [flow.source(clicks).dedupe('once')]).filter(
          'possible',
          ({ n }) => {
            if (n < 0) throw new Error('nobody clicks less than never')
            return true
          },
          { onError: 'halt' },
        ),
      ])
      .project('clicks-of', {
        row: Item,
        identity: 'once',
        windows: WINDOWS,
        fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
      }),
  ])

  test('what lies in the first is not through, although its source is read to the end', async () => {
    const cluster = await Cluster.open()
    const hang: { at?: string } = {}
    await cluster.start(chained, 'front')
    await cluster.start(chained, 'back')
    const apps = (): readonly (readonly string[])[] => [...cluster.members.values()].map(({ app }) => app.tasks.map(({ name }) => name))
    await cluster.until(() => apps().every(({ length }) => length > 0))
    await cluster.settle()
    await cluster.start(chained, 'middle', { hang })
    await cluster.until(() => apps().every(({ length }) => length === 1))
    await cluster.settle()
    await pass(cluster, 3)
    const reader = [...cluster.members.entries()].find(([, { app }]) => app.tasks[0]?.name === 'a-second/0')?.[1].app as App
    const freshness = (): Freshness => reader.view('clicks-of').freshness().projection
    expect(freshness()).toMatchObject({ state: 'fresh' })
    expect(apps()).toEqual([['a-second/0'], ['clicks/0'], ['b-first/0']])
    hang.at = 'commit.before-decision'
    const { world } = cluster.world('feed')
    const events = publisher(clicks, { as: clicks.owner, log: world })
    await events.publish(click('u', 'late'), { id: 'late' })
    await pass(cluster, 20)
    expect(freshness()).toMatchObject({ state: 'stale' })
    expect(ages(freshness())).toBeGreaterThanOrEqual(19_000)
    await events.close()
    cluster.kill('middle')
    await cluster.until(() => apps().some((names) => names.includes('b-first/0')))
    await cluster.settle()
    await pass(cluster, 3)
    expect(reader.view('clicks-of').freshness().projection).toMatchObject({ state: 'fresh' })
    await cluster.close()
  })

  test('one worker that runs everything does not take its sources for what has come through', async () => {
    const cluster = await Cluster.open()
    const app = await cluster.start(chained, 'w')
    const { world } = cluster.world('feed')
    const events = publisher(clicks, { as: clicks.owner, log: world })
    await events.publish(click('u', 'well'), { id: 'well' })
    await cluster.settle()
    await pass(cluster, 3)
    const freshness = (): Freshness => app.view('clicks-of').freshness().projection
    expect(freshness()).toMatchObject({ state: 'fresh' })
    await events.publish(click('u', 'ill', -1), { id: 'ill' })
    await pass(cluster, 20)
    expect(app.tasks.filter(({ state }) => state === 'halted').map(({ name }) => name)).toEqual(['b-first/0'])
    expect(freshness()).toMatchObject({ state: 'stale' })
    expect(ages(freshness())).toBeGreaterThanOrEqual(19_000)
    await events.close()
    await cluster.close()
  })
})

test('without a window of its own a projection is as old as the oldest of all that may be missing behind its inbox', async () => {
  const cluster = await Cluster.open()
  const hang: { at?: string } = {}
  const plain = topology('plain', (flow) => [
    flow
      .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
      .dedupe('once', { id: (v) => v.note })
      .project('sums', { row: Sum, identity: 'once', fold: summed }),
  ])
  const front = await cluster.start(plain, 'front')
  await cluster.settle()
  await cluster.start(plain, 'back', { hang })
  await cluster.until(() => front.tasks.length === 1)
  await cluster.settle()
  await pass(cluster, 3)
  expect(ages(front.view('sums').freshness().projection)).toBeLessThanOrEqual(1_000)
  hang.at = 'commit.before-decision'
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await pass(cluster, 20)
  expect(ages(front.view('sums').freshness().projection)).toBeGreaterThanOrEqual(19_000)
  cluster.kill('back')
  await cluster.close()
})
