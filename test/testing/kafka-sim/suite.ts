/** The log suite on a simulated cluster: what is true of a real Kafka must be true of the one that the simulator works with. */
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { KAFKA_MANIFEST, openClient } from '../../../src/drivers/kafka/client.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { DEFAULT_LIMITS } from '../../../src/ports/record-batch/index.ts'
import { FAIR_WEATHER, realTimeline, SimKafka, served, simulatedDial } from '../../../src/testing/kafka-sim/index.ts'
import { logSuite } from '../../../src/testing/log-suite.ts'

/** Time for a marker, for news among brokers, and after a transaction has run out of time, ms. */
const MARKER_MS = 2
const NEWS_MS = 5
const CLEANUP_MS = 50

export function simulatedSuite(protocol: 1 | 2): void {
  logSuite({
    name: `a simulated Kafka with transaction protocol ${protocol}`,
    manifest: KAFKA_MANIFEST,
    codecs: nativeCodecs,
    sessionMs: 500,
    make: async () => {
      const timeline = realTimeline(nodeClock)
      const kafka = new SimKafka({
        timeline,
        codecs: nativeCodecs,
        protocol,
        markerMs: () => MARKER_MS,
        newsMs: () => NEWS_MS,
        cleanupMs: () => CLEANUP_MS,
      })
      const dial = simulatedDial(served(kafka), { program: timeline, road: timeline, cutOff: () => false, weather: FAIR_WEATHER })
      const link = { clientId: 'suite', ssl: undefined, sasl: undefined, connectMs: 3_000 }
      const connect = (): Promise<Log> =>
        openClient({
          of: { seeds: kafka.seeds, link, clock: nodeClock, random: nodeRandom, dial },
          codecs: nativeCodecs,
          limits: DEFAULT_LIMITS,
          replication: -1,
          transactionMs: 3_000,
        })
      return {
        connect,
        compact: async (topic) => {
          for (const partition of kafka.topics.get(topic)?.partitions ?? []) partition.compact()
        },
        restart: async () => {
          for (const node of kafka.nodeIds) kafka.stop(node)
          for (const node of kafka.nodeIds) kafka.start(node)
        },
        stop: () => Promise.resolve(),
      }
    },
  })
}
