import { holdsUnderItsSeeds } from '../kit.ts'
import { countingCase } from '../topologies/counting.ts'

holdsUnderItsSeeds(countingCase)
