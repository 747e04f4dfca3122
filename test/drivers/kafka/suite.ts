/** The log suite on a Kafka of its own, which it may kill. */
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { KAFKA_MANIFEST, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { type KafkaNode, type KafkaVersion, startKafka } from '../../../src/testing/broker/index.ts'
import { logSuite } from '../../../src/testing/log-suite.ts'
import { compactNow } from './compact.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

export function kafkaSuite(version: KafkaVersion): void {
  logSuite({
    name: `Kafka ${version}`,
    manifest: KAFKA_MANIFEST,
    codecs: nativeCodecs,
    sessionMs: 2_000,
    make: async () => {
      const cluster = await startKafka({ version })
      const connect = async (): Promise<Log> => (await kafka({ brokers: cluster.brokers, transactionMs: 15_000 }).open(parts)).log
      return {
        connect,
        compact: (topic) => compactNow(cluster.brokers, topic),
        restart: async () => {
          const node = cluster.nodes[0] as KafkaNode
          await node.kill()
          await node.start()
        },
        stop: () => cluster.stop(),
      }
    },
  })
}
