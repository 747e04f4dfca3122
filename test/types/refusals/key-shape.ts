// refused: Property 'region' is missing in type
// A view is read under the key that its projection has.
import type { View } from '#tidemark'
import type { Stock } from './given.ts'

export const refused = (view: View<{ readonly sku: string; readonly region: string }, Stock, never>): unknown => view.get({ sku: 'a' })
