/** What a worker is to its group: expected back or not, under a name or without one, and what it may do before it knows that it still is a member. */
import { describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import type { GroupEvent, Log } from '../../src/ports/log.ts'
import { App } from '../../src/runtime/app.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const shared = topology('shared', (flow: Flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 4 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
    .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
])

const KEYS = Array.from({ length: 12 }, (_, i) => `k${i}`)

async function feed(cluster: Cluster, n: number): Promise<void> {
  await cluster.put(
    'in',
    Item,
    KEYS.map((key) => [key, item(n)] as const),
  )
}

async function totals(cluster: Cluster): Promise<number[]> {
  const rows = (await cluster.rows('sums')) as Record<string, Sum>
  return KEYS.map((key) => rows[key]?.total ?? 0)
}

const tasksOf = (cluster: Cluster): Record<string, number> =>
  Object.fromEntries([...cluster.members].map(([name, { app }]) => [name, app.tasks.length]))
const rebalances = (cluster: Cluster): number => cluster.counts.get('rebalances') ?? 0

describe('a static worker', () => {
  test('that stops and comes back within its session finds its tasks, and the other is not told of it', async () => {
    const cluster = await Cluster.open()
    for (const instance of ['w0', 'w1']) await cluster.start(shared, instance)
    await cluster.settle()
    await feed(cluster, 1)
    await cluster.settle()
    const before = rebalances(cluster)
    await cluster.members.get('w0')?.app.close()
    cluster.members.delete('w0')
    await feed(cluster, 2)
    await cluster.clock.advance(5_000)
    expect(tasksOf(cluster)).toEqual({ w1: 2 })
    await cluster.start(shared, 'w0')
    await cluster.settle()
    // Its own, when it came back.
    expect(rebalances(cluster) - before).toBe(1)
    expect(tasksOf(cluster)).toEqual({ w0: 2, w1: 2 })
    expect(await totals(cluster)).toEqual(KEYS.map(() => 3))
    await cluster.close()
  })

  test('that stops and does not come back is waited for as long as a session lasts, and then the other has its tasks', async () => {
    const cluster = await Cluster.open()
    for (const instance of ['w0', 'w1']) await cluster.start(shared, instance)
    await cluster.settle()
    await cluster.members.get('w0')?.app.close()
    cluster.members.delete('w0')
    await cluster.clock.advance(9_000)
    expect(tasksOf(cluster)).toEqual({ w1: 2 })
    await cluster.until(() => tasksOf(cluster).w1 === 4)
    await cluster.close()
  })

  test('that leaves for good is not waited for', async () => {
    const cluster = await Cluster.open()
    for (const instance of ['w0', 'w1']) await cluster.start(shared, instance)
    await cluster.settle()
    const before = cluster.clock.now()
    await cluster.leave('w0')
    await cluster.until(() => tasksOf(cluster).w1 === 4)
    expect(cluster.clock.now() - before).toBeLessThan(1_000)
    await cluster.close()
  })
})

describe('a dynamic worker', () => {
  test('that stops leaves at once', async () => {
    const cluster = await Cluster.open()
    for (const name of ['a', 'b']) await cluster.start(shared, name, { membership: 'dynamic' })
    await cluster.settle()
    expect(tasksOf(cluster)).toEqual({ a: 2, b: 2 })
    const before = cluster.clock.now()
    await cluster.members.get('a')?.app.close()
    cluster.members.delete('a')
    await cluster.until(() => tasksOf(cluster).b === 4)
    expect(cluster.clock.now() - before).toBeLessThan(1_000)
    await cluster.close()
  })

  test('that dies in the middle of a commit is taken over after its session, by one that ends its transaction', async () => {
    const cluster = await Cluster.open()
    const [died, fenced] = [{ yet: false }, new Set<string>()]
    const watching = (log: Log): Log => {
      const watched = Object.create(log) as Log
      watched.fence = async (prefix, live) => {
        for (const id of live) fenced.add(id)
        await log.fence(prefix, live)
      }
      return watched
    }
    await cluster.start(shared, 'a', { membership: 'dynamic', over: watching })
    await cluster.settle()
    const hit = (): void => {
      died.yet = true
    }
    await cluster.start(shared, 'b', { membership: 'dynamic', hang: { at: 'commit.before-decision', hit } })
    await cluster.until(() => tasksOf(cluster).b === 2)
    await feed(cluster, 1)
    await cluster.until(() => died.yet)
    cluster.kill('b')
    await cluster.settle()
    expect(await totals(cluster)).toEqual(KEYS.map(() => 1))
    // Come back, it is another member with another writer, on the disk that it left.
    await cluster.start(shared, 'b', { membership: 'dynamic' })
    await feed(cluster, 2)
    await cluster.settle()
    expect(tasksOf(cluster)).toEqual({ a: 2, b: 2 })
    expect(await totals(cluster)).toEqual(KEYS.map(() => 3))
    expect(fenced.size).toBe(3)
    expect([...fenced].every((id) => /^shared-worker\/~[0-9a-f]{32}$/.test(id))).toBe(true)
    expect(cluster.counts.get('wipes') ?? 0).toBe(0)
    await cluster.close()
  })
})

describe('a worker whose commit failed, and whose place another process has taken meanwhile', () => {
  /** It hears nothing of its group from when it falls asleep, and its next commit has no answer. */
  const asleep = (state: { slept: boolean; opened: string[]; fenced: number }) => (log: Log) => {
    const wrapped = Object.create(log) as Log
    wrapped.join = async (group, options) => {
      const membership = await log.join(group, options)
      return {
        next: async (signal): Promise<GroupEvent> => {
          const event = await membership.next(signal)
          return state.slept ? new Promise<GroupEvent>(() => {}) : event
        },
        heartbeatAge: () => (state.slept ? 0 : membership.heartbeatAge()),
        confirm: (signal) => membership.confirm(signal),
        rejoin: () => membership.rejoin(),
        leave: (how) => membership.leave(how),
      }
    }
    wrapped.fence = async (prefix, live) => {
      state.fenced += 1
      await log.fence(prefix, live)
    }
    wrapped.writer = async (id) => {
      state.opened.push(id)
      return await log.writer(id)
    }
    return wrapped
  }

  test('under its name: it ends with MEMBER_REPLACED, and does not open a writer, which would end what its successor does', async () => {
    const cluster = await Cluster.open()
    const state = { slept: false, opened: [] as string[], fenced: 0 }
    const zombie = await cluster.start(shared, 'w0', { over: asleep(state) })
    await cluster.settle()
    state.slept = true
    const { world } = cluster.world('successor')
    const successor = await App.start(shared.graph, world, { instance: 'w0' })
    await cluster.until(() => successor.ready)
    await feed(cluster, 1)
    await cluster.until(() => zombie.failure !== undefined)
    expect(zombie.failure?.code).toBe('MEMBER_REPLACED')
    expect(state.opened).toEqual(['shared-worker/w0'])
    cluster.kill('w0')
    cluster.members.set('successor', { app: successor, world, stop: () => {} })
    await cluster.settle()
    expect(await totals(cluster)).toEqual(KEYS.map(() => 1))
    expect(cluster.counts.get('commit_failures')).toBe(1)
    await cluster.close()
  })
})
