/**
 * The keys that a task has in memory, each with its rows of all stores: a record's key is looked up once, and every keyed step behind it
 * finds its rows there. A hash table over key bytes, with the CLOCK ring as its eviction (Corbató 1968): about 350 ns an eviction, where
 * asking a Map for its oldest key costs 10 us.
 *
 * A slot that holds something which is not on disk yet is pinned and never evicted.
 */
import { murmur2 } from '../base/murmur.ts'

/** A row in memory. Mutable, and owned by `state.ts`: steps see it as a `RowView`. */
export class Row {
  readonly slot: KeySlot
  /** Place of its store in the task. */
  readonly store: number
  readonly sub: string
  value: unknown = undefined
  exists = false
  version = 0
  at = 0
  markHigh = 0
  markLow = 0
  /** Differs from what the last sealed commit wrote. */
  dirty = false
  /** Bytes of it, live or tombstone, are on disk or on their way. */
  stored = false
  /** Integrity hash of those bytes. */
  hashHigh = 0
  hashLow = 0
  /** State hash of those bytes, for projections: four words, undefined while it is not known. */
  digest: Int32Array | undefined = undefined
  /** Where the last fact applied to it came from. */
  topic = ''
  partition = 0
  offset = -1
  contractVersion = 0
  appliedAt = 0

  constructor(slot: KeySlot, store: number, sub: string) {
    this.slot = slot
    this.store = store
    this.sub = sub
  }
}

/** The rows of one store under one key. */
export interface KeyRows {
  /** The row with the sub-key ''. */
  main: Row | undefined
  subs: Map<string, Row> | undefined
  /** All its rows are here: for ranged stores. */
  complete: boolean
}

export class KeySlot {
  readonly key: Buffer
  readonly hash: number
  /** By the store's place in the task. */
  readonly rows: (KeyRows | undefined)[]
  /** Rows that are not on disk yet, and batches at hand that need it. */
  pins = 0
  /** Used since the ring's hand last passed. */
  used = true
  /** The next slot in the same bucket of the table. */
  next: KeySlot | undefined = undefined

  constructor(key: Buffer, hash: number, stores: number) {
    this.key = key
    this.hash = hash
    this.rows = new Array<KeyRows | undefined>(stores).fill(undefined)
  }
}

export class KeySlots {
  readonly #stores: number
  /** Slots kept, pinned ones aside. */
  readonly #capacity: number
  #buckets: (KeySlot | undefined)[] = new Array<KeySlot | undefined>(1024).fill(undefined)
  readonly #ring: KeySlot[] = []
  #hand = 0

  constructor(stores: number, capacity: number) {
    this.#stores = stores
    this.#capacity = Math.max(1, capacity)
  }

  get size(): number {
    return this.#ring.length
  }

  /** The slot of the key `bytes[at, end)`, made when it is new. Its key is a copy. */
  of(bytes: Buffer, at: number, end: number): KeySlot {
    const hash = keyHash(bytes, at, end)
    const found = this.#find(hash, bytes, at, end)
    if (found !== undefined) {
      found.used = true
      return found
    }
    return this.#insert(new KeySlot(Buffer.from(bytes.subarray(at, end)), hash, this.#stores))
  }

  /** The slot of a key, if it is in memory. */
  peek(key: Buffer): KeySlot | undefined {
    return this.#find(keyHash(key), key, 0, key.length)
  }

  #find(hash: number, bytes: Buffer, at: number, end: number): KeySlot | undefined {
    const length = end - at
    let slot = this.#buckets[hash & (this.#buckets.length - 1)]
    search: while (slot !== undefined) {
      if (slot.hash === hash && slot.key.length === length) {
        const { key } = slot
        for (let i = 0; i < length; i++) {
          if (key[i] !== bytes[at + i]) {
            slot = slot.next
            continue search
          }
        }
        return slot
      }
      slot = slot.next
    }
    return undefined
  }

  #insert(slot: KeySlot): KeySlot {
    const place = this.#ring.length < this.#capacity ? -1 : this.#victim()
    if (place < 0) this.#ring.push(slot)
    else {
      this.#unlink(this.#ring[place] as KeySlot)
      this.#ring[place] = slot
    }
    // Growing links every slot of the ring anew, this one included.
    if (this.#ring.length > this.#buckets.length) this.#grow()
    else this.#link(slot)
    return slot
  }

  #link(slot: KeySlot): void {
    const bucket = slot.hash & (this.#buckets.length - 1)
    slot.next = this.#buckets[bucket]
    this.#buckets[bucket] = slot
  }

  /** Place in the ring of a slot that may go, or -1 when two rounds found none: then the table grows beyond its capacity for a while. */
  #victim(): number {
    const { length } = this.#ring
    // Most of an overlay is pinned; looking at a bounded stretch keeps the cost of one insertion bounded.
    for (let looked = 0; looked < Math.min(2 * length, 64); looked++) {
      const place = this.#hand
      this.#hand = place + 1 === length ? 0 : place + 1
      const slot = this.#ring[place] as KeySlot
      if (slot.pins > 0) continue
      if (slot.used) slot.used = false
      else return place
    }
    return -1
  }

  #unlink(slot: KeySlot): void {
    const bucket = slot.hash & (this.#buckets.length - 1)
    let at = this.#buckets[bucket]
    if (at === slot) {
      this.#buckets[bucket] = slot.next
      return
    }
    while (at !== undefined && at.next !== slot) at = at.next
    if (at !== undefined) at.next = slot.next
  }

  #grow(): void {
    this.#buckets = new Array<KeySlot | undefined>(this.#buckets.length * 2).fill(undefined)
    for (const slot of this.#ring) this.#link(slot)
  }

  /** Gives back what a large overlay needed beyond the capacity. Called after commits. */
  shrink(): void {
    for (let i = this.#ring.length - 1; i >= 0 && this.#ring.length > this.#capacity; i--) {
      const slot = this.#ring[i] as KeySlot
      if (slot.pins > 0) continue
      this.#unlink(slot)
      const last = this.#ring.pop() as KeySlot
      if (last !== slot) this.#ring[i] = last
    }
    if (this.#hand >= this.#ring.length) this.#hand = 0
  }
}

/**
 * The hash of a key within its task. The same hash that chose the partition would leave only every n-th bucket in use, so its bits are mixed
 * once more.
 */
export function keyHash(key: Uint8Array, start = 0, end: number = key.length): number {
  const hash = murmur2(key, start, end)
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0
}
