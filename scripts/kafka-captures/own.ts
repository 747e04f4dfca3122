/** Our own requests against a real broker: each API with a good answer and with the refusals that a driver meets. */
import { nativeCodecs as codecs } from '../../src/drivers/codecs/index.ts'
import * as wire from '../../src/drivers/kafka/wire/index.ts'
import { BatchBuilder, stampBatch } from '../../src/ports/record-batch/index.ts'
import type { Connection } from './connection.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const { CONCURRENT_TRANSACTIONS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, NOT_LEADER_OR_FOLLOWER } =
  wire.KAFKA_ERROR
const PASSING = new Set([
  CONCURRENT_TRANSACTIONS,
  COORDINATOR_NOT_AVAILABLE,
  NOT_COORDINATOR,
  COORDINATOR_LOAD_IN_PROGRESS,
  NOT_LEADER_OR_FOLLOWER,
  wire.KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION,
])

/** What one run needs to find its way: brokers by node id, connections by broker. */
export interface Cluster {
  readonly any: Connection
  node(nodeId: number): Promise<Connection>
  /** Another connection, for requests that park. */
  another(nodeId: number): Promise<Connection>
  /** Makes a node the only replica of a partition. */
  move(topic: string, partition: number, nodeId: number): Promise<void>
  /** Names of this run, so that it can be repeated on one broker. */
  readonly run: string
}

interface Producer {
  readonly transactionalId: string
  readonly coordinator: Connection
  producerId: number
  producerEpoch: number
}

export async function captureOwn(cluster: Cluster): Promise<void> {
  await versions(cluster)
  await topics(cluster)
  await coordinators(cluster)
  const producer = await producers(cluster)
  await transactions(cluster, producer)
  await transactionsProtocol1(cluster)
  await reading(cluster)
  await group(cluster)
  await settings(cluster)
  await movedLeader(cluster)
}

/** What an older broker says of itself, and what a transaction of protocol 1 begins with. */
export async function captureOlder(cluster: Cluster): Promise<void> {
  await versions(cluster)
  await coordinators(cluster)
  await producers(cluster)
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the broker left out what was asked for')
  return value
}

type Naming<T> = (answer: T) => string | undefined

/** Repeats a call until its error is no passing one. The first passing answer is kept beside the settled one. */
async function settled<T>(call: (naming: Naming<T>) => Promise<T>, errorOf: (answer: T) => number, name: string): Promise<T> {
  let passing = 0
  const naming = (answer: T): string | undefined => {
    if (!PASSING.has(errorOf(answer))) return name
    return passing++ === 0 ? `${name}, at first` : undefined
  }
  for (let tries = 0; tries < 100; tries++) {
    const answer = await call(naming)
    if (!PASSING.has(errorOf(answer))) return answer
    await pause(50)
  }
  throw new Error(`${name}: no end of passing errors`)
}

async function versions({ any }: Cluster): Promise<void> {
  const us = { clientSoftwareName: 'tidemark', clientSoftwareVersion: '0.1.0' }
  await any.call(wire.apiVersions, 4, us, 'version 4')
  await any.call(wire.apiVersions, 3, us, 'version 3')
  await any.callAs(wire.apiVersions, 4, 99, us, 'a version that the broker does not know')
  await any.call(wire.apiVersions, 4, { ...us, clientSoftwareName: 'tide mark' }, 'a name that is not allowed')
}

function names({ run }: Cluster): { plain: string; compact: string; missing: string } {
  return { plain: `captures-${run}`, compact: `captures-compact-${run}`, missing: `missing-${run}` }
}

async function topics(cluster: Cluster): Promise<void> {
  const { any } = cluster
  const { plain, compact, missing } = names(cluster)
  const create = (topics: readonly wire.NewTopic[], name: string, validateOnly = false): Promise<wire.CreateTopicsResponse> =>
    any.call(wire.createTopics, 7, { topics, timeoutMs: 10_000, validateOnly }, name)
  const settings = [{ name: 'cleanup.policy', value: 'compact' }]
  const onOne = [
    { partition: 0, brokerIds: [1] },
    { partition: 1, brokerIds: [2] },
  ]
  await create(
    [
      { name: plain, partitions: -1, replicationFactor: -1, assignments: onOne, configs: [] },
      { name: compact, partitions: 1, replicationFactor: 1, configs: settings },
    ],
    'two topics, one with replicas assigned',
  )
  await create([{ name: plain, partitions: 1, replicationFactor: 1, configs: [] }], 'one that exists')
  await create([{ name: 'not a name', partitions: 1, replicationFactor: 99, configs: [] }], 'a bad name', true)
  await create([{ name: missing, partitions: 1, replicationFactor: 99, configs: [] }], 'too many replicas', true)
  await create([{ name: missing, partitions: 1, replicationFactor: 1, configs: [{ name: 'no.such', value: null }] }], 'a bad setting', true)
  await create([{ name: missing, partitions: 3, replicationFactor: 1, configs: settings }], 'validated only', true)

  const ask = (topics: readonly wire.MetadataTopicRequest[] | null, name?: string): Promise<wire.MetadataResponse> =>
    any.call(wire.metadata, 12, { topics, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: name !== 'no topic' }, name)
  while ((await ask([{ name: plain }])).topics[0]?.error !== 0) await pause(50)
  const known = await ask([{ name: plain }, { name: missing }, { name: compact }], 'by name, one missing')
  await ask([], 'no topic')
  await ask([{ topicId: there(known.topics.find(({ name }) => name === plain)).topicId, name: null }], 'by id')
  await ask([{ topicId: 'AAAAAAAAAAAAAAAAAAAABB', name: null }], 'by an id that does not exist')
}

async function coordinators(cluster: Cluster): Promise<void> {
  const find = (
    keyType: number,
    keys: readonly string[],
    name: string | Naming<wire.FindCoordinatorResponse>,
  ): Promise<wire.FindCoordinatorResponse> => cluster.any.call(wire.findCoordinator, 4, { keyType, keys }, name)
  const errorOf = (answer: wire.FindCoordinatorResponse): number => answer.coordinators[0]?.error ?? 0
  const { run } = cluster
  await settled<wire.FindCoordinatorResponse>(
    (name) => find(wire.GROUP_COORDINATOR, [`group-${run}`, `other-${run}`], name),
    errorOf,
    'of two groups',
  )
  await settled<wire.FindCoordinatorResponse>(
    (name) => find(wire.TRANSACTION_COORDINATOR, [`tx-${run}`], name),
    errorOf,
    'of a transactional id',
  )
  await find(wire.GROUP_COORDINATOR, [''], 'of a group without a name')
  await find(9, ['x'], 'of an unknown kind')
}

async function coordinatorOf(cluster: Cluster, keyType: number, key: string): Promise<Connection> {
  for (;;) {
    const { coordinators } = await cluster.any.call(wire.findCoordinator, 4, { keyType, keys: [key] })
    if (coordinators[0]?.error === 0) return cluster.node(coordinators[0].nodeId)
    await pause(50)
  }
}

async function initProducer(cluster: Cluster, transactionalId: string, name: string): Promise<Producer> {
  const coordinator = await coordinatorOf(cluster, wire.TRANSACTION_COORDINATOR, transactionalId)
  const request = { transactionalId, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 }
  const { producerId, producerEpoch } = await settled<wire.InitProducerIdResponse>(
    (label) => coordinator.call(wire.initProducerId, 4, request, label),
    (answer) => answer.error,
    name,
  )
  return { transactionalId, coordinator, producerId, producerEpoch }
}

async function producers(cluster: Cluster): Promise<Producer> {
  const idempotent = { transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 }
  await settled<wire.InitProducerIdResponse>(
    (label) => cluster.any.call(wire.initProducerId, 4, idempotent, label),
    ({ error }) => error,
    'idempotent only',
  )
  const producer = await initProducer(cluster, `tx-${cluster.run}`, 'transactional')
  const { coordinator, transactionalId } = producer
  const again = { transactionalId, transactionTimeoutMs: 60_000 }
  await coordinator.call(
    wire.initProducerId,
    4,
    { ...again, transactionTimeoutMs: 2 ** 31 - 1, producerId: -1, producerEpoch: -1 },
    'timeout too long',
  )
  await coordinator.call(wire.initProducerId, 4, { ...again, producerId: 999_999, producerEpoch: 3 }, 'of another producer')
  return initProducer(cluster, transactionalId, 'again, which fences the first')
}

function batchOf(
  producer: Producer | undefined,
  baseSequence: number,
  count = 2,
  key: string | null = 'key',
  timestamp = 1_700_000_000_000,
): Buffer {
  const builder = new BatchBuilder({ codecs })
  for (let i = 0; i < count; i++) builder.add(timestamp + i, key === null ? null : Buffer.from(`${key}-${i}`), Buffer.from(`value ${i}`))
  const batch = builder.finish()
  const stamp =
    producer === undefined
      ? { producerId: -1, producerEpoch: -1, baseSequence: -1, transactional: false }
      : { producerId: producer.producerId, producerEpoch: producer.producerEpoch, baseSequence, transactional: true }
  stampBatch(batch, stamp, codecs)
  return Buffer.from(batch.bytes)
}

/** Sends a batch to a node, by default the one that leads: partition p was assigned to node p + 1. */
async function send(
  cluster: Cluster,
  { topic, partition, records, producer }: { topic: string; partition: number; records: Buffer; producer?: Producer | undefined },
  name: string | Naming<wire.ProducePartition>,
  { version = 12, nodeId }: { version?: number; nodeId?: number } = {},
): Promise<wire.ProducePartition> {
  const request = {
    transactionalId: producer?.transactionalId ?? null,
    acks: -1,
    timeoutMs: 10_000,
    topics: [{ topic, partitions: [{ partition, records }] }],
  }
  const leader = await cluster.node(nodeId ?? (await leaderOf(cluster, topic, partition)))
  const partitionOf = ({ topics }: wire.ProduceResponse): wire.ProducePartition => there(there(topics[0]).partitions[0])
  const naming = typeof name === 'string' ? name : (answer: wire.ProduceResponse) => name(partitionOf(answer))
  return partitionOf(await leader.call(wire.produce, version, request, naming))
}

async function leaderOf(cluster: Cluster, topic: string, partition: number): Promise<number> {
  const { topics } = await cluster.any.call(wire.metadata, 12, {
    topics: [{ name: topic }],
    allowAutoTopicCreation: false,
    includeTopicAuthorizedOperations: false,
  })
  const leaderId = topics[0]?.partitions.find((each) => each.partition === partition)?.leaderId
  return leaderId === undefined || leaderId < 0 ? 1 : leaderId
}

async function transactions(cluster: Cluster, producer: Producer): Promise<void> {
  const { plain, compact, missing } = names(cluster)
  const { coordinator, transactionalId } = producer
  const sequence = { next: 0 }
  const write = async (name: string): Promise<void> => {
    const records = batchOf(producer, sequence.next)
    const to = { topic: plain, partition: 0, records, producer }
    const answer = await settled<wire.ProducePartition>(
      (label) => send(cluster, to, label),
      (partition) => partition.error,
      name,
    )
    if (answer.error !== 0) throw new Error(`${name}: ${answer.error}`)
    sequence.next += 2
  }
  const id = (): { transactionalId: string; producerId: number; producerEpoch: number } => ({
    transactionalId,
    producerId: producer.producerId,
    producerEpoch: producer.producerEpoch,
  })
  const end = async (committed: boolean, name: string): Promise<void> => {
    const answer = await settled<wire.EndTxnResponse>(
      (label) => coordinator.call(wire.endTxn, 5, { ...id(), committed }, label),
      ({ error }) => error,
      name,
    )
    if (answer.error !== 0) throw new Error(`${name}: ${answer.error}`)
    producer.producerId = answer.producerId
    producer.producerEpoch = answer.producerEpoch
    sequence.next = 0
  }

  await write('transactional, version 12')
  await send(cluster, { topic: plain, partition: 0, records: batchOf(producer, 9), producer }, 'a gap in the sequence')
  await send(cluster, { topic: plain, partition: 0, records: batchOf(producer, 0), producer }, 'at a broker that does not lead', {
    nodeId: 2,
  })
  await send(cluster, { topic: missing, partition: 0, records: batchOf(undefined, -1) }, 'to a topic that does not exist')
  await send(cluster, { topic: plain, partition: 0, records: batchOf(undefined, -1) }, 'version 10', { version: 10 })
  await send(cluster, { topic: compact, partition: 0, records: batchOf(undefined, -1, 2, null) }, 'without keys to a compacted topic')
  await send(cluster, { topic: plain, partition: 0, records: batchOf(undefined, -1, 1, 'key', 4_000_000_000_000) }, 'from the future')
  const damaged = batchOf(undefined, -1)
  damaged[damaged.length - 1] = 0x7f
  await send(cluster, { topic: plain, partition: 0, records: damaged }, 'damaged')
  await send(
    cluster,
    { topic: plain, partition: 0, records: Buffer.concat([batchOf(undefined, -1), batchOf(undefined, -1)]) },
    'two batches',
  )

  await coordinator.call(wire.describeTransactions, 0, { transactionalIds: [transactionalId] }, 'an open one')
  const nobody = await coordinatorOf(cluster, wire.TRANSACTION_COORDINATOR, 'nobody')
  await nobody.call(wire.describeTransactions, 0, { transactionalIds: ['nobody'] }, 'an unknown one')
  await diagnose(cluster, transactionalId)
  const fenced = { ...id(), producerEpoch: producer.producerEpoch - 1, committed: true }
  await coordinator.call(wire.endTxn, 5, fenced, 'by a fenced producer')
  await end(false, 'abort, version 5')
  await write('the next transaction, version 12')
  const groupId = `anonymous-${cluster.run}`
  const positions = [{ topic: plain, partitions: [{ partition: 0, committedOffset: 2, committedLeaderEpoch: -1, metadata: null }] }]
  const commit = { ...id(), groupId, generationId: -1, memberId: '', instanceId: null, topics: positions }
  const groupCoordinator = await coordinatorOf(cluster, wire.GROUP_COORDINATOR, groupId)
  await groupCoordinator.call(wire.txnOffsetCommit, 5, commit, 'version 5')
  await end(true, 'commit, version 5')
  const nothing = { ...id(), committed: true }
  await settled<wire.EndTxnResponse>(
    (label) => coordinator.call(wire.endTxn, 5, nothing, label),
    ({ error }) => error,
    'commit of nothing',
  )
}

async function diagnose(cluster: Cluster, transactionalId: string): Promise<void> {
  const { plain, missing } = names(cluster)
  const topics = [
    { topic: plain, partitions: [0, 7] },
    { topic: missing, partitions: [0] },
  ]
  await (await cluster.node(1)).call(wire.describeProducers, 0, { topics }, 'one with an open transaction, two that do not exist')
  const coordinator = await coordinatorOf(cluster, wire.TRANSACTION_COORDINATOR, transactionalId)
  const all = { stateFilters: ['Ongoing', 'NoSuchState'], producerIdFilters: [], durationFilterMs: -1, transactionalIdPattern: null }
  await coordinator.call(wire.listTransactions, 0, all, 'open ones, version 0')
  await coordinator.call(wire.listTransactions, 1, all, 'open ones, version 1')
  await coordinator.call(wire.listTransactions, 2, { ...all, transactionalIdPattern: `^tx-${cluster.run}.*` }, 'by pattern, version 2')
  await coordinator.call(wire.listTransactions, 2, { ...all, transactionalIdPattern: '(' }, 'by a pattern that is none')
  await coordinator.call(wire.listTransactions, 2, { ...all, producerIdFilters: [1, 2, 3], durationFilterMs: 1e9 }, 'none')
}

async function transactionsProtocol1(cluster: Cluster): Promise<void> {
  const { plain, missing } = names(cluster)
  const groupId = `positions-${cluster.run}`
  const producer = await initProducer(cluster, `tx1-${cluster.run}`, 'for protocol 1')
  const { coordinator, transactionalId, producerId, producerEpoch } = producer
  const id = { transactionalId, producerId, producerEpoch }
  const groupCoordinator = await coordinatorOf(cluster, wire.GROUP_COORDINATOR, groupId)
  const positions = [{ topic: plain, partitions: [{ partition: 0, committedOffset: 5, committedLeaderEpoch: 0, metadata: 'note' }] }]
  const commit = (version: number, generationId: number, memberId: string, name?: string): Promise<wire.TxnOffsetCommitResponse> => {
    const request = { ...id, groupId, generationId, memberId, instanceId: null, topics: positions }
    return groupCoordinator.call(wire.txnOffsetCommit, version, request, name)
  }

  await coordinator.call(
    wire.addPartitionsToTxn,
    3,
    {
      ...id,
      topics: [
        { topic: missing, partitions: [0] },
        { topic: plain, partitions: [0] },
      ],
    },
    'one that does not exist',
  )
  await coordinator.call(wire.addPartitionsToTxn, 3, { ...id, topics: [{ topic: plain, partitions: [0, 1] }] }, 'two partitions')
  await coordinator.call(
    wire.addPartitionsToTxn,
    3,
    { ...id, producerEpoch: 77, topics: [{ topic: plain, partitions: [0] }] },
    'by a wrong epoch',
  )
  const records = batchOf(producer, 0)
  await send(cluster, { topic: plain, partition: 0, records, producer }, 'transactional, version 11', { version: 11 })
  await commit(3, -1, '', 'before the group was added, version 3')
  await commit(4, -1, '', 'before the group was added, version 4')
  await coordinator.call(wire.addOffsetsToTxn, 3, { ...id, groupId }, 'a group')
  await coordinator.call(wire.addOffsetsToTxn, 3, { ...id, producerEpoch: 77, groupId }, 'by a wrong epoch')
  await commit(3, -1, '', 'version 3')
  await commit(3, 4, 'nobody', 'by a member that is none, version 3')
  await commit(5, 4, 'nobody', 'by a member that is none, version 5')
  const topics = [{ topic: plain, partitions: [0] }]
  const fetchPositions = (requireStable: boolean, name: string, ask: readonly wire.TopicPartitions[] | null = topics): Promise<unknown> =>
    groupCoordinator.call(
      wire.offsetFetch,
      8,
      {
        groups: [
          { groupId, topics: ask },
          { groupId: `none-${groupId}`, topics: ask },
        ],
        requireStable,
      },
      name,
    )
  await fetchPositions(true, 'while a transaction is about to change one')
  await coordinator.call(wire.endTxn, 3, { ...id, committed: true }, 'commit, version 3')
  for (let i = 0; i < 100; i++) {
    if ((await coordinator.call(wire.endTxn, 3, { ...id, committed: true })).error === 0) break
    await pause(20)
  }
  await coordinator.call(wire.endTxn, 3, { ...id, committed: false }, 'abort after commit, version 3')
  const next = { ...id, topics: [{ topic: plain, partitions: [0] }] }
  await settled<wire.AddPartitionsToTxnResponse>(
    (label) => coordinator.call(wire.addPartitionsToTxn, 3, next, label),
    (answer) => there(there(answer.topics[0]).partitions[0]).error,
    'the next transaction',
  )
  await send(cluster, { topic: plain, partition: 0, records: batchOf(producer, 2), producer }, 'the next transaction, version 11', {
    version: 11,
  })
  await coordinator.call(wire.endTxn, 4, { ...id, committed: false }, 'abort, version 4')
  await fetchPositions(false, 'of two groups, one without any')
  await fetchPositions(false, 'all', null)
}

async function reading(cluster: Cluster): Promise<void> {
  const { plain, missing } = names(cluster)
  const leader = await cluster.node(1)
  const read = (
    given: Partial<wire.FetchPartitionRequest>,
    name: string,
    topic = plain,
    isolationLevel = wire.READ_COMMITTED,
  ): Promise<wire.FetchResponse> => {
    const partition = { partition: 0, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1, partitionMaxBytes: 4000, ...given }
    return leader.call(
      wire.fetch,
      12,
      { maxWaitMs: 50, minBytes: 1, maxBytes: 4000, isolationLevel, topics: [{ topic, partitions: [partition] }] },
      name,
    )
  }
  await read({}, 'committed, with an aborted transaction')
  await read({}, 'uncommitted', plain, wire.READ_UNCOMMITTED)
  await read({ fetchOffset: 100_000 }, 'behind the end')
  await read({ currentLeaderEpoch: 99 }, 'an epoch from the future')
  await read({ partition: 1 }, 'at a broker that does not lead')
  await read({ partition: 42 }, 'a partition that does not exist')
  await read({}, 'a topic that does not exist', missing)
  await read({ fetchOffset: 3, partitionMaxBytes: 1 }, 'from the middle of a batch')

  const whole = { maxWaitMs: 50, minBytes: 1, maxBytes: 4000, isolationLevel: wire.READ_COMMITTED }
  const both = [0, 1].map((partition) => ({
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: 0,
    lastFetchedEpoch: -1,
    partitionMaxBytes: 1,
  }))
  const { sessionId } = await leader.call(
    wire.fetch,
    12,
    { ...whole, sessionEpoch: 0, topics: [{ topic: plain, partitions: both }] },
    'begins a session',
  )
  const forgottenTopics = [{ topic: plain, partitions: [1] }]
  await leader.call(wire.fetch, 12, { ...whole, sessionId, sessionEpoch: 1, topics: [], forgottenTopics }, 'goes on with a session')
  await leader.call(wire.fetch, 12, { ...whole, sessionId: 1, sessionEpoch: 9, topics: [] }, 'in a session that does not exist')

  const list = (timestamp: number, name: string, isolationLevel = wire.READ_COMMITTED, topic = plain): Promise<wire.ListOffsetsResponse> =>
    leader.call(
      wire.listOffsets,
      7,
      { isolationLevel, topics: [{ topic, partitions: [{ partition: 0, currentLeaderEpoch: -1, timestamp }] }] },
      name,
    )
  await list(wire.LATEST, 'the last decided')
  await list(wire.LATEST, 'the last', wire.READ_UNCOMMITTED)
  await list(wire.EARLIEST, 'the first')
  await list(wire.MAX_TIMESTAMP, 'the youngest')
  await list(1_700_000_000_001, 'by time')
  await list(1_900_000_000_000, 'by a time after all records')
  await list(wire.LATEST, 'a topic that does not exist', wire.READ_COMMITTED, missing)

  const remove = (topic: string, offset: number, name: string): Promise<wire.DeleteRecordsResponse> =>
    leader.call(wire.deleteRecords, 2, { topics: [{ topic, partitions: [{ partition: 0, offset }] }], timeoutMs: 5000 }, name)
  await remove(plain, 2, 'the first two')
  await remove(plain, 100_000, 'behind the end')
  await remove(missing, 1, 'a topic that does not exist')
  await read({}, 'before the first record kept')
}

async function group(cluster: Cluster): Promise<void> {
  const { plain } = names(cluster)
  const groupId = `group-${cluster.run}`
  const found = await cluster.any.call(wire.findCoordinator, 4, { keyType: wire.GROUP_COORDINATOR, keys: [groupId] })
  const { nodeId } = there(found.coordinators[0])
  const one = await cluster.another(nodeId)
  const two = await cluster.another(nodeId)
  const metadata = (userData: string): Buffer =>
    wire.encodeSubscription({ topics: [plain], userData: Buffer.from(userData), ownedPartitions: [], generationId: -1, rackId: null })
  const join = (
    by: Connection,
    memberId: string,
    instanceId: string | null,
    name?: string,
    sessionTimeoutMs = 10_000,
  ): Promise<wire.JoinGroupResponse> => {
    const protocols = [{ name: 'tidemark', metadata: metadata(memberId || 'new') }]
    const request = {
      groupId,
      sessionTimeoutMs,
      rebalanceTimeoutMs: 10_000,
      memberId,
      instanceId,
      protocolType: wire.CONSUMER_PROTOCOL_TYPE,
      protocols,
      reason: 'captured',
    }
    return by.call(wire.joinGroup, 9, request, name)
  }
  const sync = (
    by: Connection,
    joined: wire.JoinGroupResponse,
    instanceId: string | null,
    name: string,
  ): Promise<wire.SyncGroupResponse> => {
    const assignments = joined.members.map(({ memberId }, place) => ({
      memberId,
      assignment: wire.encodeAssignment({ topics: [{ topic: plain, partitions: [place] }], userData: Buffer.from('plan') }),
    }))
    const { generationId, memberId } = joined
    const protocol = { protocolType: wire.CONSUMER_PROTOCOL_TYPE, protocolName: 'tidemark' }
    return by.call(wire.syncGroup, 5, { groupId, generationId, memberId, instanceId, ...protocol, assignments }, name)
  }
  const beat = (generationId: number, memberId: string, instanceId: string | null, name: string): Promise<wire.HeartbeatResponse> =>
    one.call(wire.heartbeat, 4, { groupId, generationId, memberId, instanceId }, name)
  const describe = (name: string): Promise<wire.DescribeGroupsResponse> =>
    one.call(wire.describeGroups, 5, { groups: [groupId, `none-${groupId}`], includeAuthorizedOperations: true }, name)

  await join(one, '', null, 'a session that is too short', 10)
  const invited = await join(one, '', null, 'a new member')
  const alone = await join(one, invited.memberId, null, 'the first member leads')
  await sync(one, alone, null, 'by the leader')
  await beat(alone.generationId, alone.memberId, null, 'alive')
  await beat(alone.generationId + 5, alone.memberId, null, 'of another generation')
  await beat(alone.generationId, 'nobody', null, 'of nobody')
  await describe('one stable, one that does not exist')

  // The static member's join parks until the first one has joined anew: on one connection that would never happen.
  const parked = join(two, '', 'slot-1', 'a static member follows')
  while ((await beat(alone.generationId, alone.memberId, null, 'alive or rebalancing')).error === 0) await pause(20)
  await describe('one that rebalances')
  const leader = await join(one, alone.memberId, null, 'the leader again, with two members')
  const follower = await parked
  const [, assigned] = await Promise.all([sync(one, leader, null, 'by the leader of two'), sync(two, follower, 'slot-1', 'by a follower')])
  if (wire.decodeAssignment(assigned.assignment).topics.length !== 1) throw new Error('the follower got nothing')
  await describe('two members')

  const commit = (generationId: number, memberId: string, instanceId: string | null, name: string): Promise<unknown> => {
    const partitions = [{ partition: 0, committedOffset: 7, committedLeaderEpoch: -1, metadata: null }]
    return one.call(wire.offsetCommit, 8, { groupId, generationId, memberId, instanceId, topics: [{ topic: plain, partitions }] }, name)
  }
  await commit(leader.generationId, leader.memberId, null, 'by a member')
  await commit(leader.generationId - 1, leader.memberId, null, 'of an older generation')
  await commit(leader.generationId, 'nobody', null, 'by nobody')
  const replaced = await join(two, '', 'slot-1', 'a static member comes back')
  await commit(follower.generationId, follower.memberId, 'slot-1', 'by a static member that was replaced')
  await beat(follower.generationId, follower.memberId, 'slot-1', 'of a static member that was replaced')
  await one.call(
    wire.leaveGroup,
    5,
    { groupId, members: [{ memberId: leader.memberId, instanceId: null, reason: 'done' }] },
    'a dynamic member',
  )
  const anew = await join(two, replaced.memberId, 'slot-1', 'the static member leads')
  await sync(two, anew, 'slot-1', 'by the static leader')
  const back = await join(two, '', 'slot-1', 'the static leader comes back')
  if (!back.skipAssignment) throw new Error('the static leader was not told to skip the assignment')
  const members = [
    { memberId: '', instanceId: 'slot-1', reason: null },
    { memberId: 'nobody', instanceId: null, reason: null },
  ]
  await one.call(wire.leaveGroup, 5, { groupId, members }, 'a static member by its instance, and nobody')
  one.close()
  two.close()
}

/** Partition 1 moves from node 2 to node 1, and so to newer leader epochs. */
async function movedLeader(cluster: Cluster): Promise<void> {
  const { plain } = names(cluster)
  await send(cluster, { topic: plain, partition: 1, records: batchOf(undefined, -1) }, 'without a transaction')
  await cluster.move(plain, 1, 1)
  while ((await leaderOf(cluster, plain, 1)) !== 1) await pause(50)
  const written = await settled<wire.ProducePartition>(
    (label) => send(cluster, { topic: plain, partition: 1, records: batchOf(undefined, -1) }, label, { nodeId: 1 }),
    ({ error }) => error,
    'at the new leader',
  )
  const leader = await cluster.node(1)
  const read = (given: Partial<wire.FetchPartitionRequest>, name: string): Promise<wire.FetchResponse> => {
    const partition = { partition: 1, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1, partitionMaxBytes: 4000, ...given }
    const topics = [{ topic: plain, partitions: [partition] }]
    return leader.call(wire.fetch, 12, { maxWaitMs: 50, minBytes: 1, maxBytes: 4000, isolationLevel: wire.READ_COMMITTED, topics }, name)
  }
  await read({ currentLeaderEpoch: 0 }, 'an epoch from the past')
  const diverged = await read({ fetchOffset: written.baseOffset + 2, lastFetchedEpoch: 0 }, 'an epoch that ended before the offset')
  if (diverged.topics[0]?.partitions[0]?.divergingEpoch === undefined) throw new Error('no diverging epoch was told')
}

async function settings(cluster: Cluster): Promise<void> {
  const { any } = cluster
  const { plain, compact, missing } = names(cluster)
  const topic = (resourceName: string, configurationKeys: readonly string[] | null): wire.ConfigResource => ({
    resourceType: wire.TOPIC_RESOURCE,
    resourceName,
    configurationKeys,
  })
  const alter = (resourceName: string, name: string, configs: readonly wire.ConfigChange[], validateOnly = false): Promise<unknown> =>
    any.call(
      wire.incrementalAlterConfigs,
      1,
      { resources: [{ resourceType: wire.TOPIC_RESOURCE, resourceName, configs }], validateOnly },
      name,
    )
  await alter(plain, 'set and take back', [
    { name: 'retention.ms', operation: wire.SET_CONFIG, value: '60000' },
    { name: 'segment.bytes', operation: wire.DELETE_CONFIG, value: null },
  ])
  await alter(plain, 'a bad value', [{ name: 'retention.ms', operation: wire.SET_CONFIG, value: 'soon' }], true)
  await alter(missing, 'a topic that does not exist', [{ name: 'retention.ms', operation: wire.SET_CONFIG, value: '1' }])

  const describe = (resources: readonly wire.ConfigResource[], name: string, more: boolean): Promise<unknown> =>
    any.call(wire.describeConfigs, 4, { resources, includeSynonyms: more, includeDocumentation: more }, name)
  await describe(
    [topic(plain, ['retention.ms', 'cleanup.policy']), topic(missing, null)],
    'two settings, and a topic that does not exist',
    false,
  )
  await describe([topic(compact, ['cleanup.policy', 'min.insync.replicas'])], 'with synonyms and documentation', true)
  await describe(
    [{ resourceType: wire.BROKER_RESOURCE, resourceName: '1', configurationKeys: ['log.retention.ms', 'ssl.key.password'] }],
    'of a broker',
    false,
  )

  const remove = (topics: readonly wire.TopicToDelete[], name: string): Promise<wire.DeleteTopicsResponse> =>
    any.call(wire.deleteTopics, 6, { topics, timeoutMs: 5000 }, name)
  await remove([{ name: compact }, { name: missing }], 'one, and one that does not exist')
  await remove([{ name: null, topicId: 'AAAAAAAAAAAAAAAAAAAABB' }], 'by an id that does not exist')
}
