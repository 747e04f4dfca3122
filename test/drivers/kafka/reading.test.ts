/** What a broker may answer to who reads: what passes by itself costs nothing but time, and what does not ends one partition, by its name. */
import { describe, expect, test } from 'vitest'
import { READ_VERDICTS, readVerdict } from '../../../src/drivers/kafka/reading.ts'
import { KAFKA_ERROR as E, KAFKA_ERRORS, kafkaError } from '../../../src/drivers/kafka/wire/errors.ts'
import type { Fetched, Reader } from '../../../src/ports/log.ts'
import type { Topic } from '../../../src/testing/kafka-sim/cluster.ts'
import { inVirtualTime, readTo, type Virtual } from './virtual.ts'

const named = (verdict: string): string[] =>
  [...READ_VERDICTS].filter(([, each]) => each === verdict).map(([code]) => kafkaError(code).name)

/** Two partitions with two records each, of which the first ails for a while after its first record has been read. */
async function ailing(
  { error, forMs, api = 'Fetch', then = E.NONE }: { error: number; forMs: number; api?: 'Fetch' | 'ListOffsets'; then?: number },
  see: (world: Virtual & { readonly reader: Reader; readonly began: number }) => Promise<void>,
): Promise<void> {
  let ill = false
  let began = 0
  await inVirtualTime(
    {
      nodes: 3,
      ailing: (of, partition) => {
        if (!ill || of !== api || partition !== 't/0') return E.NONE
        return world !== undefined && world.clock.mono() - began < forMs ? error : then
      },
    },
    async (virtual) => {
      world = virtual
      await virtual.made('t', 2)
      await virtual.put('t/0', 'a')
      const log = await virtual.connect()
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      expect((await readTo(reader, 1)).values).toEqual(['a'])
      await virtual.put('t/0', 'b')
      ill = true
      began = virtual.clock.mono()
      await see({ ...virtual, reader, began })
      await log.close()
    },
  )
}
let world: Virtual | undefined

async function next(reader: Reader): Promise<Fetched> {
  for (;;) for (const fetched of await reader.poll({ bytes: 1_000, waitMs: 100 })) return fetched
}

describe('an error that passes by itself', () => {
  test.each([...named('again'), ...named('moved')])('%s for three seconds is not heard of at all', async (name) => {
    const error = KAFKA_ERRORS.find((each) => each.name === name)?.code as number
    // A topic that nobody knows is looked for elsewhere, and metadata say that it is there.
    await ailing({ error, forMs: 3_000 }, async ({ reader, told, clock, began }) => {
      const { values, others } = await readTo(reader, 2)
      expect([values, others, told]).toEqual([['b'], [], []])
      expect(clock.mono() - began).toBeLessThan(4_500)
    })
  })

  test('a number that is newer than this program is one of them', async () => {
    await ailing({ error: 4_711, forMs: 3_000 }, async ({ reader }) => {
      expect((await readTo(reader, 2)).values).toEqual(['b'])
    })
  })

  test.each(['UNKNOWN_SERVER_ERROR', 'KAFKA_STORAGE_ERROR', 'NOT_LEADER_OR_FOLLOWER'] as const)(
    '%s for five minutes is told after ten seconds and then once a minute, with the number and the broker, and reading goes on by itself',
    async (name) => {
      await ailing({ error: E[name], forMs: 300_000 }, async ({ reader, began, clock }) => {
        const { values, others } = await readTo(reader, 2)
        expect(values).toEqual(['b'])
        expect(others).toHaveLength(5)
        for (const each of others)
          expect(each).toMatchObject({ kind: 'failed', error: { code: 'PARTITION_UNREADABLE', detail: expect.stringContaining(name) } })
        expect(clock.mono() - began).toBeLessThan(303_000)
      })
    },
  )

  test('keeps nobody else from being read', async () => {
    await ailing({ error: E.UNKNOWN_SERVER_ERROR, forMs: 60_000 }, async ({ reader, put, clock, began }) => {
      reader.assign(
        new Map([
          ['t/0', 1],
          ['t/1', 0],
        ]),
      )
      for (let i = 1; i <= 5; i++) {
        await put('t/1', `${i}`)
        expect(await next(reader)).toMatchObject({ kind: 'batches', partition: 't/1', next: i })
      }
      expect(clock.mono() - began).toBeLessThan(5_000)
    })
  })

  test('of where a log ends is asked for again until it is told', async () => {
    await ailing({ error: E.UNKNOWN_SERVER_ERROR, forMs: 5_000, api: 'ListOffsets' }, async ({ connect }) => {
      expect(await (await connect()).offsets(['t/0', 't/1'], 'high')).toEqual(
        new Map([
          ['t/0', 2],
          ['t/1', 0],
        ]),
      )
    })
  })
})

describe('an error that does not pass', () => {
  test.each(named('refused'))('%s ends the partition at once', async (name) => {
    const error = KAFKA_ERRORS.find((each) => each.name === name)?.code as number
    await ailing({ error, forMs: 1_000_000 }, async ({ reader, clock, began }) => {
      const right = /AUTHORIZATION/.test(name)
      expect(await next(reader)).toMatchObject({
        kind: 'failed',
        partition: 't/0',
        error: { code: right ? 'NOT_AUTHORIZED' : 'BROKER_ERROR' },
      })
      expect(clock.mono() - began).toBeLessThan(1_000)
    })
  })

  test('a batch that is damaged at the broker is asked for again for some seconds, of whoever leads by then, and is damage if it stays so', async () => {
    await ailing({ error: E.CORRUPT_MESSAGE, forMs: 1_000 }, async ({ reader }) => {
      expect(await readTo(reader, 2)).toEqual({ values: ['b'], others: [] })
    })
    await ailing({ error: E.CORRUPT_MESSAGE, forMs: 1_000_000 }, async ({ reader, clock, began }) => {
      expect(await next(reader)).toMatchObject({
        kind: 'failed',
        error: { code: 'LOG_CORRUPT', detail: expect.stringContaining('CORRUPT_MESSAGE') },
      })
      expect(clock.mono() - began).toBeLessThan(10_000)
    })
  })

  test('a position that the leader says is out of range, where it is not, is asked for again, and told after a while', async () => {
    await ailing({ error: E.OFFSET_OUT_OF_RANGE, forMs: 30_000 }, async ({ reader }) => {
      const { values, others } = await readTo(reader, 2)
      expect(values).toEqual(['b'])
      expect(others).toMatchObject([{ kind: 'failed', error: { code: 'PARTITION_UNREADABLE' } }])
    })
  })
})

describe('a topic that was deleted and made again', () => {
  const readOn = async (see: (world: Virtual & { readonly reader: Reader; readonly heard: Fetched[] }) => Promise<void>): Promise<void> =>
    await inVirtualTime({ nodes: 3 }, async (virtual) => {
      await virtual.made('t')
      await virtual.put('t/0', 'a')
      const log = await virtual.connect()
      const reader = log.reader('committed')
      reader.assign(new Map([['t/0', 0]]))
      const heard: Fetched[] = []
      const stop = new AbortController()
      const reading = (async () => {
        while (!stop.signal.aborted) heard.push(...(await reader.poll({ bytes: 1_000, waitMs: 100 })))
      })()
      await virtual.clock.sleep(15_000)
      await see({ ...virtual, reader, heard })
      stop.abort()
      await reading
      await log.close()
    })

  test('is told of within some seconds of the next look', async () => {
    await readOn(async ({ kafka, clock, heard }) => {
      kafka.topics.delete('t')
      kafka.createTopic('t', 1, new Map())
      await clock.sleep(20_000)
      expect(heard.slice(1)).toContainEqual(
        expect.objectContaining({ kind: 'failed', error: expect.objectContaining({ code: 'TOPIC_RECREATED' }) }),
      )
    })
  })

  test.each([
    ['one broker', [2]],
    ['all brokers', [1, 2, 3]],
  ])('before anybody read it is not told of, although %s still has the old one for a moment', async (_, nodes) => {
    await readOn(async ({ kafka, clock, put, heard }) => {
      const now = kafka.topics.get('t') as Topic
      const before = { ...now, id: 'AAAAAAAAAAAAAAAAAAAAAB' }
      for (let round = 0; round < 3; round++) {
        const until = kafka.timeline.now + 13_000
        const from = kafka.timeline.now + 9_500
        kafka.lagging = (node) => (nodes.includes(node) && kafka.timeline.now > from && kafka.timeline.now < until ? before : undefined)
        await clock.sleep(15_000)
        await put('t/0', 'b')
        await clock.sleep(5_000)
      }
      expect(heard.map(({ kind }) => kind)).toEqual(['batches', 'batches', 'batches', 'batches'])
    })
  })
})

test('every number of the protocol has a verdict, and those that a second try could not harm are none that ends a partition', () => {
  for (const { code, retriable } of KAFKA_ERRORS) {
    if (code === E.NONE) continue
    if (retriable) expect([code, readVerdict(code)]).not.toEqual([code, 'refused'])
  }
})
