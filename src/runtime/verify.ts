/**
 * Verify: reads everything that an application has on disk and in its log, and compares it with what was written.
 *  - every row of every store: its hash covers its key, so a flipped key shows as well as a flipped value;
 *  - the sums over key ranges: they find rows that are missing, which no read of a row can notice;
 *  - every batch of every topic, by its checksum.
 * Damaged state can be moved aside: the next start restores it from its changelog. Damaged log cannot be mended here, only named.
 */

import { messageOf, TidemarkError } from '../base/errors.ts'
import { taskName } from '../plan/naming.ts'
import type { StagePlan } from '../plan/plan.ts'
import { planOf } from '../plan/planner.ts'
import { type PartitionName, partitionName } from '../ports/log.ts'
import type { StateId, TaskStore } from '../ports/store.ts'
import type { Graph } from '../topology/node.ts'
import { factsKnown, readDecisions } from './decisions.ts'
import { decodeMeta } from './meta.ts'
import { openLevel } from './opening.ts'
import { TM_KEY } from './rows.ts'
import { type Layouts, layoutsOf, scrub } from './scrub.ts'
import { specOf, TOMBSTONE_MS } from './stages.ts'
import { Sums } from './sums.ts'
import type { World } from './world.ts'

export interface Problem {
  /** The task or the log partition. */
  readonly where: string
  readonly error: TidemarkError
}

export interface Verified {
  readonly rows: number
  readonly batches: number
  readonly bytes: number
  readonly problems: readonly Problem[]
  /** Tasks whose state was moved aside, to be restored at the next start. */
  readonly repaired: readonly string[]
}

export interface VerifyOptions {
  /** Move damaged state aside. Default false. */
  readonly repair?: boolean
  readonly signal?: AbortSignal
  /**
   * Others may run the application meanwhile: state is compared as of what is decided now, and records that retention removes while they are read
   * are no damage. Default false.
   */
  readonly shared?: boolean
  /** Whether there is state of a task here that could be moved aside. Default: of every task. */
  readonly keeps?: (id: StateId) => Promise<boolean>
}

export async function verify(graph: Graph, world: World, options: VerifyOptions = {}): Promise<Verified> {
  const { signal = new AbortController().signal, shared = false, repair = false } = options
  const decisions = await readDecisions(world.log, graph.name)
  const plan = planOf(graph, await factsKnown(world.log, decisions, undefined))
  const problems: Problem[] = []
  const repaired: string[] = []
  let rows = 0
  for (const stage of plan.stages) {
    const [topic] = stage.changelog === undefined ? [] : await world.log.describe([stage.changelog])
    if (topic === undefined) {
      problems.push(...(await orphansOf(graph.name, stage, world)))
      continue
    }
    for (let partition = 0; partition < stage.partitions; partition++) {
      const where = taskName(stage.name, partition)
      const id = { app: graph.name, stage: stage.name, generation: stage.generation, partition }
      try {
        const parts = {
          app: graph.name,
          graph,
          group: graph.name,
          stage,
          partition,
          inputs: [],
          guarantee: 'exactly-once' as const,
          tombstoneMs: TOMBSTONE_MS,
          changelogId: topic.id,
          inputIds: new Map(),
          signal,
          ...(shared ? { upTo: 'stable' as const } : {}),
        }
        // First: reading on in damaged files may end the process.
        await world.state.check?.(id)
        const { db } = await openLevel(id, parts, world)
        try {
          rows += await verifyStore(db, layoutsOf(graph, stage), (error) => problems.push({ where, error }), signal)
        } finally {
          await db.close()
        }
      } catch (error) {
        signal.throwIfAborted()
        problems.push({ where, error: asProblem(error) })
      }
      if (repair && problems.some((problem) => problem.where === where) && (await options.keeps?.(id)) !== false) {
        await world.state.quarantine(id)
        repaired.push(where)
      }
    }
  }
  const topics = await world.log.describe(plan.topics.map((topic) => specOf(topic).name))
  const partitions = topics.flatMap(({ name, partitions: count }) =>
    Array.from({ length: count }, (_, partition) => partitionName(name, partition)),
  )
  const log = await verifyLog(partitions, world, (where, error) => problems.push({ where, error }), { signal, shared })
  return { rows, ...log, problems, repaired }
}

/** State whose changelog is not in the log, which has lost it: a start would refuse what it makes anew. */
async function orphansOf(app: string, stage: StagePlan, world: World): Promise<Problem[]> {
  if (stage.changelog === undefined) return []
  const states = await world.state.list(app)
  return states
    .filter((id) => id.stage === stage.name && id.generation === stage.generation)
    .map(({ partition }) => ({
      where: taskName(stage.name, partition),
      error: new TidemarkError('TOPIC_RECREATED', `changelog "${stage.changelog}" is gone, and state that was made from it is not`, {
        hint: 'Bring the log back, or remove the state folder to begin again from what the log has now.',
      }),
    }))
}

function asProblem(error: unknown): TidemarkError {
  return error instanceof TidemarkError ? error : new TidemarkError('STORE_CORRUPT', messageOf(error), { cause: error })
}

/** Compares what lies in a task's store with the sums that its commits kept; reports what is wrong, and goes on. */
async function verifyStore(db: TaskStore, layouts: Layouts, report: (error: TidemarkError) => void, signal: AbortSignal): Promise<number> {
  const { rows, stores } = await scrub(db, layouts, report, signal)
  const meta = db.get(TM_KEY)
  if (meta === undefined) {
    if (rows > 0) report(new TidemarkError('STORE_CORRUPT', 'a store has rows and nothing that says what they are'))
    return rows
  }
  for (const [id, { sums }] of decodeMeta(meta).stores) {
    const layout = layouts.get(id)
    if (layout === 'spent') continue
    const found = stores.get(id)?.sums ?? new Sums()
    const ranges = found.difference(sums)
    if (ranges.length === 0) continue
    report(
      new TidemarkError('STORE_CORRUPT', `rows of store "${layout?.name ?? id}" are missing or too many`, {
        detail: `Key ranges ${ranges.join(', ')} of 16 do not add up; it has ${found.rows} rows and should have ${sums.rows}.`,
        hint: 'A key or an index of the store was damaged. Run "tidemark verify --repair" and start again: it is restored from its changelog.',
      }),
    )
  }
  return rows
}

/** Reads all that a log still has, batch by batch. */
async function verifyLog(
  partitions: readonly PartitionName[],
  world: World,
  report: (where: string, error: TidemarkError) => void,
  { signal, shared }: { readonly signal: AbortSignal; readonly shared: boolean },
): Promise<{ batches: number; bytes: number }> {
  const ends = await world.log.offsets(partitions, 'high')
  const positions = new Map(await world.log.offsets(partitions, 'start'))
  const reader = world.log.reader('uncommitted')
  let batches = 0
  let bytes = 0
  try {
    for (;;) {
      const open = partitions.filter((name) => (positions.get(name) as number) < (ends.get(name) as number))
      if (open.length === 0) return { batches, bytes }
      reader.assign(new Map(open.map((name) => [name, positions.get(name) as number])))
      for (const fetched of await reader.poll({ bytes: 8 * 1024 * 1024, waitMs: 100, signal })) {
        if (fetched.kind === 'batches') {
          batches += fetched.batches.length
          for (const batch of fetched.batches) bytes += batch.bytes.length
          positions.set(fetched.partition, fetched.next)
          continue
        }
        if (shared && fetched.kind === 'gap' && fetched.logStart > fetched.position) {
          positions.set(fetched.partition, fetched.logStart)
          continue
        }
        report(
          fetched.partition,
          fetched.kind === 'failed'
            ? fetched.error
            : new TidemarkError('POSITION_GAP', `records of ${fetched.partition} were removed while they were read`),
        )
        positions.set(fetched.partition, ends.get(fetched.partition) as number)
      }
    }
  } finally {
    await reader.close()
  }
}
