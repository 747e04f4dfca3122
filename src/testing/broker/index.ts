/** A real Kafka, and a proxy in front of it that does harm: for tests of drivers and of topologies that run on Kafka. */
export { KAFKA_VERSIONS, type KafkaVersion } from './artifacts.ts'
export { type TestKafka, testKafka, whyNoKafka } from './availability.ts'
export { type KafkaCluster, type KafkaOptions, startKafka } from './kafka.ts'
export type { KafkaNode } from './node.ts'
export { type Direction, type FaultProxy, faultProxy, type ProxiedConnection, type Trap, type Wanted } from './proxy.ts'
export { type KafkaSecurity, type SecuredAccess, unsignedToken } from './security.ts'
