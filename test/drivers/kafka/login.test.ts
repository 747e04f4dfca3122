/**
 * How a login ends, on a fake broker that says yes, no, nothing or nonsense at each step of it: only a broker that refuses ends a worker. One that
 * is lost, slow or not understood in the middle of a login is one that cannot be reached, and is tried again.
 */
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bearerLogin } from '../../../src/drivers/kafka/oauth.ts'
import { dialKafkajs } from '../../../src/drivers/kafka/sockets.ts'
import { Throttles } from '../../../src/drivers/kafka/throttle.ts'
import { Lane } from '../../../src/drivers/kafka/transport.ts'
import { apiVersions } from '../../../src/drivers/kafka/wire/api-versions.ts'
import { APIS } from '../../../src/drivers/kafka/wire/apis.ts'
import { encodeResponse } from '../../../src/drivers/kafka/wire/framing.ts'
import { nodeClock } from '../../../src/drivers/node/index.ts'
import { isFinal } from '../../../src/runtime/failure.ts'

const HANDSHAKE = 17
const AUTHENTICATE = 36
const CONNECT_MS = 1_500
const PASSWORD = 'p-1'

/** What the broker does at a step: as it should, or otherwise. */
type Manner = 'well' | 'cut' | 'silent' | 'garbage' | 'late' | { readonly error: number }

const MECHANISMS = {
  plain: { rounds: 1, sasl: { mechanism: 'plain', username: 'u', password: PASSWORD } },
  'scram-sha-256': { rounds: 2, sasl: { mechanism: 'scram-sha-256', username: 'u', password: PASSWORD } },
  'scram-sha-512': { rounds: 2, sasl: { mechanism: 'scram-sha-512', username: 'u', password: PASSWORD } },
  oauthbearer: {
    rounds: 1,
    sasl: { mechanism: 'oauthbearer', authenticationProvider: bearerLogin(() => Promise.resolve('a.token'), CONNECT_MS) },
  },
} as const
type Mechanism = keyof typeof MECHANISMS

/** A broker that does one step of a login in a manner, and all others well. Step 0 is the handshake. */
async function brokerThat(mechanism: Mechanism, step: number, manner: Manner, rounds = 4096): Promise<Lane> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const scram = new ScramServer(mechanism, rounds)
    let bytes = Buffer.alloc(0)
    let done = 0
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const request = bytes.subarray(0, 4 + bytes.readInt32BE(0))
        bytes = bytes.subarray(request.length)
        const [key, correlationId] = [request.readInt16BE(4), request.readInt32BE(8)]
        // Behind the id of the client.
        const body = request.subarray(14 + request.readInt16BE(12))
        if (key === HANDSHAKE) act(socket, correlationId, step === 0 ? manner : 'well', handshake)
        else if (key === AUTHENTICATE)
          act(socket, correlationId, ++done === step ? manner : 'well', authenticated(scram.answer(body.subarray(4))))
        else socket.write(greeting(correlationId))
      }
    })
    const handshake = (error: number): Buffer => Buffer.concat([int16(error), int32(1), string(mechanism.toUpperCase())])
    const authenticated = (said: Buffer) => (error: number) =>
      Buffer.concat([int16(error), error === 0 ? int16(-1) : string('said no'), int32(said.length), said, Buffer.alloc(8)])
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const { sasl } = MECHANISMS[mechanism]
  const lane = new Lane({
    address: { host: '127.0.0.1', port },
    options: { clientId: 't', ssl: undefined, sasl, connectMs: CONNECT_MS },
    dial: dialKafkajs,
    throttles: new Throttles(nodeClock),
  })
  onTestFinished(() => {
    lane.close(new Error('the test is over'))
    server.close()
  })
  return lane
}

function act(socket: Socket, correlationId: number, manner: Manner, body: (error: number) => Buffer): void {
  const answer = (error: number): Buffer => {
    const rest = body(error)
    return Buffer.concat([int32(4 + rest.length), int32(correlationId), rest])
  }
  if (manner === 'cut') socket.destroy()
  else if (manner === 'garbage') socket.write(Buffer.concat([int32(14), int32(correlationId), Buffer.alloc(2), Buffer.alloc(8, 0x7f)]))
  else if (manner === 'late') setTimeout(() => socket.write(answer(0)), 1_200)
  else if (manner !== 'silent') socket.write(answer(manner === 'well' ? 0 : manner.error))
}

/** The server's part of RFC 5802, for one user; says nothing where the mechanism is another. */
class ScramServer {
  private readonly hash: 'sha256' | 'sha512' | undefined
  private readonly rounds: number
  private first = ''
  private serverFirst = ''

  constructor(mechanism: Mechanism, rounds: number) {
    this.hash = mechanism === 'scram-sha-256' ? 'sha256' : mechanism === 'scram-sha-512' ? 'sha512' : undefined
    this.rounds = rounds
  }

  answer(message: Buffer): Buffer {
    const { hash } = this
    if (hash === undefined) return Buffer.alloc(0)
    const text = message.toString()
    if (this.first === '') {
      this.first = text.replace(/^n,,/, '')
      this.serverFirst = `r=${/r=(.*)$/.exec(text)?.[1]}server,s=${Buffer.from('salt').toString('base64')},i=${this.rounds}`
      return Buffer.from(this.serverFirst)
    }
    const salted = pbkdf2Sync(PASSWORD, 'salt', this.rounds, hash === 'sha256' ? 32 : 64, hash)
    const key = createHmac(hash, salted).update('Server Key').digest()
    const about = [this.first, this.serverFirst, text.replace(/,p=.*$/, '')].join(',')
    return Buffer.from(`v=${createHmac(hash, key).update(about).digest('base64')}`)
  }
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}
function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
function string(value: string): Buffer {
  return Buffer.concat([int16(value.length), Buffer.from(value)])
}

function greeting(correlationId: number): Buffer {
  const apiKeys = APIS.map(({ key, versions: [minVersion, maxVersion] }) => ({ apiKey: key, minVersion, maxVersion }))
  const rest = { throttleMs: 0, supportedFeatures: [], finalizedFeaturesEpoch: 0, finalizedFeatures: [], zkMigrationReady: false }
  return encodeResponse(apiVersions, 4, correlationId, { error: 0, apiKeys, ...rest })
}

const ended = async (lane: Lane): Promise<unknown> =>
  lane.greeting().then(
    () => 'let in',
    (error: unknown) => error,
  )

describe.each(Object.keys(MECHANISMS) as Mechanism[])('a login with %s', (mechanism) => {
  const { rounds } = MECHANISMS[mechanism]
  const steps = Array.from({ length: rounds + 1 }, (_, step) => step)

  test('lets in who is let in, also when each answer takes longer than a second', { timeout: 20_000 }, async () => {
    expect(await ended(await brokerThat(mechanism, -1, 'well'))).toBe('let in')
    expect(await Promise.all(steps.map(async (step) => ended(await brokerThat(mechanism, step, 'late'))))).toEqual(
      steps.map(() => 'let in'),
    )
  })

  test.each(['cut', 'silent', 'garbage'] as const)(
    'that meets a broker which is %s is tried again',
    { timeout: 20_000 },
    async (manner) => {
      for (const end of await Promise.all(
        steps.map(async (step) => [step, await ended(await brokerThat(mechanism, step, manner))] as const),
      )) {
        expect(end).toEqual([end[0], expect.objectContaining({ name: 'LinkLost', sent: false })])
      }
    },
  )

  test('that is refused says so, and ends a worker', async () => {
    for (const step of steps.slice(1)) {
      const error = await ended(await brokerThat(mechanism, step, { error: 58 }))
      expect(error).toMatchObject({
        code: 'AUTHENTICATION_FAILED',
        message: expect.stringMatching(mechanism === 'oauthbearer' ? /refuses the token$/ : /refuses the user or the password$/),
      })
      expect(isFinal(error)).toBe(true)
    }
  })

  test.each([33, 34])('that the listener does not take (error %i) says so, and ends a worker', async (error) => {
    expect(await ended(await brokerThat(mechanism, 0, { error }))).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringMatching(/does not take this kind of login$/),
      hint: expect.stringContaining('sasl.enabled.mechanisms'),
    })
  })

  test('that the broker cannot judge now (another error) is tried again', async () => {
    for (const step of steps) {
      expect([step, await ended(await brokerThat(mechanism, step, { error: -1 }))]).toEqual([
        step,
        expect.objectContaining({ name: 'LinkLost' }),
      ])
    }
  })
})

test('a broker that asks for so many rounds that the login would never end is not obeyed', async () => {
  const end = await ended(await brokerThat('scram-sha-512', -1, 'well', 2_000_000_000))
  expect(end).toMatchObject({ name: 'LinkLost', message: expect.stringContaining('2000000000 rounds') })
})
