/** Whether the log may still write: one answer for all its parts. */
import type { TidemarkError } from '../../base/errors.ts'
import { closedError, refusesWrites } from './errors.ts'

export class Health {
  /** What made the log stop writing; reading goes on. Only a new opening ends it. */
  failure: TidemarkError | undefined
  closed = false

  fail(error: TidemarkError): void {
    this.failure ??= error
  }

  /** Why nothing may be written now, or undefined. */
  refusal(): TidemarkError | undefined {
    if (this.closed) return closedError()
    return this.failure === undefined ? undefined : refusesWrites(this.failure)
  }
}
