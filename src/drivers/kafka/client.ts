/** One client of a cluster: the port, and everything that ends with this client. */
import type {
  GroupPositions,
  HangingTransaction,
  Isolation,
  JoinOptions,
  Log,
  LogManifest,
  Membership,
  OffsetAt,
  PartitionName,
  PlainWriter,
  Positions,
  Reader,
  TopicDescription,
  TopicSpec,
  Writer,
} from '../../ports/log.ts'
import type { Codecs, Limits } from '../../ports/record-batch/index.ts'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { Endings } from './endings.ts'
import { closedError } from './failures.ts'
import { fenceWriters } from './fence.ts'
import { KafkaMembership } from './group.ts'
import { hangingTransactions } from './hanging.ts'
import type { Purpose } from './lanes.ts'
import { offsetsAt, trim } from './offsets.ts'
import { PositionCommits } from './position-commits.ts'
import { committedPositions } from './positions.ts'
import { KafkaReader } from './reader.ts'
import { describeTopics, ensureTopics } from './topics.ts'
import { KafkaPlainWriter, KafkaWriter } from './writer.ts'

export const KAFKA_MANIFEST: LogManifest = {
  name: 'kafka',
  transactions: true,
  groups: true,
  trim: true,
  compaction: true,
  durable: true,
  hanging: true,
}

export interface ClientOptions {
  readonly cluster: Cluster
  readonly codecs: Codecs
  readonly limits: Limits
  readonly replication: number
  readonly transactionMs: number
}

interface Closing {
  close(): Promise<void>
}

/**
 * A client of a cluster that answers.
 * @throws TidemarkError BROKER_UNREACHABLE, AUTHENTICATION_FAILED, TLS_FAILED, API_UNSUPPORTED, KAFKAJS_UNSUPPORTED
 */
export async function openClient({
  of,
  ...options
}: Omit<ClientOptions, 'cluster'> & { readonly of: ClusterOptions }): Promise<KafkaClient> {
  const cluster = new Cluster(of)
  try {
    await cluster.start()
  } catch (error) {
    cluster.close()
    throw error
  }
  return new KafkaClient({ cluster, ...options })
}

export class KafkaClient implements Log {
  readonly manifest: LogManifest = KAFKA_MANIFEST
  private readonly options: ClientOptions
  private readonly cluster: Cluster
  private readonly memberships = new Set<Membership>()
  private readonly open = new Set<Closing>()
  private readonly endings = new Endings()
  private readonly positionCommits: PositionCommits
  /** Sockets of readers that are closed, for the next one. */
  private readonly idle: Purpose[] = []
  private purposes = 0
  private closing: Promise<void> | undefined

  constructor(options: ClientOptions) {
    this.options = options
    this.cluster = options.cluster
    this.positionCommits = new PositionCommits(options.cluster, options.cluster.clock)
  }

  async describe(names?: readonly string[]): Promise<TopicDescription[]> {
    this.live()
    return await describeTopics(this.cluster, names)
  }

  async ensure(specs: readonly TopicSpec[], { alter = false }: { readonly alter?: boolean } = {}): Promise<TopicDescription[]> {
    this.live()
    return await ensureTopics(this.cluster, specs, { replication: this.options.replication, altering: alter })
  }

  async offsets(partitions: readonly PartitionName[], at: OffsetAt): Promise<Positions> {
    this.live()
    return await offsetsAt(this.cluster, partitions, at)
  }

  reader(isolation: Isolation): Reader {
    this.live()
    const { codecs, limits } = this.options
    const purpose = this.idle.pop() ?? `read-${this.purposes++}`
    const reader = new KafkaReader({
      cluster: this.cluster,
      isolation,
      codecs,
      limits,
      purpose,
      onClose: (closed) => {
        this.open.delete(closed)
        this.idle.push(purpose)
      },
    })
    this.open.add(reader)
    return reader
  }

  async join(group: string, join: JoinOptions): Promise<Membership> {
    this.live()
    const purpose = `group-${this.purposes++}`
    const onEnd = (ended: Membership): void => void this.memberships.delete(ended)
    const membership = new KafkaMembership({ cluster: this.cluster, group, join, purpose, onEnd })
    this.memberships.add(membership)
    return membership
  }

  async committed(group: string, partitions: readonly PartitionName[]): Promise<Positions | 'unstable'> {
    this.live()
    return await committedPositions(this.cluster, group, partitions)
  }

  async writer(id: string): Promise<Writer> {
    this.live()
    const { cluster, endings } = this
    const { codecs, transactionMs } = this.options
    const onClose = (closed: Closing): void => void this.open.delete(closed)
    return await this.keep(await KafkaWriter.open({ cluster, codecs, id, transactionMs, endings, onClose }))
  }

  async plainWriter(): Promise<PlainWriter> {
    this.live()
    const { cluster, codecs } = this.options
    return await this.keep(await KafkaPlainWriter.open({ cluster, codecs, onClose: (closed) => void this.open.delete(closed) }))
  }

  async fence(prefix: string, live: ReadonlySet<string>): Promise<void> {
    this.live()
    await fenceWriters(this.cluster, prefix, live, this.options.transactionMs)
  }

  async hanging(partitions: readonly PartitionName[], group: string): Promise<readonly HangingTransaction[]> {
    this.live()
    const found = await hangingTransactions(this.cluster, partitions, group)
    const asked = new Set(partitions)
    for (const each of found)
      if (each.writer !== undefined) this.endings.leave(each.writer, each, asked.has(each.partition) ? undefined : group)
    return found
  }

  async commitPositions(positions: GroupPositions): Promise<void> {
    this.live()
    await this.positionCommits.commit(positions)
  }

  async trim(partition: PartitionName, before: number): Promise<void> {
    this.live()
    await trim(this.cluster, partition, before)
  }

  close(): Promise<void> {
    this.closing ??= this.end()
    return this.closing
  }

  private async end(): Promise<void> {
    for (const membership of this.memberships) await membership.leave({ keep: false })
    await Promise.all([...this.open].map((each) => each.close()))
    this.positionCommits.close()
    this.cluster.close()
  }

  private live(): void {
    if (this.closing !== undefined) throw closedError()
    this.cluster.live()
  }

  /** What was opened while the client was closing ends with it. */
  private async keep<Opened extends Closing>(opened: Opened): Promise<Opened> {
    if (this.closing === undefined) {
      this.open.add(opened)
      return opened
    }
    await opened.close()
    throw closedError()
  }
}
