/**
 * Opening a directory: from its bytes to the last moment that is wholly there.
 *
 * The journal is read first. Each decision names the end of every partition that it touched, and everything before those ends was in the
 * files before the decision was written. After a power cut some of it may be missing, so what the disk had not confirmed is read and checked;
 * the first decision whose bytes are not all there ends the history, for all partitions alike. Then every partition is cut back to its
 * decided end, transactions that were open are aborted, and the outcome is the first snapshot of a new journal. Nothing before the synced
 * marks is read, however much it is.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { Fs } from '../../ports/fs.ts'
import { partitionName } from '../../ports/log.ts'
import type { Codecs, Limits } from '../../ports/record-batch/index.ts'
import { finishSwaps } from './compaction-files.ts'
import { damaged } from './errors.ts'
import { readJournal } from './journal-read.ts'
import { journalFolder, parsePartitionFile, topicFolder } from './layout.ts'
import { scan } from './scan.ts'
import { type OpenFiles, Segment } from './segment.ts'
import { type JournalRecord, LogState, type Mark, type PartitionRef, type PartitionState, type TopicState } from './state.ts'

/** What an opening found and did, for whoever wants to tell it. */
export interface Recovery {
  /** Records of the journal that were read and kept. */
  readonly records: number
  /** Records of the journal that were dropped, because the data that they decide was not all there: only a power cut does that. */
  readonly dropped: number
  /** Bytes of the journal that a crash had torn. */
  readonly tornBytes: number
  /** Bytes of batches that were read to see whether they are there. */
  readonly checkedBytes: number
  /** Bytes behind the decided ends that were cut off. */
  readonly cutBytes: number
  /** Transactions that were open and are aborted now, counted in each partition. */
  readonly abortedTransactions: number
}

export interface RecoveredPartition {
  readonly ref: PartitionRef
  readonly folder: string
  readonly segments: Segment[]
  readonly end: Mark
  readonly damage: TidemarkError | undefined
}

export interface Recovered {
  readonly state: LogState
  readonly partitions: readonly RecoveredPartition[]
  readonly report: Recovery
  /** For the journal that takes over. */
  readonly journal: { readonly number: number; readonly sequence: number; readonly superseded: readonly string[] }
}

export interface RecoveryOptions {
  readonly folder: string
  readonly fs: Fs
  readonly files: OpenFiles
  readonly codecs: Codecs
  readonly limits: Limits
}

type TopicName = Pick<TopicState, 'name' | 'id' | 'cleanup'>

interface Found {
  readonly ref: PartitionRef
  readonly topic: TopicName
  readonly folder: string
  readonly segments: Segment[]
  /** The last synced mark, and the end of every batch that was found sound behind it. */
  readonly ends: Map<number, Mark>
  /** Everything before it is there. */
  sound: number
  damage: TidemarkError | undefined
}

/** A partition's files are searched in the background of others, so many at a time. */
const AT_ONCE = 16
/** Bytes of batches that are held at once while they are checked. */
const CHECK_BYTES = 4 * 1024 * 1024

/** @throws TidemarkError LOG_CORRUPT when the journal is damaged, LOG_IO */
export async function recover(options: RecoveryOptions): Promise<Recovered> {
  const { folder, fs, codecs } = options
  const journal = await readJournal(journalFolder(folder), fs, codecs)
  const state = journal.state ?? new LogState()
  const wanted = wantedEnds(state, journal.records)
  const found = await findPartitions(options, wanted)
  const report = { records: 0, dropped: 0, tornBytes: journal.tornBytes, checkedBytes: 0, cutBytes: 0, abortedTransactions: 0 }
  await each(found, async (partition) => {
    report.checkedBytes += await check(partition, wanted, options)
  })
  const soundTo = new Map(found.map((partition) => [key(partition.ref), partition.sound]))
  let sequence = journal.sequence
  for (const { record, sequence: own } of journal.records) {
    // A partition that was damaged before this history began holds nothing up: it alone is lost.
    if (record.kind === 'decision' && record.parts.some((part) => part.end > (soundTo.get(key(part)) ?? Infinity))) break
    state.apply(record)
    sequence = own
    report.records++
  }
  report.dropped = journal.records.length - report.records
  // Numbers of dropped records are not used again: a torn file that comes back must not seem to go on.
  sequence += report.dropped + 1
  // Topics that the dropped records made are forgotten with them; their files are nobody's.
  const kept = found.filter(({ ref }) => ref.topic < state.topics.length)
  for (const partition of kept) report.abortedTransactions += abortOpen(state, partition)
  const partitions: RecoveredPartition[] = []
  await each(kept, async (partition) => {
    const { end, cutBytes } = await cut(partition, state.partition(partition.ref), fs)
    report.cutBytes += cutBytes
    const { ref, folder: own, segments, damage } = partition
    partitions.push({ ref, folder: own, segments, end, damage })
  })
  state.incarnation++
  return { state, partitions, report, journal: { number: journal.number + 1, sequence, superseded: journal.names } }
}

interface Wanted {
  readonly topics: readonly TopicName[]
  /** By partition: the largest decided end, and the last mark that the disk had confirmed. */
  readonly ends: Map<string, { ref: PartitionRef; end: number; synced: Mark; base: number }>
}

/** What the whole journal asks of the files, before it is known how much of it holds. */
function wantedEnds(state: LogState, records: readonly { readonly record: JournalRecord }[]): Wanted {
  const ends: Wanted['ends'] = new Map()
  const topics: TopicName[] = [...state.topics]
  const want = (ref: PartitionRef, partition?: PartitionState): void => {
    const synced = partition?.synced ?? { offset: 0, segment: 0, position: 0 }
    const end = partition?.decided ?? 0
    ends.set(key(ref), { ref, end, synced, base: end })
  }
  for (const topic of state.topics) {
    for (const [partition, own] of topic.partitions.entries()) want({ topic: topic.number, partition }, own)
  }
  for (const { record } of records) {
    if (record.kind === 'topic') {
      const { name, id, cleanup, partitions } = record.topic
      topics.push({ name, id, cleanup })
      for (let partition = 0; partition < partitions; partition++) want({ topic: record.number, partition })
    } else if (record.kind === 'decision') {
      for (const part of record.parts) {
        const known = ends.get(key(part))
        if (known !== undefined) known.end = Math.max(known.end, part.end)
      }
    } else if (record.kind === 'synced') {
      for (const [ref, mark] of record.marks) {
        const known = ends.get(key(ref))
        if (known !== undefined) known.synced = mark
      }
    }
  }
  return { topics, ends }
}

async function findPartitions(options: RecoveryOptions, wanted: Wanted): Promise<Found[]> {
  const { folder, fs, files, codecs } = options
  const found: Found[] = []
  await each([...wanted.ends.values()], async ({ ref, synced }) => {
    const topic = wanted.topics[ref.topic] as TopicName
    const own = `${topicFolder(folder, topic)}/${ref.partition}`
    const names = await finishSwaps(own, await fs.list(own), fs)
    const segments: Segment[] = []
    for (const name of names) {
      const file = parsePartitionFile(name)
      if (file?.kind !== 'log') continue
      const segment = new Segment(own, file.base, 0, files, codecs)
      segment.size = await segment.fileSize()
      segments.push(segment)
    }
    segments.sort((a, b) => a.base - b.base)
    found.push({ ref, topic, folder: own, segments, ends: new Map([[synced.offset, synced]]), sound: synced.offset, damage: undefined })
  })
  return found
}

/** Reads from the synced mark to the largest end that any decision names. Returns the bytes read. */
async function check(partition: Found, wanted: Wanted, options: RecoveryOptions): Promise<number> {
  const { end, synced, base } = wanted.ends.get(key(partition.ref)) as { end: number; synced: Mark; base: number }
  const segment = partition.segments.find((each) => each.base === synced.segment)
  if (synced.offset > 0 && (segment === undefined || segment.size < synced.position)) {
    partition.damage = lost(partition, synced.offset, segment?.size ?? 0, 'bytes that the disk had confirmed are missing.')
    partition.sound = Infinity
    return 0
  }
  let bytes = 0
  if (end > synced.offset && segment !== undefined) {
    let place = { segment, position: synced.position, offset: synced.offset }
    while (partition.sound < end) {
      const read = await scan(
        partition,
        { from: partition.sound, to: end, bytes: CHECK_BYTES, place },
        options.codecs,
        options.limits,
      ).catch((error: unknown) => {
        if (error instanceof TidemarkError && error.code === 'LOG_CORRUPT') return undefined
        throw error
      })
      if (read?.place === undefined || read.batches.length === 0) break
      for (const { segment: own, position, offset } of read.places) partition.ends.set(offset, { offset, segment: own.base, position })
      bytes += read.batches.reduce((sum, batch) => sum + batch.bytes.length, 0)
      place = read.place
      partition.sound = read.next
    }
  }
  // What the snapshot itself counts on was confirmed before the snapshot replaced everything older: no power cut can have taken it.
  if (partition.sound < base) {
    partition.damage = lost(partition, partition.sound, 0, 'a batch that was decided long ago is not there.')
    partition.sound = Infinity
  }
  return bytes
}

function abortOpen(state: LogState, { ref }: Found): number {
  const partition = state.partition(ref)
  const epochs = new Map([...state.writers.values()].map(({ producerId, epoch }) => [producerId, epoch]))
  const open = [...partition.opens]
  for (const [producerId, firstOffset] of open) {
    partition.opens.delete(producerId)
    partition.aborted.push({ producerId, firstOffset, end: partition.decided })
    partition.owed.push({ producerId, epoch: epochs.get(producerId) ?? 0, kind: 'abort' })
  }
  return open.length
}

/** Cuts the files back to the decided end, and makes everything before it survive a power cut. */
async function cut(partition: Found, state: PartitionState, fs: Fs): Promise<{ end: Mark; cutBytes: number }> {
  const { segments, ends, damage, folder } = partition
  if (damage !== undefined) {
    const last = segments.at(-1)
    return { end: { offset: state.decided, segment: last?.base ?? 0, position: last?.size ?? 0 }, cutBytes: 0 }
  }
  const end = ends.get(state.decided) as Mark
  const behind = segments.splice(segments.findLastIndex(({ base }) => base <= end.segment) + 1)
  let cutBytes = behind.reduce((sum, { size }) => sum + size, 0)
  for (const segment of behind) await segment.remove()
  const last = segments.at(-1)
  const { synced } = state
  // A file that is new since the last mark, or holds more than was confirmed, may be unknown to its folder.
  const unclean =
    behind.length > 0 || (last !== undefined && (last.size === 0 || last.base !== synced.segment || last.size !== synced.position))
  if (last !== undefined && last.size > end.position) {
    cutBytes += last.size - end.position
    await last.cut(end.position)
  }
  for (const segment of segments) {
    if (segment.base < synced.segment || end.offset === synced.offset) continue
    segment.dirty = true
    await segment.sync()
  }
  // Also for the files that were removed: one that came back after a power cut would be taken for the one that will have its name.
  if (unclean) for (const each of [folder, parent(folder), parent(parent(folder))]) await fs.syncFolder(each)
  state.synced = end
  return { end, cutBytes }
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function lost(partition: Found, offset: number, byte: number, what: string): TidemarkError {
  const { topic, ref, folder } = partition
  return damaged({ topic: topic.name, partition: ref.partition, offset, path: folder, byte }, what)
}

async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items]
  const workers = Array.from({ length: Math.min(AT_ONCE, queue.length) }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  })
  await Promise.all(workers)
}

function key(ref: PartitionRef): string {
  return partitionName(String(ref.topic), ref.partition)
}
