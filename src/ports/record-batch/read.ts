/**
 * Bytes of a log to batches: what a Fetch answers, or a piece of a segment. Promises that every batch it gives is whole and has the
 * checksum that its writer gave it; the records inside are checked when they are decoded.
 */
import { TidemarkError } from '../../base/errors.ts'
import { BATCH_HEADER_BYTES, RecordBatch } from './batch.ts'
import type { Codecs } from './compression.ts'
import { DEFAULT_LIMITS, type Limits } from './limits.ts'

/** Bytes before the ones that `batchLength` counts. */
const PREFIX_BYTES = 12
const MAGIC_AT = 16
const CRC_AT = 17
const CRC_FROM = 21

export interface BatchesRead {
  readonly batches: RecordBatch[]
  /** Bytes that the batches take: the place of an incomplete or a bad one, or the end. */
  readonly consumed: number
}

/**
 * The whole batches at the start of `bytes`. An incomplete one at the end is left. So is a bad one that comes after good ones, and
 * everything behind it: reading on at `consumed` then throws, and the good ones before it are not lost. The batches are views: `bytes`
 * must not change as long as they are used.
 * @throws TidemarkError BATCH_CORRUPT when the first batch is damaged, BATCH_UNSUPPORTED when it has another format than 2,
 * BATCH_LIMIT when it is larger than a limit
 * @example
 * const { batches, consumed } = readBatches(bytes, codecs)
 * rest = bytes.subarray(consumed)
 */
export function readBatches(bytes: Buffer, codecs: Codecs, limits: Limits = DEFAULT_LIMITS): BatchesRead {
  const batches: RecordBatch[] = []
  let consumed = 0
  while (bytes.length - consumed > MAGIC_AT) {
    try {
      const length = batchBytes(bytes, consumed, limits)
      if (length > bytes.length - consumed) break
      batches.push(readBatch(bytes.subarray(consumed, consumed + length), codecs, limits))
      consumed += length
    } catch (error) {
      if (batches.length === 0) throw error
      break
    }
  }
  return { batches, consumed }
}

/** The length of the batch that begins at `at`, header included, once its first 17 bytes are there. */
function batchBytes(bytes: Buffer, at: number, limits: Limits): number {
  const magic = bytes[at + MAGIC_AT] as number
  // The older formats have their version at the same place, so they are told from damage.
  if (magic !== 2) {
    throw new TidemarkError('BATCH_UNSUPPORTED', `a record batch has format version ${magic}`, {
      detail: `Its offset is ${offsetAt(bytes, at)}.`,
      hint: magic < 2 ? 'Versions 0 and 1 were written before Kafka 0.11; have the topic rewritten by a newer producer.' : undefined,
    })
  }
  const length = bytes.readInt32BE(at + 8) + PREFIX_BYTES
  if (length < BATCH_HEADER_BYTES) {
    throw new TidemarkError('BATCH_CORRUPT', 'a record batch is shorter than its header', {
      detail: `At offset ${offsetAt(bytes, at)} its length is given as ${length} bytes.`,
    })
  }
  // Checked before the batch is complete: else a length that lies would have its reader wait for bytes that never come.
  if (length > limits.batchBytesMax) {
    throw new TidemarkError('BATCH_LIMIT', 'a record batch is larger than allowed', {
      detail: `The batch at offset ${offsetAt(bytes, at)} has ${length} bytes; ${limits.batchBytesMax} are allowed.`,
      hint: 'Raise the limit "batchBytesMax" if such batches are meant to be.',
    })
  }
  return length
}

function readBatch(bytes: Buffer, codecs: Codecs, limits: Limits): RecordBatch {
  const stated = bytes.readUInt32BE(CRC_AT)
  const actual = codecs.crc32c(bytes.subarray(CRC_FROM))
  if (stated !== actual) {
    throw new TidemarkError('BATCH_CORRUPT', 'the checksum of a record batch does not fit its bytes', {
      detail: `The batch at offset ${offsetAt(bytes, 0)} states ${hex(stated)} and has ${hex(actual)}.`,
      hint: 'Bytes changed after the producer wrote them. Read another replica, or restore the log from a copy.',
    })
  }
  return new RecordBatch(bytes, codecs, limits)
}

/** For messages only: the number may be nonsense, and is printed as it is. */
function offsetAt(bytes: Buffer, at: number): bigint {
  return bytes.readBigInt64BE(at)
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}
