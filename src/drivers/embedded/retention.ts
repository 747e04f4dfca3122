/** Removes records that are older than their topic keeps them: whole closed segments, by the largest timestamp in each, as Kafka does. */
import type { Clock } from '../../ports/clock.ts'
import type { Partition } from './partition.ts'

/** Looking at every partition is not free, and nothing grows old in less. */
const EVERY_MS = 60_000

export class Retention {
  private readonly clock: Clock
  private readonly trim: (partition: Partition, before: number) => Promise<void>
  private lookedAt = -Infinity

  constructor(clock: Clock, trim: (partition: Partition, before: number) => Promise<void>) {
    this.clock = clock
    this.trim = trim
  }

  /** Looks at all partitions in the background, if that was not done a moment ago. */
  look(partitions: Iterable<Partition>): void {
    const now = this.clock.mono()
    if (now < this.lookedAt + EVERY_MS) return
    this.lookedAt = now
    void this.lookNow([...partitions]).catch(() => {})
  }

  private async lookNow(partitions: readonly Partition[]): Promise<void> {
    for (const partition of partitions) {
      const { cleanup, retentionMs } = partition.topic
      if (cleanup === 'compact' || retentionMs < 0) continue
      const before = await this.expired(partition, this.clock.now() - retentionMs)
      if (before > partition.state.logStart) await this.trim(partition, before)
    }
  }

  /** The start of the first segment that is to be kept. */
  private async expired(partition: Partition, before: number): Promise<number> {
    let start = partition.state.logStart
    for (const [i, segment] of [...partition.segments].entries()) {
      const next = partition.segments[i + 1]
      if (next === undefined || segment.gone || next.base > partition.stable) break
      if ((await segment.indexed()).maxTimestamp >= before) break
      start = Math.max(start, next.base)
    }
    return start
  }
}
