/**
 * What is written into a batch after it was encoded: by its sender (producer, sequence, transaction, checksum), by the log that appends
 * it (offset and leader epoch, which the checksum leaves out), and the control batches that end transactions.
 */
import { ATTRIBUTE_CONTROL, ATTRIBUTE_TRANSACTIONAL, writeInt64 } from './batch.ts'
import { BatchBuilder, type EncodedBatch } from './build.ts'
import type { Codecs } from './compression.ts'

export interface Stamp {
  /** -1 for a producer without idempotence. */
  readonly producerId: number
  readonly producerEpoch: number
  /** Of the first record; the others count on from it. -1 without idempotence. */
  readonly baseSequence: number
  readonly transactional: boolean
}

/**
 * Writes the stamp and the checksum into an encoded batch, in place. A batch is stamped anew only before its first send: what may have
 * reached the log once is sent again as the same bytes, or the log could take it twice.
 * @throws TypeError when the stamp has numbers that do not go together
 */
export function stampBatch(batch: EncodedBatch, stamp: Stamp, codecs: Codecs): void {
  const { producerId, producerEpoch, baseSequence, transactional } = stamp
  const idempotent = producerId >= 0 && producerEpoch >= 0 && baseSequence >= 0
  const plain = producerId === -1 && producerEpoch === -1 && baseSequence === -1 && !transactional
  if (!(idempotent || plain)) throw new TypeError(`no producer stamps like this: ${JSON.stringify(stamp)}`)
  writeStamp(batch.bytes, stamp, 0, codecs)
}

/**
 * Sets what a log decides when it appends a batch. The checksum does not cover it and stays as it is.
 * @param bytes a whole batch
 */
export function placeBatch(bytes: Buffer, baseOffset: number, leaderEpoch: number): void {
  writeInt64(bytes, 0, baseOffset)
  bytes.writeInt32BE(leaderEpoch, 12)
}

/**
 * The batch with which a log ends a transaction, ready to be placed.
 * @throws TypeError when a number is out of range
 * @example controlBatch('abort', { producerId: 7, producerEpoch: 0, timestamp: now, coordinatorEpoch: 0 }, codecs)
 */
export function controlBatch(
  kind: 'commit' | 'abort',
  stamp: { producerId: number; producerEpoch: number; timestamp: number; coordinatorEpoch: number },
  codecs: Codecs,
): Buffer {
  // ControlRecordKey => version:int16 type:int16; EndTransactionMarker => version:int16 coordinatorEpoch:int32
  const key = Buffer.from([0, 0, 0, kind === 'commit' ? 1 : 0])
  const value = Buffer.alloc(6)
  value.writeInt32BE(stamp.coordinatorEpoch, 2)
  const builder = new BatchBuilder({ codecs, capacity: 96 })
  builder.add(stamp.timestamp, key, value)
  const { bytes } = builder.finish()
  const { producerId, producerEpoch } = stamp
  writeStamp(bytes, { producerId, producerEpoch, baseSequence: -1, transactional: true }, ATTRIBUTE_CONTROL, codecs)
  return bytes
}

function writeStamp(bytes: Buffer, stamp: Stamp, more: number, codecs: Codecs): void {
  const { producerId, producerEpoch, baseSequence, transactional } = stamp
  if (!Number.isSafeInteger(producerId)) throw new TypeError(`a producer id is an integer, not ${producerId}`)
  const attributes = bytes.readInt16BE(21) & ~ATTRIBUTE_TRANSACTIONAL
  bytes.writeInt16BE(attributes | (transactional ? ATTRIBUTE_TRANSACTIONAL : 0) | more, 21)
  writeInt64(bytes, 43, producerId)
  bytes.writeInt16BE(producerEpoch, 51)
  bytes.writeInt32BE(baseSequence, 53)
  bytes.writeUInt32BE(codecs.crc32c(bytes.subarray(21)), 17)
}
