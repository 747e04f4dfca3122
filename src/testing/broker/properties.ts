/**
 * The configuration of a broker of tests, as a function of what was asked for. Fast where Kafka waits for the sake of large clusters, small
 * where it prepares for load, strict where a mistake would go unnoticed (no topic makes itself).
 */
import { HOST } from './ports.ts'

/** Where one node listens. */
export interface NodePorts {
  /** For clients: plain, or TLS and a login where the cluster is secured. */
  readonly client: number
  /** For the other brokers and for the administrator: always plain. */
  readonly internal: number
  readonly controller: number
  /** Plain like `internal`, but advertised under the port of a proxy in front of it. */
  readonly proxied?: { readonly listen: number; readonly advertise: number }
}

export interface NodeSetup {
  readonly id: number
  /** Of all nodes, by their place: node 1 comes first. */
  readonly ports: readonly NodePorts[]
  readonly dataFolder: string
  /** Added by a secured cluster. */
  readonly security: Readonly<Record<string, string>> | undefined
  /** The caller's own, which win. */
  readonly config: Readonly<Record<string, string>>
}

/** The listener for clients; settings of the broker for it begin with `listener.name.client.`. */
export const CLIENT_LISTENER = 'CLIENT'
const INTERNAL = 'INTERNAL'
const CONTROLLER = 'CONTROLLER'
const PROXIED = 'PROXIED'

/** @example propertiesText(propertiesOf(setup)) // the content of server.properties */
export function propertiesOf({ id, ports, dataFolder, security, config }: NodeSetup): Readonly<Record<string, string>> {
  const own = ports[id - 1] as NodePorts
  const copies = String(ports.length)
  const inSync = String(Math.min(ports.length, 2))
  const listen: [listener: string, port: number, advertise: number][] = [
    [CLIENT_LISTENER, own.client, own.client],
    [INTERNAL, own.internal, own.internal],
    ...(own.proxied === undefined ? [] : [[PROXIED, own.proxied.listen, own.proxied.advertise] satisfies [string, number, number]]),
  ]
  const protocols = [
    `${CLIENT_LISTENER}:${security === undefined ? 'PLAINTEXT' : 'SASL_SSL'}`,
    ...[INTERNAL, CONTROLLER, PROXIED].map((listener) => `${listener}:PLAINTEXT`),
  ]
  return {
    'process.roles': 'broker,controller',
    'node.id': String(id),
    'controller.quorum.voters': ports.map(({ controller }, place) => `${place + 1}@${HOST}:${controller}`).join(','),
    listeners: [...listen.map(([name, port]) => `${name}://${HOST}:${port}`), `${CONTROLLER}://${HOST}:${own.controller}`].join(','),
    'advertised.listeners': listen.map(([name, , port]) => `${name}://${HOST}:${port}`).join(','),
    'listener.security.protocol.map': protocols.join(','),
    'inter.broker.listener.name': INTERNAL,
    'controller.listener.names': CONTROLLER,
    'log.dirs': dataFolder,

    'auto.create.topics.enable': 'false',
    'default.replication.factor': copies,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': copies,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': inSync,
    'share.coordinator.state.topic.num.partitions': '2',
    // Records of tests bear old dates, and Kafka's seven days count from those.
    'log.retention.ms': '-1',

    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '500',
    'transaction.abort.timed.out.transaction.cleanup.interval.ms': '500',
    // How soon a dead node is noticed. A node alone that was killed has to outwait its own earlier session before it may serve again.
    'broker.session.timeout.ms': ports.length === 1 ? '2000' : '4000',
    'broker.heartbeat.interval.ms': '500',
    'log.cleaner.backoff.ms': '500',
    'log.initial.task.delay.ms': '500',

    'num.network.threads': '2',
    'num.io.threads': '4',
    'background.threads': '2',
    // Kafka would allocate 128 MB at start.
    'log.cleaner.dedupe.buffer.size': String(4 * 1024 * 1024),
    ...security,
    ...config,
  }
}

/** One `key=value` a line, with what the format gives a meaning escaped. */
export function propertiesText(properties: Readonly<Record<string, string>>): string {
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${escaped(value)}\n`)
    .join('')
}

/** A value as a file of properties has it. */
export function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
