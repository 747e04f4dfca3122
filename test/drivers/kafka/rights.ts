/** Rights on a broker that allows nothing by default: each that is missing is named, and those that "tidemark acl" prints are enough. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { text as textKey, topology } from '#tidemark'
import { codeOf } from '../../../src/base/errors.ts'
import { type Right, rightsOf } from '../../../src/cli/commands/acl.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaOptions, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { lockOf } from '../../../src/plan/lock.ts'
import { rebuildGroup } from '../../../src/plan/naming.ts'
import { planOf } from '../../../src/plan/planner.ts'
import type { Log } from '../../../src/ports/log.ts'
import { BatchBuilder, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { encodeValue } from '../../../src/runtime/encode.ts'
import { isFinal } from '../../../src/runtime/failure.ts'
import { start } from '../../../src/start.ts'
import { type KafkaCluster, type KafkaVersion, type SecuredAccess, startKafka } from '../../../src/testing/broker/index.ts'
import { retail } from '../../../topologies/retail/index.ts'
import { Item, item } from '../../fixtures/plain.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

export async function kafkaRights(version: KafkaVersion): Promise<void> {
  describeUnless(await whyNotStarted(version), `a Kafka ${version} that allows nothing`, () => {
    let cluster: KafkaCluster
    let admin: Log
    let folder: string
    let login: KafkaOptions

    beforeAll(async () => {
      cluster = await startKafka({ version, security: { users: { retail: 'right-1', partly: 'right-2' } } })
      admin = (await kafka({ brokers: cluster.adminBrokers }).open(parts)).log
      folder = mkdtempSync(join(tmpdir(), 'tidemark-rights-'))
      writeFileSync(join(folder, 'ca.pem'), (cluster.security as SecuredAccess).ca)
      writeFileSync(join(folder, 'retail'), 'right-1')
      writeFileSync(join(folder, 'partly'), 'right-2')
      login = loginOf('retail')
    }, 90_000)
    afterAll(async () => {
      await admin?.close()
      await cluster?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    const loginOf = (username: string): KafkaOptions => ({
      brokers: cluster.brokers,
      ssl: { caFile: join(folder, 'ca.pem') },
      sasl: { mechanism: 'scram-sha-512', username, passwordFile: join(folder, username) },
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
    /** Grants rights, and waits until the broker has heard of them: it hears of them in order. */
    const granted = async (username: string, rights: readonly Right[]): Promise<void> => {
      const last = `heard-${nodeRandom.id()}`
      const sign: Right = { resource: 'topic', name: last, pattern: 'literal', operations: ['READ'], why: 'a sign' }
      await grant(cluster.adminBrokers, `User:${username}`, [...rights, sign])
      const log = await opening(loginOf(username))
      const heard = (): Promise<boolean> =>
        log.describe([last]).then(
          () => true,
          () => false,
        )
      while (!(await heard())) await nodeClock.sleep(20)
      await log.close()
    }

    test('a right that is missing is named', async () => {
      await admin.ensure([{ name: 'closed', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
      const log = await opening(login)
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

    test('a partition that may not be written to is named, and what was on its way beside it is not accused', async () => {
      await admin.ensure(['mine', 'barred'].map((name) => ({ name, partitions: 1, cleanup: 'delete', retentionMs: -1 })))
      const topic = (name: string, operation: string): Right => ({
        resource: 'topic',
        name,
        pattern: 'literal',
        operations: [operation],
        why: '',
      })
      await granted('partly', [
        topic('mine', 'WRITE'),
        topic('barred', 'READ'),
        { resource: 'transactional-id', name: 'w', pattern: 'literal', operations: ['WRITE'], why: '' },
      ])
      const log = await opening(loginOf('partly'))
      const writer = await log.writer('w')
      const [mine, barred] = await Promise.allSettled([
        writer.append('mine/0', batch('k', Buffer.from('v'))),
        writer.append('barred/0', batch('k', Buffer.from('v'))),
      ])
      const reason = (barred as PromiseRejectedResult).reason as Error
      expect(reason).toMatchObject({
        code: 'NOT_AUTHORIZED',
        message: 'this user may not write topic "barred"',
        hint: expect.stringContaining('tidemark acl'),
      })
      expect(isFinal(reason)).toBe(true)
      // Under protocol 2 it may have been written before the other was refused, and is gone with the transaction.
      if (version === '3.9.2' || mine.status === 'rejected') expect(codeOf((mine as PromiseRejectedResult).reason)).toBe('COMMIT_ABORTED')
      expect(await writer.commit([])).toMatchObject({ kind: 'aborted', error: { code: 'NOT_AUTHORIZED' } })
      await log.close()
      // It is aborted at once, and not when its time is over.
      const endOf = async (at: 'stable' | 'high'): Promise<number | undefined> => (await admin.offsets(['mine/0'], at)).get('mine/0')
      while ((await endOf('stable')) !== (await endOf('high'))) await nodeClock.sleep(20)
    })

    // What is asked first names it: who may neither read nor write a topic may not even hear of it.
    const named = (operation: string, on: string): string => `this user may not ${operation.toLowerCase()} ${on}`

    test('without any one of them a worker stops and names that one', { timeout: 240_000 }, async () => {
      const codec = await itemCodec()
      const cases = rightsOf('zzz', planOf(copying('zzz').graph).topics).flatMap(({ resource, name, pattern, operations }) =>
        operations.map((operation) => ({ resource, name, pattern, operation })),
      )
      const outcomes = await Promise.all(
        [undefined, ...cases].map(async (missing, n) => {
          // Each on topics of its own, so that all can be granted at once.
          const app = `app${n}`
          const plan = planOf(copying(app).graph)
          await admin.ensure(['in', 'out'].map((name) => ({ name: `${name}-${app}`, partitions: 1, cleanup: 'delete', retentionMs: -1 })))
          const writer = await admin.plainWriter()
          await writer.append(`in-${app}/0`, batch('good', encodeValue(codec, item(1))))
          await writer.append(`in-${app}/0`, batch('bad', Buffer.from('no item')))
          await writer.close()
          const rights = rightsOf(app, plan.topics).map((right) => ({
            ...right,
            operations: right.operations.filter(
              (operation) =>
                missing === undefined ||
                operation !== missing.operation ||
                right.resource !== missing.resource ||
                right.pattern !== missing.pattern ||
                right.name !== missing.name.replace('zzz', app),
            ),
          }))
          return { app, missing, rights }
        }),
      )
      await granted(
        'partly',
        outcomes.flatMap(({ rights }) => rights),
      )
      for (const { app, missing } of outcomes) {
        const said = await worked(app)
        const where = `${missing?.operation} on ${missing?.resource} ${missing?.name}`
        if (missing === undefined) expect(said).toBe('all was done')
        else expect([where, said]).toEqual([where, expect.stringMatching(expectedWithout(missing, app))])
      }
    })

    /** A worker of one app, up to the end of its work or to what it stopped with. */
    const worked = async (app: string): Promise<string> => {
      try {
        const running = await start(copying(app), { dir: join(folder, app), log: kafka(loginOf('partly')), session: '6s' })
        try {
          const done = async (): Promise<boolean> =>
            ((await admin.committed(app, [`in-${app}/0`])) as Map<string, number>).get?.(`in-${app}/0`) === 2
          while (!(await done())) {
            if (running.app.failure !== undefined) throw running.app.failure
            await nodeClock.sleep(30)
          }
        } finally {
          await running.close()
        }
        // What only a rebuild needs.
        const log = await opening(loginOf('partly'))
        try {
          await log.committed(rebuildGroup(app, 'copy', 2), [`in-${app}/0`])
        } finally {
          await log.close()
        }
        return 'all was done'
      } catch (error) {
        const { message, detail } = error as { message: string; detail?: string }
        return `${message}\n${detail ?? ''}`
      }
    }

    const expectedWithout = (
      { resource, name, pattern, operation }: { resource: string; name: string; pattern: string; operation: string },
      app: string,
    ): RegExp => {
      if (resource === 'group') return new RegExp(named('read', `group "${name.replace('zzz', app)}${pattern === 'prefixed' ? '.*' : ''}"`))
      if (resource === 'transactional-id') return new RegExp(named('write', `transactional id "${app}-.*"`))
      const topic = `topic "${name.replace('zzz', app)}${pattern === 'prefixed' ? '.*' : ''}"`
      if (name === 'in-zzz' && operation === 'READ') return new RegExp(`${named('describe', topic)}[^]*which READ and WRITE imply`)
      // The only one that is not missed.
      if (name === 'out-zzz' && operation === 'READ') return /^all was done$/
      return new RegExp(named(operation, topic))
    }

    const itemCodec = async (): Promise<Parameters<typeof encodeValue>[0]> => {
      await admin.ensure(['in', 'out'].map((name) => ({ name: `${name}-seed`, partitions: 1, cleanup: 'delete', retentionMs: -1 })))
      const running = await start(copying('seed'), { dir: join(folder, 'seed'), log: kafka({ brokers: cluster.adminBrokers }) })
      const codec = await running.access.serdes.values(Item.name, { readers: new Map([['', Item.avro]]), tagged: false, fields: undefined })
      await running.close()
      return codec
    }

    test('with the rights that "tidemark acl" prints, and no others, a worker does all its work', { timeout: 120_000 }, async () => {
      const plan = planOf(retail.graph)
      await admin.ensure(
        plan.topics
          .filter(({ name }) => !name.startsWith('retail-'))
          .map(({ name, partitions, cleanup }) => ({ name, partitions, cleanup, retentionMs: -1 })),
      )
      await granted('retail', rightsOf('retail', plan.topics))
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
}

const copying = (app: string) =>
  topology(app, (flow) => {
    flow.stream(`in-${app}`, { key: textKey, value: Item }, { partitions: 1 }).to('copy', `out-${app}`)
    return []
  })

function batch(key: string, value: Buffer): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  builder.add(0, Buffer.from(key), value)
  return builder.finish()
}

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
