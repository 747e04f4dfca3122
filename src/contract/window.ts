/**
 * Synchronization windows: how long a projection may lag the fact it follows, and what a stale read may decide.
 * (Windows of aggregations are always called tumbling, hopping, sliding or session windows.)
 */
import { TidemarkError } from '../base/errors.ts'
import { refuseUnknown, shown } from '../base/options.ts'
import { type Duration, durationMs } from '../base/time.ts'

export interface Window {
  /** Age that a read is normally within; beyond it a read is stale. */
  readonly target: Duration
  /** Share of time within the target that is promised. Default 0.99. */
  readonly quantile?: number
  /** Age that is never acceptable; beyond it the window is breached. */
  readonly max: Duration
  readonly why?: string
}

/** What a decision does when the row is older than it may be. `ask-authority` refuses with that word, and the caller asks. */
export type Otherwise = 'proceed' | 'refuse' | 'ask-authority' | 'degrade'

export interface Decision {
  readonly maxStaleness: Duration
  readonly otherwise: Otherwise
}

const POLICIES: readonly Otherwise[] = ['proceed', 'refuse', 'ask-authority', 'degrade']

/** @throws TidemarkError OPTION_INVALID */
export function checkedDecision(decision: Decision, where: string): Decision {
  refuseUnknown(decision, ['maxStaleness', 'otherwise'], where)
  durationMs(decision.maxStaleness, `${where}: maxStaleness`)
  if (POLICIES.includes(decision.otherwise)) return decision
  throw new TidemarkError('OPTION_INVALID', `${where}: otherwise is ${shown(decision.otherwise)}`, {
    hint: `It is one of ${POLICIES.join(', ')}.`,
  })
}

/** A window in milliseconds, checked. */
export interface WindowMs {
  readonly targetMs: number
  readonly quantile: number
  readonly maxMs: number
}

/** @throws TidemarkError OPTION_INVALID */
export function checkedWindow(window: Window, where: string): WindowMs {
  refuseUnknown(window, ['target', 'quantile', 'max', 'why'], where)
  const targetMs = durationMs(window.target, `${where}: target`)
  const maxMs = durationMs(window.max, `${where}: max`)
  const quantile = window.quantile ?? 0.99
  if (targetMs > maxMs) {
    throw new TidemarkError('OPTION_INVALID', `${where}: the target is longer than the maximum`, {
      detail: `target is ${window.target}, max is ${window.max}.`,
      hint: 'The target is what is normal, the maximum what is never acceptable.',
    })
  }
  if (!(quantile > 0 && quantile < 1)) {
    throw new TidemarkError('OPTION_INVALID', `${where}: the quantile must lie between 0 and 1`, {
      detail: `It is ${shown(quantile)}.`,
      hint: 'It is the share of time within the target, such as 0.99.',
    })
  }
  return { targetMs, quantile, maxMs }
}

/**
 * What a read knows about its own age. `ageMs` counts from the moment the source recorded the oldest fact that may be missing;
 * `asOf` names the last fact applied, as `topic/partition@offset`.
 */
export type Freshness =
  | { readonly state: 'fresh'; readonly ageMs: number; readonly asOf: string }
  | {
      readonly state: 'stale'
      readonly ageMs: number
      readonly overrunMs: number
      readonly asOf: string
      readonly parked?: { readonly reason: string; readonly held: number }
    }
  | { readonly state: 'unknown'; readonly reason: string }
  | { readonly state: 'restoring'; readonly done: number }
