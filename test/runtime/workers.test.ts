/** Several workers share an application's tasks: they join, leave, die and take over, and no fact is lost, applied twice or out of order. */
import { describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const shared = topology('shared', (flow: Flow) => {
  const facts = flow
    .stream('in', { key: text, value: Item }, { partitions: 4 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
  facts.to('out-step', 'out')
  return [
    flow
      .inbox('all', [facts.keyBy('by-group', text, (value) => value.note)])
      .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
  ]
})

const KEYS = Array.from({ length: 12 }, (_, i) => `k${i}`)
const GROUPS = ['a', 'b', 'c', 'd', 'e']
/** Feeds numbers for every key, and knows what must come of them. */
class Feed {
  readonly #cluster: Cluster
  #n = 0
  readonly totals: Record<string, number> = {}
  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }
  async more(rounds: number): Promise<void> {
    const records: (readonly [string, Item])[] = []
    for (let round = 0; round < rounds; round++) {
      this.#n += 1
      for (const [i, key] of KEYS.entries()) {
        const group = GROUPS[(i + this.#n) % GROUPS.length] as string
        records.push([key, item(this.#n, group)])
        this.totals[group] = (this.totals[group] ?? 0) + this.#n
      }
    }
    await this.#cluster.put('in', Item, records)
  }
  /** Every fact once, each key in its order, and the sums right. */
  async check(): Promise<void> {
    const out = await this.#cluster.values('out', Item)
    for (const key of KEYS)
      expect(out.filter(([of]) => of === key).map(([, value]) => value.n)).toEqual(Array.from({ length: this.#n }, (_, i) => i + 1))
    const rows = (await this.#cluster.rows('sums')) as Record<string, Sum>
    expect(Object.fromEntries(Object.entries(rows).map(([key, { total }]) => [key, total]))).toEqual(this.totals)
  }
}
const tasksOf = (cluster: Cluster): Record<string, number> =>
  Object.fromEntries([...cluster.members].map(([name, { app }]) => [name, app.tasks.length]))

test('a second worker takes half of the tasks, a third its share, and nothing is processed twice', async () => {
  const cluster = await Cluster.open()
  const feed = new Feed(cluster)
  await cluster.start(shared, 'w0')
  await cluster.settle()
  expect(tasksOf(cluster)).toEqual({ w0: 8 })
  await feed.more(3)
  await cluster.settle()
  await cluster.start(shared, 'w1')
  await feed.more(3)
  await cluster.settle()
  expect(tasksOf(cluster)).toEqual({ w0: 4, w1: 4 })
  await cluster.start(shared, 'w2')
  await feed.more(3)
  await cluster.settle()
  expect(Object.values(tasksOf(cluster)).toSorted((a, b) => a - b)).toEqual([2, 3, 3])
  await feed.check()
  await cluster.close()
})

test('a worker that leaves hands its tasks over at once', async () => {
  const cluster = await Cluster.open()
  const feed = new Feed(cluster)
  await cluster.start(shared, 'w0')
  await cluster.start(shared, 'w1')
  await cluster.settle()
  await feed.more(4)
  const before = cluster.clock.now()
  await cluster.leave('w0')
  await feed.more(4)
  await cluster.settle()
  expect(tasksOf(cluster)).toEqual({ w1: 8 })
  // Nobody waited for a session to end.
  expect(cluster.clock.now() - before).toBeLessThan(10_000)
  await feed.check()
  await cluster.close()
})

describe('a worker that dies is taken over, wherever in its commit it died', () => {
  const points = [
    undefined,
    'commit.before-outputs',
    'commit.after-outputs',
    'commit.after-changelogs',
    'commit.before-decision',
    'commit.after-decision',
    'commit.before-stores',
    'commit.after-stores',
  ]
  test.each(points)('%s', async (at) => {
    const cluster = await Cluster.open()
    const feed = new Feed(cluster)
    let dead = at === undefined
    await cluster.start(shared, 'w0')
    await cluster.settle()
    await feed.more(2)
    await cluster.settle()
    const hang =
      at === undefined
        ? {}
        : {
            at,
            hit: () => {
              dead = true
            },
          }
    await cluster.start(shared, 'w1', { hang })
    await cluster.turns(200)
    await feed.more(3)
    await cluster.until(() => dead)
    await cluster.turns(50)
    cluster.kill('w1')
    await feed.more(3)
    await cluster.settle()
    expect(tasksOf(cluster)).toEqual({ w0: 8 })
    await feed.check()
    // And the dead one may come back, to the disk that it left.
    await cluster.start(shared, 'w1')
    await feed.more(2)
    await cluster.settle()
    expect(tasksOf(cluster)).toEqual({ w0: 4, w1: 4 })
    await feed.check()
    expect(cluster.counts.get('wipes') ?? 0).toBe(0)
    await cluster.close()
  })
})

test('a worker that was paused for longer than its session, and wakes, writes nothing more under its old membership', async () => {
  const cluster = await Cluster.open()
  const feed = new Feed(cluster)
  await cluster.start(shared, 'w0')
  // The commit of this one stands still between its outputs and its decision, until another has its tasks.
  let wake = (): void => {}
  let paused = false
  const slept = new Promise<void>((resolve) => {
    wake = resolve
  })
  await cluster.start(shared, 'w1', {
    over: (log) => {
      const wrapped = Object.create(log) as typeof log
      wrapped.writer = async (id) => {
        const writer = await log.writer(id)
        return {
          id: writer.id,
          append: (partition, batch) => writer.append(partition, batch),
          commit: async (positions) => {
            if (!paused && positions.length > 0 && feedBegan) {
              paused = true
              await slept
            }
            return writer.commit(positions)
          },
          abort: () => writer.abort(),
          close: () => writer.close(),
        }
      }
      return wrapped
    },
  })
  let feedBegan = false
  await cluster.settle()
  feedBegan = true
  await feed.more(3)
  await cluster.until(() => paused)
  cluster.members.get('w1')?.stop()
  // Its session ends, and the other takes all.
  await cluster.until(() => (tasksOf(cluster).w0 ?? 0) === 8)
  await feed.more(3)
  const survivor = cluster.members.get('w0')?.app
  await cluster.until(() => survivor?.ready === true)
  wake()
  await cluster.turns(300)
  cluster.kill('w1')
  await cluster.settle()
  await feed.check()
  await cluster.close()
})

test('at least once, where no log refuses it, a worker that wakes after its session sees that for itself and writes nothing', async () => {
  const cluster = await Cluster.open()
  const feed = new Feed(cluster)
  const settings = { guarantee: 'at-least-once' } as const
  await cluster.start(shared, 'w0', settings)
  await cluster.settle()
  let wake = (): void => {}
  let paused = false
  const until = new Promise<void>((resolve) => {
    wake = resolve
  })
  const hang = {
    at: 'never',
    hit: () => {
      paused = true
    },
    until,
  }
  await cluster.start(shared, 'w1', { ...settings, hang })
  await cluster.settle()
  hang.at = 'commit.before-outputs'
  await feed.more(3)
  await cluster.until(() => paused)
  // The whole process stands still: it sends no heartbeat either.
  cluster.members.get('w1')?.stop()
  await cluster.until(() => (tasksOf(cluster).w0 ?? 0) === 8)
  await feed.more(3)
  const survivor = cluster.members.get('w0')?.app
  await cluster.until(() => survivor?.ready === true && survivor.lag() === 0)
  await cluster.rest()
  wake()
  await cluster.turns(300)
  cluster.kill('w1')
  await cluster.settle()
  await feed.check()
  await cluster.close()
})

test('a worker of another plan takes no part in the group, and the others go on', async () => {
  const cluster = await Cluster.open()
  const feed = new Feed(cluster)
  await cluster.start(shared, 'w0')
  await cluster.settle()
  const other = topology('shared', (flow: Flow) => {
    const facts = flow
      .stream('in', { key: text, value: Item }, { partitions: 4 })
      .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
    facts.to('out-step', 'out')
    facts.filter('more', () => true).to('more-out', 'more')
    return [
      flow
        .inbox('all', [facts.keyBy('by-group', text, (value) => value.note)])
        .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
    ]
  })
  await cluster.start(other, 'w1')
  await feed.more(3)
  await cluster.settle()
  // Whichever plan leads, each task has one owner, and every owner has the leader's plan.
  const counts = Object.values(tasksOf(cluster)).toSorted((a, b) => a - b)
  expect([
    [0, 8],
    [4, 4],
  ]).toContainEqual(counts)
  await feed.check()
  await cluster.close()
})

test('two applications whose names begin alike live on one log, and starting one loses the other nothing', async () => {
  const cluster = await Cluster.open()
  const small = (name: string, output: string) =>
    topology(name, (flow: Flow) => {
      flow
        .stream(`${name}-in`, { key: text, value: Item }, { partitions: 1 })
        .dedupe('once', { id: (value) => `${value.n}` })
        .to('out-step', output)
      return []
    })
  await cluster.start(small('shop-eu', 'out-eu'), 'w0')
  await cluster.settle()
  await cluster.put(
    'shop-eu-in',
    Item,
    Array.from({ length: 20 }, (_, i) => ['k', item(i)] as const),
  )
  const { members } = cluster
  const eu = members.get('w0')
  await cluster.start(small('shop', 'out-shop'), 'w1')
  await cluster.put(
    'shop-eu-in',
    Item,
    Array.from({ length: 20 }, (_, i) => ['k', item(100 + i)] as const),
  )
  await cluster.put('shop-in', Item, [['k', item(1)]])
  await cluster.until(() => eu?.app.ready === true && eu.app.lag() === 0)
  await cluster.settle()
  await cluster.until(() => eu?.app.ready === true && eu.app.lag() === 0)
  for (let i = 0; i < 100 && !(await (eu as NonNullable<typeof eu>).app.caughtUp()); i++) await cluster.turns(20)
  expect((await cluster.values('out-eu', Item)).map(([, { n }]) => n)).toEqual([
    ...Array.from({ length: 20 }, (_, i) => i),
    ...Array.from({ length: 20 }, (_, i) => 100 + i),
  ])
  expect(await cluster.values('out-shop', Item)).toHaveLength(1)
  await cluster.close()
})
