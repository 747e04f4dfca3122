/**
 * The commit: one file, and a list. Each step below is one line of it; the lists at the end say in which order they run.
 *
 * Exactly once, the log decides: outputs, changelogs and positions become visible together or not at all, and only then does disk follow.
 * A crash between the two leaves disk behind its changelog, which restore mends; the other order would leave it ahead, and only a rebuild
 * would mend that.
 *
 * At least once there is no such decision, so the order itself must be safe: effects before marks. What others read is written before the
 * rows that say "this was done"; a crash in between repeats an effect and never loses one.
 */
import { codeOf, type ErrorCode, TidemarkError } from '../base/errors.ts'
import type { Clock, Failpoint } from '../ports/clock.ts'
import { type GroupPositions, type Identity, type Log, type PlainWriter, partitionName, type Writer } from '../ports/log.ts'
import type { EncodedBatch } from '../ports/record-batch/index.ts'
import type { StoreBatch } from '../ports/store.ts'
import { lastRecord } from './lineage.ts'
import { encodeCheckpoint } from './meta.ts'
import { CHK_KEY } from './rows.ts'
import type { Stages } from './stages.ts'
import type { TaskCommit } from './task.ts'
import type { World } from './world.ts'

/** What a commit of several tasks needs and gathers on its way. */
export interface CommitRun {
  readonly log: Log
  readonly clock: Clock
  readonly failpoint: Failpoint
  /** Transactional in exactly-once, plain in at-least-once. */
  readonly writer: Writer | PlainWriter
  readonly group: string
  /** Who owns the positions: as it was when the transaction began. Undefined where no group of members guards them. */
  readonly identity: Identity | undefined
  readonly app: string
  readonly durableStores: boolean
  readonly tasks: readonly TaskCommit[]
  /** Where each task's changelog ends after this commit; filled when all of it has arrived. */
  readonly changelogEnds: Map<TaskCommit, number>
  /** Tasks whose disk failed after the log had decided: they are opened again, and restore brings what they lack. */
  readonly failed: Map<TaskCommit, TidemarkError>
  /** Positions are on their way outside of a transaction, or were: without an answer they may still arrive, after newer ones. */
  positionsSent: boolean
  readonly changelogIdOf: (topic: string) => string
  readonly deadTopics: ReadonlySet<string>
  /**
   * Throws when the group has been silent for so long that others may own the tasks. Asked right before anything is sent: exactly once, the log
   * itself refuses what a former owner sends; at least once, nothing else does.
   */
  readonly checkLease: () => void
}

/** What is the same in every commit, and nothing gathered yet. */
export function commitRun(
  { log, clock, failpoint }: World,
  stages: Stages,
  more: Pick<CommitRun, 'writer' | 'identity' | 'tasks' | 'durableStores' | 'checkLease'>,
): CommitRun {
  return {
    log,
    clock,
    failpoint,
    ...more,
    group: stages.group,
    app: stages.plan.app,
    changelogEnds: new Map(),
    failed: new Map(),
    positionsSent: false,
    changelogIdOf: (topic) => stages.topicId(topic),
    deadTopics: stages.deadTopics,
  }
}

export type CommitStep = (run: CommitRun) => Promise<void>

/** What was handed to the writer. Looked at or not, its failure is not left unheard: the writer is dead then, and says so when it is asked to decide. */
interface Handed {
  readonly arrived: Promise<void>
}

function handed(arrived: Promise<void>): Handed {
  arrived.catch(() => {})
  return { arrived }
}

async function handOutputs(run: CommitRun): Promise<Handed> {
  await run.failpoint.hit('commit.before-outputs')
  run.checkLease()
  const sends = run.tasks.flatMap(({ outputs }) => outputs.map(({ partition, batch }) => send(run, partition, batch)))
  return handed(Promise.all(sends).then(() => {}))
}

/** Nothing fences what is written outside of transactions, so there the lease goes with the batch, for whenever it is sent again. */
function append(run: CommitRun, partition: string, batch: EncodedBatch): ReturnType<PlainWriter['append']> {
  const { writer } = run
  return 'commit' in writer ? writer.append(partition, batch) : writer.append(partition, batch, run.checkLease)
}

async function send(run: CommitRun, partition: string, batch: EncodedBatch): Promise<void> {
  try {
    await append(run, partition, batch)
  } catch (error) {
    const topic = partition.slice(0, partition.lastIndexOf('/'))
    if (!run.deadTopics.has(topic) || NOT_THE_TOPIC.has(codeOf(error))) throw error
    // What cannot be processed and cannot be put aside either must not be passed over: nothing is dropped.
    throw new TidemarkError('DEAD_LETTER_FAILED', `dead letters cannot be written to ${partition}`, {
      detail: error instanceof Error ? error.message : String(error),
      hint: 'The worker stops, and goes on where it was once the topic can be written.',
      cause: error,
    })
  }
}

/**
 * Failures that say nothing of the topic that something was on its way to: of the writer as a whole, of the member (the lease that goes with each
 * batch), of the brokers, and of a partition that another transaction keeps. They pass, or end the worker, as they would without a letter; a letter
 * that they took along is made again.
 */
const NOT_THE_TOPIC: ReadonlySet<string | undefined> = new Set<ErrorCode>([
  'WRITER_FENCED',
  'COMMIT_REJECTED',
  'COMMIT_ABORTED',
  'COMMIT_IN_DOUBT',
  'LOG_CLOSED',
  'MEMBER_LOST',
  'BROKER_UNREACHABLE',
  'TRANSACTION_HANGING',
])

async function handChangelogs(run: CommitRun): Promise<Handed> {
  await run.failpoint.hit('commit.before-changelogs')
  run.checkLease()
  const sends = run.tasks.map(async (task) => {
    const { stage, partition } = task.task.parts
    if (task.state === undefined || stage.changelog === undefined) return
    const to = partitionName(stage.changelog, partition)
    const ends = await Promise.all(task.state.changelog.map((batch) => append(run, to, batch)))
    run.changelogEnds.set(task, Math.max(...ends.map(({ next }) => next)))
  })
  return handed(Promise.all(sends).then(() => {}))
}

/** Facts for inboxes and sinks, rows for state topics, dead letters. A partition gets its batches in order. */
export const sendOutputs: CommitStep = async (run) => {
  await (await handOutputs(run)).arrived
  await run.failpoint.hit('commit.after-outputs')
}

/** Rows of all stores, effects first and marks after, and what the commit says of each task last. */
export const sendChangelogs: CommitStep = async (run) => {
  await (await handChangelogs(run)).arrived
  await run.failpoint.hit('commit.after-changelogs')
}

/** The log decides: everything handed to the writer and the positions it was made from, or nothing. */
export const decide: CommitStep = async (run) => {
  await run.failpoint.hit('commit.before-decision')
  const outcome = await (run.writer as Writer).commit([positionsOf(run)])
  if (outcome.kind !== 'committed') throw outcome.error
  await run.failpoint.hit('commit.after-decision')
}

/** Places where a commit asks its failpoint, one step after the other. */
export const COMMIT_PLACES: Readonly<Record<'exactly-once' | 'at-least-once', readonly string[]>> = {
  'exactly-once': placesOf('outputs', 'changelogs', 'decision', 'stores'),
  'at-least-once': placesOf('outputs', 'changelogs', 'stores', 'positions'),
}

function placesOf(...deeds: readonly string[]): readonly string[] {
  return deeds.flatMap((deed) => [`commit.before-${deed}`, `commit.after-${deed}`])
}

/** Those between sending and deciding: they are there only where one follows the other. */
const BETWEEN: readonly string[] = ['commit.after-outputs', 'commit.after-changelogs']

/**
 * All of it at once, and the question for the decision right behind: where the log decides, nothing is there before it has, so nothing waits for
 * another's answer, and the positions may travel beside the batches. A test that stops a commit in between gets it one step after the other,
 * because beside a decision that is on its way there is no place where nothing is decided.
 */
export const sendAndDecide: CommitStep = async (run) => {
  if (BETWEEN.some((place) => run.failpoint.armed?.(place) === true)) {
    for (const step of [sendOutputs, sendChangelogs, decide]) await step(run)
    return
  }
  const parts = await Promise.all([handOutputs(run), handChangelogs(run)])
  const [decided, ...arrived] = await Promise.allSettled([decide(run), ...parts.map((part) => part.arrived)])
  const failures = [...arrived, decided].flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
  if (failures.length === 0) return
  // What failed on its way says more than the decision that came of it, and either more than that something else was aborted with it.
  throw failures.find((error) => codeOf(error) !== 'COMMIT_ABORTED') ?? failures[0]
}

/** One atomic batch a task: its rows, and how far into its changelog they are. A disk that fails fails its task alone. */
export const writeStores: CommitStep = async (run) => {
  await run.failpoint.hit('commit.before-stores')
  await Promise.all(
    run.tasks.map(async (task) => {
      const { db } = task.task.parts.state ?? {}
      if (db === undefined || task.state === undefined) return
      try {
        await db.write(batchOf(run, task), { durable: run.durableStores })
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error
        run.failed.set(task, error)
      }
    }),
  )
  await run.failpoint.hit('commit.after-stores')
}

function batchOf(run: CommitRun, task: TaskCommit): StoreBatch {
  const { writes } = task.state as NonNullable<TaskCommit['state']>
  const next = run.changelogEnds.get(task)
  if (next === undefined) return writes.batch()
  const { stage } = task.task.parts
  const { key, value } = writes.last
  const checkpoint = encodeCheckpoint({
    app: run.app,
    stage: stage.name,
    changelogId: run.changelogIdOf(stage.changelog as string),
    next,
    syncedAt: run.clock.now(),
    last: lastRecord(next - 1, key, value),
  })
  return writes.batch({ key: CHK_KEY, value: checkpoint })
}

/** At least once: positions follow everything that was made from them. */
export const commitPositions: CommitStep = async (run) => {
  await run.failpoint.hit('commit.before-positions')
  run.positionsSent = true
  await run.log.commitPositions(positionsOf(run))
  await run.failpoint.hit('commit.after-positions')
}

function positionsOf(run: CommitRun): GroupPositions {
  const positions = new Map(run.tasks.flatMap((task) => [...task.positions]))
  return { group: run.group, identity: run.identity, positions }
}

export interface CommitProtocol {
  readonly exactlyOnce: readonly CommitStep[]
  readonly atLeastOnce: readonly CommitStep[]
}

/** The order is the guarantee. The simulator runs other orders to see that it notices. */
export const COMMIT: CommitProtocol = Object.freeze({
  exactlyOnce: [sendAndDecide, writeStores],
  atLeastOnce: [sendOutputs, sendChangelogs, writeStores, commitPositions],
})

/** Runs a commit step by step. Rejects when it failed: then everything of it is dropped, and the tasks are opened again. */
export async function runCommit(steps: readonly CommitStep[], run: CommitRun): Promise<void> {
  for (const step of steps) await step(run)
}
