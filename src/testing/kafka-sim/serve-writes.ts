/** Simulated brokers to writers: Produce, InitProducerId, and the requests of transactions. */
import { addOffsetsToTxn } from '../../drivers/kafka/wire/add-offsets-to-txn.ts'
import { addPartitionsToTxn } from '../../drivers/kafka/wire/add-partitions-to-txn.ts'
import { endTxn } from '../../drivers/kafka/wire/end-txn.ts'
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import { TRANSACTION_COORDINATOR } from '../../drivers/kafka/wire/find-coordinator.ts'
import { initProducerId } from '../../drivers/kafka/wire/init-producer-id.ts'
import { produce } from '../../drivers/kafka/wire/produce.ts'
import type { RecordBatch } from '../../ports/record-batch/index.ts'
import type { SimKafka } from './cluster.ts'
import { type Call, type Handler, serve } from './handler.ts'
import type { Appended, Decision, Partition } from './partition.ts'
import type { Ids, Mark } from './transactions.ts'

/** From this version of Produce on a leader adds its partition to the transaction by itself. */
const PRODUCE_ADDS = 12
const END_TXN_BUMPS = 5

/** How a partition hears of the end of a transaction. */
export function markOf(kafka: SimKafka, partition: Partition): Mark {
  return ({ producerId, producerEpoch }, kind) => partition.mark(producerId, producerEpoch, kind, kafka.timeline.wall())
}

/** How a group hears of it. */
export function groupMark(kafka: SimKafka, group: string): Mark {
  return ({ producerId }, kind) => kafka.group(group).offsets.mark(producerId, kind)
}

/** The name of a group among the parts of a transaction. */
export function groupPart(group: string): string {
  return `group ${group}`
}

/** Whether a batch belongs to the transaction that is open under its id, and what to answer if not. */
function joinTransaction(call: Call, transactionalId: string, partition: Partition, ids: Ids): Decision | number {
  const { kafka, version } = call
  const there = partition.transactionOf(ids.producerId, ids.producerEpoch)
  if (there !== undefined) return there
  const { transactions } = kafka
  const coordinator = kafka.coordinatorOf(TRANSACTION_COORDINATOR, transactionalId)
  if (kafka.coordinatorError(coordinator, TRANSACTION_COORDINATOR, transactionalId) !== E.NONE) return E.NOT_ENOUGH_REPLICAS
  const adds = version >= PRODUCE_ADDS
  const error = adds
    ? transactions.add(transactionalId, ids, new Map([[partition.name, markOf(kafka, partition)]]))
    : transactions.verify(transactionalId, ids, partition.name)
  if (error === E.NONE) return transactions.decisionOf(transactionalId) as Decision
  if (error === E.PRODUCER_FENCED) return E.INVALID_PRODUCER_EPOCH
  if (error === E.CONCURRENT_TRANSACTIONS && !adds) return E.NOT_ENOUGH_REPLICAS
  return error === E.INVALID_TXN_STATE ? E.TRANSACTION_ABORTABLE : error
}

function write(call: Call, transactionalId: string | null, partition: Partition | undefined, records: Buffer | null): Appended {
  const { kafka, node, version } = call
  const refused = (error: number): Appended => ({ error, base: -1 })
  if (version >= PRODUCE_ADDS && kafka.protocol === 1) return refused(E.UNSUPPORTED_VERSION)
  if (partition === undefined) return refused(E.UNKNOWN_TOPIC_OR_PARTITION)
  const error = partition.refusal(node, -1, true)
  if (error !== E.NONE) return refused(error)
  const batch = partition.parse(records, kafka.timeline.wall())
  if ('error' in batch) return batch
  const joined = transactionOf(call, transactionalId, partition, batch)
  if (typeof joined === 'number') return refused(joined)
  const appended = partition.append(batch, joined)
  // It is written, and its leader cannot tell whether the others have it.
  return appended.error === E.NONE && kafka.unsure('Produce') ? refused(E.REQUEST_TIMED_OUT) : appended
}

function transactionOf(
  call: Call,
  transactionalId: string | null,
  partition: Partition,
  batch: RecordBatch,
): Decision | undefined | number {
  if (!batch.transactional) return undefined
  return transactionalId === null ? E.INVALID_TXN_STATE : joinTransaction(call, transactionalId, partition, batch)
}

/** Asks a coordinator that is one. Where it cannot tell what became of a write, it says that it is not available. */
function coordinated<Answer extends { readonly error: number }>(
  call: Call,
  id: string,
  api: string,
  work: () => Answer,
): Answer | { readonly error: number } {
  const { kafka, node } = call
  const error = kafka.coordinatorError(node, TRANSACTION_COORDINATOR, id)
  if (error !== E.NONE) return { error }
  const answer = work()
  return answer.error === E.NONE && kafka.unsure(api) ? { error: E.COORDINATOR_NOT_AVAILABLE } : answer
}

const NO_IDS: Ids = { producerId: -1, producerEpoch: -1 }

export const WRITE_HANDLERS: readonly (readonly [key: number, handler: Handler])[] = [
  serve(produce, ({ transactionalId, topics }, call) => ({
    topics: topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition, records }) => {
        const found = call.kafka.partition(topic, partition)
        const { error, base, message } = write(call, transactionalId, found, records)
        return {
          partition,
          error,
          baseOffset: base,
          logAppendTimeMs: -1,
          logStartOffset: found?.start ?? -1,
          recordErrors: message === undefined ? [] : [{ batchIndex: 0, message }],
          errorMessage: null,
          currentLeader: undefined,
        }
      }),
    })),
    throttleMs: 0,
    nodeEndpoints: undefined,
  })),
  serve(initProducerId, ({ transactionalId, transactionTimeoutMs, ...ids }, call) => {
    const { transactions } = call.kafka
    if (transactionalId === null) return { throttleMs: 0, error: E.NONE, producerId: transactions.newProducer(), producerEpoch: 0 }
    const answer = coordinated(call, transactionalId, 'InitProducerId', () => transactions.open(transactionalId, transactionTimeoutMs, ids))
    return { throttleMs: 0, ...NO_IDS, ...answer }
  }),
  serve(addPartitionsToTxn, ({ transactionalId, topics, ...ids }, call) => {
    const { kafka } = call
    const names = topics.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })))
    const found = names.map(({ topic, partition }) => kafka.partition(topic, partition))
    const parts = new Map(found.flatMap((partition) => (partition === undefined ? [] : [[partition.name, markOf(kafka, partition)]])))
    const { error } = coordinated(call, transactionalId, 'AddPartitionsToTxn', () => {
      // One that is not there refuses all.
      if (found.includes(undefined)) return { error: E.OPERATION_NOT_ATTEMPTED }
      return { error: kafka.transactions.add(transactionalId, ids, parts) }
    })
    const errorOf = (topic: string, partition: number): number =>
      error === E.OPERATION_NOT_ATTEMPTED && kafka.partition(topic, partition) === undefined ? E.UNKNOWN_TOPIC_OR_PARTITION : error
    const answered = topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((partition) => ({ partition, error: errorOf(topic, partition) })),
    }))
    return { throttleMs: 0, topics: answered }
  }),
  serve(addOffsetsToTxn, ({ transactionalId, groupId, ...ids }, call) => {
    const { kafka } = call
    const parts = new Map([[groupPart(groupId), groupMark(kafka, groupId)]])
    const { error } = coordinated(call, transactionalId, 'AddOffsetsToTxn', () => ({
      error: kafka.transactions.add(transactionalId, ids, parts),
    }))
    return { throttleMs: 0, error }
  }),
  serve(endTxn, ({ transactionalId, committed, ...ids }, call) => {
    const bumps = call.version >= END_TXN_BUMPS
    const answer = coordinated(call, transactionalId, 'EndTxn', () => call.kafka.transactions.end(transactionalId, ids, committed, bumps))
    return bumps ? { throttleMs: 0, ...NO_IDS, ...answer } : { throttleMs: 0, ...NO_IDS, error: answer.error }
  }),
]
