/** A password or a token is not sent where others can read it, whoever names the broker. */
import { expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type KafkaOptions, kafka, type Sasl } from '../../../src/drivers/kafka/index.ts'
import type { Dial } from '../../../src/drivers/kafka/sockets.ts'
import { Throttles } from '../../../src/drivers/kafka/throttle.ts'
import { Lane, type LinkOptions } from '../../../src/drivers/kafka/transport.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'

const PLAIN: Sasl = { mechanism: 'plain', username: 'u', passwordEnv: 'TIDEMARK_TEST_PASSWORD' }
const TOKEN: Sasl = { mechanism: 'oauthbearer', token: () => Promise.resolve('a.token') }
const made =
  (options: Partial<KafkaOptions> & { sasl: Sasl }): (() => unknown) =>
  () =>
    kafka({ brokers: ['kafka-1:9092'], ...options })

test.each([
  ['password', PLAIN],
  ['token', TOKEN],
])('a %s without TLS is refused at once, and what to do is said', (what, sasl) => {
  for (const brokers of [['kafka-1:9092'], ['127.0.0.1:9092', '10.0.0.1:9092'], ['[2001:db8::1]:9092'], ['localhost.example.org:9092']]) {
    expect(made({ sasl, brokers })).toThrow(
      expect.objectContaining({
        code: 'OPTION_INVALID',
        message: expect.stringMatching(new RegExp(`^the ${what} would be readable by everybody on the way to `)),
        hint: expect.stringContaining('"sasl.withoutTls"'),
      }),
    )
  }
})

test('with TLS, on the loopback, or where it is asked for, it is sent', () => {
  for (const sasl of [PLAIN, TOKEN]) {
    for (const brokers of [['127.0.0.1:9092'], ['localhost:9092'], ['[::1]:9092'], ['127.8.9.1:9092']]) made({ sasl, brokers })()
    made({ sasl, ssl: true })()
    made({ sasl, ssl: { serverName: 'kafka' } })()
    made({ sasl: { ...sasl, withoutTls: true } })()
    expect(made({ sasl, ssl: false })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  }
  made({ sasl: { mechanism: 'scram-sha-512', username: 'u', passwordEnv: 'TIDEMARK_TEST_PASSWORD' } })()
})

test('a broker that another one names is not sent it either: no connection is even opened', async () => {
  let dialled = 0
  const dial: Dial = () => {
    dialled++
    return Promise.reject(new Error('nobody should come here'))
  }
  const link = { clientId: 't', ssl: undefined, sasl: { mechanism: 'plain', username: 'u', password: 'p' }, connectMs: 100 }
  const lane = (options: LinkOptions): Lane =>
    new Lane({ address: { host: 'kafka-2', port: 9092 }, options, dial, throttles: new Throttles(nodeClock) })
  const far = lane(link)
  await expect(far.greeting()).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining('on the way to kafka-2') })
  expect(dialled).toBe(0)
  await expect(lane({ ...link, withoutTls: true }).greeting()).rejects.toMatchObject({
    name: 'LinkLost',
  })
  expect(dialled).toBe(1)
})

test('the word says nothing where the mechanism keeps the secret to itself, and is refused there', async () => {
  const sasl = { mechanism: 'scram-sha-512', username: 'u', passwordEnv: 'PATH', withoutTls: true } as unknown as Sasl
  const driver = kafka({ brokers: ['127.0.0.1:9'], sasl })
  await expect(driver.open({ clock: nodeClock, random: nodeRandom, codecs: nativeCodecs })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: '"sasl.withoutTls" says nothing about scram-sha-512',
  })
})
