/** What a worker looks up, and in which order, when it takes over a task whose former owner may still be ending a commit. */
import { expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { TidemarkError } from '../../src/base/errors.ts'
import type { CommitOutcome, GroupEvent, Log } from '../../src/ports/log.ts'
import { decodeMember } from '../../src/runtime/assignment.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const taken = topology('taken', (flow: Flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
    .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
])

test('the end of a changelog is looked up when the positions of its task are decided, and never before', async () => {
  const cluster = await Cluster.open()
  await cluster.start(taken, 'former', { membership: 'dynamic' })
  await cluster.put('in', Item, [['k', item(1)]])
  await cluster.settle()
  await cluster.leave('former')
  const looked: string[] = []
  // A commit of the former owner is being ended: three times its positions are not known.
  let undecided = 3
  const slow = (log: Log): Log => {
    const wrapped = Object.create(log) as Log
    wrapped.committed = async (group, partitions) => {
      if (undecided-- > 0) {
        looked.push('undecided')
        return 'unstable'
      }
      looked.push('decided')
      return await log.committed(group, partitions)
    }
    wrapped.offsets = async (partitions, at) => {
      if (at === 'high' && partitions.some((each) => each.includes('changelog'))) looked.push('changelog')
      return await log.offsets(partitions, at)
    }
    return wrapped
  }
  const app = await cluster.start(taken, 'successor', { membership: 'dynamic', over: slow })
  await cluster.until(() => app.ready)
  expect(looked).toEqual(['undecided', 'undecided', 'undecided', 'decided', 'changelog'])
  expect(await cluster.rows('sums')).toMatchObject({ k: { total: 1 } })
  await cluster.close()
})

test.each([
  ['exactly-once', true],
  ['at-least-once', false],
] as const)(
  '%s, a worker works on until another generation has begun: %s, for only a log that fences refuses what comes after',
  async (guarantee, fenced) => {
    const cluster = await Cluster.open()
    const said: (boolean | undefined)[] = []
    const over = (log: Log): Log => {
      const wrapped = Object.create(log) as Log
      wrapped.join = (group, options) => {
        said.push(options.fenced)
        return log.join(group, options)
      }
      return wrapped
    }
    await cluster.start(taken, 'one', { guarantee, over })
    await cluster.settle()
    expect(said).toEqual([fenced])
    await cluster.close()
  },
)

test('a worker whose group goes on while it ends, so that its last commit is refused, ends in good order, and that work is done again', async () => {
  const cluster = await Cluster.open()
  const group = { goneOn: false, refused: 0 }
  let end = (): void => {}
  const ending = new Promise<void>((resolve) => {
    end = resolve
  })
  const error = new TidemarkError('COMMIT_REJECTED', 'group "taken" refuses a commit of a former owner')
  const over = (log: Log): Log => {
    const wrapped = Object.create(log) as Log
    wrapped.writer = async (id) => {
      const writer = await log.writer(id)
      const commit = async (...given: Parameters<typeof writer.commit>): Promise<CommitOutcome> => {
        if (!group.goneOn) return await writer.commit(...given)
        group.refused += 1
        await ending
        await writer.abort()
        return { kind: 'rejected', error }
      }
      return Object.assign(Object.create(writer) as typeof writer, { commit })
    }
    return wrapped
  }
  const app = await cluster.start(taken, 'one', { over })
  await cluster.settle()
  group.goneOn = true
  await cluster.put('in', Item, [['k', item(1)]])
  await cluster.until(() => group.refused > 0)
  const left = cluster.leave('one')
  end()
  await left
  expect(app.failure).toBeUndefined()
  await cluster.start(taken, 'two')
  await cluster.settle()
  expect(await cluster.rows('sums')).toMatchObject({ k: { total: 1 } })
  await cluster.close()
})

test('a worker tells the leader in which generation it had its tasks last, and how far its state of them is, also of those that others run now', async () => {
  const cluster = await Cluster.open()
  const shared = topology('shared', (flow: Flow) => [
    flow
      .stream('in', { key: text, value: Item }, { partitions: 4 })
      .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
      .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
  ])
  let says = (): ReturnType<typeof decodeMember> => undefined
  const generations: number[] = []
  const over = (log: Log): Log => {
    const wrapped = Object.create(log) as Log
    wrapped.join = async (group, options) => {
      says = () => decodeMember(options.userData())
      const membership = await log.join(group, options)
      const next = async (signal: AbortSignal): Promise<GroupEvent> => {
        const event = await membership.next(signal)
        if (event.kind === 'assigned') generations.push(event.identity.generation)
        return event
      }
      return Object.assign(Object.create(membership) as typeof membership, { next })
    }
    return wrapped
  }
  await cluster.start(shared, 'one', { over })
  await cluster.put(
    'in',
    Item,
    Array.from({ length: 20 }, (_, i) => [`k${i}`, item(1)] as const),
  )
  await cluster.settle()
  const before = says()
  const [first] = generations
  expect([...(before?.owned.values() ?? [])].map(({ generation }) => generation)).toEqual([first, first, first, first])
  for (const { reached } of before?.owned.values() ?? []) expect(reached).toBeGreaterThan(0)
  await cluster.start(shared, 'two')
  await cluster.settle()
  const { owned, kept } = says() as NonNullable<ReturnType<typeof says>>
  expect([...owned.values()].map(({ generation }) => generation)).toEqual([generations.at(-1), generations.at(-1)])
  // What it has of the others is as old as the generation in which they were its own.
  expect(kept).toEqual(new Map([...(before?.owned ?? [])].filter(([task]) => !owned.has(task))))
  expect(kept.size).toBe(2)
  await cluster.close()
})
