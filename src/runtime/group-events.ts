/** What the group says, heard beside the loop and acted on by it, one after the other. */
import type { GroupEvent, Membership } from '../ports/log.ts'

export interface GroupEventsParts {
  /** Nothing is heard any more. */
  readonly signal: AbortSignal
  readonly onHeard: () => void
  readonly onFailed: (error: unknown) => void
}

export class GroupEvents {
  readonly #parts: GroupEventsParts
  readonly #heard: GroupEvent[] = []
  #listening = false

  constructor(parts: GroupEventsParts) {
    this.#parts = parts
  }

  /** Whether something was said that nobody has acted on. */
  get waiting(): boolean {
    return this.#heard.length > 0
  }

  take(): GroupEvent | undefined {
    return this.#heard.shift()
  }

  /** Keeps one ear on the group. */
  listen(membership: Membership): void {
    if (this.#listening) return
    this.#listening = true
    const { signal, onHeard, onFailed } = this.#parts
    void membership
      .next(signal)
      .then((event) => {
        this.#heard.push(event)
      })
      .catch((error: unknown) => {
        if (!signal.aborted) onFailed(error)
      })
      .finally(() => {
        this.#listening = false
        onHeard()
      })
  }
}
