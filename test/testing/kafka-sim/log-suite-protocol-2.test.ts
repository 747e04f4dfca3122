import { simulatedSuite } from './suite.ts'

simulatedSuite(2)
