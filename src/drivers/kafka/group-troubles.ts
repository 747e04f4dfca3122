/**
 * What keeps a member from its group and passes: a coordinator that is not ready, an answer that cannot be read, a group that gives its members
 * up. It is tried again for as long as the member lives. Who waits hears of it, though not of every hiccup, and not of every try.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'

/** What passes within this is not worth a word, ms. */
const SHORT_MS = 2_000
/** Between two words about one trouble, ms. */
const EVERY_MS = 10_000
const PAUSE_MS_FIRST = 500
/** The longest pause between two tries, ms: so much later than it could a member may be back. */
const PAUSE_MS_MAX = 2_000

export class Troubles {
  readonly #clock: Clock
  readonly #group: string
  readonly #tell: (error: TidemarkError) => void
  /** When the first of the failures came that no success has ended, ms by the monotonic clock. */
  #since: number | undefined
  #toldAt = Number.NEGATIVE_INFINITY
  #failures = 0

  constructor(clock: Clock, group: string, tell: (error: TidemarkError) => void) {
    this.#clock = clock
    this.#group = group
    this.#tell = tell
  }

  note(error: unknown): void {
    const now = this.#clock.mono()
    this.#since ??= now
    this.#failures++
    if (now - this.#since < SHORT_MS || now - this.#toldAt < EVERY_MS) return
    this.#toldAt = now
    this.#tell(this.#inWords(error))
  }

  over(): void {
    this.#since = undefined
    this.#toldAt = Number.NEGATIVE_INFINITY
    this.#failures = 0
  }

  /** How long to wait before the next try, ms: the first comes at once. */
  pauseMs(unit: number): number {
    if (this.#failures <= 1) return 0
    return Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** Math.min(this.#failures - 2, 10)) * (0.75 + unit / 4)
  }

  #inWords(error: unknown): TidemarkError {
    if (error instanceof TidemarkError) return error
    return new TidemarkError('BROKER_UNREACHABLE', `group "${this.#group}" does not answer`, {
      detail: messageOf(error),
      hint: 'Nothing is processed meanwhile, and nothing is lost. It is asked again until it answers.',
      cause: error,
    })
  }
}
