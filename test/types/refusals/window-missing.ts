// refused: Property '"order-lifecycle"' is missing in type '{}'
// A projection says how far it may lag each fact that it descends from.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', { row: Stock, identity: 'once', windows: {}, fold: () => row })
