/** Opens tasks beside the loop: restores take time, and tasks that run go on meanwhile. A task that cannot be opened is tried again, less and less often. */
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import { backoffMs, isFinal } from './failure.ts'
import type { Stages } from './stages.ts'
import type { Task } from './task.ts'
import type { World } from './world.ts'

export interface OpeningsParts {
  readonly world: World
  readonly stages: Stages
  readonly onOpened: (plan: TaskPlan, task: Task) => void
  /**
   * Whether what is opened is sure to be this worker's. Who lets go of a task, or has lost it and not heard of it, may meet what its new owner
   * writes: what it finds wrong says nothing.
   */
  readonly owns: () => boolean
  /** It never will open. */
  readonly onFinal: (error: TidemarkError) => void
  /** An opening has ended, one way or another. */
  readonly onEnd: () => void
}

export class Openings {
  readonly #parts: OpeningsParts
  readonly #open = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>()
  /** How often in a row a task failed, opening or running. */
  readonly #failed = new Map<string, number>()

  constructor(parts: OpeningsParts) {
    this.#parts = parts
  }

  has(task: string): boolean {
    return this.#open.has(task)
  }

  get names(): Iterable<string> {
    return this.#open.keys()
  }

  /** Begins to open a task. */
  begin(plan: TaskPlan): void {
    const abort = new AbortController()
    const done = this.#run(plan, abort.signal).finally(() => {
      this.#open.delete(plan.name)
      this.#parts.onEnd()
    })
    this.#open.set(plan.name, { abort, done })
  }

  /** Gives up on all but some, on all of them at once; resolves when they have let go. */
  async keepOnly(names: ReadonlySet<string>): Promise<void> {
    const others = [...this.#open].flatMap(([name, opening]) => (names.has(name) ? [] : [opening]))
    for (const { abort } of others) abort.abort()
    await Promise.all(others.map(({ done }) => done))
  }

  /** A task that ran has failed: the next opening waits. */
  noteFailure(task: string): void {
    this.#failed.set(task, (this.#failed.get(task) ?? 0) + 1)
  }

  /** A task has got on: the next failure is its first again. */
  noteProgress(task: string): void {
    this.#failed.delete(task)
  }

  async #run(plan: TaskPlan, signal: AbortSignal): Promise<void> {
    const { world, stages, owns, onOpened, onFinal } = this.#parts
    const { clock, random, telemetry } = world
    for (;;) {
      const failures = this.#failed.get(plan.name) ?? 0
      if (failures > 0) await clock.sleep(backoffMs(failures - 1, random.unit()), signal).catch(() => {})
      if (signal.aborted) return
      try {
        const task = await stages.open(plan, signal, (state) => telemetry.event({ kind: 'task', task: plan.name, state }))
        if (signal.aborted) await task.close()
        else onOpened(plan, task)
        return
      } catch (error) {
        if (signal.aborted) return
        const failure =
          error instanceof TidemarkError
            ? error
            : new TidemarkError('TASK_FAILED', `task ${plan.name} cannot be opened: ${messageOf(error)}`, { cause: error })
        telemetry.event({ kind: 'task', task: plan.name, state: 'failed', error: failure })
        this.noteFailure(plan.name)
        if (!isFinal(failure) || !owns()) continue
        onFinal(failure)
        return
      }
    }
  }
}
