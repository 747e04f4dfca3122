/** Codecs for every edge of a topology, made before anything runs: schemas are registered or looked up here, never on the hot path. */
import { TidemarkError } from '../base/errors.ts'
import type { AnyContract } from '../contract/contract.ts'
import { type Key, type KeyCodec, keyCodec } from '../contract/key.ts'
import type { Schema } from '../contract/schema.ts'
import type { Serdes, ValueCodec } from '../ports/serde.ts'
import type { Graph, Node, NodeId, Shape } from '../topology/node.ts'
import { readsLog, storeOf } from '../topology/node.ts'
import type { Flavour } from './flavour.ts'
import type { RowCodec } from './rows.ts'

export interface Codecs {
  readonly flavours: ReadonlyMap<NodeId, Flavour>
  /** How rows of projections and other schema stores are written, by step. */
  readonly rows: ReadonlyMap<NodeId, RowCodec>
}

/** @throws TidemarkError SCHEMA_INVALID, SCHEMA_SOURCE_FAILED */
export async function codecsOf(graph: Graph, serdes: Serdes): Promise<Codecs> {
  const flavours = new Map<NodeId, Flavour>()
  const rows = new Map<NodeId, RowCodec>()
  for (const node of graph.nodes) {
    const [from] = node.from
    const input = from === undefined ? undefined : flavours.get(from.id)
    // What only passes values on needs no codec of its own; under another key it needs only that.
    const shared = node.passes && !readsLog(node) && !(node.kind === 'keyed' && node.makes) ? input : undefined
    if (shared !== undefined)
      flavours.set(node.id, { ...shared, key: await keyCodecOf(node.emits.key, serdes, `${graph.name}.${node.id}`) })
    else
      flavours.set(
        node.id,
        await flavourOf(
          node.emits,
          serdes,
          `${graph.name}.${node.id}`,
          readsLog(node) ? { reads: fieldsRead(graph, node) } : 'writes',
          node.kind === 'repartition' || node.from.some(({ id }) => flavours.get(id)?.inbox === true),
        ),
      )
    const store = storeOf(node)
    if (store === undefined) continue
    const view = store.view !== undefined
    if (!('avro' in store.rows)) rows.set(node.id, { kind: 'format', format: store.rows, view })
    else rows.set(node.id, { kind: 'schema', view, values: await serdes.values(`${graph.name}.${store.name}`, plain(store.rows)) })
  }
  return { flavours, rows }
}

/**
 * The codec of one edge. Values that are only read need no place in the schema source for the schemas they are read as: the facts of others
 * are registered by those who write them.
 */
export async function flavourOf(
  shape: Pick<Shape, 'key' | 'value' | 'language'>,
  serdes: Serdes,
  subject: string,
  use: 'writes' | { readonly reads: readonly string[] | undefined },
  inbox = false,
): Promise<Flavour> {
  const { language, value } = shape
  const readers = new Map(Object.entries(value?.readers ?? {}).map(([name, { avro }]) => [name, avro]))
  const writes = use === 'writes'
  const spec = { readers, tagged: value?.tagged ?? false, fields: writes ? undefined : use.reads, writes }
  const speaker = language?.owner.name ?? subject.slice(0, subject.indexOf('.'))
  const record = language === undefined ? value?.readers['']?.name : undefined
  return {
    key: await keyCodecOf(shape.key, serdes, language?.name ?? subject),
    value: value === undefined ? undefined : await serdes.values(language?.name ?? subject, spec),
    language,
    source: `/${speaker}`,
    type: record === undefined ? undefined : `${speaker}.${record.slice(record.lastIndexOf('.') + 1)}`,
    inbox,
    admit: language === undefined ? undefined : admitOf(language),
  }
}

/** Keys in Avro are values with a schema; their text is their JSON. */
export async function keyCodecOf(key: Key<unknown>, serdes: Serdes, subject: string): Promise<KeyCodec<unknown>> {
  if (key.schema === undefined) return keyCodec(key)
  const values = await serdes.values(`${subject}-key`, plain(key.schema))
  return {
    encode: (each) => encodeWhole(values, each),
    decode: (bytes, start, end) => values.decode(bytes, start, end),
    toText: (each) => JSON.stringify(each),
    fromText: (text) => {
      try {
        return JSON.parse(text) as unknown
      } catch (cause) {
        throw new TidemarkError('KEY_INVALID', 'a key is not JSON', { hint: `Write it as an object of ${key.schema?.name}.`, cause })
      }
    },
  }
}

function encodeWhole(values: ValueCodec, value: unknown): Buffer {
  const bytes = Buffer.alloc(256)
  const end = values.encode(value, bytes, 0)
  if (end >= 0) return bytes.subarray(0, end)
  const larger = Buffer.alloc(-end)
  return larger.subarray(0, values.encode(value, larger, 0))
}

function plain(schema: Schema<unknown>): { readers: ReadonlyMap<string, Schema<unknown>['avro']>; tagged: false; fields: undefined } {
  return { readers: new Map([['', schema.avro]]), tagged: false, fields: undefined }
}

/**
 * Fields that the steps behind a log read of its values, or undefined when one of them does not say so: then all are decoded. Where a step
 * makes another value, what follows it reads that one.
 */
function fieldsRead(graph: Graph, log: Node): readonly string[] | undefined {
  const fields = new Set<string>()
  // Steps come after what they read, so one look at each is enough.
  const carriers = new Set([log.id])
  for (const next of graph.nodes) {
    if (!next.from.some(({ id }) => carriers.has(id))) continue
    // What is written elsewhere is written as the bytes that came.
    if (next.kind === 'sink' || next.kind === 'repartition') continue
    if (next.reads === undefined) return undefined
    for (const field of next.reads) fields.add(field)
    if (next.passes) carriers.add(next.id)
  }
  // The envelope may be read from the value, and reasons are checked in it; the contract says where, but not which fields that needs.
  const { language } = log.emits
  if (language !== undefined && (Object.keys(language.envelope).length > 0 || Object.keys(language.reasons).length > 0)) return undefined
  return [...fields].sort()
}

/** Refuses an event whose reason is outside the closed list of its contract. */
function admitOf(language: AnyContract): ((value: unknown) => void) | undefined {
  const { reasons } = language
  if (Object.keys(reasons).length === 0) return undefined
  return (value) => {
    const event = value as Readonly<Record<string, unknown>> & { readonly type: string }
    const closed = reasons[event.type]
    if (closed === undefined) return
    const reason = event[closed.field]
    if (typeof reason === 'string' && closed.codes.includes(reason)) return
    throw new TidemarkError('REASON_UNKNOWN', `"${event.type}" gives a reason that contract "${language.name}" does not have`, {
      detail: `Field "${closed.field}" is ${JSON.stringify(reason)?.slice(0, 100)}; the codes are ${closed.codes.join(', ')}.`,
      hint: 'The producer means one of these, or the contract does not know one yet: add it to its reasons.',
    })
  }
}
