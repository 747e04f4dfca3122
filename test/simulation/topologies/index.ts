import { balancesCase } from './balances.ts'
import type { Case } from './case.ts'
import { countingCase } from './counting.ts'
import { paymentsCase } from './payments.ts'
import { retailCase } from './retail.ts'
import { stockCase } from './stock.ts'
import { visitsCase } from './visits.ts'

/** Those that seeds go round, in this order. */
const ROUND: readonly Case[] = [countingCase, stockCase, visitsCase, balancesCase, paymentsCase]
/** Every topology that is simulated. */
export const CASES: readonly Case[] = [...ROUND, retailCase]

/** Each seed has one topology. Retail is run besides, where it is asked for: what a seed has been stays what it is. */
export function caseOf(seed: number): Case {
  return ROUND[seed % ROUND.length] as Case
}
