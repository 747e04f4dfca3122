/**
 * The brokers of a cluster: who they are, who leads which partition, who coordinates which group and writer, and a lane to each. It promises
 * that what it knows is asked anew after every error that says it may be stale, and that an older answer never replaces a newer one.
 *
 * Requests that change nothing, or nothing the second time, are sent again here until a deadline. All others are sent once: whether they may
 * be sent again is decided by their callers.
 */
import type { TidemarkError } from '../../base/errors.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import { topicPartition } from '../../ports/log.ts'
import type { CoordinatorCall, CoordinatorKind } from './coordinator.ts'
import { Epochs } from './epochs.ts'
import { closedError, isCoordinatorMoved, LinkLost, topicError, topicUnknown, unreachable } from './failures.ts'
import { Lanes, type Purpose } from './lanes.ts'
import { Throttles } from './throttle.ts'
import type { BrokerAddress, Dial, Lane, LinkOptions, SendOptions } from './transport.ts'
import type { Api } from './wire/api.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { findCoordinator } from './wire/find-coordinator.ts'
import { type MetadataResponse, type MetadataTopic, metadata } from './wire/metadata.ts'

export interface ClusterOptions {
  /** `host:port`, to begin with. */
  readonly seeds: readonly BrokerAddress[]
  readonly link: LinkOptions
  readonly clock: Clock
  readonly random: Random
  /** How sockets are opened. Default: by kafkajs. The simulator has brokers of its own behind it. */
  readonly dial?: Dial | undefined
  /** Called with what is met and gone on from, such as a quota that is used up. Default: nobody hears of it. */
  readonly tell?: ((warning: TidemarkError) => void) | undefined
}

export interface PartitionLeader {
  /** -1 while there is none. */
  readonly node: number
  readonly epoch: number
}
export interface TopicMetadata {
  readonly id: string
  readonly partitions: readonly PartitionLeader[]
}

/** How long a request that may be repeated is repeated, ms. */
export const PATIENCE_MS = 30_000
/** How long the first contact may take, ms: who starts wants to hear soon that the address is wrong. */
const START_MS = 5_000
const REQUEST_MS = 10_000
/** For questions that any broker can answer: one that is slow is not waited for, ms. */
const ASK_MS = 5_000
const PAUSE_MS_MIN = 2
const PAUSE_MS_MAX = 400
/** A topic that was just made may be unknown to some brokers for a moment, ms. */
const UNKNOWN_MS = 250
/** A topic that was there is unknown to a broker that has just started and not read its metadata yet, ms. */
const GONE_MS = 5_000

export class Cluster {
  readonly clock: Clock
  readonly random: Random
  readonly epochs: Epochs = new Epochs()
  /** Goes up whenever a socket or a coordinator is lost: since then a broker may have been started again, or another does its work. */
  upsets = 0
  private readonly options: ClusterOptions
  private nodes = new Map<number, BrokerAddress>()
  private readonly lanes: Lanes
  private readonly topics = new Map<string, TopicMetadata>()
  /** Why a topic could not be looked up, the last time. */
  private readonly topicErrors = new Map<string, number>()
  /** Topics that were there once. */
  private readonly seen = new Set<string>()
  private readonly coordinators = new Map<string, number>()
  private readonly stop = new AbortController()
  private wanted = new Set<string>()
  private refreshing: Promise<void> | undefined
  private turn = 0
  private protocol: 1 | 2 | undefined

  constructor(options: ClusterOptions) {
    this.options = { ...options, link: { ...options.link, onClose: () => void this.upsets++ } }
    this.clock = options.clock
    this.random = options.random
    const { link, dial } = this.options
    this.lanes = new Lanes({ options: link, dial, throttles: new Throttles(options.clock, options.tell) })
  }

  /** @throws TidemarkError BROKER_UNREACHABLE, AUTHENTICATION_FAILED, TLS_FAILED, API_UNSUPPORTED, KAFKAJS_UNSUPPORTED */
  async start(): Promise<void> {
    await this.ask(metadata, { topics: [], allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false }, START_MS).then(
      (answer) => this.learn(answer),
    )
    await this.transactionProtocol()
  }

  /** Aborted with LOG_CLOSED when the cluster is closed. */
  get closing(): AbortSignal {
    return this.stop.signal
  }

  live(): void {
    if (this.stop.signal.aborted) throw closedError()
  }

  close(): void {
    if (this.stop.signal.aborted) return
    const error = closedError()
    this.stop.abort(error)
    this.lanes.close(error)
  }

  /** Waits before another try: longer each time, and never the same for two clients. @throws TidemarkError LOG_CLOSED */
  pause(attempt: number, maxMs: number = PAUSE_MS_MAX): Promise<void> {
    const ms = Math.min(maxMs, PAUSE_MS_MIN * 2 ** Math.min(attempt, 10))
    return this.clock.sleep(ms * (0.75 + this.random.unit() / 2), this.stop.signal)
  }

  // --- brokers -----------------------------------------------------------------------------------------------------------------

  /** Ids of all brokers, as last heard. */
  get nodeIds(): readonly number[] {
    return [...this.nodes.keys()]
  }

  /** The lane of a purpose to a broker, or any that is free; undefined when nobody has heard of the broker. */
  private lane(node: number, purpose?: Purpose): Lane | undefined {
    const address = this.nodes.get(node)
    if (address === undefined) return undefined
    this.live()
    return this.lanes.to(node, address, purpose)
  }

  /** Sends one request to one broker, once. @throws LinkLost TidemarkError */
  async send<Request, Response>(
    node: number,
    api: Api<Request, Response>,
    request: Request,
    options: Partial<SendOptions> & { readonly purpose?: Purpose } = {},
  ): Promise<Response> {
    this.live()
    const { purpose, timeoutMs = REQUEST_MS, version } = options
    const lane = this.lane(node, purpose)
    if (lane === undefined) throw new LinkLost(`broker ${node} is not known`, false, undefined)
    return await lane.send(api, request, { timeoutMs, ...(version === undefined ? {} : { version }) })
  }

  /** Ends the sockets of a purpose. */
  drop(purpose: Purpose): void {
    this.lanes.drop(purpose)
  }

  /** Asks any broker what all of them know, until one answers. @throws TidemarkError BROKER_UNREACHABLE and those of `Lane.send` */
  async ask<Request, Response>(api: Api<Request, Response>, request: Request, patienceMs: number = PATIENCE_MS): Promise<Response> {
    const until = this.clock.mono() + patienceMs
    const first = this.turn
    for (let attempt = 0; ; attempt++) {
      this.live()
      const lane = this.anyLane(first + attempt)
      try {
        const answer = await lane.send(api, request, { timeoutMs: Math.min(ASK_MS, patienceMs) })
        // Who answers is asked the next time as well.
        this.turn = first + attempt
        return answer
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error
        this.live()
        if (this.clock.mono() >= until) {
          const tried = [...new Set([...this.options.seeds, ...this.nodes.values()].map(({ host, port }) => `${host}:${port}`))]
          throw unreachable(`a request (${api.name})`, tried.join(', '), error)
        }
        await this.pause(Math.floor(attempt / this.addresses))
      }
    }
  }

  /** Which protocol of transactions the cluster has agreed on: a feature that is finalized, whatever versions its brokers list. */
  async transactionProtocol(): Promise<1 | 2> {
    for (let attempt = 0; this.protocol === undefined; attempt++) {
      this.live()
      // What a socket heard when it was opened may be old.
      const { address } = this.anyLane(this.turn + attempt)
      const lane = this.lanes.alone(address)
      try {
        const { finalizedFeatures } = await lane.greeting()
        const feature = finalizedFeatures?.find(({ name }) => name === 'transaction.version')
        this.protocol = (feature?.maxVersionLevel ?? 0) >= 2 ? 2 : 1
      } catch (error) {
        if (!(error instanceof LinkLost) || attempt > 20) throw error
        await this.pause(attempt)
      } finally {
        lane.close(closedError('the connection'))
      }
    }
    return this.protocol
  }

  /** A broker did not take what the protocol asks for: the cluster may have agreed on another one since. */
  forgetProtocol(): void {
    this.protocol = undefined
  }

  private get addresses(): number {
    return Math.max(1, this.nodes.size + this.options.seeds.length)
  }

  /** Brokers that are known, one after the other, and then the seeds, which may know of others. */
  private anyLane(turn: number): Lane {
    const nodes = [...this.nodes.keys()]
    const choice = turn % this.addresses
    const node = nodes[choice]
    if (node !== undefined) return this.lane(node) as Lane
    const { seeds } = this.options
    const address = seeds[(choice - nodes.length) % seeds.length] as BrokerAddress
    this.live()
    return this.lanes.seed(address)
  }

  // --- topics ------------------------------------------------------------------------------------------------------------------

  /** What is known of a topic, without asking. */
  topic(name: string): TopicMetadata | undefined {
    return this.topics.get(name)
  }

  /** Who leads a partition, without asking. */
  leader(topic: string, partition: number): PartitionLeader | undefined {
    return this.topics.get(topic)?.partitions[partition]
  }

  /** What the last look-up of a topic ended with: 0 when it was found, undefined when it was never asked for. */
  topicError(name: string): number | undefined {
    return this.topicErrors.get(name)
  }

  /**
   * Topics that exist, as the brokers see them now, with what they said of the others. All of them without names.
   * @throws TidemarkError BROKER_UNREACHABLE
   */
  async look(names?: readonly string[]): Promise<readonly MetadataTopic[]> {
    const topics = names === undefined ? null : [...new Set(names)].map((name) => ({ name }))
    const answer = await this.ask(metadata, { topics, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false })
    this.learn(answer)
    return answer.topics
  }

  /** Asks anew for topics; several that ask at once share a request. */
  refresh(names: Iterable<string>): Promise<void> {
    for (const name of names) this.wanted.add(name)
    if (this.refreshing !== undefined) {
      // What is on its way may be older than the reason of this call.
      return this.refreshing.then(() => (this.wanted.size === 0 ? undefined : this.refresh([])))
    }
    const asked = [...this.wanted]
    this.wanted = new Set()
    const refreshing = this.look(asked)
      .then(() => {})
      .finally(() => {
        this.refreshing = undefined
      })
    this.refreshing = refreshing
    return refreshing
  }

  /**
   * Sees to it that topics and their partitions are known.
   * @throws TidemarkError TOPIC_UNKNOWN, NOT_AUTHORIZED, BROKER_UNREACHABLE
   */
  async know(partitions: Iterable<string>): Promise<void> {
    const began = this.clock.mono()
    let unknown = new Set<string>()
    for (const name of partitions) {
      const { topic, partition } = topicPartition(name)
      if (this.leader(topic, partition) === undefined) unknown.add(topic)
    }
    for (let attempt = 0; unknown.size > 0; attempt++) {
      await this.refresh(unknown)
      const still = new Set<string>()
      for (const name of partitions) {
        const { topic, partition } = topicPartition(name)
        if (this.leader(topic, partition) !== undefined) continue
        const error = this.topicErrors.get(topic) ?? E.NONE
        const passing = error === E.NONE || error === E.UNKNOWN_TOPIC_OR_PARTITION || error === E.LEADER_NOT_AVAILABLE
        if (!passing) throw topicError('use', 'describe', topic, error)
        if (this.clock.mono() - began >= this.doubtMs(topic)) throw topicUnknown(error === E.NONE ? name : topic)
        still.add(topic)
      }
      unknown = still
      if (unknown.size > 0) await this.pause(attempt + 2)
    }
  }

  /** How long a topic that cannot be found is looked for, ms. */
  doubtMs(topic: string): number {
    return this.seen.has(topic) ? GONE_MS : UNKNOWN_MS
  }

  private learn({ brokers, topics }: MetadataResponse): void {
    if (brokers.length > 0) {
      this.nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
      this.lanes.keepOnly((node) => this.nodes.has(node))
    }
    for (const { error, name, topicId, partitions } of topics) {
      if (name === null) continue
      this.topicErrors.set(name, error)
      if (error === E.UNKNOWN_TOPIC_OR_PARTITION) this.topics.delete(name)
      if (error !== E.NONE) continue
      this.seen.add(name)
      const before = this.topics.get(name)
      if (before !== undefined && before.id !== topicId) {
        this.epochs.forget(name)
        // Which of them lags behind nobody can tell: another broker is asked the next time.
        this.turn += 1
      }
      const leaders: PartitionLeader[] = []
      for (const { partition, leaderId, leaderEpoch } of partitions) {
        const known = before?.id === topicId ? before.partitions[partition] : undefined
        // A broker that lags behind tells of leaders that are none any more.
        leaders[partition] = known !== undefined && known.epoch > leaderEpoch ? known : { node: leaderId, epoch: leaderEpoch }
      }
      this.topics.set(name, { id: topicId, partitions: leaders })
    }
  }

  // --- coordinators ------------------------------------------------------------------------------------------------------------

  /** Who coordinates a group or a writer. @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
  async coordinator(kind: CoordinatorKind, key: string, patienceMs: number = PATIENCE_MS): Promise<number> {
    const until = this.clock.mono() + patienceMs
    const name = `${kind.keyType} ${key}`
    for (let attempt = 0; ; attempt++) {
      const known = this.coordinators.get(name)
      if (known !== undefined && this.nodes.has(known)) return known
      const { coordinators } = await this.ask(findCoordinator, { keyType: kind.keyType, keys: [key] }, patienceMs)
      const found = coordinators[0]
      if (found !== undefined && found.error === E.NONE) {
        this.coordinators.set(name, found.nodeId)
        if (!this.nodes.has(found.nodeId)) this.nodes.set(found.nodeId, { host: found.host, port: found.port })
        return found.nodeId
      }
      const error = found?.error ?? E.NONE
      if (!isCoordinatorMoved(error) || this.clock.mono() >= until) throw kind.error(key, error)
      await this.pause(attempt + 2)
    }
  }

  forgetCoordinator(kind: CoordinatorKind, key: string): void {
    this.upsets++
    this.coordinators.delete(`${kind.keyType} ${key}`)
  }

  /**
   * Sends a request to a coordinator, and again while that moved or is not ready; after a lost answer only with `again`.
   * @throws LinkLost without `again`, or when the deadline is over
   * @throws TidemarkError as `coordinator` and `Lane.send`
   */
  async askCoordinator<Request, Response>(kind: CoordinatorKind, key: string, call: CoordinatorCall<Request, Response>): Promise<Response> {
    const { api, request, errorOf, again, purpose, patienceMs = PATIENCE_MS, timeoutMs = REQUEST_MS, version } = call
    const until = this.clock.mono() + patienceMs
    for (let attempt = 0; ; attempt++) {
      const node = await this.coordinator(kind, key, patienceMs)
      try {
        const answer = await this.send(node, api, request, {
          timeoutMs,
          ...(purpose === undefined ? {} : { purpose }),
          ...(version === undefined ? {} : { version }),
        })
        const error = errorOf(answer)
        if (!isCoordinatorMoved(error) || this.clock.mono() >= until) return answer
        call.onMoved?.(error)
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error
        if (error.sent) call.onLost?.()
        this.live()
        this.forgetCoordinator(kind, key)
        if ((error.sent && !again) || this.clock.mono() >= until) throw error
      }
      this.forgetCoordinator(kind, key)
      await this.pause(attempt)
    }
  }
}
