/**
 * An invocation that failed and is to be run again waits, and with it, in order, everything else that was still to be done for the same record:
 * successors, other outputs of the steps before, timers that are due. Nothing is undone and nothing overtakes: when the wait is over, the
 * record goes on exactly where it stood.
 *
 * Records run synchronously, so a wait is not slept here. Who meets one notes what is left for it to do and returns; the task sleeps
 * (`afterwards.ts`) and then goes on with what was noted, from the innermost outwards.
 */
export class Waits {
  /** Whether an invocation waits. Who has called a step asks this before it does anything more. */
  waiting = false
  /** How often the invocation that waits has failed. */
  attempt = 0
  #left: (() => void)[] = []

  /** An invocation waits. @param again runs it once more, and what follows it */
  begin(attempt: number, again: () => void): void {
    this.waiting = true
    this.attempt = attempt
    this.#left.push(again)
  }

  /** Notes what is left to do behind what waits. Called from the innermost caller outwards. */
  then(rest: () => void): void {
    this.#left.push(rest)
  }

  /** The wait is over: goes on, up to the end or to the next wait. @throws TaskStopped */
  resume(): void {
    const left = this.#left
    this.waiting = false
    this.#left = []
    for (const [i, rest] of left.entries()) {
      rest()
      if (!this.waiting) continue
      // What was noted meanwhile lies further in than all that is left here.
      this.#left.push(...left.slice(i + 1))
      return
    }
  }
}
