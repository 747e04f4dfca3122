/** What a check gets, and says: a fault with an input and an oracle of its own. */

export interface CheckOptions {
  /** An empty folder for what workers keep and say. */
  readonly folder: string
  readonly seed: number
  /** `at-least-once` has to fail where rows are counted, or the oracle is blind. Default `exactly-once`. */
  readonly guarantee?: 'exactly-once' | 'at-least-once'
  /** How often the fault is done, of each kind that the check has. */
  readonly times: number
  /** Records that are processed meanwhile. */
  readonly records: number
}

export interface CheckResult {
  /** Faults done. */
  readonly faults: number
  /** Records that went in. */
  readonly records: number
  /** What is wrong, a sentence each; nothing where the check holds. */
  readonly faulty: readonly string[]
  /** What was seen, for the table. */
  readonly seen: string
  /** Times, which are of one machine at one hour: for the screen alone. */
  readonly figures?: readonly string[]
}

export interface Check {
  readonly name: string
  /** What it proves, for the table. */
  readonly about: string
  /** How often in a full run, and with how many records. */
  readonly times: number
  readonly records: number
  /** The number of records is part of the fault, and no scale changes it. */
  readonly fixed?: boolean
  readonly run: (options: CheckOptions) => Promise<CheckResult>
}
