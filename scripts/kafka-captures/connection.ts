/** One plain TCP connection to a broker: a request, its answer, both kept as they were on the wire. */
import { connect, type Socket } from 'node:net'
import { type Api, correlationIdOf, decodeResponse, encodeRequest } from '../../src/drivers/kafka/wire/index.ts'
import type { Recorder } from './recorder.ts'

const CLIENT_ID = 'tidemark-captures'

export class Connection {
  private readonly socket: Socket
  private readonly recorder: Recorder
  private readonly waiting = new Map<number, (frame: Buffer) => void>()
  private rest: Buffer = Buffer.alloc(0)
  private correlationId = 0

  private constructor(socket: Socket, recorder: Recorder) {
    this.socket = socket
    this.recorder = recorder
    socket.on('data', (bytes) => this.take(bytes))
  }

  static async open(host: string, port: number, recorder: Recorder): Promise<Connection> {
    const socket = connect(port, host)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new Connection(socket, recorder)
  }

  /** Sends a request; recorded when it has a name, which may depend on the answer. */
  async call<Request, Response>(
    api: Api<Request, Response>,
    version: number,
    request: Request,
    naming?: string | ((answer: Response) => string | undefined),
  ): Promise<Response> {
    const id = ++this.correlationId
    const frame = encodeRequest(api, version, id, CLIENT_ID, request)
    const answer = await this.exchange(id, frame)
    const response = decodeResponse(api, version, answer.subarray(8))
    const name = typeof naming === 'function' ? naming(response) : naming
    if (name !== undefined) this.recorder.add(api, { name, client: 'tidemark', version }, frame, answer)
    return response
  }

  /** Sends a request under a version that we do not speak, to see the refusal. */
  async callAs<Request, Response>(
    api: Api<Request, Response>,
    version: number,
    asked: number,
    request: Request,
    name: string,
  ): Promise<Response> {
    const id = ++this.correlationId
    const frame = encodeRequest(api, version, id, CLIENT_ID, request)
    frame.writeInt16BE(asked, 6)
    const answer = await this.exchange(id, frame)
    this.recorder.add(api, { name, client: 'tidemark', version: asked }, frame, answer)
    return decodeResponse(api, version, answer.subarray(8))
  }

  close(): void {
    this.socket.destroy()
  }

  private exchange(id: number, frame: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const lost = (): void => reject(new Error('the broker closed the connection: it could not read the request'))
      this.socket.once('close', lost)
      this.waiting.set(id, (answer) => {
        this.socket.off('close', lost)
        resolve(answer)
      })
      this.socket.write(frame)
    })
  }

  private take(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes])
    while (this.rest.length >= 4 && this.rest.length >= 4 + this.rest.readInt32BE(0)) {
      const end = 4 + this.rest.readInt32BE(0)
      const frame = Buffer.from(this.rest.subarray(0, end))
      this.rest = this.rest.subarray(end)
      this.waiting.get(correlationIdOf(frame))?.(frame)
      this.waiting.delete(correlationIdOf(frame))
    }
  }
}
