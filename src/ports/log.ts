/**
 * The log: the only view of Kafka, or of what stands in for it, that the runtime has.
 *
 * A driver promises what `testing/log-suite` proves: order per partition, idempotent appends, atomic transactions with fencing,
 * commits refused from owners of an older generation, read_committed, and positions that are never reset in silence.
 * Calls end with a `TidemarkError` or with one of the outcomes named here; they never retry what might have happened already,
 * except by sending the same bytes again.
 */
import type { TidemarkError } from '../base/errors.ts'
import type { Clock, Random } from './clock.ts'
import type { Codecs, EncodedBatch, RecordBatch } from './record-batch/index.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** `topic/partition`, the key of every map over partitions. Topic names have no slash. */
export type PartitionName = string
/** For each partition the offset of the next record: to be read, or to be written. */
export type Positions = ReadonlyMap<PartitionName, number>

export function partitionName(topic: string, partition: number): PartitionName {
  return `${topic}/${partition}`
}

export function topicPartition(name: PartitionName): TopicPartition {
  const slash = name.lastIndexOf('/')
  return { topic: name.slice(0, slash), partition: Number(name.slice(slash + 1)) }
}

export interface TopicSpec {
  readonly name: string
  readonly partitions: number
  /** Keep the last value of each key (`compact`), or everything until retention removes it (`delete`). */
  readonly cleanup: 'compact' | 'delete'
  /** Age at which records may be removed, ms; -1 keeps them for ever. Ignored by compacted topics. */
  readonly retentionMs: number
  /** How long a tombstone is kept for slow readers of a compacted topic, ms. */
  readonly tombstoneMs?: number
  /**
   * Whose it is. Of a topic of `ours` everything must be as it says here, or what was recorded is not kept; `theirs` is made like this where it
   * is missing, and otherwise looked after by somebody else: then only what reading and writing it needs must fit, partitions and cleanup.
   * Default `ours`.
   */
  readonly owner?: 'ours' | 'theirs'
}

export interface TopicDescription {
  readonly name: string
  /** Another id under the same name means that the topic was deleted and made again. */
  readonly id: string
  readonly partitions: number
  /** `compact,delete` is both: the last value of each key, and that only for as long as retention lets it. */
  readonly cleanup: 'compact' | 'delete' | 'compact,delete'
  readonly retentionMs: number
  readonly tombstoneMs: number
  /** Settings of the log's own, by its names, which `ensure` looks at as well; undefined where there are none. */
  readonly settings?: Readonly<Record<string, string>>
}

/** Where in a partition: its first record, behind its last, behind its last decided one, or at the first record not older than a time. */
export type OffsetAt = 'start' | 'high' | 'stable' | { readonly time: number }

/** `committed` hides records of open and aborted transactions, and waits at the first open one. */
export type Isolation = 'committed' | 'uncommitted'

export type Fetched = FetchedBatches | FetchedGap | FetchFailed
export interface FetchedBatches {
  readonly kind: 'batches'
  readonly partition: PartitionName
  /** Data only, in order, whole batches: the first may begin before the position. No control batches, nothing aborted. */
  readonly batches: readonly RecordBatch[]
  /** The position after everything that was looked at, so also after aborted, control and empty batches. */
  readonly next: number
  /** Behind the last record, open transactions included. */
  readonly high: number
  /** Behind the last decided record. */
  readonly stable: number
  readonly logStart: number
}
/** The position lies before the first record kept, or after the end. Never answered with other records. */
export interface FetchedGap {
  readonly kind: 'gap'
  readonly partition: PartitionName
  readonly position: number
  readonly logStart: number
  readonly high: number
}
/** This partition cannot be read on, such as for a damaged batch (LOG_CORRUPT); others can. */
export interface FetchFailed {
  readonly kind: 'failed'
  readonly partition: PartitionName
  readonly error: TidemarkError
}

export interface Reader {
  /** Replaces what is read and from where. Partitions keep no position of their own: the caller owns them all. */
  assign(positions: Positions): void
  /** Partitions left out of the next polls until another call. */
  pause(partitions: ReadonlySet<PartitionName>): void
  /**
   * What has come, at most about `bytes` (at least one batch where there is one). Waits up to `waitMs` when there is nothing.
   * The read position of a partition moves to `next` with each answer. One poll at a time.
   */
  poll(options: { bytes: number; waitMs: number; signal?: AbortSignal }): Promise<Fetched[]>
  close(): Promise<void>
}

/** Who a member is, in one generation of its group. Commits are refused unless it is still so. */
export interface Identity {
  readonly member: string
  readonly generation: number
  readonly instance: string | undefined
}

export interface GroupMember {
  readonly member: string
  readonly instance: string | undefined
  readonly userData: Uint8Array
}
export interface Assignment {
  readonly partitions: readonly TopicPartition[]
  readonly userData: Uint8Array
}

export interface JoinOptions {
  /** A name that survives restarts, so that a restart moves nothing; undefined for a member that comes and goes. */
  readonly instance: string | undefined
  /** What this member tells the leader; asked anew at every rebalance. */
  readonly userData: () => Uint8Array
  /** Run by the leader: a pure function of all members. */
  readonly assign: (members: readonly GroupMember[]) => ReadonlyMap<string, Assignment>
  /** How long a silent member is waited for, ms. */
  readonly sessionMs: number
  /**
   * All that this member does as one is committed in transactions, with its identity, so what comes too late is refused. Then it need not let go before
   * a rebalance: a driver may leave `revoking` out, and the member works on until another generation has begun, however long that waits for others.
   * Default: it lets go first.
   */
  readonly fenced?: boolean
}

export type GroupEvent =
  | {
      readonly kind: 'assigned'
      readonly identity: Identity
      readonly partitions: readonly TopicPartition[]
      readonly userData: Uint8Array
    }
  /** Partitions are about to move. The group waits until `done` is called: commit what is finished, with the old identity, first. */
  | { readonly kind: 'revoking'; readonly done: () => void }
  /**
   * Membership is gone, and others may own the partitions already: write nothing more. The member joins again by itself, unless another process
   * took its name (MEMBER_REPLACED) or it may be none: then every later wait rejects with that.
   */
  | { readonly kind: 'lost'; readonly error: TidemarkError }
  /** The group cannot be asked, or does not let the member in for now. It is tried again all the same; told every so often while it lasts. */
  | { readonly kind: 'troubled'; readonly error: TidemarkError }

export interface Membership {
  /**
   * The next event; waits for it. One waiter at a time. It rejects when it never will be a member again, and for no other reason but its signal:
   * what passes is waited out.
   * @throws TidemarkError MEMBER_REPLACED, GROUP_REFUSED, LOG_CLOSED, and whatever else no later try can change
   */
  next(signal: AbortSignal): Promise<GroupEvent>
  /**
   * Time since the group last confirmed this member, ms by the monotonic clock. Infinity from the moment at which membership is lost, or another
   * generation begins, until the next `assigned` is taken, whether or not the caller has heard of it.
   */
  heartbeatAge(): number
  /**
   * Asks the group whether this member still is one, and waits for an answer that was given after this call. False when it is none any more;
   * `next` says so, too. To be asked before anything that would harm a successor: a process that slept does not know that it has one.
   * @throws TidemarkError as `next`; the reason of the signal
   */
  confirm(signal: AbortSignal): Promise<boolean>
  /** Asks for a rebalance, for a change that only `userData` shows. */
  rejoin(): void
  /** Leaves. With `keep` the group expects this instance back within its session, and moves nothing until then. */
  leave(options: { keep: boolean }): Promise<void>
}

export interface GroupPositions {
  readonly group: string
  /** Undefined for positions that no group of members guards, such as a feed's or a replay's. */
  readonly identity: Identity | undefined
  readonly positions: Positions
}

/**
 * How a commit ended. After anything but `committed` the writer is dead: open a new one, drop what was not committed, restore.
 * `in-doubt` means that the records may or may not become visible; opening the next writer of the same id decides it.
 */
export type CommitOutcome =
  | { readonly kind: 'committed' }
  | { readonly kind: 'rejected' | 'fenced' | 'aborted' | 'in-doubt'; readonly error: TidemarkError }

/**
 * A transactional, idempotent producer. Opening one fences every earlier holder of its id and ends the transaction it left open.
 * A transaction begins with the first append after the last commit.
 */
export interface Writer {
  readonly id: string
  /**
   * Adds a batch to a partition, after every batch appended to it before. The driver stamps it; the same bytes are sent again when an
   * answer is lost. Rejects when it could not be written: the writer is dead then, as after a failed commit. Other batches that this takes
   * along, and later ones, reject with COMMIT_ABORTED and the failure as its cause: nothing is wrong with where they were to go.
   */
  append(partition: PartitionName, batch: EncodedBatch): Promise<{ readonly base: number; readonly next: number }>
  /** Makes all appends since the last commit visible together with the positions, or none of them. */
  commit(positions: readonly GroupPositions[]): Promise<CommitOutcome>
  /** Hides all appends since the last commit for ever. */
  abort(): Promise<void>
  close(): Promise<void>
}

/**
 * A producer without transactions: what is appended is visible when `append` resolves. For at-least-once. Nothing fences it: only the guard keeps
 * one that has lost its place from writing what its successor owns.
 */
export interface PlainWriter {
  /**
   * As that of a `Writer`, but that the writer lives on when it fails.
   * `guard` is asked each time right before the batch is sent, also before it is sent again: when it throws, the append rejects with that, and
   * nothing more of it is sent. What is on its way by then may still arrive.
   */
  append(partition: PartitionName, batch: EncodedBatch, guard?: () => void): Promise<{ readonly base: number; readonly next: number }>
  close(): Promise<void>
}

/** An open transaction whose end nobody will ever write: what reads only what is decided waits at it for good. */
export interface HangingTransaction {
  readonly partition: PartitionName
  /** Of its first record in this partition. */
  readonly offset: number
  readonly producerId: number
  readonly producerEpoch: number
  /**
   * The id of its writer. Without one, the log shows this user nothing of the producer: then it hangs for sure only when it has been there for
   * longer than any transaction may be open.
   */
  readonly writer: string | undefined
}

/** What a driver does and does not do, read by the log suite. A feature that is missing names the reason. */
export interface LogManifest {
  readonly name: string
  readonly transactions: true | string
  readonly groups: true | string
  readonly trim: true | string
  readonly compaction: true | string
  /** Survives the end of its process. */
  readonly durable: true | string
  /** Tells transactions that were left without an end, or why there cannot be any. */
  readonly hanging: true | string
}

export interface Log {
  readonly manifest: LogManifest
  /** Topics that exist among `names`; the others are left out. All topics without `names`. */
  describe(names?: readonly string[]): Promise<TopicDescription[]>
  /**
   * Makes topics that are missing and verifies those that exist. With `alter` it sets right what can be set right of `ours` without harm to what
   * they hold, where the log can do that.
   * @throws TidemarkError TOPIC_MISMATCH when one exists with other partitions or another cleanup, or one of ours keeps less than it must
   */
  ensure(specs: readonly TopicSpec[], options?: { readonly alter?: boolean }): Promise<TopicDescription[]>
  /** @throws TidemarkError TOPIC_UNKNOWN */
  offsets(partitions: readonly PartitionName[], at: OffsetAt): Promise<Positions>
  reader(isolation: Isolation): Reader
  join(group: string, options: JoinOptions): Promise<Membership>
  /**
   * Committed positions; a partition without one is left out, and never answered with "latest".
   * `unstable` while a transaction that carries positions of these partitions is open: fence its writer, or ask again.
   */
  committed(group: string, partitions: readonly PartitionName[]): Promise<Positions | 'unstable'>
  writer(id: string): Promise<Writer>
  plainWriter(): Promise<PlainWriter>
  /** Ends open transactions of writers whose id starts with `prefix`, but for the `live` ones: they belong to dead members. */
  fence(prefix: string, live: ReadonlySet<string>): Promise<void>
  /**
   * Transactions that hang in some partitions, and among the positions of a group. One that is open, however long, or that is being ended, is
   * none of them. None where the manifest says that there are none.
   */
  hanging(partitions: readonly PartitionName[], group: string): Promise<readonly HangingTransaction[]>
  /**
   * Commits positions outside a transaction (at-least-once).
   * @throws TidemarkError COMMIT_REJECTED when the identity is not current
   */
  commitPositions(positions: GroupPositions): Promise<void>
  /** Removes records before an offset. What was read before stays readable only to those who have it. */
  trim(partition: PartitionName, before: number): Promise<void>
  close(): Promise<void>
}

/** What `start` takes as its log: a driver with its settings, not opened yet. */
export interface LogDriver {
  readonly name: string
  /** The words by which `tidemark` finds what is there, for hints; undefined where it cannot. @example `--brokers 127.0.0.1:9092` */
  readonly words?: string
  open(parts: {
    readonly clock: Clock
    readonly random: Random
    readonly codecs: Codecs
    /** Called with what the driver met and goes on from, such as a quota that is used up. Default: nobody hears of it. */
    readonly tell?: (warning: TidemarkError) => void
  }): Promise<{ readonly log: Log; close(): Promise<void> }>
}
