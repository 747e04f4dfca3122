/**
 * A log that was cut by an unclean election and filled again (KIP-320): whoever read what is gone is told of the gap, also when it starts again, and
 * also when another worker has taken its place meanwhile.
 */
import { describe, expect, test } from 'vitest'
import { publisher, topology } from '#tidemark'
import { Epochs } from '../../../src/drivers/kafka/epochs.ts'
import type { Partition } from '../../../src/testing/kafka-sim/partition.ts'
import { click, clicks, Item, item } from '../../fixtures/plain.ts'
import { inVirtualTime, type Running, readTo, type Virtual } from './virtual.ts'

describe('the leaders of what was read', () => {
  test('are known of every position within it, and of no other', () => {
    const epochs = new Epochs()
    epochs.note('t/0', 10, 20, 3)
    epochs.note('t/0', 20, 25, 3)
    epochs.note('t/0', 25, 30, 5)
    const of = (...positions: number[]): number[] => positions.map((position) => epochs.of('t/0', position))
    expect(of(0, 9, 10, 11, 20, 25, 26, 30, 31)).toEqual([-1, -1, -1, 3, 3, 3, 5, 5, -1])
    expect(epochs.of('t/1', 11)).toBe(-1)
  })

  test('are forgotten behind a hole, and as far as they are read once more', () => {
    const epochs = new Epochs()
    epochs.note('t/0', 0, 10, 1)
    epochs.note('t/0', 5, 8, 2)
    expect([5, 6, 8, 9].map((position) => epochs.of('t/0', position))).toEqual([1, 2, 2, -1])
    epochs.note('t/0', 20, 21, 4)
    expect([8, 20, 21].map((position) => epochs.of('t/0', position))).toEqual([-1, -1, 4])
    epochs.forget('t')
    expect(epochs.of('t/0', 21)).toBe(-1)
  })

  test('that a group has with its position are believed where nothing is known better', () => {
    const epochs = new Epochs()
    epochs.noteCommitted('t/0', 7, 2)
    epochs.noteCommitted('t/0', 7, 9)
    epochs.noteCommitted('t/1', 7, -1)
    expect([epochs.of('t/0', 7), epochs.of('t/0', 8), epochs.of('t/1', 7)]).toEqual([2, -1, -1])
  })

  test('are few, however often a partition moves', () => {
    const epochs = new Epochs()
    for (let i = 0; i < 1_000; i++) epochs.note('t/0', i, i + 1, i)
    expect([1, 900, 990, 1_000].map((position) => epochs.of('t/0', position))).toEqual([-1, -1, 989, 999])
  })
})

const direct = topology('direct', (flow) => [
  flow
    .source(clicks)
    .dedupe('once')
    .project('clicks-of', {
      row: Item,
      identity: 'once',
      windows: { clicks: { target: '5s', max: '1m' } },
      fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
    }),
])

const source = ({ kafka }: Virtual): Partition => kafka.partition('web.clicks', 0) as Partition

async function feed({ world }: Running, ids: readonly string[]): Promise<void> {
  const events = publisher(clicks, { as: clicks.owner, log: world })
  for (const id of ids) await events.publish(click('u', id), { id })
  await events.close()
}

async function settled({ app }: Running, { clock }: Virtual): Promise<void> {
  while (!app.ready || (app.failure === undefined && !(await app.caughtUp()))) await clock.sleep(50)
}

describe.each(['exactly-once', 'at-least-once'] as const)('a source that lost what a worker had processed, %s', (guarantee) => {
  test.each([
    ['the same worker', '0'],
    ['another worker, without its disk', '1'],
  ])('and went on with other records is a gap to %s that starts then', async (_, instance) => {
    await inVirtualTime({ nodes: 3 }, async (world) => {
      const first = await world.start(direct, '0', { guarantee })
      source(world).move(source(world).leader)
      for (const node of world.kafka.nodeIds) source(world).hear(node)
      await feed(first, ['a', 'b', 'c', 'd', 'e'])
      await settled(first, world)
      await first.app.close({ leave: true })
      source(world).cut(2, 1 + (source(world).leader % 3))
      for (const node of world.kafka.nodeIds) source(world).hear(node)
      const helper = { world: { ...first.world, log: await world.connect() } } as Running
      await feed(helper, ['f', 'g', 'h', 'i', 'j', 'k'])
      const second = await world.start(direct, instance, { guarantee })
      await settled(second, world)
      expect(second.app.failure).toMatchObject({ code: 'POSITION_GAP' })
      expect(second.app.tasks.map(({ state }) => state)).toEqual(['halted'])
      await second.app.close()
    })
  })

  test('and had lost nothing goes on, whoever leads, however often that changed', async () => {
    await inVirtualTime({ nodes: 3 }, async (world) => {
      const ids = (round: number): string[] => ['a', 'b', 'c'].map((id) => `${id}${round}`)
      for (let round = 0; round < 4; round++) {
        const running = await world.start(direct, String(round % 2), { guarantee })
        await feed(running, ids(round))
        await settled(running, world)
        world.kafka.moveLeader(source(world), 1 + (source(world).leader % 3))
        await feed(running, ids(round + 10))
        await settled(running, world)
        expect((await running.app.view('clicks-of').get('u')).value).toMatchObject({ n: 6 * (round + 1) })
        await running.app.close({ leave: true })
        world.kafka.moveLeader(source(world), 1 + (source(world).leader % 3))
      }
    })
  })
})

test('a position without an epoch, as older clients committed it, is read on from as before', async () => {
  await inVirtualTime({ nodes: 1 }, async ({ connect, made, put }) => {
    await made('t')
    await put('t/0', 'a', 'b')
    const [one, other] = [await connect(), await connect()]
    await one.commitPositions({ group: 'g', identity: undefined, positions: new Map([['t/0', 1]]) })
    const committed = await other.committed('g', ['t/0'])
    const reader = other.reader('committed')
    reader.assign(committed as ReadonlyMap<string, number>)
    expect((await readTo(reader, 2)).values).toEqual(['b'])
  })
})
