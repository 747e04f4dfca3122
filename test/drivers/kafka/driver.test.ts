/** What the driver promises on a real broker beyond what the log suite can ask of every driver. */
import { expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { Cluster } from '../../../src/drivers/kafka/cluster.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { deleteTopics } from '../../../src/drivers/kafka/wire/delete-topics.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { Assignment, Fetched, GroupEvent, GroupMember, JoinOptions, Log, Membership } from '../../../src/ports/log.ts'
import { BatchBuilder, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { describeUnless, sharedKafka } from '../../kafka/shared.ts'

const { brokers, reason } = await sharedKafka()
const BROKERS = brokers ?? []

describeUnless(reason, 'the Kafka driver', () => {
  let names = 0
  const name = (what: string): string => `${what}-${nodeRandom.id().slice(0, 8)}-${names++}`
  const connect = async (clock: Clock = nodeClock): Promise<Log> =>
    (await kafka({ brokers: BROKERS }).open({ clock, random: nodeRandom, codecs: nativeCodecs })).log
  const made = async (log: Log, partitions = 1): Promise<string> => {
    const topic = name('topic')
    await log.ensure([{ name: topic, partitions, cleanup: 'delete', retentionMs: -1 }])
    return topic
  }

  test('a topic that was deleted and made again is answered as another one, not as the rest of the old one', async () => {
    const log = await connect()
    const topic = await made(log)
    const writer = await log.plainWriter()
    for (const value of ['a', 'b', 'c']) await writer.append(`${topic}/0`, batch(value))
    const reader = log.reader('committed')
    reader.assign(new Map([[`${topic}/0`, 0]]))
    for (let next = 0; next < 3; )
      for (const got of await reader.poll({ bytes: 1, waitMs: 250 })) if (got.kind === 'batches') next = got.next
    const [before] = await log.describe([topic])
    await remove(topic)
    await log.ensure([{ name: topic, partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const [after] = await log.describe([topic])
    expect(after?.id).not.toBe(before?.id)
    let answer: Fetched | undefined
    while (answer === undefined) answer = (await reader.poll({ bytes: 1, waitMs: 250 }))[0]
    expect(answer).toMatchObject({ kind: 'failed', error: { code: 'TOPIC_RECREATED' } })
    await log.close()
  })

  test('a topic that was deleted is unknown to readers and writers', async () => {
    const log = await connect()
    const topic = await made(log)
    const writer = await log.plainWriter()
    await writer.append(`${topic}/0`, batch('a'))
    const reader = log.reader('committed')
    reader.assign(new Map([[`${topic}/0`, 1]]))
    expect(await reader.poll({ bytes: 1, waitMs: 10 })).toEqual([])
    await remove(topic)
    await expect(writer.append(`${topic}/0`, batch('b'))).rejects.toMatchObject({ code: 'TOPIC_UNKNOWN' })
    let answer: Fetched | undefined
    while (answer === undefined) answer = (await reader.poll({ bytes: 1, waitMs: 250 }))[0]
    expect(answer).toMatchObject({ kind: 'failed', error: { code: 'TOPIC_UNKNOWN' } })
    await log.close()
  })

  test('a plain writer goes on after a record that the broker refused', async () => {
    const log = await connect()
    const compacted = name('topic')
    await log.ensure([{ name: compacted, partitions: 1, cleanup: 'compact', retentionMs: -1 }])
    const writer = await log.plainWriter()
    await writer.append(`${compacted}/0`, batch('a'))
    await expect(writer.append(`${compacted}/0`, batch('no key', null))).rejects.toMatchObject({ code: 'KEY_INVALID' })
    await writer.append(`${compacted}/0`, batch('b'))
    expect(await valuesOf(log, `${compacted}/0`)).toEqual(['a', 'b'])
    await log.close()
  })

  test('the first records of topics that were just made keep their order, however many are on their way', async () => {
    const log = await connect()
    const writer = await log.plainWriter()
    for (let round = 0; round < 10; round++) {
      const topic = await made(log, 3)
      const values = Array.from({ length: 60 }, (_, i) => `${i}`)
      await Promise.all(values.map((value, i) => writer.append(`${topic}/${i % 3}`, batch(value))))
      for (const partition of [0, 1, 2]) {
        expect(await valuesOf(log, `${topic}/${partition}`)).toEqual(values.filter((_, i) => i % 3 === partition))
      }
    }
    await log.close()
  })

  test('a batch that is larger than the broker takes is refused with the setting that says so', async () => {
    const log = await connect()
    const topic = await made(log)
    const writer = await log.writer(name('writer'))
    await expect(writer.append(`${topic}/0`, batch('x'.repeat(1_500_000)))).rejects.toMatchObject({
      code: 'BATCH_LIMIT',
      hint: expect.stringContaining('max.message.bytes'),
    })
    expect((await writer.commit([])).kind).toBe('aborted')
    await log.close()
  })

  test('a zombie that wakes up hears that it is none any more, and cannot commit what it had', async () => {
    const frozen = freezable()
    const [zombie, other] = [await connect(frozen.clock), await connect()]
    const topic = await made(other, 2)
    const group = name('group')
    const asleep = await zombie.join(group, joining(topic))
    const before = await assigned(asleep)
    expect(before.partitions).toHaveLength(2)
    const writer = await zombie.writer(name('writer'))
    await writer.append(`${topic}/0`, batch('of the zombie'))
    frozen.stop()
    // The others get what it had, once it was silent for its session.
    const awake = await other.join(group, joining(topic))
    expect((await assigned(awake)).partitions).toHaveLength(2)
    const outcome = await writer.commit([{ group, identity: before.identity, positions: new Map([[`${topic}/0`, 1]]) }])
    expect(outcome).toMatchObject({ kind: 'rejected', error: { code: 'COMMIT_REJECTED' } })
    expect(await other.committed(group, [`${topic}/0`])).toEqual(new Map())
    expect(await valuesOf(other, `${topic}/0`)).toEqual([])
    frozen.go()
    expect(await asleep.next(new AbortController().signal)).toMatchObject({ kind: 'lost', error: { code: 'MEMBER_LOST' } })
    expect(asleep.heartbeatAge()).toBe(Number.POSITIVE_INFINITY)
    await zombie.close()
    await other.close()
  })

  test('a static member that was replaced is told, and has nothing more to hear', async () => {
    const [first, second] = [await connect(), await connect()]
    const topic = await made(first)
    const group = name('group')
    const old = await first.join(group, joining(topic, { instance: 'one' }))
    await assigned(old)
    const fresh = await second.join(group, joining(topic, { instance: 'one' }))
    await assigned(fresh)
    const never = new AbortController().signal
    expect(await old.next(never)).toMatchObject({ kind: 'lost', error: { code: 'MEMBER_REPLACED' } })
    await expect(old.next(never)).rejects.toMatchObject({ code: 'MEMBER_REPLACED' })
    // Its leaving takes nothing from the one that has its name now.
    await old.leave({ keep: false })
    fresh.rejoin()
    expect((await assigned(fresh)).partitions).toHaveLength(2)
    await first.close()
    await second.close()
  })

  test('a follower whose user data did not change is heard all the same when it asks to rejoin', async () => {
    const [first, second] = [await connect(), await connect()]
    const topic = await made(first, 2)
    const group = name('group')
    const a = await first.join(group, joining(topic))
    await assigned(a)
    const b = await second.join(group, joining(topic))
    const [one, two] = await Promise.all([assigned(a), assigned(b)])
    b.rejoin()
    const [three, four] = await Promise.all([assigned(a), assigned(b)])
    expect(three.identity.generation).toBeGreaterThan(one.identity.generation)
    expect(four.identity.generation).toBeGreaterThan(two.identity.generation)
    await first.close()
    await second.close()
  })

  test('an assignor that throws is the end of that member only', async () => {
    const log = await connect()
    const topic = await made(log)
    const group = name('group')
    let broken = true
    const member = await log.join(
      group,
      joining(topic, {
        assign: (members) => {
          if (broken) throw new Error('out of luck')
          return dealOut(members, topic, 1)
        },
      }),
    )
    await nodeClock.sleep(200)
    broken = false
    expect((await assigned(member)).partitions).toHaveLength(1)
    await log.close()
  })

  test('brokers that are not there, and addresses that are none, are told at once', async () => {
    const open = (broker: string): Promise<unknown> =>
      (async () => await kafka({ brokers: [broker] }).open({ clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }))()
    await expect(open('127.0.0.1:1')).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      hint: expect.stringContaining('Nothing listens'),
    })
    for (const broker of ['', 'localhost', 'localhost:', 'localhost:0', 'localhost:65536', 'a b:9092']) {
      await expect(open(broker)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    }
  })
})

async function remove(topic: string): Promise<void> {
  const seeds = BROKERS.map((broker) => ({ host: broker.split(':')[0] as string, port: Number(broker.split(':')[1]) }))
  const link = { clientId: 'test', ssl: undefined, sasl: undefined, connectMs: 3_000 }
  const cluster = new Cluster({ seeds, link, clock: nodeClock, random: nodeRandom })
  await cluster.ask(deleteTopics, { topics: [{ name: topic }], timeoutMs: 10_000 })
  while ((await cluster.look([topic]))[0]?.error === 0) await nodeClock.sleep(20)
  cluster.close()
}

/** A clock that can stand still, as it does for a process that is stopped. */
function freezable(): { clock: Clock; stop: () => void; go: () => void } {
  let thawed = Promise.resolve()
  let go = (): void => {}
  const clock: Clock = {
    ...nodeClock,
    sleep: async (ms, signal) => {
      await nodeClock.sleep(ms, signal)
      await thawed
    },
  }
  return {
    clock,
    stop: () => {
      thawed = new Promise((resolve) => {
        go = resolve
      })
    },
    go: () => go(),
  }
}

function joining(topic: string, more: Partial<JoinOptions> = {}): JoinOptions {
  const assign = (members: readonly GroupMember[]): ReadonlyMap<string, Assignment> => dealOut(members, topic, 2)
  return { instance: undefined, sessionMs: 1_500, userData: () => Buffer.from('same'), assign, ...more }
}

function dealOut(members: readonly GroupMember[], topic: string, partitions: number): ReadonlyMap<string, Assignment> {
  return new Map(
    members.map(({ member }, i) => {
      const own = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => partition % members.length === i)
      return [member, { partitions: own.map((partition) => ({ topic, partition })), userData: Buffer.alloc(0) }]
    }),
  )
}

async function assigned(membership: Membership): Promise<Extract<GroupEvent, { kind: 'assigned' }>> {
  for (;;) {
    const event = await membership.next(new AbortController().signal)
    if (event.kind === 'assigned') return event
    if (event.kind === 'revoking') event.done()
  }
}

function batch(value: string, key: string | null = 'key'): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  builder.add(0, key === null ? null : Buffer.from(key), Buffer.from(value))
  return builder.finish()
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
