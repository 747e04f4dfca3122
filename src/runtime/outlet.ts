/**
 * Where a step puts what goes on. What it puts waits until the step has returned and is then handed to its successors, one after the other
 * and depth first, so records keep their order; if the step throws, it is dropped.
 */
import { EMPTY } from '../base/bytes.ts'
import { plausibleTime } from '../base/time.ts'
import type { Out } from '../topology/node.ts'
import { type Flavour, Rec } from './record.ts'
import type { KeySlot } from './slots.ts'
import type { Waits } from './waits.ts'

/** Something that takes records: a step, or the end of a stage. */
export interface Taker {
  /** Whether it needs the value as bytes. */
  readonly writes: boolean
  take(rec: Rec, input: number): void
}

export interface Edge {
  readonly to: Taker
  readonly input: number
}

export class Outlet implements Out {
  /** Who makes what this step makes: the step, and the number of the next record of an invocation. */
  readonly #maker: { readonly step: string; index: number }
  readonly #topic: string
  /** Successors by output. */
  readonly #edges: readonly (readonly Edge[])[]
  readonly #flavour: Flavour
  readonly #waits: Waits
  /** Records that this step made, reused for the next invocation; one that waits is never reused. */
  readonly #pool: Rec[] = []
  #pooled = 0
  /** What waits: almost always one record, which lies here; others lie in the arrays, from place 1 on. */
  #first: Rec | undefined
  #firstPort = 0
  readonly #waiting: Rec[] = []
  readonly #ports: number[] = []
  #count = 0
  /** Whether values that go on are needed as bytes further on. */
  readonly writes: boolean
  readonly #keepsKey: boolean
  #cause: Rec | undefined
  #slot: KeySlot | undefined

  /** @param keepsKey the step has state by key and does not say that it changes keys: a fact under another key is a mistake */
  constructor(step: string, topic: string, edges: readonly (readonly Edge[])[], flavour: Flavour, keepsKey: boolean, waits: Waits) {
    this.#waits = waits
    this.#keepsKey = keepsKey
    this.#maker = { step, index: 0 }
    this.#topic = topic
    this.#edges = edges
    this.#flavour = flavour
    this.writes = flavour.value !== undefined && edges.some((port) => port.some((edge) => edge.to.writes))
  }

  /** The one successor of a step that has no other. */
  get only(): Edge | undefined {
    const [edges, ...more] = this.#edges
    return edges?.length === 1 && more.length === 0 ? edges[0] : undefined
  }

  /** Begins an invocation. A timer has no cause: what it derives is derived from the key and the time. */
  begin(cause: Rec, slot: KeySlot | undefined): void {
    this.#cause = cause
    this.#slot = slot
    this.#maker.index = 0
  }

  same(port = 0): void {
    this.#put(this.#cause as Rec, port)
  }

  value(value: unknown, port = 0): void {
    const rec = this.#make()
    rec.reshape(this.#cause as Rec, this.#flavour, this.#maker, value)
    this.#maker.index += 1
    if (this.writes) rec.write()
    this.#put(rec, port)
  }

  empty(): void {
    const rec = this.#make()
    rec.reshape(this.#cause as Rec, this.#flavour, this.#maker)
    this.#maker.index += 1
    this.#put(rec, 0)
  }

  keyed(key: unknown): void {
    const rec = this.#make()
    rec.rekey(this.#cause as Rec, this.#flavour, this.#maker, key)
    this.#maker.index += 1
    this.#put(rec, 0)
  }

  fact(key: unknown, value: unknown, at?: number): void {
    const cause = this.#cause as Rec
    if (at !== undefined && !plausibleTime(at)) throw new TypeError(`step "${this.#maker.step}" sends a fact of time ${at}`)
    const rec = this.#make()
    rec.derive(cause, this.#flavour, this.#maker, { key, value, at: at ?? cause.at })
    this.#maker.index += 1
    if (this.#keepsKey && this.#slot !== undefined && !this.#slot.key.equals(rec.keyBytes() ?? EMPTY)) {
      throw new TypeError(
        `step "${this.#maker.step}" sends a fact under another key: say rekeys: true, and put an inbox before state by that key`,
      )
    }
    if (this.writes) rec.write()
    this.#put(rec, 0)
  }

  kept(bytes: Uint8Array): void {
    const rec = this.#make()
    rec.restore(bytes, this.#slot as KeySlot, this.#topic, this.#flavour)
    this.#put(rec, 0)
  }

  /** Drops what waits. The arrays keep their memory for the next invocation. */
  drop(): void {
    this.#count = 0
    this.#pooled = 0
  }

  /** Hands on a record as it is, past all waiting: for steps that only let records pass. */
  pass(rec: Rec): void {
    this.#hand(rec, 0, 0)
  }

  /** Hands on what waits. */
  flush(): void {
    if (this.#count > 0) this.#flushFrom(0)
  }

  #flushFrom(from: number): void {
    const count = this.#count
    for (let i = from; i < count; i++) {
      if (i === 0) this.#hand(this.#first as Rec, this.#firstPort, 0)
      else this.#hand(this.#waiting[i] as Rec, this.#ports[i] as number, 0)
      if (i + 1 < count && this.#waits.waiting) {
        this.#flushLater(i + 1)
        return
      }
    }
    this.drop()
  }

  #hand(rec: Rec, port: number, from: number): void {
    const edges = this.#edges[port]
    if (edges === undefined) return
    for (let i = from; i < edges.length; i++) {
      const edge = edges[i] as Edge
      edge.to.take(rec, edge.input)
      if (i + 1 < edges.length && this.#waits.waiting) {
        this.#handLater(rec, port, i + 1)
        return
      }
    }
  }

  // Methods of their own, because a function that makes a closure somewhere pays for it at every call.
  #flushLater(from: number): void {
    this.#waits.then(() => this.#flushFrom(from))
  }
  #handLater(rec: Rec, port: number, from: number): void {
    this.#waits.then(() => this.#hand(rec, port, from))
  }

  #make(): Rec {
    const rec = this.#pool[this.#pooled] ?? new Rec()
    this.#pool[this.#pooled++] = rec
    return rec
  }

  #put(rec: Rec, port: number): void {
    if (this.#count === 0) {
      this.#first = rec
      this.#firstPort = port
    } else {
      this.#waiting[this.#count] = rec
      this.#ports[this.#count] = port
    }
    this.#count += 1
  }
}
