/**
 * One partition: its segments, the offsets it gives out, and how far each kind of reader may see.
 *
 *   logStart ........ settled ........ written ........ next
 *      |  kept by every  |  in the file,  |  given out,  |
 *      |    recovery     |  not decided   |  not written |
 *
 * `stable` is the first record of an open transaction, or `settled` when there is none. Batches are written in the order of their offsets,
 * many with one call of the disk. The control batch of a decided transaction is given its offset at once and is written with the next
 * data, or with the next checkpoint: the journal already knows it, and recovery writes it when a crash comes first.
 */
import type { TidemarkError } from '../../base/errors.ts'
import type { PartitionName } from '../../ports/log.ts'
import { type Codecs, controlBatch, placeBatch } from '../../ports/record-batch/index.ts'
import { diskError, refusesWrites } from './errors.ts'
import type { Health } from './health.ts'
import { Producers } from './producers.ts'
import { type OpenFiles, Segment } from './segment.ts'
import type { DecisionPart, Mark, OwedMarker, PartitionRef, PartitionState, TopicState } from './state.ts'

export interface PartitionOptions {
  readonly folder: string
  readonly name: PartitionName
  readonly topic: TopicState
  readonly ref: PartitionRef
  readonly state: PartitionState
  readonly files: OpenFiles
  readonly codecs: Codecs
  readonly health: Health
  readonly segmentBytes: number
  /** Wall time, for the timestamps of control batches. */
  readonly now: () => number
  /** The leader epoch of what is appended. */
  readonly incarnation: number
  /** Called after every write, with its bytes. */
  readonly onWritten: (bytes: number) => void
  /** Called when another segment was begun. */
  readonly onRoll: (partition: Partition) => void
}

interface Piece {
  readonly bytes: Buffer
  base: number
  readonly count: number
  readonly maxTimestamp: number
  /** Set for a control batch, which nobody waits for and which must be written some day. */
  readonly marker: OwedMarker | undefined
  readonly resolve: (end: Mark) => void
  readonly reject: (error: TidemarkError) => void
}

/** Bytes that one call of the disk takes at most, but for a larger batch. */
const WRITE_BYTES_MAX = 8 * 1024 * 1024

export class Partition {
  readonly name: PartitionName
  readonly topic: TopicState
  readonly ref: PartitionRef
  readonly state: PartitionState
  readonly folder: string
  readonly producers: Producers = new Producers()
  /** In order; the last one is written to. None before the first append. */
  segments: Segment[]
  /** The offset of the next batch. */
  next: number
  /** Offset behind the last batch in the files. */
  written: number
  /** The last decided place, known to lie between two batches. */
  decidedMark: Mark
  /** Set when the partition was found damaged at opening: it takes no more appends. */
  readonly damage: TidemarkError | undefined
  /** Folders whose entries the disk has not confirmed. */
  unsyncedFolders: Set<string> = new Set()
  private readonly options: PartitionOptions
  private settled: number
  /** Open transactions: producer id to first offset, and those that a decision has told of. */
  private readonly open = new Map<number, number>()
  private readonly told = new Set<number>()
  /** Control batches that no decision has told of, in order. */
  private markers: { readonly producerId: number; readonly piece: Piece }[] = []
  private pending: Piece[] = []
  private writing: Promise<void> | undefined
  /** Why the last attempt to write ended early. */
  private stuck: TidemarkError | undefined
  private syncing: Promise<void> | undefined
  private nextSync: Promise<void> | undefined
  private filesTurn: Promise<unknown> = Promise.resolve()
  private readonly waiters = new Set<() => void>()

  /**
   * @param end the decided end of the partition, where its last segment ends
   * @param damage what was found wrong at opening
   */
  constructor(options: PartitionOptions, segments: Segment[], end: Mark, damage?: TidemarkError) {
    const { name, topic, ref, state, folder } = options
    this.options = options
    this.name = name
    this.topic = topic
    this.ref = ref
    this.state = state
    this.folder = folder
    this.segments = segments
    this.decidedMark = end
    this.next = end.offset
    this.written = end.offset
    this.settled = end.offset
    this.damage = damage
    if (damage === undefined) for (const owed of state.owed) this.owe(owed)
  }

  /** Behind the last decided record that no open transaction comes before. */
  get stable(): number {
    let stable = Math.min(this.settled, this.written)
    for (const first of this.open.values()) if (first < stable) stable = first
    return stable
  }

  /**
   * Gives a batch its offset, at once, and writes it after all batches before it.
   * @param producerId the producer of a transactional batch; undefined for data outside transactions
   * @returns the place behind the batch, once it is in the file
   * @throws TidemarkError LOG_IO, LOG_CORRUPT, LOG_CLOSED
   */
  append(bytes: Buffer, count: number, maxTimestamp: number, producerId?: number): Promise<Mark> {
    const refusal = this.options.health.refusal() ?? this.damage
    if (refusal !== undefined) return Promise.reject(refusal)
    const base = this.next
    this.next = base + count
    placeBatch(bytes, base, this.options.incarnation)
    if (producerId !== undefined && !this.open.has(producerId)) this.open.set(producerId, base)
    return new Promise((resolve, reject) => {
      this.pending.push({ bytes, base, count, maxTimestamp, marker: undefined, resolve, reject })
      this.writing ??= this.work()
    })
  }

  /** What a decision about `[first, end)` says of this partition. Told once, so the decision must be submitted in the same turn. */
  tell(first: number, end: number, producerId?: number): DecisionPart {
    const opens = [...this.open].filter(([producer, from]) => producer !== producerId && from < end && !this.told.has(producer))
    for (const [producer] of opens) this.told.add(producer)
    // Decisions that are submitted after this one, and before it is written, must not call its own transaction open.
    if (producerId !== undefined) this.told.add(producerId)
    const below = this.markers.filter(({ piece }) => piece.base < end)
    this.markers = this.markers.filter(({ piece }) => piece.base >= end)
    return { ...this.ref, first, end, opens, marked: below.map(({ producerId: producer }) => producer) }
  }

  /** A decision that reaches to `end` was written. */
  decide(end: Mark, marker?: OwedMarker): void {
    if (end.offset > this.decidedMark.offset) this.decidedMark = end
    this.settled = Math.max(this.settled, end.offset)
    this.absorbMarkers()
    if (marker !== undefined) {
      this.forgetOpen(marker.producerId)
      this.owe(marker)
    }
    this.wake()
  }

  /** A transaction ended that left nothing in the files here. */
  forgetOpen(producerId: number): void {
    this.open.delete(producerId)
    this.told.delete(producerId)
    this.wake()
  }

  /**
   * Writes what has its offset: control batches that wait for data to be written with.
   * @throws TidemarkError LOG_IO
   */
  async flush(): Promise<void> {
    while (this.writing !== undefined || this.pending.length > 0) {
      this.writing ??= this.work()
      await this.writing
      if (this.pending.length > 0 && this.stuck !== undefined) throw this.stuck
    }
  }

  /** Makes everything written before the call survive a power cut. */
  sync(): Promise<void> {
    // A sync that is under way may have begun before the last write, so another one is needed after it; whoever waits shares that one.
    if (this.syncing !== undefined) {
      this.nextSync ??= this.syncing
        .catch(() => {})
        .then(() => {
          this.nextSync = undefined
          return this.sync()
        })
      return this.nextSync
    }
    this.syncing = this.syncFiles().finally(() => {
      this.syncing = undefined
    })
    return this.syncing
  }

  /** The end of the files. */
  get end(): Mark {
    const last = this.segments.at(-1)
    return { offset: this.written, segment: last?.base ?? 0, position: last?.size ?? 0 }
  }

  /** A place as it is found after segments were added or made one: the end of a closed segment is the start of the next. */
  normal(mark: Mark): Mark {
    const { offset } = mark
    return this.segments.some(({ base }) => base === offset) ? { offset, segment: offset, position: 0 } : mark
  }

  /** Removes files that lie wholly before the start of the log. What made them superfluous must survive a power cut by now. */
  dropTrimmed(): Promise<void> {
    return this.alone(async () => {
      const { logStart, synced } = this.state
      const kept = this.segments.findIndex(({ base }, i) => base >= synced.segment || (this.segments[i + 1]?.base ?? Infinity) > logStart)
      const dropped = this.segments.splice(0, Math.max(kept, 0))
      for (const segment of dropped) segment.gone = true
      for (const segment of dropped) await segment.remove()
    })
  }

  /** Does one thing at a time that takes files away. */
  alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const own = this.filesTurn.then(work)
    this.filesTurn = own.catch(() => {})
    return own
  }

  /** Puts one file in the place of several that follow each other. They are no longer read when this resolves. */
  async replaceSegments(old: readonly Segment[], by: Segment): Promise<void> {
    this.segments.splice(this.segments.indexOf(old[0] as Segment), old.length, by)
    for (const segment of old) segment.gone = true
    for (const segment of old) await segment.release()
  }

  /** Calls `waiter` once at the next change of what can be read. */
  whenChanged(waiter: () => void): void {
    this.waiters.add(waiter)
  }

  stopWaiting(waiter: () => void): void {
    this.waiters.delete(waiter)
  }

  wake(): void {
    if (this.waiters.size === 0) return
    const waiters = [...this.waiters]
    this.waiters.clear()
    for (const waiter of waiters) waiter()
  }

  private owe(marker: OwedMarker): void {
    const { codecs, incarnation, now } = this.options
    const timestamp = now()
    const { producerId, epoch: producerEpoch, kind } = marker
    const bytes = controlBatch(kind, { producerId, producerEpoch, timestamp, coordinatorEpoch: incarnation }, codecs)
    const piece: Piece = { bytes, base: this.next, count: 1, maxTimestamp: timestamp, marker, resolve: () => {}, reject: () => {} }
    placeBatch(bytes, piece.base, incarnation)
    this.next++
    this.pending.push(piece)
    this.markers.push({ producerId, piece })
    this.absorbMarkers()
  }

  /** Control batches that follow what is settled are settled too: recovery writes them again at the same offsets. */
  private absorbMarkers(): void {
    for (const { piece } of this.markers) if (piece.base === this.settled) this.settled++
  }

  private async work(): Promise<void> {
    // What is appended in the same turn is written together.
    await Promise.resolve()
    this.stuck = undefined
    while (this.pending.length > 0 && this.stuck === undefined) {
      const taken: Piece[] = []
      try {
        const { failure } = this.options.health
        if (failure !== undefined) throw refusesWrites(failure)
        const segment = await this.segmentFor(this.pending[0] as Piece)
        this.take(segment, taken)
        await segment.append(taken)
        this.landed(taken, segment)
      } catch (error) {
        this.stuck = await this.cutBack(diskError('write a segment', this.folder, error), taken.length > 0)
        this.refuse([...taken, ...this.pending], this.stuck)
      }
    }
    this.writing = undefined
  }

  /** Moves what one call of the disk writes from `pending` to `taken`. */
  private take(segment: Segment, taken: Piece[]): void {
    let bytes = 0
    for (const piece of this.pending) {
      bytes += piece.bytes.length
      const full = bytes > WRITE_BYTES_MAX || segment.size + bytes > this.options.segmentBytes
      if (full && taken.length > 0) break
      taken.push(piece)
    }
    this.pending.splice(0, taken.length)
  }

  private landed(pieces: readonly Piece[], segment: Segment): void {
    let bytes = 0
    let position = segment.size - pieces.reduce((sum, piece) => sum + piece.bytes.length, 0)
    for (const piece of pieces) {
      position += piece.bytes.length
      bytes += piece.bytes.length
      this.written = piece.base + piece.count
      piece.resolve({ offset: this.written, segment: segment.base, position })
    }
    this.options.onWritten(bytes)
    this.wake()
  }

  private async segmentFor(piece: Piece): Promise<Segment> {
    const { files, codecs, segmentBytes } = this.options
    const last = this.segments.at(-1)
    if (last !== undefined && (last.size === 0 || last.size + piece.bytes.length <= segmentBytes)) return last
    if (last === undefined) {
      await files.fs.makeFolder(this.folder).catch((error: unknown) => Promise.reject(diskError('make a folder', this.folder, error)))
      const above = this.folder.slice(0, this.folder.lastIndexOf('/'))
      this.unsyncedFolders.add(above).add(above.slice(0, above.lastIndexOf('/')))
    }
    const segment = new Segment(this.folder, piece.base, 0, files, codecs)
    await segment.create()
    this.unsyncedFolders.add(this.folder)
    this.segments.push(segment)
    if (last !== undefined) this.options.onRoll(this)
    return segment
  }

  /** After a failed write, cuts the file back to its last good end. What lay behind it could look like batches to the next opening. */
  private async cutBack(error: TidemarkError, torn: boolean): Promise<TidemarkError> {
    if (!torn) return error
    try {
      const last = this.segments.at(-1) as Segment
      await last.cut(last.size)
      return error
    } catch (again) {
      const worse = diskError('cut back a segment', this.folder, again)
      this.options.health.fail(worse)
      return worse
    }
  }

  /** Takes all offsets back that were given out behind the files' end. Control batches are owed and get new ones. */
  private refuse(pieces: readonly Piece[], error: TidemarkError): void {
    this.next = this.written
    this.pending = pieces.filter(({ marker }) => marker !== undefined)
    for (const piece of this.pending) {
      piece.base = this.next++
      placeBatch(piece.bytes, piece.base, this.options.incarnation)
    }
    this.settled = Math.min(this.settled, this.written)
    this.absorbMarkers()
    for (const piece of pieces) piece.reject(error)
  }

  private async syncFiles(): Promise<void> {
    const { fs } = this.options.files
    for (const segment of this.segments.filter(({ dirty }) => dirty)) await segment.sync()
    const folders = [...this.unsyncedFolders]
    this.unsyncedFolders.clear()
    for (const folder of folders) {
      await fs.syncFolder(folder).catch((error: unknown) => Promise.reject(diskError('sync a folder', folder, error)))
    }
  }
}
