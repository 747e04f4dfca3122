import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'
import { kafkaSuite } from './suite.ts'

describeUnless(await whyNotStarted('3.9.2'), 'a broker with transaction protocol 1', () => kafkaSuite('3.9.2'))
