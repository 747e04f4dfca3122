// refused: Property 'value' does not exist on type
// A refused decision has no value to use all the same.
import type { View } from '#tidemark'
import type { Stock } from './given.ts'

export const refused = async (view: View<string, Stock, 'ship'>): Promise<unknown> => (await view.decide('ship', 'k')).value
