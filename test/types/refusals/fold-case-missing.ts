// refused: Property 'OrderCancelled' is missing in type
// A fold has a case for every event.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock, window } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', { row: Stock, identity: 'once', windows: { 'order-lifecycle': window }, fold: { OrderPlaced: () => row } })
