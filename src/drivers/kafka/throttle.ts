/**
 * Quotas of brokers (KIP-219): an answer may say for how long the broker will read nothing more from its socket. Whoever sends all the same only
 * fills the socket, and takes the silence for a broken broker. Here is what such an answer says, and how a person hears of it: the first time at
 * once, and then once in a while with what has come together.
 */

import { TidemarkError } from '../../base/errors.ts'
import { readableMs } from '../../base/time.ts'
import type { Clock } from '../../ports/clock.ts'

/** How often a person is told, ms. */
const TELL_MS = 60_000

/** How long a broker asks to be left alone, ms; 0 for most answers. */
export function throttleMsOf(answer: unknown): number {
  const ms = (answer as { readonly throttleMs?: unknown } | null)?.throttleMs
  return typeof ms === 'number' && ms > 0 ? ms : 0
}

export class Throttles {
  readonly clock: Clock
  readonly #tell: (warning: TidemarkError) => void
  readonly #waited = new Map<string, { sumMs: number; times: number; toldAt: number }>()

  constructor(clock: Clock, tell: (warning: TidemarkError) => void = () => {}) {
    this.clock = clock
    this.#tell = tell
  }

  /** A broker answered a request, and reads nothing more of that socket for so long, ms. */
  note(broker: string, api: string, ms: number): void {
    const now = this.clock.mono()
    let waited = this.#waited.get(api)
    if (waited === undefined) {
      waited = { sumMs: 0, times: 0, toldAt: Number.NEGATIVE_INFINITY }
      this.#waited.set(api, waited)
    }
    waited.sumMs += ms
    waited.times += 1
    if (now - waited.toldAt < TELL_MS) return
    this.#tell(throttled(broker, api, waited.sumMs, waited.times))
    this.#waited.set(api, { sumMs: 0, times: 0, toldAt: now })
  }
}

function throttled(broker: string, api: string, sumMs: number, times: number): TidemarkError {
  const often = times === 1 ? 'once' : `${times} times`
  return new TidemarkError('BROKER_THROTTLES', `a broker makes this client wait: a quota for ${api} is used up`, {
    detail: `${broker} asked for ${readableMs(sumMs)} of waiting (${often} since this was told last). Work goes on, slower.`,
    hint: `Raise the quota of this user or client id (${quotaOf(api)}), or let it read and write less.`,
  })
}

/** The setting at the brokers. */
function quotaOf(api: string): string {
  if (api === 'Fetch') return '"consumer_byte_rate" or "request_percentage"'
  if (api === 'Produce') return '"producer_byte_rate" or "request_percentage"'
  return '"request_percentage"'
}
