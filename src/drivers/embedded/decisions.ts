/**
 * Decisions: the moments at which data and positions become true together. A decision is one record of the journal; when it is written, all
 * partitions that it touches and all positions in it move in one synchronous step, so no reader of this process sees a part of it.
 */
import type { TidemarkError } from '../../base/errors.ts'
import { type GroupPositions, type PartitionName, type Positions, topicPartition } from '../../ports/log.ts'
import { topicUnknown } from './errors.ts'
import type { Groups } from './groups.ts'
import type { Health } from './health.ts'
import type { Journal } from './journal.ts'
import type { Partition } from './partition.ts'
import type { DecidedPositions, LogState, Mark, PartitionRef } from './state.ts'

export interface Decision {
  readonly outcome: 'plain' | 'commit' | 'abort'
  readonly producerId: number
  readonly epoch: number
  /** First offset, and the place behind the last batch. */
  readonly touched: ReadonlyMap<Partition, { readonly first: number; readonly end: Mark }>
  readonly groups: readonly DecidedPositions[]
}

export interface DecisionsOptions {
  readonly state: LogState
  readonly journal: Journal
  readonly groups: Groups
  readonly health: Health
  /** Data is synced before it is decided. */
  readonly syncFirst: boolean
}

export class Decisions {
  private readonly options: DecisionsOptions
  /** Positions in decisions that are being written: group and partition to how many. */
  private readonly unstable = new Map<string, number>()

  constructor(options: DecisionsOptions) {
    this.options = options
  }

  /** Positions as the journal names them. @throws TidemarkError TOPIC_UNKNOWN */
  resolve({ group, positions }: GroupPositions): DecidedPositions {
    const resolved = [...positions].map(([name, offset]): readonly [PartitionRef, number] => {
      if (!Number.isSafeInteger(offset) || offset < 0) throw new TypeError(`a position is an offset, not ${offset} (${name})`)
      return [this.ref(name), offset]
    })
    return { group, positions: resolved }
  }

  /** Why the group refuses these positions, or undefined. */
  refusal(groups: readonly GroupPositions[]): TidemarkError | undefined {
    for (const { group, identity } of groups) {
      const refusal = identity === undefined ? undefined : this.options.groups.refusal(group, identity)
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  /** Makes data survive a power cut where that is asked for, before it is decided. @throws TidemarkError LOG_IO */
  async confirm(partitions: readonly Partition[]): Promise<void> {
    if (!this.options.syncFirst) return
    try {
      await Promise.all(partitions.map((partition) => partition.sync()))
    } catch (error) {
      // After a failed sync nobody knows which of the earlier writes are on the disk.
      this.options.health.fail(error as TidemarkError)
      throw error
    }
  }

  /** Writes a decision. All data that it covers must be in the files. `over` runs when it takes effect. */
  submit(decision: Decision, over: () => void = () => {}): Promise<void> {
    const { outcome, producerId, epoch, touched, groups } = decision
    const own = outcome === 'plain' ? undefined : producerId
    const parts = [...touched].map(([partition, { first, end }]) => partition.tell(first, end.offset, own))
    this.hold(groups, 1)
    return this.options.journal.submit({ kind: 'decision', outcome, producerId, epoch, parts, groups }, () => {
      this.hold(groups, -1)
      over()
      for (const [partition, { end }] of touched) {
        partition.decide(end, outcome === 'plain' ? undefined : { producerId, epoch, kind: outcome })
      }
    })
  }

  /** Decides data outside transactions. */
  async plain(partition: Partition, first: number, end: Mark): Promise<void> {
    await this.confirm([partition])
    await this.submit({ outcome: 'plain', producerId: 0, epoch: 0, touched: new Map([[partition, { first, end }]]), groups: [] })
  }

  /** Decides positions alone. @throws TidemarkError COMMIT_REJECTED, TOPIC_UNKNOWN */
  async positions(positions: GroupPositions): Promise<void> {
    const resolved = this.resolve(positions)
    const refusal = this.refusal([positions])
    if (refusal !== undefined) throw refusal
    if (resolved.positions.length === 0) return
    await this.submit({ outcome: 'plain', producerId: 0, epoch: 0, touched: new Map(), groups: [resolved] })
  }

  committed(group: string, partitions: readonly PartitionName[]): Positions | 'unstable' {
    if (partitions.some((name) => this.unstable.has(unstableKey(group, name)))) return 'unstable'
    const all = this.options.state.positions.get(group)
    const found = new Map<PartitionName, number>()
    for (const name of partitions) {
      const position = all?.get(name)
      if (position !== undefined) found.set(name, position)
    }
    return found
  }

  /** A failed write never comes back here: its positions stay unstable until the log is opened again. */
  private hold(groups: readonly DecidedPositions[], by: number): void {
    for (const { group, positions } of groups) {
      for (const [ref] of positions) {
        const key = unstableKey(group, this.options.state.name(ref))
        const count = (this.unstable.get(key) ?? 0) + by
        if (count === 0) this.unstable.delete(key)
        else this.unstable.set(key, count)
      }
    }
  }

  private ref(name: PartitionName): PartitionRef {
    const { topic, partition } = topicPartition(name)
    const found = this.options.state.topicsByName.get(topic)
    if (found?.partitions[partition] === undefined) throw topicUnknown(name)
    return { topic: found.number, partition }
  }
}

function unstableKey(group: string, name: PartitionName): string {
  return `${group}\n${name}`
}
