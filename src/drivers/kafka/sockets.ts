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
import { candid, type Mechanism, refusalOf } from './login.ts'
import { FrameReader } from './wire/frames.ts'

/** How brokers are reached; secrets are in here, so it is never printed. */
export interface LinkOptions {
  readonly clientId: string
  /** As `tls.connect` takes it; undefined for plain sockets. */
  readonly ssl: object | undefined
  /** As kafkajs takes it. */
  readonly sasl: Readonly<Record<string, unknown>> | undefined
  /** Whether a password or a token may be sent without TLS, beyond the loopback. Default false. */
  readonly withoutTls?: boolean
  /** How long a connection may take to come about, ms. */
  readonly connectMs: number
  /** The largest batch that is read, bytes: what an answer may have follows from it. Default that of `Limits`. */
  readonly batchBytesMax?: number
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
  /** An answer that says it is longer, its size included, ends the line before it is read. */
  readonly answerBytesMax: number
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
  /**
   * Logs in, where that is wanted: after the first exchange, and before any other than that.
   * @throws LoginRefused when the broker said no; everything else is as it came, and passes
   */
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
    /** The shortest deadline that a request can have, ms; the only one of those that kafkajs sends by itself. */
    requestTimeout: number
    /** What is on its way, in the order of sending. */
    readonly inflight: ReadonlyMap<number, { requestTimeout: number }>
    fulfillRequest(answer: { correlationId: number; payload: Buffer; size: number }): void
    push(request: { entry: Entry; expectResponse: true; requestTimeout: number; sendRequest: () => void }): void
    destroy(): void
    checkPendingRequests: () => void
  }
  /** Takes what came over the socket; ours takes its place. */
  processData: (data: Buffer) => void
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
  'processData',
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
/** Of an answer to a request of kafkajs's own, which are those of a login, bytes. */
const LOGIN_BYTES_MAX = 1024 * 1024
/** kafkajs's files of the mechanisms that are its own. */
const MECHANISM_FILES = { plain: 'plain', 'scram-sha-256': 'scram256', 'scram-sha-512': 'scram512' }

interface Kafkajs {
  readonly Connection: ConnectionClass
  readonly socketFactory: unknown
  readonly logger: unknown
  readonly mechanisms: Readonly<Record<string, (sasl: object) => Mechanism>>
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
      mechanisms: Object.fromEntries(
        Object.entries(MECHANISM_FILES).map(([name, of]) => [name, load(`kafkajs/src/broker/saslAuthenticator/${of}.js`)]),
      ),
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
  for (const method of ['push', 'destroy', 'fulfillRequest', 'checkPendingRequests'] as const) {
    if (typeof connection.requestQueue?.[method] !== 'function') lacks.push(`requestQueue.${method}`)
  }
  if (typeof connection.requestQueue?.requestTimeout !== 'number') lacks.push('requestQueue.requestTimeout')
  if (!(connection.requestQueue?.inflight instanceof Map)) lacks.push('requestQueue.inflight')
  if (lacks.length > 0) throw new Error(`its connections lack ${lacks.join(', ')}`)
}

function newConnection(
  { Connection, socketFactory, logger, mechanisms }: Kafkajs,
  { host, port }: BrokerAddress,
  options: LinkOptions,
): Connection {
  const { sasl } = options
  const mechanism = sasl === undefined ? undefined : mechanisms[sasl.mechanism as string]
  const connection = new Connection({
    host,
    port,
    logger,
    socketFactory,
    clientId: options.clientId,
    ssl: options.ssl ?? null,
    sasl: sasl === undefined ? null : { ...sasl, ...(mechanism === undefined ? {} : { authenticationProvider: candid(mechanism(sasl)) }) },
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
  const { requestQueue } = connection
  const asked = new Map<number, number>()
  const frames = new FrameReader(
    () => {
      for (const correlationId of requestQueue.inflight.keys()) {
        return { correlationId, bytesMax: asked.get(correlationId) ?? LOGIN_BYTES_MAX }
      }
      return undefined
    },
    (correlationId, payload) => requestQueue.fulfillRequest({ correlationId, payload, size: payload.length }),
  )
  // kafkajs believes every length: one below zero would end the process, and for a large one it would gather gigabytes.
  connection.processData = (data) => {
    try {
      frames.push(data)
    } catch (error) {
      connection.processData = () => {}
      end(connection, error as Error)
    }
  }
  let renewAt = Number.POSITIVE_INFINITY
  return {
    get connected() {
      return !socket.destroyed && connection.isConnected()
    },
    get expired() {
      return performance.now() >= renewAt
    },
    nextCorrelationId: () => connection.nextCorrelationId(),
    exchange: ({ parts, timeoutMs, answerBytesMax, ...entry }) =>
      new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
        asked.set(entry.correlationId, answerBytesMax)
        requestQueue.push({
          entry: { ...entry, resolve, reject },
          expectResponse: true,
          requestTimeout: timeoutMs,
          sendRequest: () => write(socket, parts),
        })
      })
        .finally(() => asked.delete(entry.correlationId))
        .then(({ payload }) => payload),
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
      requestQueue.requestTimeout = Math.max(REQUEST_MS_MIN, options.connectMs)
      try {
        await connection.authenticate()
      } catch (error) {
        throw refusalOf(error, 'mechanism')
      } finally {
        requestQueue.requestTimeout = REQUEST_MS_MIN
      }
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
