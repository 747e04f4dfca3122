/** A projection is rebuilt on a log that others can reach: nobody runs it meanwhile, and who comes is either kept out or hears of it. */
import { expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import type { CommitOutcome, GroupPositions, Log, Writer } from '../../src/ports/log.ts'
import type { EncodedBatch } from '../../src/ports/record-batch/index.ts'
import { readDecisions } from '../../src/runtime/decisions.ts'
import { type Replayed, type ReplayOptions, replay } from '../../src/runtime/replay.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const sums = topology('shared', (flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (v) => v.note })
    .project('sums', { row: Sum, identity: 'once', fold: summed }),
])

async function filled(): Promise<Cluster> {
  const cluster = await Cluster.open()
  await cluster.start(sums, 'w')
  await cluster.put('in', Item, [
    ['k', item(1, 'a')],
    ['l', item(2, 'b')],
  ])
  await cluster.settle()
  return cluster
}

/** A rebuild by a process of its own, while the clock moves. */
async function rebuilt(cluster: Cluster, options: ReplayOptions = {}, over: (log: Log) => Log = (log) => log): Promise<Replayed> {
  const { world } = cluster.world('tool', {}, over)
  let ended = false
  const done = replay(sums.graph, 'sums', world, { shared: true, ...options }).finally(() => {
    ended = true
  })
  done.catch(() => {})
  await cluster.until(() => ended)
  await world.log.close()
  return await done
}

async function live(cluster: Cluster): Promise<number | undefined> {
  const { world } = cluster.world('observer')
  const { generations } = await readDecisions(world.log, 'shared')
  await world.log.close()
  return generations.get('in')
}

test('it begins when nobody runs the application, and a worker that is started afterwards has what was rebuilt', async () => {
  const cluster = await filled()
  await cluster.leave('w')
  expect(await rebuilt(cluster)).toMatchObject({ equal: true, switched: true, generation: { live: 1, rebuilt: 2 } })
  expect(await live(cluster)).toBe(2)
  const app = await cluster.start(sums, 'w')
  await cluster.settle()
  expect(app.plan.stages.map(({ generation }) => generation)).toEqual([2])
  expect(await cluster.rows('sums')).toEqual({ k: { total: 1, notes: 'a' }, l: { total: 2, notes: 'b' } })
  // What its disk had of the generation that was replaced is gone.
  expect(await cluster.members.get('w')?.world.state.list('shared')).toMatchObject([{ generation: 2 }])
  await cluster.close()
})

test('it is refused while a worker runs, who goes on', async () => {
  const cluster = await filled()
  await expect(rebuilt(cluster)).rejects.toMatchObject({ code: 'APP_RUNNING' })
  await cluster.put('in', Item, [['k', item(3, 'c')]])
  await cluster.settle()
  expect(await cluster.rows('sums')).toMatchObject({ k: { total: 4, notes: 'ac' } })
  expect(await live(cluster)).toBeUndefined()
  await cluster.close()
})

test.each(['append', 'commit'] as const)(
  'a worker that comes right before the %s of the switch is let in, and nothing is switched',
  async (step) => {
    const cluster = await filled()
    await cluster.leave('w')
    let refused: CommitOutcome | undefined
    const comes = async (): Promise<void> => (await cluster.start(sums, 'late')).running()
    const late = (log: Log): Log => {
      const open = log.writer.bind(log)
      const writer = async (id: string): Promise<Writer> => {
        const real = await open(id)
        const append = real.append.bind(real)
        const commit = real.commit.bind(real)
        let switching = false
        return Object.assign(real, {
          append: async (partition: string, batch: EncodedBatch) => {
            if (step === 'append' && !switching && partition.startsWith('shared-decisions/')) await comes()
            switching ||= partition.startsWith('shared-decisions/')
            return await append(partition, batch)
          },
          commit: async (positions: readonly GroupPositions[]) => {
            if (!switching) return await commit(positions)
            if (step === 'commit') await comes()
            refused = await commit(positions)
            return refused
          },
        })
      }
      return Object.assign(log, { writer })
    }
    await expect(rebuilt(cluster, {}, late)).rejects.toMatchObject({ code: 'APP_RUNNING' })
    // What was open when it came it has ended; what is begun after that is not committed by a member any more.
    expect(refused?.kind).toBe(step === 'append' ? 'rejected' : 'fenced')
    await cluster.put('in', Item, [['k', item(3, 'c')]])
    await cluster.settle()
    expect(await cluster.rows('sums')).toMatchObject({ k: { total: 4, notes: 'ac' } })
    expect(await live(cluster)).toBeUndefined()
    await cluster.close()
  },
)

test('a worker that made its plan before and joins after it ends, and says that it is to be started again', async () => {
  const cluster = await filled()
  await cluster.leave('w')
  let join = (): void => {}
  const gate = new Promise<void>((resolve) => {
    join = resolve
  })
  let waiting = false
  const slow = cluster.start(sums, 'slow', {
    over: (log) => {
      const real = log.join.bind(log)
      return Object.assign(log, {
        join: async (...args: Parameters<typeof real>) => {
          waiting = true
          await gate
          return await real(...args)
        },
      })
    },
  })
  await cluster.until(() => waiting)
  expect(await rebuilt(cluster)).toMatchObject({ switched: true })
  join()
  const app = await slow
  await cluster.until(() => app.failure !== undefined)
  expect(app.failure).toMatchObject({ code: 'PLAN_CHANGED', hint: 'Start it again: it takes up what was rebuilt.' })
  cluster.members.delete('slow')
  const next = await cluster.start(sums, 'w')
  await cluster.settle()
  expect(next.failure).toBeUndefined()
  expect(await cluster.rows('sums')).toMatchObject({ k: { total: 1, notes: 'a' } })
  await cluster.close()
})
