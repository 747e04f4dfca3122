/** At least once: no transactions, so a crash may repeat an effect; it never loses one, and marks never outrun what they mark. */
import { describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import type { Log } from '../../src/ports/log.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const POINTS = [
  'commit.before-outputs',
  'commit.after-outputs',
  'commit.before-changelogs',
  'commit.after-changelogs',
  'commit.before-stores',
  'commit.after-stores',
  'commit.before-positions',
  'commit.after-positions',
]
/** Only here may what goes out be repeated: it is sent, and nothing says so yet. */
const REPEATS = new Set(['commit.after-outputs', 'commit.before-changelogs'])

const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })
const id = (value: Item): string => value.note

const adding = topology('adding', (flow) => {
  const facts = items(flow).dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
  facts.to('out-step', 'out')
  // Each inbox record comes at least once, so what adds up has a dedupe of its own behind the inbox.
  return [flow.inbox('all', [facts]).dedupe('once-more', { id }).project('sums', { row: Sum, identity: 'once-more', fold: summed })]
})

describe.each(POINTS)('a crash at %s', (crash) => {
  test('loses nothing, repeats only where it must, and keeps the state exact', async () => {
    const run = harness(adding, { guarantee: 'at-least-once' })
    await run.put('in', Item, [['k', item(1, 'a')]], { crash })
    await run.put('in', Item, [['k', item(2, 'b')]], { crash })
    await run.put('in', Item, [
      ['k', item(2, 'b')],
      ['k', item(4, 'c')],
    ])
    expect(await run.rows('sums')).toEqual({ k: { total: 7, notes: 'abc' } })
    const out = (await run.values('out', Item)).map(([, value]) => value?.note)
    expect(new Set(out)).toEqual(new Set(['a', 'b', 'c']))
    if (!REPEATS.has(crash)) expect(out).toEqual(['a', 'b', 'c'])
    expect((await run.verify()).problems).toEqual([])
    expect(await run.replay('sums')).toMatchObject({ equal: true })
    await run.close()
  })

  test('counts nothing twice in its state, also where nothing drops what comes again', async () => {
    const run = harness(
      topology('counting', (flow) => {
        items(flow)
          .process<Item, Item>('count', {
            rows: Item,
            value: Item,
            run: (incoming, scope, out) => {
              scope.put(item(((scope.get() as Item | undefined)?.n ?? 0) + (incoming.value as Item).n))
              out.value(scope.get())
            },
          })
          .to('out-step', 'out')
        return []
      }),
      { guarantee: 'at-least-once' },
    )
    await run.put('in', Item, [['k', item(1)]], { crash })
    await run.put('in', Item, [['k', item(2)]], { crash })
    await run.put('in', Item, [['k', item(4)]])
    const sums = (await run.values('out', Item)).map(([, value]) => value?.n)
    expect([new Set(sums), sums.at(-1)]).toEqual([new Set([1, 3, 7]), 7])
    await run.close()
  })

  test('loses no held fact and no timer', async () => {
    const run = harness(
      topology('holding', (flow) => {
        items(flow)
          .order('in-sequence', { sequence: (value) => value.n, gap: { hold: '10s', then: 'skip' } })
          .to('out-step', 'out')
        return []
      }),
      { guarantee: 'at-least-once' },
    )
    await run.put('in', Item, [['k', item(1), 1_000]], { crash })
    await run.put('in', Item, [['k', item(3), 2_000]], { crash })
    await run.put('in', Item, [['x', item(1), 20_000]], { crash })
    const numbers = (await run.values('out', Item)).map(([key, value]) => `${key}${value?.n}`)
    expect([...new Set(numbers)]).toEqual(['k1', 'k3', 'x1'])
    await run.close()
  })
})

test('without a crash everything comes once, and a restart in good order repeats nothing', async () => {
  const run = harness(adding, { guarantee: 'at-least-once' })
  await run.put('in', Item, [['k', item(1, 'a')]])
  await run.stop()
  await run.put('in', Item, [['k', item(2, 'b')]])
  await run.stop()
  await run.app()
  expect((await run.values('out', Item)).map(([, value]) => value?.note)).toEqual(['a', 'b'])
  await run.close()
})

/** A log on which the process dies within a commit that appends several batches to one topic: the first is written, the others never are. */
function dyingBetweenBatches(topic: string, died: () => void): (log: Log) => Log {
  return (log) => {
    const wrapped = Object.create(log) as Log
    let inCommit = 0
    let dead = false
    ;(wrapped as { plainWriter: Log['plainWriter'] }).plainWriter = async () => {
      const writer = await log.plainWriter()
      return {
        append: async (partition, batch) => {
          if (dead) return new Promise(() => {})
          if (!partition.startsWith(`${topic}/`)) return writer.append(partition, batch)
          inCommit += 1
          // All batches of one commit are handed over before the first is answered.
          if (inCommit > 1) {
            dead = true
            died()
            return new Promise(() => {})
          }
          const answer = await writer.append(partition, batch)
          inCommit -= 1
          return dead ? new Promise(() => {}) : answer
        },
        close: () => writer.close(),
      }
    }
    return wrapped
  }
}

test('a commit whose changelog takes several batches, of which only the first was written, loses nothing and leaves sums that hold', async () => {
  const large = topology('large', (flow) => [
    flow
      .inbox('all', [items(flow)])
      .dedupe('once', { id })
      .project('sums', { row: Sum, identity: 'once', fold: summed }),
  ])
  const cluster = await Cluster.open()
  await cluster.start(large, 'w', { guarantee: 'at-least-once' })
  await cluster.settle()
  await cluster.put('in', Item, [['before', item(1, 'before')]])
  await cluster.settle()
  await cluster.leave('w')
  let dead = false
  const over = dyingBetweenBatches('large-all-g1-changelog', () => {
    dead = true
  })
  await cluster.start(large, 'w', { guarantee: 'at-least-once', over })
  // Rows so large that those of one commit fill more than one batch.
  const records = Array.from({ length: 60 }, (_, i) => [`k${i}`, item(1, `${i}${'x'.repeat(40_000)}`)] as const)
  await cluster.put('in', Item, records)
  await cluster.until(() => dead)
  await cluster.turns(20)
  cluster.kill('w')
  await cluster.start(large, 'w', { guarantee: 'at-least-once' })
  await cluster.settle()
  const rows = (await cluster.rows('sums')) as Record<string, Sum>
  expect(Object.keys(rows)).toHaveLength(61)
  const totals = Object.values(rows).map(({ total }) => total)
  // At least once: some were added twice, because the marks that say so were not written; none is missing.
  expect(new Set(totals)).toEqual(new Set([1, 2]))
  await cluster.leave('w')
  const { verify } = await import('../../src/runtime/verify.ts')
  const { world } = cluster.world('w')
  expect((await verify(large.graph, world)).problems).toEqual([])
  await cluster.close()
})

test('two workers, one of which dies in its commit: every fact of every key comes, and the sums are right', async () => {
  for (const at of ['commit.after-outputs', 'commit.after-changelogs', 'commit.before-positions']) {
    const cluster = await Cluster.open()
    const shared = topology('shared', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 4 })])
        .dedupe('once', { id })
        .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
    ])
    let dead = false
    await cluster.start(shared, 'w0', { guarantee: 'at-least-once' })
    await cluster.settle()
    await cluster.start(shared, 'w1', {
      guarantee: 'at-least-once',
      hang: {
        at,
        hit: () => {
          dead = true
        },
      },
    })
    await cluster.turns(200)
    const keys = Array.from({ length: 8 }, (_, i) => `k${i}`)
    for (let n = 1; n <= 3; n++)
      await cluster.put(
        'in',
        Item,
        keys.map((key) => [key, item(n, `${n}`)] as const),
      )
    await cluster.until(() => dead)
    cluster.kill('w1')
    await cluster.settle()
    expect(await cluster.rows('sums')).toEqual(Object.fromEntries(keys.map((key) => [key, { total: 6, notes: '' }])))
    await cluster.close()
  }
})
