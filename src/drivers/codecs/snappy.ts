/**
 * Snappy as Kafka's clients write it: one raw block, or the framing of snappy-java ("xerial"), which holds raw blocks.
 * The sizes that blocks state are summed and checked before anything is unpacked.
 *
 * Xerial => 0x82 "SNAPPY" 0x00 version:int32 compatible:int32 [blockLength:int32 block];   such headers may follow each other
 */
import { asBuffer, ByteReader } from '../../base/bytes.ts'

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = 16
/** The best that the format can do is a copy of 64 bytes in 3; a block that states more is not worth its memory. */
const RATIO_MAX = 22
/** snappy-java fills a block with 1 KiB at least, which takes more than this; smaller ones would only cost calls. */
const BLOCK_BYTES_MIN = 32

/**
 * The content; undefined when it has more than `bytesMax` bytes.
 * @param unpack one raw block to its bytes; throws when it is none
 * @throws Error when the bytes contradict themselves, and what `unpack` throws
 */
export function snappyDecompress(input: Uint8Array, bytesMax: number, unpack: (block: Buffer) => Buffer): Buffer | undefined {
  const bytes = asBuffer(input)
  if (!isXerial(bytes, 0)) return statedBytes(bytes) > bytesMax ? undefined : unpack(bytes)
  let size = 0
  const counted = walkBlocks(bytes, (block) => {
    size += statedBytes(block)
    return size <= bytesMax
  })
  if (!counted) return undefined
  const content = Buffer.allocUnsafeSlow(size)
  let filled = 0
  walkBlocks(bytes, (block) => {
    filled += unpack(block).copy(content, filled)
    return true
  })
  return content
}

function isXerial(bytes: Buffer, at: number): boolean {
  return bytes.length - at >= XERIAL_HEADER_BYTES && bytes.compare(XERIAL, 0, XERIAL.length, at, at + XERIAL.length) === 0
}

/** Calls `visit` for each block, as long as it says to go on; says whether it reached the end. Keeps no list: blocks may be many and tiny. */
function walkBlocks(bytes: Buffer, visit: (block: Buffer) => boolean): boolean {
  let at = 0
  let blocks = 0
  while (at < bytes.length) {
    if (isXerial(bytes, at)) {
      at += XERIAL_HEADER_BYTES
      continue
    }
    if (at + 4 > bytes.length) throw new Error('a block length is cut off')
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 1 || length > bytes.length - at) throw new Error('a block reaches beyond the end')
    // A last block, or one that was flushed, may be small; not all of them.
    if (++blocks > 1_000 + bytes.length / BLOCK_BYTES_MIN) throw new Error(`it has more than ${blocks} blocks`)
    if (!visit(bytes.subarray(at, at + length))) return false
    at += length
  }
  return true
}

/** What a raw block says it holds. */
function statedBytes(block: Buffer): number {
  const reader = new ByteReader(block)
  const stated = reader.uvarint()
  if (reader.bad || stated > block.length * RATIO_MAX) throw new Error(`a block of ${block.length} bytes claims to hold ${stated}`)
  return stated
}
