// refused: Property 'insert' does not exist on type 'Scope'
// Rows are put and deleted. There is no insert that fails on what is there, which a repeated fact would make fail.
import type { Scope } from '#tidemark'

export const refused = (scope: Scope): unknown => scope.insert('row')
