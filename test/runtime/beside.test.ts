/** Tools that look at an application while others may run it: they wait for nobody, end nothing, and take what retention removes for no damage. */
import { expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { writerId } from '../../src/plan/naming.ts'
import type { OffsetAt } from '../../src/ports/log.ts'
import { BatchBuilder } from '../../src/ports/record-batch/index.ts'
import { openResting, type RestingOptions } from '../../src/runtime/offline.ts'
import { verify } from '../../src/runtime/verify.ts'
import type { World } from '../../src/runtime/world.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const sums = topology('beside', (flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (v) => v.note })
    .project('sums', { row: Sum, identity: 'once', fold: summed }),
])

async function filled(): Promise<{ cluster: Cluster; world: World }> {
  const cluster = await Cluster.open()
  await cluster.start(sums, 'w')
  await cluster.put('in', Item, [
    ['k', item(1, 'a')],
    ['l', item(2, 'b')],
  ])
  await cluster.settle()
  await cluster.leave('w')
  return { cluster, world: cluster.world('tool').world }
}

/** Resolves while the clock moves. */
async function moving<T>(cluster: Cluster, work: Promise<T>): Promise<T> {
  let ended = false
  work
    .finally(() => {
      ended = true
    })
    .catch(() => {})
  await cluster.until(() => ended)
  return await work
}

test('a view is read while a worker is in the middle of a commit, which goes on as if nobody had looked', async () => {
  const { cluster, world } = await filled()
  const other = cluster.world('other').world
  const writer = await other.log.writer(writerId('beside', 'other'))
  const batch = new BatchBuilder({ codecs: nativeCodecs })
  batch.add(1, Buffer.from([0]), Buffer.from('what is not decided yet'))
  await writer.append('beside-in-g1-changelog/0', batch.finish())
  const rows = async (options: RestingOptions): Promise<unknown> => {
    const resting = await openResting(sums.graph, 'sums', world, options)
    try {
      return (await resting.page()).rows.map(({ text: key, value }) => [key, (value as Sum).total])
    } finally {
      await resting.close()
    }
  }
  expect(await moving(cluster, rows({ shared: true }))).toEqual([
    ['k', 1],
    ['l', 2],
  ])
  expect(await moving(cluster, verify(sums.graph, world, { shared: true }))).toMatchObject({ problems: [] })
  // Who has it alone ends what is open: nobody else could.
  expect(await moving(cluster, rows({}))).toHaveLength(2)
  expect(await writer.commit([])).toMatchObject({ kind: expect.stringMatching(/^(fenced|aborted)$/) as string })
  await cluster.close()
})

test('records that are removed while they are read are damage only where nobody else removes any', async () => {
  const { cluster, world } = await filled()
  await world.log.trim('in/0', 1)
  const offsets = world.log.offsets.bind(world.log)
  // As it was before they were removed.
  Object.assign(world.log, {
    offsets: async (names: readonly string[], at: OffsetAt) =>
      at === 'start' && names.includes('in/0') ? new Map([...(await offsets(names, at)), ['in/0', 0]]) : await offsets(names, at),
  })
  const shared = await moving(cluster, verify(sums.graph, world, { shared: true }))
  expect(shared.problems).toEqual([])
  expect(shared.batches).toBeGreaterThan(0)
  const { problems } = await moving(cluster, verify(sums.graph, world))
  expect(problems).toMatchObject([{ where: 'in/0', error: { code: 'POSITION_GAP' } }])
  await cluster.close()
})

test('what is damaged is moved aside only where it is kept', async () => {
  const { cluster, world } = await filled()
  const [id] = await world.state.list('beside')
  expect(id).toBeUndefined()
  const own = cluster.world('w').world
  const store = await own.state.open({ app: 'beside', stage: 'in', generation: 1, partition: 0 })
  const [row] = (await store.range({ from: Buffer.from([2]), to: undefined, limit: 1 })) as [readonly [Buffer, Buffer]]
  await store.write({ keys: [row[0]], values: [Buffer.from('broken')] })
  await store.close()
  const elsewhere = await moving(cluster, verify(sums.graph, own, { shared: true, repair: true, keeps: async () => false }))
  expect([elsewhere.problems.length > 0, elsewhere.repaired]).toEqual([true, []])
  const here = await moving(cluster, verify(sums.graph, own, { shared: true, repair: true, keeps: async () => true }))
  expect([here.problems.length > 0, here.repaired]).toEqual([true, ['in/0']])
  await cluster.close()
})
