/**
 * The last offset of each key, for one pass of compaction. Keys are kept as they are: a table of hashes alone would take two keys with one
 * hash for one, and compaction would then remove a record that is still the last of its key. A key costs its own bytes and about 26 more.
 */
import { hash64, hashed } from '../../base/murmur.ts'

/** At most this share of the slots is taken. */
const LOAD = 0.7
const ENTRY_BYTES = 16

export class KeyTable {
  private readonly bytesMax: number
  private slots = new Int32Array(1024)
  private offsets = new Float64Array(512)
  private keyAt = new Int32Array(513)
  private keys: Buffer = Buffer.allocUnsafeSlow(16 * 1024)
  private count = 0

  /** @param bytesMax memory that it may take; one batch more is taken where a single one does not fit */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get size(): number {
    return this.count
  }

  /** Whether so many more keys with so many bytes have room. An empty table has room for anything. */
  hasRoom(keys: number, keyBytes: number): boolean {
    if (this.count === 0) return true
    const entries = this.count + keys
    const keysEnd = this.keyAt[this.count] as number
    return entries * ENTRY_BYTES + (entries / LOAD) * 8 + keysEnd + keyBytes <= this.bytesMax
  }

  /** Notes that the key `bytes[at, end)` stands at `offset`. Later calls win. */
  set(bytes: Buffer, at: number, end: number, offset: number): void {
    const slot = this.find(bytes, at, end)
    const found = this.slots[slot] as number
    if (found > 0) {
      this.offsets[found - 1] = offset
      return
    }
    this.add(bytes, at, end, offset)
    this.slots[slot] = this.count
    if (this.count > this.slots.length * LOAD) this.rehash()
  }

  /** The offset of a key, -1 for one that is not there. */
  get(bytes: Buffer, at: number, end: number): number {
    const found = this.slots[this.find(bytes, at, end)] as number
    return found > 0 ? (this.offsets[found - 1] as number) : -1
  }

  clear(): void {
    this.slots.fill(0)
    this.count = 0
  }

  /** The slot of a key, or the free one in which it belongs. */
  private find(bytes: Buffer, at: number, end: number): number {
    const mask = this.slots.length - 1
    hash64(bytes, at, end)
    let slot = (hashed.high ^ hashed.low) & mask
    for (let found = this.slots[slot] as number; found > 0; found = this.slots[slot] as number) {
      if (this.isKey(found - 1, bytes, at, end)) return slot
      slot = (slot + 1) & mask
    }
    return slot
  }

  private isKey(entry: number, bytes: Buffer, at: number, end: number): boolean {
    const from = this.keyAt[entry] as number
    const to = this.keyAt[entry + 1] as number
    return to - from === end - at && this.keys.compare(bytes, at, end, from, to) === 0
  }

  private add(bytes: Buffer, at: number, end: number, offset: number): void {
    const from = this.count === 0 ? 0 : (this.keyAt[this.count] as number)
    const to = from + end - at
    if (to > this.keys.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.keys.length * 2, to))
      this.keys.copy(grown, 0, 0, from)
      this.keys = grown
    }
    if (this.count === this.offsets.length) {
      const offsets = new Float64Array(this.count * 2)
      offsets.set(this.offsets)
      const keyAt = new Int32Array(this.count * 2 + 1)
      keyAt.set(this.keyAt)
      this.offsets = offsets
      this.keyAt = keyAt
    }
    bytes.copy(this.keys, from, at, end)
    this.keyAt[this.count] = from
    this.keyAt[this.count + 1] = to
    this.offsets[this.count] = offset
    this.count++
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 2)
    for (let entry = 0; entry < this.count; entry++) {
      const slot = this.find(this.keys, this.keyAt[entry] as number, this.keyAt[entry + 1] as number)
      this.slots[slot] = entry + 1
    }
  }
}
