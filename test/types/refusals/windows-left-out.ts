// refused: Property 'windows' is missing in type
// Also where nothing at all is said of windows.
import type { Flow } from '#tidemark'
import { placedOnce, row, Stock } from './given.ts'

export const refused = (flow: Flow): unknown => placedOnce(flow).project('p', { row: Stock, identity: 'once', fold: () => row })
