import { describe, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  BatchBuilder,
  controlBatch,
  encodeHeaders,
  placeBatch,
  plainCodecs,
  readBatches,
  stampBatch,
} from '../../../src/ports/record-batch/index.ts'
import { batchAround, contents, encode, only, type Sample, STAMP, sample, sealed, TIME } from './sample.ts'

const GOLDEN_RECORDS: Sample[] = [
  sample('k1', 'hello', [
    { name: 'ce_id', value: Buffer.from('41') },
    { name: '', value: null },
  ]),
  { timestamp: TIME + 100, key: null, value: null, headers: [] },
]

/** Written down field by field from the definition of the format. */
const GOLDEN = [
  '0000000000000000 00000052 ffffffff 02', // base offset, 82 bytes follow, no leader epoch yet, format version 2
  'cf6e195e', // CRC-32C of what follows
  '0010 00000001', // transactional, not compressed; the last offset is 1 further
  '0000018bcfe56800 0000018bcfe56864', // first and last timestamp
  '0000000000001267 0003 0000005a', // producer 4711, epoch 3, sequence 90
  '00000002', // two records
  '30 00 00 00', // 24 bytes, attributes, timestamp + 0, offset + 0
  '04 6b31 0a 68656c6c6f', // k1, hello
  '04 0a 63655f6964 04 3431 00 01', // two headers: ce_id = 41, and an empty name with null
  '0e 00 c801 02 01 01 00', // 7 bytes, attributes, timestamp + 100, offset + 1, null, null, no headers
]
const golden = hex(GOLDEN.join(''))

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

describe('the bytes of a batch', () => {
  test('are those of the format', () => {
    expect(encode(GOLDEN_RECORDS, { stamp: { ...STAMP, transactional: true } }).toString('hex')).toBe(golden.toString('hex'))
  })

  test('are read field by field', () => {
    const batch = only(golden)
    const { baseOffset, lastOffset, count, leaderEpoch, producerId, producerEpoch, baseSequence, baseTimestamp, maxTimestamp } = batch
    expect({ baseOffset, lastOffset, count, leaderEpoch }).toEqual({ baseOffset: 0, lastOffset: 1, count: 2, leaderEpoch: -1 })
    expect({ producerId, producerEpoch, baseSequence }).toEqual({ producerId: 4711, producerEpoch: 3, baseSequence: 90 })
    expect({ baseTimestamp, maxTimestamp }).toEqual({ baseTimestamp: TIME, maxTimestamp: TIME + 100 })
    expect([batch.transactional, batch.control, batch.compression, batch.timestampType]).toEqual([true, false, 'none', 'create'])
    expect(batch.controlType).toBe(undefined)
    expect(contents(batch)).toEqual(GOLDEN_RECORDS)
  })

  test('are read with varints that a writer padded, as other readers do', () => {
    // 9 bytes: attributes, timestamp + 0 in three bytes, offset, null, null, 0 headers in two bytes.
    const padded = batchAround(hex('12 00 808000 00 01 01 8000'), 1)
    expect(contents(only(padded))).toEqual([sample(null, null)])
    const { payload, headersAt, headersEnd } = only(padded).columns
    expect(payload.subarray(headersAt[0], headersEnd[0]).toString('hex')).toBe('8000')
  })

  test('need no native checksum to be read', () => {
    expect(readBatches(golden, plainCodecs).batches.map(contents)).toEqual([GOLDEN_RECORDS])
  })
})

describe('what the log sets', () => {
  test('its offset and leader epoch leave the checksum as it is', () => {
    const bytes = Buffer.from(golden)
    placeBatch(bytes, 2 ** 40 + 5, 12)
    const batch = only(bytes)
    expect([batch.baseOffset, batch.lastOffset, batch.leaderEpoch]).toEqual([2 ** 40 + 5, 2 ** 40 + 6, 12])
    expect([batch.offset(0), batch.offset(1)]).toEqual([2 ** 40 + 5, 2 ** 40 + 6])
  })

  test('a batch stamped by the log at append time has that time in every record', () => {
    const bytes = Buffer.from(golden)
    bytes.writeInt16BE(16 | 8, 21)
    bytes.writeBigInt64BE(1_800_000_000_000n, 35)
    const batch = only(sealed(bytes))
    expect(batch.timestampType).toBe('append')
    expect([batch.timestamp(0), batch.timestamp(1)]).toEqual([1_800_000_000_000, 1_800_000_000_000])
    expect(batch.baseTimestamp).toBe(TIME)
  })

  test('a delete horizon in the base timestamp moves no record in time', () => {
    // The cleaner sets bit 6, stores the horizon as the base and lets the deltas be relative to it: here 1,000 ms later.
    const shifted = batchAround(hex('10 00 cf0f 00 02 6b 01 00'), 1, { attributes: 64 })
    shifted.writeBigInt64BE(BigInt(TIME + 1_000), 27)
    expect(only(sealed(shifted)).timestamp(0)).toBe(TIME)
  })

  test.each(['commit', 'abort'] as const)('a control batch ends a transaction by %s', (kind) => {
    const bytes = controlBatch(kind, { producerId: 4711, producerEpoch: 3, timestamp: TIME, coordinatorEpoch: 6 }, nativeCodecs)
    placeBatch(bytes, 77, 0)
    const batch = only(bytes)
    expect([batch.control, batch.transactional, batch.controlType, batch.lastOffset]).toEqual([true, true, kind, 77])
    expect([batch.producerId, batch.producerEpoch, batch.baseSequence]).toEqual([4711, 3, -1])
    // ControlRecordKey version 0 and type; EndTransactionMarker version 0 and coordinator epoch.
    expect(batch.key(0)).toEqual(Buffer.from([0, 0, 0, kind === 'commit' ? 1 : 0]))
    expect(batch.value(0)).toEqual(Buffer.from([0, 0, 0, 0, 0, 6]))
  })

  test('control records of kinds that end no transaction are told apart', () => {
    const bytes = controlBatch('commit', { producerId: 1, producerEpoch: 0, timestamp: TIME, coordinatorEpoch: 0 }, nativeCodecs)
    const leaderChange = Buffer.from(bytes)
    leaderChange[69] = 2
    expect(only(sealed(leaderChange)).controlType).toBe(undefined)
  })
})

describe('the stamp', () => {
  test('may be written again before the first send, and only the last one counts', () => {
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    for (const { timestamp, key, value, headers } of GOLDEN_RECORDS) builder.add(timestamp, key, value, encodeHeaders(headers))
    const batch = builder.finish()
    stampBatch(batch, { ...STAMP, transactional: true }, nativeCodecs)
    stampBatch(batch, { producerId: 9, producerEpoch: 0, baseSequence: 0, transactional: false }, nativeCodecs)
    expect([only(batch.bytes).producerId, only(batch.bytes).transactional]).toEqual([9, false])
    stampBatch(batch, { ...STAMP, transactional: true }, nativeCodecs)
    expect(batch.bytes).toEqual(golden)
  })

  test('takes producers without idempotence, and refuses numbers that no producer has together', () => {
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    builder.add(TIME, null, null)
    const batch = builder.finish()
    const plain = { producerId: -1, producerEpoch: -1, baseSequence: -1, transactional: false }
    stampBatch(batch, plain, nativeCodecs)
    expect(only(batch.bytes).producerId).toBe(-1)
    for (const wrong of [
      { ...plain, transactional: true },
      { ...STAMP, producerEpoch: -1 },
      { ...STAMP, baseSequence: -1 },
      { ...STAMP, producerId: 1.5 },
      { ...STAMP, producerId: 2 ** 53 },
    ]) {
      expect(() => stampBatch(batch, wrong, nativeCodecs)).toThrow(TypeError)
    }
    for (const wrong of [
      { ...STAMP, producerEpoch: 40_000 },
      { ...STAMP, baseSequence: 2 ** 31 },
    ]) {
      expect(() => stampBatch(batch, wrong, nativeCodecs)).toThrow(RangeError)
    }
  })
})

describe('wrong calls', () => {
  test('are answered with a TypeError, and leave the batch as it was', () => {
    const builder = new BatchBuilder({ codecs: nativeCodecs })
    expect(() => builder.finish()).toThrow(TypeError)
    expect(() => builder.addReserved(TIME, null, 100)).toThrow(TypeError)
    builder.add(TIME, null, Buffer.from('a'))
    for (const timestamp of [Number.NaN, 1.5, 2 ** 53, -(2 ** 53), -(2 ** 52)]) {
      expect(() => builder.add(timestamp, null, null)).toThrow(TypeError)
    }
    // Headers without their count, with a count they cannot have, and with half a count.
    for (const headers of [[], [40], [0x80]]) expect(() => builder.add(TIME, null, null, Buffer.from(headers))).toThrow(TypeError)
    const early = new BatchBuilder({ codecs: nativeCodecs })
    early.add(-(2 ** 52), null, null)
    expect(() => early.add(1, null, null)).toThrow(TypeError)
    const at = builder.reserve(10)
    expect(() => builder.addReserved(TIME, null, at - 1)).toThrow(TypeError)
    expect(() => builder.addReserved(TIME, null, 2 ** 30)).toThrow(TypeError)
    expect(() => builder.addReserved(TIME, null, at + 0.5)).toThrow(TypeError)
    expect(() => builder.reserve(Number.NaN)).toThrow(TypeError)
    expect(() => new BatchBuilder({ codecs: nativeCodecs, capacity: -1 })).toThrow(TypeError)
    expect(() => new BatchBuilder({ codecs: nativeCodecs, compression: 'brotli' as 'gzip' })).toThrow(TypeError)
    const batch = builder.finish()
    stampBatch(batch, STAMP, nativeCodecs)
    expect(contents(only(batch.bytes))).toEqual([sample(null, 'a')])
    for (const index of [-1, 1, 0.5, Number.NaN]) expect(() => only(batch.bytes).value(index)).toThrow(TypeError)
  })
})
