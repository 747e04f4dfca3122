/** A step that is renamed keeps its state where the lock says what it was called, and is refused where it does not. */
import { expect, test } from 'vitest'
import { type Topology, text, topology } from '#tidemark'
import { lockOf, type PlanLock } from '../../src/plan/lock.ts'
import { planOf } from '../../src/plan/planner.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const counting = (step: string): Topology =>
  topology('renamed', (flow) => [
    flow
      .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
      .dedupe(step, { id: (value, fact) => `${fact.key}${value.note}` })
      .project('sums', { row: Sum, identity: step, fold: summed }),
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
    hint: expect.stringContaining('write "was": "once" under the new name in the lock'),
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
