// refused: Property 'OrderCancelled' is missing in type
// A translation has a case for every event of its source, so that a new one is never passed over in silence.
import type { Flow } from '#tidemark'
import { keyOf, placedOnce, stockChanges } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).translate('as-reservations', stockChanges, {
    OrderPlaced: (event, fact) => stockChanges.make.Reserved(keyOf(fact), { quantity: event.quantity }),
  })
