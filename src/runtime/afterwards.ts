/**
 * What a task awaits after a record, before it takes the next one: the wait of a step that is to be run again, and pages of rows that steps
 * asked for. Nothing of the task is committed meanwhile, because the record is not through; other tasks go on.
 */
import type { Clock, Random } from '../ports/clock.ts'
import { backoffMs } from './failure.ts'
import type { Interpreter } from './interpreter.ts'
import type { TaskState } from './state.ts'

export class Afterwards {
  readonly #interpreter: Interpreter
  readonly #state: TaskState | undefined
  readonly #clock: Clock
  readonly #random: Random
  readonly #end = new AbortController()
  /** Whether it has waited since this was last set to false. */
  waited = false

  constructor(parts: {
    readonly interpreter: Interpreter
    readonly state: TaskState | undefined
    readonly clock: Clock
    readonly random: Random
  }) {
    this.#interpreter = parts.interpreter
    this.#state = parts.state
    this.#clock = parts.clock
    this.#random = parts.random
  }

  get due(): boolean {
    return this.#interpreter.waits.waiting || this.#interpreter.wantsPages
  }

  /** @throws TaskStopped, and rejects when the task ends meanwhile */
  async run(): Promise<void> {
    await this.#wait()
    const wishes = this.#interpreter.takePages()
    for (let wish = wishes.shift(); wish !== undefined; wish = wishes.shift()) {
      const { rows, next } = await (this.#state as TaskState).page(wish.slot, wish.executor.store, wish.from)
      wish.executor.takePage(wish, rows, next)
      await this.#wait()
      wishes.push(...this.#interpreter.takePages())
    }
  }

  async #wait(): Promise<void> {
    const { waits } = this.#interpreter
    while (waits.waiting) {
      await this.#clock.sleep(backoffMs(waits.attempt - 1, this.#random.unit()), this.#end.signal)
      this.waited = true
      waits.resume()
    }
  }

  /** The task ends: a wait is not slept to its end. */
  end(): void {
    this.#end.abort()
  }
}
