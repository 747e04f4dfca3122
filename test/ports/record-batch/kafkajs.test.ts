import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { COMPRESSIONS } from '../../../src/ports/record-batch/index.ts'
import { type KafkajsInput, kafkajsDecode, kafkajsEncode } from './kafkajs.ts'
import { anyTimestamp, encode, only, type Sample, STAMP } from './sample.ts'

// kafkajs keeps headers in a plain object: names that are integers or of the prototype, and null values, are beyond it.
const bytes = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((each) => Buffer.from(each))
const records: fc.Arbitrary<Sample[]> = fc.array(
  fc.record({
    timestamp: anyTimestamp,
    key: fc.option(bytes(40), { nil: null }),
    value: fc.option(bytes(9_000), { nil: null, freq: 9 }),
    headers: fc.uniqueArray(fc.record({ name: fc.stringMatching(/^ce_[a-z]{0,9}$/), value: bytes(20) }), {
      selector: ({ name }) => name,
      maxLength: 4,
    }),
  }),
  { minLength: 1, maxLength: 30 },
)

function forKafkajs(samples: readonly Sample[]): KafkajsInput[] {
  return samples.map(({ timestamp, key, value, headers }) => ({
    timestamp,
    key,
    value,
    headers: Object.fromEntries(headers.map((header) => [header.name, header.value as Buffer])),
  }))
}

describe('beside kafkajs', () => {
  test('the encoder writes the same bytes, from the first to the last', async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.boolean(), async (samples, transactional) => {
        const stamp = { ...STAMP, transactional }
        expect(encode(samples, { stamp })).toEqual(await kafkajsEncode(forKafkajs(samples), stamp))
      }),
      { numRuns: 80 },
    )
  })

  test.each(COMPRESSIONS)('each reads what the other packs with %s', async (compression) => {
    await fc.assert(
      fc.asyncProperty(records, async (samples) => {
        const theirs = only(await kafkajsEncode(forKafkajs(samples), STAMP, compression))
        const ours = encode(samples, { compression })
        expect(theirs.compression).toBe(compression)
        for (const [i, record] of (await kafkajsDecode(ours)).entries()) {
          const { timestamp, key, value, headers } = samples[i] as Sample
          expect([record.offset, record.timestamp, record.key, record.value]).toEqual([`${i}`, `${timestamp}`, key, value])
          expect(record.headers).toEqual(forKafkajs([samples[i] as Sample])[0]?.headers)
          expect([theirs.offset(i), theirs.timestamp(i), theirs.key(i), theirs.value(i)]).toEqual([i, timestamp, key, value])
          expect(theirs.headers(i)).toEqual(headers)
        }
        expect(theirs.count).toBe(samples.length)
      }),
      { numRuns: 30 },
    )
  })
})
