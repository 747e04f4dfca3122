/**
 * Opening a task, in the order that makes it safe: its disk, then what the changelog has beyond it (read to the high watermark, after every
 * earlier writer was fenced), and only then the committed positions. Read earlier, the positions could be older than the state.
 *
 * Local state is dropped for one of few reasons, each counted and named: the disk was damaged, lies ahead of or before what the changelog
 * has, has rows but no checkpoint, or slept longer than tombstones are kept. A crash is not among them.
 */
import { codeOf, TidemarkError } from '../base/errors.ts'
import { taskName } from '../plan/naming.ts'
import type { StagePlan } from '../plan/plan.ts'
import { type PartitionName, type Positions, partitionName } from '../ports/log.ts'
import type { StateId, TaskStore } from '../ports/store.ts'
import type { Graph } from '../topology/node.ts'
import { lookedUp } from './lineage.ts'
import { type Checkpoint, decodeCheckpoint, decodeMeta, type TaskMeta } from './meta.ts'
import { Pace } from './pace.ts'
import { restore } from './restore.ts'
import { CHK_KEY, TM_KEY } from './rows.ts'
import { layoutsOf, mendSums } from './scrub.ts'
import type { World } from './world.ts'

export interface Opened {
  /** undefined for a stage that keeps nothing. */
  readonly db: TaskStore | undefined
  readonly checkpoint: Checkpoint | undefined
  /** What the last commit said of the task; undefined before the first. */
  readonly meta: TaskMeta | undefined
  /** Where to read on. */
  readonly positions: Positions
  /** What the group has of that: where state goes on from elsewhere, its positions are to be committed although nothing new may come. */
  readonly committed: Positions
}

export interface OpeningParts {
  readonly app: string
  readonly graph: Graph
  readonly group: string
  readonly stage: StagePlan
  readonly partition: number
  /** Log partitions that the task reads. */
  readonly inputs: readonly string[]
  readonly guarantee: 'exactly-once' | 'at-least-once'
  /** How long the changelog keeps tombstones, ms. */
  readonly tombstoneMs: number
  readonly changelogId: string
  /** Ids of the topics that the task reads, by name, as they are now. */
  readonly inputIds: ReadonlyMap<string, string>
  readonly signal: AbortSignal
  /** What all restores of a worker share. Default: one of its own. */
  readonly pace?: Pace
  /**
   * How far state is brought. Default `high`: behind everything written, once it is decided, which whoever goes on from it needs. `stable`: behind
   * what is decided now, for who only looks, while others may write on.
   */
  readonly upTo?: 'high' | 'stable'
}

/**
 * Opens what a task needs and makes it ready. Damage that shows on the way, be it in a row, in what the last commit said or in a timer, costs the
 * disk and not the task: it begins once more from nothing, because everything that was there is in the changelog.
 * @throws TidemarkError STORE_*, LOG_*, OFFSETS_LOST, TOPIC_RECREATED
 */
export async function openTask<Ready>(parts: OpeningParts, world: World, ready: (opened: Opened) => Promise<Ready>): Promise<Ready> {
  try {
    return await openOnce(parts, world, ready)
  } catch (error) {
    const code = codeOf(error)
    if (code !== 'STORE_CORRUPT' && code !== 'POSITION_GAP') throw error
    world.telemetry.event({ kind: 'warning', error: error as TidemarkError })
    world.telemetry.count('wipes', { step: parts.stage.name, value: code })
    await world.state.quarantine(stateOf(parts))
    return await openOnce(parts, world, ready)
  }
}

function stateOf({ app, stage, partition }: OpeningParts): StateId {
  return { app, stage: stage.name, generation: stage.generation, partition }
}

async function openOnce<Ready>(parts: OpeningParts, world: World, ready: (opened: Opened) => Promise<Ready>): Promise<Ready> {
  // Before the end of the changelog is looked up: a former owner may still be ending a commit that the group took from it before it lost the task.
  // Until that is decided positions are unstable; from then on all of it is in the changelog, and nothing of its comes after.
  const known = await stablePositions(parts, world)
  const state = parts.stage.changelog === undefined ? undefined : await openLevel(stateOf(parts), parts, world)
  try {
    const bytes = state?.db.get(TM_KEY)
    const meta = bytes === undefined ? undefined : decodeMeta(bytes)
    if (meta !== undefined) checkInputs(meta, parts)
    const { positions, committed, resumed } = await startingPositions(parts, world, known, meta)
    world.telemetry.event({ kind: 'opened', task: taskName(parts.stage.name, parts.partition), positions, resumed })
    return await ready({ db: state?.db, checkpoint: state?.checkpoint, meta, positions, committed })
  } catch (error) {
    // Left open, it could not be opened again by anybody while this process lives.
    await state?.db.close().catch(() => {})
    throw error
  }
}

/** @throws TidemarkError TOPIC_RECREATED when a position belongs to a topic that is gone, and another one has its name */
function checkInputs({ topicIds }: TaskMeta, { inputIds, stage, partition }: OpeningParts): void {
  for (const [topic, id] of inputIds) {
    const known = topicIds.get(topic)
    if (known === undefined || known === id) continue
    throw new TidemarkError('TOPIC_RECREATED', `topic "${topic}" was deleted and made again`, {
      detail: `Task ${taskName(stage.name, partition)} read the topic that is gone; under its positions the new one has other records.`,
      hint: 'Bring the old topic back. To begin again with what the new one has, drop the state: the folder and the changelog of this application.',
    })
  }
}

/** Opens a disk and brings it level with its changelog. What does not fit is an error here: `openTask` begins anew then. */
export async function openLevel(id: StateId, parts: OpeningParts, world: World): Promise<{ db: TaskStore; checkpoint: Checkpoint }> {
  const { stage, partition, signal } = parts
  const changelog = partitionName(stage.changelog as string, partition)
  const db = await world.state.open(id)
  try {
    const until = (await world.log.offsets([changelog], parts.upTo ?? 'high')).get(changelog) as number
    const logStart = (await world.log.offsets([changelog], 'start')).get(changelog) as number
    const known = await checkpointOf(db, parts)
    const unfit =
      known === undefined ? undefined : whyUnfit(known, { until, logStart, now: world.clock.now(), tombstoneMs: parts.tombstoneMs })
    if (known !== undefined && unfit === undefined) await checkLineage(known, changelog, parts, world)
    if (unfit !== undefined)
      throw new TidemarkError('STORE_CORRUPT', `state of task ${taskName(stage.name, partition)} does not fit its changelog`, {
        detail: unfit,
      })
    const checkpoint = known ?? {
      app: parts.app,
      stage: stage.name,
      changelogId: parts.changelogId,
      next: logStart,
      syncedAt: world.clock.now(),
      last: undefined,
    }
    const task = taskName(stage.name, partition)
    const restored = await restore({
      log: world.log,
      db,
      clock: world.clock,
      pace: parts.pace ?? new Pace(world.clock),
      changelog,
      checkpoint: { ...checkpoint, next: firstUntaken(checkpoint, logStart) },
      until,
      signal,
      onProgress: (progress) => world.telemetry.event({ kind: 'restore', task, ...progress, reached: until - progress.left }),
    })
    if (restored.next > checkpoint.next) world.telemetry.count('restored', { step: stage.name }, restored.next - checkpoint.next)
    await mendSums(db, stage, restored, layoutsOf(parts.graph, stage), signal)
    return { db, checkpoint: restored }
  } catch (error) {
    await db.close()
    throw error
  }
}

/** @throws TidemarkError STORE_FOREIGN, STORE_CORRUPT, TOPIC_RECREATED */
async function checkpointOf(db: TaskStore, parts: OpeningParts): Promise<Checkpoint | undefined> {
  const bytes = db.get(CHK_KEY)
  if (bytes === undefined) {
    // An ordered store that lost its index opens empty and says nothing; rows without a checkpoint are the other half of that.
    const [any] = await db.range({ from: Buffer.alloc(0), to: undefined, limit: 1 })
    if (any === undefined) return undefined
    throw new TidemarkError('STORE_CORRUPT', 'a state directory has rows and no checkpoint')
  }
  const checkpoint = decodeCheckpoint(bytes)
  if (db.get(TM_KEY) === undefined && (await db.range({ from: Buffer.alloc(0), to: undefined, limit: 2 })).length > 1) {
    throw new TidemarkError('STORE_CORRUPT', 'a state directory has rows and nothing that says what they are')
  }
  if (checkpoint.app !== parts.app || checkpoint.stage !== parts.stage.name) {
    throw new TidemarkError('STORE_FOREIGN', 'a state directory belongs to something else', {
      detail: `It holds stage "${checkpoint.stage}" of "${checkpoint.app}", and stage "${parts.stage.name}" of "${parts.app}" was to be opened.`,
      hint: 'Give every application a state folder of its own.',
    })
  }
  if (checkpoint.changelogId !== parts.changelogId) {
    throw new TidemarkError('TOPIC_RECREATED', `changelog "${parts.stage.changelog}" is another topic than it was`, {
      detail: 'It was deleted and made again, so it no longer holds what the disk was made from.',
      hint: 'Bring the topic back, or remove the state folder to begin again from what the topic has now.',
    })
  }
  return checkpoint
}

/** Why a disk cannot be brought level with its changelog, or undefined when it can. */
function whyUnfit(checkpoint: Checkpoint, now: { until: number; logStart: number; now: number; tombstoneMs: number }): string | undefined {
  if (checkpoint.next > now.until) return `The disk is at ${checkpoint.next}, the changelog ends at ${now.until}: it lost records.`
  if (checkpoint.next < now.logStart) return `The disk is at ${checkpoint.next}, the changelog begins at ${now.logStart}.`
  if (checkpoint.next < now.until && now.now - checkpoint.syncedAt > now.tombstoneMs / 2) {
    return 'The disk slept so long that tombstones which it has not seen may be gone: deleted rows would come back.'
  }
  return undefined
}

/**
 * Where to read on: right behind the last record that the disk has taken, not where it got to. What lay between was aborted when the disk passed
 * it; a changelog that has lost records since, and went on, may have others there.
 */
function firstUntaken({ last, next }: Checkpoint, logStart: number): number {
  return Math.min(next, last === undefined ? logStart : last.offset + 1)
}

/** @throws TidemarkError STORE_CORRUPT, POSITION_GAP when the disk was made from other records than the changelog has, or may have been */
async function checkLineage({ last, next }: Checkpoint, changelog: PartitionName, parts: OpeningParts, world: World): Promise<void> {
  if (last === undefined) return
  const found = await lookedUp(world.log, changelog, last, parts.signal)
  if (found === 'same') return
  const task = taskName(parts.stage.name, parts.partition)
  if (found === 'other') {
    throw new TidemarkError('STORE_CORRUPT', `state of task ${task} was not made from its changelog`, {
      detail: `The disk is at ${next}, and its changelog has another record at ${last.offset} than it had: it lost records, and went on.`,
    })
  }
  throw new TidemarkError('POSITION_GAP', `changelog ${changelog} no longer shows that the disk was made from it`, {
    detail: `The disk is at ${next}; record ${last.offset}, the last that it took, is not there any more.`,
    hint: 'Compaction has passed the disk, which slept long. It is dropped and restored from the beginning of the changelog.',
  })
}

/**
 * Where to read on. The group's positions decide; the state says what they must be. Nobody's position is ever "latest": a first start reads
 * what the log still has.
 */
async function startingPositions(
  parts: OpeningParts,
  world: World,
  known: Positions,
  meta: TaskMeta | undefined,
): Promise<{ positions: Positions; committed: Positions; resumed: boolean }> {
  const committed = new Map(known)
  const resumed = meta !== undefined || committed.size > 0
  const starts = await world.log.offsets(parts.inputs, 'start')
  const positions = new Map<string, number>()
  for (const partition of parts.inputs) {
    const group = committed.get(partition)
    const own = meta?.positions.get(partition)
    if (own === undefined) {
      positions.set(partition, group ?? (starts.get(partition) as number))
      // A first start has nothing to commit yet.
      committed.set(partition, positions.get(partition) as number)
    } else if (parts.guarantee === 'at-least-once') {
      // State is durable before positions are, so it knows at least as much; going on from it repeats nothing that it has.
      positions.set(partition, Math.max(own, group ?? 0))
    } else if (group === own) positions.set(partition, own)
    else if (group === undefined) {
      world.telemetry.event({
        kind: 'warning',
        error: new TidemarkError('OFFSETS_LOST', `group "${parts.group}" has no position for ${partition}`, {
          detail: `The state says ${own}, and is believed.`,
          hint: 'Were the positions of the group deleted?',
        }),
      })
      positions.set(partition, own)
    } else {
      throw new TidemarkError('OFFSETS_LOST', `group "${parts.group}" and the state disagree about ${partition}`, {
        detail: `The group says ${group}, the state says ${own}.`,
        hint: 'Somebody moved the positions of the group. Rebuild the projections instead ("tidemark replay"), or move them back.',
      })
    }
  }
  return { positions, committed, resumed }
}

async function stablePositions(parts: OpeningParts, world: World): Promise<Positions> {
  for (;;) {
    parts.signal.throwIfAborted()
    const committed = await world.log.committed(parts.group, parts.inputs)
    if (committed !== 'unstable') return committed
    await world.clock.sleep(20, parts.signal)
  }
}
