/**
 * splitmix64 and the few operations on 64-bit words that go with it, on halves of 32 bits.
 * Good and fast; not for secrets.
 */

/** 64 bits as two signed halves: a draw takes 18 ns, where one of BigInt takes 43 (Node 24). */
export interface Word {
  hi: number
  lo: number
}

/** 2^64 over the golden ratio, made odd: the step between two states of splitmix64. */
export const GOLDEN: bigint = 0x9e3779b97f4a7c15n

/** The lower 64 bits of a number, in two's complement. */
export function wordOf(value: bigint): Word {
  return { hi: Number(BigInt.asIntN(32, value >> 32n)), lo: Number(BigInt.asIntN(32, value)) }
}

/** The high half of the product of two unsigned 32-bit numbers, by halves of halves; no sum in it exceeds 32 bits. */
function multiplyHigh(a: number, b: number): number {
  const al = a & 0xffff
  const ah = a >>> 16
  const bl = b & 0xffff
  const bh = b >>> 16
  const middle = (Math.imul(ah, bl) + (Math.imul(al, bl) >>> 16)) >>> 0
  const low = (Math.imul(al, bh) + (middle & 0xffff)) >>> 0
  return (Math.imul(ah, bh) + (middle >>> 16) + (low >>> 16)) | 0
}

/** The output function of splitmix64: xor with itself shifted, times an odd constant, twice, and a last xor. */
function mix(into: Word, hi: number, lo: number): void {
  lo ^= (lo >>> 30) | (hi << 2)
  hi ^= hi >>> 30
  hi = (multiplyHigh(lo, 0x1ce4e5b9) + Math.imul(hi, 0x1ce4e5b9) + Math.imul(lo, 0xbf58476d)) | 0
  lo = Math.imul(lo, 0x1ce4e5b9)
  lo ^= (lo >>> 27) | (hi << 5)
  hi ^= hi >>> 27
  hi = (multiplyHigh(lo, 0x133111eb) + Math.imul(hi, 0x133111eb) + Math.imul(lo, 0x94d049bb)) | 0
  lo = Math.imul(lo, 0x133111eb)
  into.lo = lo ^ ((lo >>> 31) | (hi << 1))
  into.hi = hi ^ (hi >>> 31)
}

/** Mixes the sum of a word and another given as its halves (each 0 to 2^32 - 1) into `into`, which may be the word itself. */
export function mixSum(into: Word, word: Word, hi: number, lo: number): void {
  const sum = (word.lo >>> 0) + lo
  mix(into, (word.hi + hi + (sum > 0xffffffff ? 1 : 0)) | 0, sum | 0)
}

/** The word, unsigned and shifted to the right by `bits` (0 to 31), modulo `divisor` (to 2^20, so that the sum is exact). */
export function remainder(word: Word, bits: number, divisor: number): number {
  const lo = (word.lo >>> bits) | ((word.hi << 1) << (31 - bits))
  return (((word.hi >>> bits) % divisor) * 2 ** 32 + (lo >>> 0)) % divisor
}

/** splitmix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). */
export class SplitMix64 {
  private readonly state: Word
  private readonly drawn: Word = { hi: 0, lo: 0 }

  constructor(seed: Word) {
    this.state = { hi: seed.hi, lo: seed.lo }
  }

  /** A number in [0, n), for n to 2^31: the upper 31 bits times n, without their lower 31 bits. */
  below(n: number): number {
    this.draw()
    const bits = this.drawn.hi >>> 1
    return Math.floor(((bits >>> 16) * n + Math.floor(((bits & 0xffff) * n) / 0x10000)) / 0x8000)
  }

  /** A number in [0, 1), of the upper 53 bits. */
  unit(): number {
    this.draw()
    return ((this.drawn.hi >>> 0) * 2 ** 21 + (this.drawn.lo >>> 11)) * 2 ** -53
  }

  private draw(): void {
    const { state } = this
    const lo = (state.lo >>> 0) + 0x7f4a7c15
    state.hi = (state.hi + 0x9e3779b9 + (lo > 0xffffffff ? 1 : 0)) | 0
    state.lo = lo | 0
    mix(this.drawn, state.hi, state.lo)
  }
}
