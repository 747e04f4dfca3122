/**
 * Kafka's varints: zigzag, seven bits a byte, little end first. What is written is as short as can be; what is read may be padded.
 * A varint that does not end before `end`, or is longer than its type, gives any number and moves `varintEnd` behind `end`. The
 * caller's own check of its place then fails, so that one check does for many reads.
 */

/** The place after the varint read last, behind its `end` when it was bad. Valid until the next call. */
export let varintEnd = 0

/**
 * A 32-bit varint at `at`. Bits above 32 of a fifth byte fall away, as in Kafka's `ByteUtils.readVarint`.
 * Small enough to be inlined where it is called, with the lengths of nearly all fields; the rest is another function for that reason.
 */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at] as number
  if (first < 0x80) {
    varintEnd = at + 1
    return (first >>> 1) ^ -(first & 1)
  }
  const second = bytes[at + 1] as number
  if (second < 0x80) {
    varintEnd = at + 2
    const raw = (first & 0x7f) | (second << 7)
    return (raw >>> 1) ^ -(raw & 1)
  }
  return readLongerVarint(bytes, at, end)
}

function readLongerVarint(bytes: Uint8Array, at: number, end: number): number {
  let raw = 0
  for (let shift = 0; shift < 35 && at < end; shift += 7) {
    const byte = bytes[at++] as number
    raw |= (byte & 0x7f) << shift
    if (byte < 0x80) {
      varintEnd = at
      return (raw >>> 1) ^ -(raw & 1)
    }
  }
  varintEnd = end + 1
  return 0
}

/** A 64-bit varint at `at`. Infinity when its absolute value is above 2^52: twice that, its zigzag form, a number no longer holds exactly. */
export function readVarlong(bytes: Uint8Array, at: number, end: number): number {
  const value = readVarint(bytes, at, end)
  return varintEnd - at < 5 ? value : readLongerVarlong(bytes, at, end)
}

function readLongerVarlong(bytes: Uint8Array, at: number, end: number): number {
  let raw = 0
  let scale = 1
  for (let read = 0; read < 10 && at < end; read++) {
    const byte = bytes[at++] as number
    raw += (byte & 0x7f) * scale
    scale *= 128
    if (byte < 0x80) {
      varintEnd = at
      if (raw > Number.MAX_SAFE_INTEGER) return Number.POSITIVE_INFINITY
      return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2
    }
  }
  varintEnd = end + 1
  return 0
}

/** Bytes that `value`, a signed 32-bit number, takes as a varint. */
export function varint32Length(value: number): number {
  const raw = (value << 1) ^ (value >> 31)
  // One byte for each seven bits up to the highest that is set, and one for zero.
  return raw === 0 ? 1 : ((38 - Math.clz32(raw)) / 7) | 0
}

/** Writes a signed 32-bit number as a varint at `at` and returns the place after it. */
export function writeVarint32(into: Uint8Array, at: number, value: number): number {
  let raw = (value << 1) ^ (value >> 31)
  while (raw >>> 0 >= 0x80) {
    into[at++] = (raw & 0x7f) | 0x80
    raw >>>= 7
  }
  into[at++] = raw
  return at
}
