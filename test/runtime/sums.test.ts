/** Sums: the same for the same rows, however they came about; another for any other rows. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { digestOf, RANGES, rangeOf, Sums, stateHash } from '../../src/runtime/sums.ts'

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const anyEntry = fc.record({
  range: fc.integer({ min: 0, max: RANGES - 1 }),
  high: word,
  low: word,
  digest: fc.tuple(word, word, word, word).map((words) => Int32Array.from(words)),
})
type Entry = typeof anyEntry extends fc.Arbitrary<infer T> ? T : never

const add = (sums: Sums, { range, high, low, digest }: Entry, sign: 1 | -1 = 1): void => {
  sums.row(range, high, low, sign)
  sums.digest(range, digest, sign)
}
const of = (entries: readonly Entry[]): Sums => {
  const sums = new Sums()
  for (const entry of entries) add(sums, entry)
  return sums
}

test('the order does not matter, and what is taken away again was never there', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 30 }), fc.array(anyEntry, { maxLength: 10 }), (kept, gone) => {
      const forwards = of(kept)
      const backwards = new Sums()
      for (const entry of gone) add(backwards, entry)
      for (const entry of kept.toReversed()) add(backwards, entry)
      for (const entry of gone) add(backwards, entry, -1)
      expect(backwards.words).toEqual(forwards.words)
      expect(backwards.difference(forwards)).toEqual([])
      expect(forwards.rows).toBe(kept.length)
    }),
  )
})

test('they add as whole numbers do, with every carry', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { minLength: 1, maxLength: 20 }), (entries) => {
      const unsigned = (value: number): bigint => BigInt(value >>> 0)
      const sum =
        entries.reduce((total, { digest }) => total + digest.reduce((value, each) => (value << 32n) + unsigned(each), 0n), 0n) % 2n ** 128n
      expect(stateHash([of(entries)])).toBe(sum.toString(16).padStart(32, '0'))
    }),
  )
})

test('the state hash does not depend on how rows lie over partitions and ranges', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 20 }), fc.integer({ min: 1, max: 5 }), (entries, partitions) => {
      const split = Array.from({ length: partitions }, (_, i) => of(entries.filter((_entry, at) => at % partitions === i)))
      expect(stateHash(split)).toBe(stateHash([of(entries)]))
      const elsewhere = entries.map((entry) => ({ ...entry, range: (entry.range + 7) % RANGES }))
      expect(stateHash([of(elsewhere)])).toBe(stateHash([of(entries)]))
    }),
  )
})

test('they are read as they were written', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 20 }), (entries) => {
      const sums = of(entries)
      const to = new ByteWriter()
      sums.write(to)
      const read = new Sums()
      read.read(new ByteReader(to.bytes()))
      expect(read.words).toEqual(sums.words)
    }),
  )
})

test('a difference is found in the range where it is', () => {
  const entry = { range: 3, high: 1, low: 2, digest: new Int32Array(4) }
  expect(of([entry]).difference(of([]))).toEqual([3])
  expect(of([entry]).difference(of([{ ...entry, range: 9 }]))).toEqual([3, 9])
  expect([0, 0x0fffffff, 0x10000000, 0xffffffff].map(rangeOf)).toEqual([0, 0, 1, 15])
})

test('a digest depends on key, version and payload, each for itself, and not on where they lie', () => {
  const hex = (words: Int32Array): string => [...words].map((each) => (each >>> 0).toString(16)).join('-')
  const digest = (key: string, version: number, payload: string): string =>
    hex(digestOf(Buffer.from(key), version, Buffer.from(`###${payload}##`), 3, 3 + payload.length))
  const all = [
    digest('k', 1, 'p'),
    digest('l', 1, 'p'),
    digest('k', 2, 'p'),
    digest('k', 1, 'q'),
    digest('k', 1, ''),
    digest('', 1, 'kp'),
    digest('kp', 1, ''),
    digest('k', 257, 'p'),
    digest('k', 1, 'x'.repeat(3_000)),
  ]
  expect(new Set(all).size).toBe(all.length)
  expect(digest('k', 1, 'p')).toBe(hex(digestOf(Buffer.from('k'), 1, Buffer.from('p'), 0, 1)))
})
