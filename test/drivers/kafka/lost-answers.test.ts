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
import { type FaultProxy, type KafkaCluster, type KafkaVersion, startKafka } from '../../../src/testing/broker/index.ts'
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
  /** What the commit of the transaction that was hit may say. */
  readonly kinds: readonly CommitOutcome['kind'][]
}

const PROTOCOLS: readonly { readonly version: KafkaVersion; readonly name: string; readonly cases: readonly Case[] }[] = [
  {
    version: '4.3.1',
    name: 'transaction protocol 2',
    cases: [
      { api: 'Produce', apiKey: PRODUCE, kinds: ['committed'] },
      { api: 'TxnOffsetCommit', apiKey: TXN_OFFSET_COMMIT, kinds: ['committed'] },
      { api: 'EndTxn', apiKey: END_TXN, kinds: ['committed'] },
    ],
  },
  {
    version: '3.9.2',
    name: 'transaction protocol 1',
    cases: [
      { api: 'Produce', apiKey: PRODUCE, kinds: ['committed'] },
      { api: 'AddPartitionsToTxn', apiKey: ADD_PARTITIONS, kinds: ['committed'] },
      { api: 'AddOffsetsToTxn', apiKey: ADD_OFFSETS, kinds: ['committed'] },
      // Sent again it could take part in the next transaction, so it is not.
      { api: 'TxnOffsetCommit', apiKey: TXN_OFFSET_COMMIT, kinds: ['aborted'] },
      { api: 'EndTxn', apiKey: END_TXN, kinds: ['in-doubt'] },
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

    /** Six transactions of one record each; what hits the third one is up to the test. A writer that died is replaced. */
    const sixTransactions = async (
      hit: () => void,
      after: () => void,
    ): Promise<{ kind: CommitOutcome['kind']; acknowledged: string[]; group: string; topic: string }> => {
      const topic = `topic-${names++}`
      const group = `group-${topic}`
      const id = `writer-${topic}`
      await log.ensure([{ name: topic, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
      let writer: Writer = await log.writer(id)
      const acknowledged: string[] = []
      let kind: CommitOutcome['kind'] = 'committed'
      for (let round = 1; round <= 6; round++) {
        if (round === 3) hit()
        await Promise.allSettled([0, 1].map((partition) => writer.append(`${topic}/${partition}`, batch(`${round}`))))
        const outcome = await writer.commit([{ group, identity: undefined, positions: new Map([[`${topic}/0`, round]]) }])
        if (round === 3) kind = outcome.kind
        // Under protocol 1 a batch that comes late may break the order of the next transaction, which is aborted then.
        else
          expect([round, round === 4 && version === '3.9.2' ? ['committed', 'aborted'] : ['committed']]).toEqual([
            round,
            expect.arrayContaining([outcome.kind]),
          ])
        if (outcome.kind === 'committed') acknowledged.push(`${round}`)
        else {
          await writer.close()
          writer = await log.writer(id)
          const there = await valuesOf(log, `${topic}/0`)
          // Nobody knew: now it is decided, with everything that belongs to it.
          if (outcome.kind === 'in-doubt' && there.includes(`${round}`)) acknowledged.push(`${round}`)
          expect(await positionOf(log, group, `${topic}/0`)).toBe(Number(acknowledged.at(-1)))
        }
        if (round === 3) after()
      }
      await writer.close()
      return { kind, acknowledged, group, topic }
    }

    const exactlyOnce = async ({ acknowledged, group, topic }: { acknowledged: string[]; group: string; topic: string }): Promise<void> => {
      for (const partition of [0, 1]) expect(await valuesOf(log, `${topic}/${partition}`)).toEqual(acknowledged)
      expect(await positionOf(log, group, `${topic}/0`)).toBe(Number(acknowledged.at(-1)))
    }

    describe.each(cases)('$api', ({ apiKey, kinds }) => {
      for (const harm of ['cut', 'silence'] as const) {
        test(`an answer that is lost (${harm})`, { timeout: 120_000 }, async () => {
          const done = await sixTransactions(
            () => proxy.catchNext({ apiKey, at: 'response', harm }),
            () => {},
          )
          expect(kinds).toContain(done.kind)
          await exactlyOnce(done)
        })
      }

      test('a request that is lost', { timeout: 120_000 }, async () => {
        const done = await sixTransactions(
          () => proxy.catchNext({ apiKey, at: 'request', harm: 'cut' }),
          () => {},
        )
        expect([...kinds, 'in-doubt', 'aborted']).toContain(done.kind)
        await exactlyOnce(done)
      })

      test('a request that comes when everybody has gone on', { timeout: 120_000 }, async () => {
        let late: ReturnType<FaultProxy['catchNext']> | undefined
        const done = await sixTransactions(
          () => {
            late = proxy.catchNext({ apiKey, at: 'request', harm: 'late' })
          },
          // The next transaction of this writer is about to begin, or has begun by the time the broker reads it.
          () => void nodeClock.sleep(5).then(() => late?.release()),
        )
        expect([...kinds, 'in-doubt', 'aborted']).toContain(done.kind)
        await exactlyOnce(done)
      })
    })

    test('a writer opens although the first answer is lost', async () => {
      proxy.catchNext({ apiKey: INIT_PRODUCER_ID, at: 'response', harm: 'cut' })
      const done = await sixTransactions(
        () => {},
        () => {},
      )
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
      await Promise.all(traps.map(({ caught }) => caught))
      expect(await valuesOf(log, `${topic}/0`)).toEqual(values)
      await writer.close()
    })
  })
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
