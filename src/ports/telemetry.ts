/**
 * What the runtime tells the outside about itself: counters and moments, by name. Adapters turn them into metrics and logs.
 * Names and labels are listed here and nowhere else, so that a metric cannot appear by accident; no label ever carries a key.
 */
import type { TidemarkError } from '../base/errors.ts'
import type { Positions } from './log.ts'

/** Every counter, and what one count means. */
export const COUNTERS = {
  records_in: 'a record was taken from a source or an inbox',
  records_out: 'a record was written to an inbox, a state topic or a sink',
  applied: 'a projection applied a fact',
  duplicate: 'a fact was dropped because it had been seen before',
  stale: 'a fact was dropped because a newer one was there already',
  conflict: 'two different facts claim the same version',
  gap: 'a fact came before its predecessor',
  released: 'a held fact left because its predecessor came',
  skipped: 'a gap was given up and its successors left without it',
  late: 'a record came after the window it belongs to had closed',
  parked: 'a key was parked',
  unparked: 'a parked key went on',
  held: 'a fact was held behind a gap or a parked key',
  ignored: 'an event type was ignored, as the translation says',
  unmapped: 'an event of a type that the contract does not know, by its type',
  rejected: 'a translation rejected a fact',
  dead: 'a record was dead-lettered',
  retried: 'a failed invocation was run again',
  unknown_fields: 'a record was written with fields that its reader does not know',
  contract_version: 'a record was read that was written under a version of its contract',
  commits: 'a commit succeeded',
  commit_failures: 'a commit failed and its tasks were opened again',
  rebalances: 'the group dealt its tasks out anew, and this worker was told its part',
  restored: 'a row was restored from a changelog',
  wipes: 'local state was dropped, for one of the eight reasons',
} as const

export type Counter = keyof typeof COUNTERS
/** `step` names a step of the topology; `value` is an event type, a version, a reason or a code: of bounded variety. */
export interface Labels {
  readonly step?: string
  readonly value?: string | number
}

export type TelemetryEvent =
  | { readonly kind: 'task'; readonly task: string; readonly state: string; readonly error?: TidemarkError }
  /** A task was opened: where it begins, and whether an earlier life had committed anything. */
  | { readonly kind: 'opened'; readonly task: string; readonly positions: Positions; readonly resumed: boolean }
  | { readonly kind: 'worker'; readonly worker: string; readonly state: string; readonly error?: TidemarkError }
  /**
   * A task's state is being restored: what of its changelog was read and what is left, the offset up to which that has come, and how long the rest
   * takes at the rate so far, s; undefined before anything was read.
   */
  | {
      readonly kind: 'restore'
      readonly task: string
      readonly records: number
      readonly bytes: number
      readonly left: number
      readonly reached: number
      readonly secondsLeft: number | undefined
    }
  | { readonly kind: 'failure'; readonly task: string; readonly step: string; readonly decision: string; readonly error: TidemarkError }
  | { readonly kind: 'warning'; readonly error: TidemarkError }

export interface Telemetry {
  count(counter: Counter, labels: Labels, by?: number): void
  event(event: TelemetryEvent): void
}

/** A telemetry that hears nothing. */
export const silent: Telemetry = { count: () => {}, event: () => {} }
