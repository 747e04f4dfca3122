/** Simulated brokers to groups: the classic protocol, and committed positions in and outside of transactions. */
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import { GROUP_COORDINATOR, TRANSACTION_COORDINATOR } from '../../drivers/kafka/wire/find-coordinator.ts'
import { heartbeat } from '../../drivers/kafka/wire/heartbeat.ts'
import { joinGroup } from '../../drivers/kafka/wire/join-group.ts'
import { leaveGroup } from '../../drivers/kafka/wire/leave-group.ts'
import { offsetCommit } from '../../drivers/kafka/wire/offset-commit.ts'
import { offsetFetch } from '../../drivers/kafka/wire/offset-fetch.ts'
import type { CommittedTopic, TopicResults } from '../../drivers/kafka/wire/parts.ts'
import { syncGroup } from '../../drivers/kafka/wire/sync-group.ts'
import { type TxnOffsetCommitRequest, txnOffsetCommit } from '../../drivers/kafka/wire/txn-offset-commit.ts'
import { type Call, type Handler, serve } from './handler.ts'
import { refusedJoin, refusedSync } from './member.ts'
import type { Decision } from './partition.ts'
import { groupMark, groupPart } from './serve-writes.ts'

/** From this version of TxnOffsetCommit on the group adds itself to the transaction. */
const OFFSETS_ADD = 5

function coordinates({ kafka, node }: Call, group: string): number {
  return kafka.coordinatorError(node, GROUP_COORDINATOR, group)
}

function everywhere(topics: readonly CommittedTopic[], error: number): { throttleMs: number; topics: TopicResults[] } {
  return {
    throttleMs: 0,
    topics: topics.map(({ topic, partitions }) => ({ topic, partitions: partitions.map(({ partition }) => ({ partition, error })) })),
  }
}

/** The transaction that positions are committed in, or why they are not. */
function transactionOf({ kafka, version }: Call, { transactionalId, groupId, ...ids }: TxnOffsetCommitRequest): Decision | number {
  const { transactions } = kafka
  // Who has not agreed on protocol 2 is never told that it cannot be spoken.
  if (version >= OFFSETS_ADD && kafka.protocol === 1) return E.CONCURRENT_TRANSACTIONS
  const coordinator = kafka.coordinatorOf(TRANSACTION_COORDINATOR, transactionalId)
  if (kafka.coordinatorError(coordinator, TRANSACTION_COORDINATOR, transactionalId) !== E.NONE) return E.COORDINATOR_NOT_AVAILABLE
  const part = groupPart(groupId)
  const error =
    version >= OFFSETS_ADD
      ? transactions.add(transactionalId, ids, new Map([[part, groupMark(kafka, groupId)]]))
      : transactions.verify(transactionalId, ids, part)
  if (error === E.NONE) return transactions.decisionOf(transactionalId) as Decision
  return error === E.PRODUCER_FENCED ? E.INVALID_PRODUCER_EPOCH : error
}

export const GROUP_HANDLERS: readonly (readonly [key: number, handler: Handler])[] = [
  serve(joinGroup, (request, call) => {
    const error = coordinates(call, request.groupId)
    if (error !== E.NONE) return refusedJoin(error, request.memberId)
    return call.kafka.group(request.groupId).join(request, call.clientId)
  }),
  serve(syncGroup, (request, call) => {
    const error = coordinates(call, request.groupId)
    return error === E.NONE ? call.kafka.group(request.groupId).sync(request) : refusedSync(error)
  }),
  serve(heartbeat, (request, call) => {
    const error = coordinates(call, request.groupId)
    return { throttleMs: 0, error: error === E.NONE ? call.kafka.group(request.groupId).heartbeat(request) : error }
  }),
  serve(leaveGroup, ({ groupId, members }, call) => {
    const error = coordinates(call, groupId)
    if (error !== E.NONE) return { throttleMs: 0, error, members: [] }
    const group = call.kafka.group(groupId)
    const left = members.map((member) => ({ memberId: member.memberId, instanceId: member.instanceId, error: group.leave(member) }))
    return { throttleMs: 0, error: E.NONE, members: left }
  }),
  serve(offsetCommit, (request, call) => {
    const { groupId, topics } = request
    const moved = coordinates(call, groupId)
    if (moved !== E.NONE) return everywhere(topics, moved)
    const group = call.kafka.group(groupId)
    const error = group.commitError(request, false)
    if (error === E.NONE) group.offsets.commit(topics)
    return everywhere(topics, error === E.NONE && call.kafka.unsure('OffsetCommit') ? E.COORDINATOR_NOT_AVAILABLE : error)
  }),
  serve(txnOffsetCommit, (request, call) => {
    const { groupId, topics, producerId } = request
    const { kafka } = call
    const moved = coordinates(call, groupId)
    if (moved !== E.NONE) return everywhere(topics, moved)
    const decision = transactionOf(call, request)
    if (typeof decision === 'number') return everywhere(topics, decision)
    const group = kafka.group(groupId)
    const error = group.commitError(request, true)
    if (error === E.NONE) group.offsets.hold(producerId, decision, topics)
    return everywhere(topics, error === E.NONE && kafka.unsure('TxnOffsetCommit') ? E.COORDINATOR_NOT_AVAILABLE : error)
  }),
  serve(offsetFetch, ({ groups, requireStable }, call) => ({
    throttleMs: 0,
    groups: groups.map(({ groupId, topics }) => {
      const error = coordinates(call, groupId)
      if (error !== E.NONE) return { groupId, topics: [], error }
      const { offsets } = call.kafka.group(groupId)
      const answered = (topics ?? []).map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map((partition) => offsets.fetch(topic, partition, requireStable)),
      }))
      return { groupId, topics: answered, error: E.NONE }
    }),
  })),
]
