/**
 * The reader of the port over partitions of this process. It keeps a position for each partition and nothing else: whatever it answers was
 * read from the files for this answer.
 *
 * For committed records the filter is made anew for every answer, from the aborted transactions that overlap it. So an answer never
 * depends on what was asked before, and compaction may replace files between two of them.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Fetched, Isolation, PartitionName, Positions, Reader } from '../../ports/log.ts'
import { type Codecs, CommittedFilter, type Limits, type RecordBatch } from '../../ports/record-batch/index.ts'
import { closedError, damaged, topicUnknown } from './errors.ts'
import type { Partition } from './partition.ts'
import { type Place, scan } from './scan.ts'
import type { AbortedRange } from './state.ts'

export interface ReaderOptions {
  readonly isolation: Isolation
  readonly clock: Clock
  readonly codecs: Codecs
  readonly limits: Limits
  readonly partition: (name: PartitionName) => Partition | undefined
  readonly onClose: (reader: EmbeddedReader) => void
}

interface Track {
  readonly name: PartitionName
  readonly partition: Partition | undefined
  position: number
  /** Where in the files the position lies, when the last answer has shown it. */
  place: Place | undefined
}

/** A poll is divided among so many partitions that each can be given a piece of this size. */
const SHARE_BYTES = 64 * 1024

export class EmbeddedReader implements Reader {
  private readonly options: ReaderOptions
  private tracks: Track[] = []
  private paused: ReadonlySet<PartitionName> = new Set()
  /** Which partition comes first in the next poll, so that none waits for ever behind others. */
  private turn = 0
  private polling = false
  private closed = false
  /** Ends the wait of the poll that is under way. */
  private wakeUp: () => void = () => {}

  constructor(options: ReaderOptions) {
    this.options = options
  }

  assign(positions: Positions): void {
    const { partition } = this.options
    this.tracks = [...positions].map(([name, position]) => {
      if (!Number.isSafeInteger(position) || position < 0) throw new TypeError(`a position is an offset, not ${position} (${name})`)
      return { name, partition: partition(name), position, place: undefined }
    })
    this.wakeUp()
  }

  pause(partitions: ReadonlySet<PartitionName>): void {
    this.paused = new Set(partitions)
    this.wakeUp()
  }

  async poll(options: { bytes: number; waitMs: number; signal?: AbortSignal }): Promise<Fetched[]> {
    const { bytes, waitMs, signal } = options
    if (this.polling) throw new TypeError('a reader is polled once at a time')
    this.polling = true
    try {
      const { clock } = this.options
      const until = clock.mono() + waitMs
      for (;;) {
        if (this.closed) throw closedError('the reader')
        signal?.throwIfAborted()
        const fetched = await this.fetch(bytes)
        if (fetched.length > 0) return fetched
        const left = until - clock.mono()
        if (left <= 0) return []
        await this.wait(left, signal)
      }
    } finally {
      this.polling = false
    }
  }

  close(): Promise<void> {
    if (!this.closed) {
      this.closed = true
      this.wakeUp()
      this.options.onClose(this)
    }
    return Promise.resolve()
  }

  /** Everything that can be answered now. */
  private async fetch(bytes: number): Promise<Fetched[]> {
    const tracks = this.tracks
    const ready = tracks.filter((track) => !this.paused.has(track.name) && this.hasNews(track))
    if (ready.length === 0) return []
    const first = this.turn++ % ready.length
    const inTurn = [...ready.slice(first), ...ready.slice(0, first)]
    const chosen = inTurn.slice(0, Math.max(1, Math.floor(bytes / SHARE_BYTES)))
    const share = Math.max(1, Math.floor(bytes / chosen.length))
    const answers = await Promise.all(chosen.map((track) => this.read(track, share)))
    if (this.closed) throw closedError('the reader')
    // What was assigned anew meanwhile is read anew.
    if (tracks !== this.tracks) return this.fetch(bytes)
    return answers.map(({ fetched, place }, i) => {
      const track = chosen[i] as Track
      if (fetched.kind === 'batches') track.position = fetched.next
      track.place = place
      return fetched
    })
  }

  private hasNews({ partition, position }: Track): boolean {
    if (partition === undefined) return true
    return position < this.visible(partition) || position < partition.state.logStart || position > partition.written
  }

  private visible(partition: Partition): number {
    return this.options.isolation === 'committed' ? partition.stable : partition.written
  }

  private async read(track: Track, bytes: number): Promise<{ fetched: Fetched; place: Place | undefined }> {
    const { name, partition, position } = track
    if (partition === undefined) {
      const error = topicUnknown(name)
      return { fetched: { kind: 'failed', partition: name, error }, place: undefined }
    }
    const to = this.visible(partition)
    // Taken together with the end: compaction may forget aborted transactions, with their data, while older files are still being read.
    const { logStart, aborted } = partition.state
    if (position < logStart || position > partition.written) {
      return { fetched: { kind: 'gap', partition: name, position, logStart, high: partition.written }, place: undefined }
    }
    const { codecs, limits } = this.options
    try {
      const { batches, next, place } = await scan(partition, { from: position, to, bytes, place: track.place }, codecs, limits)
      // Files that end too early would else be asked again and again.
      if (next === position) throw partition.damage ?? missing(partition, position)
      const { written: high, stable } = partition
      const fetched: Fetched = { kind: 'batches', partition: name, batches: this.shown(batches, aborted), next, high, stable, logStart }
      return { fetched, place }
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      return { fetched: { kind: 'failed', partition: name, error }, place: undefined }
    }
  }

  /** Data only; for committed records without that of aborted transactions. */
  private shown(batches: RecordBatch[], aborted: readonly AbortedRange[]): RecordBatch[] {
    const first = batches[0]
    const last = batches.at(-1)
    if (first === undefined || last === undefined) return []
    const overlapping =
      this.options.isolation === 'committed' && aborted.length > 0
        ? aborted.filter(({ firstOffset, end }) => end > first.baseOffset && firstOffset <= last.lastOffset)
        : []
    const visible = overlapping.length > 0 ? new CommittedFilter().filter(batches, overlapping) : batches
    return visible.filter(({ control, count }) => !control && count > 0)
  }

  /** Until something may have changed, or for `ms`. */
  private async wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const over = new AbortController()
    // With a reason: an abort without one makes an error with a stack, and readers wait often.
    const end = (): void => over.abort('over')
    this.wakeUp = end
    const watched = this.tracks.flatMap(({ name, partition }) => (partition === undefined || this.paused.has(name) ? [] : [partition]))
    for (const partition of watched) partition.whenChanged(end)
    const both = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal])
    try {
      // Something may have come since it was last looked for, before anybody was told to watch.
      if (this.closed || this.tracks.some((track) => !this.paused.has(track.name) && this.hasNews(track))) return
      await this.options.clock.sleep(ms, both)
    } catch (error) {
      if (!both.aborted) throw error
    } finally {
      this.wakeUp = () => {}
      for (const partition of watched) partition.stopWaiting(end)
    }
  }
}

function missing(partition: Partition, offset: number): TidemarkError {
  const { topic, ref, folder } = partition
  return damaged({ topic: topic.name, partition: ref.partition, offset, path: folder, byte: 0 }, 'the files end before this offset.')
}
