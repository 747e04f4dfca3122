/** Why and when a session of `dev` or `run` ends: it was told to, it failed, or it is over. */
import { EXIT, type Shell, type Signal } from './shell.ts'

/** A terminal sends Ctrl-C to every process in front of it, and those in between pass it on: signals so close are one, ms. */
const SAME_SIGNAL_MS = 250

export class Ending {
  readonly #shell: Shell
  readonly #abort = new AbortController()
  readonly #off: () => void
  #since = 0
  by: Signal | undefined
  failure: unknown

  constructor(shell: Shell) {
    this.#shell = shell
    this.#off = shell.onSignal((signal) => this.#hear(signal))
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  #hear(signal: Signal): void {
    const now = this.#shell.clock.mono()
    if (this.by === undefined) {
      this.by = signal
      this.#since = now
      this.#abort.abort()
    } else if (now - this.#since > SAME_SIGNAL_MS) this.#shell.exit(EXIT.interrupted)
  }

  /** Ends it for an error; the first one is what is reported. */
  fail(error: unknown): void {
    this.failure ??= error
    this.#abort.abort()
  }

  /** Stops what listens to the signal: it is over, for whatever reason. */
  end(): void {
    this.#abort.abort()
  }

  release(): void {
    this.#off()
  }
}
