/**
 * Under which leader each record was written that this client has read. A log that was cut by an unclean election and filled again has other records
 * at the same offsets, and only the epoch of the last record read tells (KIP-320). Positions of the port are offsets, so the epoch that belongs to
 * one is remembered here, committed with it, and read back with it: a new owner, or the same after a restart, then notices as well.
 *
 * It knows only what was read without a hole. Of any other position it says that it does not know, which costs nothing but the check.
 */
import { type PartitionName, topicPartition } from '../../ports/log.ts'

const UNKNOWN = -1
/** Leaders of a partition that are remembered. */
const LEADERS_MAX = 16

interface Known {
  /** Ascending; each until the next begins. */
  readonly leaders: { readonly from: number; readonly epoch: number }[]
  /** Behind the last record that is known. */
  to: number
}

export class Epochs {
  readonly #known = new Map<PartitionName, Known>()

  /** Records from one offset up to another were written under an epoch. */
  note(partition: PartitionName, from: number, to: number, epoch: number): void {
    if (to <= from) return
    let known = this.#known.get(partition)
    if (known !== undefined && known.to !== from) {
      while (known.leaders.length > 0 && (known.leaders.at(-1) as { from: number }).from >= from) known.leaders.pop()
      // What lies between is not known, or nothing is left of what was.
      if (from > known.to || known.leaders.length === 0) known = undefined
    }
    if (known === undefined) {
      this.#known.set(partition, { leaders: [{ from, epoch }], to })
      return
    }
    known.to = to
    if (known.leaders.at(-1)?.epoch === epoch) return
    known.leaders.push({ from, epoch })
    if (known.leaders.length > LEADERS_MAX) known.leaders.shift()
  }

  /** A group has a position, and said of which epoch the record before it is. */
  noteCommitted(partition: PartitionName, position: number, epoch: number): void {
    if (epoch >= 0 && this.of(partition, position) === UNKNOWN) this.note(partition, position - 1, position, epoch)
  }

  /** The epoch of the record before a position; -1 when it is not known. */
  of(partition: PartitionName, position: number): number {
    const known = this.#known.get(partition)
    if (known === undefined || position > known.to) return UNKNOWN
    return known.leaders.findLast(({ from }) => from < position)?.epoch ?? UNKNOWN
  }

  /** A topic is another one now. */
  forget(topic: string): void {
    for (const partition of this.#known.keys()) if (topicPartition(partition).topic === topic) this.#known.delete(partition)
  }
}
