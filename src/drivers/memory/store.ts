/**
 * State in memory, standing in for a disk: what a store held when it was closed is there when the same driver opens it again.
 * It keeps every promise of the port, and refuses every misuse that the driver for real disks refuses, so that a test finds it.
 * It does not survive its process, and `durable` changes nothing.
 *
 * Rows lie twice: by key in a map, for `get`; and their keys in order, in leaves of at most 512, for `range`. A key is a string of one
 * UTF-16 unit a byte, because such strings compare as the bytes do. A new key moves at most one leaf, so 100,000 rows in any order take
 * well under a second; there is no tree above the leaves, because a binary search over the leaves' first keys is enough at that size.
 */
import { binary, fromBinary } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { StateDriver, StateId, StoreBatch, StoreRange, TaskStore } from '../../ports/store.ts'

const LEAF_KEYS = 512

export interface MemoryState extends StateDriver {
  /**
   * Lets go of all stores as the end of their process does: handles that are left answer no more, and a batch that was on its way is there
   * as a whole or not at all.
   */
  crash(): void
}

/**
 * A driver whose stores live as long as it does. Two drivers share nothing.
 * @example const state = memoryState()
 */
export function memoryState(): MemoryState {
  const disks = new Map<string, Disk>()
  const unopened = (id: StateId): string => {
    const name = nameOf(id)
    if (disks.get(name)?.open === true) throw locked(name)
    return name
  }

  return {
    name: 'memory',

    async open(id) {
      const name = unopened(id)
      const disk = disks.get(name) ?? { id: { ...id }, rows: new Rows(), open: false, life: 0 }
      disk.open = true
      disks.set(name, disk)
      return new MemoryStore(disk)
    },

    /** Nobody could look at a copy set aside in here, so none is kept. */
    async quarantine(id) {
      disks.delete(unopened(id))
    },

    async destroy(id) {
      disks.delete(unopened(id))
    },

    async list(app) {
      const ids = [...disks.values()].map(({ id }) => id).filter((id) => id.app === app)
      return ids.sort((a, b) => order(a.stage, b.stage) || a.generation - b.generation || a.partition - b.partition)
    },

    crash() {
      for (const disk of disks.values()) {
        disk.life += 1
        disk.open = false
      }
    },
  }
}

interface Disk {
  readonly id: StateId
  readonly rows: Rows
  open: boolean
  /** How many processes have had it: a handle of an earlier one is dead. */
  life: number
}

const nameOf = ({ app, stage, generation, partition }: StateId): string => `${app}/${stage}-g${generation}/${partition}`
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function locked(name: string): TidemarkError {
  return new TidemarkError('STORE_LOCKED', 'the state of this task is already open', { detail: `"${name}" was opened and not closed.` })
}

class MemoryStore implements TaskStore {
  readonly #disk: Disk
  readonly #life: number
  #writing: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(disk: Disk) {
    this.#disk = disk
    this.#life = disk.life
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#assertOpen()
    const value = this.#disk.rows.get(binary(key))
    return value === undefined ? undefined : Buffer.from(value)
  }

  async range({ from, to, limit }: StoreRange): Promise<(readonly [key: Buffer, value: Buffer])[]> {
    if (!(Number.isInteger(limit) && limit >= 0)) throw new TypeError(`limit must be a whole number from 0, not ${limit}`)
    this.#assertOpen()
    return this.#disk.rows.range(binary(from), to === undefined ? undefined : binary(to), limit)
  }

  async write({ keys, values }: StoreBatch): Promise<void> {
    this.#assertOpen()
    if (this.#writing !== undefined) throw new TypeError('one batch at a time: the write before this one has not resolved')
    if (keys.length !== values.length) throw new TypeError(`a batch has ${keys.length} keys but ${values.length} values`)
    const names: string[] = []
    const copies: (Buffer | null)[] = []
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]
      const value = values[i]
      if (key === undefined || value === undefined) throw new TypeError(`the batch has no key or no value at place ${i}`)
      names.push(binary(key))
      copies.push(value === null ? null : Buffer.from(value))
    }
    // One turn later, as on a real disk: whoever reads without waiting for the batch finds the rows from before it, in tests too.
    this.#writing = Promise.resolve().then(() => {
      this.#assertAlive()
      this.#disk.rows.apply(names, copies)
    })
    await this.#writing
    this.#writing = undefined
  }

  close(): Promise<void> {
    this.#closing ??= Promise.resolve(this.#writing).then(() => {
      if (this.#life === this.#disk.life) this.#disk.open = false
    })
    return this.#closing
  }

  #assertAlive(): void {
    if (this.#life !== this.#disk.life)
      throw new TidemarkError('STORE_CLOSED', 'the process that had this state open has ended', { detail: `"${nameOf(this.#disk.id)}"` })
  }

  #assertOpen(): void {
    this.#assertAlive()
    if (this.#closing === undefined) return
    throw new TidemarkError('STORE_CLOSED', 'the state of this task was closed', { detail: `"${nameOf(this.#disk.id)}"` })
  }
}

/** A sorted map from strings to bytes. Leaves are never empty, but for the only one. */
class Rows {
  readonly #values = new Map<string, Buffer>()
  readonly #leaves: string[][] = [[]]

  get(key: string): Buffer | undefined {
    return this.#values.get(key)
  }

  apply(keys: readonly string[], values: readonly (Buffer | null)[]): void {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string
      const value = values[i] as Buffer | null
      if (value === null) {
        if (this.#values.delete(key)) this.#removeKey(key)
      } else {
        if (!this.#values.has(key)) this.#addKey(key)
        this.#values.set(key, value)
      }
    }
  }

  range(from: string, to: string | undefined, limit: number): [Buffer, Buffer][] {
    const found: [Buffer, Buffer][] = []
    let leafAt = this.#leafOf(from)
    let at = placeOf(this.#leaves[leafAt] as string[], from)
    while (found.length < limit) {
      const leaf = this.#leaves[leafAt]
      if (leaf === undefined) break
      const key = leaf[at++]
      if (key === undefined) {
        leafAt++
        at = 0
        continue
      }
      if (to !== undefined && key >= to) break
      found.push([fromBinary(key), Buffer.from(this.#values.get(key) as Buffer)])
    }
    return found
  }

  #addKey(key: string): void {
    const leafAt = this.#leafOf(key)
    const leaf = this.#leaves[leafAt] as string[]
    leaf.splice(placeOf(leaf, key), 0, key)
    if (leaf.length > LEAF_KEYS) this.#leaves.splice(leafAt + 1, 0, leaf.splice(LEAF_KEYS / 2))
  }

  #removeKey(key: string): void {
    const leafAt = this.#leafOf(key)
    const leaf = this.#leaves[leafAt] as string[]
    leaf.splice(placeOf(leaf, key), 1)
    if (leaf.length === 0 && this.#leaves.length > 1) this.#leaves.splice(leafAt, 1)
  }

  /** The last leaf whose first key is not above `key`, or the first leaf. */
  #leafOf(key: string): number {
    let low = 0
    let high = this.#leaves.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((this.#leaves[middle]?.[0] as string) <= key) low = middle
      else high = middle
    }
    return low
  }
}

/** Where `key` is in a sorted leaf, or would be. */
function placeOf(leaf: readonly string[], key: string): number {
  let low = 0
  let high = leaf.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((leaf[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
