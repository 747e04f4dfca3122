/** For tests of topologies, and of drivers that want to be one of tidemark's. */
export {
  type FaultProxy,
  faultProxy,
  type KafkaCluster,
  type KafkaNode,
  type KafkaOptions,
  type KafkaSecurity,
  type SecuredAccess,
  startKafka,
  type TestKafka,
  testKafka,
  unsignedToken,
  whyNoKafka,
} from './broker/index.ts'
export { type ManualClock, manualClock, TEST_EPOCH_MS } from './clock.ts'
export { type DiskFaults, type SimulatedDisk, simulatedDisk } from './disk.ts'
export { CRASH, type Crash, type Harness, type HarnessOptions, harness, type RawRecord, type Seen } from './harness.ts'
export { logSuite } from './log-suite.ts'
export { seededRandom } from './random.ts'
export {
  type Expected,
  type FaultKind,
  type Fed,
  type FedFact,
  type FedRecord,
  fed,
  type Oracle,
  type OutputModel,
  type Recorded,
  type Rows,
  type Settings,
  type Simulated,
  type SimulateOptions,
  simulate,
} from './simulate.ts'
export { storeSuite } from './store-suite.ts'
