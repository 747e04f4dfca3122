/**
 * What somebody sees who sees everything: the committed records of every topic, the committed positions, and the rows of every open store, all
 * of one moment. Looking moves nothing: it happens between two events.
 */
import { binary } from '../../base/bytes.ts'
import { type KeyCodec, keyCodec } from '../../contract/key.ts'
import { deadTopic, groupOf } from '../../plan/naming.ts'
import type { Plan } from '../../plan/plan.ts'
import type { Log, PartitionName, Positions } from '../../ports/log.ts'
import { partitionName, topicPartition } from '../../ports/log.ts'
import type { RecordBatch } from '../../ports/record-batch/index.ts'
import type { ValueCodec } from '../../ports/serde.ts'
import type { StateId, TaskStore } from '../../ports/store.ts'
import type { Codecs } from '../../runtime/flavours.ts'
import { type Checkpoint, decodeCheckpoint, decodeMeta, type TaskMeta } from '../../runtime/meta.ts'
import { CHK_KEY, TM_KEY } from '../../runtime/rows.ts'

/** A committed record, as a model reads it. */
export interface Recorded {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** The key as text; undefined without a key. */
  readonly key: string | undefined
  readonly at: number
  readonly bytes: Buffer | null
  /** The value, decoded; undefined where there is none, or its bytes are none. */
  readonly value: unknown
  readonly headers: Readonly<Record<string, string>>
}

/** A record of a changelog. */
export interface Change {
  readonly offset: number
  readonly key: string
  readonly value: Buffer | null
}

/** One open store. */
export interface Shelf {
  readonly worker: string
  readonly id: StateId
  /** All rows by the binary text of their keys, without the checkpoint. */
  readonly rows: ReadonlyMap<string, Buffer>
  readonly checkpoint: Checkpoint | undefined
  readonly meta: TaskMeta | undefined
  readonly store: TaskStore
}

export interface Sight {
  readonly records: (topic: string, partition: number) => readonly Recorded[]
  readonly changes: (topic: string, partition: number) => readonly Change[]
  readonly committed: Positions | 'unstable'
  /** Behind the last record of each partition. */
  readonly high: Positions
  /** Behind the last decided record of each partition: what lies behind an open transaction is not to be seen yet. */
  readonly stable: Positions
  readonly start: Positions
  readonly stores: readonly Shelf[]
  /** Whether a partition has, or may have, committed records behind an open transaction: they are there, and not to be seen yet. */
  readonly hides: (topic: string, partition: number) => boolean
}

interface Track {
  position: number
  readonly records: Recorded[]
  readonly changes: Change[]
}

interface TopicCodec {
  readonly key: KeyCodec<unknown> | undefined
  readonly value: ValueCodec | undefined
  readonly changelog: boolean
}

export class Watch {
  readonly plan: Plan
  readonly #codecs: Codecs
  readonly #topics = new Map<string, TopicCodec>()
  readonly #partitions: PartitionName[]
  /** Partitions that the application reads. */
  readonly inputs: readonly PartitionName[]
  #tracks = new Map<PartitionName, Track>()
  /** What was seen before the log was opened last; undefined where a power cut may have taken some of it. */
  #before: Map<PartitionName, Track> | undefined

  constructor(plan: Plan, codecs: Codecs) {
    this.plan = plan
    this.#codecs = codecs
    for (const topic of plan.topics) this.#topics.set(topic.name, this.#codecOf(topic))
    this.#partitions = plan.topics
      .filter(({ role }) => role !== 'decisions')
      .flatMap(({ name, partitions }) => Array.from({ length: partitions }, (_, number) => partitionName(name, number)))
    const logs = new Set(plan.topics.filter(({ role }) => role === 'source' || role === 'inbox').map(({ name }) => name))
    this.inputs = this.#partitions.filter((name) => logs.has(topicPartition(name).topic))
  }

  #codecOf({ name, role, step }: Plan['topics'][number]): TopicCodec {
    const { graph, app, stages } = this.plan
    const node = graph.nodes.find((each) => each.id === step)
    const dead = node !== undefined && stages.some((stage) => name === deadTopic(app, node.id, stage.generation))
    const flavour = node === undefined || dead ? undefined : this.#codecs.flavours.get(node.id)
    const row = node === undefined ? undefined : this.#codecs.rows.get(node.id)
    const value = role === 'state' && row?.kind === 'schema' ? row.values : flavour?.value
    return {
      key: role === 'dead' ? keyCodec({ kind: 'text', parts: [], schema: undefined }) : flavour?.key,
      value,
      changelog: role === 'changelog',
    }
  }

  /** The log was opened anew. `lossy`: a power cut may have taken what was acknowledged. */
  reopened(lossy: boolean): void {
    this.#before = lossy ? undefined : this.#tracks
    this.#tracks = new Map()
  }

  /** @throws Error when committed records are not what they were */
  async see(
    log: Log,
    stores: readonly { readonly worker: string; readonly id: StateId; readonly store: TaskStore }[],
    tellsHidden?: Sight['hides'],
  ): Promise<Sight> {
    const known = new Set((await log.describe([...this.#topics.keys()])).map(({ name }) => name))
    const partitions = this.#partitions.filter((name) => known.has(topicPartition(name).topic))
    const start = await log.offsets(partitions, 'start')
    const high = await log.offsets(partitions, 'high')
    const stable = await log.offsets(partitions, 'stable')
    await this.#read(log, partitions, start, stable)
    const committed = await log.committed(
      groupOf(this.plan.app),
      this.inputs.filter((name) => known.has(topicPartition(name).topic)),
    )
    const shelves: Shelf[] = []
    for (const each of stores) {
      const shelf = await shelfOf(each)
      if (shelf !== undefined) shelves.push(shelf)
    }
    const track = (topic: string, partition: number): Track =>
      this.#tracks.get(partitionName(topic, partition)) ?? { position: 0, records: [], changes: [] }
    const mayHide = (topic: string, partition: number): boolean => {
      const name = partitionName(topic, partition)
      return (stable.get(name) ?? 0) < (high.get(name) ?? 0)
    }
    return {
      records: (topic, partition) => track(topic, partition).records,
      changes: (topic, partition) => track(topic, partition).changes,
      committed,
      high,
      stable,
      start,
      stores: shelves,
      hides: tellsHidden ?? mayHide,
    }
  }

  async #read(log: Log, partitions: readonly PartitionName[], start: Positions, stable: Positions): Promise<void> {
    for (const name of partitions)
      if (!this.#tracks.has(name)) this.#tracks.set(name, { position: start.get(name) as number, records: [], changes: [] })
    const track = (name: string): Track => this.#tracks.get(name) as Track
    const open = (): string[] => partitions.filter((name) => track(name).position < (stable.get(name) as number))
    if (open().length === 0) return
    const reader = log.reader('committed')
    try {
      reader.assign(new Map(open().map((name) => [name, Math.max(track(name).position, start.get(name) as number)])))
      while (open().length > 0) {
        for (const fetched of await reader.poll({ bytes: 64 * 1024 * 1024, waitMs: 0 })) {
          if (fetched.kind === 'failed') throw fetched.error
          if (fetched.kind === 'gap') throw new Error(`${fetched.partition} has a gap before ${fetched.logStart}`)
          const into = track(fetched.partition)
          for (const batch of fetched.batches) this.#take(fetched.partition, into, batch)
          into.position = Math.max(into.position, fetched.next)
        }
      }
    } finally {
      await reader.close()
    }
  }

  #take(name: PartitionName, into: Track, batch: RecordBatch): void {
    const { topic, partition } = topicPartition(name)
    const codec = this.#topics.get(topic) as TopicCodec
    for (let i = 0; i < batch.count; i++) {
      const offset = batch.offset(i)
      if (offset < into.position) continue
      const key = batch.key(i)
      const value = batch.value(i)
      if (codec.changelog) {
        if (key !== null) into.changes.push({ offset, key: binary(key), value: value === null ? null : Buffer.from(value) })
        continue
      }
      const headers = Object.fromEntries(
        batch.headers(i).map((header) => [header.name, header.value === null ? '' : Buffer.from(header.value).toString()]),
      )
      const bytes = value === null ? null : Buffer.from(value)
      const record = {
        topic,
        partition,
        offset,
        key: key === null ? undefined : textOf(codec.key, key),
        at: batch.timestamp(i),
        bytes,
        value: bytes === null ? undefined : decoded(codec.value, bytes),
        headers,
      }
      this.#compare(name, into.records.length, record)
      into.records.push(record)
    }
  }

  /** What was committed before the process died must still be what is committed. */
  #compare(name: PartitionName, place: number, record: Recorded): void {
    const { topic } = topicPartition(name)
    if (this.plan.topics.find((each) => each.name === topic)?.cleanup === 'compact') return
    const before = this.#before?.get(name)?.records[place]
    if (before === undefined) return
    const same =
      before.offset === record.offset &&
      before.key === record.key &&
      String(before.bytes) === String(record.bytes) &&
      before.at === record.at
    if (!same) throw new Error(`${name} had another record at offset ${before.offset} before the log was opened again`)
  }
}

async function shelfOf({
  worker,
  id,
  store,
}: {
  readonly worker: string
  readonly id: StateId
  readonly store: TaskStore
}): Promise<Shelf | undefined> {
  const rows = new Map<string, Buffer>()
  try {
    for (const [key, value] of await store.range({ from: Buffer.alloc(0), to: undefined, limit: 1e9 })) rows.set(binary(key), value)
  } catch {
    // It is being closed at this moment.
    return undefined
  }
  const checkpoint = rows.get(binary(CHK_KEY))
  rows.delete(binary(CHK_KEY))
  const meta = rows.get(binary(TM_KEY))
  return {
    worker,
    id,
    rows,
    store,
    checkpoint: checkpoint === undefined ? undefined : decodeCheckpoint(checkpoint),
    meta: meta === undefined ? undefined : decodeMeta(meta),
  }
}

function textOf(codec: KeyCodec<unknown> | undefined, key: Buffer): string {
  if (codec === undefined) return key.toString()
  try {
    return codec.toText(codec.decode(key, 0, key.length))
  } catch {
    return key.toString('latin1')
  }
}

function decoded(codec: ValueCodec | undefined, bytes: Buffer): unknown {
  try {
    return codec?.decode(bytes, 0, bytes.length)
  } catch {
    return undefined
  }
}
