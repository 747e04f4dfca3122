// refused: Property 'identity' is missing in type
// A fold says what makes it safe.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock, window } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', { row: Stock, windows: { 'order-lifecycle': window }, fold: () => row })
