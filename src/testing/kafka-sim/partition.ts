/**
 * A partition of a simulated cluster: its batches, what its leader remembers of producers, the transactions that are open in it, and what each
 * broker believes of it. One log stands for all replicas: what was acknowledged is never lost, but where a test says so (`cut`). What a broker answers that was deposed and has
 * not heard of it yet is modelled: the ends as they were then.
 */
import { TidemarkError } from '../../base/errors.ts'
import { cleanBatch } from '../../drivers/embedded/clean-batch.ts'
import type { ActiveProducer } from '../../drivers/kafka/wire/describe-producers.ts'
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import type { AbortedRange } from '../../drivers/kafka/wire/fetch.ts'
import { type Codecs, controlBatch, DEFAULT_LIMITS, placeBatch, type RecordBatch, readBatches } from '../../ports/record-batch/index.ts'
import { type Producer, sequenceError } from './producers.ts'

/** How a transaction was decided: what is true of its records before any partition has been told. */
export interface Decision {
  state: 'open' | 'commit' | 'abort'
}

interface Stored {
  readonly bytes: Buffer
  readonly base: number
  readonly last: number
  readonly maxTimestamp: number
  readonly control: boolean
  /** Of a record of no transaction: undefined. */
  readonly decision: Decision | undefined
}

/** What a broker has heard of a partition. */
interface View {
  readonly leader: number
  readonly epoch: number
  /** The ends that a broker goes on to answer with that does not know yet that it was deposed. */
  frozen: Ends | undefined
}

export interface Ends {
  readonly high: number
  readonly stable: number
}

export interface Appended {
  readonly error: number
  readonly base: number
  readonly message?: string
}

export interface PartitionOptions {
  readonly topic: string
  readonly number: number
  readonly compacted: boolean
  /** How far ahead of the broker's clock a record may be, ms. */
  readonly aheadMs: number
  readonly leader: number
  readonly nodes: readonly number[]
  readonly codecs: Codecs
}

/** message.max.bytes, unless set. */
const BATCH_BYTES_MAX = 1_048_588
const BATCHES_REMEMBERED = 5

export class Partition {
  readonly topic: string
  readonly number: number
  readonly compacted: boolean
  readonly #aheadMs: number
  readonly #codecs: Codecs
  leader: number
  epoch = 0
  batches: Stored[] = []
  start = 0
  end = 0
  /** Called when there may be more to read. */
  readonly watchers: Set<() => void> = new Set()
  readonly #producers = new Map<number, Producer>()
  readonly #open = new Map<number, { readonly first: number; readonly decision: Decision }>()
  /** In the order in which they ended. */
  readonly #aborted: (AbortedRange & { readonly last: number })[] = []
  readonly #views = new Map<number, View>()
  /** Where each leader began to write. */
  readonly #leaders: { readonly epoch: number; readonly from: number }[] = [{ epoch: 0, from: 0 }]
  /** What lies before the start. */
  readonly #removed: Stored[] = []

  constructor({ topic, number, compacted, aheadMs, leader, nodes, codecs }: PartitionOptions) {
    this.topic = topic
    this.number = number
    this.compacted = compacted
    this.leader = leader
    this.#aheadMs = aheadMs
    this.#codecs = codecs
    for (const node of nodes) this.hear(node)
  }

  get name(): string {
    return `${this.topic}/${this.number}`
  }

  get stable(): number {
    let stable = this.end
    for (const { first } of this.#open.values()) stable = Math.min(stable, first)
    return stable
  }

  /** Behind the last record whose transaction is decided, whether or not its end has arrived here. */
  get decided(): number {
    let decided = this.end
    for (const { first, decision } of this.#open.values()) if (decision.state === 'open') decided = Math.min(decided, first)
    return decided
  }

  /** Whether committed records lie behind an open transaction. */
  get hides(): boolean {
    const { decided } = this
    return this.batches.some(
      ({ base, control, decision }) => base >= decided && !control && (decision === undefined || decision.state === 'commit'),
    )
  }

  /** What it remembers of its producers, as DescribeProducers tells it. */
  get active(): ActiveProducer[] {
    return [...this.#producers].map(([producerId, { epoch, batches }]) => ({
      producerId,
      producerEpoch: epoch,
      lastSequence: batches.at(-1)?.last ?? -1,
      lastTimestamp: -1,
      coordinatorEpoch: -1,
      currentTransactionStartOffset: this.#open.get(producerId)?.first ?? -1,
    }))
  }

  // --- who leads ---------------------------------------------------------------------------------------------------------------

  /** Another broker leads from now on; nobody has heard of it. */
  move(to: number): void {
    const view = this.#views.get(this.leader)
    if (view !== undefined && view.epoch === this.epoch) view.frozen = { high: this.end, stable: this.stable }
    this.leader = to
    this.epoch += 1
    this.#leaders.push({ epoch: this.epoch, from: this.end })
  }

  /** A replica comes to lead that lacks what was written last (an unclean election): that is gone, though it was acknowledged. */
  cut(offset: number, to: number): void {
    this.batches = this.batches.filter(({ last }) => last < offset)
    this.end = Math.max(this.start, (this.batches.at(-1)?.last ?? this.start - 1) + 1)
    while (this.#leaders.length > 1 && (this.#leaders.at(-1) as { from: number }).from >= this.end) this.#leaders.pop()
    for (const [producer, { first }] of this.#open) if (first >= this.end) this.#open.delete(producer)
    this.move(to)
  }

  /** Where this log and that of a reader part who has last read a record of an epoch, KIP-595; undefined when they do not. */
  divergence(position: number, epoch: number): { readonly epoch: number; readonly endOffset: number } | undefined {
    if (epoch < 0) return undefined
    const next = this.#leaders.find((leader) => leader.epoch > epoch)
    const known = this.#leaders.findLast((leader) => leader.epoch <= epoch)?.epoch ?? epoch
    const endOffset = next?.from ?? this.end
    return known < epoch || endOffset < position ? { epoch: known, endOffset } : undefined
  }

  /** A broker hears who leads. */
  hear(node: number): void {
    this.#views.set(node, { leader: this.leader, epoch: this.epoch, frozen: undefined })
    for (const watcher of this.watchers) watcher()
  }

  seenBy(node: number): { readonly leader: number; readonly epoch: number } {
    return this.#views.get(node) as View
  }

  /** Why a broker does not answer for this partition; 0 when it does. @param epoch of the leader that the client knows, -1 for any */
  refusal(node: number, epoch: number, writing: boolean): number {
    const view = this.#views.get(node) as View
    if (view.leader !== node || (view.frozen !== undefined && writing)) return E.NOT_LEADER_OR_FOLLOWER
    if (epoch >= 0 && epoch < view.epoch) return E.FENCED_LEADER_EPOCH
    if (epoch > view.epoch) return E.UNKNOWN_LEADER_EPOCH
    return E.NONE
  }

  /** How far a broker lets clients read. */
  endsAt(node: number): Ends {
    return this.#views.get(node)?.frozen ?? { high: this.end, stable: this.stable }
  }

  // --- writing -----------------------------------------------------------------------------------------------------------------

  /** The transaction that a producer has in here under its epoch: its further batches belong to it, whatever the coordinator says by now. */
  transactionOf(producerId: number, producerEpoch: number): Decision | undefined {
    return this.#producers.get(producerId)?.epoch === producerEpoch ? this.#open.get(producerId)?.decision : undefined
  }

  /** The one batch of a request, its checksum proved; or the error for it. */
  parse(records: Buffer | null, now: number): RecordBatch | Appended {
    if (records === null || records.length === 0) return { error: E.INVALID_RECORD, base: -1 }
    if (records.length > BATCH_BYTES_MAX) return { error: E.MESSAGE_TOO_LARGE, base: -1 }
    try {
      // A copy: it is kept, and stamped with an offset.
      const { batches, consumed } = readBatches(Buffer.from(records), this.#codecs, DEFAULT_LIMITS)
      const [batch] = batches
      if (batch === undefined || batches.length > 1 || consumed < records.length) return { error: E.INVALID_RECORD, base: -1 }
      if (batch.maxTimestamp - now > this.#aheadMs) return { error: E.INVALID_TIMESTAMP, base: -1 }
      for (let i = 0; this.compacted && i < batch.count; i++) {
        if (batch.key(i) !== null) continue
        return {
          error: E.INVALID_RECORD,
          base: -1,
          message: `Compacted topic cannot accept message without key in topic partition ${this.name}.`,
        }
      }
      return batch
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      return { error: E.CORRUPT_MESSAGE, base: -1, message: error.message }
    }
  }

  /** @param decision of the transaction that the batch is part of */
  append(batch: RecordBatch, decision: Decision | undefined): Appended {
    const { producerId, producerEpoch, baseSequence, count } = batch
    const known = this.#producers.get(producerId)
    if (producerId >= 0) {
      const lastSequence = (baseSequence + count - 1) % 2 ** 31
      if (known?.epoch === producerEpoch) {
        // The bytes are not compared: whoever sends others under the same numbers is told that they were written.
        const twin = known.batches.find(({ first, last }) => first === baseSequence && last === lastSequence)
        if (twin !== undefined) return { error: E.NONE, base: twin.base }
      }
      const error = sequenceError(known, producerEpoch, baseSequence)
      if (error !== E.NONE) return { error, base: -1 }
      if (!batch.transactional && this.#open.has(producerId)) return { error: E.INVALID_TXN_STATE, base: -1 }
      const written = { first: baseSequence, last: lastSequence, base: this.end }
      const before = known?.epoch === producerEpoch ? known.batches : []
      this.#producers.set(producerId, { epoch: producerEpoch, batches: [...before, written].slice(-BATCHES_REMEMBERED) })
      if (decision !== undefined && !this.#open.has(producerId)) this.#open.set(producerId, { first: this.end, decision })
    }
    return { error: E.NONE, base: this.#write(batch.bytes, batch, decision) }
  }

  /** The end of a transaction, as its coordinator says. */
  mark(producerId: number, producerEpoch: number, kind: 'commit' | 'abort', now: number): void {
    const known = this.#producers.get(producerId)
    if (known !== undefined && known.epoch > producerEpoch) return
    const bytes = controlBatch(kind, { producerId, producerEpoch, timestamp: now, coordinatorEpoch: 0 }, this.#codecs)
    const open = this.#open.get(producerId)
    this.#open.delete(producerId)
    const [marker] = readBatches(bytes, this.#codecs, DEFAULT_LIMITS).batches
    const at = this.#write(bytes, marker as RecordBatch, undefined)
    if (kind === 'abort' && open !== undefined) this.#aborted.push({ producerId, firstOffset: open.first, last: at })
    this.#producers.set(producerId, { epoch: producerEpoch, batches: known?.epoch === producerEpoch ? known.batches : [] })
  }

  #write(bytes: Buffer, { count, baseOffset, lastOffset, maxTimestamp, control }: RecordBatch, decision: Decision | undefined): number {
    const base = this.end
    const last = base + Math.max(count, lastOffset - baseOffset + 1) - 1
    placeBatch(bytes, base, this.epoch)
    this.batches.push({ bytes, base, last, maxTimestamp, control, decision })
    this.end = last + 1
    for (const watcher of this.watchers) watcher()
    return base
  }

  trim(before: number): void {
    this.start = Math.max(this.start, before)
    this.#removed.push(...this.batches.filter(({ last }) => last < this.start))
    this.batches = this.batches.filter(({ last }) => last >= this.start)
  }

  /** Removes what was overwritten later, but for the last batch: the segment that is written to is never cleaned. */
  compact(): void {
    const parsed = this.batches.map((stored) => ({
      stored,
      batch: readBatches(stored.bytes, this.#codecs, DEFAULT_LIMITS).batches[0] as RecordBatch,
    }))
    const last = new Map<string, number>()
    for (const { batch } of parsed) for (let i = 0; !batch.control && i < batch.count; i++) last.set(String(batch.key(i)), batch.offset(i))
    this.batches = parsed.flatMap(({ stored, batch }): Stored[] => {
      if (batch.control || stored.last >= this.stable || stored.last === this.end - 1) return [stored]
      const bytes = cleanBatch(batch, (i) => last.get(String(batch.key(i))) === batch.offset(i), this.#codecs)
      return bytes === undefined ? [] : [{ ...stored, bytes }]
    })
  }

  // --- reading -----------------------------------------------------------------------------------------------------------------

  /** Bytes from an offset on, and of the last batch maybe only a part; the first one comes whole when it is wanted `whole`. */
  read(from: number, until: number, bytesMax: number, whole: boolean): Buffer {
    const parts: Buffer[] = []
    let left = bytesMax
    for (let i = this.#placeOf(from); i < this.batches.length; i++) {
      const { bytes, base } = this.batches[i] as Stored
      if (base >= until || (left <= 0 && !(whole && parts.length === 0))) break
      const size = parts.length === 0 && whole ? bytes.length : Math.min(left, bytes.length)
      parts.push(size === bytes.length ? bytes : bytes.subarray(0, size))
      left -= size
    }
    return Buffer.concat(parts)
  }

  /** The first batch that ends at or behind an offset. */
  #placeOf(offset: number): number {
    let low = 0
    let high = this.batches.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.batches[middle] as Stored).last < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What is committed, by how its transactions were decided: removed records included, for whoever must have seen everything. */
  visible(from: number, until: number): RecordBatch[] {
    return [...this.#removed, ...this.batches]
      .filter(({ last, base, control, decision }) => {
        return last >= from && base < until && !control && (decision === undefined || decision.state === 'commit')
      })
      .flatMap(({ bytes }) => readBatches(bytes, this.#codecs, DEFAULT_LIMITS).batches)
  }

  /** Aborted transactions that may have records between two offsets. */
  abortedBetween(from: number, until: number): AbortedRange[] {
    return this.#aborted
      .filter(({ firstOffset, last }) => last >= from && firstOffset < until)
      .map(({ producerId, firstOffset }) => ({ producerId, firstOffset }))
  }

  /** The first record not older than a time. */
  atTime(time: number): { readonly offset: number; readonly timestamp: number } | undefined {
    for (const { bytes, maxTimestamp } of this.batches) {
      if (maxTimestamp < time) continue
      const batch = readBatches(bytes, this.#codecs, DEFAULT_LIMITS).batches[0] as RecordBatch
      for (let i = 0; i < batch.count; i++) {
        if (batch.timestamp(i) >= time && batch.offset(i) >= this.start) return { offset: batch.offset(i), timestamp: batch.timestamp(i) }
      }
    }
    return undefined
  }
}
