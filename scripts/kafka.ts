/**
 * `npm run kafka`: a Kafka for a developer, on the first port from 9092 on that is free, with its data in .kafka/, until Ctrl-C. `--help` says what
 * it can be asked for.
 */
import { once } from 'node:events'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, messageOf, TidemarkError } from '../src/base/errors.ts'
import { KAFKA_VERSIONS, type KafkaCluster, type KafkaVersion, startKafka } from '../src/testing/broker/index.ts'
import { portFree } from '../src/testing/broker/ports.ts'
import { flagsOf, refuse } from './flags.ts'

const PORT_FIRST = 9092
const PORTS_TRIED = 1_000
const WATCH_MS = 500
const FOLDER = join(import.meta.dirname, '..', '.kafka')

function readArguments(): {
  readonly fresh: boolean
  readonly nodes: 1 | 3
  readonly version: KafkaVersion
  readonly port: number | undefined
  readonly folder: string | undefined
} {
  const values = flagsOf({
    script: 'kafka',
    about: 'Start a Kafka on this machine for as long as this runs. Java 17 is needed, and Maven the first time.',
    flags: {
      fresh: { about: 'with no data from earlier' },
      nodes: { value: '<n>', about: '1, or 3 for a cluster, to see what happens when one is killed', default: '1' },
      version: { value: '<version>', about: `Kafka ${KAFKA_VERSIONS.join(' or ')}`, default: KAFKA_VERSIONS[0] },
      port: {
        value: '<port>',
        about: 'this port, or an error; further nodes take those after it (default: the first from 9092 on that is free)',
      },
      folder: { value: '<folder>', about: 'where the data lies (default: .kafka/<version>-<nodes>)' },
    },
    examples: [
      ['', 'one broker; Ctrl-C stops it, and its data stays'],
      ['--fresh', 'from nothing'],
      ['--nodes 3 --port 19092', 'three, on ports 19092 to 19094'],
    ],
    after: 'Exit codes: 0 stopped by Ctrl-C or a request to end   1 it did not start, or ended by itself   64 wrong usage',
  })
  const version = KAFKA_VERSIONS.find((known) => known === values.version)
  if (version === undefined) return refuse(`--version is ${KAFKA_VERSIONS.join(' or ')}, not "${values.version}".`)
  if (values.nodes !== '1' && values.nodes !== '3') return refuse(`--nodes is 1 or 3, not "${values.nodes}".`)
  const port = values.port === undefined ? undefined : Number(values.port)
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_533)) return refuse(`--port is a port, not "${values.port}".`)
  return { fresh: values.fresh, nodes: values.nodes === '1' ? 1 : 3, version, port, folder: values.folder }
}

/** The first port from 9092 on that is free with those after it. */
async function portFor(nodes: number): Promise<number> {
  for (let port = PORT_FIRST; port < PORT_FIRST + PORTS_TRIED; port++) {
    const free = await Promise.all(Array.from({ length: nodes }, (_, place) => portFree(port + place)))
    if (free.every((one) => one)) return port
  }
  return refuse(`No port from ${PORT_FIRST} on is free.`)
}

/** Says when a node ended that nobody stopped here; resolves when none is left and that has been said. */
async function allEnded(kafka: KafkaCluster, asked: AbortSignal): Promise<void> {
  const running = new Map(kafka.nodes.map((node) => [node, node.pid]))
  while (running.size > 0) {
    await sleep(WATCH_MS)
    for (const [node, pid] of running) {
      if (asked.aborted) return
      if (node.pid !== undefined) continue
      running.delete(node)
      const tail = await node.logTail(5)
      const left = running.size === 0 ? 'No node is left.' : `${running.size} of ${kafka.nodes.length} nodes are left.`
      console.error(`node ${node.id} (port ${node.port}, process ${pid}) ended, and not because it was stopped here. ${left}`)
      if (tail.trim() !== '') console.error(`It said last:\n${tail}`)
    }
  }
}

function whatNext(kafka: KafkaCluster): string {
  const brokers = kafka.brokers.join(',')
  const pid = kafka.nodes[0]?.pid
  const nodes = kafka.nodes.map(({ id, port, pid }) => `  node ${id}  127.0.0.1:${port}  process ${pid}`)
  return [
    `Kafka ${kafka.version} serves ${brokers}`,
    ...nodes,
    '',
    'Try next, in another terminal:',
    '  a topology on it: its topics, then one worker with the feed that plays its sources',
    `    npx tidemark topics apply topologies/retail --brokers ${brokers}`,
    `    npx tidemark run topologies/retail --feed --brokers ${brokers}`,
    '  the tests of the driver on this Kafka',
    `    TIDEMARK_TEST_BROKERS=${brokers} npm test`,
    '  what your application says when a broker dies, or hangs (and -CONT to wake it)',
    `    kill -9 ${pid}`,
    `    kill -STOP ${pid}`,
    '',
    `No topic makes itself here. Ctrl-C stops it; the data stays in ${shown} until --fresh.`,
  ].join('\n')
}

const { fresh, nodes, version, port, ...given } = readArguments()
const folder = given.folder ?? join(FOLDER, `${version}-${nodes}`)
const shown = relative(process.cwd(), folder) || folder
// Until it serves, Ctrl-C ends this process at once, and the brokers end with it.
try {
  console.error(`starting Kafka ${version}${nodes === 1 ? '' : ` on ${nodes} nodes`} (the first time its jars are fetched)...`)
  const kafka = await startKafka({ version, nodes, folder, fresh, port: port ?? (await portFor(nodes)) })
  // Heard before it is said that Ctrl-C stops it: who reads that may be quick.
  const asked = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => asked.abort())
  console.log(whatNext(kafka))
  await Promise.race([once(asked.signal, 'abort'), allEnded(kafka, asked.signal)])
  console.error(asked.signal.aborted ? 'stopping...' : `The data stays in ${shown}. The same command starts it again.`)
  await kafka.stop()
  process.exit(asked.signal.aborted ? 0 : 1)
} catch (error) {
  console.error(error instanceof TidemarkError ? error.explain() : messageOf(error))
  process.exit(codeOf(error) === 'OPTION_INVALID' ? 64 : 1)
}
