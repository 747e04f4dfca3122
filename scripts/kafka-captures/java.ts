/**
 * Kafka's own Java clients, recorded through a proxy that makes them speak our versions: it narrows the ranges that ApiVersions answers,
 * and puts itself where brokers are named. What is recorded are the bytes as the client and the broker wrote them.
 */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  APIS,
  type Api,
  type ApiVersionsResponse,
  apiVersions,
  correlationIdOf,
  decodeResponse,
  encodeResponse,
  type FindCoordinatorResponse,
  findCoordinator,
  type MetadataBroker,
  type MetadataResponse,
  metadata,
  readRequestHeader,
} from '../../src/drivers/kafka/wire/index.ts'
import type { Recorder } from './recorder.ts'

/** Clients repeat themselves; a few of each are enough. */
const CAPTURES_MAX = 6
const PROGRAM = join(import.meta.dirname, 'JavaClients.java')
const FOLDER = join(import.meta.dirname, '..', '..', 'test', 'drivers', 'kafka')
/** What the client may do with the cluster: transactions of protocol 2 as it is, or of protocol 1 as on an older one. */
type Protocol = 1 | 2

const APIS_BY_KEY: ReadonlyMap<number, Api<unknown, unknown>> = new Map(APIS.map((api) => [api.key, api]))
/** APIs with two ways of transactions: the versions of protocol 1. */
const OLDER: Readonly<Record<string, number>> = { Produce: 11, TxnOffsetCommit: 3, EndTxn: 3, ListTransactions: 1, ApiVersions: 3 }

export async function captureJava({
  brokers,
  jars,
  recorder,
}: {
  brokers: readonly MetadataBroker[]
  jars: string
  recorder: Recorder
}): Promise<void> {
  for (const protocol of [2, 1] as const) {
    const proxies = await Promise.all(brokers.map((broker) => proxy(broker, protocol, recorder)))
    for (const one of proxies) for (const { broker, port } of proxies) one.ports.set(broker.nodeId, port)
    console.log((await run(jars, [`127.0.0.1:${proxies[0]?.port}`, `${protocol}`, Date.now().toString(36)])).join('\n'))
    for (const { server, sockets } of proxies) {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}

/** Kafka's own tables of errors and of layouts, out of its jars. */
export async function captureTables(jars: string): Promise<void> {
  const errors = (await run(jars, ['errors'])).map((line) => {
    const [code, name, retriable] = line.split(' ')
    return { code: Number(code), name, retriable: retriable === 'true' }
  })
  const messages = APIS.flatMap(({ name }) => [`${name}Request`, `${name}Response`])
  const lines = await run(jars, ['layouts', ...messages])
  const layouts = APIS.flatMap(({ name, versions: [oldest, newest] }, place) =>
    Array.from({ length: newest - oldest + 1 }, (_, i) => ({
      api: name,
      version: oldest + i,
      request: paths(parsed(lines[2 * place]), oldest + i).join(' '),
      response: paths(parsed(lines[2 * place + 1]), oldest + i).join(' '),
    })),
  )
  writeFileSync(join(FOLDER, 'kafka-errors.json'), `${JSON.stringify(errors, undefined, 2)}\n`)
  writeFileSync(join(FOLDER, 'kafka-layouts.json'), `${JSON.stringify(layouts, undefined, 2)}\n`)
}

interface Field {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly tag?: number
  readonly taggedVersions?: string
  readonly fields?: readonly Field[]
}
interface Message {
  readonly fields: readonly Field[]
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly Field[] }[]
}

function parsed(line: string | undefined): Message {
  if (line === undefined) throw new Error('a layout is missing')
  return JSON.parse(line) as Message
}

/** All fields that a version has, in the order of the wire, each with the names of what it lies in; tagged ones last, by their number. */
function paths({ fields, commonStructs = [] }: Message, version: number): string[] {
  const walk = (inside: readonly Field[], before: string): string[] => {
    const present = inside.filter(({ versions }) => within(version, versions))
    const plain = present.filter(({ tag }) => tag === undefined)
    const tagged = present.filter(({ tag }) => tag !== undefined).sort((one, other) => (one.tag ?? 0) - (other.tag ?? 0))
    return [...plain, ...tagged].flatMap(({ name, type, tag, fields: below }) => {
      // Kafka's own code makes the first letter small.
      const path = `${before}${name.charAt(0).toLowerCase()}${name.slice(1)}`
      const named = commonStructs.find((struct) => struct.name === type.replace('[]', ''))?.fields
      return [tag === undefined ? path : `${path}#${tag}`, ...walk(below ?? named ?? [], `${path}.`)]
    })
  }
  return walk(fields, '')
}

/** `3`, `3+` or `3-5`. */
function within(version: number, versions: string): boolean {
  const oldest = Number.parseInt(versions, 10)
  const newest = versions.endsWith('+') ? Number.POSITIVE_INFINITY : Number(versions.slice(versions.indexOf('-') + 1))
  return version >= oldest && version <= newest
}

async function run(jars: string, args: readonly string[]): Promise<string[]> {
  const command = ['-cp', `${jars}/*`, PROGRAM, ...args]
  const { stdout } = await promisify(execFile)('java', command, { timeout: 90_000, maxBuffer: 64 * 1024 * 1024 })
  return stdout.trim().split('\n')
}

interface Proxy {
  readonly broker: MetadataBroker
  readonly port: number
  readonly server: Server
  readonly sockets: readonly Socket[]
  /** Where each node's proxy listens. */
  readonly ports: Map<number, number>
}

async function proxy(broker: MetadataBroker, protocol: Protocol, recorder: Recorder): Promise<Proxy> {
  const ports = new Map<number, number>()
  const sockets: Socket[] = []
  const server = createServer((client) => {
    const upstream = connect(broker.port, broker.host)
    sockets.push(client, upstream)
    const requests = new Map<number, Buffer>()
    frames(client, (frame) => {
      requests.set(readRequestHeader(frame).header.correlationId, frame)
      upstream.write(frame)
    })
    frames(upstream, (answer) => {
      const request = requests.get(correlationIdOf(answer)) as Buffer
      requests.delete(correlationIdOf(answer))
      record(recorder, protocol, request, answer)
      client.write(rewritten(request, answer, protocol, ports))
    })
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { broker, port: (server.address() as AddressInfo).port, server, sockets, ports }
}

function record(recorder: Recorder, protocol: Protocol, request: Buffer, answer: Buffer): void {
  const { key, version } = readRequestHeader(request).header
  const api = APIS_BY_KEY.get(key)
  if (api === undefined) return
  const client = `java, protocol ${protocol}`
  const like = (capture: { client: string; request: string; response: string }): boolean =>
    capture.client === client && capture.request.length === request.length * 2 && capture.response.length === answer.length * 2
  const count = recorder.count(api, (capture) => capture.client === client)
  if (count >= CAPTURES_MAX || recorder.count(api, like) > 0) return
  recorder.add(api, { name: `number ${count + 1}`, client, version }, request, answer)
}

function rewritten(request: Buffer, answer: Buffer, protocol: Protocol, ports: ReadonlyMap<number, number>): Buffer {
  const { key, version } = readRequestHeader(request).header
  const id = correlationIdOf(answer)
  const body = answer.subarray(8)
  const here = <T extends { readonly nodeId: number; readonly host: string; readonly port: number }>(node: T): T => {
    const port = ports.get(node.nodeId)
    return port === undefined ? node : { ...node, host: '127.0.0.1', port }
  }
  if (key === apiVersions.key)
    return encodeResponse(apiVersions, version, id, narrowed(decodeResponse(apiVersions, version, body), protocol))
  if (key === metadata.key) {
    const response: MetadataResponse = decodeResponse(metadata, version, body)
    return encodeResponse(metadata, version, id, { ...response, brokers: response.brokers.map(here) })
  }
  if (key === findCoordinator.key) {
    const response: FindCoordinatorResponse = decodeResponse(findCoordinator, version, body)
    return encodeResponse(findCoordinator, version, id, { ...response, coordinators: response.coordinators.map(here) })
  }
  return answer
}

/** Only what we speak, and no newer. */
function narrowed(response: ApiVersionsResponse, protocol: Protocol): ApiVersionsResponse {
  const apiKeys = response.apiKeys.flatMap(({ apiKey, minVersion, maxVersion }) => {
    const api = APIS_BY_KEY.get(apiKey)
    if (api === undefined || minVersion > api.versions[1]) return []
    const newest = protocol === 1 ? (OLDER[api.name] ?? api.versions[1]) : api.versions[1]
    return [{ apiKey, minVersion: Math.max(minVersion, api.versions[0]), maxVersion: Math.min(maxVersion, newest) }]
  })
  const finalizedFeatures = response.finalizedFeatures?.filter(({ name }) => protocol === 2 || name !== 'transaction.version')
  return { ...response, apiKeys, finalizedFeatures }
}

function frames(socket: Socket, take: (frame: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0)
      take(Buffer.from(rest.subarray(0, end)))
      rest = rest.subarray(end)
    }
  })
}
