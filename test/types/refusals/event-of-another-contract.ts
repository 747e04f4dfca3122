// refused: Property 'Paid' does not exist on type
// A context speaks only its own language.
import type { Flow } from '#tidemark'
import { keyOf, placedOnce, stockChanges } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).translate('as-reservations', stockChanges, {
    OrderPlaced: (event, fact) => stockChanges.make.Paid(keyOf(fact), { quantity: event.quantity }),
    OrderCancelled: 'ignore',
  })
