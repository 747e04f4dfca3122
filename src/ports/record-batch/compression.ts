/**
 * What the codec needs from outside: a checksum and compression. Both are one interface, because a process has one set of them and
 * hands it to every log driver. The pure set here needs no package and knows no compression.
 */
import { asBuffer } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { crc32c } from './crc32c.ts'

/** How the records of a batch are packed, by the names that topics and producers use. */
export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** By the number that the lowest three bits of a batch's attributes hold. */
export const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export interface Codecs {
  /** CRC-32C as an unsigned 32-bit number. */
  crc32c(bytes: Uint8Array): number
  /**
   * Bytes that `decompress` turns back. They may share memory with the input when nothing is compressed.
   * @throws TidemarkError BATCH_UNSUPPORTED when this set does not know the compression
   */
  compress(type: Compression, bytes: Uint8Array): Buffer
  /**
   * The bytes that were compressed, `bytesMax` at most; no buffer above that size is ever made for them.
   * @throws TidemarkError BATCH_LIMIT when they would be more than `bytesMax`, BATCH_CORRUPT when `bytes` are not what `type` writes,
   * BATCH_UNSUPPORTED when this set does not know the compression
   */
  decompress(type: Compression, bytes: Uint8Array, bytesMax: number): Buffer
}

/** Pure TypeScript: CRC-32C, and compression `none` only. */
export const plainCodecs: Codecs = {
  crc32c,
  compress(type, bytes) {
    if (type !== 'none') throw unknownCompression(type)
    return asBuffer(bytes)
  },
  decompress(type, bytes, bytesMax) {
    if (type !== 'none') throw unknownCompression(type)
    if (bytes.length > bytesMax) throw tooManyBytes(bytesMax)
    return asBuffer(bytes)
  },
}

function unknownCompression(type: Compression): TidemarkError {
  return new TidemarkError('BATCH_UNSUPPORTED', `compression ${type} is not available here`, {
    detail: 'The codecs in plain TypeScript know the compression "none" only.',
    hint: 'Give the log driver the codecs of "tidemark/drivers/codecs".',
  })
}

/** The error of `decompress` for what does not fit in its cap. */
export function tooManyBytes(bytesMax: number): TidemarkError {
  return new TidemarkError('BATCH_LIMIT', 'a record batch decompresses to more bytes than allowed', {
    detail: `Its records take more than ${bytesMax} bytes.`,
    hint: 'Raise the limit "decompressedBytesMax" if such batches are meant to be.',
  })
}
