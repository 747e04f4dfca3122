/**
 * The keys that a task has in memory, each with its rows of all stores: a record's key is looked up once, and every keyed step behind it
 * finds its rows there. A hash table over key bytes (open addressing, so that a miss touches one array and no object), with the CLOCK ring as
 * its eviction (Corbató 1968): about 350 ns an eviction, where asking a Map for its oldest key costs 10 us.
 *
 * A slot that holds something which is not on disk yet is pinned and never evicted.
 *
 * How many keys are worth their memory is for the records to say. Where each key has its time and is then done with, a small ring is faster than
 * a large one; where a few more keys are in use than it has places, every row is read from disk again. So the ring begins small, remembers the
 * hashes of keys that had to go, and takes more places when many of those come back (as the ghosts of ARC do: Megiddo and Modha 2003).
 */
import { murmur2 } from '../base/murmur.ts'
import type { Holding } from '../topology/node.ts'

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
  /** What those bytes say is held of the key: of main rows, in stores of steps that hold facts. */
  holding: Holding | undefined = undefined
  /** For rows of projections: where the last fact applied came from, and when it was. */
  topic = ''
  partition = 0
  offset = -1
  contractVersion = 0
  appliedAt = 0
  /** For rows that are published: ids of the last fact applied and of its conversation, until the next commit has been sealed. Not on disk. */
  causeId = ''
  correlationId = ''

  constructor(slot: KeySlot, store: number, sub: string) {
    this.slot = slot
    this.store = store
    this.sub = sub
  }
}

/** The rows of one store under one key that have a sub-key. Mostly one or two, as in neighbouring time buckets: those need no map. */
export class SubRows {
  /** All rows of the key are in memory: for ranged stores. */
  complete = false
  #first: Row | undefined
  #second: Row | undefined
  #more: Map<string, Row> | undefined

  get(sub: string): Row | undefined {
    if (this.#first?.sub === sub) return this.#first
    return this.#second?.sub === sub ? this.#second : this.#more?.get(sub)
  }

  add(row: Row): void {
    if (this.#first === undefined) this.#first = row
    else if (this.#second === undefined) this.#second = row
    else {
      this.#more ??= new Map()
      this.#more.set(row.sub, row)
    }
  }

  get size(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#second === undefined ? 0 : 1) + (this.#more?.size ?? 0)
  }

  /** Lets go of a row that is on disk as it is here. */
  drop(row: Row): void {
    if (this.#first === row) this.#first = undefined
    else if (this.#second === row) this.#second = undefined
    else if (this.#more?.get(row.sub) === row) this.#more.delete(row.sub)
  }

  *[Symbol.iterator](): Generator<Row> {
    if (this.#first !== undefined) yield this.#first
    if (this.#second !== undefined) yield this.#second
    if (this.#more !== undefined) yield* this.#more.values()
  }
}

export class KeySlot {
  readonly key: Buffer
  readonly hash: number
  /** Main rows, with the sub-key '', by the store's place in the task. */
  readonly mains: (Row | undefined)[]
  /** Other rows, by the store's place in the task. */
  readonly subs: (SubRows | undefined)[]
  /** Rows that are not on disk yet, and batches at hand that need it. */
  pins = 0
  /** Used since the ring's hand last passed. */
  used = true
  /** It had to go, and its key may have another slot by now: whoever still holds this one must ask for its key again. */
  gone = false

  constructor(key: Buffer, hash: number, stores: number) {
    this.key = key
    this.hash = hash
    // A slot is made for each new key: Array.from takes several times as long.
    // oxlint-disable-next-line unicorn/no-new-array
    this.mains = new Array<Row | undefined>(stores).fill(undefined)
    // oxlint-disable-next-line unicorn/no-new-array
    this.subs = new Array<SubRows | undefined>(stores).fill(undefined)
  }

  subsOf(store: number): SubRows {
    let subs = this.subs[store]
    if (subs === undefined) {
      subs = new SubRows()
      this.subs[store] = subs
    }
    return subs
  }
}

const FREE = -1
/** Slots that an insertion looks at for one that may go. */
const LOOK_MAX = 64
/** One in so many keys asked for had gone a short while ago: then the ring is too small. */
const RETURNING = 16

/** How many keys a task may have in memory, pinned ones aside. */
export interface Room {
  readonly first: number
  /** What it may grow to; not below `first`. */
  readonly most: number
  /** Places beyond their `first` that all tasks of the process have left between them. */
  readonly shared: { left: number }
}

/** For whoever keeps nothing. */
export const ROOM_OF_ONE: Room = { first: 1, most: 1, shared: { left: 0 } }

export class KeySlots {
  readonly #stores: number
  readonly #room: Room
  /** Slots kept, pinned ones aside. */
  #capacity: number
  /** The ring, and by the same place the hash of each key. */
  readonly #ring: KeySlot[] = []
  #hashes = new Uint32Array(512)
  /** Places in the ring, by hash and linear probing; twice as many as the ring can have. */
  #table = new Int32Array(1024).fill(FREE)
  #hand = 0
  /** Hashes of keys that had to go, each in the place that the hash says, until another takes it. Made when the first one goes. */
  #ghosts: Uint32Array | undefined
  /** Keys asked for, and those among them that had gone, since the room was last thought about. */
  #asked = 0
  #returned = 0

  constructor(stores: number, room: Room) {
    this.#stores = stores
    this.#room = room
    this.#capacity = room.first
  }

  get size(): number {
    return this.#ring.length
  }

  /** How many keys it keeps now, pinned ones aside. */
  get capacity(): number {
    return this.#capacity
  }

  /** Gives its share of the common room back. */
  close(): void {
    this.#room.shared.left += this.#capacity - this.#room.first
    this.#capacity = this.#room.first
  }

  /** The slot of the key `bytes[at, end)`, made when it is new. Its key is a copy. */
  of(bytes: Buffer, at: number, end: number): KeySlot {
    const hash = keyHash(bytes, at, end)
    const place = this.#find(hash, bytes, at, end)
    this.#asked++
    if (place !== FREE) {
      const slot = this.#ring[place] as KeySlot
      slot.used = true
      return slot
    }
    return this.#insert(new KeySlot(Buffer.from(bytes.subarray(at, end)), hash, this.#stores))
  }

  /** The slot of a key, if it is in memory. */
  peek(key: Buffer): KeySlot | undefined {
    const place = this.#find(keyHash(key), key, 0, key.length)
    return place === FREE ? undefined : this.#ring[place]
  }

  /** Place in the ring, or FREE. */
  #find(hash: number, bytes: Buffer, at: number, end: number): number {
    const table = this.#table
    const mask = table.length - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const place = table[i] as number
      if (place === FREE) return FREE
      if (this.#hashes[place] === hash && sameKey((this.#ring[place] as KeySlot).key, bytes, at, end)) return place
    }
  }

  #insert(slot: KeySlot): KeySlot {
    const ghosts = this.#ghosts
    if (ghosts !== undefined && ghosts[slot.hash & (ghosts.length - 1)] === slot.hash) this.#returned++
    let place = this.#ring.length < this.#capacity ? FREE : this.#victim()
    if (place === FREE) {
      place = this.#ring.length
      if (place === this.#hashes.length) this.#grow()
    } else {
      this.#unlink(place)
      this.#letGo(this.#ring[place] as KeySlot)
    }
    this.#ring[place] = slot
    this.#hashes[place] = slot.hash
    this.#link(place)
    return slot
  }

  #link(place: number): void {
    const table = this.#table
    const mask = table.length - 1
    let i = (this.#hashes[place] as number) & mask
    while (table[i] !== FREE) i = (i + 1) & mask
    table[i] = place
  }

  /** Takes a place out of the table, and moves up what probing would no longer find (Knuth, vol. 3, 6.4, algorithm R). */
  #unlink(place: number): void {
    const table = this.#table
    const mask = table.length - 1
    let hole = (this.#hashes[place] as number) & mask
    while (table[hole] !== place) hole = (hole + 1) & mask
    for (let i = (hole + 1) & mask; table[i] !== FREE; i = (i + 1) & mask) {
      const home = (this.#hashes[table[i] as number] as number) & mask
      // It may move to the hole unless its home lies between the hole and where it is.
      if (hole <= i ? hole < home && home <= i : hole < home || home <= i) continue
      table[hole] = table[i] as number
      hole = i
    }
    table[hole] = FREE
  }

  /** Place of a slot that may go, or FREE when none was found: then the ring grows beyond its capacity for a while. */
  #victim(): number {
    const { length } = this.#ring
    // Most of an overlay is pinned; looking at a bounded stretch keeps the cost of one insertion bounded.
    for (let looked = 0; looked < Math.min(2 * length, LOOK_MAX); looked++) {
      const place = this.#hand
      this.#hand = place + 1 === length ? 0 : place + 1
      const slot = this.#ring[place] as KeySlot
      if (slot.pins > 0) continue
      if (slot.used) slot.used = false
      else return place
    }
    return FREE
  }

  #grow(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2)
    hashes.set(this.#hashes)
    this.#hashes = hashes
    this.#table = new Int32Array(this.#table.length * 2).fill(FREE)
    for (let place = 0; place < this.#ring.length; place++) this.#link(place)
  }

  #letGo(slot: KeySlot): void {
    slot.gone = true
    const { most } = this.#room
    if (this.#capacity >= most) return
    this.#ghosts ??= new Uint32Array(2 ** Math.ceil(Math.log2(most)))
    this.#ghosts[slot.hash & (this.#ghosts.length - 1)] = slot.hash
  }

  /** Takes more room when many keys that had to go were wanted again, else gives back what a large overlay needed. Called after commits. */
  settle(): void {
    if (this.#asked >= this.#capacity) {
      const { most, shared } = this.#room
      if (this.#returned * RETURNING >= this.#asked) {
        const more = Math.max(0, Math.min(this.#capacity, most - this.#capacity, shared.left))
        this.#capacity += more
        shared.left -= more
        // Whoever comes back from here on had to go although there was that room.
        if (this.#capacity < most) this.#ghosts?.fill(0)
        else this.#ghosts = undefined
      }
      this.#asked = 0
      this.#returned = 0
    }
    this.#shrink()
  }

  #shrink(): void {
    for (let place = this.#ring.length - 1; place >= 0 && this.#ring.length > this.#capacity; place--) {
      const slot = this.#ring[place] as KeySlot
      if (slot.pins > 0) continue
      this.#unlink(place)
      this.#letGo(slot)
      const last = this.#ring.length - 1
      if (place !== last) {
        this.#unlink(last)
        this.#ring[place] = this.#ring[last] as KeySlot
        this.#hashes[place] = this.#hashes[last] as number
        this.#link(place)
      }
      this.#ring.pop()
    }
    if (this.#hand >= this.#ring.length) this.#hand = 0
  }
}

function sameKey(key: Buffer, bytes: Buffer, at: number, end: number): boolean {
  const { length } = key
  if (length !== end - at) return false
  for (let i = 0; i < length; i++) if (key[i] !== bytes[at + i]) return false
  return true
}

/**
 * The hash of a key within its task. The same hash that chose the partition would leave only every n-th bucket in use, so its bits are mixed
 * once more.
 */
export function keyHash(key: Uint8Array, start = 0, end: number = key.length): number {
  const hash = murmur2(key, start, end)
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0
}
