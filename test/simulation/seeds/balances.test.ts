import { holdsUnderItsSeeds } from '../kit.ts'
import { balancesCase } from '../topologies/balances.ts'

holdsUnderItsSeeds(balancesCase)
