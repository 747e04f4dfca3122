/**
 * One opened directory: what in Kafka would be the broker. It owns the lock, the journal and the partitions, and outlives its clients.
 * Clients see it through the port only; what they may break by their end is cleaned up by them.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import type { Fs, Lock } from '../../ports/fs.ts'
import {
  type OffsetAt,
  type PartitionName,
  type Positions,
  partitionName,
  type TopicDescription,
  type TopicSpec,
  topicPartition,
} from '../../ports/log.ts'
import type { Codecs, Limits } from '../../ports/record-batch/index.ts'
import { Checkpoints } from './checkpoint.ts'
import { type Compaction, Compactor } from './compaction.ts'
import { Decisions } from './decisions.ts'
import { closedError, diskError, isSystemError, topicUnknown } from './errors.ts'
import { Groups } from './groups.ts'
import { Health } from './health.ts'
import { Journal } from './journal.ts'
import { isTopicFolder, journalFolder, topicFolder, topicsFolder } from './layout.ts'
import { Partition } from './partition.ts'
import { type Recovered, type Recovery, recover } from './recovery.ts'
import { Retention } from './retention.ts'
import { offsetSince } from './scan.ts'
import { OpenFiles, type Segment } from './segment.ts'
import type { LogState, Mark, PartitionRef, TopicState } from './state.ts'
import { checkTopic, describeTopic, newTopic } from './topics.ts'
import { Transactions } from './transactions.ts'
import { Appends } from './writers.ts'

export interface BrokerOptions {
  readonly folder: string
  readonly fs: Fs
  readonly clock: Clock
  readonly random: Random
  readonly codecs: Codecs
  readonly limits: Limits
  readonly fsync: 'commit' | 'interval' | 'never'
  readonly segmentBytes: number
  readonly journalBytes: number
  readonly compactionBytes: number
}

/** Files of segments that nobody reads at the moment are kept open up to this number. */
const IDLE_FILES_MAX = 64
/** What a power cut can take with `fsync: 'interval'`. */
const INTERVAL_MS = 1_000

export class Broker {
  readonly options: BrokerOptions
  readonly recovery: Recovery
  readonly groups: Groups
  readonly transactions: Transactions
  readonly decisions: Decisions
  readonly appends: Appends
  readonly health: Health
  private readonly state: LogState
  private readonly journal: Journal
  private readonly checkpoints: Checkpoints
  private readonly compactor: Compactor
  private readonly retention: Retention
  private readonly partitions = new Map<PartitionName, Partition>()
  private readonly files: OpenFiles
  private readonly lock: Lock
  /** Topics are made one after the other, so that none is made twice. */
  private making: Promise<unknown> = Promise.resolve()

  private constructor(options: BrokerOptions, lock: Lock, files: OpenFiles, recovered: Recovered, journal: Journal, health: Health) {
    const { clock, random, codecs, limits, fsync, segmentBytes, compactionBytes: tableBytes } = options
    const { state, report } = recovered
    this.options = options
    this.health = health
    this.lock = lock
    this.files = files
    this.state = state
    this.journal = journal
    this.recovery = report
    const partitions = (): Iterable<Partition> => this.partitions.values()
    const everyMs = fsync === 'never' ? undefined : INTERVAL_MS
    const checkpoints = new Checkpoints({ clock, health, journal, partitions, everyMs, afterwards: () => this.tidy() })
    this.checkpoints = checkpoints
    this.compactor = new Compactor({ files, codecs, limits, clock, health, journal, checkpoints, segmentBytes, tableBytes })
    this.retention = new Retention(clock, (partition, before) => this.trimTo(partition, before))
    this.groups = new Groups(clock, random, state.incarnation)
    this.decisions = new Decisions({ state, journal, groups: this.groups, health, syncFirst: fsync === 'commit' })
    this.transactions = new Transactions(state, journal, this.decisions, health)
    const { transactions, decisions } = this
    this.appends = new Appends({ codecs, limits, transactions, decisions, partition: (name) => this.partition(name) })
    journal.onNewFile = () => checkpoints.inBackground()
    journal.onWritten = (bytes) => checkpoints.written(bytes)
    for (const { ref, segments, end, damage } of recovered.partitions) this.addPartition(ref, segments, end, damage)
  }

  /** @throws TidemarkError LOG_LOCKED, LOG_CORRUPT, LOG_IO */
  static async open(options: BrokerOptions): Promise<Broker> {
    const { folder, fs, codecs, limits, journalBytes, fsync } = options
    const lock = await fs.lock(folder).catch((error: unknown) => Promise.reject(diskError('take the lock', folder, error)))
    try {
      await makeFolders(folder, fs)
      const files = new OpenFiles(fs, IDLE_FILES_MAX)
      const recovered = await recover({ folder, fs, files, codecs, limits })
      const { number, sequence, superseded } = recovered.journal
      const health = new Health()
      const journal = await Journal.begin(
        { folder: journalFolder(folder), fs, codecs, health, fileBytesMax: journalBytes, syncEach: fsync === 'commit' },
        recovered.state,
        number,
        sequence,
      )
      await journal.clear(superseded)
      const broker = new Broker(options, lock, files, recovered, journal, health)
      // Positions of groups may lie behind control batches that the crash has cut off.
      for (const partition of broker.partitions.values()) await partition.flush()
      for (const partition of broker.partitions.values()) await partition.dropTrimmed().catch(() => {})
      await broker.dropForgottenTopics()
      broker.tidy()
      return broker
    } catch (error) {
      await lock.release().catch(() => {})
      throw isSystemError(error) ? diskError('open the directory', folder, error) : error
    }
  }

  partition(name: PartitionName): Partition | undefined {
    return this.partitions.get(name)
  }

  describe(names?: readonly string[]): TopicDescription[] {
    this.live()
    const wanted = names === undefined ? this.state.topics : names.map((name) => this.state.topicsByName.get(name))
    return wanted.flatMap((topic) => (topic === undefined ? [] : [describeTopic(topic)]))
  }

  ensure(specs: readonly TopicSpec[]): Promise<TopicDescription[]> {
    const made = this.making.then(async () => {
      this.live()
      // All are looked at before any is made, so that a plan that does not fit leaves nothing behind.
      for (const spec of specs) {
        newTopic(spec, '')
        const topic = this.state.topicsByName.get(spec.name)
        if (topic !== undefined) checkTopic(topic, spec)
      }
      const missing = specs.filter(({ name }) => !this.state.topicsByName.has(name))
      for (const spec of missing) if (!this.state.topicsByName.has(spec.name)) await this.makeTopic(spec)
      // State outside the log is known by the ids of its topics: a power cut that took a topic would leave it without any, in every mode.
      if (missing.length > 0) await this.checkpoints.run()
      return specs.map(({ name }) => describeTopic(this.state.topicsByName.get(name) as TopicState))
    })
    this.making = made.catch(() => {})
    return made
  }

  async offsets(names: readonly PartitionName[], at: OffsetAt): Promise<Positions> {
    this.live()
    const offsets = new Map<PartitionName, number>()
    for (const name of names) offsets.set(name, await this.offset(this.known(name), at))
    return offsets
  }

  async trim(name: PartitionName, before: number): Promise<void> {
    this.live()
    const partition = this.known(name)
    if (!Number.isSafeInteger(before) || before < 0) throw new TypeError(`records are trimmed before an offset, not ${before}`)
    if (before > partition.stable) {
      throw new TidemarkError('OPTION_INVALID', `partition ${name} cannot be trimmed to what is not decided yet`, {
        detail: `It is decided up to offset ${partition.stable}; ${before} was asked for.`,
      })
    }
    await this.trimTo(partition, before)
  }

  async compact(topic: string): Promise<Compaction[]> {
    this.live()
    const found = this.state.topicsByName.get(topic)
    if (found === undefined) throw topicUnknown(topic)
    const done: Compaction[] = []
    for (const partition of found.partitions.keys()) done.push(await this.compactor.compact(this.known(partitionName(topic, partition))))
    return done
  }

  /** A producer id that nobody has had. */
  async newProducerId(): Promise<number> {
    const refusal = this.health.refusal()
    if (refusal !== undefined) throw refusal
    const producerId = this.state.nextProducerId++
    await this.journal.submit({ kind: 'ids', next: producerId + 1 })
    return producerId
  }

  /** Makes everything that was written survive a power cut, and ends. Clients must have ended before. */
  async close(): Promise<void> {
    if (this.health.closed) return
    this.health.closed = true
    this.groups.close()
    await this.compactor.close()
    await this.checkpoints.close()
    try {
      await this.making
      if (this.health.failure === undefined) {
        // A full disk leaves the control batches to the next opening, which knows of them.
        for (const partition of this.partitions.values()) await partition.flush().catch(() => {})
        await this.decideMarkers()
        await this.checkpoints.run()
        for (const { segments } of this.partitions.values())
          await segments
            .at(-1)
            ?.saveIndex()
            .catch(() => {})
      }
    } finally {
      for (const partition of this.partitions.values()) {
        partition.wake()
        for (const segment of partition.segments) await segment.release()
      }
      await this.journal.close()
      await this.lock.release().catch((error: unknown) => Promise.reject(diskError('release the lock', this.options.folder, error)))
    }
  }

  /** Files of topics whose making a power cut took back. */
  private async dropForgottenTopics(): Promise<void> {
    const { fs, folder } = this.options
    const known = new Set(this.state.topics.map((topic) => topicFolder(folder, topic)))
    for (const name of await fs.list(topicsFolder(folder))) {
      const path = `${topicsFolder(folder)}/${name}`
      // What cannot be removed now does no harm: no topic will ever have the name of this folder.
      if (isTopicFolder(name) && !known.has(path)) await fs.remove(path).catch(() => {})
    }
  }

  /** Control batches at the very end are no decision's business; this makes one of them, so the next opening has nothing to cut and write again. */
  private async decideMarkers(): Promise<void> {
    const touched = new Map<Partition, { first: number; end: Mark }>()
    for (const partition of this.partitions.values()) {
      const { end, stable, state, damage } = partition
      if (damage === undefined && end.offset === stable && end.offset > state.decided) touched.set(partition, { first: end.offset, end })
    }
    await this.decisions.confirm([...touched.keys()])
    if (touched.size > 0) await this.decisions.submit({ outcome: 'plain', producerId: 0, epoch: 0, touched, groups: [] })
  }

  private live(): void {
    if (this.health.closed) throw closedError()
  }

  private known(name: PartitionName): Partition {
    const partition = this.partitions.get(name)
    if (partition === undefined) throw topicUnknown(topicPartition(name).topic)
    return partition
  }

  private async makeTopic(spec: TopicSpec): Promise<void> {
    const { topics } = this.state
    const topic = newTopic(spec, this.options.random.id())
    await this.journal.submit({ kind: 'topic', number: topics.length, topic }, () => {
      const { number, partitions } = topics.at(-1) as TopicState
      for (const partition of partitions.keys()) this.addPartition({ topic: number, partition }, [], { offset: 0, segment: 0, position: 0 })
    })
  }

  private addPartition(ref: PartitionRef, segments: Segment[], end: Mark, damage?: TidemarkError): void {
    const { folder, codecs, segmentBytes, clock } = this.options
    const { files, health, state, checkpoints } = this
    const topic = state.topics[ref.topic] as TopicState
    const name = partitionName(topic.name, ref.partition)
    const partition = new Partition(
      {
        folder: `${topicFolder(folder, topic)}/${ref.partition}`,
        name,
        topic,
        ref,
        state: state.partition(ref),
        files,
        codecs,
        health,
        segmentBytes,
        now: () => Math.trunc(clock.now()),
        incarnation: state.incarnation,
        onWritten: (bytes) => checkpoints.written(bytes),
        onRoll: ({ segments: own }) =>
          void own
            .at(-2)
            ?.saveIndex()
            .catch(() => {}),
      },
      segments,
      end,
      damage,
    )
    this.partitions.set(name, partition)
  }

  private async offset(partition: Partition, at: OffsetAt): Promise<number> {
    const { codecs, limits } = this.options
    const { written: high, state } = partition
    switch (at) {
      case 'start':
        return state.logStart
      case 'high':
        return high
      case 'stable':
        return partition.stable
      default:
        return offsetSince(partition, at.time, { from: state.logStart, high }, codecs, limits)
    }
  }

  private async trimTo(partition: Partition, before: number): Promise<void> {
    if (before <= partition.state.logStart) return
    await this.journal.submit({ kind: 'trimmed', ref: partition.ref, before }, () => partition.wake())
    this.checkpoints.discard(() => partition.dropTrimmed())
  }

  /** What is looked after now and then: old records, and compacted topics with much that is new. */
  private tidy(): void {
    if (this.health.refusal() !== undefined) return
    this.retention.look(this.partitions.values())
    for (const partition of this.partitions.values()) this.compactor.consider(partition)
  }
}

async function makeFolders(folder: string, fs: Fs): Promise<void> {
  try {
    if ((await fs.list(journalFolder(folder))).length > 0) return
    await fs.makeFolder(journalFolder(folder))
    await fs.makeFolder(topicsFolder(folder))
    await fs.syncFolder(folder)
  } catch (error) {
    throw diskError('make the folders', folder, error)
  }
  // Nobody knows which of the folders above are new. Those that may not be synced were there before.
  for (const above of foldersAbove(folder)) await fs.syncFolder(above).catch(() => {})
}

function foldersAbove(folder: string): string[] {
  const parts = folder.split('/')
  return parts
    .slice(0, -1)
    .map((_, i) => parts.slice(0, parts.length - 1 - i).join('/') || '/')
    .concat(folder.startsWith('/') ? [] : ['.'])
}
