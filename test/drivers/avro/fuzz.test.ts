import { performance } from 'node:perf_hooks'
import { resourceUsage } from 'node:process'
import { describe, expect, it } from 'vitest'
import type { AvroSchema } from '../../../src/base/avro.ts'
import { readSchema } from '../../../src/base/avro-read.ts'
import { codeOf } from '../../../src/base/errors.ts'
import { avscType } from '../../../src/drivers/avro/types.ts'
import { field, plain, type Rig, schemaOf, withId } from './rig.ts'

/** Mutations a run: 5,000 in CI, more with TIDEMARK_FUZZ. */
const RUNS = Number(process.env.TIDEMARK_FUZZ ?? 5_000)

/** Numbers in [0, 1) from a seed (mulberry32 by Tommy Ettinger, public domain), so that a failure comes again. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const Wide = schemaOf('w.Wide', [
  field('id', 'string'),
  field('n', 'int'),
  field('at', 'long'),
  field('big', ['null', 'long'], { 'tidemark.type': 'bigint' }),
  field('x', 'double'),
  field('y', 'float'),
  field('ok', 'boolean'),
  field('kind', { type: 'enum', name: 'Kind', symbols: ['A', 'B', 'C'] }),
  field('sum', { type: 'fixed', name: 'Sum', size: 8 }),
  field('blob', ['null', 'bytes', 'string']),
  field('tags', { type: 'map', values: ['null', 'string'] }),
  field('lines', {
    type: 'array',
    items: schemaOf('Line', [field('sku', 'string'), field('quantities', { type: 'array', items: 'int' })]),
  }),
])
const Tree = schemaOf('t.Tree', [
  field('name', 'string'),
  field('children', { type: 'array', items: 'Tree' }),
  field('by', { type: 'map', values: 'Tree' }),
])
const Either = schemaOf('e.Either', [
  field('it', [schemaOf('A', [field('x', 'int')]), schemaOf('B', [field('y', 'string')]), 'null', 'int', 'long']),
])
const wide = {
  id: 'an id with more than ten characters',
  n: 7,
  at: 1_700_000_000_000,
  big: 2n ** 60n,
  x: 0.1,
  y: 0.5,
  ok: true,
  kind: 'B',
  sum: Buffer.alloc(8, 7),
  blob: Buffer.from('blob'),
  tags: { a: 'x', b: null },
  lines: [{ sku: 'a', quantities: [1, 2, 300] }],
}
const leaf = { name: 'leaf', children: [], by: {} }

/** Counts and lengths that break decoders: without end, negative, huge, more bytes than a varint has. */
const NASTY = ['80'.repeat(200), 'ffffffffffffffffff01', 'feffffffff0f', '8084af5f', '01', 'ffffffffffffffffffffff01', '00', '7f'].map(
  (hex) => Buffer.from(hex, 'hex'),
)

function mutated(valid: Buffer, random: () => number): Buffer {
  const at = (length: number): number => Math.floor(random() * length)
  if (random() < 0.1) return Buffer.from(Array.from({ length: at(80) }, () => at(256)))
  let bytes = Buffer.from(valid)
  for (let edits = 1 + at(3); edits > 0; edits--) {
    const place = at(bytes.length + 1)
    const kind = random()
    if (kind < 0.4 && place < bytes.length) bytes[place] = at(256)
    else if (kind < 0.6) bytes = bytes.subarray(0, place)
    else if (kind < 0.85)
      bytes = Buffer.concat([
        bytes.subarray(0, place),
        NASTY[at(NASTY.length)] as Buffer,
        bytes.subarray(random() < 0.5 ? place : Math.min(bytes.length, place + 1)),
      ])
    else bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(at(bytes.length + 1))])
  }
  return bytes
}

const REFUSALS: unknown[] = ['VALUE_INVALID', 'FRAMING_INVALID', 'SCHEMA_UNKNOWN']

/** Decodes, and returns what came of it: the code of the refusal, or that the value is written and read again as the same. */
function outcome(reader: Rig, writer: Rig | undefined, bytes: Buffer): unknown {
  let value: unknown
  try {
    value = reader.decode(bytes)
  } catch (error) {
    return codeOf(error) ?? error
  }
  if (writer !== undefined) expect(writer.decode(writer.encode(value))).toEqual(value)
  return 'read'
}

describe('mutated and random bytes', () => {
  const targets: [string, AvroSchema, object, AvroSchema | undefined, string[] | undefined][] = [
    ['a wide record', Wide, wide, undefined, undefined],
    ['a recursive record', Tree, { name: 'root', children: [leaf, leaf], by: { x: leaf } }, undefined, undefined],
    ['a wrapped union', Either, { it: { 'e.B': { y: 'text' } } }, undefined, undefined],
    [
      'a reader with other fields',
      Wide,
      wide,
      schemaOf('Wide', [
        field('at', 'double'),
        field('lines', { type: 'array', items: schemaOf('Line', [field('sku', 'bytes')]) }),
        field('more', 'int', { default: 1 }),
      ]),
      undefined,
    ],
    ['a reader that skips most', Tree, { name: 'root', children: [leaf, leaf], by: { x: leaf } }, undefined, ['name']],
  ]
  it.each(targets)('of %s are read or refused, fast and without memory', async (name, schema, value, readerSchema, fields) => {
    const writer = await plain(schema)
    const reader =
      readerSchema === undefined && fields === undefined ? writer : await plain(readerSchema ?? schema, { fields, writes: false })
    const id = reader === writer ? 1 : await reader.write(schema)
    const valid = writer.encode(value)
    valid.writeUInt32BE(id, 1)
    const random = randomFrom(name.length)
    const before = resourceUsage().maxRSS
    const outcomes = new Map<unknown, number>()
    let slowestMs = 0
    for (let run = 0; run < RUNS; run++) {
      // The frame is left whole in most runs, so that the value behind it is reached.
      const bytes = random() < 0.9 ? withId(id, mutated(valid.subarray(5), random)) : mutated(valid, random)
      const start = performance.now()
      const result = outcome(reader, reader === writer ? writer : undefined, bytes)
      slowestMs = Math.max(slowestMs, performance.now() - start)
      if (result !== 'read' && !REFUSALS.includes(result)) throw new Error(`${bytes.toString('hex')} gave ${String(result)}`)
      outcomes.set(result, (outcomes.get(result) ?? 0) + 1)
    }
    expect(reader.decode(valid), 'a good record is still read').toBeDefined()
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(slowestMs, 'the slowest record, ms').toBeLessThan(1000)
    expect((resourceUsage().maxRSS - before) / 1024, 'memory that hostile bytes took, MiB').toBeLessThan(200)
    expect(outcomes.get('VALUE_INVALID') ?? 0).toBeGreaterThan(RUNS / 10)
    expect(outcomes.get('read') ?? 0, 'some are still valid').toBeGreaterThan(0)
  })
})

describe('mutated schemas', () => {
  it('are built or refused with a typed error', () => {
    const random = randomFrom(99)
    const pick = (list: readonly unknown[]): unknown => list[Math.floor(random() * list.length)]
    const values = [
      'int',
      'null',
      'w.Wide',
      'Line',
      '__proto__',
      'constructor',
      '',
      'a b',
      null,
      7,
      [],
      {},
      ['null', 'null'],
      { type: 'array', items: 'null' },
      { type: 'map' },
      -1,
      2 ** 40,
      'record',
    ]
    const mutate = (json: unknown): unknown => {
      if (random() < 0.04) return pick(values)
      if (Array.isArray(json)) return json.map(mutate)
      if (typeof json !== 'object' || json === null) return json
      return Object.fromEntries(Object.entries(json).map(([key, value]) => [random() < 0.02 ? String(pick(values)) : key, mutate(value)]))
    }
    const outcomes = new Map<unknown, number>()
    for (let run = 0; run < RUNS / 5; run++) {
      const schema = mutate(pick([Wide, Tree, Either]))
      let result: unknown = 'built'
      try {
        avscType(readSchema(schema), { big: true })
      } catch (error) {
        result = codeOf(error) ?? error
      }
      outcomes.set(result, (outcomes.get(result) ?? 0) + 1)
    }
    expect(new Set(outcomes.keys())).toEqual(new Set(['SCHEMA_INVALID', 'built']))
  })
})
