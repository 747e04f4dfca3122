/** A task goes to another worker while its owner is ending a commit that the group has taken: simulated brokers, a log that is slow in one place. */
import { expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { partitionOf } from '../../../src/base/murmur.ts'
import { avroSerdes } from '../../../src/drivers/avro/index.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { memoryState } from '../../../src/drivers/memory/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { memorySchemas } from '../../../src/drivers/schemas/index.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import { App } from '../../../src/runtime/app.ts'
import { encodeValue } from '../../../src/runtime/encode.ts'
import { Item, item, Sum, summed } from '../../fixtures/plain.ts'
import type { Tap } from '../../simulation/kafka-tap.ts'
import { eventually, simulatedKafka } from './simulated.ts'

const moving = topology('moving', (flow: Flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 2 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
    .project('sums', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
])
/** Longer than a rebalance among workers that live, ms. */
const SLOW_MS = 1_500
const KEY = Array.from({ length: 20 }, (_, i) => `k${i}`).find((key) => partitionOf(Buffer.from(key), 2) === 1) as string

test('its new owner goes on from that commit, although a part of it came to the changelog when the task was its own already', async () => {
  const sim = simulatedKafka()
  const schemas = memorySchemas()
  let slow = false
  let held = 0
  /** Positions are with the group at once; what is written to changelogs is not. */
  const lame: Tap = {
    answers: {
      Produce: ({ topics }: { topics: readonly { topic: string }[] }) => {
        if (!slow || !topics.some(({ topic }) => topic.endsWith('-changelog'))) return undefined
        held++
        return nodeClock.sleep(SLOW_MS).then(() => undefined)
      },
    },
  }
  const start = async (instance: string, tap: Tap): Promise<App> => {
    const log = await sim.connect(tap)
    await log.ensure([{ name: 'in', partitions: 2, cleanup: 'delete', retentionMs: -1 }])
    const world = {
      log,
      state: memoryState(),
      serdes: avroSerdes(schemas, { now: () => nodeClock.mono() }),
      codecs: nativeCodecs,
      clock: nodeClock,
      random: nodeRandom,
      telemetry: { count: () => {}, event: () => {} },
      failpoint: { hit: () => undefined },
    }
    return await App.start(moving.graph, world, { instance, sessionMs: 6_000 })
  }
  const feed = async (n: number): Promise<void> => {
    const log = await sim.connect()
    const codec = await avroSerdes(schemas, { now: () => 0 }).values(Item.name, {
      readers: new Map([['', Item.avro]]),
      tagged: false,
      fields: undefined,
    })
    const writer = await log.plainWriter()
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    builder.add(Date.now(), Buffer.from(KEY), encodeValue(codec, item(n)))
    await writer.append('in/1', builder.finish())
    await log.close()
  }
  const former = await start('a', lame)
  await eventually(() => former.ready, 'the first worker')
  await feed(1)
  await eventually(() => former.caughtUp(), 'the first record')
  slow = true
  await feed(2)
  await eventually(() => held > 0, 'the commit')
  const successor = await start('b', {})
  await eventually(() => successor.ready && former.tasks.length === 1, 'the task to move')
  expect(successor.failure).toBeUndefined()
  slow = false
  await feed(3)
  await eventually(() => successor.caughtUp(), 'the last record')
  expect((await successor.view('sums').get(KEY as never)).value).toMatchObject({ total: 6 })
  await successor.close()
  await former.close()
}, 30_000)
