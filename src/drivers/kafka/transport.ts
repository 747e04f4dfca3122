/**
 * Lanes to brokers: what travels over a socket, in which order, and how its loss is told.
 *
 * A lane is one socket to one broker, opened at its first request and again after a loss. Requests are written in the order of the calls, and
 * each has a deadline. A lost socket fails what was on it with `LinkLost`, which says whether the request may have reached the broker;
 * nothing is sent again here.
 *
 * A broker works on one request of a socket at a time, so whatever waits at the broker (JoinGroup, a Fetch without data) has a lane of its own.
 *
 * A broker whose quota is used up says for how long it reads nothing more of a socket. Requests wait here for that long, in order, and the
 * deadlines of those that are on their way already are put off by as much.
 */
import { DEFAULT_LIMITS } from '../../ports/record-batch/index.ts'
import { connectionFailure, LinkLost, unsupportedApi } from './failures.ts'
import { requireSecrecy } from './security.ts'
import { type BrokerAddress, type Dial, dialKafkajs, type Line, type LinkOptions } from './sockets.ts'
import { type Throttles, throttleMsOf } from './throttle.ts'
import { type Api, newestVersion } from './wire/api.ts'
import { type ApiVersionsResponse, apiVersions } from './wire/api-versions.ts'
import { APIS } from './wire/apis.ts'
import { createTopics } from './wire/create-topics.ts'
import { deleteRecords } from './wire/delete-records.ts'
import { deleteTopics } from './wire/delete-topics.ts'
import { describeGroups } from './wire/describe-groups.ts'
import { decodeResponse, encodeRequestParts } from './wire/framing.ts'
import { incrementalAlterConfigs } from './wire/incremental-alter-configs.ts'

export type { BrokerAddress, Dial, LinkOptions } from './sockets.ts'

export interface SendOptions {
  /** The request fails, and the socket with it, when there is no answer after so long, ms. */
  readonly timeoutMs: number
  /** Not the newest version that both speak, but at most this one. */
  readonly version?: number
}

/** Of an answer without records: a list of all topics of a large cluster is the longest, bytes. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024
/** Of an answer to who has not logged in, bytes. */
const GREETING_BYTES_MAX = 1024 * 1024

/** What only some commands use; whoever does hears of it then. */
const NEEDED_LATE: ReadonlySet<unknown> = new Set([createTopics, deleteTopics, deleteRecords, describeGroups, incrementalAlterConfigs])

/** One open socket, with what its broker said of itself. */
class Link {
  readonly broker: ApiVersionsResponse
  readonly name: string
  private readonly line: Line
  private readonly options: LinkOptions
  private readonly throttles: Throttles
  private inFlight = 0
  private idle: (() => void) | undefined
  private readonly over = new AbortController()
  /** The broker reads nothing before, ms by the monotonic clock. */
  private restUntil = Number.NEGATIVE_INFINITY
  lost: Error | undefined

  private constructor(name: string, line: Line, options: LinkOptions, broker: ApiVersionsResponse, throttles: Throttles) {
    this.name = name
    this.line = line
    this.options = options
    this.broker = broker
    this.throttles = throttles
    this.heed('ApiVersions', broker)
    line.onClose(() => {
      this.end(new Error('the socket was closed'))
      options.onClose?.()
    })
  }

  static async open({ address, options, dial, throttles }: LaneParts & { readonly dial: Dial }): Promise<Link> {
    const name = `${address.host}:${address.port}`
    let line: Line | undefined
    let stage: 'connect' | 'greet' | 'authenticate' = 'connect'
    try {
      // Also those that others told us of.
      const { withoutTls = false } = options
      requireSecrecy(address.host, { sasl: options.sasl?.mechanism as string | undefined, tls: options.ssl !== undefined, withoutTls })
      line = await dial(address, options)
      stage = 'greet'
      const broker = await greet(line, options)
      requireApis(name, broker)
      stage = 'authenticate'
      await line.login()
      const link = new Link(name, line, options, broker, throttles)
      if (!link.usable) throw new Error('the socket was closed')
      return link
    } catch (error) {
      line?.end(error as Error)
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
    return this.lost === undefined && this.line.connected
  }

  /** Whether the login has to be renewed before anything else is sent. */
  get expired(): boolean {
    return this.line.expired
  }

  /** Written before this returns: what is called first is first on the wire. */
  send<Request, Response>(api: Api<Request, Response>, request: Request, options: SendOptions): Promise<Response> {
    if (!this.usable) return Promise.reject(new LinkLost(`${api.name} to ${this.name}`, false, this.lost))
    const range = this.broker.apiKeys.find(({ apiKey }) => apiKey === api.key)
    const { version: most = Number.POSITIVE_INFINITY } = options
    const version = range && newestVersion(api, { ...range, maxVersion: Math.min(range.maxVersion, most) })
    if (version === undefined) return Promise.reject(unsupportedApi(this.name, [{ api, range }]))
    const correlationId = this.line.nextCorrelationId()
    let parts: Buffer[]
    try {
      parts = encodeRequestParts(api, version, correlationId, this.options.clientId, request)
    } catch (error) {
      return Promise.reject(error)
    }
    const { batchBytesMax = DEFAULT_LIMITS.batchBytesMax } = this.options
    const answerBytesMax = api.answerBytesMax?.(request, batchBytesMax) ?? ANSWER_BYTES_MAX
    const about = { apiKey: api.key, apiName: api.name, apiVersion: version, correlationId, answerBytesMax, timeoutMs: options.timeoutMs }
    this.inFlight++
    return this.line
      .exchange({ ...about, parts })
      .then(
        (payload) => {
          const answer = decodeResponse(api as Api<never, Response>, version, payload)
          this.heed(api.name, answer)
          return answer
        },
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

  /** For how long the broker will read nothing more, ms. */
  get restMs(): number {
    return this.restUntil - this.throttles.clock.mono()
  }

  /** Resolves when the broker reads again, or the link is lost. */
  async rested(): Promise<void> {
    while (this.usable && this.restMs > 0) await this.throttles.clock.sleep(this.restMs, this.over.signal).catch(() => {})
  }

  private heed(api: string, answer: unknown): void {
    const ms = throttleMsOf(answer)
    if (ms === 0) return
    this.restUntil = Math.max(this.restUntil, this.throttles.clock.mono() + ms)
    // What is on its way lies in the socket until the broker reads it.
    this.line.putOff(ms)
    this.throttles.note(this.name, api, ms)
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
    this.over.abort(error)
    this.line.end(error)
  }
}

/** What the broker speaks. One that does not know version 4 answers with error 35 in version 0, which is read as such. */
async function greet(line: Line, { clientId, connectMs }: LinkOptions): Promise<ApiVersionsResponse> {
  const ask = async (version: number): Promise<ApiVersionsResponse> => {
    const correlationId = line.nextCorrelationId()
    const request = { clientSoftwareName: 'tidemark', clientSoftwareVersion: '0.1.0' }
    const parts = encodeRequestParts(apiVersions, version, correlationId, clientId, request)
    const about = { apiKey: apiVersions.key, apiName: apiVersions.name, apiVersion: version, answerBytesMax: GREETING_BYTES_MAX }
    const payload = await line.exchange({ ...about, correlationId, parts, timeoutMs: connectMs })
    return decodeResponse(apiVersions as Api<never, ApiVersionsResponse>, version, payload)
  }
  const [oldest, newest] = apiVersions.versions
  const answer = await ask(newest)
  return answer.error === 0 ? answer : await ask(oldest)
}

/**
 * Every broker that a worker talks to must speak all that workers use, whichever of it comes first: else a worker would run for as long as
 * nothing asks for the rest. @throws TidemarkError API_UNSUPPORTED
 */
function requireApis(name: string, { apiKeys }: ApiVersionsResponse): void {
  const lacked = APIS.flatMap((api) => {
    const range = apiKeys.find(({ apiKey }) => apiKey === api.key)
    const spoken = range !== undefined && newestVersion(api, range) !== undefined
    return spoken || NEEDED_LATE.has(api) ? [] : [{ api, range }]
  })
  if (lacked.length > 0) throw unsupportedApi(name, lacked)
}

interface Waiting {
  readonly go: (link: Link) => void
  readonly fail: (error: Error) => void
}

export interface LaneParts {
  readonly address: BrokerAddress
  readonly options: LinkOptions
  /** Default: by kafkajs. */
  readonly dial?: Dial | undefined
  readonly throttles: Throttles
}

/** A broker whose quota was used up once uses the same words again soon, ms. */
const THROTTLED_MS = 60_000

/** One socket to one broker, for as long as it is wanted. */
export class Lane {
  readonly address: BrokerAddress
  private readonly parts: LaneParts & { readonly dial: Dial }
  private link: Link | undefined
  private opening = false
  private waiting: Waiting[] = []
  private closed: Error | undefined

  constructor({ dial, ...parts }: LaneParts) {
    this.address = parts.address
    this.parts = { ...parts, dial: dial ?? dialKafkajs }
  }

  /** Whether the broker made this lane wait not long ago: what is sent over it may have to wait again. */
  get throttled(): boolean {
    return (this.link?.restMs ?? Number.NEGATIVE_INFINITY) > -THROTTLED_MS
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
    if (link?.usable && !this.opening && !link.expired && link.restMs <= 0) return link.send(api, request, options)
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
        const link = await Link.open(this.parts)
        if (this.closed !== undefined) link.end(this.closed)
        else this.link = link
      }
      await this.link?.rested()
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
