/** A login with a token (SASL OAUTHBEARER), on a broker that takes unsigned ones and ends every session after two seconds. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaOptions, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import { encodeValue } from '../../../src/runtime/encode.ts'
import { start } from '../../../src/start.ts'
import { type KafkaCluster, type SecuredAccess, startKafka, unsignedToken } from '../../../src/testing/broker/index.ts'
import { Item, item } from '../../fixtures/plain.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }
const SESSION_MS = 2_000

describeUnless(await whyNotStarted(), 'a login with a token', () => {
  let cluster: KafkaCluster
  let folder: string

  beforeAll(async () => {
    cluster = await startKafka({
      security: { users: {}, tokens: true, superUsers: ['retail'] },
      config: { 'connections.max.reauth.ms': String(SESSION_MS) },
    })
    folder = mkdtempSync(join(tmpdir(), 'tidemark-oauth-'))
    writeFileSync(join(folder, 'ca.pem'), (cluster.security as SecuredAccess).ca)
  }, 90_000)
  afterAll(async () => {
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const options = (token: () => Promise<string>): KafkaOptions => ({
    brokers: cluster.brokers,
    ssl: { caFile: join(folder, 'ca.pem') },
    sasl: { mechanism: 'oauthbearer', token },
    connectMs: 1_000,
  })
  const opening = async (token: () => Promise<string>): Promise<Log> => (await kafka(options(token)).open(parts)).log

  /** The error with which nobody gets in, and all that could ever be printed of it. */
  async function refusal(token: () => Promise<string>): Promise<{ readonly error: unknown; readonly printed: string }> {
    try {
      await opening(token)
    } catch (error) {
      return { error, printed: inspect(error, { depth: 10, showHidden: true }) }
    }
    throw new Error('it was let in')
  }

  test('lets in whom the token names, with the rights of that name', async () => {
    const log = await opening(async () => unsignedToken('retail'))
    await log.ensure([{ name: 'closed', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    expect(await log.offsets(['closed/0'], 'high')).toEqual(new Map([['closed/0', 0]]))
    await log.close()
    const other = await opening(async () => unsignedToken('other'))
    await expect(other.offsets(['closed/0'], 'high')).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' })
    await other.close()
  })

  test('a token that has run out, or is none, is refused in a sentence of its own, which never tells the token', async () => {
    const expired = unsignedToken('retail', -60_000)
    for (const bad of [expired, 'this.is.none-at-all', `${expired}x`]) {
      const { error, printed } = await refusal(async () => bad)
      expect(error).toMatchObject({
        code: 'AUTHENTICATION_FAILED',
        message: `broker ${cluster.brokers[0]} refuses the token`,
        detail: expect.stringContaining('invalid_token'),
        hint: expect.stringContaining('sasl.token'),
      })
      expect(printed).not.toContain(bad)
      expect(printed).not.toContain(bad.slice(0, 20))
    }
  })

  test('what cannot be a token is not sent, and is not told either', async () => {
    for (const bad of ['', 'with a blank', 'a\u0001auth=Bearer b', undefined as unknown as string]) {
      const { error, printed } = await refusal(async () => bad)
      expect(error).toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining('"sasl.token"') })
      if (bad !== undefined && bad !== '') expect(printed).not.toContain(bad)
    }
  })

  test('who gives out tokens may be away for a while: that is no refusal, and is tried again', async () => {
    let asked = 0
    const log = await opening(async () => {
      if (++asked < 3) throw new Error('no issuer answers')
      return unsignedToken('retail')
    })
    await log.close()
    expect(asked).toBeGreaterThanOrEqual(3)
    const { error } = await refusal(() => Promise.reject(new Error('no issuer answers')))
    expect(error).toMatchObject({ code: 'BROKER_UNREACHABLE', detail: expect.stringContaining('no issuer answers') })
    const stuck = await refusal(() => new Promise(() => {}))
    expect(stuck.error).toMatchObject({
      code: 'BROKER_UNREACHABLE',
      detail: expect.stringContaining('"sasl.token" gave no token within 1000 ms'),
    })
  })

  test('a login that runs out is renewed with a new token before the broker ends it, and not at every request', {
    timeout: 60_000,
  }, async () => {
    let asked = 0
    const log = await opening(async () => {
      asked++
      return unsignedToken('retail')
    })
    await log.ensure([{ name: 'renewed', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const began = nodeClock.mono()
    let questions = 0
    while (nodeClock.mono() - began < 3 * SESSION_MS) {
      await log.offsets(['renewed/0'], 'high')
      questions++
      await nodeClock.sleep(20)
    }
    await log.close()
    expect(questions).toBeGreaterThan(50)
    expect(asked).toBeGreaterThanOrEqual(3)
    expect(asked).toBeLessThan(15)
  })

  test('a worker goes through many sessions, and neither a commit nor its membership fails', { timeout: 90_000 }, async () => {
    const login = options(async () => unsignedToken('retail'))
    const log = await opening(async () => unsignedToken('retail'))
    await log.ensure(['in', 'out'].map((name) => ({ name, partitions: 1, cleanup: 'delete', retentionMs: -1 })))
    const failures: unknown[] = []
    const running = await start(copying, {
      dir: folder,
      log: kafka(login),
      telemetry: {
        count: (name) => void (name === 'commit_failures' && failures.push(name)),
        event: (event) => void (event.kind === 'worker' && event.error !== undefined && failures.push(event)),
      },
    })
    const codec = await running.access.serdes.values(Item.name, { readers: new Map([['', Item.avro]]), tagged: false, fields: undefined })
    const writer = await log.plainWriter()
    const keys = Array.from({ length: 40 }, (_, n) => `k${n}`)
    for (const [n, key] of keys.entries()) {
      const batch = new BatchBuilder({ codecs: nativeCodecs })
      batch.add(n, Buffer.from(key), encodeValue(codec, item(n)))
      await writer.append('in/0', batch.finish())
      await nodeClock.sleep((4 * SESSION_MS) / keys.length)
    }
    await running.settled()
    await running.close()
    expect(failures).toEqual([])
    const end = (await log.offsets(['out/0'], 'stable')).get('out/0') as number
    const reader = log.reader('committed')
    reader.assign(new Map([['out/0', 0]]))
    const copied: (string | undefined)[] = []
    for (let position = 0; position < end; ) {
      for (const fetched of await reader.poll({ bytes: 1_000_000, waitMs: 100 })) {
        if (fetched.kind !== 'batches') throw new Error('"out" cannot be read')
        position = fetched.next
        for (const batch of fetched.batches) for (let i = 0; i < batch.count; i++) copied.push(batch.key(i)?.toString())
      }
    }
    expect(copied).toEqual(keys)
    for (const each of [reader, writer, log]) await each.close()
  })
})

const copying = topology('copying', (flow) => {
  flow.stream('in', { key: text, value: Item }, { partitions: 1 }).to('out-step', 'out')
  return []
})
