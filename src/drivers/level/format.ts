/** What LevelDB's tables and its logs have in common: numbers of variable length, and checksums. After util/coding.cc and util/crc32c.h of LevelDB. */

/** Numbers as LevelDB writes them, one after the other. */
export class Reader {
  at = 0
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Infinity where there is none. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) break
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
    return Number.POSITIVE_INFINITY
  }
}

/** Checksums are kept turned and moved on: the sum of bytes that hold sums would else be worth little. */
export function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}
