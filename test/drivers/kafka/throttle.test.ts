/** Quotas of brokers (B17): work goes on at the pace that they allow, and nobody takes the wait for a broken broker. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TidemarkError } from '../../../src/base/errors.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { type KafkaCluster, startKafka } from '../../../src/testing/broker/index.ts'
import { jarsOf } from '../../../src/testing/broker/jars.ts'
import { run } from '../../../src/testing/broker/java.ts'
import type { Use } from '../../../src/testing/kafka-sim/index.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'
import { batchOf, inVirtualTime, readTo } from './virtual.ts'

const WINDOW_S = 10

/**
 * A quota as brokers keep it: bytes over the last ten seconds, and whoever is over it is not read from until it is not. What a Fetch would
 * have brought is not counted when it is kept back.
 */
function byteRate(api: string, rate: number, now: () => number): (use: Use) => number {
  let used: { at: number; bytes: number }[] = []
  return (use) => {
    if (use.api !== api) return 0
    const at = now()
    used = used.filter((each) => at - each.at < WINDOW_S * 1_000)
    const bytes = api === 'Fetch' ? use.bytes : use.asked
    let sum = used.reduce((all, each) => all + each.bytes, bytes)
    let overMs = 0
    for (const each of used) {
      if (sum <= rate * WINDOW_S) break
      sum -= each.bytes
      overMs = Math.ceil(each.at + WINDOW_S * 1_000 - at)
    }
    if (overMs <= 0 || api !== 'Fetch') used.push({ at, bytes })
    return Math.max(0, overMs)
  }
}

describe('a broker whose quota for reading is used up', () => {
  test('is read at the pace that it allows, and never taken for one that is gone', async () => {
    const rate = 20_000
    let quota: (use: Use) => number = () => 0
    await inVirtualTime({ throttle: (use) => quota(use) }, async ({ kafka, clock, connect, made, told }) => {
      await made('t')
      const log = await connect()
      const writer = await log.plainWriter()
      for (let i = 0; i < 20; i++) await writer.append('t/0', batchOf(Buffer.alloc(60_000, i)))
      quota = byteRate('Fetch', rate, () => kafka.timeline.now)
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      const began = clock.mono()
      let next = 0
      while (next < 20) {
        for (const fetched of await reader.poll({ bytes: 2 * rate, waitMs: 100 })) {
          expect(fetched.kind).toBe('batches')
          if (fetched.kind === 'batches') next = fetched.next
        }
      }
      const seconds = (clock.mono() - began) / 1_000
      expect(1_200_000 / seconds).toBeGreaterThan(rate * 0.7)
      expect(told.filter(({ code }) => code === 'BROKER_THROTTLES').length).toBeGreaterThan(0)
      // Once a minute at most.
      expect(told.length).toBeLessThanOrEqual(1 + seconds / 60)
    })
  })

  test('is waited for however long it takes, and an empty poll is not given meanwhile', async () => {
    let throttleMs = 0
    await inVirtualTime({ throttle: ({ api }) => (api === 'Fetch' ? throttleMs : 0) }, async ({ clock, connect, made, put }) => {
      await made('t')
      await put('t/0', 'a')
      const log = await connect()
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      throttleMs = 40_000
      void clock.sleep(100_000).then(() => {
        throttleMs = 0
      })
      const began = clock.mono()
      const answers = await reader.poll({ bytes: 1, waitMs: 100 })
      expect(answers.map(({ kind }) => kind)).toEqual(['batches'])
      expect(clock.mono() - began).toBeGreaterThan(100_000)
    })
  })

  test('that dies while it holds back is missed ten seconds after its word', async () => {
    await inVirtualTime({ nodes: 1, throttle: ({ api }) => (api === 'Fetch' ? 20_000 : 0) }, async ({ kafka, clock, connect, made }) => {
      await made('t')
      const log = await connect()
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      void clock.sleep(1_000).then(() => kafka.stop(1))
      const began = clock.mono()
      await expect(reader.poll({ bytes: 1, waitMs: 100 })).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
      expect(clock.mono() - began).toBeLessThan(35_000)
    })
  })

  test('keeps neither heartbeats nor commits waiting: they have sockets of their own', async () => {
    await inVirtualTime({ throttle: ({ api }) => (api === 'Fetch' ? 60_000 : 0) }, async ({ clock, connect, made }) => {
      await made('t')
      const log = await connect()
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      void reader.poll({ bytes: 1, waitMs: 100 }).catch(() => {})
      await clock.sleep(1_000)
      const writer = await log.writer('w')
      const began = clock.mono()
      await writer.append('t/0', batchOf('a'))
      expect((await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['t/0', 1]]) }])).kind).toBe('committed')
      expect(clock.mono() - began).toBeLessThan(1_000)
      await log.close()
    })
  })
})

describe('a broker whose quota for writing is used up', () => {
  test('is written to at the pace that it allows: no batch is sent twice, and every commit ends', async () => {
    const sent: string[] = []
    let quota: (use: Use) => number = () => 0
    await inVirtualTime({ throttle: (use) => quota(use) }, async ({ kafka, connect, made, clock }) => {
      await made('t')
      const log = await connect()
      const writer = await log.writer('w')
      const limited = byteRate('Produce', 10_000, () => kafka.timeline.now)
      quota = (use) => {
        sent.push(use.api)
        return limited(use)
      }
      const began = clock.mono()
      for (let i = 1; i <= 10; i++) {
        const acknowledged = [0, 1, 2].map(() => writer.append('t/0', batchOf(Buffer.alloc(10_000))))
        const outcome = await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['t/0', i]]) }])
        expect(outcome).toEqual({ kind: 'committed' })
        await Promise.all(acknowledged)
      }
      expect(sent.filter((api) => api === 'Produce').length).toBe(30)
      // 300 kB, of which the window takes 100 kB at once.
      expect((clock.mono() - began) / 1_000).toBeGreaterThan(15)
      expect(await log.offsets(['t/0'], 'stable')).toEqual(new Map([['t/0', 40]]))
    })
  })

  test('does not keep the end of a transaction waiting until its time is over', async () => {
    let throttleMs = 0
    await inVirtualTime({ throttle: ({ api }) => (api === 'Produce' ? throttleMs : 0) }, async ({ connect, made }) => {
      await made('t')
      const log = await connect({ transactionMs: 5_000 })
      const writer = await log.writer('w')
      throttleMs = 20_000
      const kinds: string[] = []
      for (let i = 0; i < 4; i++) {
        void writer.append('t/0', batchOf('a')).catch(() => {})
        kinds.push((await writer.commit([])).kind)
      }
      expect(kinds).toEqual(['committed', 'committed', 'committed', 'committed'])
    })
  })
})

test('what a broker holds back of any request is waited for, and the others on that socket keep their deadlines from then on', async () => {
  let throttled = ''
  await inVirtualTime({ throttle: ({ api }) => (api === throttled ? 30_000 : 0) }, async ({ clock, connect, made, put }) => {
    await made('t', 2)
    await put('t/0', 'a')
    const log = await connect()
    for (throttled of ['ListOffsets', 'Metadata', 'OffsetCommit', 'OffsetFetch']) {
      const began = clock.mono()
      for (let i = 0; i < 3; i++) {
        expect((await log.offsets(['t/0', 't/1'], 'high')).get('t/0')).toBe(1)
        await log.commitPositions({ group: 'g', identity: undefined, positions: new Map([['t/0', 1]]) })
        expect(await log.committed('g', ['t/0'])).toEqual(new Map([['t/0', 1]]))
        expect((await log.describe(['t'])).length).toBe(1)
      }
      expect(clock.mono() - began).toBeLessThan(200_000)
    }
    const reader = log.reader('committed')
    reader.assign(new Map([['t/0', 0]]))
    expect((await readTo(reader, 1)).values).toEqual(['a'])
  })
})

describeUnless(await whyNotStarted('4.3.1'), 'a real broker with small quotas', () => {
  const READ_RATE = 100_000
  let cluster: KafkaCluster

  beforeAll(async () => {
    cluster = await startKafka({ version: '4.3.1' })
  }, 90_000)
  afterAll(() => cluster?.stop())

  const quota = async (settings: string): Promise<void> => {
    const tool = ['-cp', `${await jarsOf('4.3.1')}/*`, 'kafka.admin.ConfigCommand', '--bootstrap-server', cluster.brokers[0] as string]
    const { status, output } = await run('java', [
      ...tool,
      '--alter',
      '--add-config',
      settings,
      '--entity-type',
      'clients',
      '--entity-default',
    ])
    expect([status, output]).toEqual([0, expect.stringContaining('Completed')])
  }

  test('is read and written to at their pace, without an error', { timeout: 180_000 }, async () => {
    const told: TidemarkError[] = []
    const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs, tell: (warning: TidemarkError) => void told.push(warning) }
    const { log } = await kafka({ brokers: cluster.brokers }).open(parts)
    await log.ensure([{ name: 't', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const before = await log.plainWriter()
    for (let i = 0; i < 40; i++) await before.append('t/0', batchOf(Buffer.alloc(50_000, i)))
    await quota(`producer_byte_rate=25000,consumer_byte_rate=${READ_RATE}`)
    const reader = log.reader('committed')
    reader.assign(new Map([['t/0', 0]]))
    const began = nodeClock.mono()
    expect((await readTo(reader, 40)).others).toEqual([])
    const seconds = (nodeClock.mono() - began) / 1_000
    // A part of a batch at the end of an answer comes twice.
    expect(2_000_000 / seconds).toBeGreaterThan(READ_RATE * 0.6)
    const writer = await log.writer('w/0')
    const kinds: string[] = []
    for (let i = 0; i < 6; i++) {
      const appended = Promise.all([0, 1].map(() => writer.append('t/0', batchOf(Buffer.alloc(40_000)))))
      kinds.push((await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['t/0', i]]) }])).kind)
      await appended
    }
    expect(kinds).toEqual(Array(6).fill('committed'))
    expect(new Set(told.map(({ code }) => code))).toEqual(new Set(['BROKER_THROTTLES']))
    await log.close()
  })
})
