/**
 * The frontier: how far every source is known to have come, and how far every task is, so that a read knows its own age.
 *
 * A task that has processed all there was when it last asked has seen every fact recorded before it asked; one that lags has seen what was
 * recorded up to its last record. Behind an inbox the same holds of the inbox, and of its sources as they stood when the inbox was asked: an
 * idle source is thus not stale, and one that nobody hears from is unknown.
 */

import type { TidemarkError } from '../base/errors.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import type { PartitionName, Positions } from '../ports/log.ts'
import type { Task } from './task.ts'

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
}

export class Frontier {
  readonly #partitions = new Map<PartitionName, Known>()
  readonly #halted = new Map<string, TidemarkError>()
  readonly #sources: ReadonlySet<string>

  /** @param sources topics that come from outside */
  constructor(sources: ReadonlySet<string>) {
    this.#sources = sources
  }

  opened(plan: TaskPlan, task: Task): void {
    this.#halted.delete(plan.name)
    for (const { parts, position, recordedAt } of task.parts.inputs) {
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

  committed(task: string, positions: Positions, recorded: ReadonlyMap<PartitionName, number>): void {
    for (const [partition, position] of positions) {
      const known = this.#partitions.get(partition)
      if (known === undefined || known.task !== task) continue
      known.committed = position
      known.recordedAt = recorded.get(partition) ?? known.recordedAt
      if (position >= known.high && known.polledAt !== undefined) known.through = known.before
    }
  }

  /** Up to when a log partition has been processed and committed, ms; undefined when it has never been asked. */
  reachedAt(partition: PartitionName, now: number): number | undefined {
    const known = this.#partitions.get(partition)
    return known === undefined ? undefined : reached(known, now)
  }

  /** Up to when each source partition has come through an inbox partition. */
  throughInbox(partition: PartitionName): Through {
    return this.#partitions.get(partition)?.through ?? new Map()
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

function reached(known: Known, now: number): number | undefined {
  if (known.polledAt === undefined) return known.recordedAt
  if (known.committed >= known.high) return Math.min(known.polledAt, now)
  return known.recordedAt
}
