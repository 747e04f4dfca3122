/**
 * Scrubbing: reads every row of a task's store and adds up its sums anew, by the bytes alone. Verify compares them with those that commits
 * kept; a task whose last commit was cut short (at least once, a changelog takes several batches) takes them as its own.
 */
import { ByteReader } from '../base/bytes.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { StagePlan } from '../plan/plan.ts'
import type { TaskStore } from '../ports/store.ts'
import { type Graph, storeOf } from '../topology/node.ts'
import { lastRecord } from './lineage.ts'
import { type Checkpoint, decodeMeta, encodeMeta, type StoreMeta } from './meta.ts'
import { checkRow, contentOf, hashOf, TM_KEY, unescapeKey } from './rows.ts'
import { keyHash } from './slots.ts'
import { digestOf, rangeOf, Sums } from './sums.ts'

/** How the rows of one store lie. */
export interface Layout {
  readonly name: string
  readonly expiring: boolean
  /** A projection: live rows are in its state hash, without the bytes of their payload that frame it. */
  readonly view: { readonly frameBytes: number } | undefined
}

/** Stores by number. Rows of one that was given up may lie there, and are nobody's. */
export type Layouts = ReadonlyMap<number, Layout | 'spent'>

export function layoutsOf(graph: Graph, stage: StagePlan): Layouts {
  return new Map<number, Layout | 'spent'>([
    ...stage.spent.map((id) => [id, 'spent'] as const),
    ...stage.stores.map(({ id, name, step, kind }) => {
      const node = graph.nodes.find((each) => each.id === step)
      const spec = kind === 'rows' && node !== undefined ? storeOf(node) : undefined
      const view = spec?.view === undefined ? undefined : { frameBytes: 'avro' in spec.rows ? 5 : 0 }
      return [id, { name, expiring: spec?.expires !== undefined, view }] as const
    }),
  ])
}

/** What a store holds. */
export interface Scrubbed {
  readonly sums: Sums
  /** The oldest bucket that has a row; undefined where there are no buckets. */
  oldestBucket: number | undefined
}

const PAGE = 5_000

/** Reads every entry of a task's store; reports what is wrong, and goes on. */
export async function scrub(
  db: TaskStore,
  layouts: Layouts,
  report: (error: TidemarkError) => void,
  signal: AbortSignal,
): Promise<{ readonly rows: number; readonly stores: ReadonlyMap<number, Scrubbed> }> {
  const stores = new Map<number, Scrubbed>(
    [...layouts].flatMap(([id, layout]) => (layout === 'spent' ? [] : [[id, { sums: new Sums(), oldestBucket: undefined }] as const])),
  )
  let rows = 0
  let from = Buffer.alloc(0)
  for (;;) {
    signal.throwIfAborted()
    const page = await db.range({ from, to: undefined, limit: PAGE })
    for (const [key, bytes] of page) {
      const reader = new ByteReader(key)
      const id = reader.uvarint()
      const layout = layouts.get(id)
      if (id === 0 || layout === 'spent') continue
      rows += 1
      try {
        if (layout === undefined)
          throw new TidemarkError('STORE_CORRUPT', 'a stored row belongs to no store of its stage', {
            detail: `Its key is ${key.toString('hex').slice(0, 80)}.`,
          })
        add(layout, key, reader.at, bytes, stores.get(id) as Scrubbed)
      } catch (error) {
        report(error instanceof TidemarkError ? error : new TidemarkError('STORE_CORRUPT', messageOf(error), { cause: error }))
      }
    }
    if (page.length < PAGE) return { rows, stores }
    from = Buffer.concat([(page.at(-1) as readonly [Buffer, Buffer])[0], Buffer.from([0])])
  }
}

/** Checks one row and adds it to the sums of its range, as the commit that wrote it did. */
function add(layout: Layout, key: Buffer, at: number, bytes: Buffer, into: Scrubbed): void {
  checkRow(key, bytes)
  // Timers are not in the sums: they come and go with the rows that set them.
  if (key[at] === 0 && key[at + 1] === 0x21) return
  const place = unescapeKey(key, layout.expiring ? at + 4 : at)
  if (place === undefined)
    throw new TidemarkError('STORE_CORRUPT', 'a stored key cannot be read', { detail: `It is ${key.toString('hex').slice(0, 80)}.` })
  if (layout.expiring) into.oldestBucket = Math.min(into.oldestBucket ?? Number.POSITIVE_INFINITY, key.readUInt32BE(at))
  const range = rangeOf(keyHash(place.key))
  const { high, low } = hashOf(bytes)
  into.sums.row(range, high, low, 1)
  const content = layout.view === undefined ? undefined : contentOf(bytes)
  if (content === undefined || layout.view === undefined) return
  into.sums.digest(range, digestOf(place.key, content.version, bytes, content.at + layout.view.frameBytes, content.end), 1)
}

/**
 * Makes the sums of a disk right whose changelog ends within a commit: rows of that commit are there, and what it said of the task is not.
 * What was kept is what the last whole commit said, so everything since is processed again.
 */
export async function mendSums(
  db: TaskStore,
  stage: StagePlan,
  { last }: Checkpoint,
  layouts: Layouts,
  signal: AbortSignal,
): Promise<void> {
  const bytes = db.get(TM_KEY)
  if (last === undefined) return
  if (bytes !== undefined) {
    const known = lastRecord(last.offset, TM_KEY, bytes)
    if (known.high === last.high && known.low === last.low) return
  }
  const meta =
    bytes === undefined
      ? {
          generation: stage.generation,
          positions: new Map(),
          recorded: new Map(),
          topicIds: new Map(),
          schemas: [],
          heard: new Map(),
          stores: new Map<number, StoreMeta>(),
        }
      : decodeMeta(bytes)
  const { stores } = await scrub(
    db,
    layouts,
    (error) => {
      throw error
    },
    signal,
  )
  const mended = new Map<number, StoreMeta>()
  for (const [id, { sums, oldestBucket }] of stores) {
    const was = meta.stores.get(id)
    const firstBucket = Math.min(was?.firstBucket ?? 0xffffffff, oldestBucket ?? 0xffffffff)
    // Bytes alone do not say what is held; whoever opens the task counts it.
    mended.set(id, { streamTime: was?.streamTime, firstBucket, sums, held: undefined })
  }
  await db.write({ keys: [TM_KEY], values: [encodeMeta({ ...meta, stores: mended })] })
}
