/**
 * Sums that prove a store: kept per key range, changed in the same batch as the rows, so that comparing two stores is comparing sums.
 *
 *  - the integrity sum adds up the 64-bit hashes of all rows, tombstones and operators' rows included: a scrub that finds another sum has
 *    found a flipped key or a lost row, which no read of a single row can notice;
 *  - the state hash of a projection adds up SHA-256/128 over live rows (key, payload without schema id, version): two projections with
 *    equal state hashes hold the same rows, however they came about and over however many partitions they lie.
 */
import { type ByteReader, type ByteWriter, uvarintLength, writeUvarint } from '../base/bytes.ts'
import { sha256 } from '../base/sha256.ts'

export const RANGES = 16
/** Words a range: rows, integrity sum (2), state hash (4). */
const WORDS = 7

/** The range of a key: by the highest bits of its slot's hash. */
export function rangeOf(hash: number): number {
  return hash >>> 28
}

export class Sums {
  readonly words: Uint32Array = new Uint32Array(RANGES * WORDS)

  /** Adds a row's integrity hash, or takes it away. */
  row(range: number, high: number, low: number, sign: 1 | -1): void {
    const at = range * WORDS
    this.words[at] = (this.words[at] as number) + sign
    const lower = (this.words[at + 2] as number) + sign * (low >>> 0)
    this.words[at + 2] = lower
    this.words[at + 1] = (this.words[at + 1] as number) + sign * (high >>> 0) + Math.floor(lower / 2 ** 32)
  }

  /** Adds a live row's digest, or takes it away. */
  digest(range: number, digest: Int32Array, sign: 1 | -1): void {
    const at = range * WORDS + 3
    let carry = 0
    for (let i = 3; i >= 0; i--) {
      const sum = (this.words[at + i] as number) + sign * ((digest[i] as number) >>> 0) + carry
      this.words[at + i] = sum
      carry = Math.floor(sum / 2 ** 32)
    }
  }

  /** Rows, tombstones included. */
  get rows(): number {
    let rows = 0
    for (let range = 0; range < RANGES; range++) rows += this.words[range * WORDS] as number
    return rows
  }

  write(into: ByteWriter): void {
    for (const word of this.words) into.u32(word)
  }

  read(from: ByteReader): void {
    for (let i = 0; i < this.words.length; i++) this.words[i] = from.u32()
  }

  /** Ranges in which two stores differ. */
  difference(other: Sums): number[] {
    const ranges: number[] = []
    for (let range = 0; range < RANGES; range++) {
      const at = range * WORDS
      if (this.words.subarray(at, at + WORDS).some((word, i) => word !== other.words[at + i])) ranges.push(range)
    }
    return ranges
  }
}

/** The state hash of several partitions together, as 32 hex digits. */
export function stateHash(all: readonly Sums[]): string {
  const total = new Uint32Array(4)
  for (const { words } of all) {
    for (let range = 0; range < RANGES; range++) {
      let carry = 0
      for (let i = 3; i >= 0; i--) {
        const sum = (total[i] as number) + (words[range * WORDS + 3 + i] as number) + carry
        total[i] = sum
        carry = Math.floor(sum / 2 ** 32)
      }
    }
  }
  return [...total].map((word) => word.toString(16).padStart(8, '0')).join('')
}

let scratch = Buffer.allocUnsafe(1024)

/** SHA-256/128 over a live row: key, version, payload after its schema id. Four words, in `into` where that is given. */
export function digestOf(
  key: Uint8Array,
  version: number,
  bytes: Uint8Array,
  payloadAt: number,
  payloadEnd: number,
  into: Int32Array = new Int32Array(4),
): Int32Array {
  const length = uvarintLength(key.length) + key.length + uvarintLength(version) + (payloadEnd - payloadAt)
  if (length > scratch.length) scratch = Buffer.allocUnsafe(length * 2)
  let at = writeUvarint(scratch, 0, key.length)
  scratch.set(key, at)
  at = writeUvarint(scratch, at + key.length, version)
  for (let i = payloadAt; i < payloadEnd; i++) scratch[at++] = bytes[i] as number
  const words = sha256(scratch, 0, length)
  for (let i = 0; i < 4; i++) into[i] = words[i] as number
  return into
}
