/**
 * Progress: control records that a stage writes to the inboxes it feeds, so that what follows an inbox knows how far the sources behind it
 * are. A record without a key, with `tm_kind: progress`; its value lists source partitions, positions and recorded times.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HEADER } from '../contract/envelope.ts'
import type { PartitionName, Positions } from '../ports/log.ts'
import { encodeHeaders } from '../ports/record-batch/index.ts'
import type { Outbox } from './outbox.ts'
import type { Rec } from './record.ts'

const FORMAT = 1
const PROGRESS = encodeHeaders([{ name: HEADER.kind, value: Buffer.from('progress') }])

/** How far one source partition has come through an inbox. */
export interface SourceProgress {
  readonly position: number
  /** Facts recorded before this have all come through, ms. */
  readonly recordedAt: number
}

export class Progress {
  /** Inboxes that the stage feeds, with their partitions. */
  readonly #inboxes: readonly { readonly topic: string; readonly partitions: number }[]
  readonly #everyMs: number
  #announcedAt = Number.NEGATIVE_INFINITY
  /** What came through the inbox that the stage reads, by source partition. */
  readonly seen: Map<PartitionName, SourceProgress> = new Map()

  constructor(inboxes: readonly { readonly topic: string; readonly partitions: number }[], everyMs: number) {
    this.#inboxes = inboxes
    this.#everyMs = everyMs
  }

  /** Adds a progress record to every inbox partition, once in a while. It follows the facts it speaks of, in the same transaction. */
  announce(outbox: Outbox, positions: Positions, recorded: ReadonlyMap<PartitionName, number>, now: number): void {
    if (this.#inboxes.length === 0 || now - this.#announcedAt < this.#everyMs) return
    this.#announcedAt = now
    const value = new ByteWriter(128).u8(FORMAT).varint(now).uvarint(positions.size)
    for (const [partition, position] of positions)
      value
        .text(partition)
        .uvarint(position)
        .varint(recorded.get(partition) ?? -1)
    const bytes = value.bytes()
    for (const { topic, partitions } of this.#inboxes) {
      for (let partition = 0; partition < partitions; partition++) outbox.put(topic, partition, now, null, bytes, PROGRESS)
    }
  }

  /** Reads a control record of the inbox; kinds that it does not know are for later versions and mean nothing here. */
  take(rec: Rec): void {
    if (rec.open().text('kind') !== 'progress') return
    const bytes = rec.valueBytes()
    if (bytes === null || bytes[0] !== FORMAT) return
    const from = new ByteReader(bytes, 1)
    from.varint()
    for (let left = from.uvarint(); left > 0 && !from.bad; left--) {
      const partition = from.text()
      const position = from.uvarint()
      const recordedAt = from.varint()
      if (!from.bad) this.seen.set(partition, { position, recordedAt })
    }
  }
}
