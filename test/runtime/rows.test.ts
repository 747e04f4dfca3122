/** Rows as bytes: what is written is read, whatever it is, and no bit of it or of its key can turn unnoticed. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RowFormat } from '#tidemark'
import { TIME_MAX_MS } from '../../src/base/time.ts'
import { afterPrefix, checkRow, contentOf, decodeRow, escapeInto, type RowCodec, RowWriter, unescapeKey } from '../../src/runtime/rows.ts'
import { KeySlot, keyHash, Row } from '../../src/runtime/slots.ts'

const bytesFormat: RowFormat = {
  write: (value, into) => void into.put(value as Buffer),
  read: (from) => Buffer.from(from.take(from.end - from.at)),
}
const codec = (view: boolean): RowCodec => ({ kind: 'format', format: bytesFormat, view })
const rowOf = (key: Uint8Array, sub = ''): Row => new Row(new KeySlot(Buffer.from(key), keyHash(key), 1), 0, sub)

const anyKey = fc.uint8Array({ maxLength: 40 })
const anySub = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)), maxLength: 12 })
const anyRow = fc.record({
  key: anyKey,
  sub: anySub,
  value: fc.option(fc.uint8Array({ maxLength: 5_000 }), { nil: undefined }),
  version: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  at: fc.oneof(fc.integer({ min: -TIME_MAX_MS, max: TIME_MAX_MS }), fc.constantFrom(-1, 0, TIME_MAX_MS, -TIME_MAX_MS)),
  mark: fc.tuple(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  view: fc.boolean(),
  topic: fc.string({ minLength: 1, maxLength: 200, unit: fc.constantFrom('a', '.', '-', '_') }),
  offset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  contractVersion: fc.integer({ min: 0, max: 0xffffffff }),
})

const written = (given: typeof anyRow extends fc.Arbitrary<infer T> ? T : never): { row: Row; key: Buffer; bytes: Buffer } => {
  const writer = new RowWriter()
  const row = rowOf(given.key, given.sub)
  row.exists = given.value !== undefined
  row.value = given.value === undefined ? undefined : Buffer.from(given.value)
  row.version = given.version
  row.at = given.at
  ;[row.markHigh, row.markLow] = given.mark
  if (given.view)
    Object.assign(row, { topic: given.topic, partition: 3, offset: given.offset, contractVersion: given.contractVersion, appliedAt: 7 })
  const key = Buffer.from(writer.key(5, row.slot.key, row.sub, false))
  return { row, key, bytes: Buffer.from(writer.encode(row, key, codec(given.view))) }
}

test('any row comes back as it was: value, version, times, marks, origin and digest', () => {
  fc.assert(
    fc.property(anyRow, (given) => {
      const { row, key, bytes } = written(given)
      const read = rowOf(given.key, given.sub)
      decodeRow(read, key, bytes, codec(given.view))
      for (const field of ['exists', 'version', 'at', 'markHigh', 'markLow', 'hashHigh', 'hashLow'] as const)
        expect(read[field]).toBe(row[field])
      expect(read.value).toEqual(row.value)
      expect(read.digest).toEqual(row.digest)
      if (given.view)
        expect([read.topic, read.partition, read.offset, read.contractVersion, read.appliedAt]).toEqual([
          given.topic,
          3,
          given.offset,
          given.contractVersion,
          7,
        ])
      const content = contentOf(bytes)
      expect(content === undefined).toBe(given.value === undefined)
      if (content !== undefined) expect([content.version, bytes.subarray(content.at, content.end)]).toEqual([given.version, row.value])
    }),
    { numRuns: 300 },
  )
})

test('a bit that turns in a row or in its key is noticed, wherever it is', () => {
  fc.assert(
    fc.property(anyRow, fc.nat(), fc.nat({ max: 7 }), fc.boolean(), (given, at, bit, inKey) => {
      const { key, bytes } = written(given)
      const damaged = inKey ? key : bytes
      const place = at % damaged.length
      damaged[place] = (damaged[place] as number) ^ (1 << bit)
      expect(() => checkRow(key, bytes)).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }))
    }),
    { numRuns: 500 },
  )
})

test('bytes that are no row at all are damage, of any length', () => {
  const key = Buffer.from([1, 2])
  for (let length = 0; length < 40; length++)
    expect(() => checkRow(key, Buffer.alloc(length, 1))).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }))
})

describe('keys of rows', () => {
  test('come apart as they were put together, and sort by key, then sub-key', () => {
    fc.assert(
      fc.property(anyKey, anySub, anyKey, anySub, (a, aSub, b, bSub) => {
        const writer = new RowWriter()
        const first = Buffer.from(writer.key(300, a, aSub, false))
        const second = Buffer.from(writer.key(300, b, bSub, false))
        expect(unescapeKey(first, 2)).toEqual({ key: Buffer.from(a), sub: aSub })
        const keys = Buffer.compare(Buffer.from(a), Buffer.from(b))
        const subs = aSub < bSub ? -1 : aSub > bSub ? 1 : 0
        expect(Math.sign(first.compare(second))).toBe(keys === 0 ? subs : keys)
      }),
      { numRuns: 500 },
    )
  })

  test('no key’s rows lie among another’s, though one begins like the other', () => {
    fc.assert(
      fc.property(anyKey, anySub, anyKey, (a, sub, b) => {
        const writer = new RowWriter()
        const prefix = Buffer.from(writer.key(1, a, '', false))
        const other = writer.key(1, b, sub, false)
        expect(other.subarray(0, prefix.length).equals(prefix)).toBe(Buffer.from(a).equals(Buffer.from(b)))
      }),
    )
  })

  test('that nobody wrote are told apart from those that somebody did', () => {
    expect(unescapeKey(Buffer.from([97, 0, 2, 1]), 0)).toBeUndefined()
    expect(unescapeKey(Buffer.from([97, 98]), 0)).toBeUndefined()
    expect(unescapeKey(Buffer.from([97, 0]), 0)).toBeUndefined()
  })

  test('escaping leaves room for every byte', () => {
    const into = Buffer.alloc(8)
    expect(escapeInto(into, 0, Buffer.from([0, 1, 0, 0xff]))).toBe(6)
    expect(into.subarray(0, 6).toString('hex')).toBe('00ff0100ffff')
  })

  test('the first key behind a prefix is behind all that begin with it', () => {
    expect(afterPrefix(Buffer.from([1, 2]))).toEqual(Buffer.from([1, 3]))
    expect(afterPrefix(Buffer.from([1, 0xff, 0xff]))).toEqual(Buffer.from([2]))
    expect(afterPrefix(Buffer.from([0xff, 0xff]))).toBeUndefined()
  })
})
