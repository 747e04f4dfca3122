/**
 * The tasks of one worker: those that its group gave it, those that run, and what becomes of one that fails. What fails is closed and opened
 * again over what was committed, never patched; what cannot go on without losing something halts, and the others go on.
 */
import { codeOf, messageOf, TidemarkError } from '../base/errors.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import { type Identity, partitionName } from '../ports/log.ts'
import { TaskStopped } from './failure.ts'
import type { Frontier } from './frontier.ts'
import { Openings } from './openings.ts'
import type { Stages } from './stages.ts'
import type { Task, TaskCommit, TaskStatus } from './task.ts'
import type { Claims, Warmth } from './warmth.ts'
import type { RuntimeOptions, World } from './world.ts'

/** A slice ends after this long, so that heartbeats and answers are never far behind, ms. */
const SLICE_MS = 10

export interface RosterParts {
  readonly world: World
  readonly options: RuntimeOptions
  readonly stages: Stages
  readonly frontier: Frontier
  readonly warmth: Warmth
  /** Whether what is opened is sure to be this worker's. */
  readonly owns: () => boolean
  /** Whether anything may be opened: all that the group has said was heard, and there is a writer. */
  readonly mayOpen: () => boolean
  /** Resolves when no commit is on its way. */
  readonly committed: () => Promise<void>
  /** Everything uncommitted is void, or the worker is to end. */
  readonly onBroken: (error: unknown) => void
  /** There may be something to do. */
  readonly onChange: () => void
}

export class Roster {
  readonly #parts: RosterParts
  readonly #tasks = new Map<string, Task>()
  readonly #openings: Openings
  readonly #halted = new Set<string>()
  /** Tasks that failed, whose state is being closed and perhaps moved aside: whoever opened them now would have it taken away. */
  readonly #clearing = new Set<string>()
  readonly #loading = new Set<Task>()
  /** Topics that nothing may be processed of any more, with the reason. */
  readonly #barred = new Map<string, TidemarkError>()
  #mine: readonly TaskPlan[] = []

  constructor(parts: RosterParts) {
    this.#parts = parts
    const { world, stages, owns, onBroken, onChange } = parts
    this.#openings = new Openings({
      world,
      stages,
      onOpened: (plan, task) => {
        task.life.to('running')
        this.#tasks.set(plan.name, task)
        parts.frontier.opened(plan, task)
        const { reached } = task.parts
        if (reached !== undefined) parts.warmth.reached(plan.name, reached)
        for (const [topic, error] of this.#barred) this.#haltReader(task, topic, error)
      },
      owns,
      onFinal: onBroken,
      onEnd: onChange,
    })
  }

  get tasks(): Iterable<Task> {
    return this.#tasks.values()
  }

  /** What is open or being opened, which the group leaves where it is, if it can, and what else has state here. */
  get claims(): Claims {
    return this.#parts.warmth.claims([...this.#tasks.keys(), ...this.#openings.names])
  }

  /** The tasks that the group gave, and how each is: one that is not open yet, or not any more, is restoring. */
  get given(): readonly { readonly name: string; readonly state: TaskStatus }[] {
    return this.#mine.map(({ name }) => ({
      name,
      state: this.#halted.has(name) ? 'halted' : (this.#tasks.get(name)?.life.state ?? 'restoring'),
    }))
  }

  /** Whether all that were given run, or have halted. */
  get ready(): boolean {
    return this.#mine.every(({ name }) => this.#halted.has(name) || this.#tasks.get(name)?.life.state === 'running')
  }

  /** Whether nothing waits for a commit. */
  get clean(): boolean {
    const now = this.#parts.world.clock.now()
    return [...this.#tasks.values()].every((task) => task.life.state !== 'running' || !task.dirty(now))
  }

  /** Bytes that wait for a commit. */
  get uncommitted(): number {
    let bytes = 0
    for (const task of this.#tasks.values()) bytes += task.uncommittedBytes
    return bytes
  }

  // --- work --------------------------------------------------------------------------------------------------------------------

  /** Runs every task that has something, for a slice of time. False when none had. */
  slice(): boolean {
    const { world, options } = this.#parts
    const { clock } = world
    const until = clock.mono() + SLICE_MS
    let worked = false
    do {
      let turn = 0
      for (const task of this.#tasks.values()) {
        if (task.life.state !== 'running') continue
        try {
          // What cannot be committed, because the group is silent, may not grow without bound either.
          if (this.uncommitted < options.commitBytes) {
            if (task.wake(clock.now())) turn += 1
            if (task.busy && task.pending === undefined && !task.owesCommit(clock.now())) turn += task.run(options.turnRecords)
          }
          if (task.pending !== undefined) this.#load(task)
        } catch (error) {
          this.stop(task, error)
        }
      }
      if (turn === 0) break
      worked = true
    } while (clock.mono() < until)
    return worked
  }

  /** Loads what a task waits for, beside the loop. */
  #load(task: Task): void {
    if (this.#loading.has(task)) return
    this.#loading.add(task)
    const done = async (): Promise<void> => {
      try {
        await task.load()
      } catch (error) {
        if (task.life.state === 'running') this.stop(task, error)
      } finally {
        this.#loading.delete(task)
        this.#parts.onChange()
      }
    }
    void done()
  }

  /** Closes the books of every task that has something to commit. */
  seal(): TaskCommit[] {
    const { world, frontier } = this.#parts
    const now = world.clock.now()
    const parts: TaskCommit[] = []
    for (const task of this.#tasks.values()) {
      if (task.life.state !== 'running' || task.pending !== undefined || !task.dirty(now)) continue
      try {
        parts.push(task.seal(now, (partition, position, recordedAt) => frontier.reachedBy(partition, position, recordedAt, now)))
      } catch (error) {
        this.stop(task, error)
      }
    }
    return parts
  }

  /** What was sealed is committed, up to `end` of its changelog where it has one; `failed` where its disk refused it. */
  async committed(part: TaskCommit, end: number | undefined, failed: TidemarkError | undefined): Promise<void> {
    const { task } = part
    task.release(part)
    this.#openings.noteProgress(task.name)
    this.#parts.frontier.committed(task.name, part)
    if (failed === undefined && end !== undefined) this.#parts.warmth.reached(task.name, end)
    if (failed !== undefined) this.stop(task, failed)
    else if (task.life.state === 'running') await task.sweep().catch((error: unknown) => this.stop(task, error))
  }

  // --- what is given and taken -------------------------------------------------------------------------------------------------

  /** What the group gave, and in which generation: a task is this worker's when all its inputs are. */
  give(partitions: readonly { readonly topic: string; readonly partition: number }[], identity?: Identity): void {
    const names = new Set(partitions.map(({ topic, partition }) => partitionName(topic, partition)))
    this.#mine = this.#parts.stages.tasks.filter(({ inputs, partition }) =>
      inputs.every(({ topic }) => names.has(partitionName(topic, partition))),
    )
    if (identity !== undefined) this.#parts.warmth.given(this.#mine, identity)
  }

  /** What halted was read as a former owner's: others may have got past it since, and where they have not it halts again. */
  forgetHalted(): void {
    this.#halted.clear()
  }

  openMissing(): void {
    if (!this.#parts.mayOpen()) return
    for (const task of this.#mine) {
      if (this.#tasks.has(task.name) || this.#openings.has(task.name) || this.#halted.has(task.name) || this.#clearing.has(task.name))
        continue
      this.#openings.begin(task)
    }
  }

  /** Drops tasks that are not in `names`, with all that they had not committed. */
  async keepOnly(names: ReadonlySet<string>): Promise<void> {
    await this.#openings.keepOnly(names)
    for (const [name, task] of this.#tasks) {
      if (names.has(name)) continue
      this.#tasks.delete(name)
      this.#parts.frontier.closed(name)
      await task.close().catch(() => {})
    }
  }

  // --- failures ----------------------------------------------------------------------------------------------------------------

  /** A read of a task's state failed. Where it is damaged, the task is opened again over what its changelog has. */
  readFailed(task: Task, error: unknown): void {
    if (codeOf(error) === 'STORE_CORRUPT' && this.#tasks.get(task.name) === task) this.stop(task, error)
  }

  /** Nothing of a topic may be processed any more: every task that reads it halts, now or when it is opened. */
  bar(topic: string, error: TidemarkError): void {
    const { world, frontier } = this.#parts
    this.#barred.set(topic, error)
    frontier.barred(topic)
    world.telemetry.event({ kind: 'warning', error })
    for (const task of this.#tasks.values()) this.#haltReader(task, topic, error)
  }

  #haltReader(task: Task, topic: string, error: TidemarkError): void {
    if (task.parts.inputs.some(({ parts }) => parts.topic === topic)) this.stop(task, new TaskStopped('halt', task.name, error))
  }

  /** Ends one task: what it had not committed is dropped. */
  stop(task: Task, error: unknown): void {
    if (task.life.state !== 'running') return
    const stopped =
      error instanceof TaskStopped
        ? error
        : new TaskStopped(
            'reopen',
            task.name,
            error instanceof TidemarkError
              ? error
              : new TidemarkError('STEP_FAILED', `task ${task.name} failed: ${messageOf(error)}`, { cause: error }),
          )
    const { world, frontier } = this.#parts
    world.telemetry.event({ kind: 'failure', task: task.name, step: stopped.step, decision: stopped.verdict, error: stopped.failure })
    task.life.to(stopped.verdict === 'halt' ? 'halted' : 'failed')
    if (stopped.verdict === 'halt') {
      this.#halted.add(task.name)
      frontier.halted(task.name, stopped.failure)
      return
    }
    this.#openings.noteFailure(task.name)
    void this.#reopen(task, codeOf(stopped.failure) === 'STORE_CORRUPT')
  }

  async #reopen(task: Task, damaged: boolean): Promise<void> {
    const { world, stages, committed, onBroken, warmth } = this.#parts
    const { stage, partition } = task.parts
    await committed()
    if (this.#tasks.get(task.name) !== task) return
    this.#clearing.add(task.name)
    try {
      await task.close().catch(() => {})
      this.#tasks.delete(task.name)
      if (damaged) {
        world.telemetry.count('wipes', { step: stage.name, value: 'STORE_CORRUPT' })
        warmth.forget(task.name)
        await world.state.quarantine({ app: stages.plan.app, stage: stage.name, generation: stage.generation, partition })
      }
    } catch (error) {
      // Where the damage stays, the next opening finds it again.
      if (error instanceof TidemarkError) world.telemetry.event({ kind: 'warning', error })
      else onBroken(error)
    } finally {
      this.#clearing.delete(task.name)
    }
    this.openMissing()
  }
}
