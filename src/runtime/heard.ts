/**
 * What the control records of an inbox have told about the sources behind it: up to which position each has come through, and up to which time.
 *
 * A fact comes into an inbox by one way, which is named by the source partition that it lies in; or, where it has passed another inbox
 * before, by the partition of that and the source partition. Where several ways lead from a source, the one that has brought least decides.
 */
import { ByteReader } from '../base/bytes.ts'
import type { PartitionName } from '../ports/log.ts'
import type { Rec } from './record.ts'

/** A source partition, or an inbox partition and a source partition with a space between. */
export type Way = string

/** All ways by which the facts of each source partition come into an inbox. */
export type Ways = ReadonlyMap<PartitionName, readonly Way[]>

/** How far one source partition has come. */
export interface SourceProgress {
  /** All records before it have come through. */
  readonly position: number
  /** All facts that were recorded before it have come through, ms; undefined while nobody could say. */
  readonly through: number | undefined
}

export const PROGRESS_FORMAT = 1

/** The way through an inbox partition of what comes from a source partition. */
export function wayThrough(inbox: PartitionName, source: PartitionName): Way {
  return `${inbox} ${source}`
}

export class Heard {
  readonly ways: Ways
  readonly #known: ReadonlySet<Way>
  #told: Map<Way, SourceProgress>
  /** Somebody else holds `told`: the next change makes a new one. */
  #lent = false
  /** Something was heard since the last `taken`. */
  #news: boolean

  /** @param told as of the last commit */
  constructor(ways: Ways, told: ReadonlyMap<Way, SourceProgress> = new Map()) {
    this.ways = ways
    this.#known = new Set([...ways.values()].flat())
    this.#told = new Map([...told].filter(([way]) => this.#known.has(way)))
    this.#news = told.size > 0
  }

  /** What is known of each way; does not change any more. */
  get told(): ReadonlyMap<Way, SourceProgress> {
    this.#lent = true
    return this.#told
  }

  get news(): boolean {
    return this.#news
  }

  /** What was heard has been passed on. */
  taken(): void {
    this.#news = false
  }

  /** Reads a control record of the inbox; kinds that it does not know are for later versions and mean nothing here. */
  read(rec: Rec): void {
    if (rec.open().text('kind') !== 'progress') return
    for (const [way, { position, through }] of progressIn(rec.valueBytes())) if (this.#known.has(way)) this.#hear(way, position, through)
  }

  #hear(way: Way, position: number, through: number | undefined): void {
    const before = this.#told.get(way)
    // Who reads a source again after a failure knows less than who read it first, but what has come through has.
    const best = before?.through !== undefined && !(through !== undefined && through > before.through) ? before.through : through
    if (before?.position === position && before.through === best) return
    if (this.#lent) this.#told = new Map(this.#told)
    this.#lent = false
    this.#told.set(way, { position, through: best })
    this.#news = true
  }
}

/** What a progress record says; of one that is damaged what comes before that, and nothing of a format that is not known. */
export function progressIn(bytes: Buffer | null): ReadonlyMap<Way, SourceProgress> {
  const said = new Map<Way, SourceProgress>()
  if (bytes === null || bytes[0] !== PROGRESS_FORMAT) return said
  const from = new ByteReader(bytes, 1)
  from.varint()
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) {
    const way = from.text()
    const position = from.uvarint()
    const through = from.varint()
    if (!from.bad) said.set(way, { position, through: through < 0 ? undefined : through })
  }
  return said
}

/** How far a source has come by all its ways; undefined while one of them has told nothing. */
export function leastOf(told: ReadonlyMap<Way, SourceProgress>, ways: readonly Way[]): SourceProgress | undefined {
  let least: SourceProgress | undefined
  for (const way of ways) {
    const each = told.get(way)
    if (each === undefined) return undefined
    if (least === undefined) least = each
    else {
      const through = least.through === undefined || each.through === undefined ? undefined : Math.min(least.through, each.through)
      least = { position: Math.min(least.position, each.position), through }
    }
  }
  return least
}
