/**
 * The frontier: how far every source is known to have come, and how far every task is, so that a read knows its own age.
 *
 * A task that has processed all there was when it last asked has seen every fact recorded before it asked; one that lags has seen what was
 * recorded up to its last record.
 *
 * Behind an inbox it is known in two ways, and the one that knows more counts. What the inbox itself has told (`heard.ts`) is the same on every
 * worker: all records of a source up to a position have come through, and where the source still ended there when it was asked, so has all that
 * had been recorded by then. A worker that reads the sources too need not wait to be told: what its own tasks have committed before the
 * inbox was asked is in the inbox. An idle source is thus not stale, and one that nobody hears from is unknown.
 */

import type { TidemarkError } from '../base/errors.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import { type PartitionName, type Positions, topicPartition } from '../ports/log.ts'
import { leastOf, type SourceProgress, type Way, type Ways } from './heard.ts'
import type { Task, TaskCommit } from './task.ts'

/** For every source partition, the time up to which all its facts have come through, ms. */
export type Through = ReadonlyMap<PartitionName, number>

interface Known {
  readonly task: string
  /** Whether it is an external source; else it is an inbox. */
  readonly source: boolean
  committed: number
  recordedAt: number | undefined
  high: number
  polledAt: number | undefined
  /** The sources as they stood before the poll that gave `high`. */
  before: Through
  /** The sources as they are known to have come through here. */
  through: Through
  /** All ways from sources into it; undefined of a source. */
  readonly ways: Ways | undefined
  /** What the inbox has told, up to `committed`. */
  told: ReadonlyMap<Way, SourceProgress>
  /** When a source was last found to end where it has come through, ms. */
  readonly endedAt: Map<PartitionName, number>
}

export class Frontier {
  readonly #partitions = new Map<PartitionName, Known>()
  readonly #halted = new Map<string, TidemarkError>()
  readonly #sources: ReadonlySet<string>
  /** Topics of which nobody can say any more what has come through. */
  readonly #barred = new Set<string>()
  /** Where source partitions ended when they were asked. */
  readonly #ends = new Map<PartitionName, { readonly end: number; readonly at: number }>()

  /** @param sources topics that come from outside */
  constructor(sources: ReadonlySet<string>) {
    this.#sources = sources
  }

  opened(plan: TaskPlan, task: Task): void {
    this.#halted.delete(plan.name)
    for (const { parts, position, recordedAt, heard } of task.parts.inputs) {
      const known = this.#partitions.get(parts.partition)
      this.#partitions.set(parts.partition, {
        task: plan.name,
        source: this.#sources.has(parts.topic),
        committed: position,
        recordedAt,
        high: -1,
        polledAt: undefined,
        before: new Map(),
        through: known?.through ?? new Map(),
        ways: heard?.ways,
        told: heard?.told ?? new Map(),
        endedAt: known?.endedAt ?? new Map(),
      })
    }
  }

  closed(task: string): void {
    for (const [partition, known] of this.#partitions) if (known.task === task) this.#partitions.delete(partition)
  }

  halted(task: string, error: TidemarkError): void {
    this.#halted.set(task, error)
  }

  haltOf(task: string): TidemarkError | undefined {
    return this.#halted.get(task)
  }

  /** A topic is not what it was: of what follows it nothing is known from now on. */
  barred(topic: string): void {
    this.#barred.add(topic)
  }

  isBarred(partition: PartitionName): boolean {
    return this.#barred.size > 0 && this.#barred.has(topicPartition(partition).topic)
  }

  /** Whether anything that is read is not what it was. */
  get anyBarred(): boolean {
    return this.#barred.size > 0
  }

  /** How far all sources have come, at this moment: taken before a poll, valid for what the poll finds. */
  snapshot(now: number): Through {
    const through = new Map<PartitionName, number>()
    for (const [partition, known] of this.#partitions) {
      const at = known.source ? reached(known, now) : undefined
      if (at !== undefined) through.set(partition, at)
    }
    return through
  }

  polled(partition: PartitionName, answer: { readonly high: number; readonly at: number }, before: Through): void {
    const known = this.#partitions.get(partition)
    if (known === undefined) return
    known.high = answer.high
    known.polledAt = answer.at
    known.before = before
    if (known.committed >= known.high) known.through = before
  }

  /** A partition was asked and had nothing new: an idle source is as good as one that was read to its end just now. */
  quiet(partition: PartitionName, at: number, before: Through): void {
    const known = this.#partitions.get(partition)
    if (known === undefined) return
    known.polledAt = at
    known.before = before
    if (known.committed >= known.high) known.through = before
  }

  committed(task: string, { positions, recorded, heard }: Pick<TaskCommit, 'positions' | 'recorded' | 'heard'>): void {
    for (const [partition, position] of positions) {
      const known = this.#partitions.get(partition)
      if (known === undefined || known.task !== task) continue
      known.committed = position
      known.recordedAt = recorded.get(partition) ?? known.recordedAt
      known.told = heard.get(partition) ?? known.told
      this.#compare(known)
      if (position >= known.high && known.polledAt !== undefined) known.through = known.before
    }
  }

  /** Source partitions were asked where they end, at a moment, ms. */
  ended(ends: Positions, at: number): void {
    for (const [partition, end] of ends) this.#ends.set(partition, { end, at })
    for (const known of this.#partitions.values()) this.#compare(known)
  }

  /** A source that ended where it has come through had nothing else at that moment. One that is shorter is not the one that was read. */
  #compare({ ways, told, endedAt }: Known): void {
    for (const [source, each] of ways ?? []) {
      const ends = this.#ends.get(source)
      if (ends !== undefined && leastOf(told, each)?.position === ends.end) endedAt.set(source, ends.at)
    }
  }

  /** Up to when a task will have processed a partition with a commit that takes it to `position`, ms; undefined when nothing is known of that. */
  reachedBy(partition: PartitionName, position: number, recordedAt: number | undefined, now: number): number | undefined {
    const known = this.#partitions.get(partition)
    return known === undefined ? recordedAt : reached({ ...known, committed: position, recordedAt }, now)
  }

  /** Up to when a log partition has been processed and committed, ms; undefined when it has never been asked. */
  reachedAt(partition: PartitionName, now: number): number | undefined {
    const known = this.#partitions.get(partition)
    return known === undefined ? undefined : reached(known, now)
  }

  /** Up to when a source partition has come through an inbox partition by all its ways, ms; undefined while that is not known. */
  throughInbox(inbox: PartitionName, source: PartitionName, ways: readonly Way[]): number | undefined {
    const known = this.#partitions.get(inbox)
    if (known === undefined) return undefined
    // Of what lies in another inbox on its way here, the sources that this worker reads say nothing.
    const own = ways.every((way) => way === source) ? known.through.get(source) : undefined
    const all = [leastOf(known.told, ways)?.through, known.endedAt.get(source), own].filter((at) => at !== undefined)
    return all.length === 0 ? undefined : Math.max(...all)
  }

  /** When a source partition was last heard from, ms, whoever reads it; undefined when it never was. */
  sourceHeardAt(source: PartitionName): number | undefined {
    const asked = this.#ends.get(source)?.at
    const polled = this.#partitions.get(source)?.polledAt
    return asked === undefined || polled === undefined ? (asked ?? polled) : Math.max(asked, polled)
  }

  /** When a log partition was last heard from, ms. */
  heardAt(partition: PartitionName): number | undefined {
    return this.#partitions.get(partition)?.polledAt
  }

  /** Records that are in a log partition and not processed yet; undefined when it has never been asked. */
  lagOf(partition: PartitionName): number | undefined {
    const known = this.#partitions.get(partition)
    if (known === undefined || (known.high < 0 && known.polledAt === undefined)) return undefined
    // One that was asked and had nothing has told no end, and needs none.
    return Math.max(0, known.high - known.committed)
  }

  asOf(partition: PartitionName): number | undefined {
    return this.#partitions.get(partition)?.committed
  }
}

function reached(known: Pick<Known, 'committed' | 'recordedAt' | 'high' | 'polledAt'>, now: number): number | undefined {
  if (known.polledAt === undefined) return known.recordedAt
  if (known.committed >= known.high) return Math.min(known.polledAt, now)
  return known.recordedAt
}
