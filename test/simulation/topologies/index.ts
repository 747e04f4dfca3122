import { balancesCase } from './balances.ts'
import type { Case } from './case.ts'
import { countingCase } from './counting.ts'
import { paymentsCase } from './payments.ts'
import { stockCase } from './stock.ts'
import { visitsCase } from './visits.ts'

/** Every topology that is simulated, in the order in which seeds go round. */
export const CASES: readonly Case[] = [countingCase, stockCase, visitsCase, balancesCase, paymentsCase]

/** Each seed has one topology. */
export function caseOf(seed: number): Case {
  return CASES[seed % CASES.length] as Case
}
