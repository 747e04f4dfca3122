/**
 * Views: reading a projection. A read sees what is committed and nothing else, and it always says how fresh that is.
 */
import { TidemarkError } from '../base/errors.ts'
import { partitionOf } from '../base/murmur.ts'
import { durationMs } from '../base/time.ts'
import type { KeyCodec } from '../contract/key.ts'
import type { Freshness } from '../contract/window.ts'
import type { StagePlan, StorePlan } from '../plan/plan.ts'
import { partitionName } from '../ports/log.ts'
import type { KeyedNode, Parked, ViewSpec } from '../topology/node.ts'
import { freshnessOf } from './freshness.ts'
import type { Frontier } from './frontier.ts'
import type { Ways } from './heard.ts'
import { countOf, type Page, type PageOptions, pageOf, type Readable, type Shelf } from './pages.ts'
import { holdingOf } from './parking.ts'
import { decodeRow, type RowCodec, RowWriter } from './rows.ts'
import { KeySlot, Row } from './slots.ts'
import type { Task } from './task.ts'

/** Where a row comes from and when. */
export interface RowInfo {
  /** Facts applied, or the version that the gate saw. */
  readonly version: number
  /** Business time of the last fact, ms. */
  readonly at: number
  readonly appliedAt: number
  /** The record of the source that the last fact came in, also where it came through an inbox. Of what a timer did: the record that moved time to it. */
  readonly source: { readonly topic: string; readonly partition: number; readonly offset: number }
  readonly contractVersion: number
}

export interface Answer<Row> {
  readonly value: Row | undefined
  readonly freshness: Freshness
  /** undefined for a key that was never written. A deleted one has its tombstone's. */
  readonly row: RowInfo | undefined
}

export type Decided<Row> =
  | { readonly answer: 'value'; readonly value: Row | undefined; readonly freshness: Freshness; readonly degraded: boolean }
  | {
      readonly answer: 'refused'
      readonly why: 'too-stale' | 'parked' | 'unknown' | 'restoring' | 'ask-authority'
      readonly freshness: Freshness
    }

export interface View<K, Row, D extends string> {
  readonly name: string
  /** The key that a text means: the same text as in URLs and on the command line. @throws TidemarkError KEY_INVALID */
  keyOf(text: string): K
  get(key: K): Promise<Answer<Row>>
  /** A value, or a typed refusal, by the policy that the projection declares under this name. @throws TidemarkError DECISION_UNKNOWN */
  decide(decision: D, key: K): Promise<Decided<Row>>
  /** Rows whose key's text begins with `prefix`, in the order of their keys' bytes, `limit` at most. */
  page(options?: PageOptions): Promise<Page<K, Row>>
  /** Of the projection as a whole and of each of its partitions. */
  freshness(): {
    readonly projection: Freshness
    readonly partitions: readonly { readonly partition: number; readonly freshness: Freshness }[]
  }
  /** Live rows. */
  count(): Promise<number>
}

export type { Page, PageOptions } from './pages.ts'

export interface ViewParts {
  readonly name: string
  readonly stage: StagePlan
  readonly store: StorePlan
  readonly spec: ViewSpec
  readonly key: KeyCodec<unknown>
  readonly codec: RowCodec
  readonly frontier: Frontier
  readonly now: () => number
  /** The topic that the stage reads. */
  readonly log: string
  /** How facts come from their sources, where the stage reads them through an inbox: those of each contract, and all. */
  readonly behindInbox: { readonly of: (fact: string) => Ways; readonly all: Ways } | undefined
  readonly taskOf: (partition: number) => Task | undefined
  /** Tells that a read of a task's state failed: damage is mended by whoever runs the task. */
  readonly onFailure: (task: Task, error: unknown) => void
  readonly restoring: (partition: number) => number | undefined
  /** Steps of the stage that may hold a key back. */
  readonly parkers: readonly { readonly store: StorePlan; readonly node: KeyedNode | undefined; readonly codec: RowCodec }[]
}

export class StoreView implements View<unknown, unknown, string> {
  readonly name: string
  readonly #parts: ViewParts
  readonly #writer = new RowWriter()

  constructor(parts: ViewParts) {
    this.name = parts.name
    this.#parts = parts
  }

  keyOf(text: string): unknown {
    return this.#parts.key.fromText(text)
  }

  async get(key: unknown): Promise<Answer<unknown>> {
    const { stage, store, codec } = this.#parts
    const bytes = this.#parts.key.encode(key)
    const partition = partitionOf(bytes, stage.partitions)
    const task = this.#parts.taskOf(partition)
    if (task === undefined) return { value: undefined, row: undefined, freshness: this.#freshness(partition, undefined) }
    try {
      const row = this.#read(task, store, bytes, codec)
      const freshness = this.#freshness(partition, this.#parkedBehind(task, bytes))
      return { value: row.exists ? row.value : undefined, freshness, row: row.stored ? infoOf(row) : undefined }
    } catch (error) {
      this.#parts.onFailure(task, error)
      throw error
    }
  }

  async decide(decision: string, key: unknown): Promise<Decided<unknown>> {
    const policy = this.#parts.spec.decisions[decision]
    if (policy === undefined) {
      throw new TidemarkError('DECISION_UNKNOWN', `projection "${this.name}" declares no decision "${decision}"`, {
        hint: `Declared are: ${Object.keys(this.#parts.spec.decisions).join(', ') || 'none'}.`,
      })
    }
    const { value, freshness } = await this.get(key)
    const why = reasonAgainst(freshness, durationMs(policy.maxStaleness))
    if (why === undefined) return { answer: 'value', value, freshness, degraded: false }
    switch (policy.otherwise) {
      case 'proceed':
        return { answer: 'value', value, freshness, degraded: false }
      case 'degrade':
        return { answer: 'value', value, freshness, degraded: true }
      case 'ask-authority':
        return { answer: 'refused', why: 'ask-authority', freshness }
      case 'refuse':
        break
    }
    return { answer: 'refused', why, freshness }
  }

  page(options: PageOptions = {}): Promise<Page<unknown, unknown>> {
    return pageOf(this.#shelf, this.#stores(), options)
  }

  count(): Promise<number> {
    return countOf(this.#shelf, this.#stores())
  }

  get #shelf(): Shelf {
    const { store, key, codec } = this.#parts
    return { store: store.id, key, codec }
  }

  /** Of the partitions whose tasks run here. */
  #stores(): Readable[] {
    const tasks = Array.from({ length: this.#parts.stage.partitions }, (_, partition) => this.#parts.taskOf(partition))
    return tasks.flatMap((task) => {
      const db = task?.parts.state?.db
      return task === undefined || db === undefined
        ? []
        : [{ range: (range) => db.range(range), onFailure: (error) => this.#parts.onFailure(task, error) }]
    })
  }

  freshness(): { projection: Freshness; partitions: { partition: number; freshness: Freshness }[] } {
    const partitions = Array.from({ length: this.#parts.stage.partitions }, (_, partition) => ({
      partition,
      freshness: this.#freshness(partition, undefined),
    }))
    const rank = { fresh: 0, stale: 1, restoring: 2, unknown: 3 }
    const worst = partitions.reduce((a, b) => (worse(b.freshness, a.freshness) ? b : a))
    return { projection: worst.freshness, partitions }

    function worse(a: Freshness, b: Freshness): boolean {
      if (a.state !== b.state) return rank[a.state] > rank[b.state]
      return 'ageMs' in a && 'ageMs' in b && a.ageMs > b.ageMs
    }
  }

  #freshness(partition: number, parked: Parked | undefined): Freshness {
    const { spec, frontier, log, behindInbox, restoring } = this.#parts
    return freshnessOf(frontier, {
      now: this.#parts.now(),
      partition: partitionName(log, partition),
      parked,
      restoring: restoring(partition),
      facts: Object.entries(spec.windows).map(([fact, window]) => ({ fact, window, behindInbox: behindInbox?.of(fact) })),
      behindInbox: behindInbox?.all,
    })
  }

  #read(task: Task, store: StorePlan, key: Buffer, codec: RowCodec): Row {
    const row = new Row(new KeySlot(key, 0, 0), 0, '')
    const place = this.#writer.key(store.id, key, '', false)
    const bytes = task.parts.state?.db.get(place)
    if (bytes !== undefined) decodeRow(row, place, bytes, codec)
    return row
  }

  /** Whether a step before the projection holds this key back. */
  #parkedBehind(task: Task, key: Buffer): Parked | undefined {
    for (const { store, node, codec } of this.#parts.parkers) {
      const row = this.#read(task, store, key, codec)
      if (!row.exists) continue
      const holding = node === undefined ? holdingOf(row.value) : node.holding?.(row.value)
      if (holding?.parked !== undefined) return { reason: holding.parked, held: holding.facts }
    }
    return undefined
  }
}

function infoOf(row: Row): RowInfo {
  const { version, at, appliedAt, topic, partition, offset, contractVersion } = row
  return { version, at, appliedAt, source: { topic, partition, offset }, contractVersion }
}

/** Why a decision that tolerates so much staleness cannot rest on a read; undefined when it can. */
function reasonAgainst(freshness: Freshness, maxStalenessMs: number): 'too-stale' | 'parked' | 'unknown' | 'restoring' | undefined {
  if (freshness.state === 'unknown' || freshness.state === 'restoring') return freshness.state
  if (freshness.state === 'stale' && freshness.parked !== undefined) return 'parked'
  return freshness.ageMs > maxStalenessMs ? 'too-stale' : undefined
}
