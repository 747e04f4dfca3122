/** A Kafka in a container, with a stand-in for the library and for the broker in it. A real engine is not asked here. */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ownKafka, testKafka, whyNoBroker } from '../../src/testing/broker/availability.ts'
import { type ContainerParts, type ContainerPlan, type StartedContainer, startContained } from '../../src/testing/broker/container.ts'
import { answeringEngine, type Place } from '../../src/testing/broker/engine.ts'
import type { KafkaOptions } from '../../src/testing/broker/index.ts'
import { HOST } from '../../src/testing/broker/ports.ts'
import { describeUnless, whyNotStarted } from '../kafka/shared.ts'

const AT = 'unix:///var/run/docker.sock'
const reason = await whyNotStarted()

/** What `testcontainers` does, as far as we see it. */
class Library {
  readonly made: Plan[] = []
  readonly open = new Set<Server>()
  stops = 0
  host = 'localhost'
  /** What becomes of a start; a broker of the container's own unless told otherwise. */
  starts: (plan: Plan) => Promise<void> = (plan) => this.serve(plan)
  readonly GenericContainer = plansOf(this)
  readonly getContainerRuntimeClient = async () => ({ info: { containerRuntime: { host: this.host } } })

  /** Answers on the published port as the cluster that the container was told to be. */
  async serve(plan: Plan, clusterId = `Some(${plan.env.CLUSTER_ID})`): Promise<void> {
    const server = createServer((socket) => socket.on('error', () => {}).on('data', () => socket.write(metadata(plan.port, clusterId))))
    server.listen(plan.port, HOST)
    await once(server, 'listening')
    this.open.add(server)
  }

  end(): void {
    for (const server of this.open) server.close()
    this.open.clear()
  }
}

function plansOf(library: Library): new (image: string) => ContainerPlan {
  return class extends Plan {
    constructor(image: string) {
      super(image, library)
      library.made.push(this)
    }
  }
}

class Plan implements ContainerPlan {
  readonly image: string
  readonly library: Library
  env: Record<string, string> = {}
  readonly hostConfig: { PortBindings: Record<string, { HostPort: string; HostIp?: string }[]> } = { PortBindings: {} }
  readonly log = new PassThrough()

  constructor(image: string, library: Library) {
    this.image = image
    this.library = library
  }
  get port(): number {
    return Number(this.hostConfig.PortBindings['9092/tcp']?.[0]?.HostPort)
  }
  withEnvironment(env: Record<string, string>): this {
    this.env = env
    return this
  }
  withExposedPorts({ container, host }: { container: number; host: number }): this {
    this.hostConfig.PortBindings[`${container}/tcp`] = [{ HostPort: String(host) }]
    return this
  }
  withStartupTimeout(): this {
    return this
  }
  withLogConsumer(consumer: (stream: NodeJS.ReadableStream) => unknown): this {
    consumer(this.log)
    return this
  }
  async start(): Promise<StartedContainer> {
    await this.library.starts(this)
    return {
      stop: async () => {
        this.library.stops++
        this.library.end()
      },
    }
  }
}

/** size, correlation id, throttle time, brokers [id, host, port, rack], cluster id */
function metadata(port: number, clusterId: string): Buffer {
  const text = (value: string): Buffer => Buffer.concat([number(value.length, 2), Buffer.from(value)])
  const body = Buffer.concat([
    ...[1, 0, 1, 1].map((value) => number(value, 4)),
    text(HOST),
    number(port, 4),
    number(-1, 2),
    text(clusterId),
  ])
  return Buffer.concat([number(body.length, 4), body])
}

function number(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(value, 0, bytes)
  return buffer
}

let library: Library
beforeEach(() => {
  library = new Library()
})
afterEach(() => {
  library.end()
  vi.unstubAllEnvs()
})

const partsWith = (more: Partial<ContainerParts> = {}): ContainerParts => ({
  engine: async () => AT,
  load: async () => library,
  startMs: 2_000,
  readyMs: 500,
  ...more,
})
const started = (options: KafkaOptions = {}, more: Partial<ContainerParts> = {}) => startContained(library, options, partsWith(more))

/** As on a machine that has neither the jars nor a Maven. */
async function withoutJars<T>(work: () => Promise<T>): Promise<T> {
  const empty = await mkdtemp(join(tmpdir(), 'tidemark-nothing-'))
  vi.stubEnv('TIDEMARK_CACHE', empty)
  vi.stubEnv('PATH', empty)
  try {
    return await work()
  } finally {
    vi.unstubAllEnvs()
    await rm(empty, { recursive: true })
  }
}

describe('a broker in a container', () => {
  it.for(['4.3.1', '3.9.2'] as const)('of version %s serves on a loopback port that was chosen before', async (version) => {
    const kafka = await ownKafka({ version, config: { 'log.roll.ms': '1000', 'a_b-c': 'x\\y' } }, partsWith())
    const [plan] = library.made as [Plan]
    expect(kafka).toMatchObject({ source: 'container', brokers: [`127.0.0.1:${plan.port}`] })
    expect(plan.image).toBe(`apache/kafka:${version}`)
    expect(plan.hostConfig.PortBindings).toEqual({ '9092/tcp': [{ HostPort: String(plan.port), HostIp: '127.0.0.1' }] })
    expect(plan.env).toMatchObject({
      CLUSTER_ID: expect.stringMatching(/^[\w-]{22}$/) as string,
      KAFKA_NODE_ID: '1',
      KAFKA_PROCESS_ROLES: 'broker,controller',
      KAFKA_CONTROLLER_QUORUM_VOTERS: '1@127.0.0.1:9094',
      KAFKA_LISTENERS: 'CLIENT://0.0.0.0:9092,INTERNAL://127.0.0.1:9093,CONTROLLER://127.0.0.1:9094',
      KAFKA_ADVERTISED_LISTENERS: `CLIENT://127.0.0.1:${plan.port},INTERNAL://127.0.0.1:9093`,
      // What our own brokers have.
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
      KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS: '500',
      // What was asked for.
      KAFKA_LOG_ROLL_MS: '1000',
      KAFKA_A__B___C: 'x\\\\y',
    })
  })

  it('is stopped once by whoever got it, however often that is asked for', async () => {
    const kafka = await started()
    await Promise.all([kafka.stop(), kafka.stop()])
    expect(library.stops).toBe(1)
  })

  it('has the port that was asked for, and another one when the one that was chosen is taken meanwhile', async () => {
    let refused = 0
    library.starts = async (plan) => {
      if (refused++ === 0) throw new Error(`Bind for 127.0.0.1:${plan.port} failed: port is already allocated`)
      await library.serve(plan)
    }
    const { brokers } = await started()
    const [first, second] = library.made as [Plan, Plan]
    expect(brokers).toEqual([`127.0.0.1:${second.port}`])
    expect(first.port).not.toBe(second.port)
    library.end()
    refused = 0
    await expect(started({ port: 15_123 })).rejects.toMatchObject({ code: 'TEST_BROKER_FAILED', detail: expect.stringContaining('15123') })
  })

  it('that is not ours, or does not serve, is stopped, and the end of its log is told', async () => {
    library.starts = async (plan) => {
      plan.log.write('first\n')
      plan.log.write('ERROR: the clock is wrong\n')
      await library.serve(plan, 'somebody-else')
    }
    await expect(started()).rejects.toMatchObject({
      code: 'TEST_BROKER_FAILED',
      message: 'the container of apache/kafka:4.3.1 does not serve',
      detail: expect.stringMatching(/within 0.5 s\.\nfirst\nERROR: the clock is wrong/) as string,
    })
    expect(library.stops).toBe(1)
  })

  it('that comes when nobody waits for it any more is stopped', async () => {
    let come = (): void => {}
    library.starts = () => new Promise((resolve) => (come = resolve))
    await expect(started({}, { startMs: 50 })).rejects.toMatchObject({ detail: expect.stringContaining('no answer within 0.05 s') })
    expect(library.stops).toBe(0)
    come()
    await vi.waitFor(() => expect(library.stops).toBe(1))
  })
})

describe('where Kafka comes from', () => {
  it('is first of all what is given: no engine is asked', async () => {
    vi.stubEnv('TIDEMARK_TEST_BROKERS', 'one:9092, two:9092')
    expect(await testKafka()).toEqual({ source: 'given', brokers: ['one:9092', 'two:9092'] })
  })

  it.for<[string, KafkaOptions]>([
    ['three nodes', { nodes: 3 }],
    ['security', { security: { users: {} } }],
    ['features', { features: { 'transaction.version': 1 } }],
    ['a proxy', { proxy: true }],
    ['a folder', { folder: 'somewhere' }],
  ])('is no container for %s', async ([, options]) => {
    let asked = false
    const engine = async (): Promise<string> => {
      asked = true
      return AT
    }
    expect((await withoutJars(() => ownKafka(options, partsWith({ engine })))).source).toBe('none')
    expect(asked).toBe(false)
  })

  const none = async (more: Partial<ContainerParts>): Promise<string> => {
    const kafka = await withoutJars(() => ownKafka({}, partsWith(more)))
    if (kafka.source !== 'none') throw new Error(kafka.source)
    return kafka.reason
  }
  const JARS = /(?:needs Java|fetched with Maven), and there is none/

  it('without an engine is the jars, and of containers nothing is said', async () => {
    const said = await none({ engine: async () => undefined })
    expect(said).toMatch(JARS)
    expect(said).not.toContain('testcontainers" ')
  })

  it.for<[string, () => Partial<ContainerParts>, RegExp]>([
    [
      'without the package',
      () => ({ load: () => Promise.reject(new Error('Cannot find package')) }),
      /engine answers at unix:\/\/\/var\/run\/docker.sock. Cannot find package hint: Install it: npm install --save-dev testcontainers; and /,
    ],
    ['with another package', () => ({ load: async () => ({}) }), /is not the one that is known .*; and /],
    [
      'with an engine that refuses us',
      () => ({
        load: async () => ({
          GenericContainer: library.GenericContainer,
          getContainerRuntimeClient: () => Promise.reject(new Error('permission denied')),
        }),
      }),
      /container engine is of no use .* permission denied .*; and /,
    ],
    [
      'with an engine elsewhere',
      () => {
        library.host = '10.0.0.7'
        return {}
      },
      /not on this machine .* would be at 10.0.0.7.*; and /,
    ],
    [
      'with an image that cannot be had',
      () => {
        library.starts = () => Promise.reject(new Error('manifest unknown'))
        return {}
      },
      /the container of apache\/kafka:4.3.1 did not start manifest unknown; and /,
    ],
  ])('%s is the jars, and the reason says both', async ([, parts, words]) => {
    const said = await none(parts())
    expect(said).toMatch(words)
    expect(said).toMatch(JARS)
    expect(said).not.toContain('\n')
  })

  it('can be a container alone: then nothing is missing', async () => {
    expect(await withoutJars(() => whyNoBroker(undefined, partsWith()))).toBe(undefined)
    const said = await withoutJars(() =>
      whyNoBroker(undefined, partsWith({ load: () => Promise.reject(new Error('Cannot find package')) })),
    )
    expect(said).toMatch(/Cannot find package.*; and .*there is none/)
  })
})

describeUnless(reason, 'where a container fails', () => {
  it('a broker is started from jars', async () => {
    library.starts = () => Promise.reject(new Error('manifest unknown'))
    const kafka = await ownKafka({}, partsWith())
    expect(kafka.source).toBe('started')
    if (kafka.source === 'started') await kafka.cluster.stop()
  })
})

describe('an engine', () => {
  let home: string
  let sockets: Server[]
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'tidemark-engine-'))
    sockets = []
  })
  afterEach(async () => {
    for (const socket of sockets) socket.close()
    await rm(home, { recursive: true })
  })
  const listen = async (at: string | { port: number; host: string }): Promise<Server> => {
    const server = createServer().listen(at)
    await once(server, 'listening')
    sockets.push(server)
    return server
  }
  /** Nobody listens where Windows would. */
  const place = (env: Place['env'] = {}, platform = 'win32'): Place => ({ env, home, platform, uid: 12_345 })

  it('answers nowhere where nobody listens, and a file that is left of a socket is none', async () => {
    await writeFile(join(home, 'docker.sock'), '')
    expect(await answeringEngine(place({ DOCKER_HOST: `unix://${home}/docker.sock` }))).toBe(undefined)
    expect(await answeringEngine(place({ DOCKER_HOST: 'ssh://somewhere' }))).toBe(undefined)
    expect(await answeringEngine(place({ DOCKER_HOST: 'nonsense' }))).toBe(undefined)
  })

  it('answers where DOCKER_HOST says, as a socket or as a port', async () => {
    await listen(join(home, 'a.sock'))
    expect(await answeringEngine(place({ DOCKER_HOST: `unix://${home}/a.sock` }))).toBe(`unix://${home}/a.sock`)
    const address = (await listen({ port: 0, host: HOST })).address() as { port: number }
    expect(await answeringEngine(place({ DOCKER_HOST: `tcp://${HOST}:${address.port}` }))).toBe(`tcp://${HOST}:${address.port}`)
  })

  it('answers where the library is configured to look', async () => {
    await listen(join(home, 'b.sock'))
    await writeFile(join(home, '.testcontainers.properties'), `# mine\ndocker.host = unix\\://${home}/b.sock\n`)
    expect(await answeringEngine(place())).toBe(`unix://${home}/b.sock`)
  })

  it.for(['.docker/run', '.docker/desktop'])('answers in %s of the home folder, where nothing is configured', async (folder) => {
    await mkdir(join(home, folder), { recursive: true })
    await listen(join(home, folder, 'docker.sock'))
    // One that this machine may really have comes first.
    expect([`unix://${home}/${folder}/docker.sock`, AT]).toContain(await answeringEngine(place({}, 'linux')))
  })
})
