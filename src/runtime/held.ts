/**
 * How much steps hold back at a moment: facts, and the keys that wait or are parked.
 *
 * The rows are what is true, and the counts follow them as the sums do: they change where a main row becomes bytes (`store-state.ts`) and are
 * written with what each commit says of its task (`meta.ts`). So they are right after a crash, a restore and a move to another worker, and no start
 * reads rows for them. Where no commit has said them, they are counted from the rows, once (`state.ts`).
 */
import type { Holding } from '../topology/node.ts'

export interface Held {
  /** Facts that are held. */
  readonly facts: number
  /** Keys that they are held of. */
  readonly keys: number
  /** Those of the keys that are parked; the others only wait for a predecessor. */
  readonly parked: number
}

/** What one step holds. */
export interface HeldAt extends Held {
  readonly step: string
}

/** Counts that are changed in place. */
export class HeldCount implements Held {
  facts = 0
  keys = 0
  parked = 0

  /** Adds what is held of a key, or takes it away. */
  add({ facts, parked }: Holding, sign: 1 | -1): void {
    this.facts += sign * facts
    this.keys += sign
    if (parked !== undefined) this.parked += sign
  }

  set({ facts, keys, parked }: Held): void {
    this.facts = facts
    this.keys = keys
    this.parked = parked
  }
}

/** All of it together. */
export function heldTogether(all: readonly Held[]): Held {
  let facts = 0
  let keys = 0
  let parked = 0
  for (const each of all) {
    facts += each.facts
    keys += each.keys
    parked += each.parked
  }
  return { facts, keys, parked }
}

/** What each step holds, over all its stores and tasks; steps in the order in which they come. */
export function heldByStep(all: readonly HeldAt[]): HeldAt[] {
  return [...Map.groupBy(all, ({ step }) => step)].map(([step, parts]) => ({ step, ...heldTogether(parts) }))
}
