/**
 * Compaction of a compacted topic: of every key the last record stays, and records that were aborted go. Works on closed segments whose
 * content is decided and survives a power cut; the segment that is written to is never touched, so the last record of a key may have older
 * ones beside it for a while, as on a Kafka broker.
 *
 * A tombstone stays for `tombstoneMs` after a compaction first saw it, so that a reader who is slower than that is the only one who could
 * miss it. Control batches of commits go; those of aborts stay, because a reader who is in the middle of one needs its end. The last batch
 * of what is rewritten stays even without records, so that positions are reached.
 *
 * Memory: the keys of one pass (`tableBytes`) and some megabytes of batches. Where not all keys fit, several passes follow each other, each
 * over everything before its end, as Kafka's cleaner does it.
 */
import type { Clock } from '../../ports/clock.ts'
import type { Codecs, Limits, RecordBatch } from '../../ports/record-batch/index.ts'
import type { Checkpoints } from './checkpoint.ts'
import { cleanBatch, emptiedBatch } from './clean-batch.ts'
import { diskError } from './errors.ts'
import type { Health } from './health.ts'
import type { Journal } from './journal.ts'
import { KeyTable } from './key-table.ts'
import { cleanedFile, segmentFile, swapFile } from './layout.ts'
import type { Partition } from './partition.ts'
import { type Place, scan } from './scan.ts'
import { type OpenFiles, PIECE_BYTES, Segment } from './segment.ts'

export interface CompactorOptions {
  readonly files: OpenFiles
  readonly codecs: Codecs
  readonly limits: Limits
  readonly clock: Clock
  readonly health: Health
  readonly journal: Journal
  readonly checkpoints: Checkpoints
  readonly segmentBytes: number
  readonly tableBytes: number
}

/** What compactions have done to one partition. */
export interface Compaction {
  readonly partition: string
  readonly passes: number
  /** Bytes of the segments that were looked at. */
  readonly bytesBefore: number
  readonly bytesAfter: number
}

/** Compaction runs by itself when more than this share of the closed segments is new. */
const DIRTY_SHARE = 0.5

export class Compactor {
  private readonly options: CompactorOptions
  /** One compaction at a time, in the order in which they were asked for. */
  private turn: Promise<unknown> = Promise.resolve()
  private readonly waiting = new Set<Partition>()
  /** Partitions in which a change of files is under way, or failed. */
  private readonly unfinished = new Set<Partition>()
  private closed = false

  constructor(options: CompactorOptions) {
    this.options = options
  }

  /** Compacts in the background, if enough is new. */
  consider(partition: Partition): void {
    if (partition.topic.cleanup !== 'compact' || this.waiting.has(partition)) return
    const closed = this.closedSegments(partition, partition.stable)
    const dirty = closed.filter((segment) => (endOf(partition, segment) as number) > partition.state.cleaned)
    if (sizeOf(dirty) <= sizeOf(closed) * DIRTY_SHARE) return
    this.waiting.add(partition)
    // Nobody waits for it. A compaction that fails leaves everything as it was; the next segment gives the next occasion.
    void this.compact(partition).catch(() => {})
  }

  /**
   * Compacts now. Nothing happens to a topic that keeps everything.
   * @throws TidemarkError LOG_IO, LOG_CORRUPT when the partition cannot be read
   */
  compact(partition: Partition): Promise<Compaction> {
    const own = this.turn.then(() => {
      this.waiting.delete(partition)
      return this.run(partition)
    })
    this.turn = own.catch(() => {})
    return own
  }

  async close(): Promise<void> {
    this.closed = true
    await this.turn
  }

  private async run(partition: Partition): Promise<Compaction> {
    const { checkpoints, journal, clock } = this.options
    const { stable, name } = partition
    const nothing = { partition: name, passes: 0, bytesBefore: 0, bytesAfter: 0 }
    if (this.closed || partition.topic.cleanup !== 'compact' || partition.damage !== undefined || this.unfinished.has(partition))
      return nothing
    // A power cut after the old records are gone must not take the newer ones that replaced them.
    await checkpoints.run()
    const closed = this.closedSegments(partition, stable)
    const limit = endOf(partition, closed.at(-1))
    const bytesBefore = sizeOf(closed)
    if (limit === undefined || limit <= partition.state.cleaned) return { ...nothing, bytesBefore, bytesAfter: bytesBefore }
    let passes = 0
    while (partition.state.cleaned < limit && !this.closed) {
      passes++
      const table = new KeyTable(this.options.tableBytes)
      const end = await this.learn(table, partition, limit)
      const at = clock.now()
      for (const group of this.groups(this.closedSegments(partition, stable), end)) {
        await this.rewrite(partition, group, { table, end, at })
      }
      await journal.submit({ kind: 'compacted', ref: partition.ref, end, at: Math.max(0, Math.trunc(at)) })
    }
    return { partition: name, passes, bytesBefore, bytesAfter: sizeOf(this.closedSegments(partition, stable)) }
  }

  /** Segments that nobody writes to, with decided content that survives a power cut. */
  private closedSegments(partition: Partition, stable: number): Segment[] {
    const { segments, state } = partition
    return segments.filter(({ base }, i) => base < state.synced.segment && (segments[i + 1]?.base ?? Infinity) <= stable)
  }

  /** Learns the keys from where the last compaction ended, as far as they have room. Returns the offset before which all are known. */
  private async learn(table: KeyTable, partition: Partition, limit: number): Promise<number> {
    const from = Math.max(partition.state.cleaned, partition.state.logStart)
    for await (const batch of this.batches(partition, from, limit)) {
      if (!batch.control && batch.count > 0 && !isAborted(partition, batch)) {
        const { payload, count, keyAt, keyEnd, offsets } = batch.columns
        let keyBytes = 0
        for (let i = 0; i < count; i++) keyBytes += (keyEnd[i] as number) - (keyAt[i] as number)
        if (!table.hasRoom(count, keyBytes)) return batch.baseOffset
        for (let i = 0; i < count; i++) {
          const at = keyAt[i] as number
          if (at >= 0) table.set(payload, at, keyEnd[i] as number, offsets[i] as number)
        }
      }
    }
    return limit
  }

  /** Neighbours that together were no larger than one segment become one, so that compaction leaves few files. */
  private groups(closed: readonly Segment[], end: number): Segment[][] {
    const groups: Segment[][] = []
    let bytes = 0
    for (const segment of closed.filter(({ base }) => base < end)) {
      const last = groups.at(-1)
      if (last !== undefined && bytes + segment.size <= this.options.segmentBytes) {
        last.push(segment)
        bytes += segment.size
      } else {
        groups.push([segment])
        bytes = segment.size
      }
    }
    return groups
  }

  private async rewrite(partition: Partition, group: readonly Segment[], pass: Pass): Promise<void> {
    const { fs } = this.options.files
    const first = group[0] as Segment
    const end = endOf(partition, group.at(-1))
    // Trimmed away meanwhile.
    if (end === undefined) return
    const aside = `${partition.folder}/${cleanedFile(first.base)}`
    try {
      const { size, changed } = await this.writeAside(partition, group, { ...pass, path: aside, groupEnd: end })
      await partition.alone(async () => {
        if ((changed || group.length > 1) && group.every(({ gone }) => !gone)) await this.swap(partition, group, { aside, size, end })
        else await fs.remove(aside)
      })
    } catch (error) {
      await fs.remove(aside).catch(() => {})
      throw diskError('compact a partition', aside, error)
    }
  }

  private async swap(partition: Partition, group: readonly Segment[], by: { aside: string; size: number; end: number }): Promise<void> {
    const { files, codecs } = this.options
    const { folder } = partition
    const { base } = group[0] as Segment
    const swap = `${folder}/${swapFile(base, by.end)}`
    await files.fs.rename(by.aside, swap)
    // From here until the end the name of the new file says what it stands for. When something fails in between, the next opening needs that
    // name, so this partition is let alone until then: another swap would take it away, and leave old files that nobody knows of.
    this.unfinished.add(partition)
    await files.fs.syncFolder(folder)
    const cleaned = new Segment(folder, base, by.size, files, codecs, swap)
    await partition.replaceSegments(group, cleaned)
    for (const segment of group) await segment.remove()
    await cleaned.rename(`${folder}/${segmentFile(base)}`)
    await files.fs.syncFolder(folder)
    this.unfinished.delete(partition)
    // The index is a help; what cannot be written now is made when it is needed.
    await cleaned.saveIndex().catch(() => {})
  }

  private async writeAside(
    partition: Partition,
    group: readonly Segment[],
    pass: Pass & { path: string; groupEnd: number },
  ): Promise<{ size: number; changed: boolean }> {
    const file = await this.options.files.fs.open(pass.path, { create: true })
    try {
      if (file.size > 0) await file.truncate(0)
      let changed = false
      let size = 0
      let pieces: Buffer[] = []
      let held = 0
      const flush = async (): Promise<void> => {
        await file.write(pieces, size)
        size += held
        pieces = []
        held = 0
      }
      for await (const batch of this.batches(partition, (group[0] as Segment).base, pass.groupEnd)) {
        const isLast = batch.lastOffset + 1 >= pass.groupEnd
        const bytes = this.clean(partition, batch, pass, isLast)
        changed ||= bytes !== batch.bytes
        if (bytes === undefined) continue
        pieces.push(bytes)
        held += bytes.length
        if (held >= PIECE_BYTES) await flush()
      }
      if (held > 0) await flush()
      await file.sync()
      return { size, changed }
    } finally {
      await file.close()
    }
  }

  private clean(partition: Partition, batch: RecordBatch, { table, end, at: now }: Pass, isLast: boolean): Buffer | undefined {
    const { codecs } = this.options
    if (batch.baseOffset >= end) return batch.bytes
    if (batch.control) return isLast || batch.controlType !== 'commit' ? batch.bytes : undefined
    const nothing = (): Buffer | undefined => (isLast ? emptiedBatch(batch, codecs) : undefined)
    if (batch.count === 0 || isAborted(partition, batch)) return nothing()
    const { payload, offsets, keyAt, keyEnd, valueAt } = batch.columns
    const { horizons } = partition.state
    const oldTombstones = horizons.findLast(({ at }) => at + partition.topic.tombstoneMs <= now)?.end ?? 0
    const keeps = (i: number): boolean => {
      const offset = offsets[i] as number
      const at = keyAt[i] as number
      // Without a key nothing can replace it. Such records are refused when they are appended.
      if (at < 0) return true
      if (table.get(payload, at, keyEnd[i] as number) > offset) return false
      return (valueAt[i] as number) >= 0 || offset >= oldTombstones
    }
    return cleanBatch(batch, keeps, codecs) ?? nothing()
  }

  /** All batches of a range, giving up the turn between pieces. */
  private async *batches(partition: Partition, from: number, to: number): AsyncGenerator<RecordBatch> {
    const { codecs, limits, clock, health } = this.options
    let next = from
    let place: Place | undefined
    while (next < to) {
      if (health.failure !== undefined) throw health.failure
      const found = await scan(partition, { from: next, to, bytes: PIECE_BYTES, place }, codecs, limits)
      if (found.batches.length === 0) return
      yield* found.batches
      next = found.next
      place = found.place
      await clock.turn()
    }
  }
}

interface Pass {
  readonly table: KeyTable
  /** The table knows all keys before this offset; records behind it are none of this pass's business. */
  readonly end: number
  readonly at: number
}

function isAborted(partition: Partition, batch: RecordBatch): boolean {
  if (!batch.transactional) return false
  const { producerId, baseOffset } = batch
  return partition.state.aborted.some(
    (range) => range.producerId === producerId && range.firstOffset <= baseOffset && baseOffset < range.end,
  )
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { size }) => sum + size, 0)
}

/** The offset behind a closed segment. */
function endOf(partition: Partition, segment: Segment | undefined): number | undefined {
  return segment === undefined || segment.gone ? undefined : partition.segments[partition.segments.indexOf(segment) + 1]?.base
}
