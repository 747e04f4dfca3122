/**
 * Rows of ranged stores, loaded before what needs them runs, so that `scope.range` reads memory: for every key of a batch, and for every key
 * that a timer may wake meanwhile. Their slots stay pinned until that is through.
 *
 * Not promised for keys that only turn up on the way, such as those of a timer that another step's own times make due earlier than the
 * batch's: `scope.range` then refuses with SCOPE_TOO_LARGE.
 */
import type { Columns } from '../ports/record-batch/index.ts'
import type { KeySlot } from './slots.ts'
import type { TaskState } from './state.ts'
import type { StoreState } from './store-state.ts'

/** Slots that were loaded for something, each pinned once. */
export type Pinned = ReadonlySet<KeySlot>

export class Ranges {
  readonly #state: TaskState | undefined
  readonly #ranged: readonly StoreState[]

  constructor(state: TaskState | undefined) {
    this.#state = state
    this.#ranged = state?.stores.filter((store) => store.ranged) ?? []
  }

  /** Whether there is anything to load at all. */
  get needed(): boolean {
    return this.#ranged.length > 0
  }

  /** For the keys of a batch, and for keys that its times may wake. A key woken in one step may go on to a ranged one, so all stores count. */
  async loadBatch({ payload, keyAt, keyEnd, timestamps, count }: Columns, from: number): Promise<Pinned> {
    const { stores, slots } = this.#state as TaskState
    const pinned = new Set<KeySlot>()
    let latest = Number.NEGATIVE_INFINITY
    for (let i = from; i < count; i++) {
      latest = Math.max(latest, timestamps[i] as number)
      if ((keyAt[i] as number) >= 0) pin(pinned, slots.of(payload, keyAt[i] as number, keyEnd[i] as number))
    }
    for (const { timers } of stores) for (const key of timers.keysDue(latest)) pin(pinned, slots.of(key, 0, key.length))
    return this.#load(pinned)
  }

  /** For the keys that wall time wakes by `now`. */
  async loadWall(now: number): Promise<Pinned> {
    const { stores, slots } = this.#state as TaskState
    const pinned = new Set<KeySlot>()
    for (const { wallTimers } of stores) for (const key of wallTimers.keysDue(now)) pin(pinned, slots.of(key, 0, key.length))
    return this.#load(pinned)
  }

  async #load(pinned: Pinned): Promise<Pinned> {
    for (const slot of pinned) for (const store of this.#ranged) await (this.#state as TaskState).load(slot, store)
    return pinned
  }
}

/** At once, before the next slot is asked for: making room for that one must not take this one away. */
function pin(pinned: Set<KeySlot>, slot: KeySlot): void {
  if (pinned.has(slot)) return
  slot.pins += 1
  pinned.add(slot)
}

export function unpin(pinned: Pinned): void {
  for (const slot of pinned) slot.pins -= 1
}
