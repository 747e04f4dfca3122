/**
 * What a broker needs before it starts and need not be made each time: the first records of its metadata (`kafka-storage format`, a second of
 * Java), and an archive of its loaded classes (half of its start and a quarter of its memory). Both are kept beside the jars.
 */
import { randomBytes } from 'node:crypto'
import { access, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { TidemarkError } from '../../base/errors.ts'
import { nodeClock, nodeRandom } from '../../drivers/node/index.ts'
import type { KafkaVersion } from './artifacts.ts'
import { alone } from './jars.ts'
import { type Java, run, tailOf } from './java.ts'
import { freePorts, HOST } from './ports.ts'
import { probe } from './probe.ts'
import { startGuarded } from './process.ts'
import { propertiesOf, propertiesText } from './properties.ts'

/** What brokers are started from. */
export interface KafkaKit {
  readonly version: KafkaVersion
  readonly java: Java
  /** The folder of the jars. */
  readonly jars: string
}

/** How Java runs a broker: for a fast start and little memory, not for load. */
export const JAVA_FLAGS: readonly string[] = [
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-XX:-UsePerfData',
  '-Djava.net.preferIPv4Stack=true',
  '-Djava.awt.headless=true',
]
const BROKER_CLASS = 'kafka.Kafka'
const POLL_MS = 50
const TRAINING_MS_MAX = 60_000

export function classPath(jars: string): string {
  return join(jars, '*')
}

/** The command line of a broker. */
export function brokerCommand(
  kit: KafkaKit,
  options: { readonly flags: readonly string[]; readonly properties: string },
): readonly string[] {
  return [kit.java.command, ...JAVA_FLAGS, ...options.flags, '-cp', classPath(kit.jars), BROKER_CLASS, options.properties]
}

export interface Bootstrap {
  /** Levels of features that differ from the version's own, such as `transaction.version`. */
  readonly features: Readonly<Record<string, number>>
  /** Passwords of users that log in with SCRAM, by name. */
  readonly users: Readonly<Record<string, string>>
}

/** A cluster id, or the id of a directory: 16 random bytes. */
export function kafkaId(): string {
  // An id that begins with a dash would look like an option to Kafka's tools.
  return randomBytes(16).toString('base64url').replace(/^-/, 'A')
}

/** Makes the data folder of a node as `kafka-storage format` would, from the first records of the metadata. */
export async function formatData(data: string, node: { readonly id: number; readonly clusterId: string }, first: string): Promise<void> {
  await mkdir(data, { recursive: true })
  await copyFile(first, join(data, 'bootstrap.checkpoint'))
  const meta = { version: '1', 'cluster.id': node.clusterId, 'node.id': String(node.id), 'directory.id': kafkaId() }
  await writeFile(join(data, 'meta.properties'), propertiesText(meta))
}

/**
 * The file with the first records of a cluster's metadata: features and users, but neither node nor cluster, so that all may share it.
 * @throws TidemarkError TEST_BROKER_FAILED when Kafka refuses, such as a feature that this version does not have
 */
export async function bootstrapFile(kit: KafkaKit, folder: string, { features, users }: Bootstrap): Promise<string> {
  const ordinary = Object.keys(features).length + Object.keys(users).length === 0
  if (!ordinary) return formatted(kit, folder, { features, users })
  const kept = join(kit.jars, 'bootstrap.checkpoint')
  if (await exists(kept)) return kept
  const made = await formatted(kit, folder, { features, users })
  const partial = `${kept}.${nodeRandom.id()}`
  await copyFile(made, partial)
  await rename(partial, kept)
  return kept
}

async function formatted(kit: KafkaKit, folder: string, { features, users }: Bootstrap): Promise<string> {
  const data = join(folder, 'format')
  const properties = join(folder, 'format.properties')
  const ports = [{ client: 1, internal: 2, controller: 3 }]
  await writeFile(properties, propertiesText(propertiesOf({ id: 1, ports, dataFolder: data, security: undefined, config: {} })))
  const { status, output } = await run(kit.java.command, [
    ...JAVA_FLAGS,
    '-cp',
    classPath(kit.jars),
    'kafka.tools.StorageTool',
    'format',
    '--cluster-id',
    kafkaId(),
    '--config',
    properties,
    ...Object.entries(features).flatMap(([name, level]) => ['--feature', `${name}=${level}`]),
    ...Object.entries(users).flatMap(([name, password]) =>
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => ['--add-scram', `${mechanism}=[name=${name},password=${password}]`]),
    ),
  ])
  if (status === 0) return join(data, 'bootstrap.checkpoint')
  throw new TidemarkError('TEST_BROKER_FAILED', `Kafka ${kit.version} refused to format a data folder`, {
    detail: tailOf(output),
    hint: 'What it says last is the reason: a feature that this version does not have, a disk that is full, a folder of another version.',
  })
}

/**
 * The archive of the classes that a broker loads, made by a broker that starts and ends once for it (ten seconds, once for each version of
 * Kafka and build of Java). Undefined when Java could not make one: brokers then only start slower.
 */
export async function classArchive(kit: KafkaKit): Promise<string | undefined> {
  const archive = join(kit.jars, `classes-${kit.java.build.replaceAll(/[^\w.+-]/g, '_')}.jsa`)
  if (await exists(archive)) return archive
  return alone(dirname(kit.jars), async () => {
    if (await exists(archive)) return archive
    const partial = `${archive}.partial`
    await train(kit, partial)
    if (!(await exists(partial))) return undefined
    await rename(partial, archive)
    return archive
  })
}

async function train(kit: KafkaKit, archive: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-kafka-'))
  try {
    const [client, internal, controller] = (await freePorts(3)) as [number, number, number]
    const dataFolder = join(folder, 'data')
    const setup = { id: 1, ports: [{ client, internal, controller }], dataFolder, security: undefined, config: {} }
    const properties = join(folder, 'server.properties')
    await writeFile(properties, propertiesText(propertiesOf(setup)))
    await formatData(dataFolder, { id: 1, clusterId: kafkaId() }, await bootstrapFile(kit, folder, { features: {}, users: {} }))
    const flags = [`-XX:ArchiveClassesAtExit=${archive}`, '-Xlog:cds=off', '-Xlog:cds+dynamic=off']
    const broker = await startGuarded(brokerCommand(kit, { flags, properties }), { folder, log: join(folder, 'log') })
    const deadline = nodeClock.mono() + TRAINING_MS_MAX
    while (broker.running && nodeClock.mono() < deadline && (await probe(HOST, internal)) === undefined) await nodeClock.sleep(POLL_MS)
    broker.signal('SIGTERM')
    const late = setTimeout(() => broker.signal('SIGKILL'), TRAINING_MS_MAX)
    await broker.ended()
    clearTimeout(late)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The cluster that a data folder was formatted for; nothing when it was not yet. */
export async function clusterOf(data: string): Promise<string | undefined> {
  const text = await readFile(join(data, 'meta.properties'), 'utf8').catch(() => '')
  return /^cluster\.id=(.*)$/m.exec(text)?.[1]
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
