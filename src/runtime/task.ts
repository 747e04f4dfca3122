/**
 * A task: one stage on one partition. It queues what was read for it, runs it through the interpreter a slice at a time, and seals what came of
 * it for the worker's commit. It knows nothing of transactions: those are the worker's.
 */

import { TidemarkError } from '../base/errors.ts'
import { Lifecycle, type Transitions } from '../base/lifecycle.ts'
import { TIME_MAX_MS } from '../base/time.ts'
import { taskName } from '../plan/naming.ts'
import type { StagePlan } from '../plan/plan.ts'
import type { Clock, Random } from '../ports/clock.ts'
import type { PartitionName, Positions } from '../ports/log.ts'
import type { Columns, RecordBatch } from '../ports/record-batch/index.ts'
import { Afterwards } from './afterwards.ts'
import type { SourceProgress, Way } from './heard.ts'
import type { HeldAt } from './held.ts'
import { columnsOf, type Input } from './input.ts'
import type { Interpreter } from './interpreter.ts'
import type { TaskMeta } from './meta.ts'
import type { Addressed, Outbox } from './outbox.ts'
import type { Progress, Reached } from './progress.ts'
import { type Pinned, Ranges, unpin } from './ranges.ts'
import type { Rec } from './record.ts'
import { schemasOf } from './schemas-of.ts'
import type { SealedState, Sealer } from './seal.ts'
import type { TaskState } from './state.ts'
import type { Counts } from './tally.ts'

/**
 *   restoring -> running -> closed
 *       |           |  ^
 *       v           v  |           failed: something below it failed; it is opened again
 *     failed <------+  |           halted: a step said halt; it waits for a restart
 *     halted <---------+
 */
export type TaskStatus = 'restoring' | 'running' | 'failed' | 'halted' | 'closed'
export const TASK_TRANSITIONS: Transitions<TaskStatus> = {
  restoring: ['running', 'failed', 'closed'],
  running: ['failed', 'halted', 'closed'],
  failed: ['closed'],
  halted: ['closed'],
  closed: [],
}

export interface TaskParts {
  readonly stage: StagePlan
  readonly partition: number
  readonly inputs: readonly Input[]
  readonly interpreter: Interpreter
  readonly outbox: Outbox
  /** undefined for a stage that keeps nothing. */
  readonly state: TaskState | undefined
  readonly sealer: Sealer | undefined
  readonly schemas: Set<number>
  readonly progress: Progress
  readonly clock: Clock
  readonly random: Random
  /** Positions as the group has them. */
  readonly committed: Positions
  /** How far its disk is in the changelog when it is opened. Undefined for a stage that keeps nothing. */
  readonly reached: number | undefined
}

const NOTHING_PINNED: Pinned = new Set()

/** What one task contributes to a commit. */
export interface TaskCommit {
  readonly task: Task
  readonly state: SealedState | undefined
  readonly outputs: readonly Addressed[]
  readonly positions: Positions
  readonly recorded: ReadonlyMap<PartitionName, number>
  /** What the inboxes that it reads have told up to its positions, by inbox partition. */
  readonly heard: ReadonlyMap<PartitionName, ReadonlyMap<Way, SourceProgress>>
  readonly counts: Counts
}

export class Task {
  readonly name: string
  readonly parts: TaskParts
  readonly life: Lifecycle<TaskStatus>
  /** Positions as the last commit has them. */
  committed: Positions
  /** What its steps hold, as the last commit has it. */
  held: readonly HeldAt[]
  #closing: Promise<void> | undefined
  #pending: (() => Promise<void>) | undefined
  readonly #ranges: Ranges
  readonly #afterwards: Afterwards
  /** Keys that wall time wakes by a moment, with their rows in memory. */
  #wallReady: { readonly now: number; readonly pinned: Pinned } | undefined
  #sweepUntil: readonly number[]

  constructor(parts: TaskParts, listener: (status: TaskStatus) => void) {
    this.parts = parts
    this.#ranges = new Ranges(parts.state)
    this.#afterwards = new Afterwards(parts)
    this.name = taskName(parts.stage.name, parts.partition)
    this.life = new Lifecycle<TaskStatus>(`task ${this.name}`, 'restoring', TASK_TRANSITIONS, listener)
    this.committed = parts.committed
    this.held = parts.state?.held ?? []
    this.#sweepUntil = parts.state?.stores.map((store) => store.firstBucket) ?? []
  }

  /** Takes what was read for one of its partitions. */
  take(partition: PartitionName, batches: readonly RecordBatch[], next: number, high: number): void {
    const input = this.input(partition)
    for (const batch of batches) {
      input.queue.push(batch)
      input.queuedBytes += batch.bytes.length
    }
    input.readTo = Math.max(input.readTo, next)
    input.high = high
    if (input.queue.length === 0) this.#passEnd(input)
  }

  /** Nothing is queued: what was read without records in it is passed, too. */
  #passEnd(input: Input): void {
    input.position = Math.min(input.until, Math.max(input.position, input.readTo))
  }

  input(partition: PartitionName): Input {
    return this.parts.inputs.find(({ parts }) => parts.partition === partition) as Input
  }

  /** Whether there is something to process, or to load first. */
  get busy(): boolean {
    return this.#pending !== undefined || this.parts.inputs.some((input) => input.queue.length > 0)
  }

  /** What must be awaited before it can run on: schemas, rows of a batch, a step that is to be run again, a page that one asked for. */
  get pending(): (() => Promise<void>) | undefined {
    return this.#pending
  }

  async load(): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    await pending()
    if (this.#pending === pending) this.#pending = undefined
  }

  /**
   * Processes up to `max` records and returns how many it did. Stops early when something must be loaded.
   * @throws TaskStopped
   */
  run(max: number): number {
    let done = 0
    while (done < max && this.#pending === undefined) {
      const input = this.#next()
      if (input === undefined) break
      const batch = input.queue[0] as RecordBatch
      const columns = columnsOf(batch, input)
      if (!input.ready && !this.#makeReady(input, columns)) break
      done += this.#runBatch(input, batch, columns, max - done)
    }
    return done
  }

  #runBatch(input: Input, batch: RecordBatch, columns: Columns, max: number): number {
    const { rec, parts } = input
    const { topic, number, log, flavour, entry } = parts
    const { interpreter, inputs } = this.parts
    const { offsets, count } = columns
    const tally = interpreter.tally(log)
    const behind = interpreter.behind(log)
    // With several logs the next record may be another's, so the choice is made anew after each.
    const until = inputs.length === 1 ? max : 1
    let done = 0
    let i = input.at
    for (; i < count && done < until; i++) {
      if ((offsets[i] as number) < input.position) continue
      if ((offsets[i] as number) >= input.until) {
        i = count
        break
      }
      rec.read(columns, i, topic, number, flavour)
      if (input.heard !== undefined && rec.keyAt < 0) {
        input.heard.read(rec)
        input.position = rec.offset + 1
        continue
      }
      let entered = true
      try {
        if (!(rec.at <= TIME_MAX_MS && rec.at >= -TIME_MAX_MS)) throw timeless(rec)
        entry?.(rec)
      } catch (error) {
        entered = false
        this.#refuse(input, error)
      }
      if (entered) interpreter.run(behind, rec)
      input.position = rec.offset + 1
      done += 1
      if (this.#awaitAfterwards()) {
        i += 1
        break
      }
    }
    tally.add('records_in', done)
    input.at = i
    // While its last record is not through, rows that were loaded for it stay.
    if (i >= count && !interpreter.waits.waiting) this.#finishBatch(input, batch)
    return done
  }

  #refuse({ rec, parts: { log, entry } }: Input, error: unknown): void {
    this.parts.interpreter.refuse(log, rec, error, () => entry?.(rec))
  }

  #finishBatch(input: Input, batch: RecordBatch): void {
    input.queue.shift()
    input.queuedBytes -= batch.bytes.length
    input.at = 0
    input.ready = false
    input.position = Math.min(input.until, Math.max(input.position, batch.lastOffset + 1))
    if (input.queue.length === 0) this.#passEnd(input)
    unpin(input.pinned)
    input.pinned = NOTHING_PINNED
  }

  /** The input whose next record is the oldest by its timestamp: among several logs, time decides. */
  #next(): Input | undefined {
    const { inputs } = this.parts
    if (inputs.length === 1) return (inputs[0] as Input).queue.length > 0 ? inputs[0] : undefined
    let best: Input | undefined
    let bestTime = Number.POSITIVE_INFINITY
    for (const input of inputs) {
      const batch = input.queue[0]
      if (batch === undefined) continue
      const time = columnsOf(batch, input).timestamps[input.at] ?? Number.NEGATIVE_INFINITY
      if (best !== undefined && time >= bestTime) continue
      best = input
      bestTime = time
    }
    return best
  }

  /** Sees to what the first batch needs before it can run. False when that must be awaited. */
  #makeReady(input: Input, columns: Columns): boolean {
    const unknown = schemasOf(input, columns, this.parts)
    if (unknown.length === 0 && !this.#ranges.needed) {
      input.ready = true
      return true
    }
    this.#pending = async () => {
      if (unknown.length > 0) {
        await input.parts.flavour.value?.prepare(unknown)
        schemasOf(input, columns, this.parts)
      }
      if (this.#ranges.needed) input.pinned = await this.#ranges.loadBatch(columns, input.at)
      input.ready = true
    }
    return false
  }

  /** Where a step is to be run again, or asked for a page, that is what is to be awaited next; nothing is committed before. */
  #awaitAfterwards(): boolean {
    if (!this.#afterwards.due) return false
    this.#pending = () => this.#afterwards.run()
    return true
  }

  /** Whether what it has is to be committed before it takes more: else a task whose records fail one after the other would never be. */
  owesCommit(now: number): boolean {
    return this.#afterwards.waited && this.dirty(now)
  }

  /** Wakes what is due by wall time; true when something may have happened. */
  wake(now: number): boolean {
    const { interpreter } = this.parts
    if (this.#pending !== undefined || interpreter.nextWall() > now) return false
    if (this.#ranges.needed && this.#wallReady === undefined) {
      this.#pending = async () => {
        this.#wallReady = { now, pinned: await this.#ranges.loadWall(now) }
      }
      return false
    }
    // Only what was due when the rows were loaded: what became due since has its turn next.
    interpreter.wakeByWall(this.#wallReady?.now ?? now)
    const pinned = this.#wallReady?.pinned ?? NOTHING_PINNED
    this.#wallReady = undefined
    if (this.#afterwards.due) this.#pending = () => this.#afterwards.run().finally(() => unpin(pinned))
    else unpin(pinned)
    return true
  }

  /** Bytes that wait for a commit, about. */
  get uncommittedBytes(): number {
    return this.parts.outbox.bytes + (this.parts.state?.changes ?? 0) * 256
  }

  /** Whether a commit would change anything. */
  dirty(now: number): boolean {
    const { state, outbox, inputs, progress } = this.parts
    if ((state?.changes ?? 0) > 0 || !outbox.empty || progress.due(inputs, now)) return true
    return inputs.some(({ parts: { partition }, position }) => position !== this.committed.get(partition))
  }

  /** Turns everything since the last seal into bytes. From here on only the commit holds it. */
  seal(now: number, reached: Reached): TaskCommit {
    const { inputs, state, sealer, outbox, interpreter, stage, schemas, progress } = this.parts
    this.#afterwards.waited = false
    const positions = new Map(inputs.map(({ parts: { partition }, position }) => [partition, position]))
    const heard = new Map(inputs.flatMap(({ parts: { partition }, heard: each }) => (each === undefined ? [] : [[partition, each.told]])))
    const recorded = new Map<PartitionName, number>()
    for (const input of inputs) {
      if (input.rec.topic !== '') input.recordedAt = input.rec.recordedAt
      if (input.recordedAt !== undefined) recorded.set(input.parts.partition, input.recordedAt)
    }
    const meta = (): TaskMeta => ({
      generation: stage.generation,
      positions,
      recorded,
      topicIds: new Map(inputs.map(({ parts: { topic, topicId } }) => [topic, topicId])),
      schemas: [...schemas].sort((a, b) => a - b),
      stores: new Map((state as TaskState).stores.map((store) => [store.plan.id, store.meta()])),
      heard: stage.class === 'fold' ? heard : new Map(),
    })
    const sealed = sealer?.seal(now, meta)
    progress.announce(outbox, inputs, reached, now)
    return {
      task: this,
      state: sealed,
      outputs: outbox.seal(),
      positions,
      recorded,
      heard,
      counts: interpreter.tallies.flatMap((tally) => tally.take()),
    }
  }

  /** The disk has what was sealed: its rows may leave memory. */
  release(commit: TaskCommit): void {
    const { state } = this.parts
    this.committed = commit.positions
    if (state === undefined || commit.state === undefined) return
    this.held = commit.state.held
    for (const row of commit.state.rows) state.settled(row)
    this.#sweepUntil = commit.state.oldestAlive
    state.slots.settle()
  }

  /** Removes some rows that have expired. */
  async sweep(): Promise<void> {
    const { state } = this.parts
    if (state === undefined) return
    for (const store of state.stores) await state.sweep(store, this.#sweepUntil[store.index] ?? 0, 500)
  }

  /** Whoever closes it, also as the second, goes on when its disk is closed. */
  async close(): Promise<void> {
    if (this.life.state !== 'closed') {
      this.life.to('closed')
      this.#afterwards.end()
      this.#closing = this.parts.state?.close()
    }
    await this.#closing
  }
}

function timeless(rec: Rec): TidemarkError {
  return new TidemarkError('ENVELOPE_INVALID', 'a record has a timestamp that no clock shows', {
    detail: `It is ${rec.at} ms since 1970.`,
  })
}
