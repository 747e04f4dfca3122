/** A simulated Kafka cluster, and our driver over it. Named re-exports only. */
export { SimKafka, type SimKafkaOptions, type Use } from './cluster.ts'
export { eyeOf } from './eye.ts'
export { type Brokers, FAIR_WEATHER, type Fate, type Site, simulatedDial, type Weather } from './line.ts'
export { served } from './serve.ts'
export { realTimeline, type Timeline, virtualTimeline } from './timeline.ts'
