/** What the group says, heard beside the loop and acted on by it, one after the other. */
import type { TidemarkError } from '../base/errors.ts'
import type { GroupEvent, Identity, Membership } from '../ports/log.ts'

export interface GroupEventsParts {
  /** Nothing is heard any more. */
  readonly signal: AbortSignal
  readonly onHeard: () => void
  /** The group is out of reach, or does not take this worker for now. */
  readonly onTroubled: (error: TidemarkError) => void
  /** This worker never will be a member again. */
  readonly onOver: (error: unknown) => void
}

/** What is to be acted on. */
export type GroupNews = Exclude<GroupEvent, { readonly kind: 'troubled' }>

export class GroupEvents {
  readonly #parts: GroupEventsParts
  readonly #heard: GroupNews[] = []
  #listening = false

  constructor(parts: GroupEventsParts) {
    this.#parts = parts
  }

  /** Whether something was said that nobody has acted on. */
  get waiting(): boolean {
    return this.#heard.length > 0
  }

  take(): GroupNews | undefined {
    return this.#heard.shift()
  }

  /** Keeps one ear on the group. */
  listen(membership: Membership): void {
    if (this.#listening) return
    this.#listening = true
    const { signal, onHeard, onTroubled, onOver } = this.#parts
    void membership
      .next(signal)
      .then((event) => {
        if (event.kind === 'troubled') onTroubled(event.error)
        else this.#heard.push(event)
      })
      .catch((error: unknown) => {
        if (!signal.aborted) onOver(error)
      })
      .finally(() => {
        this.#listening = false
        onHeard()
      })
  }
}

/** Whether one identity comes right after another: nobody else was given anything in between. */
export function follows(identity: Identity, before: Identity | undefined): boolean {
  return before?.member === identity.member && before.generation + 1 === identity.generation
}
