/**
 * What becomes of a transaction when one of its requests is not answered, or reaches the broker long after everybody has gone on: nothing that
 * was said to be committed is lost, nothing is visible twice, and positions go with the records or not at all.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { CommitOutcome, Log, Writer } from '../../../src/ports/log.ts'
import { BatchBuilder, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { type FaultProxy, type KafkaCluster, type KafkaVersion, startKafka, type Trap } from '../../../src/testing/broker/index.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'

const PRODUCE = 0
const INIT_PRODUCER_ID = 22
const ADD_PARTITIONS = 24
const ADD_OFFSETS = 25
const END_TXN = 26
const TXN_OFFSET_COMMIT = 28
const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

interface Case {
  readonly api: string
  readonly apiKey: number
  /** What the commit of the transaction that was hit says, whether the request was lost, its answer, or only time. */
  readonly kind: CommitOutcome['kind']
}

const PROTOCOLS: readonly { readonly version: KafkaVersion; readonly name: string; readonly cases: readonly Case[] }[] = [
  {
    version: '4.3.1',
    name: 'transaction protocol 2',
    cases: [
      { api: 'Produce', apiKey: PRODUCE, kind: 'committed' },
      { api: 'TxnOffsetCommit', apiKey: TXN_OFFSET_COMMIT, kind: 'committed' },
      { api: 'EndTxn', apiKey: END_TXN, kind: 'committed' },
    ],
  },
  {
    version: '3.9.2',
    name: 'transaction protocol 1',
    cases: [
      { api: 'Produce', apiKey: PRODUCE, kind: 'committed' },
      { api: 'AddPartitionsToTxn', apiKey: ADD_PARTITIONS, kind: 'committed' },
      { api: 'AddOffsetsToTxn', apiKey: ADD_OFFSETS, kind: 'committed' },
      // Sent again it could take part in the next transaction, so it is not.
      { api: 'TxnOffsetCommit', apiKey: TXN_OFFSET_COMMIT, kind: 'aborted' },
      { api: 'EndTxn', apiKey: END_TXN, kind: 'in-doubt' },
    ],
  },
]

for (const { version, name, cases } of PROTOCOLS) {
  describeUnless(await whyNotStarted(version), name, () => {
    let cluster: KafkaCluster
    let proxy: FaultProxy
    let log: Log
    let names = 0

    beforeAll(async () => {
      cluster = await startKafka({ version, proxy: true })
      proxy = cluster.proxies[0] as FaultProxy
      log = (await kafka({ brokers: cluster.proxiedBrokers, transactionMs: 6_000 }).open(parts)).log
    }, 90_000)
    afterAll(async () => {
      await log?.close()
      await cluster?.stop()
    })

    /**
     * Six transactions of one record each; what hits the third one is up to the test. A writer that died is replaced.
     * @param uneasy whether something of the third may still come in the fourth and break its order
     */
    const sixTransactions = async (
      hit: () => Trap | undefined,
      { after = () => {}, uneasy = false }: { readonly after?: (trap: Trap) => void; readonly uneasy?: boolean } = {},
    ): Promise<{ kind: CommitOutcome['kind']; acknowledged: string[]; group: string; topic: string }> => {
      const topic = `topic-${names++}`
      const group = `group-${topic}`
      const id = `writer-${topic}`
      await log.ensure([{ name: topic, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
      let writer: Writer = await log.writer(id)
      const acknowledged: string[] = []
      let kind: CommitOutcome['kind'] = 'committed'
      let trap: Trap | undefined
      for (let round = 1; round <= 6; round++) {
        if (round === 3) trap = hit()
        await Promise.allSettled([0, 1].map((partition) => writer.append(`${topic}/${partition}`, batch(`${round}`))))
        const outcome = await writer.commit([{ group, identity: undefined, positions: new Map([[`${topic}/0`, round]]) }])
        if (round === 3) {
          kind = outcome.kind
          if (trap !== undefined) await sprung(trap)
        } else if (round === 4 && uneasy) expect(['committed', 'aborted']).toContain(outcome.kind)
        else expect([round, outcome.kind]).toEqual([round, 'committed'])
        if (outcome.kind === 'committed') acknowledged.push(`${round}`)
        else {
          await writer.close()
          writer = await log.writer(id)
          const there = await valuesOf(log, `${topic}/0`)
          // Nobody knew: now it is decided, with everything that belongs to it.
          if (outcome.kind === 'in-doubt' && there.includes(`${round}`)) acknowledged.push(`${round}`)
          expect(await positionOf(log, group, `${topic}/0`)).toBe(Number(acknowledged.at(-1)))
        }
        if (round === 3 && trap !== undefined) after(trap)
      }
      await writer.close()
      return { kind, acknowledged, group, topic }
    }

    const exactlyOnce = async ({ acknowledged, group, topic }: { acknowledged: string[]; group: string; topic: string }): Promise<void> => {
      for (const partition of [0, 1]) expect(await valuesOf(log, `${topic}/${partition}`)).toEqual(acknowledged)
      expect(await positionOf(log, group, `${topic}/0`)).toBe(Number(acknowledged.at(-1)))
    }

    describe.each(cases)('$api', ({ apiKey, kind }) => {
      for (const harm of ['cut', 'silence'] as const) {
        test(`an answer that is lost (${harm})`, { timeout: 120_000 }, async () => {
          const done = await sixTransactions(() => proxy.catchNext({ apiKey, at: 'response', harm }))
          expect(done.kind).toBe(kind)
          await exactlyOnce(done)
        })
      }

      test('a request that is lost', { timeout: 120_000 }, async () => {
        const done = await sixTransactions(() => proxy.catchNext({ apiKey, at: 'request', harm: 'cut' }))
        expect(done.kind).toBe(kind)
        await exactlyOnce(done)
      })

      test('a request that comes when everybody has gone on', { timeout: 120_000 }, async () => {
        const done = await sixTransactions(() => proxy.catchNext({ apiKey, at: 'request', harm: 'late' }), {
          // The next transaction of this writer is about to begin, or has begun by the time the broker reads it.
          after: (late) => void nodeClock.sleep(5).then(() => late.release()),
          // Under protocol 1 a transaction has no epoch of its own that would refuse it.
          uneasy: apiKey === PRODUCE && version === '3.9.2',
        })
        expect(done.kind).toBe(kind)
        await exactlyOnce(done)
      })
    })

    test('a writer opens although the first answer is lost', async () => {
      const trap = proxy.catchNext({ apiKey: INIT_PRODUCER_ID, at: 'response', harm: 'cut' })
      const done = await sixTransactions(() => trap)
      expect(done.kind).toBe('committed')
      await exactlyOnce(done)
    })

    test('appends outside of transactions are written once, whatever is lost', { timeout: 120_000 }, async () => {
      const topic = `topic-${names++}`
      await log.ensure([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
      const writer = await log.plainWriter()
      const values = Array.from({ length: 60 }, (_, i) => `${i}`)
      const traps = [
        proxy.catchNext({ apiKey: PRODUCE, at: 'response', nth: 2, harm: 'cut' }),
        proxy.catchNext({ apiKey: PRODUCE, at: 'request', nth: 9, harm: 'cut' }),
        proxy.catchNext({ apiKey: PRODUCE, at: 'request', nth: 20, harm: 'halve' }),
        proxy.catchNext({ apiKey: PRODUCE, at: 'response', nth: 31, harm: 'halve' }),
      ]
      await Promise.all(values.map((value) => writer.append(`${topic}/0`, batch(value))))
      await Promise.all(traps.map(sprung))
      expect(await valuesOf(log, `${topic}/0`)).toEqual(values)
      await writer.close()
    })
  })
}

/** A fault that was never there proves nothing. By now what it waited for has passed. */
async function sprung({ caught }: Trap): Promise<void> {
  const never = nodeClock.sleep(1_000).then(() => 'the trap never sprang')
  expect(await Promise.race([caught.then(() => 'sprung'), never])).toBe('sprung')
}

function batch(value: string): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  builder.add(0, Buffer.from('key'), Buffer.from(value))
  return builder.finish()
}

async function positionOf(log: Log, group: string, partition: string): Promise<number | undefined> {
  for (;;) {
    const positions = await log.committed(group, [partition])
    if (positions !== 'unstable') return positions.get(partition)
    await nodeClock.sleep(10)
  }
}

async function valuesOf(log: Log, partition: string): Promise<string[]> {
  const until = (await log.offsets([partition], 'high')).get(partition) as number
  const reader = log.reader('committed')
  reader.assign(new Map([[partition, 0]]))
  const values: string[] = []
  for (let next = 0; next < until; ) {
    for (const fetched of await reader.poll({ bytes: 1_000_000, waitMs: 250 })) {
      if (fetched.kind !== 'batches') throw new Error(`${fetched.kind} of ${partition}`)
      for (const each of fetched.batches) for (let i = 0; i < each.count; i++) values.push(String(each.value(i)))
      next = fetched.next
    }
  }
  await reader.close()
  return values
}
