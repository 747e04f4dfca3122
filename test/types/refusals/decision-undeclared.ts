// refused: Argument of type '"sell"' is not assignable to parameter of type '"ship"'
// A decision rests on a staleness that the projection declared for it.
import type { View } from '#tidemark'
import type { Stock } from './given.ts'

export const refused = (view: View<string, Stock, 'ship'>): unknown => view.decide('sell', 'k')
