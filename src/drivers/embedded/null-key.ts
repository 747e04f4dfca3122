/** Finds records without a key in an uncompressed batch, by walking over lengths only: a fraction of what decoding costs. */
import { BATCH_HEADER_BYTES } from './layout.ts'

/**
 * The number of the first record without a key, -1 when all have one. The batch comes from our own builder, so its lengths are right.
 *
 * Record => length:varint attributes:int8 timestampDelta:varlong offsetDelta:varint keyLength:varint key ...
 */
export function firstNullKey(bytes: Uint8Array, count: number): number {
  let at = BATCH_HEADER_BYTES
  for (let i = 0; i < count; i++) {
    let length = 0
    let shift = 0
    let byte = 0x80
    while (byte >= 0x80) {
      byte = bytes[at++] as number
      length |= (byte & 0x7f) << shift
      shift += 7
    }
    const end = at + (length >>> 1)
    let field = at + 1
    while ((bytes[field++] as number) >= 0x80);
    while ((bytes[field++] as number) >= 0x80);
    // -1 as a zigzag varint.
    if (bytes[field] === 1) return i
    at = end
  }
  return -1
}
