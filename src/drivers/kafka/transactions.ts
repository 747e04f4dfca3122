/**
 * The transactions of one writer as requests: InitProducerId 4, TxnOffsetCommit 5/3, EndTxn 5/3, and what protocol 1 needs before them
 * (AddPartitionsToTxn 3, AddOffsetsToTxn 3).
 *
 * Under protocol 2 every transaction has an epoch of its own, so a request that comes late is refused, and one whose answer was lost may be
 * sent again: the answer is the same. Under protocol 1 a late EndTxn or TxnOffsetCommit would take part in the next transaction, so neither is
 * ever sent twice without an answer, and an epoch in which an answer was lost is not used any more.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { GroupPositions, PartitionName } from '../../ports/log.ts'
import { partitionName, topicPartition } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import type { CoordinatorKind } from './coordinator.ts'
import {
  brokerError,
  fencedError,
  groupError,
  isCoordinatorMoved,
  isExpelled,
  isFenced,
  LinkLost,
  topicError,
  unreachable,
  writerError,
} from './failures.ts'
import { commitRejected, committedTopics, firstError, GROUP, positionsError } from './positions.ts'
import type { Session } from './producer-track.ts'
import { addOffsetsToTxn } from './wire/add-offsets-to-txn.ts'
import { addPartitionsToTxn } from './wire/add-partitions-to-txn.ts'
import { endTxn } from './wire/end-txn.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'
import { TRANSACTION_COORDINATOR } from './wire/find-coordinator.ts'
import { initProducerId } from './wire/init-producer-id.ts'
import { txnOffsetCommit } from './wire/txn-offset-commit.ts'

export const TRANSACTION: CoordinatorKind = {
  keyType: TRANSACTION_COORDINATOR,
  error: (id, error) => writerError('find the coordinator of', id, error),
}

/** How long the end of a transaction is waited for, ms. After that nobody can say how it ended. */
const DECISION_MS = 30_000
const OPEN_MS = 60_000
/** A broker that is busy with the transaction before is asked again after this long, ms. */
const BUSY_MS_MAX = 20

/** What is said of a partition, and not of the transaction as a whole. */
const OF_THE_TOPIC: ReadonlySet<number> = new Set([E.TOPIC_AUTHORIZATION_FAILED, E.UNKNOWN_TOPIC_OR_PARTITION, E.INVALID_TOPIC_EXCEPTION])

/** How long an answer is waited for within a transaction, ms: when one is lost there must be time left to ask again. */
export function answerMsOf(transactionMs: number): number {
  return Math.max(1_000, Math.min(10_000, transactionMs / 3))
}

export type EndOutcome =
  | { readonly kind: 'ended'; readonly session: Session }
  | { readonly kind: 'fenced' | 'aborted' | 'in-doubt'; readonly error: TidemarkError }

export interface TransactionsOptions {
  readonly cluster: Cluster
  readonly id: string
  /** The brokers abort a transaction that is open for longer, ms. */
  readonly timeoutMs: number
  readonly protocol: 1 | 2
}

/**
 * Fences every earlier holder of a transactional id and ends the transaction that it left open.
 * @param look called while the coordinator still knows how the last transaction ended, or is about to end
 * @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR, LOG_CLOSED
 */
export async function openSession(cluster: Cluster, id: string, timeoutMs: number, look?: () => Promise<void>): Promise<Session> {
  const until = cluster.clock.mono() + OPEN_MS
  for (let attempt = 0; ; attempt++) {
    await look?.()
    const { error, producerId, producerEpoch } = await cluster
      .askCoordinator(TRANSACTION, id, {
        api: initProducerId,
        request: { transactionalId: id, transactionTimeoutMs: timeoutMs, producerId: -1, producerEpoch: -1 },
        errorOf: (answer) => answer.error,
        // Once more only raises the epoch once more.
        again: true,
      })
      .catch((lost: unknown) =>
        Promise.reject(lost instanceof LinkLost ? unreachable(`open writer "${id}"`, 'its coordinator', lost) : lost),
      )
    if (error === E.NONE) return { producerId, producerEpoch }
    if (error === E.INVALID_TRANSACTION_TIMEOUT) {
      throw new TidemarkError('OPTION_INVALID', 'transactionMs is longer than the brokers allow', {
        detail: `It is ${timeoutMs}.`,
        hint: 'The limit is "transaction.max.timeout.ms" of the brokers, 15 minutes unless set.',
      })
    }
    if (error !== E.CONCURRENT_TRANSACTIONS || cluster.clock.mono() >= until) throw writerError('open', id, error)
    // The transaction that was left open is being ended.
    await cluster.pause(attempt, BUSY_MS_MAX)
  }
}

export class Transactions {
  private readonly options: TransactionsOptions

  constructor(options: TransactionsOptions) {
    this.options = options
  }

  private get timeoutMs(): number {
    return answerMsOf(this.options.timeoutMs)
  }

  /**
   * Protocol 1, before anything is written to them, and to end once more what hangs: tells the coordinator which partitions take part. One that
   * may not be written to, or is not there, refuses all.
   * @returns why partitions were refused; nothing when all of them take part
   */
  async addPartitions(session: Session, names: readonly PartitionName[]): Promise<ReadonlyMap<PartitionName, TidemarkError>> {
    const { cluster, id } = this.options
    const began = cluster.clock.mono()
    const topics = [...Map.groupBy(names.map(topicPartition), ({ topic }) => topic)].map(([topic, of]) => ({
      topic,
      partitions: of.map(({ partition }) => partition),
    }))
    for (let attempt = 0; ; attempt++) {
      let refused: { readonly topic: string; readonly partition: number; readonly error: number }[] = []
      await this.busy(async () => {
        const answer = await cluster.askCoordinator(TRANSACTION, id, {
          api: addPartitionsToTxn,
          request: { transactionalId: id, ...session, topics },
          errorOf: ({ topics: of }) => firstError(of),
          timeoutMs: this.timeoutMs,
          // A partition that is added twice, or late, costs a marker without records.
          again: true,
        })
        refused = answer.topics.flatMap(({ topic, partitions }) =>
          partitions.flatMap(({ partition, error }) => (OF_THE_TOPIC.has(error) ? [{ topic, partition, error }] : [])),
        )
        return refused.length > 0 ? E.NONE : firstError(answer.topics)
      })
      // A coordinator may not have heard yet of a topic that was just made.
      const early = refused.every(
        ({ topic, error }) => error === E.UNKNOWN_TOPIC_OR_PARTITION && cluster.clock.mono() - began < cluster.doubtMs(topic),
      )
      if (refused.length === 0 || !early) {
        return new Map(
          refused.map(({ topic, partition, error }) => [partitionName(topic, partition), topicError('write to', 'write', topic, error)]),
        )
      }
      await cluster.pause(attempt + 2)
    }
  }

  /** Protocol 1, and to end once more what hangs: tells the coordinator that positions of a group take part. */
  async addGroup(session: Session, group: string): Promise<void> {
    const { cluster, id } = this.options
    await this.busy(
      async () => {
        const answer = await cluster.askCoordinator(TRANSACTION, id, {
          api: addOffsetsToTxn,
          request: { transactionalId: id, ...session, groupId: group },
          errorOf: (each) => each.error,
          again: true,
          timeoutMs: this.timeoutMs,
        })
        return answer.error
      },
      (error) => (error === E.GROUP_AUTHORIZATION_FAILED ? groupError('commit positions of', group, error) : undefined),
    )
  }

  /**
   * Adds positions of a group to the transaction.
   * @returns undefined, or how the transaction must end: `rejected` when the group does not count the author among its members
   */
  async addPositions(
    session: Session,
    positions: GroupPositions,
  ): Promise<{ readonly kind: 'rejected' | 'fenced' | 'aborted'; readonly error: TidemarkError } | undefined> {
    const { cluster, id, protocol } = this.options
    const { group, identity } = positions
    try {
      if (protocol === 1) await this.addGroup(session, group)
      let refused = await this.commitOffsets(session, positions)
      const until = cluster.clock.mono() + DECISION_MS
      for (let attempt = 0; refused.error === E.CONCURRENT_TRANSACTIONS && cluster.clock.mono() < until; attempt++) {
        await cluster.pause(attempt, BUSY_MS_MAX)
        refused = await this.commitOffsets(session, positions)
      }
      const { error, topics } = refused
      if (error === E.NONE) return undefined
      if (isExpelled(error)) return { kind: 'rejected', error: commitRejected({ group, identity, positions: positions.positions }, error) }
      if (wasEnded(error)) return { kind: 'fenced', error: fencedError(id, error) }
      if (error === E.TRANSACTION_ABORTABLE) return { kind: 'aborted', error: this.aborted(error) }
      if (error === E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) return { kind: 'aborted', error: writerError('commit for', id, error) }
      return { kind: 'aborted', error: positionsError(group, topics, error) }
    } catch (error) {
      if (error instanceof TidemarkError) return { kind: error.code === 'WRITER_FENCED' ? 'fenced' : 'aborted', error }
      if (!(error instanceof LinkLost)) throw error
      return { kind: 'aborted', error: unreachable(`commit positions of group "${group}"`, 'the coordinator', error) }
    }
  }

  private async commitOffsets(
    session: Session,
    { group, identity, positions }: GroupPositions,
  ): Promise<{
    readonly error: number
    readonly topics: readonly { topic: string; partitions: readonly { partition: number; error: number }[] }[]
  }> {
    const { cluster, id, protocol } = this.options
    const answer = await cluster.askCoordinator(GROUP, group, {
      api: txnOffsetCommit,
      request: {
        transactionalId: id,
        groupId: group,
        ...session,
        generationId: identity?.generation ?? -1,
        memberId: identity?.member ?? '',
        instanceId: identity?.instance ?? null,
        topics: committedTopics(positions, cluster.epochs),
      },
      errorOf: ({ topics }) => firstError(topics),
      again: protocol === 2,
      timeoutMs: this.timeoutMs,
      version: protocol === 2 ? 5 : 3,
    })
    return { error: firstError(answer.topics), topics: answer.topics }
  }

  /** Ends the transaction. Never to be asked to commit one in which nothing was written. */
  async end(session: Session, committed: boolean, patienceMs: number = DECISION_MS): Promise<EndOutcome> {
    const { cluster, id, protocol } = this.options
    const until = cluster.clock.mono() + patienceMs
    // Set once an attempt may have been taken without our hearing of it: from then on a refusal of a later attempt proves nothing.
    let doubtful = false
    const doubt = (error: TidemarkError): EndOutcome => ({ kind: doubtful ? 'in-doubt' : isOver(error) ? 'fenced' : 'aborted', error })
    for (let attempt = 0; ; attempt++) {
      let error: number
      let next: Session
      try {
        const answer = await cluster.askCoordinator(TRANSACTION, id, {
          api: endTxn,
          request: { transactionalId: id, ...session, committed },
          errorOf: (each) => (protocol === 2 ? each.error : E.NONE),
          again: protocol === 2,
          timeoutMs: this.timeoutMs,
          onLost: () => {
            doubtful = true
          },
          onMoved: (moved) => {
            // "Not available" may also mean that the decision was written and not acknowledged by enough replicas.
            if (moved !== E.COORDINATOR_LOAD_IN_PROGRESS) doubtful = true
          },
          patienceMs: Math.max(1, until - cluster.clock.mono()),
          version: protocol === 2 ? 5 : 3,
        })
        error = answer.error
        next = protocol === 2 ? { producerId: answer.producerId, producerEpoch: answer.producerEpoch } : session
      } catch (thrown) {
        if (thrown instanceof LinkLost) {
          // Not even sent, under protocol 1: nobody can have taken it.
          doubtful ||= thrown.sent
          return doubt(doubtful ? inDoubt(id, thrown) : unreachable(`end a transaction of writer "${id}"`, 'its coordinator', thrown))
        }
        if (!(thrown instanceof TidemarkError)) throw thrown
        // What ends the whole log, or shows at the first look-up: nothing more was sent.
        return doubt(doubtful ? inDoubt(id, thrown) : thrown)
      }
      if (error === E.NONE) return { kind: 'ended', session: next }
      const over = cluster.clock.mono() >= until
      if (error === E.CONCURRENT_TRANSACTIONS && !over) {
        await cluster.pause(attempt, BUSY_MS_MAX)
        continue
      }
      if (protocol === 1 && error === E.COORDINATOR_LOAD_IN_PROGRESS && !over) {
        await cluster.pause(attempt + 3)
        continue
      }
      if (isCoordinatorMoved(error) || error === E.CONCURRENT_TRANSACTIONS || error === E.REQUEST_TIMED_OUT) doubtful = true
      if (doubtful) return { kind: 'in-doubt', error: inDoubt(id, brokerError(`end a transaction of writer "${id}"`, error)) }
      if (wasEnded(error)) return { kind: 'fenced', error: fencedError(id, error) }
      if (error === E.TRANSACTION_ABORTABLE) return { kind: 'aborted', error: this.aborted(error) }
      return { kind: 'aborted', error: writerError('commit for', id, error) }
    }
  }

  private aborted(error: number): TidemarkError {
    const { id, timeoutMs } = this.options
    return new TidemarkError('COMMIT_ABORTED', `the broker ended a transaction of writer "${id}"`, {
      detail: `It answered ${kafkaError(error).name}.`,
      hint: `A transaction that is open for longer than ${timeoutMs} ms ("transactionMs") is aborted.`,
    })
  }

  /** Sends again while the coordinator is busy with the transaction before. @throws TidemarkError LinkLost */
  private async busy(call: () => Promise<number>, refusal?: (error: number) => TidemarkError | undefined): Promise<void> {
    const { cluster, id } = this.options
    const until = cluster.clock.mono() + DECISION_MS
    for (let attempt = 0; ; attempt++) {
      const error = await call()
      if (error === E.NONE) return
      if (error !== E.CONCURRENT_TRANSACTIONS || cluster.clock.mono() >= until) {
        if (error === E.INVALID_TXN_STATE || error === E.TRANSACTION_ABORTABLE) throw this.aborted(error)
        throw refusal?.(error) ?? writerError('write for', id, error)
      }
      await cluster.pause(attempt, BUSY_MS_MAX)
    }
  }
}

/** Not by us: the next writer of the id did it, or the coordinator, for want of time. Which of them, the broker does not say reliably. */
function wasEnded(error: number): boolean {
  return isFenced(error) || error === E.INVALID_TXN_STATE
}

function isOver(error: TidemarkError): boolean {
  return error.code === 'WRITER_FENCED'
}

function inDoubt(id: string, cause: unknown): TidemarkError {
  return new TidemarkError('COMMIT_IN_DOUBT', `it is not known how a transaction of writer "${id}" ended`, {
    detail: cause instanceof Error ? cause.message : undefined,
    hint: 'The next writer of this id decides it: open one, and read what became visible.',
    cause,
  })
}
