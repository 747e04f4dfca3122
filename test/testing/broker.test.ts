import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, type KafkaConfig, logLevel, ResourcePatternTypes } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { nodeClock } from '../../src/drivers/node/index.ts'
import { type KafkaCluster, type KafkaNode, startKafka } from '../../src/testing/broker/index.ts'
import { HOST } from '../../src/testing/broker/ports.ts'
import { probe } from '../../src/testing/broker/probe.ts'
import { describeUnless, sharedKafka, whyNotStarted } from '../kafka/shared.ts'

const TOPIC = 'letters'
const PRODUCE = 0

const reason = await whyNotStarted()

function client(brokers: readonly string[], config: Partial<KafkaConfig> = {}): Kafka {
  return new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 12 }, ...config })
}

/** Creates the topic and writes values to it, one request each, each acknowledged by all. */
async function write(kafka: Kafka, ...values: readonly string[]): Promise<void> {
  const admin = kafka.admin()
  const producer = kafka.producer()
  try {
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: TOPIC }] })
    await producer.connect()
    for (const value of values) await producer.send({ topic: TOPIC, acks: -1, messages: [{ value }] })
  } finally {
    await producer.disconnect()
    await admin.disconnect()
  }
}

/** How many records the topic has. */
async function written(kafka: Kafka): Promise<number> {
  const admin = kafka.admin()
  await admin.connect()
  const offsets = await admin.fetchTopicOffsets(TOPIC)
  await admin.disconnect()
  return offsets.reduce((sum, { offset }) => sum + Number(offset), 0)
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The time limit of the test is the limit. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await nodeClock.sleep(20)
}

describeUnless(reason, 'a broker of its own', () => {
  let kafka: KafkaCluster
  let node: KafkaNode
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-kept-'))
    kafka = await startKafka({ folder, proxy: true })
    node = kafka.nodes[0] as KafkaNode
  })
  afterAll(async () => {
    await kafka.stop()
    await rm(folder, { recursive: true })
  })

  it('answers for its own cluster, on the loopback', async () => {
    expect(kafka.brokers).toEqual([`127.0.0.1:${node.port}`])
    expect(await probe(HOST, node.port)).toEqual({ clusterId: kafka.clusterId, nodes: [{ id: 1, host: HOST, port: node.port }] })
  })

  it('keeps what it acknowledged when it is killed and starts again, on the same port', async () => {
    await write(client(kafka.brokers), 'a', 'b')
    const { pid, port } = node
    await node.kill()
    expect(runs(pid as number)).toBe(false)
    expect(node.pid).toBeUndefined()
    expect(await probe(HOST, port)).toBeUndefined()
    await node.start()
    expect(node.pid).not.toBe(pid)
    expect(await written(client([`127.0.0.1:${port}`]))).toBe(2)
  })

  it('answers nothing while it is paused, and goes on afterwards', async () => {
    node.pause()
    expect(await probe(HOST, node.port, 200)).toBeUndefined()
    node.resume()
    expect(await probe(HOST, node.port, 10_000)).toMatchObject({ clusterId: kafka.clusterId })
  })

  it('names the proxy to who comes through the proxy', async () => {
    const [proxy] = kafka.proxies
    expect(kafka.proxiedBrokers).toEqual([`127.0.0.1:${proxy?.port}`])
    expect((await probe(HOST, proxy?.port as number))?.nodes).toEqual([{ id: 1, host: HOST, port: proxy?.port }])
  })

  it('has a record twice when the answer got lost after the request went through, and the client does not number its batches', async () => {
    const before = await written(client(kafka.brokers))
    const trap = kafka.proxies[0]?.catchNext({ apiKey: PRODUCE, at: 'response', harm: 'cut' })
    await write(client(kafka.proxiedBrokers), 'c')
    expect((await trap?.caught)?.open).toBe(false)
    expect(await written(client(kafka.brokers))).toBe(before + 2)
  })

  it('has its folder for itself, and its data again when another start takes over the folder', async () => {
    await expect(startKafka({ folder, fresh: true })).rejects.toMatchObject({ code: 'TEST_BROKER_FAILED', detail: folder })
    const [before, { clusterId }] = [await written(client(kafka.brokers)), kafka]
    await kafka.stop()
    kafka = await startKafka({ folder })
    expect(kafka.clusterId).toBe(clusterId)
    expect(await written(client(kafka.brokers))).toBe(before)
  })
})

describeUnless(reason, 'a broker whose parent is killed', () => {
  it('dies with it, and its folder goes', async () => {
    const parent = spawn(process.execPath, [join(import.meta.dirname, 'broker-child.ts'), 'start'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const line = await new Promise<string>((resolve) => parent.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString())))
    const { pid, folder } = JSON.parse(line) as { pid: number; folder: string }
    expect([runs(pid), existsSync(folder)]).toEqual([true, true])
    parent.kill('SIGKILL')
    await until(() => !runs(pid) && !existsSync(folder))
  })
})

describeUnless(reason, 'three brokers', () => {
  it('lose one and go on, with every record that they acknowledged, and leave nothing behind when they stop', async () => {
    const kafka = await startKafka({ nodes: 3 })
    const pids = kafka.nodes.map(({ pid }) => pid as number)
    try {
      await write(client(kafka.brokers), 'a')
      const leader = await leaderOf(client(kafka.brokers))
      const left = kafka.nodes.filter(({ id }) => id !== leader)
      const serving = async (count: number): Promise<boolean> => (await probe(HOST, (left[0] as KafkaNode).port))?.nodes.length === count
      await kafka.nodes[leader - 1]?.kill()
      await until(() => serving(2))
      const two = client(left.map(({ port }) => `${HOST}:${port}`))
      await write(two, 'b')
      expect(await leaderOf(two)).not.toBe(leader)
      expect(await written(two)).toBe(2)
      await kafka.nodes[leader - 1]?.start()
      await until(() => serving(3))
    } finally {
      await kafka.stop()
    }
    expect(pids.filter(runs)).toEqual([])
    expect(existsSync(kafka.folder)).toBe(false)
  })
})

async function leaderOf(kafka: Kafka): Promise<number> {
  const admin = kafka.admin()
  await admin.connect()
  const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
  await admin.disconnect()
  return topics[0]?.partitions[0]?.leader as number
}

describeUnless(reason, 'a secured broker', () => {
  it('lets in who has a password, and lets nobody do what no list grants', async () => {
    const kafka = await startKafka({ security: { users: { ada: 'engine' } } })
    try {
      const as = (password: string): Partial<KafkaConfig> => ({
        ssl: { ca: [kafka.security?.ca as string] },
        sasl: { mechanism: 'scram-sha-512', username: 'ada', password },
        retry: { retries: 0 },
      })
      await write(client(kafka.adminBrokers), 'a')
      await expect(written(client(kafka.brokers, as('loom')))).rejects.toThrow(/SASL|[Aa]uthentication/)
      await expect(written(client(kafka.brokers, as('engine')))).rejects.toThrow(/[Aa]uthori/)
      const admin = client(kafka.adminBrokers).admin()
      await admin.connect()
      await admin.createAcls({
        acl: [
          {
            resourceType: AclResourceTypes.TOPIC,
            resourceName: TOPIC,
            resourcePatternType: ResourcePatternTypes.LITERAL,
            principal: 'User:ada',
            host: '*',
            operation: AclOperationTypes.READ,
            permissionType: AclPermissionTypes.ALLOW,
          },
        ],
      })
      await admin.disconnect()
      expect(await written(client(kafka.brokers, as('engine')))).toBe(1)
    } finally {
      await kafka.stop()
    }
  })
})

describeUnless(reason ?? (await whyNotStarted('3.9.2')), 'the shared broker', () => {
  it('is one for all who ask for the same, and another for who asks for another version', async () => {
    const [one, again, older] = [await sharedKafka(), await sharedKafka(), await sharedKafka({ version: '3.9.2' })]
    expect(again).toEqual(one)
    expect(older.brokers).not.toEqual(one.brokers)
    for (const { brokers } of [one, older]) {
      const [host, port] = (brokers?.[0] ?? '').split(':') as [string, string]
      expect((await probe(host, Number(port)))?.nodes).toHaveLength(1)
    }
  })
})

it('refuses options that make no sense, and says which', async () => {
  const invalid = { code: 'OPTION_INVALID' }
  await expect(startKafka({ version: '2.8.2' as '4.3.1' })).rejects.toMatchObject(invalid)
  await expect(startKafka({ nodes: 2 as 3 })).rejects.toMatchObject(invalid)
  await expect(startKafka({ port: 65_534, nodes: 3 })).rejects.toMatchObject(invalid)
  await expect(startKafka({ proxy: true, security: { users: {} } })).rejects.toMatchObject(invalid)
  await expect(startKafka({ security: { users: { 'a b': 'x' } } })).rejects.toMatchObject(invalid)
  await expect(startKafka({ security: { users: {}, superUsers: ['nobody'] } })).rejects.toMatchObject(invalid)
})
