/** Keys as values, as bytes and as text: the same text in URLs, on the command line and in logs, and one partition for one key. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compound, type Key, text } from '#tidemark'
import { partitionOf } from '../../src/base/murmur.ts'
import { keyCodec } from '../../src/contract/key.ts'

const codec = (key: Key<never> | Key<string> | Key<object>) => keyCodec(key)
const pair = codec(compound('sku', 'region'))
const plain = codec(text)
/** Texts that JavaScript can hold and UTF-8 can, too. */
const anyText = fc.string({ unit: 'binary' })
const nasty = fc.oneof(
  anyText,
  fc.stringMatching(/^[\\|a]*$/),
  fc.constantFrom('', '|', '\\', '\\|', '|\\', '\ufeffx', '\u0000', '__proto__'),
)

test.each<[key: object, written: string]>([
  [{ sku: '85123A', region: 'EU' }, '85123A|EU'],
  [{ sku: '', region: '' }, '|'],
  [{ sku: 'a|b', region: 'c' }, 'a\\|b|c'],
  [{ sku: 'a\\', region: '|' }, 'a\\\\|\\|'],
  [{ sku: '\\|', region: '\\' }, '\\\\\\||\\\\'],
])('the compound key %j is written %s, for good', (key, written) => {
  expect(pair.encode(key).toString()).toBe(written)
  expect(pair.toText(key)).toBe(written)
  expect(pair.fromText(written)).toEqual(key)
})

test('whatever its parts, a compound key comes back as it was, from bytes and from text, and two keys are never one', () => {
  fc.assert(
    fc.property(nasty, nasty, nasty, nasty, (a, b, c, d) => {
      const key = { sku: a, region: b }
      const bytes = pair.encode(key)
      expect(pair.decode(bytes, 0, bytes.length)).toEqual(key)
      expect(pair.fromText(pair.toText(key))).toEqual(key)
      const other = { sku: c, region: d }
      expect(bytes.equals(pair.encode(other))).toBe(a === c && b === d)
    }),
    { numRuns: 500 },
  )
})

test('whatever its characters, a text key comes back as it was', () => {
  fc.assert(
    fc.property(nasty, (key) => {
      const bytes = Buffer.concat([Buffer.from('??'), plain.encode(key), Buffer.from('??')])
      expect(plain.decode(bytes, 2, bytes.length - 2)).toBe(key)
      expect(plain.fromText(plain.toText(key))).toBe(key)
    }),
    { numRuns: 500 },
  )
})

describe('a key is refused', () => {
  test.each<[what: string, key: unknown]>([
    ['a number', 7],
    ['nothing', undefined],
    ['null', null],
    ['an object', {}],
    ['half a character, which would become the same bytes as any other half', 'a\ud800'],
  ])('as a text when it is %s', (_what, key) => {
    expect(() => plain.encode(key)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
  })
  test.each<[what: string, key: unknown]>([
    ['a text', 'a|b'],
    ['null', null],
    ['an object without a part', { sku: 'a' }],
    ['an object with a part that is a number', { sku: 'a', region: 7 }],
    ['an object with half a character', { sku: '\udc00', region: 'b' }],
  ])('as a compound when it is %s', (_what, key) => {
    expect(() => pair.encode(key)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
  })
  test.each(['a', 'a|b|c', 'a\\x|b', 'a|b\\', ''])('as the text %j of a compound', (written) => {
    expect(() => pair.fromText(written)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
  })
  test.each([[[0xc3, 0x28]], [[0xff]], [[0xed, 0xa0, 0x80]], [[0x61, 0x80]]])('as bytes that are not UTF-8: %j', (bytes) => {
    const buffer = Buffer.from(bytes)
    for (const each of [plain, pair])
      expect(() => each.decode(buffer, 0, buffer.length)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
  })
})

test('a key lies where Kafka’s Java client puts it: murmur2, made positive, modulo the partitions (D07)', () => {
  // Values of org.apache.kafka.common.utils.Utils.murmur2, from Kafka's own UtilsTest.
  const java: readonly (readonly [string, number])[] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ]
  for (const [key, hash] of java) expect(partitionOf(Buffer.from(key), 1_000)).toBe((hash & 0x7fffffff) % 1_000)
})
