/**
 * Two hashes by Austin Appleby (public domain): murmur2 chooses partitions exactly as Kafka's Java client does,
 * murmur3 (x86, 128 bits, of which we keep 64) guards rows against bit flips. Neither withstands an attacker.
 */

const M2 = 0x5bd1e995
const SEED2 = 0x9747b28c

/** Java's `Utils.murmur2` over `bytes[start, end)`, as a signed 32-bit number. */
export function murmur2(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  let h = SEED2 ^ (end - start)
  let i = start
  for (; i + 4 <= end; i += 4) {
    let k = (bytes[i] as number) | ((bytes[i + 1] as number) << 8) | ((bytes[i + 2] as number) << 16) | ((bytes[i + 3] as number) << 24)
    k = Math.imul(k, M2)
    k ^= k >>> 24
    h = Math.imul(h, M2) ^ Math.imul(k, M2)
  }
  const rest = end - i
  if (rest === 3) h ^= (bytes[i + 2] as number) << 16
  if (rest >= 2) h ^= (bytes[i + 1] as number) << 8
  if (rest >= 1) h = Math.imul(h ^ (bytes[i] as number), M2)
  h ^= h >>> 13
  h = Math.imul(h, M2)
  return h ^ (h >>> 15)
}

/** The partition of a key, as Kafka's default partitioner chooses it. */
export function partitionOf(key: Uint8Array, partitions: number, start = 0, end: number = key.length): number {
  return (murmur2(key, start, end) & 0x7fffffff) % partitions
}

const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93

function mix(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

const rotl = (x: number, r: number): number => (x << r) | (x >>> (32 - r))

/** Where `hash64` leaves its result: two signed 32-bit halves. Valid until the next call. */
export const hashed: { high: number; low: number } = { high: 0, low: 0 }

/**
 * The first 64 bits of MurmurHash3_x86_128 over `bytes[start, end)`, into `hashed`. Continue over a second piece by giving its
 * result as `seed` pair; a hash over (key, row) is the row's hash seeded with the key's.
 */
export function hash64(bytes: Uint8Array, start = 0, end: number = bytes.length, seedHigh = 0, seedLow = 0): void {
  const length = end - start
  let h1 = seedHigh
  let h2 = seedLow
  let h3 = seedHigh
  let h4 = seedLow
  let i = start
  for (; i + 16 <= end; i += 16) {
    const k1 = word(bytes, i)
    const k2 = word(bytes, i + 4)
    const k3 = word(bytes, i + 8)
    const k4 = word(bytes, i + 12)
    h1 ^= Math.imul(rotl(Math.imul(k1, C1), 15), C2)
    h1 = (Math.imul(rotl(h1, 19) + h2, 5) + 0x561ccd1b) | 0
    h2 ^= Math.imul(rotl(Math.imul(k2, C2), 16), C3)
    h2 = (Math.imul(rotl(h2, 17) + h3, 5) + 0x0bcaa747) | 0
    h3 ^= Math.imul(rotl(Math.imul(k3, C3), 17), C4)
    h3 = (Math.imul(rotl(h3, 15) + h4, 5) + 0x96cd1c35) | 0
    h4 ^= Math.imul(rotl(Math.imul(k4, C4), 18), C1)
    h4 = (Math.imul(rotl(h4, 13) + h1, 5) + 0x32ac3b17) | 0
  }
  const rest = end - i
  if (rest > 12) h4 ^= Math.imul(rotl(Math.imul(partial(bytes, i + 12, end), C4), 18), C1)
  if (rest > 8) h3 ^= Math.imul(rotl(Math.imul(partial(bytes, i + 8, Math.min(end, i + 12)), C3), 17), C4)
  if (rest > 4) h2 ^= Math.imul(rotl(Math.imul(partial(bytes, i + 4, Math.min(end, i + 8)), C2), 16), C3)
  if (rest > 0) h1 ^= Math.imul(rotl(Math.imul(partial(bytes, i, Math.min(end, i + 4)), C1), 15), C2)
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  h1 = mix(h1)
  h2 = mix(h2)
  h3 = mix(h3)
  h4 = mix(h4)
  h1 = (h1 + h2 + h3 + h4) | 0
  hashed.high = h1
  hashed.low = (h2 + h1) | 0
}

function word(bytes: Uint8Array, i: number): number {
  return (bytes[i] as number) | ((bytes[i + 1] as number) << 8) | ((bytes[i + 2] as number) << 16) | ((bytes[i + 3] as number) << 24)
}

/** The bytes of an unfinished word, little end first. */
function partial(bytes: Uint8Array, from: number, to: number): number {
  let value = 0
  for (let i = to - 1; i >= from; i--) value = (value << 8) | (bytes[i] as number)
  return value
}
