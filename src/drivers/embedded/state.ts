/**
 * What the journal says, as a value: topics, the decided end of every partition, transactions that began below those ends, positions of
 * groups, epochs of writers. It is the fold of the journal's records and of nothing else, in the running log (`apply` after each write)
 * as in recovery (`apply` for each record read), so the two cannot disagree. It knows no files and no readers.
 */
import { invariant, unreachable } from '../../base/assert.ts'
import { type PartitionName, partitionName } from '../../ports/log.ts'

/** A place between two batches. `segment` is the base offset of the file, `position` the byte in it. */
export interface Mark {
  readonly offset: number
  readonly segment: number
  readonly position: number
}

/** The data of one aborted transaction in one partition: from its first record to behind its last. */
export interface AbortedRange {
  readonly producerId: number
  readonly firstOffset: number
  readonly end: number
}

/** A transaction that was decided, and whose control batch does not lie below the decided end of the partition yet. */
export interface OwedMarker {
  readonly producerId: number
  readonly epoch: number
  readonly kind: 'commit' | 'abort'
}

/** Tombstones below `end` were first seen by a compaction at `at` (ms since 1970), if they were not before. */
export interface Horizon {
  readonly end: number
  readonly at: number
}

export interface PartitionState {
  logStart: number
  /** Recovery keeps everything before this offset, and nothing behind it but owed control batches. */
  decided: number
  /** Everything before this place survives a power cut. Never behind `decided`. */
  synced: Mark
  /** Open transactions with data before `decided`: producer id to first offset. */
  readonly opens: Map<number, number>
  /** In the order of their decisions, which is the order in which they are written. */
  readonly owed: OwedMarker[]
  /** In the order of their decisions. */
  aborted: AbortedRange[]
  /** Compaction has dealt with everything before this offset. */
  cleaned: number
  horizons: Horizon[]
}

export interface TopicState {
  readonly number: number
  readonly name: string
  readonly id: string
  readonly cleanup: 'compact' | 'delete'
  readonly retentionMs: number
  readonly tombstoneMs: number
  readonly partitions: readonly PartitionState[]
}

export interface WriterState {
  readonly producerId: number
  readonly epoch: number
}

export interface PartitionRef {
  readonly topic: number
  readonly partition: number
}

/** What a decision says about one partition that it touches. */
export interface DecisionPart extends PartitionRef {
  /** First offset of the decided data. */
  readonly first: number
  /** Offset behind the decided data. All bytes of the partition before it were written before the decision was. */
  readonly end: number
  /** Transactions of others that began before `end` and are not decided: told once, by the first decision that covers their start. */
  readonly opens: readonly (readonly [producerId: number, firstOffset: number])[]
  /** Producers whose control batch lies before `end`: told once, so that recovery does not write it a second time. */
  readonly marked: readonly number[]
}

export interface DecidedPositions {
  readonly group: string
  readonly positions: readonly (readonly [PartitionRef, number])[]
}

export type JournalRecord =
  | {
      readonly kind: 'decision'
      /** `plain` for data outside transactions, and for positions alone. */
      readonly outcome: 'plain' | 'commit' | 'abort'
      readonly producerId: number
      readonly epoch: number
      readonly parts: readonly DecisionPart[]
      readonly groups: readonly DecidedPositions[]
    }
  | { readonly kind: 'topic'; readonly number: number; readonly topic: NewTopic }
  | { readonly kind: 'writer'; readonly id: string; readonly producerId: number; readonly epoch: number }
  /** Producer ids below `next` may be in use. */
  | { readonly kind: 'ids'; readonly next: number }
  /** The disk has confirmed these marks, and the journal up to `byte` of file `file`. */
  | {
      readonly kind: 'synced'
      readonly file: number
      readonly byte: number
      readonly marks: readonly (readonly [PartitionRef, Mark])[]
    }
  | { readonly kind: 'trimmed'; readonly ref: PartitionRef; readonly before: number }
  | { readonly kind: 'compacted'; readonly ref: PartitionRef; readonly end: number; readonly at: number }

export interface NewTopic {
  readonly name: string
  readonly id: string
  readonly partitions: number
  readonly cleanup: 'compact' | 'delete'
  readonly retentionMs: number
  readonly tombstoneMs: number
}

export class LogState {
  /** Counts the openings of the directory: the leader epoch of what is appended, and the thousands-place of every generation. */
  incarnation = 0
  nextProducerId = 0
  readonly topics: TopicState[] = []
  readonly topicsByName: Map<string, TopicState> = new Map()
  readonly writers: Map<string, WriterState> = new Map()
  readonly positions: Map<string, Map<PartitionName, number>> = new Map()

  partition(ref: PartitionRef): PartitionState {
    const found = this.topics[ref.topic]?.partitions[ref.partition]
    invariant(found !== undefined, `the journal names partition ${ref.partition} of a topic ${ref.topic} that it did not make`)
    return found
  }

  name(ref: PartitionRef): PartitionName {
    return partitionName((this.topics[ref.topic] as TopicState).name, ref.partition)
  }

  apply(record: JournalRecord): void {
    switch (record.kind) {
      case 'decision':
        for (const part of record.parts) this.decide(part, record)
        for (const { group, positions } of record.groups) {
          for (const [ref, offset] of positions) this.moveGroup(group, this.name(ref), offset)
        }
        return
      case 'topic':
        this.addTopic(record.number, record.topic)
        return
      case 'writer':
        this.writers.set(record.id, { producerId: record.producerId, epoch: record.epoch })
        this.nextProducerId = Math.max(this.nextProducerId, record.producerId + 1)
        return
      case 'ids':
        this.nextProducerId = Math.max(this.nextProducerId, record.next)
        return
      case 'synced':
        for (const [ref, mark] of record.marks) this.partition(ref).synced = mark
        return
      case 'trimmed': {
        const partition = this.partition(record.ref)
        partition.logStart = Math.max(partition.logStart, record.before)
        partition.aborted = partition.aborted.filter(({ end }) => end > partition.logStart)
        return
      }
      case 'compacted': {
        const partition = this.partition(record.ref)
        partition.cleaned = Math.max(partition.cleaned, record.end)
        partition.aborted = partition.aborted.filter(({ end }) => end > partition.cleaned)
        const { tombstoneMs } = this.topics[record.ref.topic] as TopicState
        partition.horizons = withHorizon(partition.horizons, record, tombstoneMs)
        return
      }
      default:
        unreachable(record)
    }
  }

  addTopic(number: number, topic: NewTopic): TopicState {
    invariant(number === this.topics.length, `topic ${number} was made after ${this.topics.length} topics`)
    const { name, id, cleanup, retentionMs, tombstoneMs } = topic
    const partitions = Array.from({ length: topic.partitions }, newPartition)
    const added: TopicState = { number, name, id, cleanup, retentionMs, tombstoneMs, partitions }
    this.topics.push(added)
    this.topicsByName.set(name, added)
    return added
  }

  moveGroup(group: string, partition: PartitionName, offset: number): void {
    let positions = this.positions.get(group)
    if (positions === undefined) {
      positions = new Map()
      this.positions.set(group, positions)
    }
    positions.set(partition, offset)
  }

  private decide(part: DecisionPart, decision: Extract<JournalRecord, { kind: 'decision' }>): void {
    const { outcome, producerId, epoch } = decision
    const partition = this.partition(part)
    partition.decided = Math.max(partition.decided, part.end)
    for (const [producer, first] of part.opens) partition.opens.set(producer, first)
    for (const producer of part.marked) {
      const at = partition.owed.findIndex((owed) => owed.producerId === producer)
      if (at >= 0) partition.owed.splice(at, 1)
    }
    if (outcome === 'plain') return
    partition.opens.delete(producerId)
    partition.owed.push({ producerId, epoch, kind: outcome })
    if (outcome === 'abort') partition.aborted.push({ producerId, firstOffset: part.first, end: part.end })
  }
}

export function newPartition(): PartitionState {
  return {
    logStart: 0,
    decided: 0,
    synced: { offset: 0, segment: 0, position: 0 },
    opens: new Map(),
    owed: [],
    aborted: [],
    cleaned: 0,
    horizons: [],
  }
}

/** Adds what a compaction saw. Horizons whose tombstones may all go by now become one. */
function withHorizon(horizons: readonly Horizon[], seen: Horizon, tombstoneMs: number): Horizon[] {
  const last = horizons.at(-1)
  const all = last === undefined || seen.end > last.end ? [...horizons, { end: seen.end, at: seen.at }] : [...horizons]
  const over = all.findLastIndex(({ at }) => at + tombstoneMs <= seen.at)
  return over > 0 ? all.slice(over) : all
}
