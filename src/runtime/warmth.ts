/**
 * How warm this worker is for each task: how far what it has of the task's state is in the changelog, and in which generation of the group the
 * task was its own last. Both are told to the leader, so that a task goes to whoever has most of it. Nothing but speed depends on it.
 */
import type { Claim, TaskPlan } from '../plan/tasks.ts'
import type { Identity } from '../ports/log.ts'

/** Tasks that ran here before and are told of, at most: what members say is one record of the group, and has to be small. */
const KEPT_MAX = 50

export interface Claims {
  /** Of tasks that run here, or are being opened. */
  readonly owned: ReadonlyMap<string, Claim>
  /** Of tasks that ran here before. */
  readonly kept: ReadonlyMap<string, Claim>
}

export class Warmth {
  /** The last one to change comes last. */
  readonly #reached = new Map<string, number>()
  readonly #generations = new Map<string, number>()

  /** The group gave these tasks. */
  given(tasks: Iterable<TaskPlan>, { generation }: Identity): void {
    for (const { name, stage } of tasks) {
      this.#generations.set(name, generation)
      // Whatever is on the disk from an earlier life shows when it is opened.
      if (stage.changelog !== undefined && !this.#reached.has(name)) this.#reached.set(name, 0)
    }
  }

  /** What is here of a task's state is this far in its changelog. */
  reached(task: string, next: number): void {
    this.#reached.delete(task)
    this.#reached.set(task, next)
  }

  /** What was here of a task is gone. */
  forget(task: string): void {
    this.#reached.delete(task)
  }

  claims(held: Iterable<string>): Claims {
    const owned = new Map<string, Claim>()
    for (const task of held) owned.set(task, this.#claim(task))
    const others = [...this.#reached].flatMap(([task, next]) => (next > 0 && !owned.has(task) ? [task] : [])).slice(-KEPT_MAX)
    return { owned, kept: new Map(others.map((task) => [task, this.#claim(task)])) }
  }

  #claim(task: string): Claim {
    return { generation: this.#generations.get(task) ?? -1, reached: this.#reached.get(task) }
  }
}
