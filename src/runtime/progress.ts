/**
 * Progress: control records that a task writes to the inboxes it feeds, so that what follows an inbox knows, on every worker, how far the sources
 * behind it have come. A record without a key, with `tm_kind: progress`; its value lists ways, positions and times (`heard.ts`).
 *
 * A task tells when it is opened, and then whenever its positions have moved, once a second at most; of the sources behind an inbox that it
 * reads, whatever it hears, with the commit that takes it there, so that no crash can come between. Where nothing moves nothing is
 * written: that an idle source has nothing new is found by whoever wants to know (`soundings.ts`).
 */
import { ByteWriter } from '../base/bytes.ts'
import { HEADER } from '../contract/envelope.ts'
import type { PartitionName } from '../ports/log.ts'
import { encodeHeaders } from '../ports/record-batch/index.ts'
import { leastOf, PROGRESS_FORMAT, type SourceProgress, type Way, wayThrough } from './heard.ts'
import type { Input } from './input.ts'
import type { Outbox } from './outbox.ts'

const PROGRESS = encodeHeaders([{ name: HEADER.kind, value: Buffer.from('progress') }])

/** Up to when all facts of a source have been processed by one who stands at a position, ms; undefined while nobody can say. */
export type Reached = (partition: PartitionName, position: number, recordedAt: number | undefined) => number | undefined

export class Progress {
  /** Inboxes that the stage feeds, with their partitions. */
  readonly #inboxes: readonly { readonly topic: string; readonly partitions: number }[]
  readonly #everyMs: number
  #announcedAt = Number.NEGATIVE_INFINITY
  /** Positions in the sources as they were told last. */
  readonly #told = new Map<PartitionName, number>()

  constructor(inboxes: readonly { readonly topic: string; readonly partitions: number }[], everyMs: number) {
    this.#inboxes = inboxes
    this.#everyMs = everyMs
  }

  /** Whether there is something to tell, and it is time to. */
  due(inputs: readonly Input[], now: number): boolean {
    if (this.#inboxes.length === 0) return false
    if (inputs.some(({ heard }) => heard?.news === true)) return true
    const since = now - this.#announcedAt
    // A clock that was set back must not keep it silent.
    if (since >= 0 && since < this.#everyMs) return false
    return inputs.some(({ heard, parts, position }) => heard === undefined && this.#told.get(parts.partition) !== position)
  }

  /** Adds a progress record to every inbox partition, if it is due. It follows the facts it speaks of, in the same commit. */
  announce(outbox: Outbox, inputs: readonly Input[], reached: Reached, now: number): void {
    if (!this.due(inputs, now)) return
    const entries = new Map<Way, SourceProgress>()
    for (const { heard, parts, position, recordedAt } of inputs) {
      const { partition } = parts
      if (heard === undefined) {
        entries.set(partition, { position, through: reached(partition, position, recordedAt) })
        this.#told.set(partition, position)
        this.#announcedAt = now
        continue
      }
      for (const [source, ways] of heard.ways) {
        const least = leastOf(heard.told, ways)
        if (least !== undefined) entries.set(wayThrough(partition, source), least)
      }
      heard.taken()
    }
    if (entries.size === 0) return
    const value = new ByteWriter(128).u8(PROGRESS_FORMAT).varint(now).uvarint(entries.size)
    for (const [way, { position, through }] of entries)
      value
        .text(way)
        .uvarint(position)
        .varint(through ?? -1)
    const bytes = value.bytes()
    for (const { topic, partitions } of this.#inboxes) {
      for (let partition = 0; partition < partitions; partition++) outbox.put(topic, partition, now, null, bytes, PROGRESS)
    }
  }
}
