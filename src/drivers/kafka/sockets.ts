/**
 * Sockets to brokers as kafkajs 2.2.4 opens, encrypts and authenticates them, and as little else of it as possible: its retries, its logging,
 * its producer and its consumer are not used. Its internals are not its public face, so the one version that we know is checked for the parts
 * that we touch.
 *
 * What is written to a socket, and what an answer means, is decided above (`transport.ts`), through the small face that is here: tests put
 * another kind of line behind it.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { messageOf, TidemarkError } from '../../base/errors.ts'

/** How brokers are reached; secrets are in here, so it is never printed. */
export interface LinkOptions {
  readonly clientId: string
  /** As `tls.connect` takes it; undefined for plain sockets. */
  readonly ssl: object | undefined
  /** As kafkajs takes it. */
  readonly sasl: Readonly<Record<string, unknown>> | undefined
  /** How long a connection may take to come about, ms. */
  readonly connectMs: number
  /** Called whenever a socket is gone. */
  readonly onClose?: () => void
}

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

/** One request, ready to be written. */
export interface Outgoing {
  readonly apiKey: number
  readonly apiName: string
  readonly apiVersion: number
  readonly correlationId: number
  readonly parts: readonly Buffer[]
  /** The answer is not waited for any longer than this, ms. */
  readonly timeoutMs: number
}

/** One open socket. Answers come in the order of their requests. */
export interface Line {
  readonly connected: boolean
  /** Whether the login has run out, or is about to: nothing more is to be sent. */
  readonly expired: boolean
  nextCorrelationId(): number
  /**
   * Writes a request before it returns. Resolves with what follows the correlation id of its answer; rejects when the line is lost, or there
   * is no answer in time.
   */
  exchange(request: Outgoing): Promise<Buffer>
  /** The deadlines of all that is on its way are later by so much, ms. */
  putOff(ms: number): void
  /** Logs in, where that is wanted: after the first exchange, and before any other than that. */
  login(): Promise<void>
  onClose(listener: () => void): void
  /** Closes the socket, and rejects everything that is on it. */
  end(error: Error): void
}

/** Opens a line. Rejects with whatever the system says. */
export type Dial = (address: BrokerAddress, options: LinkOptions) => Promise<Line>

/** What kafkajs's Connection must have for us to use it. */
interface Connection {
  socket: Socket
  /** How long the broker lets the login last, ms as a Long; zero for ever. */
  readonly sessionLifetime: { toString(): string }
  readonly requestQueue: {
    /** What is on its way. */
    readonly inflight: ReadonlyMap<number, { requestTimeout: number }>
    push(request: { entry: Entry; expectResponse: true; requestTimeout: number; sendRequest: () => void }): void
    destroy(): void
    checkPendingRequests: () => void
  }
  connect(): Promise<unknown>
  authenticate(): Promise<unknown>
  isConnected(): boolean
  nextCorrelationId(): number
  setVersions(versions: object): void
  setSupportAuthenticationProtocol(supported: boolean): void
  rejectRequests(error: Error): void
}
interface Entry {
  readonly apiKey: number
  readonly apiName: string
  readonly apiVersion: number
  readonly correlationId: number
  readonly resolve: (answer: { readonly payload: Buffer }) => void
  readonly reject: (error: Error) => void
}
type ConnectionClass = new (options: Record<string, unknown>) => Connection

const METHODS = [
  'connect',
  'authenticate',
  'isConnected',
  'nextCorrelationId',
  'setVersions',
  'setSupportAuthenticationProtocol',
  'rejectRequests',
]
const KAFKAJS_VERSION = '2.2.4'
/** Deadlines are per request; kafkajs takes the longer of this and the request's own, ms. */
const REQUEST_MS_MIN = 1_000
/** A login is renewed before it runs out: when this share of it is left, and no earlier than this, ms. */
const RENEWAL_SHARE = 0.15
const RENEWAL_MS_MAX = 10_000
const SASL_HANDSHAKE = 17
const SASL_AUTHENTICATE = 36

interface Kafkajs {
  readonly Connection: ConnectionClass
  readonly socketFactory: unknown
  readonly logger: unknown
}
let loaded: Kafkajs | undefined

/** @throws TidemarkError KAFKAJS_UNSUPPORTED */
function kafkajs(): Kafkajs {
  if (loaded !== undefined) return loaded
  const load = createRequire(import.meta.url)
  let found: Kafkajs
  try {
    const { version } = load('kafkajs/package.json') as { version: string }
    if (version !== KAFKAJS_VERSION) throw new Error(`version ${version} is installed`)
    const { createLogger } = load('kafkajs/src/loggers/index.js') as {
      createLogger: (options: { level: number; logCreator: () => () => void }) => unknown
    }
    const factory = load('kafkajs/src/network/socketFactory.js') as () => unknown
    found = {
      Connection: load('kafkajs/src/network/connection.js') as ConnectionClass,
      socketFactory: factory(),
      logger: createLogger({ level: 0, logCreator: () => () => {} }),
    }
    checkShape(newConnection(found, { host: '127.0.0.1', port: 1 }, { clientId: 'shape', ssl: undefined, sasl: undefined, connectMs: 1 }))
  } catch (error) {
    throw new TidemarkError('KAFKAJS_UNSUPPORTED', 'the transport to Kafka is not the kafkajs that this driver was made for', {
      detail: `It needs kafkajs ${KAFKAJS_VERSION}: ${messageOf(error)}.`,
      hint: `Install exactly kafkajs@${KAFKAJS_VERSION}.`,
      cause: error,
    })
  }
  loaded = found
  return found
}

function checkShape(connection: Connection): void {
  const lacks = METHODS.filter((method) => typeof (connection as unknown as Record<string, unknown>)[method] !== 'function')
  for (const method of ['push', 'destroy', 'checkPendingRequests'] as const) {
    if (typeof connection.requestQueue?.[method] !== 'function') lacks.push(`requestQueue.${method}`)
  }
  if (!(connection.requestQueue?.inflight instanceof Map)) lacks.push('requestQueue.inflight')
  if (lacks.length > 0) throw new Error(`its connections lack ${lacks.join(', ')}`)
}

function newConnection({ Connection, socketFactory, logger }: Kafkajs, { host, port }: BrokerAddress, options: LinkOptions): Connection {
  const connection = new Connection({
    host,
    port,
    logger,
    socketFactory,
    clientId: options.clientId,
    ssl: options.ssl ?? null,
    // kafkajs writes its authenticator into what it is given.
    sasl: options.sasl === undefined ? null : { ...options.sasl },
    connectionTimeout: options.connectMs,
    requestTimeout: REQUEST_MS_MIN,
    enforceRequestTimeout: true,
    maxInFlightRequests: null,
  })
  // Nothing is ever queued, because nothing limits what is on its way. Left alone, this sets a timer with a negative time at every answer, and
  // Node prints a warning about it.
  if (connection.requestQueue !== undefined) connection.requestQueue.checkPendingRequests = () => {}
  return connection
}

/** Lines over kafkajs's sockets. @throws TidemarkError KAFKAJS_UNSUPPORTED, and what the system says */
export const dialKafkajs: Dial = async (address, options) => {
  const connection = newConnection(kafkajs(), address, options)
  try {
    await connection.connect()
  } catch (error) {
    end(connection, error as Error)
    throw error
  }
  const { socket } = connection
  socket.setNoDelay(true)
  // kafkajs looks at deadlines only as long as it believes to be connected: nothing may wait on a socket that is gone.
  socket.once('close', () => connection.rejectRequests(new Error('the socket was closed')))
  let renewAt = Number.POSITIVE_INFINITY
  return {
    get connected() {
      return connection.isConnected()
    },
    get expired() {
      return performance.now() >= renewAt
    },
    nextCorrelationId: () => connection.nextCorrelationId(),
    exchange: ({ parts, timeoutMs, ...entry }) =>
      new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
        connection.requestQueue.push({
          entry: { ...entry, resolve, reject },
          expectResponse: true,
          requestTimeout: timeoutMs,
          sendRequest: () => write(socket, parts),
        })
      }).then(({ payload }) => payload),
    putOff: (ms) => {
      for (const waiting of connection.requestQueue.inflight.values()) waiting.requestTimeout += ms
    },
    login: async () => {
      if (options.sasl === undefined) return
      connection.setVersions({
        [SASL_HANDSHAKE]: { minVersion: 0, maxVersion: 1 },
        [SASL_AUTHENTICATE]: { minVersion: 0, maxVersion: 1 },
      })
      connection.setSupportAuthenticationProtocol(true)
      await connection.authenticate()
      const lifetimeMs = Number(connection.sessionLifetime.toString())
      if (lifetimeMs > 0) renewAt = performance.now() + lifetimeMs - Math.min(lifetimeMs * RENEWAL_SHARE, RENEWAL_MS_MAX)
    },
    onClose: (listener) => void socket.once('close', listener),
    end: (error) => end(connection, error),
  }
}

function write(socket: Socket, parts: readonly Buffer[]): void {
  if (parts.length === 1) {
    socket.write(parts[0] as Buffer)
    return
  }
  socket.cork()
  for (const part of parts) socket.write(part)
  socket.uncork()
}

function end(connection: Connection, error: Error): void {
  connection.rejectRequests(error)
  connection.requestQueue.destroy()
  connection.socket?.destroy()
}
