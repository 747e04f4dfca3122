/**
 * Parked keys of a step. A record that fails where `onError` says park takes its key out of the flow: the record and every successor of that
 * key are held in order, as bytes, in a store of the step's own, while all other keys go on.
 */
import { invariant } from '../base/assert.ts'
import type { TidemarkError } from '../base/errors.ts'
import type { Holding, RowFormat } from '../topology/node.ts'
import type { Rec } from './record.ts'
import { type NodeScope, STATE_KEY_MAX, slotOf } from './scope.ts'
import type { KeySlot } from './slots.ts'
import type { TaskState } from './state.ts'

interface ParkedKey {
  readonly code: string
  readonly reason: string
  /** Number of the next record to be held; they count from 1. */
  readonly next: number
}

const MAIN = 0
const HELD = 1
/** Main row: why, and how many; rows `!p<n>`: the records, oldest first. */
export const parkedFormat: RowFormat = {
  write: (value, into) => {
    if (value instanceof Uint8Array) {
      into.u8(HELD).put(value)
      return
    }
    const { code, reason, next } = value as ParkedKey
    into.u8(MAIN).uvarint(next).text(code).text(reason)
  },
  read: (bytes) => {
    if (bytes.u8() === HELD) return Buffer.from(bytes.take(bytes.end - bytes.at))
    const next = bytes.uvarint()
    return { next, code: bytes.text(), reason: bytes.text() }
  },
}

/** What is held of a parked key, by its main row. */
export function holdingOf(row: unknown): Holding {
  const { code, reason, next } = row as ParkedKey
  return { facts: next - 1, parked: `${code}: ${reason}` }
}

export class Parking {
  readonly #state: TaskState
  readonly #scope: NodeScope

  constructor(state: TaskState, scope: NodeScope) {
    this.#state = state
    this.#scope = scope
  }

  /** Whether a record has a key that can be parked: one at all, and none so long that no row fits under it. */
  takes(rec: Rec): boolean {
    return rec.slot !== undefined || (rec.keyAt >= 0 && rec.keyEnd - rec.keyAt <= STATE_KEY_MAX)
  }

  /** Holds a record whose key is parked; false when it is not, and the record may go on. @throws TidemarkError BATCH_LIMIT */
  holds(rec: Rec): boolean {
    const { store } = this.#scope
    // Almost always nothing is parked at all, and that costs two comparisons.
    if (store.dirty.length === 0 && store.sums.rows === 0) return false
    if (!this.takes(rec)) return false
    const slot = slotOf(this.#state, rec)
    this.#scope.begin(slot, rec)
    const parked = this.#scope.get() as ParkedKey | undefined
    if (parked === undefined) return false
    this.#hold(slot, rec, parked)
    return true
  }

  /** Parks the key of a record that failed. A key that is parked already stays so for its first reason: the record lines up. @throws TidemarkError BATCH_LIMIT */
  park(rec: Rec, error: TidemarkError): void {
    const slot = slotOf(this.#state, rec)
    this.#scope.begin(slot, rec)
    const parked = this.#scope.get() as ParkedKey | undefined
    this.#hold(slot, rec, parked ?? { code: error.code, reason: error.message, next: 1 })
  }

  #hold(slot: KeySlot, rec: Rec, parked: ParkedKey): void {
    invariant(parked.next >= 1, 'held records are numbered from 1')
    const kept = rec.keep()
    this.#scope.begin(slot, rec)
    this.#scope.put(kept, `!p${parked.next.toString(16).padStart(14, '0')}`)
    this.#scope.put({ ...parked, next: parked.next + 1 })
    this.#scope.end()
  }
}
