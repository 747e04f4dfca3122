/** The committed positions of a group at its simulated coordinator, with those that open transactions carry. */

import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import type { OffsetFetchPartition } from '../../drivers/kafka/wire/offset-fetch.ts'
import type { CommittedTopic } from '../../drivers/kafka/wire/parts.ts'
import { type PartitionName, partitionName } from '../../ports/log.ts'
import type { Decision } from './partition.ts'

interface Position {
  readonly offset: number
  readonly epoch: number
  /** Of two, the one that was written later counts. */
  readonly order: number
}

export class GroupOffsets {
  readonly #committed = new Map<PartitionName, Position>()
  readonly #pending = new Map<number, { readonly decision: Decision; readonly positions: Map<PartitionName, Position> }>()
  #order = 0

  commit(topics: readonly CommittedTopic[]): void {
    for (const [name, position] of this.#ordered(topics)) this.#committed.set(name, position)
  }

  /** Positions that wait for the end of a transaction. */
  hold(producerId: number, decision: Decision, topics: readonly CommittedTopic[]): void {
    const held = this.#pending.get(producerId)
    const positions = held?.decision === decision ? held.positions : new Map<PartitionName, Position>()
    for (const [name, position] of this.#ordered(topics)) positions.set(name, position)
    this.#pending.set(producerId, { decision, positions })
  }

  /** A transaction has ended. */
  mark(producerId: number, kind: 'commit' | 'abort'): void {
    const held = this.#pending.get(producerId)
    this.#pending.delete(producerId)
    if (kind === 'commit' && held !== undefined) settle(this.#committed, held.positions)
  }

  fetch(topic: string, partition: number, requireStable: boolean): OffsetFetchPartition {
    const name = partitionName(topic, partition)
    const unstable = requireStable && [...this.#pending.values()].some(({ positions }) => positions.has(name))
    const found = unstable ? undefined : this.#committed.get(name)
    return {
      partition,
      committedOffset: found?.offset ?? -1,
      committedLeaderEpoch: found?.epoch ?? -1,
      metadata: '',
      error: unstable ? E.UNSTABLE_OFFSET_COMMIT : E.NONE,
    }
  }

  /** What is decided, whoever has been told of it; and whether anything is not. */
  get truth(): { readonly positions: ReadonlyMap<PartitionName, number>; readonly undecided: ReadonlySet<PartitionName> } {
    const decided = new Map(this.#committed)
    const undecided = new Set<PartitionName>()
    for (const { decision, positions } of this.#pending.values()) {
      if (decision.state === 'commit') settle(decided, positions)
      else if (decision.state === 'open') for (const name of positions.keys()) undecided.add(name)
    }
    return { positions: new Map([...decided].map(([name, { offset }]) => [name, offset])), undecided }
  }

  #ordered(topics: readonly CommittedTopic[]): [PartitionName, Position][] {
    return topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, committedOffset, committedLeaderEpoch }): [PartitionName, Position] => [
        partitionName(topic, partition),
        { offset: committedOffset, epoch: committedLeaderEpoch, order: this.#order++ },
      ]),
    )
  }
}

function settle(into: Map<PartitionName, Position>, positions: ReadonlyMap<PartitionName, Position>): void {
  for (const [name, position] of positions) {
    const before = into.get(name)
    if (before === undefined || before.order < position.order) into.set(name, position)
  }
}
