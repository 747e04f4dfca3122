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
 * Named `<part>.<before or after>-<deed>`, such as `commit.after-outputs`.
 */
export interface Failpoint {
  hit(name: string): Promise<void> | undefined
  /**
   * Whether somebody waits at a place. Asked for places that are there only when deeds follow one another that else go side by side; without
   * this function nobody waits at any of them.
   */
  armed?(name: string): boolean
}
