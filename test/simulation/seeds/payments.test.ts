import { holdsUnderItsSeeds } from '../kit.ts'
import { paymentsCase } from '../topologies/payments.ts'

holdsUnderItsSeeds(paymentsCase)
