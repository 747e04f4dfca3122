/**
 * read_committed for one partition: batches in, those of committed transactions and of no transaction out.
 *
 * The log names the aborted transactions that its answer overlaps, and the filter works by batch, never by record: a transactional batch
 * is aborted when its producer has an aborted transaction that began at or before it and that no control batch of this producer ended
 * since. Where transactions are open the log itself must stop (at its last stable offset); the filter cannot see them.
 */
import type { RecordBatch } from './batch.ts'

export interface AbortedTransaction {
  readonly producerId: number
  /** The offset of its first record in this partition. */
  readonly firstOffset: number
}

/**
 * Reads on where it stopped: a transaction may be larger than an answer, so what is open at the end of one call is open at the start of
 * the next. Call `reset` before reading on anywhere else; going back is noticed.
 * @example
 * const filter = new CommittedFilter()
 * const records = filter.filter(readBatches(bytes, codecs).batches, aborted)
 * position = filter.next ?? position
 */
export class CommittedFilter {
  /** Producers whose transaction is known to be aborted, and not over yet. */
  private readonly open = new Set<number>()
  /** Aborted transactions that begin further on, in the order in which they do. */
  private ahead: AbortedTransaction[] = []
  private position: number | undefined

  /** The offset after the last batch looked at, dropped ones included; undefined before the first. */
  get next(): number | undefined {
    return this.position
  }

  /** Forgets everything, to begin at another offset. */
  reset(): void {
    this.open.clear()
    this.ahead = []
    this.position = undefined
  }

  /**
   * The batches that a reader of committed records may see, emptied ones included; control batches are dropped.
   * @param batches in order, following those of the call before
   * @param aborted every aborted transaction that overlaps these batches, as a Fetch answers, in any order. Later ones may be among them,
   * none that ended before the first batches; one that was named before may be named again or not
   */
  filter(batches: readonly RecordBatch[], aborted: readonly AbortedTransaction[]): RecordBatch[] {
    const first = batches[0]
    if (first !== undefined && this.position !== undefined && first.baseOffset < this.position) this.reset()
    this.learn(aborted)
    const { open, ahead } = this
    const visible: RecordBatch[] = []
    let begun = 0
    for (const batch of batches) {
      for (let next = ahead[begun]; next !== undefined && next.firstOffset <= batch.lastOffset; next = ahead[++begun]) {
        open.add(next.producerId)
      }
      // Every control batch of a producer ends its transaction, also a commit and one that compaction emptied: so a transaction that was
      // thought to go on, because its end had been compacted away, hides nothing of the one after it.
      if (batch.control) open.delete(batch.producerId)
      else if (!batch.transactional || !open.has(batch.producerId)) visible.push(batch)
      this.position = batch.lastOffset + 1
    }
    if (begun > 0) this.ahead = ahead.slice(begun)
    return visible
  }

  private learn(aborted: readonly AbortedTransaction[]): void {
    // What began before the position was named when it began, and is open or over: taking it again would hide the producer's next
    // transaction. At the start nothing was named yet, so everything is taken.
    const news = aborted.filter(({ firstOffset }) => this.position === undefined || firstOffset >= this.position)
    if (news.length === 0) return
    // The order in which they began: a broker lists them in the order in which they ended.
    const inOrder = [...this.ahead, ...news].sort((a, b) => a.firstOffset - b.firstOffset || a.producerId - b.producerId)
    this.ahead = inOrder.filter(({ producerId, firstOffset }, i) => {
      const before = inOrder[i - 1]
      return before === undefined || before.firstOffset !== firstOffset || before.producerId !== producerId
    })
  }
}
