/** Makes a broker compact a topic now: what is written is closed into a segment, and the cleaner is let loose on it. */
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { Cluster } from '../../../src/drivers/kafka/cluster.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { TOPIC_RESOURCE } from '../../../src/drivers/kafka/wire/describe-configs.ts'
import { incrementalAlterConfigs, SET_CONFIG } from '../../../src/drivers/kafka/wire/incremental-alter-configs.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'

/** The broker is asked so often whether it is done. */
const TRIES = 120
const WAIT_MS = 250

export async function compactNow(brokers: readonly string[], topic: string): Promise<void> {
  await configure(brokers, topic, { 'segment.ms': '50', 'min.cleanable.dirty.ratio': '0.001', 'min.compaction.lag.ms': '0' })
  const { log } = await kafka({ brokers }).open({ clock: nodeClock, random: nodeRandom, codecs: nativeCodecs })
  const partition = `${topic}/0`
  const start = new Map([[partition, 0]])
  const countNow = async (until: number): Promise<number> => {
    const reader = log.reader('uncommitted')
    reader.assign(start)
    let count = 0
    for (let next = 0; next < until; ) {
      for (const fetched of await reader.poll({ bytes: 4_000_000, waitMs: WAIT_MS })) {
        if (fetched.kind !== 'batches') throw new Error(`${fetched.kind} of ${partition}`)
        next = fetched.next
        for (const batch of fetched.batches) count += batch.count
      }
    }
    await reader.close()
    return count
  }
  const until = (await log.offsets([partition], 'high')).get(partition) as number
  const before = await countNow(until)
  // An aborted record rolls the segment over and is seen by nobody.
  const writer = await log.writer(`compact ${topic}`)
  for (let tries = 0; ; tries++) {
    await nodeClock.sleep(WAIT_MS)
    if (tries % 4 === 0) {
      const builder = new BatchBuilder({ codecs: nativeCodecs })
      builder.add(0, Buffer.from('roll'), Buffer.from('over'))
      await writer.append(partition, builder.finish())
      await writer.abort()
    }
    if ((await countNow(until)) < before) break
    if (tries > TRIES) throw new Error(`${topic} was not compacted`)
  }
  await writer.close()
  await log.close()
}

async function configure(brokers: readonly string[], topic: string, values: Readonly<Record<string, string>>): Promise<void> {
  const seeds = brokers.map((broker) => ({ host: broker.split(':')[0] as string, port: Number(broker.split(':')[1]) }))
  const link = { clientId: 'test', ssl: undefined, sasl: undefined, connectMs: 3_000 }
  const cluster = new Cluster({ seeds, link, clock: nodeClock, random: nodeRandom })
  const configs = Object.entries(values).map(([name, value]) => ({ name, operation: SET_CONFIG, value }))
  const answer = await cluster.ask(incrementalAlterConfigs, {
    resources: [{ resourceType: TOPIC_RESOURCE, resourceName: topic, configs }],
    validateOnly: false,
  })
  cluster.close()
  const refused = answer.resources.find(({ error }) => error !== 0)
  if (refused !== undefined) throw new Error(`${topic}: ${refused.errorMessage}`)
}
