/**
 * What a task keeps about itself beside its rows.
 *  - `tm`, the last record of every commit, in the changelog and on disk: positions, stream times, buckets, sums, schema ids seen;
 *  - `chk`, on disk only: how far into which changelog the disk is.
 * Both are rows in their bytes: format, then content, then a hash, so damage is noticed.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { hash64, hashed } from '../base/murmur.ts'
import { type PartitionName, type Positions, partitionName, topicPartition } from '../ports/log.ts'
import type { SourceProgress, Way } from './heard.ts'
import type { Held } from './held.ts'
import type { LastRecord } from './lineage.ts'
import { CHK_KEY, checkRow, TM_KEY } from './rows.ts'
import { Sums } from './sums.ts'

const FORMAT = 1
/** Flags of a store: it has seen a time; what its step holds follows its sums. */
const TIMED = 1
const COUNTED = 2

export interface StoreMeta {
  /** Greatest time the store's step has seen; undefined before its first record. */
  readonly streamTime: number | undefined
  /** Oldest bucket that may hold rows, of an expiring store. */
  readonly firstBucket: number
  readonly sums: Sums
  /** What the store's step holds; undefined where it never holds anything, and where the commit did not say it. */
  readonly held: Held | undefined
}

export interface TaskMeta {
  readonly generation: number
  /** Where the sources are to be read on. */
  readonly positions: Positions
  /** When the facts up to those positions were recorded, ms; per partition. */
  readonly recorded: ReadonlyMap<PartitionName, number>
  /** Ids of the topics that the positions belong to, by name: another id under a name is another topic, with other records at the positions. */
  readonly topicIds: ReadonlyMap<string, string>
  /** Ids of schemas that kept records were written with. */
  readonly schemas: readonly number[]
  readonly stores: ReadonlyMap<number, StoreMeta>
  /** What the inbox of a projection has told of the sources behind it, by inbox partition: an idle source tells nothing again. */
  readonly heard: ReadonlyMap<PartitionName, ReadonlyMap<Way, SourceProgress>>
}

export interface Checkpoint {
  readonly app: string
  readonly stage: string
  /** The changelog's topic id: another one under the same name is another changelog. */
  readonly changelogId: string
  /** The next changelog record to apply. */
  readonly next: number
  /** Wall time at which the disk was level with the changelog, ms: tombstones older than their horizon may have been missed since. */
  readonly syncedAt: number
  /** The last record of the changelog that the disk has taken; undefined before the first. */
  readonly last: LastRecord | undefined
}

export function encodeMeta(meta: TaskMeta): Buffer {
  const to = new ByteWriter(512).u8(FORMAT).u8(0).uvarint(0).uvarint(0).uvarint(meta.generation)
  to.uvarint(meta.positions.size)
  for (const [partition, position] of meta.positions)
    to.text(partition)
      .uvarint(position)
      .varint(meta.recorded.get(partition) ?? -1)
  to.uvarint(meta.schemas.length)
  for (const id of meta.schemas) to.uvarint(id)
  to.uvarint(meta.stores.size)
  for (const [id, { streamTime, firstBucket, sums, held }] of meta.stores) {
    to.uvarint(id)
      .u8((streamTime === undefined ? 0 : TIMED) | (held === undefined ? 0 : COUNTED))
      .varint(streamTime ?? 0)
      .uvarint(firstBucket)
    sums.write(to)
    if (held !== undefined) to.uvarint(held.facts).uvarint(held.keys).uvarint(held.parked)
  }
  to.uvarint(meta.topicIds.size)
  for (const [topic, id] of meta.topicIds) to.text(topic).text(id)
  for (const [inbox, told] of meta.heard) if (told.size > 0) writeTold(to.text(inbox), told)
  return sealed(to, TM_KEY)
}

/** @throws TidemarkError STORE_CORRUPT */
export function decodeMeta(bytes: Buffer): TaskMeta {
  const from = opened(bytes, TM_KEY)
  const generation = from.uvarint()
  const positions = new Map<PartitionName, number>()
  const recorded = new Map<PartitionName, number>()
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) {
    const partition = from.text()
    positions.set(partition, from.uvarint())
    const at = from.varint()
    if (at >= 0) recorded.set(partition, at)
  }
  const schemas: number[] = []
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) schemas.push(from.uvarint())
  const stores = new Map<number, StoreMeta>()
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) {
    const id = from.uvarint()
    const flags = from.u8()
    const time = from.varint()
    const firstBucket = from.uvarint()
    const sums = new Sums()
    sums.read(from)
    // Commits of before there were counts have none.
    const held = (flags & COUNTED) === 0 ? undefined : { facts: from.uvarint(), keys: from.uvarint(), parked: from.uvarint() }
    stores.set(id, { streamTime: (flags & TIMED) === 0 ? undefined : time, firstBucket, sums, held })
  }
  const topicIds = new Map<string, string>()
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) topicIds.set(from.text(), from.text())
  const heard = new Map<PartitionName, ReadonlyMap<Way, SourceProgress>>()
  while (from.at < from.end) heard.set(from.text(), readTold(from))
  if (from.bad) throw malformed('what a commit says of its task')
  return { generation, positions, recorded, topicIds, schemas, stores, heard }
}

/** A way ends in a partition's number. What is before it is written once for all that share it, because this is in every commit. */
function writeTold(to: ByteWriter, told: ReadonlyMap<Way, SourceProgress>): void {
  const groups = Map.groupBy(told, ([way]) => topicPartition(way).topic)
  to.uvarint(groups.size)
  for (const [topic, entries] of groups) {
    to.text(topic).uvarint(entries.length)
    for (const [way, { position, through }] of entries)
      to.uvarint(topicPartition(way).partition)
        .uvarint(position)
        .varint(through ?? -1)
  }
}

function readTold(from: ByteReader): ReadonlyMap<Way, SourceProgress> {
  const told = new Map<Way, SourceProgress>()
  for (let groups = from.uvarint(); groups > 0 && !from.bad; groups--) {
    const topic = from.text()
    for (let left = from.uvarint(); left > 0 && !from.bad; left--) {
      const way = partitionName(topic, from.uvarint())
      const position = from.uvarint()
      const through = from.varint()
      told.set(way, { position, through: through < 0 ? undefined : through })
    }
  }
  return told
}

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const { app, stage, changelogId, next, syncedAt, last } = checkpoint
  const to = new ByteWriter(128).u8(FORMAT).u8(0).uvarint(0).uvarint(0)
  to.text(app).text(stage).text(changelogId).uvarint(next).uvarint(syncedAt)
  to.uvarint(last === undefined ? 0 : last.offset + 1)
  if (last !== undefined) to.u32(last.high).u32(last.low)
  return sealed(to, CHK_KEY)
}

/** @throws TidemarkError STORE_CORRUPT */
export function decodeCheckpoint(bytes: Buffer): Checkpoint {
  const from = opened(bytes, CHK_KEY)
  const app = from.text()
  const stage = from.text()
  const changelogId = from.text()
  const next = from.uvarint()
  const syncedAt = from.uvarint()
  const behind = from.uvarint()
  const last = behind === 0 ? undefined : { offset: behind - 1, high: from.u32() | 0, low: from.u32() | 0 }
  if (from.bad) throw malformed('a checkpoint')
  return { app, stage, changelogId, next, syncedAt, last }
}

function sealed(to: ByteWriter, key: Buffer): Buffer {
  hash64(key)
  hash64(to.buffer, 0, to.at, hashed.high, hashed.low)
  return to.u32(hashed.high).u32(hashed.low).bytes()
}

function opened(bytes: Buffer, key: Buffer): ByteReader {
  checkRow(key, bytes)
  const from = new ByteReader(bytes, 2, bytes.length - 8)
  from.uvarint()
  from.uvarint()
  return from
}

function malformed(what: string): TidemarkError {
  return new TidemarkError('STORE_CORRUPT', `${what} cannot be read`, {
    hint: 'It was written by another version of tidemark, or damaged.',
  })
}
