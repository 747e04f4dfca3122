/**
 * Topics that somebody else has changed, on a real broker: what would lose or falsify what was recorded is refused with both values, by a start
 * and by "topics"; "topics apply" sets right what can be, and says no to the rest before it changes anything.
 */
import { ConfigResourceTypes, type ITopicConfig, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { kafka } from '../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../src/drivers/node/index.ts'
import type { Log, TopicSpec } from '../../src/ports/log.ts'
import { describeUnless, type OwnKafka, startOwn, whyNoneOwn } from '../kafka/shared.ts'
import { type Ended, inProcess, SHOP } from './tidemark.ts'

const HOUR_MS = '3600000'

describeUnless(await whyNoneOwn(), 'topics of a Kafka', () => {
  let cluster: OwnKafka
  let log: Log
  let names = 0
  const words = (): string[] => ['--brokers', cluster.brokers.join(',')]
  const tidemark = (what: string, ...more: string[]): Promise<Ended> => inProcess(['topics', what, SHOP, ...words(), ...more])

  beforeAll(async () => {
    cluster = await startOwn()
    log = (await kafka({ brokers: cluster.brokers }).open({ clock: nodeClock, random: nodeRandom, codecs: nativeCodecs })).log
  }, 90_000)
  afterAll(async () => {
    await log?.close()
    await cluster?.stop()
  })

  const asAdmin = async <T>(work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> => {
    const admin = new Kafka({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }
  /** A topic as somebody else makes it. */
  const made = async (settings: Readonly<Record<string, string>>): Promise<string> => {
    const topic = `foreign-${names++}`
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await asAdmin((admin) =>
      admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries } satisfies ITopicConfig], waitForLeaders: true }),
    )
    return topic
  }
  const set = (topic: string, settings: Readonly<Record<string, string>>): Promise<unknown> =>
    asAdmin((admin) =>
      admin.alterConfigs({
        validateOnly: false,
        resources: [
          {
            type: ConfigResourceTypes.TOPIC,
            name: topic,
            configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
          },
        ],
      }),
    )

  const INBOX = { partitions: 1, cleanup: 'delete', retentionMs: -1 } as const
  const CHANGELOG = { partitions: 1, cleanup: 'compact', retentionMs: -1, tombstoneMs: 600_000 } as const
  type Kind = Omit<TopicSpec, 'name'>

  test.each<[what: string, kind: Kind, settings: Record<string, string>, text: string, alterable: boolean]>([
    ['compacts facts', INBOX, { 'cleanup.policy': 'compact' }, 'Its cleanup.policy is "compact" instead of "delete".', false],
    [
      'compacts facts and deletes them',
      INBOX,
      { 'cleanup.policy': 'compact,delete', 'retention.ms': '-1' },
      'Its cleanup.policy is "compact,delete" instead of "delete".',
      false,
    ],
    ['deletes rows', CHANGELOG, { 'cleanup.policy': 'delete' }, 'Its cleanup.policy is "delete" instead of "compact".', false],
    [
      'deletes rows that did not change lately',
      CHANGELOG,
      { 'cleanup.policy': 'delete,compact', 'delete.retention.ms': '600000' },
      'Its cleanup.policy is "compact,delete" instead of "compact".',
      false,
    ],
    ['keeps facts for an hour', INBOX, { 'retention.ms': HOUR_MS }, `Its retention.ms is ${HOUR_MS} instead of -1.`, true],
    [
      'keeps a bounded size of facts',
      INBOX,
      { 'retention.ms': '-1', 'retention.bytes': '1000000' },
      'Its retention.bytes is 1000000 instead of -1.',
      true,
    ],
    [
      'forgets deletions early',
      CHANGELOG,
      { 'cleanup.policy': 'compact', 'delete.retention.ms': '60000' },
      'Its delete.retention.ms is 60000 instead of 600000.',
      true,
    ],
    [
      'writes the broker’s clock over the facts’ times',
      INBOX,
      { 'retention.ms': '-1', 'message.timestamp.type': 'LogAppendTime' },
      'Its message.timestamp.type is LogAppendTime instead of CreateTime.',
      true,
    ],
  ])('one of ours that %s is refused, and set right where that can be done', async (_what, kind, settings, text, alterable) => {
    const spec = { ...kind, name: await made(settings) }
    await expect(log.ensure([spec])).rejects.toMatchObject({
      code: 'TOPIC_MISMATCH',
      message: `topic "${spec.name}" exists with other properties`,
      detail: text,
      hint: expect.stringContaining(alterable ? 'topics apply' : 'does not come back by changing it'),
    })
    const altered = log.ensure([spec], { alter: true })
    if (!alterable) {
      await expect(altered).rejects.toMatchObject({ code: 'TOPIC_MISMATCH', detail: text })
      return
    }
    await altered
    expect(await log.ensure([spec])).toEqual(await log.describe([spec.name]))
  })

  test('one of others is only asked for what reading and writing it needs', async () => {
    const brief = await made({ 'retention.ms': HOUR_MS, 'message.timestamp.type': 'LogAppendTime' })
    expect(await log.ensure([{ ...INBOX, name: brief, owner: 'theirs' }])).toMatchObject([{ name: brief, retentionMs: 3_600_000 }])
    const compacted = await made({ 'cleanup.policy': 'compact' })
    await expect(log.ensure([{ ...INBOX, name: compacted, owner: 'theirs' }])).rejects.toMatchObject({ code: 'TOPIC_MISMATCH' })
    expect(await log.ensure([{ ...INBOX, name: compacted, cleanup: 'compact', owner: 'theirs' }])).toMatchObject([{ cleanup: 'compact' }])
  })

  test('those that we make have all that is asked of them', async () => {
    const name = `foreign-${names++}`
    const [topic] = await log.ensure([{ ...INBOX, name }])
    expect(topic?.settings).toEqual({
      'retention.bytes': '-1',
      'message.timestamp.type': 'CreateTime',
      'message.timestamp.after.max.ms': '9223372036854775807',
      'message.timestamp.before.max.ms': '9223372036854775807',
    })
  })

  test('"topics" says what differs with both values, sets right what can be, and changes nothing where something cannot', {
    timeout: 60_000,
  }, async () => {
    expect(await tidemark('apply')).toMatchObject({ code: 0 })
    expect(await tidemark('verify')).toMatchObject({ code: 0 })
    const plan = JSON.parse((await tidemark('plan', '--json')).out) as { topics: { name: string; role: string; cleanup: string }[] }
    const kept = plan.topics.find(({ role }) => role === 'dead') as { name: string }
    const rows = plan.topics.find(({ role }) => role === 'changelog') as { name: string }
    const source = plan.topics.find(({ role }) => role === 'source') as { name: string }
    // A setting of a source that is its owner's business.
    await set(source.name, { 'retention.ms': HOUR_MS })
    await set(kept.name, { 'retention.ms': HOUR_MS })
    await set(rows.name, { 'cleanup.policy': 'compact,delete', 'delete.retention.ms': '604800000' })
    const differs = await tidemark('verify')
    expect(differs.code).toBe(2)
    expect(differs.out).toMatch(new RegExp(`^${kept.name} .* differs: its retention.ms is ${HOUR_MS} instead of -1`, 'm'))
    expect(differs.out).toMatch(new RegExp(`^${rows.name} .* differs: its cleanup.policy is "compact,delete" instead of "compact"`, 'm'))
    expect(differs.out).toMatch(new RegExp(`^${source.name} .* is there$`, 'm'))
    const refused = await tidemark('apply')
    expect(refused.code).toBe(78)
    expect(refused.err).toMatch(
      new RegExp(
        `^TOPIC_MISMATCH: .*\\n- ${rows.name}: its cleanup.policy is "compact,delete" instead of "compact".*\\nhint: Nothing was changed`,
      ),
    )
    expect((await tidemark('verify')).out).toContain(`its retention.ms is ${HOUR_MS}`)
    await set(rows.name, { 'cleanup.policy': 'compact', 'delete.retention.ms': '604800000' })
    const planned = await tidemark('plan')
    expect(planned.out).toMatch(new RegExp(`^${kept.name} .* would be altered: its retention.ms is ${HOUR_MS} instead of -1`, 'm'))
    const json = JSON.parse((await tidemark('plan', '--json')).out) as { topics: { name: string; differ: object[] }[] }
    expect(json.topics.find(({ name }) => name === kept.name)?.differ).toContainEqual({
      setting: 'retention.ms',
      is: HOUR_MS,
      wanted: '-1',
      alterable: true,
    })
    expect((await tidemark('apply')).out).toMatch(new RegExp(`^${kept.name} .* altered: its retention.ms is ${HOUR_MS} instead of -1`, 'm'))
    expect(await tidemark('verify')).toMatchObject({ code: 0 })
  })
})
