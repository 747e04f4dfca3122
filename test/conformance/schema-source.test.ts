/** One suite for every schema source (there are files and memory, and no registry yet): what a codec relies on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { codeOf } from '../../src/base/errors.ts'
import { avroSerdes } from '../../src/drivers/avro/index.ts'
import { layeredSchemas, memorySchemas, schemaCatalogue } from '../../src/drivers/schemas/index.ts'
import type { SchemaStore } from '../../src/ports/serde.ts'

const folders: string[] = []
async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'tidemark-schemas-'))
  folders.push(made)
  return made
}
afterEach(async () => {
  for (const made of folders.splice(0)) await rm(made, { recursive: true })
})

const placed = (fields: object[] = []): object => ({
  type: 'record',
  name: 'orders.OrderPlaced',
  fields: [{ name: 'id', type: 'string' }, ...fields],
})
const V1 = placed() as { readonly type: string }
const V2 = placed([{ name: 'lines', type: 'int', default: 1 }]) as { readonly type: string }
const Other = { type: 'record', name: 'orders.OrderCancelled', fields: [] }

/** Each source, and the same source again as another process would open it; undefined where it dies with its process. */
const sources: [string, () => Promise<{ source: SchemaStore; again: (() => SchemaStore) | undefined }>][] = [
  ['memory', async () => ({ source: memorySchemas(), again: undefined })],
  [
    'a catalogue file',
    async () => {
      const file = join(await folder(), 'schemas', 'catalogue.json')
      return { source: schemaCatalogue({ file, writable: true }), again: () => schemaCatalogue({ file, writable: false }) }
    },
  ],
  [
    'a read-only catalogue below memory',
    async () => {
      const file = join(await folder(), 'catalogue.json')
      await schemaCatalogue({ file, writable: true }).idOf('orders.OrderCancelled', Other)
      return { source: layeredSchemas([schemaCatalogue({ file, writable: false }), memorySchemas({ firstId: 1000 })]), again: undefined }
    },
  ],
  [
    'memory below a writable catalogue',
    async () => {
      const file = join(await folder(), 'catalogue.json')
      const memory = memorySchemas({ firstId: 1_000_000 })
      await memory.idOf('orders.OrderCancelled', Other)
      return {
        source: layeredSchemas([memory, schemaCatalogue({ file, writable: true })]),
        again: () => schemaCatalogue({ file, writable: false }),
      }
    },
  ],
]

describe.each(sources)('%s', (_, make) => {
  it('gives a schema an id, and the id the schema', async () => {
    const { source } = await make()
    const id = await source.idOf('orders.OrderPlaced', V1)
    expect(id).toBeGreaterThan(0)
    expect(await source.byId(id)).toEqual(V1)
  })

  it('gives the same schema the same id, and a new version a new one', async () => {
    const { source } = await make()
    const first = await source.idOf('orders.OrderPlaced', V1)
    const second = await source.idOf('orders.OrderPlaced', V2)
    expect(second).not.toBe(first)
    expect(await source.idOf('orders.OrderPlaced', V1)).toBe(first)
    expect(await source.idOf('orders.OrderPlaced', { ...V1, doc: 'what a customer wants' })).toBe(first)
    expect(await source.byId(first)).toEqual(V1)
    expect(await source.byId(second)).toEqual(V2)
  })

  it('keeps subjects apart', async () => {
    const { source } = await make()
    expect(await source.idOf('a', V1)).not.toBe(await source.idOf('b', V1))
  })

  it('finds only what is registered, and registers nothing by looking', async () => {
    const { source } = await make()
    expect(await source.find('orders.OrderPlaced', V1)).toBeUndefined()
    expect(await source.find('orders.OrderPlaced', V1)).toBeUndefined()
    const id = await source.idOf('orders.OrderPlaced', V1)
    expect(await source.find('orders.OrderPlaced', V1)).toBe(id)
  })

  it('answers that an unknown id is unknown', async () => {
    const { source } = await make()
    expect(await source.byId(77)).toBeUndefined()
    expect(await source.byId(0)).toBeUndefined()
  })

  it('gives no id twice to registrations at one time', async () => {
    const { source } = await make()
    const versions = Array.from({ length: 20 }, (_, i) => placed([{ name: `f${i % 10}`, type: 'int' }]) as { readonly type: string })
    const ids = await Promise.all(versions.map((schema) => source.idOf('orders.OrderPlaced', schema)))
    expect(new Set(ids).size).toBe(10)
    expect(ids.slice(10)).toEqual(ids.slice(0, 10))
    for (const [i, id] of ids.entries()) expect(await source.byId(id)).toEqual(versions[i])
  })

  it('refuses a schema that a hostile record could abuse', async () => {
    const { source } = await make()
    const abusable = { type: 'record', name: 'R', fields: [{ name: 'a', type: { type: 'array', items: 'null' } }] }
    expect(await source.idOf('R', abusable).catch(codeOf)).toBe('SCHEMA_INVALID')
    expect(await source.find('R', abusable).catch(codeOf)).toBe('SCHEMA_INVALID')
  })

  it('answers another process alike, for ever', async () => {
    const { source, again } = await make()
    if (again === undefined) return
    const first = await source.idOf('orders.OrderPlaced', V1)
    const reader = again()
    expect(await reader.byId(first)).toEqual(V1)
    const second = await source.idOf('orders.OrderPlaced', V2)
    expect(await reader.byId(second), 'added after the other process had read').toEqual(V2)
    expect(await again().idOf('orders.OrderPlaced', V1)).toBe(first)
  })

  it('serves a codec from the first record to a newer reader', async () => {
    const { source } = await make()
    const spec = (schema: object) => ({
      readers: new Map([['OrderPlaced', schema as { readonly type: string }]]),
      tagged: true,
      fields: undefined,
    })
    const older = await avroSerdes(source).values('orders', spec(V1))
    const newer = await avroSerdes(source).values('orders', spec(V2))
    const bytes = Buffer.alloc(100)
    const end = older.encode({ type: 'OrderPlaced', id: 'o-1' }, bytes, 0)
    await newer.prepare([bytes.readUInt32BE(1)])
    expect(newer.decode(bytes, 0, end)).toEqual({ type: 'OrderPlaced', id: 'o-1', lines: 1 })
  })
})
