/** What steps hold at a moment: known from the first look on, whoever held it and whatever became of its disk. */
import { expect, test } from 'vitest'
import { type Flow, type OrderOptions, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { lockOf, type PlanLock } from '../../src/plan/lock.ts'
import { planOf } from '../../src/plan/planner.ts'
import { partitionName } from '../../src/ports/log.ts'
import { BatchBuilder } from '../../src/ports/record-batch/index.ts'
import type { HeldAt } from '../../src/runtime/held.ts'
import { decodeMeta, encodeMeta, type StoreMeta } from '../../src/runtime/meta.ts'
import { TM_KEY } from '../../src/runtime/rows.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

type Run = Harness<readonly []>
const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })
const ordered = (gap?: OrderOptions<Item, string>['gap']): Topology<readonly []> =>
  topology('holding', (flow) => {
    items(flow)
      .order('in-turn', { sequence: ({ n }) => n, ...(gap === undefined ? {} : { gap }) })
      .to('out-step', 'out')
    return []
  })
const sieve = (value: Item): boolean => {
  if (value.n < 0) throw new Error('a defect')
  return true
}

const held = async (run: Run): Promise<readonly HeldAt[] | undefined> => (await run.app()).held()
const send = (run: Run, key: string, numbers: readonly number[]): Promise<void> =>
  run.put(
    'in',
    Item,
    numbers.map((n) => [key, item(n)] as const),
  )
const at = (facts: number, keys: number, parked: number, step = 'in-turn'): HeldAt[] => [{ step, facts, keys, parked }]

test('facts that wait are counted, and counted no more when they leave', async () => {
  const run = harness(ordered())
  await send(run, 'free', [1, 2])
  expect(await held(run)).toEqual(at(0, 0, 0))
  await send(run, 'a', [2, 3, 3, 5])
  await send(run, 'b', [9])
  expect(await held(run)).toEqual(at(4, 2, 0))
  await send(run, 'a', [1])
  expect(await held(run)).toEqual(at(2, 2, 0))
  await send(run, 'a', [4])
  expect(await held(run)).toEqual(at(1, 1, 0))
  await run.close()
})

test('what an earlier process held is known at once: after a restart, a crash in a commit, and on a disk that is restored', async () => {
  const run = harness(ordered())
  await send(run, 'a', [2, 3])
  await run.restart()
  expect(await held(run)).toEqual(at(2, 1, 0))
  await run.put('in', Item, [['b', item(2)]], CRASH.afterDecision)
  expect(await held(run)).toEqual(at(3, 2, 0))
  await run.put('in', Item, [['b', item(3)]], CRASH.afterChangelog)
  expect(await held(run)).toEqual(at(4, 2, 0))
  await run.stop()
  await run.state.destroy({ app: 'holding', stage: 'in', generation: 1, partition: 0 })
  expect(await held(run)).toBeUndefined()
  await run.settle()
  expect(await held(run)).toEqual(at(4, 2, 0))
  // Counted from what was restored, and not once more when its rows are read again.
  await send(run, 'a', [1])
  expect(await held(run)).toEqual(at(2, 1, 0))
  await run.close()
})

test('a parked key is counted as long as it is parked, also by a process that did not park it', async () => {
  const run = harness(ordered({ hold: { records: 1 }, then: 'park' }))
  await send(run, 'a', [2, 3, 4])
  await send(run, 'b', [2])
  expect([await held(run), run.count('parked')]).toEqual([at(4, 2, 1), 1])
  await run.restart()
  expect(await held(run)).toEqual(at(4, 2, 1))
  await send(run, 'a', [1])
  expect(await held(run)).toEqual(at(1, 1, 0))
  await run.close()
})

test('a key that a failure parked is counted with all that is held behind it, at its step', async () => {
  for (const onError of ['park', { retry: 1, then: 'park' }] as const) {
    const run = harness(
      topology('holding', (flow) => {
        items(flow)
          .filter('sieve', sieve, { onError })
          .order('in-turn', { sequence: ({ n }) => n })
          .to('out-step', 'out')
        return []
      }),
    )
    await send(run, 'a', [1, -1, 2, 3])
    await send(run, 'b', [2])
    await run.restart()
    expect(await held(run)).toEqual(expect.arrayContaining([...at(3, 1, 1, 'sieve'), ...at(1, 1, 0)]))
    await run.close()
  }
})

test('an invocation that failed and was undone holds nothing', async () => {
  const run = harness(ordered({ hold: { records: 1 }, then: 'halt' }))
  await send(run, 'a', [2])
  await run.put('in', Item, [['a', item(3)]]).catch(() => {})
  expect((await run.failure())?.code).toBe('TASK_HALTED')
  expect(await held(run)).toEqual(at(1, 1, 0))
  await run.close()
})

test('state of before there were counts is counted when it is opened, and its next commit says so', async () => {
  const run = harness(ordered({ hold: { records: 2 }, then: 'park' }))
  await send(run, 'free', [1])
  await send(run, 'a', [2, 3, 4, 5])
  await send(run, 'b', [2])
  const id = { app: 'holding', stage: 'in', generation: 1, partition: 0 }
  const said = async (): Promise<readonly (StoreMeta['held'] | undefined)[]> => {
    await run.stop()
    const db = await run.state.open(id)
    const meta = decodeMeta(db.get(TM_KEY) as Buffer)
    await db.close()
    return [...meta.stores.values()].map((store) => store.held)
  }
  expect(await said()).toEqual([{ facts: 5, keys: 2, parked: 1 }])
  await run.offline(async (world) => {
    const db = await world.state.open(id)
    const meta = decodeMeta(db.get(TM_KEY) as Buffer)
    await db.close()
    const old = { ...meta, stores: new Map([...meta.stores].map(([number, store]) => [number, { ...store, held: undefined }])) }
    const batch = new BatchBuilder({ codecs: world.codecs, capacity: 1_024 })
    batch.add(world.clock.now(), TM_KEY, encodeMeta(old))
    const writer = await world.log.plainWriter()
    await writer.append(partitionName('holding-in-g1-changelog', 0), batch.finish())
    await writer.close()
  })
  await run.settle()
  expect(await held(run)).toEqual(at(5, 2, 1))
  expect(await said()).toEqual([undefined])
  await send(run, 'free', [2])
  expect(await said()).toEqual([{ facts: 5, keys: 2, parked: 1 }])
  await run.close()
})

test('what a step held whose state is given up is not counted, and what waits anew is', async () => {
  const named = (step: string): Topology =>
    topology('holding', (flow) => [
      flow
        .inbox('all', [items(flow)])
        .order(step, { sequence: ({ n }) => n })
        .project('sums', { row: Sum, identity: step, fold: summed }),
    ])
  const cluster = await Cluster.open()
  const before = await cluster.start(named('in-turn'), 'w')
  await cluster.put('in', Item, [
    ['a', item(1)],
    ['b', item(2)],
  ])
  await cluster.settle()
  expect(before.held()).toEqual(at(1, 1, 0))
  await cluster.leave('w')
  // As it was left.
  expect(before.held()).toEqual(at(1, 1, 0))
  const renamed = named('in-sequence')
  const lock: PlanLock = { ...lockOf(planOf(renamed.graph)), givenUp: ['all/in-turn'] }
  const after = await cluster.start(renamed, 'w', { lock })
  await cluster.settle()
  expect(after.held()).toEqual(at(0, 0, 0, 'in-sequence'))
  await cluster.put('in', Item, [['a', item(2)]])
  await cluster.settle()
  expect(after.held()).toEqual(at(1, 1, 0, 'in-sequence'))
  await cluster.close()
})

test('each worker counts what its own tasks hold, and takes over the counts with a task', async () => {
  const cluster = await Cluster.open()
  const wide = topology('holding', (flow) => {
    flow
      .stream('in', { key: text, value: Item }, { partitions: 2 })
      .order('in-turn', { sequence: ({ n }) => n })
      .to('out-step', 'out')
    return []
  })
  const first = await cluster.start(wide, 'v')
  const second = await cluster.start(wide, 'w')
  await cluster.settle()
  await cluster.put(
    'in',
    Item,
    Array.from({ length: 20 }, (_, i) => [`k${i}`, item(2)] as const),
  )
  await cluster.settle()
  const [mine, others] = [first, second].map((app) => app.held()?.[0]?.facts ?? 0) as [number, number]
  expect([mine > 0, others > 0, mine + others]).toEqual([true, true, 20])
  await cluster.leave('v')
  await cluster.settle()
  expect(second.held()).toEqual(at(20, 20, 0))
  await cluster.close()
})
