/**
 * Where tests get their Kafka from, and why there is none: brokers that run already (`TIDEMARK_TEST_BROKERS`), else a container where an engine
 * and the package `testcontainers` are, else a broker of Maven's jars under the Java of this machine.
 */
import { TidemarkError } from '../../base/errors.ts'
import { KAFKA_ARTIFACTS, KAFKA_VERSIONS, type KafkaVersion } from './artifacts.ts'
import { CONTAINERS, type ContainerParts, containers, fitsContainer, startContained } from './container.ts'
import { jarsOf } from './jars.ts'
import { javaOf } from './java.ts'
import { type KafkaCluster, type KafkaOptions, startKafka } from './kafka.ts'
import { requireShell } from './process.ts'

/** A Kafka to test against. Only one that was started here as a process can be killed, paused and started again. */
export type TestKafka =
  | { readonly source: 'given'; readonly brokers: readonly string[] }
  | { readonly source: 'container'; readonly brokers: readonly string[]; stop(): Promise<void> }
  | { readonly source: 'started'; readonly brokers: readonly string[]; readonly cluster: KafkaCluster }
  | { readonly source: 'none'; readonly reason: string }

/**
 * Why `startKafka` cannot start a broker on this machine, in one line for the name of a skipped test; undefined when it can. It fetches the jars
 * when they are not there yet.
 */
export async function whyNoKafka(version: KafkaVersion = KAFKA_VERSIONS[0]): Promise<string | undefined> {
  const tried = await attempt(async () => {
    requireShell()
    await javaOf(KAFKA_ARTIFACTS[version].javaMin)
    await jarsOf(version)
  })
  return tried.reason
}

/**
 * The brokers that `TIDEMARK_TEST_BROKERS` names (`host:port`, with commas between), where nothing more special is asked for than a Kafka; else
 * one in a container, where a container engine answers, the package `testcontainers` is installed, and neither `security`, `features`, `proxy`,
 * three `nodes` nor a `folder` are asked for; else one that is started here; else the reasons why not. Whoever got a container or a cluster
 * stops it.
 *
 * The first container of a version may take minutes, because its image (some 400 MB) is fetched.
 * @example
 * const kafka = await testKafka()
 * describe.skipIf(kafka.source === 'none')('orders', () => { ... })
 */
export async function testKafka(options: KafkaOptions = {}): Promise<TestKafka> {
  const given = (process.env.TIDEMARK_TEST_BROKERS ?? '').split(',').map((broker) => broker.trim())
  const brokers = given.filter((broker) => broker !== '')
  if (brokers.length > 0 && Object.keys(options).length === 0) return { source: 'given', brokers }
  return ownKafka(options)
}

/** As `testKafka`, but for brokers that were there before: one that nobody else uses, and that is gone afterwards. */
export async function ownKafka(
  options: KafkaOptions = {},
  parts: ContainerParts = CONTAINERS,
): Promise<Exclude<TestKafka, { readonly source: 'given' }>> {
  const { got, reason: whyNot } = await attempt(async () => {
    const library = fitsContainer(options) ? await containers(parts) : undefined
    return library === undefined ? undefined : startContained(library, options, parts)
  })
  if (got !== undefined) return { source: 'container', brokers: got.brokers, stop: () => got.stop() }
  const reason = await whyNoKafka(options.version)
  if (reason !== undefined) return { source: 'none', reason: both(whyNot, reason) }
  const cluster = await startKafka(options)
  return { source: 'started', brokers: cluster.brokers, cluster }
}

/** Why there can be no broker at all, in a container or started here; undefined when there can, as far as is known before it is tried. */
export async function whyNoBroker(version?: KafkaVersion, parts: ContainerParts = CONTAINERS): Promise<string | undefined> {
  const { got: library, reason: whyNot } = await attempt(() => containers(parts))
  if (library !== undefined) return undefined
  const reason = await whyNoKafka(version)
  return reason === undefined ? undefined : both(whyNot, reason)
}

function both(whyNot: string | undefined, reason: string): string {
  return whyNot === undefined ? reason : `${whyNot}; and ${reason}`
}

const NO_BROKER: ReadonlySet<string> = new Set(['TEST_BROKER_UNAVAILABLE', 'TEST_BROKER_FAILED'])

/** What came of it, or in one line what it lacked. */
async function attempt<T>(
  work: () => Promise<T>,
): Promise<{ readonly got: T; readonly reason?: never } | { readonly got?: never; readonly reason: string }> {
  try {
    return { got: await work() }
  } catch (error) {
    if (!(error instanceof TidemarkError) || !NO_BROKER.has(error.code)) throw error
    return { reason: error.explain().replaceAll('\n', ' ') }
  }
}
