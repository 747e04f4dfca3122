/**
 * What comes over a socket, cut into answers. Promises that nothing is kept of what is no answer to what was asked: a length is held against
 * the one that the next answer may have as soon as its four bytes are there, its correlation id as soon as its own are, and memory for the rest
 * grows with what has come. Whoever reads such bytes gets a typed error, and closes the socket: nothing behind them means anything.
 *
 *   answer => size:int32 correlationId:int32 rest
 */
import { TidemarkError } from '../../../base/errors.ts'

const SIZE_BYTES = 4
const ID_BYTES = 4
const HEAD_BYTES = SIZE_BYTES + ID_BYTES
/** Up to this size room is made at once; beyond it, only for twice of what has come. */
const ROOM_BYTES = 4 * 1024 * 1024

/** The answer that must come next: brokers answer the requests of a socket in their order. */
export interface Awaited {
  readonly correlationId: number
  /** The most that it may have, its size and its correlation id included. */
  readonly bytesMax: number
}

export class FrameReader {
  private readonly next: () => Awaited | undefined
  private readonly take: (correlationId: number, rest: Buffer) => void
  /** Of an answer that has not come completely. */
  private held: Buffer = Buffer.alloc(0)
  private heldBytes = 0
  /** When that many bytes are held, there is something to decide. */
  private wanted = SIZE_BYTES

  /** @param take is given what follows a correlation id: a view of what came, or memory of its own */
  constructor(next: () => Awaited | undefined, take: (correlationId: number, rest: Buffer) => void) {
    this.next = next
    this.take = take
  }

  /** Takes what came. @throws TidemarkError WIRE_INVALID */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.heldBytes === 0 && chunk.length - at >= HEAD_BYTES) {
        const bytes = this.bytesOf(chunk, at)
        if (chunk.length - at >= bytes) {
          this.give(chunk.subarray(at, at + bytes))
          at += bytes
          continue
        }
        this.wanted = bytes
      }
      const count = Math.min(this.wanted - this.heldBytes, chunk.length - at)
      this.hold(chunk, at, count)
      at += count
      if (this.heldBytes < this.wanted) return
      this.wanted = this.heldBytes < HEAD_BYTES ? this.afterSize() : this.bytesOf(this.held, 0)
      if (this.heldBytes < this.wanted) continue
      const whole = this.held.subarray(0, this.heldBytes)
      this.held = Buffer.alloc(0)
      this.heldBytes = 0
      this.wanted = SIZE_BYTES
      this.give(whole)
    }
  }

  private give(answer: Buffer): void {
    this.take(answer.readInt32BE(SIZE_BYTES), answer.subarray(HEAD_BYTES))
  }

  private hold(chunk: Buffer, at: number, count: number): void {
    const needed = this.heldBytes + count
    if (needed > this.held.length) {
      const roomy = Buffer.allocUnsafe(this.wanted <= ROOM_BYTES ? this.wanted : Math.min(this.wanted, Math.max(ROOM_BYTES, needed * 2)))
      this.held.copy(roomy, 0, 0, this.heldBytes)
      this.held = roomy
    }
    chunk.copy(this.held, this.heldBytes, at, at + count)
    this.heldBytes = needed
  }

  /** How many bytes tell more, once the size is known to be a possible one. */
  private afterSize(): number {
    this.checkSize(this.held, 0)
    return HEAD_BYTES
  }

  /** How many bytes the answer has whose head lies there. */
  private bytesOf(bytes: Buffer, at: number): number {
    const { correlationId } = this.checkSize(bytes, at)
    const found = bytes.readInt32BE(at + SIZE_BYTES)
    if (found !== correlationId) throw invalid(`It answers request ${found}, where ${correlationId} is the one to be answered.`, bytes, at)
    return SIZE_BYTES + bytes.readInt32BE(at)
  }

  private checkSize(bytes: Buffer, at: number): Awaited {
    const awaited = this.next()
    if (awaited === undefined) throw invalid('It was sent without being asked.', bytes, at)
    const size = bytes.readInt32BE(at)
    const sizeMax = awaited.bytesMax - SIZE_BYTES
    if (size < ID_BYTES || size > sizeMax)
      throw invalid(`It has the size ${size}, where ${ID_BYTES} to ${sizeMax} are possible.`, bytes, at)
    return awaited
  }
}

/** How others begin, and what to do about it. */
const STRANGERS: readonly (readonly [begins: string, hint: string])[] = [
  ['\u0015\u0003', 'That is how TLS begins: set "ssl", or use the port of a listener without TLS.'],
  ['HTTP', 'An HTTP server answers there, and no broker of Kafka. Is it the right port?'],
  ['SSH-', 'An SSH server answers there, and no broker of Kafka. Is it the right port?'],
]

function invalid(what: string, bytes: Buffer, at: number): TidemarkError {
  const head = bytes.subarray(at, at + HEAD_BYTES).toString('latin1')
  return new TidemarkError('WIRE_INVALID', 'what came from a broker is no answer to what it was asked', {
    detail: what,
    hint:
      STRANGERS.find(([begins]) => head.startsWith(begins))?.[1] ??
      'Is this address a Kafka broker, and nothing between here and there that changes bytes?',
  })
}
