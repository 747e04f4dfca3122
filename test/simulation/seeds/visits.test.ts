import { holdsUnderItsSeeds } from '../kit.ts'
import { visitsCase } from '../topologies/visits.ts'

holdsUnderItsSeeds(visitsCase)
