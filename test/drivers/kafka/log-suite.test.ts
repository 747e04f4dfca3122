import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { KAFKA_MANIFEST, kafka } from '../../../src/drivers/kafka/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { type KafkaNode, startKafka } from '../../../src/testing/broker/index.ts'
import { logSuite } from '../../../src/testing/log-suite.ts'
import { describeUnless, whyNotStarted } from '../../kafka/shared.ts'
import { compactNow } from './compact.ts'

const parts = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

describeUnless(await whyNotStarted(), 'a broker with transaction protocol 2', () => {
  logSuite({
    name: 'Kafka 4.3.1',
    manifest: KAFKA_MANIFEST,
    codecs: nativeCodecs,
    sessionMs: 2_000,
    make: async () => {
      const cluster = await startKafka()
      const connect = async (): Promise<Log> => (await kafka({ brokers: cluster.brokers, transactionMs: 5_000 }).open(parts)).log
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
})
