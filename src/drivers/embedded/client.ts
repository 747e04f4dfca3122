/**
 * One client of the log: the port, and everything that ends with this client. Its readers wait and its memberships breathe by the clock that
 * it was given, so a client whose clock stands still is what a dead process is to a broker.
 */
import type { Clock } from '../../ports/clock.ts'
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
import type { Broker } from './broker.ts'
import { closedError } from './errors.ts'
import { EmbeddedMembership } from './membership.ts'
import { EmbeddedReader } from './reader.ts'
import { EmbeddedPlainWriter, EmbeddedWriter } from './writers.ts'

export const EMBEDDED_MANIFEST: LogManifest = {
  name: 'embedded',
  transactions: true,
  groups: true,
  trim: true,
  compaction: true,
  durable: true,
  hanging: 'one record of the journal ends a transaction in all its partitions',
}

interface Closing {
  close(): Promise<void>
}

export class EmbeddedClient implements Log {
  readonly manifest: LogManifest = EMBEDDED_MANIFEST
  private readonly broker: Broker
  private readonly clock: Clock
  private readonly onClose: (client: EmbeddedClient) => void
  private readonly memberships = new Set<Membership>()
  /** Readers and writers that are open. */
  private readonly open = new Set<Closing>()
  private closed = false

  constructor(broker: Broker, clock: Clock, onClose: (client: EmbeddedClient) => void) {
    this.broker = broker
    this.clock = clock
    this.onClose = onClose
  }

  async describe(names?: readonly string[]): Promise<TopicDescription[]> {
    this.live()
    return this.broker.describe(names)
  }

  async ensure(specs: readonly TopicSpec[]): Promise<TopicDescription[]> {
    this.live()
    return this.broker.ensure(specs)
  }

  async offsets(partitions: readonly PartitionName[], at: OffsetAt): Promise<Positions> {
    this.live()
    return this.broker.offsets(partitions, at)
  }

  reader(isolation: Isolation): Reader {
    this.live()
    const { clock, broker } = this
    const { codecs, limits } = broker.options
    const onClose = (closed: Closing): void => void this.open.delete(closed)
    const reader = new EmbeddedReader({ isolation, clock, codecs, limits, partition: (name) => broker.partition(name), onClose })
    this.open.add(reader)
    return reader
  }

  async join(group: string, join: JoinOptions): Promise<Membership> {
    this.live()
    const onEnd = (ended: Membership): void => void this.memberships.delete(ended)
    const membership = new EmbeddedMembership({ group, join, clock: this.clock, groups: this.broker.groups, onEnd })
    this.memberships.add(membership)
    return membership
  }

  async committed(group: string, partitions: readonly PartitionName[]): Promise<Positions | 'unstable'> {
    this.live()
    return this.broker.decisions.committed(group, partitions)
  }

  async writer(id: string): Promise<Writer> {
    this.live()
    const session = await this.broker.transactions.open(id)
    const writer = new EmbeddedWriter(session, this.broker.appends, (closed) => void this.open.delete(closed))
    return this.keep(writer)
  }

  async plainWriter(): Promise<PlainWriter> {
    this.live()
    const producerId = await this.broker.newProducerId()
    const writer = new EmbeddedPlainWriter(producerId, this.broker.appends, (closed) => void this.open.delete(closed))
    return this.keep(writer)
  }

  async fence(prefix: string, live: ReadonlySet<string>): Promise<void> {
    this.live()
    await this.broker.transactions.fence(prefix, live)
  }

  async commitPositions(positions: GroupPositions): Promise<void> {
    this.live()
    await this.broker.decisions.positions(positions)
  }

  hanging(): Promise<readonly HangingTransaction[]> {
    return Promise.resolve([])
  }

  async trim(partition: PartitionName, before: number): Promise<void> {
    this.live()
    await this.broker.trim(partition, before)
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.onClose(this)
    for (const membership of this.memberships) await membership.leave({ keep: false })
    for (const each of this.open) await each.close()
  }

  private live(): void {
    if (this.closed || this.broker.health.closed) throw closedError()
  }

  /** What was opened while the client was closing ends with it. */
  private async keep<Opened extends Closing>(opened: Opened): Promise<Opened> {
    if (!this.closed) {
      this.open.add(opened)
      return opened
    }
    await opened.close()
    throw closedError()
  }
}
