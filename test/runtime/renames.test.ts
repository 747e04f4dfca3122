/** A step that is renamed keeps its state where the lock says what it was called, leaves it where the lock gives it up, and is refused elsewhere. */
import { expect, test } from 'vitest'
import { type Topology, text, topology } from '#tidemark'
import { lockOf, type PlanLock } from '../../src/plan/lock.ts'
import { planOf } from '../../src/plan/planner.ts'
import { replay } from '../../src/runtime/replay.ts'
import { verify } from '../../src/runtime/verify.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const counting = (step: string, projection = 'sums'): Topology =>
  topology('renamed', (flow) => [
    flow
      .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
      .dedupe(step, { id: (value, fact) => `${fact.key}${value.note}` })
      .project(projection, { row: Sum, identity: step, fold: summed }),
  ])

const withOldName = (lock: PlanLock, name: string, was: string): PlanLock => ({
  ...lock,
  stores: { ...lock.stores, [name]: { ...(lock.stores[name] as PlanLock['stores'][string]), was } },
})

test('a renamed step keeps what it remembers, where the lock names what it was; a later start needs no word of it', async () => {
  const cluster = await Cluster.open()
  await cluster.start(counting('once'), 'w')
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await cluster.settle()
  await cluster.leave('w')
  const renamed = counting('first-time')
  await expect(cluster.start(renamed, 'w')).rejects.toMatchObject({
    code: 'PLAN_CHANGED',
    // Nothing was written down, and that is said first.
    detail: expect.stringMatching(
      /store "once" is gone\n.*There is no plan lock that says what was meant: no renamed\.plan\.json beside the module/s,
    ),
    hint: expect.stringMatching(
      /^Make the lock: tidemark plan <topology> --write\. .*"was": "once" in the entry of the new name.*tidemark plan <topology> --write --give-up all\/once\./,
    ),
  })
  // A former name that nothing has is named beside what would be lost, with the one that was meant.
  const mistyped = withOldName(lockOf(planOf(renamed.graph)), 'first-time', 'onse')
  await expect(cluster.start(renamed, 'w', { lock: mistyped })).rejects.toMatchObject({
    code: 'PLAN_CHANGED',
    detail:
      '- store "once" is gone\n- the lock says "was": "onse" of store "first-time", and what has run has no such store: did you mean "once"?',
    hint: expect.stringMatching(/^If its step was renamed/),
  })
  const lock = withOldName(lockOf(planOf(renamed.graph)), 'first-time', 'once')
  const first = await cluster.start(renamed, 'w', { lock })
  // What was applied under the old name is known under the new one.
  await cluster.put('in', Item, [
    ['k', item(1, 'a')],
    ['k', item(2, 'b')],
  ])
  await cluster.settle()
  expect(first.failure).toBe(undefined)
  expect((await cluster.rows('sums')).k).toMatchObject({ total: 3, notes: 'ab' })
  await cluster.leave('w')
  const again = await cluster.start(renamed, 'w')
  await cluster.put('in', Item, [['k', item(2, 'b')]])
  await cluster.settle()
  expect(again.failure).toBe(undefined)
  expect((await cluster.rows('sums')).k).toMatchObject({ total: 3, notes: 'ab' })
  await cluster.leave('w')
  await expect(cluster.start(counting('once'), 'w')).rejects.toMatchObject({ code: 'PLAN_CHANGED' })
  await cluster.close()
})

test('state that the lock gives up is left behind, its number with it, and a later start needs no word of it', async () => {
  const cluster = await Cluster.open()
  await cluster.start(counting('once'), 'w')
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await cluster.settle()
  await cluster.leave('w')
  const renamed = counting('once', 'totals')
  const lock: PlanLock = { ...lockOf(planOf(renamed.graph)), givenUp: ['all/sums'] }
  // On a disk that has rows of the store that is gone, and on one that is made again from a changelog that has them.
  for (const [worker, options] of [
    ['w', { lock }],
    ['w', {}],
    ['v', {}],
  ] as const) {
    const app = await cluster.start(renamed, worker, options)
    expect(app.plan.stages.flatMap(({ stores }) => stores).map(({ name, id }) => [name, id])).toEqual([
      ['once', 1],
      ['totals', 3],
    ])
    await cluster.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'b')],
    ])
    await cluster.settle()
    expect(app.failure).toBe(undefined)
    // What the other step remembers stays.
    expect((await cluster.rows('totals')).k).toMatchObject({ total: 2, notes: 'b' })
    await cluster.leave(worker)
    const { world, stop } = cluster.world(worker)
    expect(await verify(renamed.graph, world)).toMatchObject({ problems: [] })
    await world.log.close()
    stop()
  }
  // A rebuild sees what was given up, and says that it was: as the lock names it, and else by its number.
  for (const [given, named] of [
    [lock, 'all/sums'],
    [undefined, 'all, store number 2'],
  ] as const) {
    const { world, stop } = cluster.world('w')
    const replayed = await replay(renamed.graph, 'totals', world, { switch: 'never', lock: given })
    expect(replayed).toMatchObject({ equal: false, givenUp: [named] })
    await world.log.close()
    stop()
  }
  await cluster.close()
})

test('timers of a step that is given up wake nobody', async () => {
  const held = (step: string, projection: string): Topology =>
    topology('renamed', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
        .order(step, { sequence: ({ n }) => n, gap: { hold: '1m', then: 'halt' } })
        .project(projection, { row: Sum, identity: step, fold: summed }),
    ])
  const cluster = await Cluster.open()
  await cluster.start(held('in-sequence', 'sums'), 'w')
  await cluster.put('in', Item, [['k', item(2, 'b'), 1_000]])
  await cluster.settle()
  await cluster.leave('w')
  const renamed = held('in-turn', 'totals')
  const lock: PlanLock = { ...lockOf(planOf(renamed.graph)), givenUp: ['all/in-sequence', 'all/sums'] }
  const app = await cluster.start(renamed, 'w', { lock })
  await cluster.put('in', Item, [['other', item(1, 'a'), 200_000]])
  await cluster.settle()
  expect(app.failure).toBe(undefined)
  expect(await cluster.rows('totals')).toEqual({ other: { total: 1, notes: 'a' } })
  await cluster.close()
})

test('a stage that is given up takes its stores with it, also those that moved', async () => {
  const through = (inbox: string): Topology =>
    topology('renamed', (flow) => [
      flow
        .inbox(inbox, [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
        .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ])
  const cluster = await Cluster.open()
  await cluster.start(through('all'), 'w')
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await cluster.settle()
  await cluster.leave('w')
  const renamed = through('every')
  await expect(cluster.start(renamed, 'w')).rejects.toMatchObject({
    code: 'PLAN_CHANGED',
    hint: expect.stringContaining('tidemark plan <topology> --write --give-up all.'),
  })
  const app = await cluster.start(renamed, 'w', { lock: { ...lockOf(planOf(renamed.graph)), givenUp: ['all'] } })
  await cluster.put('in', Item, [['k', item(5, 'a')]])
  await cluster.settle()
  expect(app.failure).toBe(undefined)
  expect((await cluster.rows('sums')).k).toMatchObject({ total: 5, notes: 'a' })
  await cluster.close()
})

test('a lock that gives up what the topology has is refused, before anything is lost', async () => {
  const cluster = await Cluster.open()
  const topology = counting('once')
  await cluster.start(topology, 'w')
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await cluster.settle()
  await cluster.leave('w')
  for (const entry of ['all/once', 'all'])
    await expect(cluster.start(topology, 'w', { lock: { ...lockOf(planOf(topology.graph)), givenUp: [entry] } })).rejects.toMatchObject({
      code: 'PLAN_LOCK_INVALID',
      message: `the plan lock gives up "${entry}", which the topology has`,
      hint: expect.stringContaining('--write'),
    })
  const app = await cluster.start(topology, 'w')
  await cluster.put('in', Item, [['k', item(1, 'a')]])
  await cluster.settle()
  expect(app.failure).toBe(undefined)
  expect((await cluster.rows('sums')).k).toMatchObject({ total: 1, notes: 'a' })
  await cluster.close()
})
