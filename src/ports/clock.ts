/** Time and turns. Nothing outside a clock driver may ask the system for either, so a test can move both by hand. */

export interface Clock {
  /** Wall time, ms since 1970. May jump; never use it to measure. */
  now(): number
  /** Time since some fixed moment, ms. Never goes back; use it for leases, ages and timeouts. */
  mono(): number
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Lets input and output happen, then resolves. The hot path gives up its turn here, and only here. */
  turn(): Promise<void>
}

export interface Random {
  /** A number in [0, 1). */
  unit(): number
  /** An identity that no one else has, 32 hex digits. */
  id(): string
}

/**
 * Named places where a test may crash, delay or fail the process. The production driver does nothing.
 * Named `<part>.<before or after>-<deed>`, such as `commit.after-append`.
 */
export interface Failpoint {
  hit(name: string): Promise<void> | undefined
}
