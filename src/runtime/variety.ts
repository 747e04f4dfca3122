/**
 * Texts from records as values of counters. Whoever may write to a topic chooses them, and every new one is a series that a metrics store keeps: so
 * each step of an application has room for so many in the life of a process, and they are what a label may be.
 */

/** Values a step and counter. What comes later is counted as `other`. */
export const VARIETY_MAX = 50
const LENGTH_MAX = 100

export class Variety {
  readonly #known = new Map<string, Set<string>>()

  /** The text as a value of `counter`, with `?` in place of what a name has not, or `other`. */
  of(step: string, counter: string, text: string): string {
    const of = `${counter} ${step}`
    let known = this.#known.get(of)
    if (known === undefined) {
      known = new Set()
      this.#known.set(of, known)
    }
    const value = text.slice(0, LENGTH_MAX).replace(/[^\w.$:/-]/g, '?')
    if (known.has(value)) return value
    if (known.size >= VARIETY_MAX) return 'other'
    known.add(value)
    return value
  }
}
