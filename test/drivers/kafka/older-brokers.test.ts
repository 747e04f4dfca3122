/** Brokers that have less than the newest: what 3.7 has is enough, and what is not enough is said at the first connection. */
import { expect, onTestFinished, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaClient, openClient } from '../../../src/drivers/kafka/client.ts'
import { type Dial, dialKafkajs } from '../../../src/drivers/kafka/sockets.ts'
import { apiVersions } from '../../../src/drivers/kafka/wire/api-versions.ts'
import { decodeResponse, encodeResponse } from '../../../src/drivers/kafka/wire/framing.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { BatchBuilder, DEFAULT_LIMITS, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { describeUnless, sharedKafka } from '../../kafka/shared.ts'

const { brokers = [], reason } = await sharedKafka({ version: '3.9.2' })

/** The newest versions of kafka-clients 3.7.2, of the APIs of which it has less than 3.9.2. Undefined: none at all. */
const KAFKA_3_7: Versions = { 0: 10, 10: 4, 18: 3, 22: 4, 24: 4, 25: 3, 26: 3, 28: 3, 66: 0 }
type Versions = Readonly<Record<number, number | undefined>>

/** Sockets to a broker that says that it has less. */
const lowered =
  (most: Versions): Dial =>
  async (address, options) => {
    const line = await dialKafkajs(address, options)
    return {
      get connected() {
        return line.connected
      },
      get expired() {
        return line.expired
      },
      nextCorrelationId: () => line.nextCorrelationId(),
      login: () => line.login(),
      onClose: (listener) => line.onClose(listener),
      putOff: (ms) => line.putOff(ms),
      end: (error) => line.end(error),
      exchange: async (request) => {
        const payload = await line.exchange(request)
        const { apiKey, apiVersion } = request
        if (apiKey !== apiVersions.key) return payload
        const answer = decodeResponse(apiVersions, apiVersion, payload)
        const apiKeys = answer.apiKeys.flatMap((range) => {
          if (!(range.apiKey in most)) return [range]
          const maxVersion = most[range.apiKey]
          return maxVersion === undefined ? [] : [{ ...range, maxVersion }]
        })
        return encodeResponse(apiVersions, apiVersion, 0, { ...answer, apiKeys }).subarray(8)
      },
    }
  }

async function open(most: Versions): Promise<KafkaClient> {
  const seeds = brokers.map((broker) => ({ host: broker.split(':')[0] as string, port: Number(broker.split(':')[1]) }))
  const link = { clientId: 'older', ssl: undefined, sasl: undefined, connectMs: 3_000 }
  const client = await openClient({
    of: { seeds, link, clock: nodeClock, random: nodeRandom, dial: lowered(most) },
    codecs: nativeCodecs,
    limits: DEFAULT_LIMITS,
    replication: -1,
    transactionMs: 10_000,
  })
  onTestFinished(() => client.close())
  return client
}

function batch(value: string): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  builder.add(0, Buffer.from('k'), Buffer.from(value))
  return builder.finish()
}

describeUnless(reason, 'a broker', () => {
  test('with no more than Kafka 3.7 has is enough: transactions, positions, and the end of what the dead left open', async () => {
    const log = await open(KAFKA_3_7)
    await log.ensure([{ name: 'older', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const writer = await log.writer('older-worker/0')
    await writer.append('older/0', batch('one'))
    const positions = new Map([['older/0', 1]])
    expect(await writer.commit([{ group: 'older', identity: undefined, positions }])).toEqual({ kind: 'committed' })
    await expect.poll(() => log.committed('older', ['older/0'])).toEqual(positions)
    const dead = await log.writer('older-worker/1')
    await dead.append('older/0', batch('never'))
    const endOf = async (at: 'stable' | 'high'): Promise<number | undefined> => (await log.offsets(['older/0'], at)).get('older/0')
    expect(await endOf('stable')).toBeLessThan((await endOf('high')) as number)
    await log.fence('older-worker/', new Set(['older-worker/0']))
    await expect.poll(async () => (await endOf('stable')) === (await endOf('high'))).toBe(true)
    expect(await dead.commit([])).toMatchObject({ kind: 'fenced' })
    const plain = await log.plainWriter()
    expect(await plain.append('older/0', batch('two'))).toMatchObject({ next: await endOf('high') })
  })

  test.each<[most: Versions, message: string, detail: string]>([
    [
      { 0: 9, 66: undefined },
      'Produce, ListTransactions',
      'It has Produce 0 to 9 (needed: 10 to 12), no ListTransactions (needed: 0 to 2).',
    ],
    [{ 28: 2 }, 'TxnOffsetCommit', 'It has TxnOffsetCommit 0 to 2 (needed: 3 to 5).'],
    [{ 11: undefined }, 'JoinGroup', 'It has no JoinGroup (needed: 9).'],
    [
      Object.fromEntries([0, 1, 2, 8, 9, 10].map((key) => [key, undefined])),
      'Produce, Fetch, ListOffsets, OffsetCommit, and 2 more',
      'It has no Produce (needed: 10 to 12), no Fetch (needed: 12), no ListOffsets (needed: 7), no OffsetCommit (needed: 8), and 2 more.',
    ],
  ])('that lacks something that a worker uses is refused at the first connection: %j', async (most, names, detail) => {
    await expect(open(most)).rejects.toMatchObject({
      code: 'API_UNSUPPORTED',
      message: `broker ${brokers[0]} lacks what is needed: ${names}`,
      detail,
      hint: expect.stringContaining('Kafka 3.7 or newer'),
    })
  })

  test('that lacks what only some commands use is used for everything else', async () => {
    const log = await open({ 19: undefined, 44: undefined })
    expect(await log.describe(['none'])).toEqual([])
    await expect(log.ensure([{ name: 'older-new', partitions: 1, cleanup: 'delete', retentionMs: -1 }])).rejects.toMatchObject({
      code: 'API_UNSUPPORTED',
      message: `broker ${brokers[0]} lacks what is needed: CreateTopics`,
    })
  })
})
