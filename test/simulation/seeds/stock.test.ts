import { holdsUnderItsSeeds } from '../kit.ts'
import { stockCase } from '../topologies/stock.ts'

holdsUnderItsSeeds(stockCase)
