/**
 * A simulated Kafka cluster: brokers that answer the encoded requests that our driver sends, as Kafka 4.3 does (and 3.9, under transaction
 * protocol 1), on whatever time it is given. It stands behind the unchanged driver: only sockets are replaced.
 *
 * What it leaves out: replicas (what was acknowledged is never lost), rights, retention by time, several protocols of a group.
 */

import type { BrokerAddress } from '../../drivers/kafka/sockets.ts'
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import { GROUP_COORDINATOR, TRANSACTION_COORDINATOR } from '../../drivers/kafka/wire/find-coordinator.ts'
import type { PartitionName } from '../../ports/log.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import { Group } from './group.ts'
import { Partition } from './partition.ts'
import type { Timeline } from './timeline.ts'
import { Transactions } from './transactions.ts'

export interface SimKafkaOptions {
  readonly timeline: Timeline
  readonly codecs: Codecs
  /** The protocol of transactions that the cluster has agreed on. */
  readonly protocol: 1 | 2
  /** Brokers. Default 3. */
  readonly nodes?: number
  /** How long after a decision a partition or a group hears of it, ms. Default 0. */
  readonly markerMs?: () => number
  /** How long after a change of leaders or coordinators a broker hears of it, ms. Default 0. */
  readonly newsMs?: () => number
  /** How long after its time an open transaction is aborted, ms. Default 0. */
  readonly cleanupMs?: () => number
  /** Whether a write takes effect and is answered as if nobody could tell. Default: never. */
  readonly unsure?: (api: string) => boolean
  /** The last epoch of a producer id. Default 32,766. */
  readonly epochMax?: number
  /** What a broker answers to who reads a partition instead of what is in it; 0 for nothing of the kind. Default: 0. */
  readonly ailing?: (api: 'Fetch' | 'ListOffsets', partition: PartitionName, node: number) => number
  /** The quotas of the brokers: for how long whoever was just answered is not read from, ms. Default: for no time. */
  readonly throttle?: (use: Use) => number
}

/** What an answer uses up of quotas. */
export interface Use {
  readonly api: string
  readonly clientId: string
  /** Of the answer. */
  readonly bytes: number
  /** Bytes of the request. */
  readonly asked: number
}

export interface Topic {
  readonly name: string
  readonly id: string
  readonly partitions: readonly Partition[]
  readonly configs: ReadonlyMap<string, string>
}

interface Node {
  up: boolean
  life: number
  readonly hearers: Set<() => void>
}

/** Coordinators move by the partition of the topic that they keep their books in; so many of each kind. */
const BOOKS = 4
const PORT = 9_000
/** message.timestamp.after.max.ms, unless set. */
const AHEAD_MS_MAX = 3_600_000
const TRANSACTION_MS_MAX = 900_000

export class SimKafka {
  readonly timeline: Timeline
  readonly codecs: Codecs
  readonly protocol: 1 | 2
  readonly transactions: Transactions
  readonly topics: Map<string, Topic> = new Map()
  /** What a broker takes a topic for that lags behind; undefined where it does not. */
  lagging: (node: number, topic: string) => Topic | undefined = () => undefined
  readonly groups: Map<string, Group> = new Map()
  readonly unsure: (api: string) => boolean
  readonly ailing: NonNullable<SimKafkaOptions['ailing']>
  readonly throttle: (use: Use) => number
  readonly #newsMs: () => number
  readonly #nodes = new Map<number, Node>()
  /** By kind and book: who coordinates, and from when on. */
  readonly #coordinators = new Map<string, { node: number; readyAt: number }>()
  #topicIds = 0

  constructor(options: SimKafkaOptions) {
    const { timeline, codecs, protocol, nodes = 3, markerMs = () => 0, newsMs = () => 0, cleanupMs = () => 0 } = options
    this.timeline = timeline
    this.codecs = codecs
    this.protocol = protocol
    this.unsure = options.unsure ?? (() => false)
    this.ailing = options.ailing ?? (() => E.NONE)
    this.throttle = options.throttle ?? (() => 0)
    this.#newsMs = newsMs
    for (let node = 1; node <= nodes; node++) this.#nodes.set(node, { up: true, life: 0, hearers: new Set() })
    for (const kind of [GROUP_COORDINATOR, TRANSACTION_COORDINATOR]) {
      for (let book = 0; book < BOOKS; book++) this.#coordinators.set(`${kind} ${book}`, { node: 1 + ((book + kind) % nodes), readyAt: 0 })
    }
    this.transactions = new Transactions({
      timeline,
      markerMs,
      cleanupMs,
      awake: (id) => this.#awake(TRANSACTION_COORDINATOR, id),
      timeoutMsMax: TRANSACTION_MS_MAX,
      epochMax: options.epochMax ?? 32_766,
    })
  }

  // --- brokers -----------------------------------------------------------------------------------------------------------------

  get seeds(): BrokerAddress[] {
    return this.nodeIds.map(addressOf)
  }

  get nodeIds(): number[] {
    return [...this.#nodes.keys()]
  }

  /** Brokers that run. */
  get running(): number[] {
    return this.nodeIds.filter((node) => this.#node(node).up)
  }

  addressOf(node: number): BrokerAddress {
    return addressOf(node)
  }

  /** The broker that listens at an address. */
  at({ port }: BrokerAddress): number | undefined {
    const node = port - PORT
    return this.#nodes.get(node)?.up === true ? node : undefined
  }

  /** Changes whenever a broker goes down. */
  life(node: number): number {
    return this.#node(node).life
  }

  /** Called once, when a broker goes down. Returns what takes it back. */
  onDown(node: number, hear: () => void): () => void {
    const { hearers } = this.#node(node)
    hearers.add(hear)
    return () => void hearers.delete(hear)
  }

  /** A broker goes down: its sockets close, and others take over what it led and coordinated. */
  stop(node: number): void {
    const state = this.#node(node)
    state.up = false
    state.life += 1
    for (const hear of state.hearers) hear()
    state.hearers.clear()
    const others = this.running
    for (const { partitions } of this.topics.values()) {
      for (const partition of partitions)
        if (partition.leader === node) this.#lead(partition, others[partition.number % others.length] ?? node)
    }
    for (const [name, { node: coordinator }] of this.#coordinators) {
      if (coordinator === node) this.#coordinate(name, others[name.length % others.length] ?? node)
    }
  }

  start(node: number): void {
    this.#node(node).up = true
  }

  #node(node: number): Node {
    return this.#nodes.get(node) as Node
  }

  // --- topics ------------------------------------------------------------------------------------------------------------------

  partition(topic: string, number: number): Partition | undefined {
    return this.topics.get(topic)?.partitions[number]
  }

  createTopic(name: string, partitions: number, configs: ReadonlyMap<string, string>): Topic {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt32BE(++this.#topicIds, 12)
    bytes.writeUInt32BE(0x51_0c_0d_1e, 0)
    const compacted = configs.get('cleanup.policy') === 'compact'
    const aheadMs = Number(configs.get('message.timestamp.after.max.ms') ?? AHEAD_MS_MAX)
    const topic: Topic = {
      name,
      id: bytes.toString('base64url'),
      configs,
      partitions: Array.from({ length: partitions }, (_, number) => this.#newPartition(name, number, { compacted, aheadMs })),
    }
    this.topics.set(name, topic)
    return topic
  }

  /** A topic gets more partitions, as an administrator may do at any time. */
  growTopic(name: string, partitions: number): void {
    const topic = this.topics.get(name) as Topic
    const [first] = topic.partitions as [Partition]
    const more = Array.from({ length: partitions - topic.partitions.length }, (_, i) =>
      this.#newPartition(name, topic.partitions.length + i, { compacted: first.compacted, aheadMs: AHEAD_MS_MAX }),
    )
    this.topics.set(name, { ...topic, partitions: [...topic.partitions, ...more] })
  }

  #newPartition(topic: string, number: number, of: { readonly compacted: boolean; readonly aheadMs: number }): Partition {
    const leader = this.running[number % this.running.length] as number
    return new Partition({ topic, number, ...of, leader, nodes: this.nodeIds, codecs: this.codecs })
  }

  /** Another broker leads a partition. The new one hears of it, the old one, and the others, each at its time. */
  moveLeader(partition: Partition, to: number): void {
    if (partition.leader !== to) this.#lead(partition, to)
  }

  #lead(partition: Partition, to: number): void {
    partition.move(to)
    for (const node of this.nodeIds) {
      this.timeline.after(this.#newsMs(), `broker ${node} hears who leads ${partition.name}`, () => partition.hear(node))
    }
  }

  // --- coordinators ------------------------------------------------------------------------------------------------------------

  coordinatorOf(kind: number, key: string): number {
    return this.#book(kind, key).node
  }

  /** Why a broker does not answer for a group or an id; 0 when it does. */
  coordinatorError(node: number, kind: number, key: string): number {
    const { node: coordinator, readyAt } = this.#book(kind, key)
    if (coordinator !== node) return E.NOT_COORDINATOR
    return this.timeline.now < readyAt ? E.COORDINATOR_LOAD_IN_PROGRESS : E.NONE
  }

  /** Whether a broker is still reading one of its books. */
  loads(node: number, kind: number): boolean {
    return [...this.#coordinators].some(
      ([name, { node: coordinator, readyAt }]) => name.startsWith(`${kind} `) && coordinator === node && this.timeline.now < readyAt,
    )
  }

  /** Another broker coordinates what is in one book; it reads that first. */
  moveCoordinator(kind: number, book: number, to: number): void {
    const name = `${kind} ${book % BOOKS}`
    if (this.#coordinators.get(name)?.node !== to) this.#coordinate(name, to)
  }

  #coordinate(name: string, to: number): void {
    const readyAt = this.timeline.now + this.#newsMs()
    this.#coordinators.set(name, { node: to, readyAt })
    const moved = [...this.groups.values()].filter(({ id }) => bookOf(GROUP_COORDINATOR, id) === name)
    for (const group of moved) group.unload()
    // Nobody is answered before.
    for (const group of moved) group.load()
  }

  group(id: string): Group {
    let group = this.groups.get(id)
    if (group === undefined) {
      group = new Group(id, this.timeline)
      this.groups.set(id, group)
    }
    return group
  }

  #book(kind: number, key: string): { node: number; readyAt: number } {
    return this.#coordinators.get(bookOf(kind, key)) as { node: number; readyAt: number }
  }

  #awake(kind: number, key: string): boolean {
    const { node, readyAt } = this.#book(kind, key)
    return this.#node(node).up && this.timeline.now >= readyAt
  }
}

function addressOf(node: number): BrokerAddress {
  return { host: 'sim', port: PORT + node }
}

function bookOf(kind: number, key: string): string {
  let sum = 0
  for (let i = 0; i < key.length; i++) sum = (sum * 31 + key.charCodeAt(i)) >>> 0
  return `${kind} ${sum % BOOKS}`
}
