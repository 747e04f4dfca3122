/**
 * What real feeds do to the facts that they carry: send some twice, some in the wrong order, and some bytes that nobody can read. None of it
 * may change any result. Each fault follows from the seed and the fact alone, so a feed that was killed goes on with the same ones.
 */
import { createHash } from 'node:crypto'
import { idOf, type Upstream } from './invoices.ts'

/** A record on its way out. */
export type Delivery =
  | { readonly kind: 'fact' | 'again'; readonly upstream: Upstream }
  /** Bytes under the key of `upstream` that are no fact. */
  | { readonly kind: 'poison'; readonly upstream: Upstream; readonly id: string; readonly bytes: Buffer }

/** A feed without faults. */
export const NO_FAULTS: Pick<Faults, 'take' | 'end'> = { take: (upstream) => [{ kind: 'fact', upstream }], end: () => [] }

const SENT_AGAIN = 0.02
/** How many records later at most. */
const AGAIN_WITHIN = 2_000
const SWAPPED = 0.02
const POISONED = 0.005

export class Faults {
  readonly #seed: number
  #sent = 0
  /** Facts to be sent again, by the number of records sent before them. */
  readonly #again = new Map<number, Upstream>()
  /** Facts that wait for the next one of their key. */
  readonly #overtaken = new Map<string, Upstream>()

  constructor(seed: number) {
    this.#seed = seed
  }

  /** What leaves when this fact comes: nothing perhaps, or several records. */
  take(upstream: Upstream): Delivery[] {
    const out: Delivery[] = []
    const key = `${upstream.contract}/${JSON.stringify(upstream.fact.key)}`
    const overtaken = this.#overtaken.get(key)
    if (overtaken === undefined && this.#drawn(upstream).swapped) this.#overtaken.set(key, upstream)
    else {
      this.#overtaken.delete(key)
      this.#send(upstream, out)
      if (overtaken !== undefined) this.#send(overtaken, out)
    }
    return out
  }

  /** What leaves when no more facts come. */
  end(): Delivery[] {
    const out: Delivery[] = []
    for (const upstream of this.#overtaken.values()) this.#send(upstream, out)
    const later = [...this.#again].sort(([a], [b]) => a - b)
    return [...out, ...later.map(([, upstream]): Delivery => ({ kind: 'again', upstream }))]
  }

  #send(upstream: Upstream, out: Delivery[]): void {
    const { again, poison } = this.#drawn(upstream)
    if (again > 0) this.#again.set(this.#freePlace(this.#sent + again), upstream)
    this.#put({ kind: 'fact', upstream }, out)
    if (poison !== undefined) this.#put({ kind: 'poison', upstream, ...poison }, out)
  }

  /** One fact a place, so that each comes as late as it was drawn, or a little earlier. */
  #freePlace(wanted: number): number {
    let place = wanted
    while (this.#again.has(place) && place > this.#sent + 1) place -= 1
    while (this.#again.has(place)) place += 1
    return place
  }

  #put(delivery: Delivery, out: Delivery[]): void {
    out.push(delivery)
    this.#sent += 1
    for (let next = this.#again.get(this.#sent); next !== undefined; next = this.#again.get(this.#sent)) {
      this.#again.delete(this.#sent)
      out.push({ kind: 'again', upstream: next })
      this.#sent += 1
    }
  }

  #drawn({ row, part }: Upstream): { again: number; swapped: boolean; poison: { id: string; bytes: Buffer } | undefined } {
    const draw = createHash('sha256').update(`${this.#seed}/${row}/${part}`).digest()
    const unit = (word: number): number => draw.readUInt32BE(word * 4) / 2 ** 32
    return {
      again: unit(0) < SENT_AGAIN ? 1 + Math.floor(unit(1) * AGAIN_WITHIN) : 0,
      swapped: unit(2) < SWAPPED,
      poison:
        unit(3) < POISONED ? { id: idOf(this.#seed, row, part, 'poison'), bytes: poisonOf(unit(4) < 0.5, draw.subarray(20)) } : undefined,
    }
  }
}

/** Twelve bytes: no frame at all, or the frame of a schema that nobody has registered. */
function poisonOf(framed: boolean, noise: Buffer): Buffer {
  const bytes = Buffer.from(noise)
  bytes[0] = framed ? 0 : 0xff
  if (framed) bytes.writeUInt32BE(0x7f000000 + noise.readUInt16BE(1), 1)
  return bytes
}
