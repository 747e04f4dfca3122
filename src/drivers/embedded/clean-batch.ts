/**
 * One batch under compaction: which of its records stay, and the bytes of what stays. Offsets, timestamps, sequence numbers and the bytes of
 * the records do not change; the batch keeps its place and its last offset, so whoever reads it goes on behind it as before.
 */
import { COMPRESSIONS, type Codecs, type RecordBatch } from '../../ports/record-batch/index.ts'
import { BATCH_BYTES_BEFORE_LENGTH, BATCH_HEADER_BYTES, COMPRESSION_MASK } from './layout.ts'

/** Whether record `i` stays. */
export type Keeps = (i: number) => boolean

/**
 * The batch with only the records that stay: its own bytes when all do, undefined when none does.
 */
export function cleanBatch(batch: RecordBatch, keeps: Keeps, codecs: Codecs): Buffer | undefined {
  const { payload, count, headersEnd, timestamps } = batch.columns
  const kept: Buffer[] = []
  let maxTimestamp = -Infinity
  let at = batch.compression === 'none' ? BATCH_HEADER_BYTES : 0
  for (let i = 0; i < count; i++) {
    const end = headersEnd[i] as number
    if (keeps(i)) {
      kept.push(payload.subarray(at, end))
      maxTimestamp = Math.max(maxTimestamp, timestamps[i] as number)
    }
    at = end
  }
  if (kept.length === count) return batch.bytes
  if (kept.length === 0) return undefined
  const records = Buffer.concat(kept)
  const packed = batch.compression === 'none' ? records : codecs.compress(batch.compression, records)
  return withRecords(batch, packed, { count: kept.length, maxTimestamp }, codecs)
}

/** The batch without any record: it says only that there is nothing up to its last offset. */
export function emptiedBatch(batch: RecordBatch, codecs: Codecs): Buffer {
  return withRecords(batch, Buffer.alloc(0), { count: 0, maxTimestamp: batch.maxTimestamp }, codecs)
}

function withRecords(
  batch: RecordBatch,
  records: Buffer,
  { count, maxTimestamp }: { count: number; maxTimestamp: number },
  codecs: Codecs,
): Buffer {
  const bytes = Buffer.concat([batch.bytes.subarray(0, BATCH_HEADER_BYTES), records])
  const compression = count === 0 ? 0 : COMPRESSIONS.indexOf(batch.compression)
  bytes.writeInt32BE(bytes.length - BATCH_BYTES_BEFORE_LENGTH, 8)
  bytes.writeInt16BE((bytes.readInt16BE(21) & ~COMPRESSION_MASK) | compression, 21)
  bytes.writeBigInt64BE(BigInt(maxTimestamp), 35)
  bytes.writeInt32BE(count, 57)
  bytes.writeUInt32BE(codecs.crc32c(bytes.subarray(21)), 17)
  return bytes
}
