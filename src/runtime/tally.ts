/** Counts of one step since the last commit. They reach telemetry when the commit has succeeded, so that a crash counts nothing twice. */
import { COUNTERS, type Counter, type Telemetry } from '../ports/telemetry.ts'

const ZERO = Object.fromEntries(Object.keys(COUNTERS).map((counter) => [counter, 0])) as Record<Counter, number>

export type Counts = readonly (readonly [step: string, counter: Counter, value: string | number | undefined, by: number])[]

export class Tally {
  readonly step: string
  #plain: Record<Counter, number> = { ...ZERO }
  #valued = new Map<string, { counter: Counter; value: string | number; by: number }>()

  constructor(step: string) {
    this.step = step
  }

  /** Bound, because it is handed to the user's functions. */
  readonly count = (counter: Counter, value?: string | number): void => {
    if (value === undefined) {
      this.#plain[counter] += 1
      return
    }
    const name = `${counter} ${value}`
    const known = this.#valued.get(name)
    if (known !== undefined) known.by += 1
    // Values come from data, so their variety is bounded here and not by trust.
    else if (this.#valued.size < 100) this.#valued.set(name, { counter, value, by: 1 })
    else this.#plain[counter] += 1
  }

  add(counter: Counter, by: number): void {
    this.#plain[counter] += by
  }

  /** What has been counted, and begins again. */
  take(): Counts {
    const counts: [string, Counter, string | number | undefined, number][] = []
    for (const counter of Object.keys(this.#plain) as Counter[]) {
      if (this.#plain[counter] === 0) continue
      counts.push([this.step, counter, undefined, this.#plain[counter]])
      this.#plain[counter] = 0
    }
    for (const { counter, value, by } of this.#valued.values()) counts.push([this.step, counter, value, by])
    this.#valued.clear()
    return counts
  }
}

export function report(counts: Counts, telemetry: Telemetry): void {
  for (const [step, counter, value, by] of counts) telemetry.count(counter, value === undefined ? { step } : { step, value }, by)
}
