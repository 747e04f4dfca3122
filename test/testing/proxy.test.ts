import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FaultProxy, faultProxy } from '../../src/testing/broker/index.ts'
import { HOST, portOf } from '../../src/testing/broker/ports.ts'

/** What a client hears, in order, together with what else happened. */
type Heard = string[]

let server: Server
let accepted: Socket[]
let proxy: FaultProxy
let clients: Socket[]

/** A server that answers each piece with `answer`, and ends when its client does. */
async function serve(answer: (bytes: Buffer) => Buffer): Promise<void> {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
    socket.on('data', (bytes) => socket.write(answer(bytes)))
    socket.on('end', () => socket.end())
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  proxy.aim({ host: HOST, port: portOf(server) })
}

async function dial(heard: Heard = [], name = ''): Promise<Socket> {
  const socket = call(heard, name)
  await once(socket, 'connect')
  return socket
}

/** Calls, and does not wait for an answer. */
function call(heard: Heard, name = ''): Socket {
  const socket = connect({ host: HOST, port: proxy.port, allowHalfOpen: true })
  clients.push(socket)
  socket.on('data', (bytes) => heard.push(`${name}${bytes.toString('latin1')}`))
  socket.on('end', () => heard.push(`${name}end`))
  socket.on('error', (error: NodeJS.ErrnoException) => heard.push(`${name}${error.code}`))
  return socket
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Time in which something wrong would show, and nothing right has to happen. */
const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60))

afterEach(async () => {
  for (const socket of [...clients, ...accepted]) socket.destroy()
  await proxy.close()
  server.close()
})

describe('a proxy in front of an echo', () => {
  beforeEach(async () => {
    ;[accepted, clients] = [[], []]
    proxy = await faultProxy({ frames: false })
    await serve((bytes) => bytes)
  })

  it('passes bytes both ways, and the end of either side', async () => {
    const heard: Heard = []
    const socket = await dial(heard)
    socket.write('a')
    await until(() => heard.length === 1)
    socket.end('b')
    await until(() => heard.length === 3)
    expect(heard).toEqual(['a', 'b', 'end'])
    await until(() => proxy.connections.length === 0)
  })

  it('passes megabytes unchanged', async () => {
    let [count, sum] = [0, 0]
    const socket = await dial()
    socket.on('data', (bytes) => {
      count += bytes.length
      for (const byte of bytes) sum += byte
    })
    const bytes = Buffer.alloc(8_000_000, 7)
    socket.write(bytes)
    await until(() => count === bytes.length)
    expect(sum).toBe(7 * bytes.length)
  })

  it('delays one connection and not the other', async () => {
    const heard: Heard = []
    const slow = await dial(heard, 'slow ')
    await until(() => proxy.connections.length === 1)
    proxy.connections[0]?.delay(200, 'toClient')
    const fast = await dial(heard, 'fast ')
    slow.write('1')
    await until(() => accepted.length === 2)
    fast.write('2')
    await until(() => heard.length === 2)
    expect(heard).toEqual(['fast 2', 'slow 1'])
  })

  it('swallows nothing in a black hole: what was under way arrives when it heals, the end of the connection too', async () => {
    const heard: Heard = []
    const socket = await dial(heard)
    socket.write('a')
    await until(() => heard.length === 1)
    proxy.blackhole('toBroker')
    socket.write('b')
    socket.end()
    await quiet()
    expect(heard).toEqual(['a'])
    expect(proxy.connections.map(({ open }) => open)).toEqual([true])
    proxy.heal()
    await until(() => heard.length === 3)
    expect(heard).toEqual(['a', 'b', 'end'])
  })

  it('holds connections that come after the black hole as well', async () => {
    proxy.blackhole()
    const heard: Heard = []
    const socket = await dial(heard)
    socket.write('a')
    await quiet()
    expect(heard).toEqual([])
    proxy.heal()
    await until(() => heard.length === 1)
  })

  it('resets both sides of a connection that it cuts, and takes new ones', async () => {
    const heard: Heard = []
    const first = await dial(heard)
    first.write('a')
    await until(() => heard.length === 1)
    const broken = once(accepted[0] as Socket, 'error')
    proxy.cut()
    expect(((await broken)[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET')
    await until(() => heard.length === 2)
    expect(heard).toEqual(['a', 'ECONNRESET'])
    const second = await dial(heard)
    second.write('b')
    await until(() => heard.includes('b'))
  })

  it('resets who comes while it has no target, and who finds nobody there', async () => {
    const heard: Heard = []
    proxy.aim(undefined)
    call(heard)
    await until(() => heard.length === 1)
    const nobody = createServer()
    await new Promise<void>((resolve) => nobody.listen(0, HOST, resolve))
    const port = portOf(nobody)
    await new Promise((resolve) => nobody.close(resolve))
    proxy.aim({ host: HOST, port })
    call(heard)
    await until(() => heard.length === 2)
    expect(heard).toEqual(['ECONNRESET', 'ECONNRESET'])
  })
})

/** size, api key, version, correlation id, text */
function request(apiKey: number, correlation: number, text = ''): Buffer {
  const frame = Buffer.alloc(12 + text.length)
  frame.writeInt32BE(frame.length - 4, 0)
  frame.writeInt16BE(apiKey, 4)
  frame.writeInt32BE(correlation, 8)
  frame.write(text, 12)
  return frame
}

const FETCH = 1
const END_TXN = 26

describe('a proxy in front of a broker', () => {
  /** Correlation ids, as they reached the broker and as their answers reached the client. */
  let reached: number[]
  let answered: number[]

  beforeEach(async () => {
    ;[accepted, clients, reached, answered] = [[], [], [], []]
    proxy = await faultProxy()
    await serve(framesOf((frame) => reached.push(frame.readInt32BE(8)), 8))
  })

  /** Takes frames out of a stream, and answers each with its correlation id and eight more bytes. */
  function framesOf(each: (frame: Buffer) => void, at: number): (bytes: Buffer) => Buffer {
    const partial = new Map<undefined, Buffer>()
    return (bytes) => {
      let left = Buffer.concat([partial.get(undefined) ?? Buffer.alloc(0), bytes])
      const answers: Buffer[] = []
      while (left.length >= 4 && left.length >= 4 + left.readInt32BE(0)) {
        const frame = left.subarray(0, 4 + left.readInt32BE(0))
        left = left.subarray(frame.length)
        each(frame)
        const answer = Buffer.alloc(16)
        answer.writeInt32BE(12, 0)
        answer.writeInt32BE(frame.readInt32BE(at), 4)
        answers.push(answer)
      }
      partial.set(undefined, left)
      return Buffer.concat(answers)
    }
  }

  async function talk(): Promise<Socket & { heard: Heard }> {
    const heard: Heard = []
    const socket = await dial()
    const take = framesOf((frame) => answered.push(frame.readInt32BE(4)), 4)
    socket.on('data', take)
    socket.on('end', () => heard.push('end'))
    socket.on('error', (error: NodeJS.ErrnoException) => heard.push(error.code ?? ''))
    return Object.assign(socket, { heard })
  }

  it('loses the answer to one api and resets the connection, after the request went through', async () => {
    const socket = await talk()
    const trap = proxy.catchNext({ apiKey: END_TXN, at: 'response', harm: 'cut' })
    // Two in one piece, the second cut in the middle.
    const both = Buffer.concat([request(FETCH, 1, 'x'), request(END_TXN, 2, 'y')])
    socket.write(both.subarray(0, 20))
    await until(() => reached.length === 1)
    socket.write(both.subarray(20))
    expect((await trap.caught).open).toBe(false)
    await until(() => socket.heard.length === 1)
    expect({ reached, answered, heard: socket.heard }).toEqual({ reached: [1, 2], answered: [1], heard: ['ECONNRESET'] })
  })

  it('counts only what fits, and lets the others through', async () => {
    const socket = await talk()
    const trap = proxy.catchNext({ apiKey: END_TXN, at: 'request', nth: 2, harm: 'cut' })
    for (const [place, apiKey] of [END_TXN, FETCH, FETCH, END_TXN].entries()) {
      socket.write(request(apiKey, place))
      if (place < 3) await until(() => answered.length === place + 1)
    }
    await trap.caught
    expect(reached).toEqual([0, 1, 2])
  })

  it('falls silent in one direction while the other lives', async () => {
    const socket = await talk()
    const trap = proxy.catchNext({ at: 'response', harm: 'silence' })
    socket.write(request(FETCH, 1))
    expect((await trap.caught).open).toBe(true)
    socket.write(request(FETCH, 2))
    await until(() => reached.length === 2)
    await quiet()
    expect({ answered, heard: socket.heard }).toEqual({ answered: [], heard: [] })
  })

  it('holds a frame and what follows it, in order', async () => {
    const socket = await talk()
    const trap = proxy.catchNext({ apiKey: END_TXN, at: 'request', harm: 'hold' })
    socket.write(Buffer.concat([request(END_TXN, 1), request(FETCH, 2)]))
    await trap.caught
    await quiet()
    expect(reached).toEqual([])
    trap.release()
    await until(() => answered.length === 2)
    expect(reached).toEqual([1, 2])
  })

  it('delivers a late request after its client gave up and came again', async () => {
    const socket = await talk()
    const trap = proxy.catchNext({ apiKey: END_TXN, at: 'request', harm: 'late' })
    socket.write(request(END_TXN, 1))
    await trap.caught
    await until(() => socket.heard.length === 1)
    expect(socket.heard).toEqual(['ECONNRESET'])
    const again = await talk()
    again.write(request(END_TXN, 2))
    await until(() => answered.length === 1)
    trap.release()
    await until(() => reached.length === 2)
    await until(() => proxy.connections.length === 1)
    expect({ reached, answered }).toEqual({ reached: [2, 1], answered: [2] })
  })

  it('lets half of an answer through, and then ends the connection', async () => {
    const socket = await talk()
    let bytes = 0
    socket.on('data', (piece) => {
      bytes += piece.length
    })
    proxy.catchNext({ at: 'response', harm: 'halve' })
    socket.write(request(FETCH, 1))
    await until(() => socket.heard.length === 1)
    expect({ bytes, answered, heard: socket.heard }).toEqual({ bytes: 8, answered: [], heard: ['end'] })
  })

  it('takes a trap away that caught nothing', async () => {
    const socket = await talk()
    proxy.catchNext({ at: 'request', harm: 'cut' }).release()
    socket.write(request(FETCH, 1))
    await until(() => answered.length === 1)
  })

  it('delays frames as a longer way does: they do not wait for one another', async () => {
    const socket = await talk()
    const other = await talk()
    await until(() => proxy.connections.length === 2)
    // The one is asked ten times at once over a way of 100 ms, the other twice in turn over one of 150 ms.
    proxy.connections[0]?.delay(100, 'toBroker')
    proxy.connections[1]?.delay(150, 'toBroker')
    for (let correlation = 0; correlation < 10; correlation++) socket.write(request(FETCH, correlation))
    other.write(request(FETCH, 100))
    await until(() => answered.includes(100))
    other.write(request(FETCH, 101))
    await until(() => answered.includes(101))
    expect(answered).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101])
  })

  it('cuts who does not talk as Kafka does', async () => {
    const socket = await talk()
    socket.write(Buffer.from([255, 255, 255, 255, 0, 0]))
    await until(() => socket.heard.length === 1)
    expect(socket.heard).toEqual(['ECONNRESET'])
  })

  it('passes a frame of megabytes that comes in many pieces', async () => {
    const socket = await talk()
    socket.write(request(FETCH, 1, 'x'.repeat(8_000_000)))
    await until(() => answered.length === 1)
  })

  it('does not let a request for a late answer be made', () => {
    expect(() => proxy.catchNext({ at: 'response', harm: 'late' })).toThrow(TypeError)
  })
})
