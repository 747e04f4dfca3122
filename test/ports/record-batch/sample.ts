/** Records for the tests of the record batch: written down, generated, and encoded. */
import * as fc from 'fast-check'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  BatchBuilder,
  type Codecs,
  type Compression,
  encodeHeaders,
  type Header,
  type Limits,
  type RecordBatch,
  readBatches,
  type Stamp,
  stampBatch,
} from '../../../src/ports/record-batch/index.ts'

export interface Sample {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
}

export const STAMP: Stamp = { producerId: 4711, producerEpoch: 3, baseSequence: 90, transactional: false }
export const TIME = 1_700_000_000_000

/** Text shorthand: a record with a key and a value at a fixed time. */
export function sample(key: string | null, value: string | null, headers: readonly Header[] = []): Sample {
  return { timestamp: TIME, key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value), headers }
}

export interface EncodeOptions {
  readonly compression?: Compression
  readonly codecs?: Codecs
  readonly stamp?: Stamp
  readonly limits?: Limits
}

/** A stamped batch of the records. */
export function encode(records: readonly Sample[], options: EncodeOptions = {}): Buffer {
  const { compression = 'none', codecs = nativeCodecs, stamp = STAMP, limits } = options
  const builder = new BatchBuilder(limits === undefined ? { codecs, compression } : { codecs, compression, limits })
  for (const { timestamp, key, value, headers } of records) builder.add(timestamp, key, value, encodeHeaders(headers))
  const batch = builder.finish()
  stampBatch(batch, stamp, codecs)
  return batch.bytes
}

/** The only batch in `bytes`. */
export function only(bytes: Buffer, limits?: Limits): RecordBatch {
  const { batches, consumed } = readBatches(bytes, nativeCodecs, limits)
  const [batch] = batches
  if (batch === undefined || batches.length > 1 || consumed !== bytes.length)
    throw new Error(`${batches.length} batches in ${consumed} bytes`)
  return batch
}

/** What a batch holds, in the form it was put in. */
export function contents(batch: RecordBatch): Sample[] {
  return Array.from({ length: batch.count }, (_, i) => ({
    timestamp: batch.timestamp(i),
    key: batch.key(i),
    value: batch.value(i),
    headers: batch.headers(i),
  }))
}

/** Makes the checksum fit again, after bytes were changed on purpose. */
export function sealed(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(nativeCodecs.crc32c(bytes.subarray(21)), 17)
  return bytes
}

/** A batch around record bytes written by hand: what a hostile or broken producer sends. */
export function batchAround(records: Buffer, count: number, options: { lastOffsetDelta?: number; attributes?: number } = {}): Buffer {
  const header = Buffer.from(encode([sample(null, null)]).subarray(0, 61))
  const bytes = Buffer.concat([header, records])
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeInt16BE(options.attributes ?? 0, 21)
  bytes.writeInt32BE(options.lastOffsetDelta ?? Math.max(count - 1, 0), 23)
  bytes.writeInt32BE(count, 57)
  return sealed(bytes)
}

/**
 * The batch as a log's compaction leaves it, with only some of its records: they keep their offsets and bytes, the batch keeps its end,
 * producer and sequence, even when nothing stays. Written here on its own, so that reading is not tested by what was written with it.
 */
export function compacted(batch: RecordBatch, keep: (index: number) => boolean): Buffer {
  const { payload, count, headersEnd } = batch.columns
  const first = batch.compression === 'none' ? 61 : 0
  const pieces = Array.from({ length: count }, (_, i) => payload.subarray(i === 0 ? first : headersEnd[i - 1], headersEnd[i]))
  const kept = pieces.filter((_piece, i) => keep(i))
  const records = kept.length === 0 ? Buffer.alloc(0) : nativeCodecs.compress(batch.compression, Buffer.concat(kept))
  const bytes = Buffer.concat([batch.bytes.subarray(0, 61), records])
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeInt32BE(kept.length, 57)
  return sealed(bytes)
}

const bytesUpTo = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes))
const nullOr = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer | null> => fc.option(bytes, { nil: null, freq: 6 })
/** Mostly short, some long enough for lengths of three bytes. */
const values: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 20, arbitrary: bytesUpTo(200) },
  { weight: 1, arbitrary: fc.integer({ min: 8_000, max: 70_000 }).map((length) => Buffer.alloc(length, `${length}`)) },
)

export const anyHeader: fc.Arbitrary<Header> = fc.record({
  name: fc.string({ unit: 'grapheme', maxLength: 20 }),
  value: nullOr(bytesUpTo(40)),
})
export const anyHeaders: fc.Arbitrary<Header[]> = fc.array(anyHeader, { maxLength: 4 })
export const anyTimestamp: fc.Arbitrary<number> = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: TIME - 1_000, max: TIME + 1_000_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: TIME - 2 ** 34, max: TIME + 2 ** 34 }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 0, 253_402_300_799_999) },
  { weight: 1, arbitrary: fc.integer({ min: -(2 ** 51), max: 2 ** 51 }) },
)
export const anySample: fc.Arbitrary<Sample> = fc.record({
  timestamp: anyTimestamp,
  key: nullOr(bytesUpTo(40)),
  value: nullOr(values),
  headers: anyHeaders,
})
export const anySamples: fc.Arbitrary<Sample[]> = fc.array(anySample, { minLength: 1, maxLength: 30 })
export const anyCompression: fc.Arbitrary<Compression> = fc.constantFrom('none', 'gzip', 'snappy', 'lz4', 'zstd')
