// refused: Property 'physical' does not exist on type 'Answer<Stock>'
// A read gives value and freshness; nobody gets the one and forgets the other by accident.
import type { View } from '#tidemark'
import type { Stock } from './given.ts'

export const refused = async (view: View<string, Stock, never>): Promise<number> => (await view.get('k')).physical
