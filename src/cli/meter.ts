/**
 * A telemetry that a display reads: totals of every counter since the start, rates of the last seconds, and what has to be told.
 * It keeps no history and no keys.
 */
import type { ErrorCode, TidemarkError } from '../base/errors.ts'
import type { Counter, Labels, Telemetry, TelemetryEvent } from '../ports/telemetry.ts'

/** Rates are those of so long, ms. */
const RATE_MS = 3_000
/** Notices kept; older ones were shown. */
const NOTICES_MAX = 20

/** Errors of what lies on a disk. Opening a task again mends some of them, and the others stay until somebody acts. */
const OF_THE_DISK: ReadonlySet<ErrorCode> = new Set(['STORE_IO', 'STORE_CORRUPT', 'LOG_IO', 'LOG_CORRUPT'])
/** A task that failed so often for the same reason will not be mended by the next opening. */
const FAILURES_MAX = 3

interface Mark {
  readonly at: number
  readonly in: number
  readonly out: number
}

export interface Notice {
  readonly kind: 'note' | 'warning' | 'failure'
  readonly text: string
}

export class Meter implements Telemetry {
  readonly #sources: ReadonlySet<string>
  readonly #totals = new Map<Counter, number>()
  /** Where tasks began that went on from an earlier life: the sum of their positions. */
  readonly #resumed = new Map<string, number>()
  readonly #restoring = new Map<string, { readonly left: number; readonly secondsLeft: number | undefined }>()
  #marks: Mark[] = []
  #taken = 0
  #told = ''
  /** What has to be told, oldest first. */
  readonly notices: Notice[] = []
  /** Set when the log refused a write: it takes no more until it is opened again. */
  refused: TidemarkError | undefined
  /** Set when a task failed for its disk again and again. It is still tried, less and less often; who waits for an end waits in vain. */
  stuck: TidemarkError | undefined
  readonly #failed = new Map<string, number>()

  /** @param sources steps that read what comes from outside: only they count as input */
  constructor(sources: Iterable<string>) {
    this.#sources = new Set(sources)
  }

  count(counter: Counter, labels: Labels, by = 1): void {
    this.#totals.set(counter, this.of(counter) + by)
    if (counter === 'records_in' && labels.step !== undefined && this.#sources.has(labels.step)) this.#taken += by
    if (counter === 'wipes')
      this.notice('warning', `local state of stage "${labels.step}" was dropped (${labels.value}) and is restored from its changelog`)
  }

  event(event: TelemetryEvent): void {
    switch (event.kind) {
      case 'restore':
        this.#restoring.set(event.task, event)
        return
      case 'opened':
        if (event.resumed)
          this.#resumed.set(
            event.task,
            [...event.positions.values()].reduce((sum, position) => sum + position, 0),
          )
        return
      case 'task':
        this.#restoring.delete(event.task)
        this.#noteFailure(event.task, event.error)
        if (event.error !== undefined)
          this.notice('warning', `task ${event.task} is ${event.state} and will be opened again: ${told(event.error)}`)
        return
      case 'worker':
        // An embedded log whose disk refused a write waits for its next opening, so going on would only repeat that.
        if (event.error?.code === 'LOG_IO') this.refused ??= event.error
        if (event.error !== undefined && event.state !== 'failed')
          this.notice('warning', `the worker is ${event.state}: ${told(event.error)}`)
        return
      case 'failure':
        this.#noteFailure(event.task, event.error)
        if (event.decision === 'halt') this.notice('failure', `task ${event.task} halted at "${event.step}": ${told(event.error)}`)
        else if (event.decision === 'again') this.notice('warning', told(event.error))
        else this.notice('warning', `task ${event.task} failed at "${event.step}" and is opened again: ${told(event.error)}`)
        return
      case 'warning':
        this.notice('warning', told(event.error))
    }
  }

  #noteFailure(task: string, error: TidemarkError | undefined): void {
    if (error === undefined || !OF_THE_DISK.has(error.code)) return
    const key = `${task} ${error.code}`
    const times = (this.#failed.get(key) ?? 0) + 1
    this.#failed.set(key, times)
    if (times >= FAILURES_MAX) this.stuck ??= error
  }

  /** Notes what has to be told; what was told last is not repeated. */
  notice(kind: Notice['kind'], text: string): void {
    if (this.#told === text) return
    this.#told = text
    this.notices.push({ kind, text })
    if (this.notices.length > NOTICES_MAX) this.notices.shift()
  }

  /** Tasks that went on from an earlier life, and about how many records that had taken from their sources and inboxes. */
  get resumed(): { readonly tasks: number; readonly records: number } {
    let records = 0
    for (const each of this.#resumed.values()) records += each
    return { tasks: this.#resumed.size, records }
  }

  /** How often something was counted since the start. */
  of(counter: Counter): number {
    return this.#totals.get(counter) ?? 0
  }

  /** Records from outside, and records written, a second, as of `at` (ms by a clock that never goes back). */
  rates(at: number): { readonly in: number; readonly out: number } {
    const now: Mark = { at, in: this.#taken, out: this.of('records_out') }
    this.#marks = [...this.#marks.filter((mark) => at - mark.at <= RATE_MS), now]
    const first = this.#marks[0] as Mark
    const seconds = (at - first.at) / 1_000
    return seconds <= 0 ? { in: 0, out: 0 } : { in: (now.in - first.in) / seconds, out: (now.out - first.out) / seconds }
  }

  /** Tasks that are being restored, how many records that still takes, and how long, s: of the one that takes longest, as far as is known. */
  get restoring(): { readonly tasks: number; readonly left: number; readonly secondsLeft: number | undefined } {
    let left = 0
    let secondsLeft: number | undefined
    for (const each of this.#restoring.values()) {
      left += each.left
      if (each.secondsLeft !== undefined) secondsLeft = Math.max(secondsLeft ?? 0, each.secondsLeft)
    }
    return { tasks: this.#restoring.size, left, secondsLeft }
  }
}

function told(error: TidemarkError): string {
  return `${error.code}: ${error.message}`
}
