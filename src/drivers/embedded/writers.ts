/** Writers of the port: they stamp batches and hand them to partitions. Sessions and transactions are kept elsewhere. */
import { TidemarkError } from '../../base/errors.ts'
import type { CommitOutcome, GroupPositions, PartitionName, PlainWriter, Writer } from '../../ports/log.ts'
import { type Codecs, type EncodedBatch, type Limits, readBatches, stampBatch } from '../../ports/record-batch/index.ts'
import type { Decisions } from './decisions.ts'
import { closedError, topicUnknown } from './errors.ts'
import { type BatchHeader, readHeader } from './header.ts'
import { COMPRESSION_MASK } from './layout.ts'
import { firstNullKey } from './null-key.ts'
import type { Partition } from './partition.ts'
import { type Appended, nextSequence } from './producers.ts'
import type { Session, Transactions } from './transactions.ts'

export interface AppendOptions {
  readonly codecs: Codecs
  readonly limits: Limits
  readonly partition: (name: PartitionName) => Partition | undefined
  readonly transactions: Transactions
  readonly decisions: Decisions
}

/** The way of a stamped batch into a partition, the same for every kind of writer. */
export class Appends {
  readonly options: AppendOptions

  constructor(options: AppendOptions) {
    this.options = options
  }

  /** @throws TidemarkError TOPIC_UNKNOWN */
  partition(name: PartitionName): Partition {
    const partition = this.options.partition(name)
    if (partition === undefined) throw topicUnknown(name)
    return partition
  }

  /**
   * Refuses, before anything is stamped, what no reader could read or no compaction could keep.
   * @throws TidemarkError BATCH_LIMIT, KEY_INVALID
   */
  check(partition: Partition, batch: EncodedBatch): void {
    const { codecs, limits } = this.options
    if (batch.bytes.length > limits.batchBytesMax) {
      throw new TidemarkError('BATCH_LIMIT', 'a record batch is larger than allowed', {
        detail: `It has ${batch.bytes.length} bytes; ${limits.batchBytesMax} are allowed.`,
      })
    }
    if (partition.topic.cleanup !== 'compact') return
    const compressed = (batch.bytes.readInt16BE(21) & COMPRESSION_MASK) !== 0
    const at = compressed ? nullKeyDecoded(batch, codecs, limits) : firstNullKey(batch.bytes, batch.count)
    if (at < 0) return
    throw new TidemarkError('KEY_INVALID', 'a record for a compacted topic has no key', {
      detail: `Record ${at} of a batch for ${partition.name}.`,
      hint: 'A compacted topic keeps the last value of each key. Give every record a key, or use cleanup "delete".',
    })
  }

  /**
   * Appends a stamped batch: once, however often it comes.
   * @throws TidemarkError WRITER_FENCED, SEQUENCE_BROKEN, LOG_IO
   */
  produce(partition: Partition, bytes: Buffer, session: Session | undefined): Promise<Appended> {
    const header = readHeader(bytes) as BatchHeader
    const earlier = partition.producers.earlier(header)
    if (earlier !== undefined) return earlier
    const base = partition.next
    const written = partition.append(bytes, header.count, header.maxTimestamp, session?.producerId)
    const result =
      session === undefined
        ? written.then(async (end) => {
            await this.options.decisions.plain(partition, base, end)
            return { base, next: end.offset }
          })
        : this.options.transactions.track(session, partition, base, written)
    partition.producers.add(header, result)
    return result
  }
}

/** The sequence numbers of one producer, partition by partition. */
class Sequences {
  private readonly next = new Map<Partition, number>()

  take(partition: Partition, count: number): number {
    const first = this.next.get(partition) ?? 0
    this.next.set(partition, nextSequence(first, count))
    return first
  }

  /** Forgets the producer where it was known: a closed one costs no memory. */
  end(producerId: number): void {
    for (const partition of this.next.keys()) partition.producers.forget(producerId)
  }
}

export class EmbeddedWriter implements Writer {
  readonly id: string
  private readonly session: Session
  private readonly appends: Appends
  private readonly onClose: (writer: EmbeddedWriter) => void
  private readonly sequences = new Sequences()
  private closed = false

  constructor(session: Session, appends: Appends, onClose: (writer: EmbeddedWriter) => void) {
    this.id = session.id
    this.session = session
    this.appends = appends
    this.onClose = onClose
  }

  /** Not `async`: batches get their offsets in the order of the calls. */
  append(name: PartitionName, batch: EncodedBatch): Promise<Appended> {
    const { appends, session } = this
    const { transactions, codecs } = appends.options
    const refusal = this.closed ? closedError('the writer') : transactions.refusal(session)
    if (refusal !== undefined) return Promise.reject(refusal)
    try {
      const partition = appends.partition(name)
      appends.check(partition, batch)
      const baseSequence = this.sequences.take(partition, batch.count)
      const { producerId, epoch: producerEpoch } = session
      stampBatch(batch, { producerId, producerEpoch, baseSequence, transactional: true }, codecs)
      return appends.produce(partition, batch.bytes, session)
    } catch (error) {
      if (error instanceof TidemarkError) transactions.doom(session, error)
      return Promise.reject(error)
    }
  }

  commit(positions: readonly GroupPositions[]): Promise<CommitOutcome> {
    if (this.closed) return Promise.reject(closedError('the writer'))
    return this.appends.options.transactions.commit(this.session, positions)
  }

  abort(): Promise<void> {
    if (this.closed) return Promise.reject(closedError('the writer'))
    return this.appends.options.transactions.abort(this.session)
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.onClose(this)
    // A log that can write no more leaves the transaction to the next opening.
    await this.appends.options.transactions.abort(this.session).catch(() => {})
    this.sequences.end(this.session.producerId)
  }
}

export class EmbeddedPlainWriter implements PlainWriter {
  private readonly producerId: number
  private readonly appends: Appends
  private readonly onClose: (writer: EmbeddedPlainWriter) => void
  private readonly sequences = new Sequences()
  private closed = false

  constructor(producerId: number, appends: Appends, onClose: (writer: EmbeddedPlainWriter) => void) {
    this.producerId = producerId
    this.appends = appends
    this.onClose = onClose
  }

  append(name: PartitionName, batch: EncodedBatch, guard?: () => void): Promise<Appended> {
    if (this.closed) return Promise.reject(closedError('the writer'))
    const { appends, producerId } = this
    try {
      guard?.()
      const partition = appends.partition(name)
      appends.check(partition, batch)
      const baseSequence = this.sequences.take(partition, batch.count)
      stampBatch(batch, { producerId, producerEpoch: 0, baseSequence, transactional: false }, appends.options.codecs)
      return appends.produce(partition, batch.bytes, undefined)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  close(): Promise<void> {
    if (!this.closed) {
      this.closed = true
      this.onClose(this)
      this.sequences.end(this.producerId)
    }
    return Promise.resolve()
  }
}

function nullKeyDecoded(batch: EncodedBatch, codecs: Codecs, limits: Limits): number {
  // The checksum is written with the stamp; until then a copy carries one, so that the reader of batches can be used as it is.
  const copy = { ...batch, bytes: Buffer.from(batch.bytes) }
  stampBatch(copy, { producerId: -1, producerEpoch: -1, baseSequence: -1, transactional: false }, codecs)
  const read = readBatches(copy.bytes, codecs, limits).batches[0]
  return read === undefined ? -1 : read.columns.keyAt.indexOf(-1)
}
