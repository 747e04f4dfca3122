/**
 * The journal's bytes. Integers are varints, texts have their length before them; a change here needs another number in `FILE_MAGIC`.
 *
 *   file   => "tmjrnl01" frame(snapshot) frame*
 *   frame  => length:u32 (of what follows the checksum) crc32c:u32 sequence:uvarint kind:u8 body
 *
 * Sequence numbers rise by one a frame, through all files; a snapshot carries the number of the last frame that it includes. A frame that
 * is torn, or whose number is not the next, ends the journal. The checksum covers the number, so an old frame behind a torn one is not
 * mistaken for a new one.
 */
import { unreachable } from '../../base/assert.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import {
  type DecidedPositions,
  type DecisionPart,
  type JournalRecord,
  LogState,
  type Mark,
  type NewTopic,
  type OwedMarker,
  type PartitionRef,
  type PartitionState,
} from './state.ts'

export const FILE_MAGIC: Buffer = Buffer.from('tmjrnl01')
/** Bytes of a frame before its sequence number. */
export const FRAME_HEADER_BYTES = 8

export type Frame =
  | { readonly kind: 'record'; readonly sequence: number; readonly end: number; readonly record: JournalRecord }
  | { readonly kind: 'snapshot'; readonly sequence: number; readonly end: number; readonly state: LogState }

const KINDS = ['snapshot', 'decision', 'topic', 'writer', 'ids', 'synced', 'trimmed', 'compacted'] as const
const OUTCOMES = ['plain', 'commit', 'abort'] as const
const CLEANUPS = ['delete', 'compact'] as const

export function encodeRecord(record: JournalRecord, sequence: number, codecs: Codecs): Buffer {
  return frame(sequence, KINDS.indexOf(record.kind), codecs, (into) => writeRecord(into, record))
}

export function encodeSnapshot(state: LogState, sequence: number, codecs: Codecs): Buffer {
  return frame(sequence, 0, codecs, (into) => writeSnapshot(into, state), 4096)
}

/** The frame at `at`, or undefined when no whole and sound one lies there. */
export function readFrame(bytes: Buffer, at: number, codecs: Codecs): Frame | undefined {
  if (at + FRAME_HEADER_BYTES > bytes.length) return undefined
  const length = bytes.readUInt32BE(at)
  const from = at + FRAME_HEADER_BYTES
  const end = from + length
  if (length < 2 || end > bytes.length) return undefined
  if (codecs.crc32c(bytes.subarray(from, end)) !== bytes.readUInt32BE(at + 4)) return undefined
  const reader = new ByteReader(bytes, from, end)
  const sequence = reader.uvarint()
  const kind = KINDS[reader.u8()]
  if (kind === undefined) return undefined
  if (kind === 'snapshot') {
    const state = readSnapshot(reader)
    return reader.bad ? undefined : { kind, sequence, end, state }
  }
  const record = readRecord(reader, kind)
  return reader.bad ? undefined : { kind: 'record', sequence, end, record }
}

function frame(sequence: number, kind: number, codecs: Codecs, write: (into: ByteWriter) => void, capacity = 256): Buffer {
  const into = new ByteWriter(capacity)
  into.u32(0).u32(0).uvarint(sequence).u8(kind)
  write(into)
  const bytes = into.view()
  bytes.writeUInt32BE(bytes.length - FRAME_HEADER_BYTES, 0)
  bytes.writeUInt32BE(codecs.crc32c(bytes.subarray(FRAME_HEADER_BYTES)), 4)
  return bytes
}

function writeRecord(into: ByteWriter, record: JournalRecord): void {
  switch (record.kind) {
    case 'decision':
      into.u8(OUTCOMES.indexOf(record.outcome)).uvarint(record.producerId).uvarint(record.epoch)
      list(into, record.parts, (part) => writePart(into, part))
      list(into, record.groups, (group) => {
        into.text(group.group)
        list(into, group.positions, ([ref, offset]) => writeRef(into, ref).uvarint(offset))
      })
      return
    case 'topic':
      into.uvarint(record.number)
      writeTopic(into, record.topic)
      return
    case 'writer':
      into.text(record.id).uvarint(record.producerId).uvarint(record.epoch)
      return
    case 'ids':
      into.uvarint(record.next)
      return
    case 'synced':
      into.uvarint(record.file).uvarint(record.byte)
      list(into, record.marks, ([ref, mark]) => writeMark(writeRef(into, ref), mark))
      return
    case 'trimmed':
      writeRef(into, record.ref).uvarint(record.before)
      return
    case 'compacted':
      writeRef(into, record.ref).uvarint(record.end).uvarint(record.at)
      return
    default:
      unreachable(record)
  }
}

function readRecord(from: ByteReader, kind: JournalRecord['kind']): JournalRecord {
  switch (kind) {
    case 'decision':
      return {
        kind,
        outcome: pick(from, OUTCOMES),
        producerId: from.uvarint(),
        epoch: from.uvarint(),
        parts: readList(from, () => readPart(from)),
        groups: readList(from, () => readGroup(from)),
      }
    case 'topic':
      return { kind, number: from.uvarint(), topic: readTopic(from) }
    case 'writer':
      return { kind, id: from.text(), producerId: from.uvarint(), epoch: from.uvarint() }
    case 'ids':
      return { kind, next: from.uvarint() }
    case 'synced': {
      const file = from.uvarint()
      const byte = from.uvarint()
      return { kind, file, byte, marks: readList(from, () => [readRef(from), readMark(from)] as const) }
    }
    case 'trimmed':
      return { kind, ref: readRef(from), before: from.uvarint() }
    case 'compacted':
      return { kind, ref: readRef(from), end: from.uvarint(), at: from.uvarint() }
    default:
      return unreachable(kind)
  }
}

function writeSnapshot(into: ByteWriter, state: LogState): void {
  into.uvarint(state.incarnation).uvarint(state.nextProducerId)
  list(into, state.topics, (topic) => {
    writeTopic(into, { ...topic, partitions: topic.partitions.length })
    for (const partition of topic.partitions) writePartition(into, partition)
  })
  list(into, [...state.writers], ([id, { producerId, epoch }]) => into.text(id).uvarint(producerId).uvarint(epoch))
  list(into, [...state.positions], ([group, positions]) => {
    into.text(group)
    list(into, [...positions], ([name, offset]) => into.text(name).uvarint(offset))
  })
}

function readSnapshot(from: ByteReader): LogState {
  const state = new LogState()
  state.incarnation = from.uvarint()
  state.nextProducerId = from.uvarint()
  readList(from, () => {
    const topic = state.addTopic(state.topics.length, readTopic(from))
    for (const partition of topic.partitions) readPartition(from, partition)
  })
  readList(from, () => state.writers.set(from.text(), { producerId: from.uvarint(), epoch: from.uvarint() }))
  readList(from, () => {
    const group = from.text()
    readList(from, () => state.moveGroup(group, from.text(), from.uvarint()))
  })
  return state
}

function writePartition(into: ByteWriter, partition: PartitionState): void {
  into.uvarint(partition.logStart).uvarint(partition.decided).uvarint(partition.cleaned)
  writeMark(into, partition.synced)
  list(into, [...partition.opens], ([producer, first]) => into.uvarint(producer).uvarint(first))
  list(into, partition.owed, (owed) =>
    into
      .uvarint(owed.producerId)
      .uvarint(owed.epoch)
      .u8(owed.kind === 'commit' ? 1 : 0),
  )
  list(into, partition.aborted, (range) => into.uvarint(range.producerId).uvarint(range.firstOffset).uvarint(range.end))
  list(into, partition.horizons, ({ end, at }) => into.uvarint(end).uvarint(at))
}

function readPartition(from: ByteReader, into: PartitionState): void {
  into.logStart = from.uvarint()
  into.decided = from.uvarint()
  into.cleaned = from.uvarint()
  into.synced = readMark(from)
  readList(from, () => into.opens.set(from.uvarint(), from.uvarint()))
  into.owed.push(...readList(from, () => readOwed(from)))
  into.aborted = readList(from, () => ({ producerId: from.uvarint(), firstOffset: from.uvarint(), end: from.uvarint() }))
  into.horizons = readList(from, () => ({ end: from.uvarint(), at: from.uvarint() }))
}

function readOwed(from: ByteReader): OwedMarker {
  return { producerId: from.uvarint(), epoch: from.uvarint(), kind: from.u8() === 1 ? 'commit' : 'abort' }
}

function writePart(into: ByteWriter, part: DecisionPart): void {
  writeRef(into, part)
    .uvarint(part.first)
    .uvarint(part.end - part.first)
  list(into, part.opens, ([producer, first]) => into.uvarint(producer).uvarint(first))
  list(into, part.marked, (producer) => into.uvarint(producer))
}

function readPart(from: ByteReader): DecisionPart {
  const { topic, partition } = readRef(from)
  const first = from.uvarint()
  const end = first + from.uvarint()
  const opens = readList(from, () => [from.uvarint(), from.uvarint()] as const)
  return { topic, partition, first, end, opens, marked: readList(from, () => from.uvarint()) }
}

function readGroup(from: ByteReader): DecidedPositions {
  const group = from.text()
  return { group, positions: readList(from, () => [readRef(from), from.uvarint()] as const) }
}

function writeTopic(into: ByteWriter, topic: NewTopic): void {
  into.text(topic.name).text(topic.id).uvarint(topic.partitions).u8(CLEANUPS.indexOf(topic.cleanup))
  into.varint(topic.retentionMs).uvarint(topic.tombstoneMs)
}

function readTopic(from: ByteReader): NewTopic {
  return {
    name: from.text(),
    id: from.text(),
    partitions: from.uvarint(),
    cleanup: pick(from, CLEANUPS),
    retentionMs: from.varint(),
    tombstoneMs: from.uvarint(),
  }
}

function writeRef(into: ByteWriter, ref: PartitionRef): ByteWriter {
  return into.uvarint(ref.topic).uvarint(ref.partition)
}

function readRef(from: ByteReader): PartitionRef {
  return { topic: from.uvarint(), partition: from.uvarint() }
}

function writeMark(into: ByteWriter, mark: Mark): ByteWriter {
  return into.uvarint(mark.offset).uvarint(mark.segment).uvarint(mark.position)
}

function readMark(from: ByteReader): Mark {
  return { offset: from.uvarint(), segment: from.uvarint(), position: from.uvarint() }
}

function list<Item>(into: ByteWriter, items: readonly Item[], write: (item: Item) => unknown): void {
  into.uvarint(items.length)
  for (const item of items) write(item)
}

/** Stops where the bytes end, whatever the count says. */
function readList<Item>(from: ByteReader, read: () => Item): Item[] {
  const count = from.uvarint()
  const items: Item[] = []
  for (let i = 0; i < count && !from.bad; i++) items.push(read())
  return items
}

function pick<Item>(from: ByteReader, items: readonly Item[]): Item {
  const item = items[from.u8()]
  if (item !== undefined) return item
  from.bad = true
  return items[0] as Item
}
