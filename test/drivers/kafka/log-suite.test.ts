import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'
import { kafkaSuite } from './suite.ts'

describeUnless(await whyNotStarted('4.3.1'), 'a broker with transaction protocol 2', () => kafkaSuite('4.3.1'))
