/**
 * Sockets to brokers. kafkajs 2.2.4 opens, encrypts and authenticates them; what travels over them is ours.
 *
 * A lane is one socket to one broker, opened at its first request and again after a loss. Requests are written in the order of the calls, and
 * each has a deadline. A lost socket fails what was on it with `LinkLost`, which says whether the request may have reached the broker;
 * nothing is sent again here. kafkajs's retries, its logging, its producer and its consumer are not used.
 *
 * A broker works on one request of a socket at a time, so whatever waits at the broker (JoinGroup, a Fetch without data) has a lane of its own.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { connectionFailure, LinkLost, unsupportedApi } from './failures.ts'
import { type Api, newestVersion } from './wire/api.ts'
import { type ApiVersionsResponse, apiVersions } from './wire/api-versions.ts'
import { decodeResponse, encodeRequestParts } from './wire/framing.ts'

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

/** What kafkajs's Connection must have for us to use it. */
interface Connection {
  socket: Socket
  sessionLifetime: unknown
  readonly requestQueue: {
    push(request: { entry: Entry; expectResponse: true; requestTimeout: number; sendRequest: () => void }): void
    destroy(): void
    checkPendingRequests: () => void
  }
  connect(): Promise<unknown>
  authenticate(): Promise<unknown>
  isAuthenticated(): boolean
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
  'isAuthenticated',
  'isConnected',
  'nextCorrelationId',
  'setVersions',
  'setSupportAuthenticationProtocol',
  'rejectRequests',
]
const KAFKAJS_VERSION = '2.2.4'
/** Deadlines are per request; kafkajs takes the longer of this and the request's own, ms. */
const REQUEST_MS_MIN = 1_000
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
    reauthenticationThreshold: 10_000,
  })
  // Nothing is ever queued, because nothing limits what is on its way. Left alone, this sets a timer with a negative time at every answer, and
  // Node prints a warning about it.
  if (connection.requestQueue !== undefined) connection.requestQueue.checkPendingRequests = () => {}
  return connection
}

export interface SendOptions {
  /** The request fails, and the socket with it, when there is no answer after so long, ms. */
  readonly timeoutMs: number
  /** Not the newest version that both speak, but at most this one. */
  readonly version?: number
}

/** One open socket, with what its broker said of itself. */
class Link {
  readonly broker: ApiVersionsResponse
  readonly name: string
  private readonly connection: Connection
  private readonly options: LinkOptions
  private inFlight = 0
  private idle: (() => void) | undefined
  lost: Error | undefined

  private constructor(name: string, connection: Connection, options: LinkOptions, broker: ApiVersionsResponse) {
    this.name = name
    this.connection = connection
    this.options = options
    this.broker = broker
    connection.socket.once('close', () => {
      this.end(new Error('the socket was closed'))
      options.onClose?.()
    })
  }

  static async open(address: BrokerAddress, options: LinkOptions): Promise<Link> {
    const name = `${address.host}:${address.port}`
    const connection = newConnection(kafkajs(), address, options)
    let stage: 'connect' | 'greet' | 'authenticate' = 'connect'
    try {
      await connection.connect()
      const { socket } = connection
      socket.setNoDelay(true)
      // kafkajs looks at deadlines only as long as it believes to be connected: nothing may wait on a socket that is gone.
      socket.once('close', () => connection.rejectRequests(new Error('the socket was closed')))
      stage = 'greet'
      const broker = await greet(connection, options)
      stage = 'authenticate'
      if (options.sasl !== undefined) {
        connection.setVersions({
          [SASL_HANDSHAKE]: { minVersion: 0, maxVersion: 1 },
          [SASL_AUTHENTICATE]: { minVersion: 0, maxVersion: 1 },
        })
        connection.setSupportAuthenticationProtocol(true)
        await connection.authenticate()
      }
      const link = new Link(name, connection, options, broker)
      if (!link.usable) throw new Error('the socket was closed')
      return link
    } catch (error) {
      end(connection, error as Error)
      throw connectionFailure({
        broker: name,
        stage,
        sasl: options.sasl?.mechanism as string | undefined,
        tls: options.ssl !== undefined,
        cause: error,
      })
    }
  }

  get usable(): boolean {
    return this.lost === undefined && this.connection.isConnected()
  }

  /** Whether the login has to be renewed before anything else is sent. */
  get expired(): boolean {
    return this.options.sasl !== undefined && !this.connection.isAuthenticated()
  }

  /** Written before this returns: what is called first is first on the wire. */
  send<Request, Response>(api: Api<Request, Response>, request: Request, options: SendOptions): Promise<Response> {
    if (!this.usable) return Promise.reject(new LinkLost(`${api.name} to ${this.name}`, false, this.lost))
    const range = this.broker.apiKeys.find(({ apiKey }) => apiKey === api.key)
    const { version: most = Number.POSITIVE_INFINITY } = options
    const version = range && newestVersion(api, { ...range, maxVersion: Math.min(range.maxVersion, most) })
    if (version === undefined) return Promise.reject(unsupportedApi(this.name, api, range, options.version))
    const { connection } = this
    const correlationId = connection.nextCorrelationId()
    let parts: Buffer[]
    try {
      parts = encodeRequestParts(api, version, correlationId, this.options.clientId, request)
    } catch (error) {
      return Promise.reject(error)
    }
    this.inFlight++
    return new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
      connection.requestQueue.push({
        entry: { apiKey: api.key, apiName: api.name, apiVersion: version, correlationId, resolve, reject },
        expectResponse: true,
        requestTimeout: options.timeoutMs,
        sendRequest: () => write(connection.socket, parts),
      })
    })
      .then(
        ({ payload }) => decodeResponse(api as Api<never, Response>, version, payload),
        (error: Error) => {
          // After a deadline nobody can tell what else is stuck behind it.
          this.end(error)
          throw new LinkLost(`${api.name} to ${this.name}`, true, error)
        },
      )
      .finally(() => {
        this.inFlight--
        if (this.inFlight === 0) this.idle?.()
      })
  }

  /** Resolves when nothing is on its way. */
  drained(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.idle = resolve
    })
  }

  end(error: Error): void {
    if (this.lost !== undefined) return
    this.lost = error
    end(this.connection, error)
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

/** What the broker speaks. One that does not know version 4 answers with error 35 in version 0, which is read as such. */
async function greet(connection: Connection, options: LinkOptions): Promise<ApiVersionsResponse> {
  const ask = async (version: number): Promise<ApiVersionsResponse> => {
    const correlationId = connection.nextCorrelationId()
    const request = { clientSoftwareName: 'tidemark', clientSoftwareVersion: '0.1.0' }
    const parts = encodeRequestParts(apiVersions, version, correlationId, options.clientId, request)
    const { payload } = await new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
      connection.requestQueue.push({
        entry: { apiKey: apiVersions.key, apiName: apiVersions.name, apiVersion: version, correlationId, resolve, reject },
        expectResponse: true,
        requestTimeout: options.connectMs,
        sendRequest: () => write(connection.socket, parts),
      })
    })
    return decodeResponse(apiVersions as Api<never, ApiVersionsResponse>, version, payload)
  }
  const [oldest, newest] = apiVersions.versions
  const answer = await ask(newest)
  return answer.error === 0 ? answer : await ask(oldest)
}

interface Waiting {
  readonly go: (link: Link) => void
  readonly fail: (error: Error) => void
}

/** One socket to one broker, for as long as it is wanted. */
export class Lane {
  readonly address: BrokerAddress
  private readonly options: LinkOptions
  private link: Link | undefined
  private opening = false
  private waiting: Waiting[] = []
  private closed: Error | undefined

  constructor(address: BrokerAddress, options: LinkOptions) {
    this.address = address
    this.options = options
  }

  /** What the broker says of itself, once it was reached. @throws LinkLost TidemarkError BROKER_*, AUTHENTICATION_FAILED, TLS_FAILED */
  greeting(): Promise<ApiVersionsResponse> {
    return new Promise((resolve, reject) => this.whenOpen({ go: (link) => resolve(link.broker), fail: reject }))
  }

  /**
   * Sends a request behind all that were sent before it.
   * @throws LinkLost when the socket was lost, or could not be opened
   * @throws TidemarkError API_UNSUPPORTED, AUTHENTICATION_FAILED, TLS_FAILED, WIRE_INVALID, LOG_CLOSED
   */
  send<Request, Response>(api: Api<Request, Response>, request: Request, options: SendOptions): Promise<Response> {
    const { link } = this
    if (link?.usable && !this.opening && !link.expired) return link.send(api, request, options)
    return new Promise((resolve, reject) =>
      this.whenOpen({ go: (opened) => void opened.send(api, request, options).then(resolve, reject), fail: reject }),
    )
  }

  /** Fails everything that is on its way, and every later request. */
  close(error: Error): void {
    if (this.closed !== undefined) return
    this.closed = error
    this.drop(error)
  }

  /** Fails everything that is on its way; the next request opens the socket again. */
  drop(error: Error): void {
    this.link?.end(error)
    this.link = undefined
    for (const { fail } of this.waiting.splice(0)) fail(error)
  }

  private whenOpen(waiting: Waiting): void {
    if (this.closed !== undefined) {
      waiting.fail(this.closed)
      return
    }
    this.waiting.push(waiting)
    if (!this.opening) void this.open()
  }

  private async open(): Promise<void> {
    this.opening = true
    try {
      // A login that has run out is renewed by another socket, when all that was sent over the old one has been answered: order is kept.
      if (this.link?.usable && this.link.expired) {
        await this.link.drained()
        this.link?.end(new LinkLost(`${this.link.name}: the login ran out`, false, undefined))
      }
      if (!this.link?.usable) {
        const link = await Link.open(this.address, this.options)
        if (this.closed !== undefined) link.end(this.closed)
        else this.link = link
      }
    } catch (error) {
      this.opening = false
      for (const { fail } of this.waiting.splice(0)) fail(error as Error)
      return
    }
    this.opening = false
    const { link } = this
    for (const { go, fail } of this.waiting.splice(0)) {
      if (link === undefined || this.closed !== undefined) fail(this.closed ?? new LinkLost('the socket was closed', false, undefined))
      else go(link)
    }
  }
}
