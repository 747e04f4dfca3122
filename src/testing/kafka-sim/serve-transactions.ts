/** Simulated brokers to who looks at transactions: what coordinators know of them, and what partitions have open. */
import { describeProducers } from '../../drivers/kafka/wire/describe-producers.ts'
import { describeTransactions } from '../../drivers/kafka/wire/describe-transactions.ts'
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import { TRANSACTION_COORDINATOR } from '../../drivers/kafka/wire/find-coordinator.ts'
import { listTransactions } from '../../drivers/kafka/wire/list-transactions.ts'
import { topicPartition } from '../../ports/log.ts'
import { type Handler, serve } from './handler.ts'
import type { Known } from './transactions.ts'

/** As a coordinator answers for an id that it has never heard of. */
const UNKNOWN: Omit<Known, 'id'> = { producerId: -1, producerEpoch: -1, state: '', timeoutMs: 0, partitions: [] }

export const TRANSACTION_HANDLERS: readonly (readonly [key: number, handler: Handler])[] = [
  serve(listTransactions, ({ stateFilters, producerIdFilters }, { kafka, node }) => {
    const loading = kafka.loads(node, TRANSACTION_COORDINATOR)
    const mine = kafka.transactions.known.filter(({ id }) => kafka.coordinatorError(node, TRANSACTION_COORDINATOR, id) === E.NONE)
    const listed = mine.filter(
      ({ state, producerId }) =>
        (stateFilters.length === 0 || stateFilters.includes(state)) &&
        (producerIdFilters.length === 0 || producerIdFilters.includes(producerId)),
    )
    return {
      throttleMs: 0,
      error: loading ? E.COORDINATOR_LOAD_IN_PROGRESS : E.NONE,
      unknownStateFilters: [],
      transactions: loading ? [] : listed.map(({ id, producerId, state }) => ({ transactionalId: id, producerId, state })),
    }
  }),
  serve(describeTransactions, ({ transactionalIds }, { kafka, node }) => ({
    throttleMs: 0,
    transactions: transactionalIds.map((transactionalId) => {
      const moved = kafka.coordinatorError(node, TRANSACTION_COORDINATOR, transactionalId)
      const found = moved === E.NONE ? kafka.transactions.known.find(({ id }) => id === transactionalId) : undefined
      const { producerId, producerEpoch, state, timeoutMs, partitions } = found ?? UNKNOWN
      const names = partitions.map(topicPartition)
      return {
        error: moved === E.NONE && found === undefined ? E.TRANSACTIONAL_ID_NOT_FOUND : moved,
        transactionalId,
        state,
        transactionTimeoutMs: timeoutMs,
        transactionStartTimeMs: -1,
        producerId,
        producerEpoch,
        topics: [...Map.groupBy(names, ({ topic }) => topic)].map(([topic, of]) => ({
          topic,
          partitions: of.map(({ partition }) => partition),
        })),
      }
    }),
  })),
  serve(describeProducers, ({ topics }, { kafka, node }) => ({
    throttleMs: 0,
    topics: topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((number) => {
        const partition = kafka.partition(topic, number)
        const error = partition?.refusal(node, -1, false) ?? E.UNKNOWN_TOPIC_OR_PARTITION
        return {
          partition: number,
          error,
          errorMessage: null,
          activeProducers: error === E.NONE ? (partition?.active ?? []) : [],
        }
      }),
    })),
  })),
]
