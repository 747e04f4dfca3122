/**
 * A life cycle is a table: which state may follow which. One small machine serves tasks, workers and applications; each draws its table
 * beside its states.
 */
import { invariant } from './assert.ts'

export type Transitions<State extends string> = { readonly [S in State]: readonly State[] }

export class Lifecycle<State extends string> {
  readonly #name: string
  readonly #transitions: Transitions<State>
  readonly #listener: (state: State) => void
  #state: State
  #waiting: { readonly states: readonly State[]; readonly resolve: (state: State) => void }[] = []

  constructor(name: string, first: State, transitions: Transitions<State>, listener: (state: State) => void = () => {}) {
    this.#name = name
    this.#state = first
    this.#transitions = transitions
    this.#listener = listener
  }

  get state(): State {
    return this.#state
  }

  /** Moves on. @throws Error when the table does not allow it */
  to(next: State): void {
    if (next === this.#state) return
    invariant(this.#transitions[this.#state].includes(next), `${this.#name} cannot go from ${this.#state} to ${next}`)
    this.#state = next
    this.#listener(next)
    const due = this.#waiting.filter(({ states }) => states.includes(next))
    this.#waiting = this.#waiting.filter(({ states }) => !states.includes(next))
    for (const { resolve } of due) resolve(next)
  }

  /** Whether the table allows a move. */
  may(next: State): boolean {
    return this.#transitions[this.#state].includes(next)
  }

  /** Resolves when one of some states is reached, at once when it is reached already. */
  reached(...states: readonly State[]): Promise<State> {
    if (states.includes(this.#state)) return Promise.resolve(this.#state)
    return new Promise((resolve) => this.#waiting.push({ states, resolve }))
  }
}
