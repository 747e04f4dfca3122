/** TLS, logins and rights on a broker that allows nothing by default. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Right, rightsOf } from '../../../src/cli/commands/acl.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaOptions, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { lockOf } from '../../../src/plan/lock.ts'
import { planOf } from '../../../src/plan/planner.ts'
import type { Log } from '../../../src/ports/log.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import { start } from '../../../src/start.ts'
import { type KafkaCluster, type SecuredAccess, startKafka } from '../../../src/testing/broker/index.ts'
import { retail } from '../../../topologies/retail/index.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

describeUnless(await whyNotStarted(), 'a secured broker', () => {
  let cluster: KafkaCluster
  let admin: Log
  let folder: string
  let login: KafkaOptions

  beforeAll(async () => {
    cluster = await startKafka({ security: { users: { retail: 'right-1', other: 'right-2' } } })
    admin = (await kafka({ brokers: cluster.adminBrokers }).open(parts)).log
    folder = mkdtempSync(join(tmpdir(), 'tidemark-security-'))
    writeFileSync(join(folder, 'ca.pem'), (cluster.security as SecuredAccess).ca)
    writeFileSync(join(folder, 'password'), 'right-1\n')
    login = {
      brokers: cluster.brokers,
      ssl: { caFile: join(folder, 'ca.pem') },
      sasl: { mechanism: 'scram-sha-512', username: 'retail', passwordFile: join(folder, 'password') },
    }
  }, 90_000)
  afterAll(async () => {
    await admin?.close()
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const opening = (options: KafkaOptions): Promise<Log> =>
    kafka(options)
      .open(parts)
      .then(({ log }) => log)
  const thrown = async (work: Promise<unknown>): Promise<{ code: string; text: string }> => {
    try {
      await work
    } catch (error) {
      const { code, message, detail, hint } = error as { code: string; message: string; detail?: string; hint?: string }
      return { code, text: [message, detail, hint].join('\n') }
    }
    throw new Error('nothing was thrown')
  }

  test.for(['scram-sha-512', 'scram-sha-256', 'plain'] as const)('lets us in with %s', async (mechanism) => {
    const log = await opening({ ...login, sasl: { ...login.sasl, mechanism } as NonNullable<KafkaOptions['sasl']> })
    expect(await log.describe()).toEqual([])
    await log.close()
  })

  test('each way to be kept out has its sentence, and none tells the password', async () => {
    writeFileSync(join(folder, 'wrong'), 'not-the-password')
    const wrong = await thrown(
      opening({ ...login, sasl: { mechanism: 'scram-sha-512', username: 'retail', passwordFile: join(folder, 'wrong') } }),
    )
    expect(wrong).toMatchObject({ code: 'AUTHENTICATION_FAILED', text: expect.stringContaining('refuses the user or the password') })
    expect(wrong.text).not.toContain('not-the-password')
    const { sasl: _, ...anonymous } = login
    expect(await thrown(opening({ ...anonymous, connectMs: 1_000 }))).toMatchObject({
      code: 'BROKER_UNREACHABLE',
      text: expect.stringContaining('should log in ("sasl")'),
    })
    expect(await thrown(opening({ ...login, ssl: true }))).toMatchObject({
      code: 'TLS_FAILED',
      text: expect.stringContaining('ssl.caFile'),
    })
    expect(await thrown(opening({ brokers: cluster.brokers, connectMs: 500 }))).toMatchObject({
      code: 'BROKER_UNREACHABLE',
      text: expect.stringContaining('Does this listener want TLS'),
    })
    expect(await thrown(opening({ ...login, brokers: cluster.adminBrokers }))).toMatchObject({
      code: 'BROKER_UNREACHABLE',
      text: expect.stringContaining('Leave "ssl" out'),
    })
    expect(
      await thrown(opening({ ...login, sasl: { mechanism: 'scram-sha-512', username: 'retail', passwordFile: '/nowhere' } })),
    ).toMatchObject({
      code: 'OPTION_INVALID',
      text: expect.stringContaining('sasl.passwordFile'),
    })
  })

  test('a right that is missing is named', async () => {
    await admin.ensure([{ name: 'closed', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const log = await opening({
      ...login,
      sasl: { mechanism: 'scram-sha-512', username: 'retail', passwordFile: join(folder, 'password') },
    })
    const refused = {
      describe: await thrown(log.describe(['closed'])),
      ensure: await thrown(log.ensure([{ name: 'mine', partitions: 1, cleanup: 'delete', retentionMs: -1 }])),
      plainWriter: await thrown(log.plainWriter()),
      offsets: await thrown(log.offsets(['closed/0'], 'high')),
      writer: await thrown(log.writer('retail-0')),
      committed: await thrown(log.committed('retail', ['closed/0'])),
    }
    for (const { code } of Object.values(refused)) expect(code).toBe('NOT_AUTHORIZED')
    expect(refused.describe.text).toContain('topic "closed"')
    expect(refused.ensure.text).toContain('topic "mine"')
    expect(refused.writer.text).toContain('transactional id "retail-0"')
    expect(refused.committed.text).toContain('group "retail"')
    const member = await log.join('retail', { instance: 'i', sessionMs: 6_000, userData: () => Buffer.alloc(0), assign: () => new Map() })
    expect(await thrown(member.next(new AbortController().signal))).toMatchObject({
      code: 'NOT_AUTHORIZED',
      text: expect.stringContaining('group "retail"'),
    })
    await log.close()
  })

  test('with the rights that "tidemark acl" prints, and no others, a worker does all its work', { timeout: 120_000 }, async () => {
    const plan = planOf(retail.graph)
    await admin.ensure(
      plan.topics
        .filter(({ name }) => !name.startsWith('retail-'))
        .map(({ name, partitions, cleanup }) => ({ name, partitions, cleanup, retentionMs: -1 })),
    )
    await grant(cluster.adminBrokers, 'User:retail', rightsOf('retail', plan.topics))
    // Brokers hear of rights a moment after they were granted.
    const log = await opening(login)
    const known = (): Promise<boolean> =>
      log.describe([...new Set(plan.topics.map(({ name }) => name))]).then(
        () => true,
        () => false,
      )
    while (!(await known())) await nodeClock.sleep(50)
    await log.close()
    const running = await start(retail, { dir: folder, log: kafka(login), lock: lockOf(plan) })
    try {
      while (!running.app.ready) {
        if (running.app.failure !== undefined) throw running.app.failure
        await nodeClock.sleep(50)
      }
      // Nobody can read such a fact, so it becomes a dead letter: read from a source, written and committed exactly once.
      const builder = new BatchBuilder({ codecs: nativeCodecs })
      builder.add(0, Buffer.from('no key'), Buffer.from('no fact'))
      const writer = await admin.plainWriter()
      await writer.append('orders.lifecycle.v1/2', builder.finish())
      const dead = 'retail-order-lifecycle-g1-dead/0'
      while (((await admin.offsets([dead], 'stable')).get(dead) as number) === 0) {
        if (running.app.failure !== undefined) throw running.app.failure
        await nodeClock.sleep(50)
      }
      await running.settled()
      expect(await admin.committed('retail', ['orders.lifecycle.v1/2'])).toEqual(new Map([['orders.lifecycle.v1/2', 1]]))
    } finally {
      await running.close()
    }
  })
})

const TYPES = { topic: AclResourceTypes.TOPIC, group: AclResourceTypes.GROUP, 'transactional-id': AclResourceTypes.TRANSACTIONAL_ID }

async function grant(brokers: readonly string[], principal: string, rights: readonly Right[]): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createAcls({
    acl: rights.flatMap(({ resource, name, pattern, operations }) =>
      operations.map((operation) => ({
        resourceType: TYPES[resource],
        resourceName: name,
        resourcePatternType: pattern === 'prefixed' ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
        principal,
        host: '*',
        operation: AclOperationTypes[operation as keyof typeof AclOperationTypes],
        permissionType: AclPermissionTypes.ALLOW,
      })),
    ),
  })
  await admin.disconnect()
}
