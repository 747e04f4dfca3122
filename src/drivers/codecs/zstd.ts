/**
 * Where the frames of zstd data begin and end, and how much they may hold (RFC 8878), read from their headers alone. Node's synchronous
 * decoder stops behind the first frame and says nothing of the rest; with this, frames are given to it one by one and nothing is lost.
 *
 * Frame => 0xfd2fb528:uint32le descriptor:int8 [window:int8] [dictionaryId:0-4 bytes] [contentSize:0-8 bytes]
 *          [block => header:uint24le body]* [checksum:uint32le]
 * Skippable => 0x184d2a5?:uint32le size:uint32le bytes
 */
import { asBuffer } from '../../base/bytes.ts'

const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
/** A compressed block never holds more. */
const BLOCK_BYTES_MAX = 128 * 1024
/** Clients write one frame a batch. Each costs a decoder of its own, so that many empty ones would cost seconds. */
const FRAMES_MAX = 1_000

export interface ZstdFrame {
  readonly bytes: Buffer
  /** What it says that it holds, or at most what its blocks can hold. */
  readonly contentBytesMax: number
}

/** @throws Error when the bytes are not whole frames */
export function zstdFrames(input: Uint8Array): ZstdFrame[] {
  const bytes = asBuffer(input)
  const frames: ZstdFrame[] = []
  let at = 0
  while (at < bytes.length) {
    const magic = at + 8 > bytes.length ? 0 : bytes.readUInt32LE(at)
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + bytes.readUInt32LE(at + 4)
      continue
    }
    if (magic !== MAGIC) throw new Error('a frame does not begin as one')
    if (frames.length === FRAMES_MAX) throw new Error(`it has more than ${FRAMES_MAX} frames`)
    const frame = frameAt(bytes, at)
    frames.push(frame)
    at += frame.bytes.length
  }
  if (at !== bytes.length || frames.length === 0) throw new Error('its end is missing')
  return frames
}

function frameAt(bytes: Buffer, start: number): ZstdFrame {
  const descriptor = bytes[start + 4] as number
  const single = (descriptor >>> 5) & 1
  const sizeAt = start + 5 + (1 - single) + ([0, 1, 2, 4][descriptor & 3] as number)
  const sizeBytes = [single, 2, 4, 8][descriptor >>> 6] as number
  let at = sizeAt + sizeBytes
  let blocksMax = 0
  let last = false
  while (!last) {
    if (at + 3 > bytes.length) throw new Error('a frame is cut off')
    const header = bytes.readUIntLE(at, 3)
    const size = header >>> 3
    const type = (header >>> 1) & 3
    last = (header & 1) === 1
    // A raw block has its size in bytes, a repeated byte has one, a compressed block has its size and unpacks to more.
    at += 3 + (type === 1 ? 1 : size)
    blocksMax += type === 2 ? BLOCK_BYTES_MAX : size
    if (type === 3) throw new Error('a block has a reserved type')
  }
  if ((descriptor & 4) !== 0) at += 4
  if (at > bytes.length) throw new Error('a frame is cut off')
  return { bytes: bytes.subarray(start, at), contentBytesMax: sizeBytes === 0 ? blocksMax : contentSize(bytes, sizeAt, sizeBytes) }
}

function contentSize(bytes: Buffer, at: number, length: number): number {
  switch (length) {
    case 1:
      return bytes[at] as number
    case 2:
      return bytes.readUInt16LE(at) + 256
    case 4:
      return bytes.readUInt32LE(at)
    default:
      return Number(bytes.readBigUInt64LE(at))
  }
}
