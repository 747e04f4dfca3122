/**
 * Records what real brokers and independent clients put on the wire, for test/drivers/kafka/wire.test.ts. It starts its own: a cluster of
 * several brokers, so that one can be asked that does not lead, and an older one. A JDK is needed for Kafka's own Java clients.
 *
 *   node scripts/with-node.mjs scripts/kafka-captures.ts
 */
import { Kafka, logLevel } from 'kafkajs'
import { type MetadataBroker, metadata } from '../src/drivers/kafka/wire/index.ts'
import { startKafka } from '../src/testing/broker/index.ts'
import { jarsOf } from '../src/testing/broker/jars.ts'
import { Connection } from './kafka-captures/connection.ts'
import { captureJava, captureTables } from './kafka-captures/java.ts'
import { type Cluster, captureOlder, captureOwn } from './kafka-captures/own.ts'
import { Recorder } from './kafka-captures/recorder.ts'

const NEWEST = '4.3.1'
const OLDER = '3.9.2'

const kafka = await startKafka({ version: NEWEST, nodes: 3 })
try {
  const brokers = await recordOwn(kafka.brokers, NEWEST, captureOwn)
  const recorder = new Recorder(NEWEST)
  const jars = await jarsOf(NEWEST)
  await captureTables(jars)
  await captureJava({ brokers, jars, recorder })
  console.log(recorder.save('java').join('\n'))
} finally {
  await kafka.stop()
}
const older = await startKafka({ version: OLDER })
try {
  await recordOwn(older.brokers, OLDER, captureOlder)
} finally {
  await older.stop()
}

/** Runs our own requests on connections to a cluster, and keeps what was recorded. */
async function recordOwn(
  [bootstrap]: readonly string[],
  version: string,
  work: (cluster: Cluster) => Promise<void>,
): Promise<readonly MetadataBroker[]> {
  if (bootstrap === undefined) throw new Error('the cluster has no broker')
  const [host, port] = bootstrap.split(':') as [string, string]
  const recorder = new Recorder(version)
  const any = await Connection.open(host, Number(port), recorder)
  const { brokers } = await any.call(metadata, 12, { topics: [], allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false })
  const connections: Connection[] = [any]
  const nodes = new Map<number, Connection>()
  const another = async (nodeId: number): Promise<Connection> => {
    const broker = brokers.find((each) => each.nodeId === nodeId)
    if (broker === undefined) throw new Error(`the cluster has no node ${nodeId}`)
    const connection = await Connection.open(broker.host, broker.port, recorder)
    connections.push(connection)
    return connection
  }
  const node = async (nodeId: number): Promise<Connection> => {
    const known = nodes.get(nodeId) ?? (await another(nodeId))
    nodes.set(nodeId, known)
    return known
  }
  const move = async (topic: string, partition: number, nodeId: number): Promise<void> => {
    const admin = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition, replicas: [nodeId] }] }] })
    await admin.disconnect()
  }
  try {
    await work({ any, node, another, move, run: Date.now().toString(36) })
  } finally {
    for (const connection of connections) connection.close()
  }
  console.log(recorder.save('tidemark').join('\n'))
  return brokers
}
