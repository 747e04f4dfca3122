/** A fact that says that it is from the future, for a topic of somebody else whose broker does not take such times. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { expect, onTestFinished, test } from 'vitest'
import { text, topology } from '#tidemark'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import { encodeValue } from '../../../src/runtime/encode.ts'
import { start } from '../../../src/start.ts'
import { Item, item } from '../../fixtures/plain.ts'
import { describeUnless, sharedKafka } from '../../kafka/shared.ts'

const { brokers = [], reason } = await sharedKafka()
const AHEAD_MS = 2 * 3_600_000

const copying = topology('from-the-future', (flow) => {
  flow.stream('future-in', { key: text, value: Item }, { partitions: 1 }).to('copy', 'future-out')
  return []
})

describeUnless(reason, 'a record of the future', () => {
  test('that a topic does not take ends the worker with its partition, its time and what to set, and nothing is passed over', {
    timeout: 60_000,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-future-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const { log } = await kafka({ brokers }).open({ clock: nodeClock, random: nodeRandom, codecs: nativeCodecs })
    await log.ensure([{ name: 'future-in', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    // With the settings of its broker: an hour since 4.0.
    await admin.createTopics({ topics: [{ topic: 'future-out', numPartitions: 1 }], waitForLeaders: true })
    await admin.disconnect()
    const errors: string[] = []
    const running = await start(copying, {
      dir: folder,
      log: kafka({ brokers }),
      telemetry: {
        count: () => {},
        event: (event) => void (event.kind === 'worker' && event.error !== undefined && errors.push(event.error.code)),
      },
    })
    const codec = await running.access.serdes.values(Item.name, { readers: new Map([['', Item.avro]]), tagged: false, fields: undefined })
    const at = nodeClock.now() + AHEAD_MS
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    builder.add(at, Buffer.from('k'), encodeValue(codec, item(1)))
    const writer = await log.plainWriter()
    await writer.append('future-in/0', builder.finish())
    await writer.close()
    await expect
      .poll(() => running.app.failure, { timeout: 30_000 })
      .toMatchObject({
        code: 'TIMESTAMP_REFUSED',
        message: 'a record for future-out/0 has a time that the broker does not take',
        detail: expect.stringContaining(`${at} (${new Date(at).toISOString()})`),
        hint: expect.stringContaining('"message.timestamp.after.max.ms" (and "before") of topic "future-out"'),
      })
    expect(errors).toEqual(['TIMESTAMP_REFUSED'])
    await expect(running.close()).rejects.toMatchObject({ code: 'TIMESTAMP_REFUSED' })
    await expect.poll(() => log.committed('from-the-future', ['future-in/0']), { timeout: 20_000 }).toEqual(new Map())
    await log.close()
  })
})
