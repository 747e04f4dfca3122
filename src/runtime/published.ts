/**
 * A row of a projection as other contexts see it, on its state topic: a CloudEvent of whoever owns the projection, and a consequence of the fact
 * that was applied last before the commit. What is in it is known at the seal, so nothing of it is kept on disk.
 */
import type { KeyCodec } from '../contract/key.ts'
import { type Enveloped, envelopeBytes } from './envelope.ts'
import type { Row } from './slots.ts'
import type { StoreState } from './store-state.ts'

/** The rows of one projection, one after the other: each call of `headers` describes another. */
export class Published implements Enveloped {
  readonly topic: string
  readonly eventType: string
  readonly source: string
  /** What the rows mean may change with the fold, and whoever changes it raises its revision. */
  readonly contractVersion: number
  id = ''
  partitionKey: string | undefined
  at = 0
  recordedAt = 0
  sequence = 0
  correlationId = ''
  causationId = ''
  readonly #step: string
  readonly #key: KeyCodec<unknown>

  /** @param speaker the context that owns the projection, or the application where none does */
  constructor(store: StoreState, topic: string, speaker: string, row: string, key: KeyCodec<unknown>) {
    this.topic = topic
    // As events of a contract are called: by the short name of their record. So a contract may have the row as its one event.
    this.eventType = `${speaker}.${row.slice(row.lastIndexOf('.') + 1)}`
    this.source = `/${speaker}`
    this.contractVersion = store.plan.revision
    this.#step = store.plan.step
    this.#key = key
  }

  /** The envelope of a row as it is now; valid until the next call. */
  headers(row: Row, now: number): Buffer {
    const { causeId, version, slot } = row
    const key = this.#textOf(slot.key)
    // Another fact, key or version is another id, deletions included, and a replay makes the same ones.
    this.id = `${causeId}/${this.#step}/${key ?? slot.key.toString('hex')}@${version}`
    this.partitionKey = key
    this.at = row.at
    this.recordedAt = now
    this.sequence = version
    this.correlationId = row.correlationId
    this.causationId = causeId
    row.causeId = ''
    row.correlationId = ''
    return envelopeBytes(this, undefined)
  }

  /** A fold may never have looked at its key, so it may be one that cannot be read. */
  #textOf(key: Buffer): string | undefined {
    try {
      return this.#key.toText(this.#key.decode(key, 0, key.length)) || undefined
    } catch {
      return undefined
    }
  }
}
