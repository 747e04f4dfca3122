/**
 * Death at a request of the driver: this process is killed (SIGKILL) as soon as the nth request of an api has left, or as its answer arrives
 * and before anything has seen it. It reads frames at the sockets, below everything of ours.
 */
import { Socket } from 'node:net'

export interface RequestPoint {
  /** Kafka's number of the api. */
  readonly api: number
  readonly when: 'sent' | 'answered'
  readonly nth: number
}

/** Size, api key, version, correlation id. */
const HEADER_BYTES = 12

/** @example dieAtRequest({ api: 26, when: 'answered', nth: 3 }) // the third commit is decided, and nobody here hears of it */
export function dieAtRequest({ api, when, nth }: RequestPoint): void {
  let left = nth
  const die = (): never => process.kill(process.pid, 'SIGKILL') as never
  const { write } = Socket.prototype as unknown as { readonly write: (this: Socket, ...args: unknown[]) => boolean }
  const sockets = new WeakMap<
    Socket,
    { /** Of the frame that is being written. */ bytesLeft: number; hit: boolean; awaited: number | undefined }
  >()
  const watched = function (this: Socket, ...args: unknown[]): boolean {
    const [piece] = args
    if (!(piece instanceof Uint8Array)) return write.apply(this, args)
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    let socket = sockets.get(this)
    if (socket === undefined) {
      const fresh = { bytesLeft: 0, hit: false, awaited: undefined as number | undefined }
      socket = fresh
      sockets.set(this, fresh)
      eachAnswer(this, (correlation) => correlation === fresh.awaited && die())
    }
    // A frame comes in pieces, and the first of them has its header.
    if (socket.bytesLeft === 0 && bytes.length >= HEADER_BYTES) {
      socket.bytesLeft = 4 + bytes.readInt32BE(0)
      socket.hit = bytes.readInt16BE(4) === api && --left === 0
      if (socket.hit && when === 'answered') socket.awaited = bytes.readInt32BE(8)
    }
    socket.bytesLeft -= Math.min(socket.bytesLeft, bytes.length)
    const done = write.apply(this, args)
    // On the loopback the system takes a frame in the call itself, but for pieces that are held together until the last is there.
    if (socket.hit && socket.bytesLeft === 0 && when === 'sent') queueMicrotask(die)
    return done
  }
  Object.assign(Socket.prototype, { write: watched })
}

/** Calls back with the correlation id of every answer on a socket, before any other listener has it. */
function eachAnswer(socket: Socket, each: (correlation: number) => unknown): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.prependListener('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= 8) {
      each(rest.readInt32BE(4))
      const size = 4 + rest.readInt32BE(0)
      if (rest.length < size) return
      rest = rest.subarray(size)
    }
  })
}
