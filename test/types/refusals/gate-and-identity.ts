// refused: Refused<"its identity makes this fold safe, so it has no gate">
// A fold that replaces has a gate, one that adds up names its identity; both at once contradict each other.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock, window } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', {
    row: Stock,
    identity: 'once',
    gate: { version: () => 1 },
    windows: { 'order-lifecycle': window },
    fold: () => row,
  })
