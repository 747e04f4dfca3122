/**
 * The header of a record batch without the batch: for the broker's side of an append and for walking over a segment, where neither the
 * checksum nor the records are of interest. The layout is drawn in ports/record-batch/batch.ts.
 */
import { BATCH_BYTES_BEFORE_LENGTH, BATCH_HEADER_BYTES } from './layout.ts'

export interface BatchHeader {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Of the whole batch. */
  readonly bytes: number
  readonly attributes: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly count: number
}

/** The header at `at`, or undefined when there is no batch of format 2 with a possible length. */
export function readHeader(bytes: Buffer, at = 0): BatchHeader | undefined {
  if (bytes.length - at < BATCH_HEADER_BYTES || bytes[at + 16] !== 2) return undefined
  const length = bytes.readInt32BE(at + 8) + BATCH_BYTES_BEFORE_LENGTH
  const baseOffset = int64(bytes, at)
  const lastOffset = baseOffset + bytes.readInt32BE(at + 23)
  if (length < BATCH_HEADER_BYTES || baseOffset < 0 || lastOffset < baseOffset || !Number.isSafeInteger(lastOffset + 1)) return undefined
  return {
    baseOffset,
    lastOffset,
    bytes: length,
    attributes: bytes.readInt16BE(at + 21),
    maxTimestamp: int64(bytes, at + 35),
    producerId: int64(bytes, at + 43),
    producerEpoch: bytes.readInt16BE(at + 51),
    baseSequence: bytes.readInt32BE(at + 53),
    count: bytes.readInt32BE(at + 57),
  }
}

function int64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
}
