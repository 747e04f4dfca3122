/**
 * What comes over a socket is cut into answers before anything believes it: whatever a peer sends, and in whatever pieces, ends in answers that
 * were asked for or in a typed error, without a crash, a hang, or more memory than the answer may have.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { kafka } from '../../../src/drivers/kafka/index.ts'
import { dialKafkajs } from '../../../src/drivers/kafka/sockets.ts'
import { Throttles } from '../../../src/drivers/kafka/throttle.ts'
import { Lane } from '../../../src/drivers/kafka/transport.ts'
import { apiVersions } from '../../../src/drivers/kafka/wire/api-versions.ts'
import { APIS } from '../../../src/drivers/kafka/wire/apis.ts'
import { FrameReader } from '../../../src/drivers/kafka/wire/frames.ts'
import { encodeResponse } from '../../../src/drivers/kafka/wire/framing.ts'
import { metadata } from '../../../src/drivers/kafka/wire/metadata.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }
const LINK = { clientId: 'test', ssl: undefined, sasl: undefined, connectMs: 1_000 }
const QUESTION = { topics: [], allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false }
const NO_TOPICS = { throttleMs: 0, brokers: [], clusterId: 'fake', controllerId: 1, topics: [] }

function frame(correlationId: number, rest: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(4 + rest.length, 0)
  head.writeInt32BE(correlationId, 4)
  return Buffer.concat([head, rest])
}

/** A reader that awaits these answers, and what it was given. */
function reader(ids: readonly number[], bytesMax = 1 << 20): { frames: FrameReader; got: [number, string][] } {
  const waiting = [...ids]
  const got: [number, string][] = []
  const frames = new FrameReader(
    () => (waiting[0] === undefined ? undefined : { correlationId: waiting[0], bytesMax }),
    (id, rest) => {
      waiting.shift()
      got.push([id, rest.toString()])
    },
  )
  return { frames, got }
}

describe('bytes of a socket', () => {
  const rests = ['first', '', 'x', 'the fourth answer']
  const stream = Buffer.concat(rests.map((rest, id) => frame(id, Buffer.from(rest))))
  const whole = rests.map((rest, id): [number, string] => [id, rest])

  test('give the same answers, wherever they are split', () => {
    for (let a = 0; a <= stream.length; a++) {
      for (let b = a; b <= stream.length; b++) {
        const { frames, got } = reader([0, 1, 2, 3])
        for (const piece of [stream.subarray(0, a), stream.subarray(a, b), stream.subarray(b)]) frames.push(piece)
        expect([a, b, got]).toEqual([a, b, whole])
      }
    }
    const { frames, got } = reader([0, 1, 2, 3])
    for (const byte of stream) frames.push(Buffer.of(byte))
    expect(got).toEqual(whole)
  })

  test('an answer that was changed behind the reader does not change what was given', () => {
    const { frames } = reader([0])
    const given: Buffer[] = []
    const careful = new FrameReader(
      () => ({ correlationId: 0, bytesMax: 1 << 20 }),
      (_, rest) => given.push(rest),
    )
    const halves = [Buffer.from(stream.subarray(0, 10)), Buffer.from(stream.subarray(10, 13))]
    for (const half of halves) {
      careful.push(half)
      half.fill(0)
    }
    expect(given.map(String)).toEqual(['first'])
    frames.push(stream.subarray(0, 13))
  })

  test.each([
    ['ffffffff', 'the size -1'],
    ['80000000', 'the size -2147483648'],
    ['00000000', 'the size 0'],
    ['00000003', 'the size 3'],
    ['7fffffff', 'the size 2147483647'],
    ['00100001', 'the size 1048577'],
    ['0000000400000001', 'It answers request 1, where 0'],
    ['00000004ffffffff', 'It answers request -1, where 0'],
  ])('%s is refused as soon as it can be told', (hex, meant) => {
    const bytes = Buffer.from(hex, 'hex')
    const { frames, got } = reader([0])
    for (const byte of bytes.subarray(0, -1)) frames.push(Buffer.of(byte))
    expect(() => frames.push(bytes.subarray(-1))).toThrow(
      expect.objectContaining({ code: 'WIRE_INVALID', detail: expect.stringContaining(meant) }),
    )
    expect(got).toEqual([])
  })

  test('an answer that nobody asked for is refused', () => {
    expect(() => reader([]).frames.push(stream)).toThrow(expect.objectContaining({ detail: 'It was sent without being asked.' }))
    expect(() => reader([0, 2]).frames.push(stream)).toThrow(expect.objectContaining({ detail: expect.stringContaining('request 1') }))
  })

  test.each([
    ['HTTP/1.1 400 Bad Request\r\n', 'An HTTP server answers'],
    ['\x15\x03\x03\x00\x02\x02\x28', 'set "ssl"'],
    ['SSH-2.0-OpenSSH_9.6\r\n', 'An SSH server answers'],
  ])('others are known by their first words: %j', (words, hint) => {
    expect(() => reader([0]).frames.push(Buffer.from(words, 'latin1'))).toThrow(
      expect.objectContaining({ code: 'WIRE_INVALID', hint: expect.stringContaining(hint) }),
    )
  })

  test('memory grows with what came, not with what was said', () => {
    const { frames } = reader([0], 2 ** 31)
    const head = Buffer.alloc(8)
    head.writeInt32BE(2 ** 31 - 8, 0)
    const before = process.memoryUsage().arrayBuffers
    frames.push(head)
    for (let i = 0; i < 64; i++) frames.push(Buffer.alloc(64 * 1024))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024)
  })
})

/** A peer that greets as a broker does; what it answers to anything else is up to the test. */
async function fakeBroker(
  answer: (socket: Socket, correlationId: number) => void,
): Promise<{ host: string; port: number; server: Server }> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    let bytes = Buffer.alloc(0)
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const [key, correlationId] = [bytes.readInt16BE(4), bytes.readInt32BE(8)]
        bytes = bytes.subarray(4 + bytes.readInt32BE(0))
        if (key === 18) socket.write(greeting(correlationId))
        else answer(socket, correlationId)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, server }
}

function greeting(correlationId: number): Buffer {
  const apiKeys = APIS.map(({ key, versions: [minVersion, maxVersion] }) => ({ apiKey: key, minVersion, maxVersion }))
  const rest = { throttleMs: 0, supportedFeatures: [], finalizedFeaturesEpoch: 0, finalizedFeatures: [], zkMigrationReady: false }
  return encodeResponse(apiVersions, 4, correlationId, { error: 0, apiKeys, ...rest })
}

async function laneTo(address: { host: string; port: number }): Promise<Lane> {
  const lane = new Lane({ address, options: LINK, dial: dialKafkajs, throttles: new Throttles(nodeClock) })
  onTestFinished(() => lane.close(new Error('the test is over')))
  return lane
}

const right = (correlationId: number): Buffer => encodeResponse(metadata, 12, correlationId, NO_TOPICS)

describe('a connection', () => {
  test('takes answers that come byte by byte', async () => {
    const address = await fakeBroker((socket, id) => {
      socket.setNoDelay(true)
      for (const byte of right(id)) socket.write(Buffer.of(byte))
    })
    const lane = await laneTo(address)
    expect(await lane.send(metadata, QUESTION, { timeoutMs: 2_000 })).toEqual(NO_TOPICS)
  })

  test.each(['ffffffff', '00000000', '80000000', '7fffffff', '00000003', '0000000a7fffffff'])(
    'that brings %s is closed at once, and the next one is used',
    async (hex) => {
      let connections = 0
      const address = await fakeBroker((socket, id) => void socket.write(connections++ === 0 ? Buffer.from(hex, 'hex') : right(id)))
      const lane = await laneTo(address)
      const began = performance.now()
      await expect(lane.send(metadata, QUESTION, { timeoutMs: 20_000 })).rejects.toMatchObject({
        name: 'LinkLost',
        sent: true,
        cause: { code: 'WIRE_INVALID' },
      })
      expect(performance.now() - began).toBeLessThan(1_000)
      expect(await lane.send(metadata, QUESTION, { timeoutMs: 2_000 })).toEqual(NO_TOPICS)
    },
  )

  test('that brings an answer twice is closed, and what was answered stays so', async () => {
    const address = await fakeBroker((socket, id) => void socket.write(Buffer.concat([right(id), right(id)])))
    const lane = await laneTo(address)
    for (let i = 0; i < 20; i++) expect(await lane.send(metadata, QUESTION, { timeoutMs: 2_000 })).toEqual(NO_TOPICS)
  })

  test('whose answer is cut off fails when its socket does', async () => {
    const address = await fakeBroker((socket, id) => void socket.end(right(id).subarray(0, -1)))
    await expect((await laneTo(address)).send(metadata, QUESTION, { timeoutMs: 20_000 })).rejects.toMatchObject({ name: 'LinkLost' })
  })

  test('that announces more than an answer may have is not read on', { timeout: 20_000 }, async () => {
    let sent = 0
    const zeros = Buffer.alloc(1 << 20)
    const address = await fakeBroker((socket, id) => {
      socket.write(frame(id, Buffer.alloc(0)).fill(0x7f, 0, 4))
      const flood = (): void => {
        while (!socket.destroyed && sent < 1 << 30) {
          sent += zeros.length
          if (!socket.write(zeros)) break
        }
        socket.once('drain', flood)
      }
      flood()
    })
    await expect((await laneTo(address)).send(metadata, QUESTION, { timeoutMs: 5_000 })).rejects.toMatchObject({ name: 'LinkLost' })
    expect(sent).toBeLessThan(64 << 20)
  })

  test('survives whatever a peer says: no crash, no hang, and a typed end each time', { timeout: 60_000 }, async () => {
    let seed = 1
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    const address = await fakeBroker((socket, id) => {
      const bytes = Buffer.from(right(id))
      for (let i = random(4); i >= 0; i--) bytes[random(bytes.length)] = random(256)
      const at = random(bytes.length)
      socket.write(bytes.subarray(0, at))
      setImmediate(() => {
        socket.write(bytes.subarray(at, bytes.length - random(2)))
        socket.end()
      })
    })
    const lane = await laneTo(address)
    const ends = new Set<string>()
    for (let i = 0; i < 400; i++) {
      await lane.send(metadata, QUESTION, { timeoutMs: 20_000 }).then(
        () => ends.add('answered'),
        (error: Error & { code?: string }) => ends.add(error.code ?? error.name),
      )
    }
    expect([...ends].toSorted()).toEqual(['LinkLost', 'WIRE_INVALID', 'answered'])
  })
})

test.each(['ffffffff', '00000000', '80000000', '7fffffff'])(
  'a log whose only broker says %s says so when it cannot be opened, and what to look at',
  { timeout: 20_000 },
  async (hex) => {
    const { port } = await fakeBroker((socket) => void socket.write(Buffer.from(hex, 'hex')))
    await expect(kafka({ brokers: [`127.0.0.1:${port}`], connectMs: 500 }).open(parts)).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      detail: expect.stringContaining('It has the size'),
      hint: expect.stringContaining('Is this address a Kafka broker'),
    })
  },
)
