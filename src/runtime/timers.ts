/**
 * Timers of one keyed step: when to wake it, for which key. A binary heap of their store keys, whose bytes sort by time, then key, then
 * sub-key, so that two runs wake in the same order. Each timer is a row as well, so it survives a restart; setting one twice is setting it once.
 */
import { ByteWriter, binary, fromBinary } from '../base/bytes.ts'
import { escapeInto, storePrefix, unescapeKey } from './rows.ts'

export type TimerKind = 'stream' | 'wall'
const SPACE: Readonly<Record<TimerKind, Buffer>> = { stream: Buffer.from('\x00!t', 'latin1'), wall: Buffer.from('\x00!w', 'latin1') }
/** Times are stored from here on, so that those before 1970 sort before the others. */
const BIAS = 2 ** 52

export interface Timer {
  readonly at: number
  readonly key: Buffer
  readonly sub: string
}

export class TimerQueue {
  /** What the store keys of its timers begin with. */
  readonly prefix: Buffer
  readonly #heap: string[] = []
  readonly #set = new Set<string>()

  constructor(store: number, kind: TimerKind) {
    this.prefix = storePrefix(store, SPACE[kind])
  }

  get size(): number {
    return this.#set.size
  }

  /** The store key of a timer, as a binary text. */
  nameOf(at: number, key: Uint8Array, sub: string): string {
    const writer = new ByteWriter(this.prefix.length + 12 + key.length * 2 + sub.length).put(this.prefix)
    const biased = Math.max(0, Math.min(at + BIAS, Number.MAX_SAFE_INTEGER))
    writer.u32(Math.floor(biased / 2 ** 32)).u32(biased >>> 0)
    writer.reserve(key.length * 2)
    writer.at = escapeInto(writer.buffer, writer.at, key)
    return binary(writer.u8(0).u8(1).put(fromBinary(sub)).view())
  }

  timerOf(name: string): Timer {
    const bytes = fromBinary(name)
    const at = bytes.readUInt32BE(this.prefix.length) * 2 ** 32 + bytes.readUInt32BE(this.prefix.length + 4) - BIAS
    const place = unescapeKey(bytes, this.prefix.length + 8)
    if (place === undefined) throw new TypeError('a timer has a malformed key')
    return { at, ...place }
  }

  /** Adds a timer; false when it is set already. */
  set(name: string): boolean {
    if (this.#set.has(name)) return false
    this.#set.add(name)
    const heap = this.#heap
    let i = heap.push(name) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if ((heap[parent] as string) <= name) break
      heap[i] = heap[parent] as string
      i = parent
    }
    heap[i] = name
    return true
  }

  /** Takes a timer back; false when it is not set. It leaves the heap when its turn comes. */
  cancel(name: string): boolean {
    return this.#set.delete(name)
  }

  /** The first timer due at `now` or before, still set; undefined when there is none. */
  due(now: number): string | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined) return undefined
      if (!this.#set.has(first)) {
        this.#pop()
        continue
      }
      return this.timerOf(first).at <= now ? first : undefined
    }
  }

  /** When the first timer is due; Infinity without one. */
  next(): number {
    while (this.#heap.length > 0 && !this.#set.has(this.#heap[0] as string)) this.#pop()
    const first = this.#heap[0]
    return first === undefined ? Number.POSITIVE_INFINITY : this.timerOf(first).at
  }

  /** Keys with timers due at `now` or before, for loading their rows ahead. */
  *keysDue(now: number): Generator<Buffer> {
    const places = [0]
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      const name = this.#heap[place]
      if (name === undefined) continue
      const { at, key } = this.timerOf(name)
      // What lies below a timer in the heap is not due before it.
      if (at > now) continue
      if (this.#set.has(name)) yield key
      places.push(2 * place + 1, 2 * place + 2)
    }
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as string
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      const left = 2 * i + 1
      if (left >= heap.length) break
      const child = left + 1 < heap.length && (heap[left + 1] as string) < (heap[left] as string) ? left + 1 : left
      if ((heap[child] as string) >= last) break
      heap[i] = heap[child] as string
      i = child
    }
    heap[i] = last
  }
}
