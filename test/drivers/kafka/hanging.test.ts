/** Transactions that hang: which open transaction is one by what brokers answer, and the same on brokers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { Cluster } from '../../../src/drivers/kafka/cluster.ts'
import {
  type Coordinated,
  hangingAmong,
  type OpenTransaction,
  openTransactions,
  positionsPartition,
} from '../../../src/drivers/kafka/hanging.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { Producer } from '../../../src/drivers/kafka/producer.ts'
import { openSession, Transactions } from '../../../src/drivers/kafka/transactions.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { BatchBuilder, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { describeUnless, type OwnKafka, startOwn, whyNoneOwn } from '../../kafka/shared.ts'

const open = (more: Partial<OpenTransaction> = {}): OpenTransaction => ({
  partition: 'out/1',
  offset: 40,
  producerId: 7,
  producerEpoch: 3,
  ...more,
})
const known = (more: Partial<Coordinated> = {}): Coordinated => ({
  writer: 'app-worker/0',
  state: 'Ongoing',
  producerId: 7,
  producerEpoch: 3,
  partitions: new Set(['out/0', 'out/1']),
  ...more,
})

describe('an open transaction', () => {
  test.each<readonly [promise: string, known: readonly Coordinated[], hangs: boolean]>([
    ['that its coordinator has open there does not hang, however long it is open', [known()], false],
    ['whose end is being written does not hang', [known({ state: 'PrepareAbort', producerEpoch: 4 })], false],
    ['of an earlier epoch ends with the next one of its writer there', [known({ producerEpoch: 9 })], false],
    ['whose writer has another one open elsewhere hangs', [known({ partitions: new Set(['out/0']) })], true],
    ['whose coordinator says that it has ended hangs', [known({ state: 'CompleteAbort', partitions: new Set() })], true],
    ['is not excused by what another producer has open there', [known({ producerId: 8 }), known({ partitions: new Set() })], true],
  ])('%s', (_promise, coordinated, hangs) => {
    expect(hangingAmong([open()], coordinated)).toEqual(hangs ? [{ ...open(), writer: 'app-worker/0' }] : [])
  })

  test('of a producer that no coordinator shows has no writer: only time tells whether it hangs', () => {
    expect(hangingAmong([open()], [])).toEqual([{ ...open(), writer: undefined }])
  })
})

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

function batch(...values: readonly string[]): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  for (const value of values) builder.add(1_700_000_000_000, Buffer.from('k'), Buffer.from(value))
  return builder.finish()
}

describeUnless(await whyNoneOwn(), 'on brokers', () => {
  let cluster: OwnKafka
  let log: Log
  let close: () => Promise<void>
  beforeAll(async () => {
    // A broker that does not ask coordinators whether they know of a transaction: so one can be made that none of them knows.
    cluster = await startOwn({ config: { 'transaction.partition.verification.enable': 'false' } })
    const opened = await kafka({ brokers: cluster.brokers, transactionMs: 60_000 }).open(parts)
    log = opened.log
    close = () => opened.close()
  }, 120_000)
  afterAll(async () => {
    await close()
    await cluster.stop()
  })

  let names = 0
  /** Two partitions of a topic, and the id of a writer, that no other test has. */
  const fresh = async (): Promise<{ a: string; b: string; id: string }> => {
    const topic = `out-${names++}`
    await log.ensure([{ name: topic, partitions: 2, cleanup: 'delete', retentionMs: -1 }])
    return { a: `${topic}/0`, b: `${topic}/1`, id: `app-worker/${topic}` }
  }

  /** Writes to a partition as a writer whose coordinator is not told of it. */
  const leaveHanging = async (id: string, partition: string, ...values: readonly string[]): Promise<void> => {
    const own = await connected(cluster)
    const session = await openSession(own, id, 60_000)
    const producer = new Producer({
      cluster: own,
      codecs: nativeCodecs,
      transactionalId: id,
      answerMs: 5_000,
      version: 11,
      session: () => session,
    })
    await producer.append(partition, batch(...values))
    own.close()
  }

  test('one that is open for long is not reported, and one that was left without an end is', async () => {
    const { a, b, id } = await fresh()
    const writer = await log.writer(id)
    await writer.append(a, batch('a'))
    expect(await log.hanging([a, b], 'app')).toEqual([])
    await leaveHanging(`${id}-gone`, b, 'x', 'y')
    expect(await log.hanging([a, b], 'app')).toEqual([
      { partition: b, offset: 0, producerId: expect.any(Number), producerEpoch: 0, writer: `${id}-gone` },
    ])
    expect(await log.offsets([b], 'stable')).toEqual(new Map([[b, 0]]))
    expect((await writer.commit([])).kind).toBe('committed')
    // Where the end of a commit is still to be written nothing hangs either.
    expect(await log.hanging([a], 'app')).toEqual([])
    await writer.close()
  })

  test('what was left without an end is not written behind, for it would be committed with that; how it ended nobody knows', async () => {
    const { a, b, id } = await fresh()
    await leaveHanging(id, b, 'ghost')
    for (let i = 0; i < 2; i++) {
      const writer = await log.writer(id)
      await expect(writer.append(b, batch('behind it'))).rejects.toMatchObject({ code: 'TRANSACTION_HANGING' })
      expect((await writer.commit([])).kind).toBe('aborted')
      await writer.close()
    }
    // Elsewhere it writes, and so does everybody else here.
    const [writer, other] = [await log.writer(id), await log.writer(`${id}-other`)]
    await writer.append(a, batch('a'))
    await other.append(b, batch('b'))
    expect([(await writer.commit([])).kind, (await other.commit([])).kind]).toEqual(['committed', 'committed'])
    await expect.poll(() => committed(log, a)).toEqual(['a'])
    expect(await committed(log, b)).toEqual([])
    for (const each of [writer, other]) await each.close()
  })

  test.each([
    ['commit', ['first', 'second']],
    ['abort', ['second']],
  ] as const)(
    'a transaction whose %s was lost in one partition is ended there by the next writer of its id, in the same way',
    async (how, seen) => {
      const { a, b, id } = await fresh()
      const own = await connected(cluster)
      const session = await openSession(own, id, 60_000)
      const as = (version: number): Producer =>
        new Producer({ cluster: own, codecs: nativeCodecs, transactionalId: id, answerMs: 5_000, version, session: () => session })
      // Version 12 tells the coordinator of the partition, version 11 does not: so it does not end the transaction there.
      await as(12).append(a, batch('first'))
      await as(11).append(b, batch('first'))
      const transactions = new Transactions({ cluster: own, id, timeoutMs: 60_000, protocol: 2 })
      expect((await transactions.end(session, how === 'commit')).kind).toBe('ended')
      own.close()
      const refused = await log.writer(id)
      await expect(refused.append(b, batch('second'))).rejects.toMatchObject({ code: 'TRANSACTION_HANGING' })
      await refused.close()
      const writer = await log.writer(id)
      for (const partition of [a, b]) await writer.append(partition, batch('second'))
      expect((await writer.commit([])).kind).toBe('committed')
      await writer.close()
      for (const partition of [a, b]) await expect.poll(() => committed(log, partition)).toEqual(seen)
      expect(await log.hanging([a, b], 'app')).toEqual([])
    },
  )

  test('the partition in which the positions of a group are kept is asked, too', async () => {
    const { a } = await fresh()
    const own = await connected(cluster)
    for (const group of ['app', 'another-group', 'Großhandel']) {
      const session = await openSession(own, `${group}-worker/0`, 60_000)
      const transactions = new Transactions({ cluster: own, id: `${group}-worker/0`, timeoutMs: 60_000, protocol: 2 })
      const positions = { group, identity: undefined, positions: new Map([[a, 1]]) }
      expect(await transactions.addPositions(session, positions)).toBeUndefined()
      const [open] = await openTransactions(own, [(await positionsPartition(own, group)) as string])
      expect(open?.producerId).toBe(session.producerId)
      expect(await log.hanging([], group)).toEqual([])
      expect((await transactions.end(session, false)).kind).toBe('ended')
    }
    own.close()
  })
})

async function connected({ brokers }: OwnKafka): Promise<Cluster> {
  const [host, port] = (brokers[0] as string).split(':') as [string, string]
  const link = { clientId: 'hanging', connectMs: 3_000, ssl: undefined, sasl: undefined }
  const cluster = new Cluster({ seeds: [{ host, port: Number(port) }], link, clock: nodeClock, random: nodeRandom })
  await cluster.start()
  return cluster
}

/** Values of what is decided now. */
async function committed(log: Log, partition: string): Promise<string[]> {
  const [end, values] = [(await log.offsets([partition], 'stable')).get(partition) as number, [] as string[]]
  const reader = log.reader('committed')
  reader.assign(new Map([[partition, 0]]))
  for (let position = 0; position < end; ) {
    for (const fetched of await reader.poll({ bytes: 1_000_000, waitMs: 100 })) {
      if (fetched.kind !== 'batches') throw new Error(`${partition} cannot be read`)
      position = fetched.next
      for (const each of fetched.batches) for (let i = 0; i < each.count; i++) values.push(String(each.value(i)))
    }
  }
  await reader.close()
  return values
}
