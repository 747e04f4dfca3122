/**
 * A Kafka in a container, for tests that want a broker and nothing special: no Java, no jars, but a container engine and the package
 * `testcontainers`, which whoever wants this installs beside tidemark (an optional peer; it brings some hundred packages, so nobody else gets it).
 * What is used of it is declared here, so types need no package either.
 *
 * Made from the library's types and from the scripts of the image, and tested with a stand-in for both: this project has not run it with a
 * real engine yet. Where it does not work, the Kafka from Maven's jars is next, and the reason says both.
 *
 * A container can be neither frozen nor killed like a process: whoever wants that calls `startKafka`.
 */
import { codeOf, messageOf, TidemarkError } from '../../base/errors.ts'
import { nodeClock } from '../../drivers/node/index.ts'
import { KAFKA_VERSIONS, type KafkaVersion } from './artifacts.ts'
import { answeringEngine } from './engine.ts'
import { tailOf } from './java.ts'
import type { KafkaOptions } from './kafka.ts'
import { freePorts, HOST } from './ports.ts'
import { kafkaId } from './prepare.ts'
import { probe } from './probe.ts'
import { CLIENT_LISTENER, escaped, propertiesOf } from './properties.ts'

/** What is used of `testcontainers` (12). */
export interface Testcontainers {
  readonly GenericContainer: new (image: string) => ContainerPlan
  /** The client of the engine, which it has asked how it is. Rejects where there is none. */
  getContainerRuntimeClient(): Promise<{ readonly info: { readonly containerRuntime: { readonly host: string } } }>
}
export interface ContainerPlan {
  withEnvironment(environment: Record<string, string>): ContainerPlan
  withExposedPorts(...ports: { container: number; host: number }[]): ContainerPlan
  withStartupTimeout(ms: number): ContainerPlan
  withLogConsumer(consumer: (stream: NodeJS.ReadableStream) => unknown): ContainerPlan
  /** Fetches the image when it is not here, and resolves when something listens on the ports. */
  start(): Promise<StartedContainer>
}
export interface StartedContainer {
  /** Ends it, and removes it with what it wrote. */
  stop(): Promise<unknown>
}

/** What this stands on; tests give others. */
export interface ContainerParts {
  /** Where an engine answers; undefined when none does. */
  readonly engine: () => Promise<string | undefined>
  /** Loads the package. Rejects when it is not installed. */
  readonly load: () => Promise<unknown>
  /** How long the image may take to come and the container to start, and then the broker to serve, ms. */
  readonly startMs: number
  readonly readyMs: number
}

const PACKAGE = 'testcontainers'
export const CONTAINERS: ContainerParts = {
  engine: () => answeringEngine(),
  // By a name in a variable: neither the compiler nor a bundler is to look for what need not be there.
  load: () => import(PACKAGE) as Promise<unknown>,
  // Together with a start from jars afterwards less than what a request may take that waits for them (five minutes, in Node).
  startMs: 200_000,
  readyMs: 40_000,
}

/** A broker in a container. Whoever got it stops it; when the process goes without, the library's reaper removes it. */
export interface ContainedKafka {
  readonly version: KafkaVersion
  readonly brokers: readonly string[]
  stop(): Promise<void>
}

const CLIENT_MS = 15_000
const POLL_MS = 100
const STARTS_MAX = 3
const PORT_TAKEN = /port is already allocated|address already in use|ports are not available/i
/** In the container, where nobody else is. */
const INSIDE = { client: 9092, internal: 9093, controller: 9094 }
const DATA = '/tmp/tidemark-kafka'

/** Whether a container can be what is asked for: one plain broker, whose data nobody keeps. */
export function fitsContainer({ version, nodes = 1, security, features = {}, proxy = false, folder }: KafkaOptions): boolean {
  const known = version === undefined || KAFKA_VERSIONS.includes(version)
  return known && nodes === 1 && security === undefined && Object.keys(features).length === 0 && !proxy && folder === undefined
}

/**
 * The library, where an engine answers that it can use; undefined where no engine answers.
 * @throws TidemarkError TEST_BROKER_UNAVAILABLE when one answers and is of no use, such as without the package
 */
export async function containers(parts: ContainerParts = CONTAINERS): Promise<Testcontainers | undefined> {
  const engine = await parts.engine()
  if (engine === undefined) return undefined
  const unavailable = (message: string, detail: string, hint: string): TidemarkError =>
    new TidemarkError('TEST_BROKER_UNAVAILABLE', message, { detail: `A container engine answers at ${engine}. ${detail}`, hint })
  const library = (await parts.load().catch((error: unknown) => {
    throw unavailable(
      `a Kafka in a container needs the package "${PACKAGE}", which cannot be loaded`,
      messageOf(error),
      `Install it: npm install --save-dev ${PACKAGE}`,
    )
  })) as Partial<Testcontainers>
  if (typeof library.GenericContainer !== 'function' || typeof library.getContainerRuntimeClient !== 'function') {
    throw unavailable(`the package "${PACKAGE}" is not the one that is known`, 'It lacks what version 12 has.', `Install ${PACKAGE} 12.`)
  }
  const hint = 'Look at whether this user may use it, and at DOCKER_HOST.'
  let host: string
  try {
    host = (await within(CLIENT_MS, library.getContainerRuntimeClient())).info.containerRuntime.host
  } catch (error) {
    throw unavailable('the container engine is of no use', messageOf(error), hint)
  }
  if (host === 'localhost' || host === HOST) return library as Testcontainers
  throw unavailable('the container engine is not on this machine', `What it runs would be at ${host}, and is wanted on ${HOST}.`, hint)
}

/**
 * Starts a broker in a container of the image `apache/kafka`, and waits until it serves on the loopback.
 * @throws TidemarkError TEST_BROKER_FAILED when it does not start or does not serve in time, with the end of its log
 */
export async function startContained(
  library: Testcontainers,
  { version = KAFKA_VERSIONS[0], config = {}, port }: KafkaOptions,
  parts: ContainerParts = CONTAINERS,
): Promise<ContainedKafka> {
  for (let starts = 1; ; starts++) {
    const [free] = (await freePorts(1)) as [number]
    const own = port ?? free
    try {
      return await startOnce(library, { version, config, port: own }, parts)
    } catch (error) {
      const taken = port === undefined && codeOf(error) === 'TEST_BROKER_FAILED' && PORT_TAKEN.test((error as TidemarkError).detail ?? '')
      if (!taken || starts === STARTS_MAX) throw error
    }
  }
}

interface Wanted {
  readonly version: KafkaVersion
  readonly config: Readonly<Record<string, string>>
  readonly port: number
}

async function startOnce(library: Testcontainers, { version, config, port }: Wanted, parts: ContainerParts): Promise<ContainedKafka> {
  const clusterId = kafkaId()
  const image = `apache/kafka:${version}`
  let said = ''
  const failed = (what: string, why: string): TidemarkError =>
    new TidemarkError('TEST_BROKER_FAILED', `the container of ${image} ${what}`, { detail: [why, tailOf(said)].filter(Boolean).join('\n') })
  const plan = new library.GenericContainer(image)
    .withEnvironment(environmentOf({ port, clusterId, config }))
    .withExposedPorts({ container: INSIDE.client, host: port })
    .withStartupTimeout(parts.readyMs)
    .withLogConsumer((stream) => stream.on('data', (piece: unknown) => (said = `${said}${String(piece)}`.slice(-10_000))))
  onLoopback(plan)
  const starting = plan.start()
  let container: StartedContainer
  try {
    container = await within(parts.startMs, starting)
  } catch (error) {
    // One that comes when nobody waits for it any more would stay.
    starting.then((late) => late.stop()).catch(() => {})
    throw failed('did not start', messageOf(error))
  }
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= container.stop().then(() => {}))
  const deadline = nodeClock.mono() + parts.readyMs
  for (;;) {
    const seen = await probe(HOST, port)
    // Some of the images take the id for another text that has it inside.
    if (seen?.clusterId?.includes(clusterId) === true && seen.nodes.some((node) => node.host === HOST && node.port === port)) break
    if (nodeClock.mono() > deadline) {
      await stop().catch(() => {})
      throw failed('does not serve', `Nothing that is this broker answered at ${HOST}:${port} within ${parts.readyMs / 1_000} s.`)
    }
    await nodeClock.sleep(POLL_MS)
  }
  return { version, brokers: [`${HOST}:${port}`], stop }
}

/** The settings of our own test brokers, as the image takes them. */
function environmentOf({ port, clusterId, config }: Omit<Wanted, 'version'> & { readonly clusterId: string }): Record<string, string> {
  const { client, internal, controller } = INSIDE
  const properties: Readonly<Record<string, string>> = {
    ...propertiesOf({ id: 1, ports: [INSIDE], dataFolder: DATA, security: undefined, config: {} }),
    // What comes through the published port does not come over the container's loopback.
    listeners: `${CLIENT_LISTENER}://0.0.0.0:${client},INTERNAL://${HOST}:${internal},CONTROLLER://${HOST}:${controller}`,
    'advertised.listeners': `${CLIENT_LISTENER}://${HOST}:${port},INTERNAL://${HOST}:${internal}`,
    ...config,
  }
  return {
    CLUSTER_ID: clusterId,
    KAFKA_HEAP_OPTS: '-Xmx512m',
    ...Object.fromEntries(Object.entries(properties).map(([key, value]) => [variableOf(key), escaped(value)])),
  }
}

/** @example variableOf('log.dirs') // KAFKA_LOG_DIRS */
function variableOf(property: string): string {
  return `KAFKA_${property.replaceAll('_', '__').replaceAll('-', '___').replaceAll('.', '_').toUpperCase()}`
}

/**
 * Publishes on the loopback only, and not to the network. The library has no method for that, only what those that extend it have: its settings
 * for the engine, into which `withExposedPorts` has put the ports. Where a later one has them no more, the broker is published everywhere.
 */
function onLoopback(plan: ContainerPlan): void {
  const { PortBindings: bindings = {} } =
    (plan as { hostConfig?: { PortBindings?: Record<string, { HostIp?: string }[]> } }).hostConfig ?? {}
  for (const binding of Object.values(bindings).flat()) binding.HostIp = HOST
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`There was no answer within ${ms / 1_000} s.`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
