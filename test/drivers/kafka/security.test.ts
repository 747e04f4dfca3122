/** TLS and logins on a broker that allows nothing by default. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaOptions, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { type KafkaCluster, type SecuredAccess, startKafka } from '../../../src/testing/broker/index.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

describeUnless(await whyNotStarted(), 'a secured broker', () => {
  let cluster: KafkaCluster
  let folder: string
  let login: KafkaOptions

  beforeAll(async () => {
    cluster = await startKafka({ security: { users: { retail: 'right-1', other: 'right-2' } } })
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
})
