/**
 * The one place that decides what an error means. A record may fail; then its step's policy says what becomes of it. A store, a log or
 * tidemark itself may fail; then no record is to blame, and the task is opened again.
 */
import { codeOf, type ErrorCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Failure } from '../topology/node.ts'

/** What to do about a failed invocation. */
export type Verdict = 'again' | Failure | 'drop' | 'reopen'

/** Errors of what the runtime stands on: the record is good, and will be processed when that works again. */
const NOT_THE_RECORD: ReadonlySet<ErrorCode> = new Set([
  'STORE_LOCKED',
  'STORE_CORRUPT',
  'STORE_IO',
  'STORE_FOREIGN',
  'LOG_LOCKED',
  'LOG_CORRUPT',
  'LOG_IO',
  'LOG_CLOSED',
  'SCHEMA_SOURCE_FAILED',
  'WRITER_FENCED',
  'APP_CLOSED',
])

/** Errors that another try cannot mend, because the same bytes give the same answer. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set([
  'SCHEMA_UNKNOWN',
  'SCHEMA_INVALID',
  'SCHEMA_INCOMPATIBLE',
  'FRAMING_INVALID',
  'VALUE_INVALID',
  'KEY_INVALID',
  'ENVELOPE_INVALID',
  'EVENT_UNKNOWN',
  'SOURCE_FOREIGN',
  'REASON_UNKNOWN',
  'PARTITION_MISMATCH',
  'STEP_REJECTED',
  'FACT_FOREIGN',
  'BATCH_LIMIT',
])

export interface Policy {
  readonly retry: number
  readonly then: Failure
  /** What the source's contract says of event types that it does not know. */
  readonly unknownEvents: 'dead-letter' | 'ignore'
}

/** @param attempt how often the invocation has failed, this time included */
export function verdictOn(error: unknown, attempt: number, policy: Policy): Verdict {
  const code = codeOf(error)
  if (code !== undefined) {
    if (NOT_THE_RECORD.has(code)) return 'reopen'
    if (code === 'TASK_HALTED') return 'halt'
    if (code === 'EVENT_UNKNOWN' && policy.unknownEvents === 'ignore') return 'drop'
    if (HOPELESS.has(code)) return policy.then
  }
  return attempt <= policy.retry ? 'again' : policy.then
}

/**
 * What it means for a task that a partition of its cannot be read: a disk that failed may work again, damage stays. What the log asks for again by
 * itself costs the task nothing but time.
 */
export function verdictOnRead(error: TidemarkError): 'halt' | 'reopen' | 'again' {
  if (error.code === 'PARTITION_UNREADABLE') return 'again'
  return error.code === 'LOG_IO' ? 'reopen' : 'halt'
}

/** What was thrown, as an error with a code. What a user's function throws is none of ours, and keeps its message as the detail. */
export function asFailure(error: unknown, step: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  const message = error instanceof Error ? `${error.name}: ${error.message}` : `It threw ${messageOf(error)}.`
  return new TidemarkError('STEP_FAILED', `step "${step}" threw`, { detail: message, cause: error })
}

/** Ends the work of a task: thrown through the interpreter, which has undone the invocation. */
export class TaskStopped extends Error {
  readonly verdict: 'halt' | 'reopen'
  readonly step: string
  readonly failure: TidemarkError
  constructor(verdict: 'halt' | 'reopen', step: string, failure: TidemarkError) {
    super(failure.message, { cause: failure })
    this.verdict = verdict
    this.step = step
    this.failure = failure
  }
}

/** How long to wait before the next try: bounded, doubling, with full jitter, so that many do not try at once. */
export function backoffMs(
  attempt: number,
  unit: number,
  { firstMs = 100, maxMs = 10_000 }: { firstMs?: number; maxMs?: number } = {},
): number {
  return Math.round(unit * Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 20)))
}

/** Errors that trying again cannot mend, and that somebody must see. What has no code is a defect, and is not tried again either. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  // What the log refuses from a commit it refuses from the next one, too, which is made of the same records.
  'BATCH_LIMIT',
  'KEY_INVALID',
  'TIMESTAMP_REFUSED',
  'DEAD_LETTER_FAILED',
  'STORE_FOREIGN',
  'STORE_LOCKED',
  'TOPIC_RECREATED',
  'TOPIC_UNKNOWN',
  'TOPIC_MISMATCH',
  'LOG_CLOSED',
  'LOG_CORRUPT',
  'OFFSETS_LOST',
  'TASK_FAILED',
  'OPTION_INVALID',
  // Which generations are live was decided anew: only another start knows them.
  'PLAN_CHANGED',
  'MEMBER_REPLACED',
  'GROUP_REFUSED',
  'KAFKAJS_UNSUPPORTED',
  'API_UNSUPPORTED',
  'AUTHENTICATION_FAILED',
  'TLS_FAILED',
  'NOT_AUTHORIZED',
])

export function isFinal(error: unknown): boolean {
  const code = codeOf(error)
  return code === undefined || FINAL.has(code)
}
