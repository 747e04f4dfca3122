/**
 * The codecs of a real process: CRC-32C by `@node-rs/crc32`, gzip and zstd by Node's own zlib, snappy by `snappy`, lz4 by `lz4-napi`
 * and our own decoder. A native package that has no build for this machine takes only its own compression away, and says so when it
 * is needed, or at the start to whoever reads `missingCodecs`.
 * Every decompression is bounded before it begins and fails typed; none of them promises to notice damage that the checksum of a batch does.
 */
import { createRequire } from 'node:module'
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { asBuffer } from '../../base/bytes.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { type Codecs, type Compression, plainCodecs, tooManyBytes } from '../../ports/record-batch/index.ts'
import { lz4Decompress } from './lz4.ts'
import { snappyDecompress } from './snappy.ts'
import { zstdFrames } from './zstd.ts'

/** A package that could not be loaded on this machine. */
export interface MissingCodec {
  /** What is not available; `none` stands for the native checksum, whose place the slower one in TypeScript takes. */
  readonly compression: Compression
  readonly package: string
  readonly reason: string
}

interface Packing {
  compress(bytes: Uint8Array): Buffer
  /** Undefined when the content has more than `bytesMax` bytes. */
  decompress(bytes: Uint8Array, bytesMax: number): Buffer | undefined
}

const missing: MissingCodec[] = []
const require = createRequire(import.meta.url)
const crc32 = load('none', '@node-rs/crc32') as typeof import('@node-rs/crc32') | undefined
const snappy = load('snappy', 'snappy') as typeof import('snappy') | undefined
const lz4 = load('lz4', 'lz4-napi') as typeof import('lz4-napi') | undefined

/** What this machine lacks: empty on every platform that the packages are built for. */
export const missingCodecs: readonly MissingCodec[] = missing

/** All five compressions, and the native checksum. */
export const nativeCodecs: Codecs = {
  crc32c: crc32 === undefined ? (bytes) => plainCodecs.crc32c(bytes) : (bytes) => crc32.crc32c(bytes),
  compress(type, bytes) {
    return type === 'none' ? plainCodecs.compress(type, bytes) : PACKINGS[type].compress(bytes)
  },
  decompress(type, bytes, bytesMax) {
    if (type === 'none') return plainCodecs.decompress(type, bytes, bytesMax)
    let content: Buffer | undefined
    try {
      content = PACKINGS[type].decompress(bytes, bytesMax)
    } catch (error) {
      if (error instanceof TidemarkError) throw error
      throw new TidemarkError('BATCH_CORRUPT', `the records of a batch are not what ${type} writes`, {
        detail: `${messageOf(error)} (${bytes.length} bytes).`,
        cause: error,
      })
    }
    if (content === undefined) throw tooManyBytes(bytesMax)
    return content
  },
}

/** Without it `snappy` hands over memory of its own, and V8's bookkeeping for that takes several times as long as the copy. */
const COPIED = { copyOutputData: true }

const PACKINGS: Readonly<Record<Exclude<Compression, 'none'>, Packing>> = {
  gzip: {
    compress: (bytes) => gzipSync(bytes),
    decompress: (bytes, bytesMax) => bounded(gunzipSync, bytes, gzipContentBytes(bytes), bytesMax),
  },
  zstd: {
    compress: (bytes) => zstdCompressSync(bytes),
    decompress: zstdDecompress,
  },
  snappy: {
    compress: (bytes) => loaded(snappy, 'snappy').compressSync(bytes, COPIED),
    decompress: (bytes, bytesMax) => {
      const codec = loaded(snappy, 'snappy')
      return snappyDecompress(bytes, bytesMax, (block) => codec.uncompressSync(block, COPIED) as Buffer)
    },
  },
  lz4: {
    compress: (bytes) => loaded(lz4, 'lz4').compressFrameSync(asBuffer(bytes)),
    decompress: lz4Decompress,
  },
}

/** zstd bounds its window itself, by the 128 MiB of its highest level; pages of it that no content fills are never touched. */
function zstdDecompress(bytes: Uint8Array, bytesMax: number): Buffer | undefined {
  const contents: Buffer[] = []
  let size = 0
  for (const frame of zstdFrames(bytes)) {
    const content = bounded(zstdDecompressSync, frame.bytes, frame.contentBytesMax, bytesMax - size)
    if (content === undefined) return undefined
    contents.push(content)
    size += content.length
  }
  const [only] = contents
  return contents.length === 1 ? only : Buffer.concat(contents, size)
}

type Inflate = (bytes: Uint8Array, options: { chunkSize: number; maxOutputLength: number }) => Buffer

/** Node's zlib under a cap: the content, or undefined when it would be larger. */
function bounded(inflate: Inflate, bytes: Uint8Array, stated: number | undefined, bytesMax: number): Buffer | undefined {
  try {
    // zlib takes no cap of 0; what one byte more lets through is refused here.
    const content = inflate(bytes, { chunkSize: chunkBytes(stated, bytes.length, bytesMax), maxOutputLength: Math.max(bytesMax, 1) })
    return content.length > bytesMax ? undefined : content
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw error
  }
}

/**
 * How much zlib allocates at once. Right for honest content, it then comes in one piece; a statement that lies costs no more than the
 * input itself would justify, and the content comes in several.
 */
function chunkBytes(stated: number | undefined, packed: number, bytesMax: number): number {
  return Math.max(1024, Math.min(stated ?? packed * 4, packed * 64 + 65_536, bytesMax)) + 1
}

/** What the last four bytes of a gzip member say of its size (RFC 1952, ISIZE). */
function gzipContentBytes(bytes: Uint8Array): number | undefined {
  return bytes.length < 18 ? undefined : asBuffer(bytes).readUInt32LE(bytes.length - 4)
}

function load(compression: Compression, name: string): unknown {
  try {
    return require(name)
  } catch (error) {
    missing.push({ compression, package: name, reason: messageOf(error) })
    return undefined
  }
}

function loaded<Package>(codec: Package | undefined, compression: Compression): Package {
  if (codec !== undefined) return codec
  const gap = missing.find((each) => each.compression === compression)
  throw new TidemarkError('BATCH_UNSUPPORTED', `compression ${compression} is not available on this machine`, {
    detail: `The package "${gap?.package}" could not be loaded: ${gap?.reason}`,
    hint: `Use another compression for the topic, or a platform that the package has a build for.`,
  })
}
