// refused: Property 'now' does not exist on type 'Fact<string>'
// Time comes with the fact; there is no clock to ask, so a replay comes to the same result.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock, window } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).project('p', {
    row: Stock,
    identity: 'once',
    windows: { 'order-lifecycle': window },
    fold: (_row, _event, fact) => (fact.now() > 0 ? row : undefined),
  })
