import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  BatchBuilder,
  COMPRESSIONS,
  encodeHeaders,
  HeaderCursor,
  plainCodecs,
  readBatches,
  stampBatch,
} from '../../../src/ports/record-batch/index.ts'
import { anyCompression, anyHeaders, anySamples, compacted, contents, encode, only, STAMP, sample, TIME } from './sample.ts'

describe('what is built is what is read', () => {
  test.each(COMPRESSIONS)('any records come back as they were, packed with %s', (compression) => {
    fc.assert(
      fc.property(anySamples, (records) => {
        const batch = only(encode(records, { compression }))
        expect(contents(batch)).toEqual(records)
        expect(batch.count).toBe(records.length)
        expect(batch.compression).toBe(compression)
        expect(batch.maxTimestamp).toBe(Math.max(...records.map(({ timestamp }) => timestamp)))
      }),
      { numRuns: 60 },
    )
  })

  test('the codecs in plain TypeScript build the same bytes as the native ones', () => {
    fc.assert(
      fc.property(anySamples, (records) => {
        expect(encode(records, { codecs: plainCodecs })).toEqual(encode(records))
      }),
      { numRuns: 40 },
    )
  })

  test('values written in place make the same bytes as values that are copied, wherever they were put first', () => {
    fc.assert(
      fc.property(anySamples, fc.nat(300), (records, spare) => {
        const builder = new BatchBuilder({ codecs: nativeCodecs, capacity: 0 })
        for (const { timestamp, key, value, headers } of records) {
          if (value === null) {
            builder.add(timestamp, key, value, encodeHeaders(headers))
            continue
          }
          // An encoder that finds its room too small asks for more.
          builder.reserve(1)
          const at = builder.reserve(value.length + spare)
          builder.buffer.set(value, at)
          builder.addReserved(timestamp, key, at + value.length, encodeHeaders(headers))
        }
        const batch = builder.finish()
        stampBatch(batch, STAMP, nativeCodecs)
        expect(batch.bytes).toEqual(encode(records))
      }),
      { numRuns: 60 },
    )
  })

  test('a builder knows where the record added last lies in the batch it hands over', () => {
    fc.assert(
      fc.property(anySamples, (records) => {
        const builder = new BatchBuilder({ codecs: nativeCodecs })
        const places = records.map(({ timestamp, key, value, headers }) => {
          builder.add(timestamp, key, value, encodeHeaders(headers))
          return [builder.keyAt, builder.keyEnd, builder.valueAt, builder.valueEnd]
        })
        const { count, byteLength } = builder
        const { bytes } = builder.finish()
        expect([count, byteLength]).toEqual([records.length, bytes.length])
        for (const [i, [keyAt = 0, keyEnd = 0, valueAt = 0, valueEnd = 0]] of places.entries()) {
          expect(keyAt < 0 ? null : bytes.subarray(keyAt, keyEnd)).toEqual(records[i]?.key)
          expect(valueAt < 0 ? null : bytes.subarray(valueAt, valueEnd)).toEqual(records[i]?.value)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('headers go from a batch into the next one as bytes', () => {
    fc.assert(
      fc.property(anySamples, anyCompression, (records, compression) => {
        const { columns } = only(encode(records, { compression }))
        const builder = new BatchBuilder({ codecs: nativeCodecs })
        for (let i = 0; i < columns.count; i++)
          builder.add(TIME, null, null, columns.payload.subarray(columns.headersAt[i], columns.headersEnd[i]))
        const forwarded = builder.finish()
        stampBatch(forwarded, STAMP, nativeCodecs)
        expect(contents(only(forwarded.bytes)).map(({ headers }) => headers)).toEqual(records.map(({ headers }) => headers))
      }),
      { numRuns: 40 },
    )
  })

  test('a header cursor walks any headers, those made by hand included', () => {
    fc.assert(
      fc.property(anyHeaders, (headers) => {
        const bytes = encodeHeaders(headers)
        const cursor = new HeaderCursor()
        cursor.reset(bytes, 0, bytes.length, headers.length)
        const seen = []
        while (cursor.next()) {
          const { nameAt, nameEnd, valueAt, valueEnd } = cursor
          seen.push({ name: bytes.toString('utf8', nameAt, nameEnd), value: valueAt < 0 ? null : bytes.subarray(valueAt, valueEnd) })
        }
        expect(seen).toEqual(headers)
        expect(cursor.next()).toBe(false)
      }),
    )
  })
})

describe('batches one after the other', () => {
  test('all whole batches are read, and an incomplete one is left for the next time', () => {
    fc.assert(
      fc.property(fc.array(anySamples, { minLength: 1, maxLength: 4 }), fc.nat(), (lists, cut) => {
        const all = lists.map((records) => encode(records))
        const bytes = Buffer.concat(all)
        const part = bytes.subarray(0, cut % (bytes.length + 1))
        const { batches, consumed } = readBatches(part, nativeCodecs)
        expect(batches.map(contents)).toEqual(lists.slice(0, batches.length))
        expect(consumed).toBe(all.slice(0, batches.length).reduce((sum, { length }) => sum + length, 0))
        const rest = readBatches(bytes.subarray(consumed), nativeCodecs)
        expect(rest.batches.map(contents)).toEqual(lists.slice(batches.length))
      }),
      { numRuns: 60 },
    )
  })

  test('a builder starts empty again, and what it handed over stays as it was', () => {
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    builder.add(TIME + 9, Buffer.from('a'), Buffer.from('1'))
    const first = builder.finish()
    const before = Buffer.from(first.bytes)
    expect([builder.count, builder.byteLength, builder.keyAt]).toEqual([0, 61, -1])
    builder.add(TIME, Buffer.from('b'), Buffer.from('2'))
    const second = builder.finish()
    stampBatch(second, STAMP, nativeCodecs)
    expect(first.bytes).toEqual(before)
    expect(contents(only(second.bytes))).toEqual([sample('b', '2')])
    expect(second.maxTimestamp).toBe(TIME)
  })

  test('a batch of more than 200,000 records is read and built in one go', () => {
    const builder = new BatchBuilder({ codecs: nativeCodecs, compression: 'gzip' })
    for (let i = 0; i < 250_000; i++) builder.add(TIME + i, Buffer.from('k'), null)
    const built = builder.finish()
    stampBatch(built, STAMP, nativeCodecs)
    const batch = only(built.bytes)
    expect([batch.count, batch.offset(249_999), batch.timestamp(249_999)]).toEqual([250_000, 249_999, TIME + 249_999])
  })
})

describe('a batch after compaction', () => {
  test('is read with its gaps: every record at its own offset, and the end where it was', () => {
    fc.assert(
      fc.property(anySamples, anyCompression, fc.infiniteStream(fc.boolean()), (records, compression, chance) => {
        const batch = only(encode(records, { compression }))
        const kept = records.map(() => chance.next().value as boolean)
        const after = only(compacted(batch, (i) => kept[i] === true))
        const indices = records.map((_, i) => i).filter((i) => kept[i] === true)
        expect(contents(after)).toEqual(indices.map((i) => records[i]))
        expect(Array.from(after.columns.offsets)).toEqual(indices)
        const { lastOffset, producerId, producerEpoch, baseSequence, compression: packing } = after
        expect({ lastOffset, producerId, producerEpoch, baseSequence, packing }).toEqual({
          lastOffset: records.length - 1,
          producerId: STAMP.producerId,
          producerEpoch: STAMP.producerEpoch,
          baseSequence: STAMP.baseSequence,
          packing: compression,
        })
      }),
      { numRuns: 60 },
    )
  })

  test('is read when it lost all its records, and reading goes on behind its end', () => {
    for (const compression of COMPRESSIONS) {
      const batch = only(encode([sample('a', '1'), sample('b', '2')], { compression }))
      const empty = only(compacted(batch, () => false))
      expect([empty.count, empty.columns.count, empty.lastOffset + 1]).toEqual([0, 0, 2])
    }
  })
})
