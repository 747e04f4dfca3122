/** Sets of numbers as spans: what a key has seen, or holds, beyond what came in order. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { hasSpan, readSpans, type Spans, spanCount, withNumber, writeSpans } from '../../src/operators/spans.ts'

const numbers = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2 ** 40 })), { maxLength: 60 })
const of = (all: readonly number[]): Spans => all.reduce<Spans>((spans, n) => withNumber(spans, n), [])

test('against a set: what was added is there, nothing else is, and it is as short as it can be', () => {
  fc.assert(
    fc.property(numbers, (all) => {
      const spans = of(all)
      const set = new Set(all)
      expect(spanCount(spans)).toBe(set.size)
      for (const n of all) for (const near of [n - 1, n, n + 1]) expect(hasSpan(spans, near)).toBe(set.has(near))
      // Ascending, and no two touch.
      for (let i = 0; i + 2 < spans.length; i += 2) expect((spans[i + 2] as number) - (spans[i + 1] as number)).toBeGreaterThan(1)
    }),
  )
})

test('they are read as they were written, from any number below them', () => {
  fc.assert(
    fc.property(numbers, fc.integer({ min: 0, max: 1 }), (all, base) => {
      const spans = of(all)
      const to = new ByteWriter()
      writeSpans(spans, base, to)
      expect(readSpans(base, new ByteReader(to.bytes()))).toEqual(spans)
    }),
  )
})

test('bytes that were cut off end the reading', () => {
  const to = new ByteWriter()
  writeSpans(of([5, 9, 100]), 0, to)
  const reader = new ByteReader(to.bytes().subarray(0, 3))
  readSpans(0, reader)
  expect(reader.bad).toBe(true)
  // A count that lies costs nothing either.
  const liar = new ByteReader(Buffer.from([0xff, 0xff, 0xff, 0x7f, 1]))
  expect(readSpans(0, liar).length).toBeLessThan(3)
})
