/**
 * The schemas that records may name by id, asked for once and kept. Shared by all codecs of one process.
 *
 * An id that the source does not have is remembered as unknown for `UNKNOWN_MS`, so a flood of records with wrong ids costs the source
 * one question an id and minute. A source that fails is not remembered: the records behind it are good, and the caller asks again.
 */
import type { AvroSchema, AvroType } from '../../base/avro.ts'
import { canonicalSchema } from '../../base/avro-canonical.ts'
import { readSchema } from '../../base/avro-read.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { SchemaSource } from '../../ports/serde.ts'
import { type Scannable, scannable } from './scan.ts'
import { type AvscType, avscType } from './types.ts'

/** How long an id stays unknown. */
export const UNKNOWN_MS = 60_000
/** Ids remembered as unknown; beyond it the oldest is forgotten. */
const UNKNOWN_MAX = 10_000
/** Questions to the source at one time. */
const ASKED_MAX = 8

/** A schema that a record was written with, ready to be read, or why it is refused. */
export type Written =
  | { readonly type: AvroType; readonly avsc: AvscType; readonly scan: Scannable; readonly canonical: string }
  | { readonly refused: TidemarkError }

/** @throws TidemarkError SCHEMA_INVALID */
export function written(schema: AvroSchema): Written & { readonly type: AvroType } {
  const type = readSchema(schema)
  return { type, avsc: avscType(type, { big: false }), scan: scannable(type), canonical: canonicalSchema(schema) }
}

export class KnownSchemas {
  private readonly source: SchemaSource
  private readonly now: (() => number) | undefined
  private readonly known = new Map<number, Written>()
  private readonly unknownUntil = new Map<number, number>()
  private readonly asking = new Map<number, Promise<void>>()

  constructor(source: SchemaSource, now: (() => number) | undefined) {
    this.source = source
    this.now = now
  }

  get(id: number): Written | undefined {
    return this.known.get(id)
  }

  /** Whether asking for `id` now could tell nothing new. */
  settled(id: number): boolean {
    return this.known.has(id) || (this.now !== undefined && (this.unknownUntil.get(id) ?? -1) > this.now())
  }

  /** Takes a schema whose id is known because it was registered here: what this process writes it can read without asking. */
  learn(id: number, schema: AvroSchema): void {
    if (!this.known.has(id)) this.known.set(id, written(schema))
  }

  /** @throws TidemarkError SCHEMA_SOURCE_FAILED */
  async ask(ids: readonly number[]): Promise<void> {
    const open = [...new Set(ids)].filter((id) => !this.settled(id))
    for (let at = 0; at < open.length; at += ASKED_MAX) await Promise.all(open.slice(at, at + ASKED_MAX).map((id) => this.askOnce(id)))
  }

  private askOnce(id: number): Promise<void> {
    const asking = this.asking.get(id)
    if (asking !== undefined) return asking
    const asked = this.answer(id).finally(() => this.asking.delete(id))
    this.asking.set(id, asked)
    return asked
  }

  private async answer(id: number): Promise<void> {
    const schema = await this.source.byId(id).catch((error: unknown) => {
      throw sourceFailed(`The question was for schema id ${id}.`, error)
    })
    this.unknownUntil.delete(id)
    if (schema === undefined) {
      if (this.unknownUntil.size >= UNKNOWN_MAX) for (const oldest of this.unknownUntil.keys().take(1)) this.unknownUntil.delete(oldest)
      if (this.now !== undefined) this.unknownUntil.set(id, this.now() + UNKNOWN_MS)
      return
    }
    try {
      this.known.set(id, written(schema))
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      this.known.set(id, { refused: error })
    }
  }
}

/** An error of a source as one of ours. */
export function sourceFailed(detail: string, error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  return new TidemarkError('SCHEMA_SOURCE_FAILED', 'the schema source could not answer', {
    detail: `${detail} ${messageOf(error)}`,
    cause: error,
  })
}
