/** What a newcomer meets on Kafka: each mistake ends soon, with a code, a sentence, the facts and what to do, in the words of the command line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { apiVersions } from '../../src/drivers/kafka/wire/api-versions.ts'
import { APIS } from '../../src/drivers/kafka/wire/apis.ts'
import { encodeResponse } from '../../src/drivers/kafka/wire/framing.ts'
import { type KafkaCluster, startKafka } from '../../src/testing/broker/index.ts'
import { describeUnless, whyNotStarted } from '../kafka/shared.ts'
import { inProcess, SHOP } from './tidemark.ts'

const PLAN = ['topics', 'plan', SHOP]
/** Code, sentence, detail and hint, a line each, and no line of a stack. */
const EXPLAINED = /^([A-Z_]+): \S.*\n\S.*\nhint: \S.*\n$/

/** What is said of a command that fails: its code, and all lines but the one that says that it still tries. */
async function said(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await inProcess(args)
  expect([code === 1 || code === 64, out]).toEqual([true, ''])
  expect(err).not.toMatch(/^ {4}at /m)
  return err.replace(/^no broker answers yet .*\n/, '')
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

test.each([
  ['nobody listens', '127.0.0.1:1', 'hint: Nothing listens there. Is the broker running, and is it this port? "npm run kafka" starts one'],
  ['no such host', 'nowhere.invalid:9092', 'hint: That name cannot be resolved here'],
])('where %s', async (_what, brokers, hint) => {
  const text = await said(...PLAN, '--brokers', brokers)
  expect(text).toMatch(EXPLAINED)
  expect(text).toMatch(/^BROKER_UNREACHABLE: /)
  expect(text).toContain(hint)
})

test('words that are no address, no number or no login are refused at once', async () => {
  for (const [words, code, meant] of [
    [['--brokers', 'localhost'], 'OPTION_INVALID', 'Write host:port'],
    [['--brokers', ','], 'OPTION_INVALID', '--brokers names no broker'],
    [['--replication', 'x'], 'OPTION_INVALID', 'It is a whole number from 1'],
    [['--sasl-username', 'me'], 'OPTION_INVALID', 'Add --sasl, with one of plain'],
    [['--sasl', 'plain', '--sasl-username', 'me'], 'OPTION_INVALID', '--sasl-password-file'],
    [
      ['--sasl', 'plain', '--sasl-username', 'me', '--sasl-password-file', '/nowhere'],
      'OPTION_INVALID',
      'the file of --sasl-password-file cannot be read',
    ],
    [
      ['--sasl', 'plain', '--sasl-username', 'me', '--brokers', 'kafka-1:9092'],
      'OPTION_INVALID',
      'Set --tls, and use the port of the TLS listener. Or say that the way is safe: --sasl-without-tls.',
    ],
    [['--sasl', 'scram-sha-512', '--sasl-username', 'me', '--sasl-without-tls'], 'OPTION_INVALID', 'Leave it out'],
    [['--tls-ca', '/nowhere'], 'OPTION_INVALID', 'the file of --tls-ca cannot be read'],
    [['--tls-cert', '/nowhere'], 'OPTION_INVALID', '--tls-cert and --tls-key go together'],
  ] as const) {
    const text = await said(...PLAN, ...words)
    expect([words, text]).toEqual([words, expect.stringMatching(new RegExp(`^${code}: .*\\n(.*\\n)?hint: \\S`))])
    expect(text).toContain(meant)
  }
})

test('a port of something else is told from a broker that is away', async () => {
  const http = createHttp((_request, response) => void response.end('hello'))
  const text = await said(...PLAN, '--brokers', await listening(http))
  expect(text).toMatch(EXPLAINED)
  expect(text).toContain('or is it no port of Kafka?')
  expect(text).toContain('hint: An HTTP server answers there, and no broker of Kafka.')
  const shut = createServer((socket) => void socket.once('data', () => socket.end()))
  const silent = await said(...PLAN, '--brokers', await listening(shut))
  expect(silent).toMatch(EXPLAINED)
  expect(silent).toContain(
    'hint: It closed the connection without a word, as brokers do to clients that should log in (--sasl) or speak TLS (--tls) and do not. Or it is no',
  )
})

test('a broker that is too old is told by what it lacks', async () => {
  const old = createServer((socket: Socket) => {
    let bytes = Buffer.alloc(0)
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const [version, correlationId] = [bytes.readInt16BE(6), bytes.readInt32BE(8)]
        bytes = bytes.subarray(4 + bytes.readInt32BE(0))
        // As Kafka 3.6 answers where it matters: Produce up to 9, and all else as we want it.
        const apiKeys = APIS.map(({ key, versions: [oldest, newest] }) => ({
          apiKey: key,
          minVersion: 0,
          maxVersion: key === 0 ? 9 : key === 18 ? 3 : Math.max(oldest, newest),
        }))
        const rest = { throttleMs: 0, supportedFeatures: [], finalizedFeaturesEpoch: 0, finalizedFeatures: [], zkMigrationReady: false }
        socket.write(encodeResponse(apiVersions, version, correlationId, { error: version > 3 ? 35 : 0, apiKeys, ...rest }))
      }
    })
  })
  const text = await said(...PLAN, '--brokers', await listening(old))
  expect(text).toMatch(EXPLAINED)
  expect(text).toMatch(
    /^API_UNSUPPORTED: broker 127\.0\.0\.1:\d+ lacks what is needed: Produce\nIt has Produce 0 to 9 \(needed: 10 to 12\)\.\n/,
  )
  expect(text).toContain('hint: Kafka 3.7 or newer is needed.')
})

describeUnless(await whyNotStarted(), 'on a secured broker', () => {
  let cluster: KafkaCluster
  let folder: string
  beforeAll(async () => {
    cluster = await startKafka({ security: { users: { shop: 'right-1' } } })
    folder = mkdtempSync(join(tmpdir(), 'tidemark-newcomer-'))
    writeFileSync(join(folder, 'ca.pem'), cluster.security?.ca ?? '')
    writeFileSync(join(folder, 'right'), 'right-1')
    writeFileSync(join(folder, 'wrong'), 'not-the-password')
  }, 90_000)
  afterAll(async () => {
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const tls = (): string[] => ['--brokers', cluster.brokers.join(','), '--tls-ca', join(folder, 'ca.pem')]
  const login = (password: string, user = 'shop'): string[] => [
    ...tls(),
    '--sasl',
    'scram-sha-512',
    '--sasl-username',
    user,
    '--sasl-password-file',
    join(folder, password),
  ]
  const plain = (): string[] => ['--brokers', cluster.adminBrokers.join(',')]

  test.each([
    [
      'neither TLS nor a login',
      () => tls().slice(0, 2),
      /^BROKER_UNREACHABLE[\s\S]*--tls.*--sasl[\s\S]*hint: That is how TLS begins: set --tls/,
    ],
    ['no login', () => tls(), /^BROKER_UNREACHABLE[\s\S]*hint: .*--sasl/],
    ['an authority that nobody trusts', () => [...tls().slice(0, 2), '--tls'], /^TLS_FAILED[\s\S]*hint: .*--tls-ca/],
    ['TLS on a port without', () => [...tls(), ...plain()], /^BROKER_UNREACHABLE[\s\S]*hint: .*Leave --tls out/],
    [
      'a wrong password',
      () => login('wrong'),
      /^AUTHENTICATION_FAILED: .* refuses the user or the password\n[\s\S]*hint: Look at --sasl-username/,
    ],
    ['an unknown user', () => login('right', 'nobody'), /^AUTHENTICATION_FAILED: .* refuses the user or the password\n/],
    [
      'a user without rights',
      () => login('right'),
      /^NOT_AUTHORIZED: this user may not describe topic "shop-decisions"\n[\s\S]*hint: .*tidemark acl <topology>/,
    ],
  ])('with %s', { timeout: 30_000 }, async (_what, words, expected) => {
    const text = await said(...PLAN, ...words())
    expect(text).toMatch(EXPLAINED)
    expect(text).toMatch(expected)
    expect(text).not.toContain('not-the-password')
  })

  test('with topics that are missing', async () => {
    const text = await said('run', SHOP, '--dir', join(folder, 'state'), ...plain())
    expect(text).toBe(
      `TOPIC_UNKNOWN: source topic "orders.v1" does not exist\nhint: "tidemark topics apply ${SHOP}" makes the topics of a topology.\n`,
    )
  })
})
