/**
 * Checkpoints: in the background, what was written is made to survive a power cut, and the journal is told so. A checkpoint bounds three
 * things: what a power cut can take, what the next opening has to look through, and how long an old journal is kept.
 *
 * Files that nothing needs any more are removed here too, after everything that made them superfluous is safe. Removed earlier, a power cut
 * could bring positions back that point into them.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import { diskError } from './errors.ts'
import type { Health } from './health.ts'
import type { Journal } from './journal.ts'
import type { Partition } from './partition.ts'
import type { Mark, PartitionRef } from './state.ts'

export interface CheckpointOptions {
  readonly clock: Clock
  readonly health: Health
  readonly journal: Journal
  readonly partitions: () => Iterable<Partition>
  /** Time from the first write to the checkpoint after it, ms; undefined to wait for bytes only. */
  readonly everyMs: number | undefined
  /** Called after every checkpoint. */
  readonly afterwards: () => void
}

/** Bytes after which a checkpoint is made in any case: an opening after a crash looks through this much at most. */
const BYTES_MAX = 128 * 1024 * 1024

export class Checkpoints {
  private readonly options: CheckpointOptions
  private readonly stop = new AbortController()
  private bytes = 0
  private timer: Promise<void> | undefined
  private running: Promise<void> | undefined
  private next: Promise<void> | undefined
  private readonly trash: (() => Promise<void>)[] = []
  /** How far the journal is known to survive a power cut. */
  private confirmed = { file: 0, byte: 0 }

  constructor(options: CheckpointOptions) {
    this.options = options
  }

  /** Something was written: a checkpoint follows. */
  written(bytes: number): void {
    this.bytes += bytes
    if (this.bytes >= BYTES_MAX) {
      this.bytes = 0
      this.inBackground()
    } else if (this.options.everyMs !== undefined) this.timer ??= this.later(this.options.everyMs)
  }

  /** A checkpoint soon, for which nobody waits. What fails there is remembered by the log as a whole. */
  inBackground(): void {
    void this.run().catch(() => {})
  }

  /** Runs after the next checkpoint that begins after this call. */
  discard(remove: () => Promise<void>): void {
    this.trash.push(remove)
  }

  /**
   * Makes everything written before the call survive a power cut, and the record of it too.
   * @throws TidemarkError LOG_IO
   */
  run(): Promise<void> {
    // One at a time. One that is under way may have begun before the last write; whoever comes meanwhile shares the one after it.
    if (this.running !== undefined) {
      this.next ??= this.running
        .catch(() => {})
        .then(() => {
          this.next = undefined
          return this.run()
        })
      return this.next
    }
    this.running = this.once().finally(() => {
      this.running = undefined
    })
    return this.running
  }

  /** Ends the timer, and waits for what is under way. */
  async close(): Promise<void> {
    this.stop.abort()
    await this.timer
    await this.running?.catch(() => {})
  }

  private async once(): Promise<void> {
    const { health, journal } = this.options
    if (health.failure !== undefined) throw health.failure
    this.bytes = 0
    // Of a damaged partition nothing can be confirmed, and what was confirmed of it must stay known.
    const partitions = [...this.options.partitions()].filter(({ damage }) => damage === undefined)
    const removals = this.trash.splice(0)
    try {
      // Control batches that wait for data have waited long enough. A full disk is no reason to stop: they are owed as before.
      for (const partition of partitions) await partition.flush().catch(() => {})
      const number = journal.number
      const marks = partitions.flatMap((partition): (readonly [PartitionRef, Mark])[] => {
        const mark = partition.normal(partition.decidedMark)
        return samePlace(mark, partition.state.synced) ? [] : [[partition.ref, mark]]
      })
      for (const partition of partitions) await partition.sync()
      // The record says what it can know: that the journal is safe as far as the checkpoint before made it so.
      if (marks.length > 0) await journal.submit({ kind: 'synced', ...this.confirmed, marks })
      this.confirmed = await journal.sync()
      await journal.removeBefore(number)
    } catch (error) {
      const failure = error instanceof TidemarkError ? error : diskError('sync', 'the log', error)
      // After a failed sync nobody knows which of the earlier writes are on the disk.
      health.fail(failure)
      throw failure
    }
    // Files that stay although nobody needs them do no harm: the next opening finds and removes them.
    for (const remove of removals) await remove().catch(() => {})
    this.options.afterwards()
  }

  private async later(ms: number): Promise<void> {
    try {
      await this.options.clock.sleep(ms, this.stop.signal)
    } catch {
      return
    } finally {
      this.timer = undefined
    }
    this.inBackground()
  }
}

function samePlace(one: Mark, other: Mark): boolean {
  return one.offset === other.offset && one.segment === other.segment && one.position === other.position
}
