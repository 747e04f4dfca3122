// refused: Type '"OrderPlaced"' is not assignable to type '"Reserved"'
// Not even by passing on what came.
import type { Flow } from '#tidemark'
import { keyOf, placedOnce, stockChanges } from './given.ts'

export const refused = (flow: Flow): unknown =>
  placedOnce(flow).translate('as-reservations', stockChanges, {
    OrderPlaced: (event, fact) => ({ key: keyOf(fact), value: event }),
    OrderCancelled: 'ignore',
  })
