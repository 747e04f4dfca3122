/**
 * Where tests get their Kafka from, and why there is none. Containers are not among the sources: a container would add an engine, a package of
 * fifteen others and an image to what has to be there, and could be neither frozen nor killed like a process. Whoever has one running names
 * it in `TIDEMARK_TEST_BROKERS`.
 */
import { TidemarkError } from '../../base/errors.ts'
import { KAFKA_ARTIFACTS, KAFKA_VERSIONS, type KafkaVersion } from './artifacts.ts'
import { jarsOf } from './jars.ts'
import { javaOf } from './java.ts'
import { type KafkaCluster, type KafkaOptions, startKafka } from './kafka.ts'
import { requireShell } from './process.ts'

/** A Kafka to test against. Only one that was started here can be killed, paused and started again. */
export type TestKafka =
  | { readonly source: 'given'; readonly brokers: readonly string[] }
  | { readonly source: 'started'; readonly brokers: readonly string[]; readonly cluster: KafkaCluster }
  | { readonly source: 'none'; readonly reason: string }

/**
 * Why no broker can be started on this machine, in one line for the name of a skipped test; undefined when one can. It fetches the jars when
 * they are not there yet.
 */
export async function whyNoKafka(version: KafkaVersion = KAFKA_VERSIONS[0]): Promise<string | undefined> {
  try {
    requireShell()
    await javaOf(KAFKA_ARTIFACTS[version].javaMin)
    await jarsOf(version)
    return undefined
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'TEST_BROKER_UNAVAILABLE') throw error
    return error.explain().replaceAll('\n', ' ')
  }
}

/**
 * The brokers that `TIDEMARK_TEST_BROKERS` names (`host:port`, with commas between), where nothing more special is asked for than a Kafka;
 * else one that is started here; else the reason why not. Whoever got a cluster stops it.
 * @example
 * const kafka = await testKafka()
 * describe.skipIf(kafka.source === 'none')('orders', () => { ... })
 */
export async function testKafka(options: KafkaOptions = {}): Promise<TestKafka> {
  const given = (process.env.TIDEMARK_TEST_BROKERS ?? '').split(',').map((broker) => broker.trim())
  const brokers = given.filter((broker) => broker !== '')
  if (brokers.length > 0 && Object.keys(options).length === 0) return { source: 'given', brokers }
  const reason = await whyNoKafka(options.version)
  if (reason !== undefined) return { source: 'none', reason }
  const cluster = await startKafka(options)
  return { source: 'started', brokers: cluster.brokers, cluster }
}
