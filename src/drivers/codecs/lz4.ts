/**
 * LZ4 frames to bytes (LZ4 Frame Format 1.6.1, LZ4 Block Format), in plain TypeScript: the native decoder grows its output without a
 * bound, and is slower for the sizes of a batch. The result is measured first, so that it is allocated once, exactly, and never above the cap.
 * One frame without a dictionary, its blocks independent or linked: what Kafka's clients write. Checksums inside the frame are
 * passed over, as in Kafka's own reader: the batch around it has one.
 *
 * Frame => magic:uint32le FLG:int8 BD:int8 [contentSize:uint64le] headerChecksum:int8 [blockSize:uint32le block [checksum:uint32le]]
 *          0:uint32le [contentChecksum:uint32le];   the highest bit of blockSize marks a block that is not compressed
 */
import { asBuffer } from '../../base/bytes.ts'

const MAGIC = 0x184d2204
const FLAG_BLOCK_CHECKSUM = 16
const FLAG_CONTENT_SIZE = 8
const FLAG_CONTENT_CHECKSUM = 4
const FLAG_DICTIONARY = 1
/** Below this many bytes a loop is faster than a call of the engine's copy. */
const LOOP_BYTES_MAX = 32

/**
 * The content of one frame; undefined when it has more than `bytesMax` bytes.
 * @throws Error when the bytes are not one frame
 */
export function lz4Decompress(input: Uint8Array, bytesMax: number): Buffer | undefined {
  const frame = asBuffer(input)
  let size = 0
  const counted = walkBlocks(frame, (at, end, packed) => {
    size += packed ? contentBytes(frame, at, end, bytesMax - size) : end - at
    return size <= bytesMax
  })
  if (!counted) return undefined
  const content = Buffer.allocUnsafeSlow(size)
  let filled = 0
  walkBlocks(frame, (at, end, packed) => {
    if (packed) filled = unpack(frame, at, end, content, filled)
    else filled += frame.copy(content, filled, at, end)
    return true
  })
  return content
}

/** Calls `visit` for each block, as long as it says to go on; says whether it reached the end. Keeps no list: blocks may be many and tiny. */
function walkBlocks(frame: Buffer, visit: (at: number, end: number, packed: boolean) => boolean): boolean {
  if (frame.length < 7 || frame.readUInt32LE(0) !== MAGIC) throw new Error('it does not begin as a frame')
  const flags = frame[4] as number
  if (flags >>> 6 !== 1) throw new Error(`its frame version is ${flags >>> 6}`)
  if ((flags & FLAG_DICTIONARY) !== 0) throw new Error('it needs a dictionary')
  const checksumBytes = (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4
  let at = (flags & FLAG_CONTENT_SIZE) === 0 ? 7 : 15
  for (;;) {
    if (at + 4 > frame.length) throw new Error('its end is missing')
    const head = frame.readUInt32LE(at)
    at += 4
    if (head === 0) break
    const end = at + (head & 0x7fffffff)
    if (end + checksumBytes > frame.length) throw new Error('a block reaches beyond its end')
    if (!visit(at, end, head >>> 31 === 0)) return false
    at = end + checksumBytes
  }
  if ((flags & FLAG_CONTENT_CHECKSUM) !== 0) at += 4
  if (at !== frame.length) throw new Error('other bytes follow it')
  return true
}

/** Bytes that a block holds; stops counting above `bytesMax`. */
function contentBytes(frame: Buffer, start: number, end: number, bytesMax: number): number {
  let at = start
  let size = 0
  while (at < end && size <= bytesMax) {
    const token = frame[at++] as number
    let length = token >>> 4
    if (length === 15) {
      length = longLength(frame, at, end)
      at = lengthEnd
    }
    at += length
    size += length
    if (at === end) return size
    at += 2
    length = token & 15
    if (length === 15) {
      length = longLength(frame, at, end)
      at = lengthEnd
    }
    size += length + 4
  }
  if (at > end) throw new Error('a block ends within a sequence')
  return size
}

/** Unpacks a block that `contentBytes` has walked behind the first `filled` bytes of `content`; returns the place after it. */
function unpack(frame: Buffer, start: number, end: number, content: Buffer, filled: number): number {
  let at = start
  while (at < end) {
    const token = frame[at++] as number
    let length = token >>> 4
    if (length === 15) {
      length = longLength(frame, at, end)
      at = lengthEnd
    }
    if (length > LOOP_BYTES_MAX) {
      frame.copy(content, filled, at, at + length)
      at += length
      filled += length
    } else for (const stop = at + length; at < stop; ) content[filled++] = frame[at++] as number
    if (at === end) break
    const distance = (frame[at] as number) | ((frame[at + 1] as number) << 8)
    at += 2
    length = token & 15
    if (length === 15) {
      length = longLength(frame, at, end)
      at = lengthEnd
    }
    if (distance === 0 || distance > filled) throw new Error('a repetition begins before the content')
    filled = repeat(content, filled, distance, length + 4)
  }
  return filled
}

/** The place after the length that `longLength` read. */
let lengthEnd = 0

/** A length that is 15 in its token goes on behind it: bytes are added up to the first that is not 255. */
function longLength(frame: Buffer, at: number, end: number): number {
  let length = 15
  let more: number
  do {
    if (at >= end) throw new Error('a block ends within a length')
    more = frame[at++] as number
    length += more
  } while (more === 255)
  lengthEnd = at
  return length
}

/** Appends `length` bytes that begin `distance` before the end; they may overlap what they write, which repeats a pattern. */
function repeat(content: Buffer, filled: number, distance: number, length: number): number {
  const stop = filled + length
  if (length > LOOP_BYTES_MAX && distance >= length) content.copyWithin(filled, filled - distance, filled - distance + length)
  else if (length > LOOP_BYTES_MAX && distance === 1) content.fill(content[filled - 1] as number, filled, stop)
  else for (let from = filled - distance, to = filled; to < stop; ) content[to++] = content[from++] as number
  return stop
}
