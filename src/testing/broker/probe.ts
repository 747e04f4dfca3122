/**
 * Whether a broker answers, and as whom: one Metadata request over a socket of its own. A port that accepts is no proof: it may be
 * anybody's, and a broker accepts before it serves.
 */
import { connect } from 'node:net'

/** Metadata 4: the oldest that every supported broker has with the cluster id, and whose request can say not to create topics. */
const METADATA = 3
const METADATA_VERSION = 4
const CORRELATION = 1
const CLIENT = 'tidemark-probe'

export interface Seen {
  readonly clusterId: string | undefined
  /** The nodes that serve, as this broker knows. */
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[]
}

/** Asks a broker which cluster it belongs to, without TLS and without a login. Undefined when it does not answer in time, or not as a broker. */
export function probe(host: string, port: number, timeoutMs = 2_000): Promise<Seen | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    let received = Buffer.alloc(0)
    const end = (seen: Seen | undefined): void => {
      socket.destroy()
      resolve(seen)
    }
    socket.setTimeout(timeoutMs, () => end(undefined))
    socket.once('error', () => end(undefined))
    socket.once('close', () => end(undefined))
    socket.once('connect', () => socket.write(request()))
    socket.on('data', (piece) => {
      received = Buffer.concat([received, piece])
      if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return
      try {
        end(read(received))
      } catch {
        // Bytes that end before they should: not a broker.
        end(undefined)
      }
    })
  })
}

/** size, api key, version, correlation id, client id; no topics, none to be created. */
function request(): Buffer {
  const frame = Buffer.alloc(4 + 10 + CLIENT.length + 5)
  frame.writeInt32BE(frame.length - 4, 0)
  frame.writeInt16BE(METADATA, 4)
  frame.writeInt16BE(METADATA_VERSION, 6)
  frame.writeInt32BE(CORRELATION, 8)
  frame.writeInt16BE(CLIENT.length, 12)
  frame.write(CLIENT, 14, 'latin1')
  return frame
}

/** size, correlation id, throttle time, brokers [id, host, port, rack?], cluster id?, controller id, topics */
function read(frame: Buffer): Seen {
  let at = 12
  const int32 = (): number => {
    at += 4
    return frame.readInt32BE(at - 4)
  }
  const text = (): string | undefined => {
    const length = frame.readInt16BE(at)
    at += 2 + Math.max(length, 0)
    if (at > frame.length) throw new RangeError('a text goes beyond the end')
    return length < 0 ? undefined : frame.toString('utf8', at - length, at)
  }
  if (frame.readInt32BE(4) !== CORRELATION) throw new RangeError('an answer to another question')
  const nodes: { id: number; host: string; port: number }[] = []
  for (let left = int32(); left > 0; left--) {
    nodes.push({ id: int32(), host: text() ?? '', port: int32() })
    text()
  }
  return { clusterId: text(), nodes }
}
