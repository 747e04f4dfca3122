/**
 * SHA-256 (FIPS 180-4) in plain TypeScript, synchronous and without a context object: for the short inputs of derived ids, marks
 * and state hashes it costs what one call into `node:crypto` costs, and it keeps the pure layers free of packages.
 * Tested against `node:crypto`.
 */

const K = new Int32Array(64)
const START = new Int32Array(8)

// The constants are the first 32 bits of the fractional parts of the cube and square roots of the first primes (FIPS 180-4, 4.2.2 and 5.3.3).
{
  const fraction = (root: number): number => ((root - Math.floor(root)) * 2 ** 32) | 0
  let found = 0
  for (let n = 2; found < 64; n++) {
    let prime = true
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false
    if (!prime) continue
    if (found < 8) START[found] = fraction(Math.sqrt(n))
    K[found++] = fraction(Math.cbrt(n))
  }
}

const W = new Int32Array(64)
const H = new Int32Array(8)
const tail = Buffer.alloc(128)

function block(bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++) {
    const j = at + i * 4
    W[i] = ((bytes[j] as number) << 24) | ((bytes[j + 1] as number) << 16) | ((bytes[j + 2] as number) << 8) | (bytes[j + 3] as number)
  }
  for (let i = 16; i < 64; i++) {
    const x = W[i - 15] as number
    const y = W[i - 2] as number
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    W[i] = ((W[i - 16] as number) + s0 + (W[i - 7] as number) + s1) | 0
  }
  let a = H[0] as number
  let b = H[1] as number
  let c = H[2] as number
  let d = H[3] as number
  let e = H[4] as number
  let f = H[5] as number
  let g = H[6] as number
  let h = H[7] as number
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (K[i] as number) + (W[i] as number)) | 0
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  H[0] = ((H[0] as number) + a) | 0
  H[1] = ((H[1] as number) + b) | 0
  H[2] = ((H[2] as number) + c) | 0
  H[3] = ((H[3] as number) + d) | 0
  H[4] = ((H[4] as number) + e) | 0
  H[5] = ((H[5] as number) + f) | 0
  H[6] = ((H[6] as number) + g) | 0
  H[7] = ((H[7] as number) + h) | 0
}

/**
 * The SHA-256 of `bytes[start, end)` as eight signed 32-bit words, big end first. The array is reused: it is valid until the next call.
 * @example sha256(Buffer.from('abc'))[0] // 0xba7816bf | 0
 */
export function sha256(bytes: Uint8Array, start = 0, end: number = bytes.length): Int32Array {
  H.set(START)
  let at = start
  for (; at + 64 <= end; at += 64) block(bytes, at)
  const rest = end - at
  const padded = rest < 56 ? 64 : 128
  tail.fill(0, 0, padded)
  for (let i = 0; i < rest; i++) tail[i] = bytes[at + i] as number
  tail[rest] = 0x80
  const bits = (end - start) * 8
  tail.writeUInt32BE(Math.floor(bits / 2 ** 32), padded - 8)
  tail.writeUInt32BE(bits >>> 0, padded - 4)
  block(tail, 0)
  if (padded === 128) block(tail, 64)
  return H
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
let scratch = Buffer.alloc(512)

/** The first 128 bits of the SHA-256 of a text (UTF-8), as 32 lower-case hex digits. */
export function sha256Hex128(text: string): string {
  if (text.length * 3 > scratch.length) scratch = Buffer.alloc(text.length * 3)
  const words = sha256(scratch, 0, scratch.write(text, 0, 'utf8'))
  let hex = ''
  for (let i = 0; i < 4; i++) {
    const w = words[i] as number
    hex += (HEX[w >>> 24] as string) + (HEX[(w >>> 16) & 255] as string) + (HEX[(w >>> 8) & 255] as string) + (HEX[w & 255] as string)
  }
  return hex
}
