/**
 * Real Kafka for tests: one broker or three, on this machine, for as long as a test needs them. It listens on the loopback only, on ports
 * that were free, over a folder of its own that goes when it stops. It ends with the process that started it, however that ends: a broker
 * cannot be left behind. It is fast to start and small, and keeps nothing safe: not for production.
 *
 * It needs Java (17; 11 for Kafka 3.9), a POSIX shell, and Maven the first time.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { codeOf, TidemarkError } from '../../base/errors.ts'
import { nodeFs } from '../../drivers/node/index.ts'
import type { Lock } from '../../ports/fs.ts'
import { KAFKA_ARTIFACTS, KAFKA_VERSIONS, type KafkaVersion } from './artifacts.ts'
import { jarsOf } from './jars.ts'
import { javaOf } from './java.ts'
import { loggingIn } from './logging.ts'
import { type KafkaNode, LocalNode } from './node.ts'
import { freePorts, HOST, portFree } from './ports.ts'
import { bootstrapFile, brokerCommand, classArchive, clusterOf, formatData, type KafkaKit, kafkaId } from './prepare.ts'
import { removeAtEnd, requireShell } from './process.ts'
import { type NodePorts, propertiesOf, propertiesText } from './properties.ts'
import { type FaultProxy, faultProxy } from './proxy.ts'
import { checkSecurity, type KafkaSecurity, type SecuredAccess, securityOf } from './security.ts'

export interface KafkaOptions {
  /** Default 4.3.1. */
  readonly version?: KafkaVersion
  /** Default 1. Three replicate every topic to all, and accept what two have. */
  readonly nodes?: 1 | 3
  /** Properties of every broker, over those of `properties.ts`. */
  readonly config?: Readonly<Record<string, string>>
  /** TLS, logins and access lists on the listener for clients. Default none: plain, and everybody may do everything. */
  readonly security?: KafkaSecurity
  /** Levels of cluster features, such as `{ 'transaction.version': 1 }`. Default those of the version. Only a new data folder takes them. */
  readonly features?: Readonly<Record<string, number>>
  /** Puts a fault proxy in front of every node, on a listener of its own that advertises the proxy. Default false. Not with `security`. */
  readonly proxy?: boolean
  /** The port for clients of node 1; the other nodes have the ports after it. Default any that are free. */
  readonly port?: number
  /** Keeps the data in this folder from one start to the next, with the same version and number of nodes. Default a temporary folder. */
  readonly folder?: string
  /** Begins `folder` anew, without what earlier starts left in it. Default false. */
  readonly fresh?: boolean
}

export interface KafkaCluster {
  readonly version: KafkaVersion
  /** `host:port` of each node's listener for clients. */
  readonly brokers: readonly string[]
  /** The same cluster without login, where everything is allowed; to administer a secured one. */
  readonly adminBrokers: readonly string[]
  /** The same cluster through the fault proxies. Empty without `proxy`. */
  readonly proxiedBrokers: readonly string[]
  /** By their place: node 1 comes first. */
  readonly nodes: readonly KafkaNode[]
  /** The proxy in front of each node. Empty without `proxy`. */
  readonly proxies: readonly FaultProxy[]
  readonly clusterId: string
  /** Where it keeps its data. */
  readonly folder: string
  /** What clients need beside a login. Nothing without `security`. */
  readonly security: SecuredAccess | undefined
  /** Ends all nodes, and removes the data unless `folder` named where to keep it. */
  stop(): Promise<void>
}

/** Somebody may take a port between the moment it was found free and the moment a broker wants it. */
const STARTS_MAX = 3
const PORT_TAKEN = /Address already in use/

/**
 * Starts a cluster and waits until every node serves.
 * @throws TidemarkError OPTION_INVALID, also for a port that is taken; TEST_BROKER_UNAVAILABLE when Java, Maven or the jars cannot be had; TEST_BROKER_FAILED when a broker
 *   ends or does not answer, with the end of its log
 * @example
 * const kafka = await startKafka({ nodes: 3 })
 * await kafka.nodes[1].kill()
 * await kafka.stop()
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaCluster> {
  check(options)
  requireShell()
  const version = options.version ?? KAFKA_VERSIONS[0]
  const java = await javaOf(KAFKA_ARTIFACTS[version].javaMin)
  const kit: KafkaKit = { version, java, jars: await jarsOf(version) }
  for (let starts = 1; ; starts++) {
    await requirePorts(options)
    try {
      return await startOnce(kit, options)
    } catch (error) {
      const taken = error instanceof TidemarkError && PORT_TAKEN.test(error.detail ?? '')
      if (!taken || starts === STARTS_MAX) throw error
    }
  }
}

function check({ version, nodes = 1, security, proxy = false, port }: KafkaOptions): void {
  if (version !== undefined && !KAFKA_VERSIONS.includes(version)) {
    throw new TidemarkError('OPTION_INVALID', `there is no Kafka ${version} to start`, {
      hint: `There are ${KAFKA_VERSIONS.join(' and ')}.`,
    })
  }
  if (nodes !== 1 && nodes !== 3)
    throw new TidemarkError('OPTION_INVALID', `a test cluster has 1 or 3 nodes, not ${String(nodes)}`, {
      hint: 'One to work with, three to see what happens when one is killed.',
    })
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port + nodes <= 65_536)) {
    throw new TidemarkError('OPTION_INVALID', `${port} is not a port that ${nodes} nodes can begin with`, {
      hint: 'Each node takes one port, from this one on: such as 19092.',
    })
  }
  if (security !== undefined) checkSecurity(security)
  if (security !== undefined && proxy) {
    throw new TidemarkError('OPTION_INVALID', 'a fault proxy reads what passes, and a secured cluster encrypts it', {
      hint: 'Leave out "security" or "proxy".',
    })
  }
}

/** @throws TidemarkError OPTION_INVALID when somebody listens on a port that was asked for */
async function requirePorts({ port, nodes = 1 }: KafkaOptions): Promise<void> {
  if (port === undefined) return
  for (let own = port; own < port + nodes; own++) {
    if (await portFree(own)) continue
    throw new TidemarkError('OPTION_INVALID', `port ${own} is taken, or not a port that this user may listen on`, {
      hint: 'Leave out "port" to get one that is free.',
    })
  }
}

async function startOnce(kit: KafkaKit, options: KafkaOptions): Promise<KafkaCluster> {
  const home = await openHome(options.folder, options.fresh ?? false)
  const proxies: FaultProxy[] = []
  const nodes: LocalNode[] = []
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= end())
  const end = async (): Promise<void> => {
    // What is thrown away need not be put in order first.
    await Promise.all(nodes.map((node) => (options.folder === undefined ? node.kill() : node.stop())))
    await Promise.all(proxies.map((proxy) => proxy.close()))
    await home.leave()
  }
  try {
    const count = options.nodes ?? 1
    if (options.proxy === true) for (let id = 1; id <= count; id++) proxies.push(await faultProxy())
    const ports = await choosePorts(count, proxies, options.port)
    const { security, features = {}, config = {} } = options
    const [secured, bootstrap, archive] = await Promise.all([
      security === undefined ? undefined : securityOf(kit.java, home.folder, security),
      bootstrapFile(kit, home.folder, { features, users: security?.users ?? {} }),
      classArchive(kit),
    ])
    const clusterId = (await clusterOf(dataOf(home.folder, 1))) ?? kafkaId()
    for (const [place, own] of ports.entries()) {
      const id = place + 1
      const folder = join(home.folder, nodeFolder(id))
      const dataFolder = dataOf(home.folder, id)
      if ((await clusterOf(dataFolder)) === undefined) await formatData(dataFolder, { id, clusterId }, bootstrap)
      const properties = join(folder, 'server.properties')
      await writeFile(properties, propertiesText(propertiesOf({ id, ports, dataFolder, security: secured?.properties, config })))
      const flags = [count === 1 ? '-Xmx512m' : '-Xmx256m', await loggingIn(folder, kit.version)]
      if (archive !== undefined) flags.push(`-XX:SharedArchiveFile=${archive}`)
      const command = brokerCommand(kit, { flags, properties })
      nodes.push(
        new LocalNode({ id, port: own.client, internalPort: own.internal, clusterId, folder, log: join(folder, 'broker.log'), command }),
      )
    }
    const ids = nodes.map(({ id }) => id)
    await Promise.all(nodes.map((node) => node.launch()))
    await Promise.all(nodes.map((node) => node.ready(ids)))
    for (const [place, proxy] of proxies.entries()) proxy.aim({ host: HOST, port: ports[place]?.proxied?.listen as number })
    return {
      version: kit.version,
      brokers: ports.map(({ client }) => `${HOST}:${client}`),
      adminBrokers: ports.map(({ internal }) => `${HOST}:${internal}`),
      proxiedBrokers: proxies.map(({ port }) => `${HOST}:${port}`),
      nodes,
      proxies,
      clusterId,
      folder: home.folder,
      security: secured?.access,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function dataOf(home: string, id: number): string {
  return join(home, nodeFolder(id), 'data')
}

function nodeFolder(id: number): string {
  return `node-${id}`
}

async function choosePorts(count: number, proxies: readonly FaultProxy[], first: number | undefined): Promise<readonly NodePorts[]> {
  const free = await freePorts(count * 4)
  return Array.from({ length: count }, (_, place) => {
    const [client, internal, controller, listen] = free.slice(place * 4) as [number, number, number, number]
    const advertise = proxies[place]?.port
    return {
      client: first === undefined ? client : first + place,
      internal,
      controller,
      ...(advertise === undefined ? {} : { proxied: { listen, advertise } }),
    }
  })
}

interface Home {
  readonly folder: string
  leave(): Promise<void>
}

/** A temporary folder that goes when it is left or this process is gone, or one that stays and is used by one process at a time. */
async function openHome(kept: string | undefined, fresh: boolean): Promise<Home> {
  if (kept === undefined) {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-kafka-'))
    const endWatch = removeAtEnd(folder)
    return {
      folder,
      async leave() {
        await rm(folder, { recursive: true, force: true, maxRetries: 5 })
        endWatch()
      },
    }
  }
  const folder = resolve(kept)
  await mkdir(folder, { recursive: true })
  let lock: Lock
  try {
    lock = await nodeFs.lock(join(folder, 'lock'))
  } catch (error) {
    if (codeOf(error) !== 'LOG_LOCKED') throw error
    throw new TidemarkError('TEST_BROKER_FAILED', 'another process runs a broker over this folder', {
      detail: folder,
      hint: 'Use that one, or stop it first; or let this one have another folder (npm run kafka -- --folder PATH).',
      cause: error,
    })
  }
  // Only who has the lock may: under a running broker nothing is taken away.
  if (fresh) for (const id of [1, 2, 3]) await rm(join(folder, nodeFolder(id)), { recursive: true, force: true })
  return { folder, leave: () => lock.release() }
}
