/**
 * Writers of the port. The transactional one is a life with one end: after anything but `committed` it is dead, and only another writer of
 * its id goes on.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { CommitOutcome, GroupPositions, PartitionName, PlainWriter, Writer } from '../../ports/log.ts'
import type { Codecs, EncodedBatch } from '../../ports/record-batch/index.ts'
import type { Cluster } from './cluster.ts'
import type { Endings } from './endings.ts'
import { brokerError, closedError, missingRight } from './failures.ts'
import { Producer } from './producer.ts'
import type { Appended, Session } from './producer-track.ts'
import { answerMsOf, openSession, Transactions } from './transactions.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { initProducerId } from './wire/init-producer-id.ts'

const PRODUCE_VERSION = { 1: 11, 2: 12 } as const
/** Closing does not wait for brokers that do not answer: the next writer ends what is left, ms. */
const CLOSE_MS = 3_000

const PLAIN_ANSWER_MS = 10_000

type Death = Exclude<CommitOutcome, { kind: 'committed' }>

export interface WriterOptions {
  readonly cluster: Cluster
  readonly codecs: Codecs
  readonly id: string
  readonly transactionMs: number
  /** What this client knows of how transactions ended. */
  readonly endings: Endings
  readonly onClose: (writer: KafkaWriter) => void
}

export class KafkaWriter implements Writer {
  readonly id: string
  private readonly options: WriterOptions
  private readonly protocol: 1 | 2
  private readonly transactions: Transactions
  private readonly producer: Producer
  private session: Session
  /** Something was written in the transaction, or may have been: it must be ended. */
  private open = false
  private ending = false
  private death: Death | undefined
  private closed = false

  private constructor(options: WriterOptions, protocol: 1 | 2, transactions: Transactions, session: Session) {
    const { cluster, codecs, id, transactionMs, endings } = options
    this.id = id
    this.options = options
    this.protocol = protocol
    this.session = session
    this.transactions = transactions
    this.producer = new Producer({
      cluster,
      codecs,
      transactionalId: id,
      answerMs: answerMsOf(transactionMs),
      version: PRODUCE_VERSION[protocol],
      session: () => this.session,
      admit: (names) => endings.require(cluster, id, this.session, names),
      ...(protocol === 1 ? { introduce: (names: readonly PartitionName[]) => this.transactions.addPartitions(this.session, names) } : {}),
      onFailed: (error) => this.die({ kind: error.code === 'WRITER_FENCED' ? 'fenced' : 'aborted', error }),
    })
  }

  /** @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR, OPTION_INVALID, LOG_CLOSED */
  static async open(options: WriterOptions): Promise<KafkaWriter> {
    const { cluster, id, transactionMs, endings } = options
    const protocol = await cluster.transactionProtocol()
    const transactions = new Transactions({ cluster, id, timeoutMs: transactionMs, protocol })
    const session = await openSession(cluster, id, transactionMs, protocol === 2 ? () => endings.look(cluster, id) : undefined)
    return new KafkaWriter(options, protocol, transactions, await endings.mend(cluster, transactions, id, session))
  }

  /** Not `async`: batches of a partition are sent in the order of the calls. */
  append(partition: PartitionName, batch: EncodedBatch): Promise<Appended> {
    if (this.closed) return Promise.reject(closedError('the writer'))
    if (this.death !== undefined) return Promise.reject(this.takenAlong(this.death))
    if (this.ending) return Promise.reject(new TypeError('a transaction that is being ended takes no more'))
    this.open = true
    return this.producer.append(partition, batch)
  }

  async commit(positions: readonly GroupPositions[]): Promise<CommitOutcome> {
    if (this.closed) throw closedError('the writer')
    if (this.ending) throw new TypeError('a transaction is ended once at a time')
    this.ending = true
    try {
      // Positions travel beside the batches. Under protocol 1 they do not: then one that comes late would take part in the next transaction,
      // so as little as possible is under way when something fails.
      if (this.protocol === 2) await Promise.all([this.place(positions), this.producer.drained()])
      else {
        await this.producer.drained()
        await this.place(positions)
      }
      return this.death === undefined ? await this.decide() : await this.dead()
    } finally {
      this.ending = false
    }
  }

  /** Adds positions to the transaction. */
  private async place(positions: readonly GroupPositions[]): Promise<void> {
    for (const each of positions) {
      if (this.death !== undefined) return
      if (each.positions.size === 0) continue
      this.open = true
      const refused = await this.transactions.addPositions(this.session, each)
      if (refused !== undefined) this.die(refused)
    }
  }

  private async decide(): Promise<CommitOutcome> {
    if (!this.open) return { kind: 'committed' }
    const ended = await this.transactions.end(this.session, true)
    if (ended.kind !== 'ended') {
      this.die(ended)
      return await this.dead()
    }
    this.next(ended.session, 'commit')
    return { kind: 'committed' }
  }

  async abort(): Promise<void> {
    if (this.closed) throw closedError('the writer')
    if (this.ending) throw new TypeError('a transaction is ended once at a time')
    this.ending = true
    try {
      await this.producer.drained()
      if (this.death !== undefined) {
        await this.dead()
        return
      }
      if (!this.open) return
      const ended = await this.transactions.end(this.session, false)
      if (ended.kind === 'ended') {
        this.next(ended.session, 'abort')
        return
      }
      this.die(ended)
      throw ended.error
    } finally {
      this.ending = false
    }
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    const error = closedError('the writer')
    this.producer.end(error)
    await this.producer.drained()
    await this.hide(CLOSE_MS)
    this.options.onClose(this)
  }

  /** Another transaction begins. */
  private next(session: Session, how: 'commit' | 'abort'): void {
    if (this.protocol === 2) this.options.endings.note(this.id, this.session, how)
    const changed = session.producerId !== this.session.producerId || session.producerEpoch !== this.session.producerEpoch
    this.session = session
    this.open = false
    this.producer.begin(changed)
  }

  private die(death: Death): void {
    if (this.death !== undefined) return
    this.death = death
    this.producer.end(this.takenAlong(death))
  }

  /**
   * What is said of a batch that could have been written and was lost with the transaction. The failure itself belongs to the append, or to the
   * commit, that met it: as another's own it would accuse a partition that nothing is wrong with.
   */
  private takenAlong({ kind, error }: Death): TidemarkError {
    if (kind !== 'aborted' || error.code === 'COMMIT_ABORTED') return error
    return new TidemarkError('COMMIT_ABORTED', `the transaction of writer "${this.id}" was aborted`, {
      detail: `${error.message}. ${error.detail ?? ''}`.trimEnd(),
      hint: error.hint,
      cause: error,
    })
  }

  /** What is dead and not in doubt is hidden at once, so that nobody waits for it. */
  private async dead(): Promise<Death> {
    await this.hide(CLOSE_MS)
    return this.death as Death
  }

  private async hide(patienceMs: number): Promise<void> {
    if (!this.open || this.death?.kind === 'fenced' || this.death?.kind === 'in-doubt') return
    this.open = false
    const { cluster } = this.options
    if (cluster.closing.aborted) return
    // When it does not work the brokers do it after the timeout, or the next writer of this id before.
    await this.transactions.end(this.session, false, patienceMs).catch(() => {})
  }
}

export interface PlainWriterOptions {
  readonly cluster: Cluster
  readonly codecs: Codecs
  readonly onClose: (writer: KafkaPlainWriter) => void
}

/** An idempotent producer: within its life, what is sent again is not written again. */
export class KafkaPlainWriter implements PlainWriter {
  private readonly options: PlainWriterOptions
  private readonly producer: Producer
  private closed = false

  private constructor(options: PlainWriterOptions, first: Session) {
    this.options = options
    const { cluster, codecs } = options
    let session: Session | undefined = first
    this.producer = new Producer({
      cluster,
      codecs,
      transactionalId: null,
      answerMs: PLAIN_ANSWER_MS,
      version: PRODUCE_VERSION[1],
      session: async () => {
        session ??= await plainSession(cluster)
        return session
      },
      onFailed: () => {
        // The sequences of what failed have a hole. Other partitions go on as they are; this one begins anew as another producer.
        session = undefined
      },
    })
  }

  /** @throws TidemarkError BROKER_UNREACHABLE, BROKER_ERROR */
  static async open(options: PlainWriterOptions): Promise<KafkaPlainWriter> {
    return new KafkaPlainWriter(options, await plainSession(options.cluster))
  }

  append(partition: PartitionName, batch: EncodedBatch, guard?: () => void): Promise<Appended> {
    return this.closed ? Promise.reject(closedError('the writer')) : this.producer.append(partition, batch, guard)
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.producer.drained()
    this.producer.end(closedError('the writer'))
    this.options.onClose(this)
  }
}

async function plainSession(cluster: Cluster): Promise<Session> {
  for (let attempt = 0; ; attempt++) {
    const request = { transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 }
    const { error, producerId, producerEpoch } = await cluster.ask(initProducerId, request)
    if (error === E.NONE) return { producerId, producerEpoch }
    if (
      attempt > 20 ||
      !(error === E.COORDINATOR_LOAD_IN_PROGRESS || error === E.COORDINATOR_NOT_AVAILABLE || error === E.REQUEST_TIMED_OUT)
    ) {
      if (error !== E.NONE) throw plainRefused(error)
    }
    await cluster.pause(attempt)
  }
}

function plainRefused(error: number): TidemarkError {
  if (error === E.CLUSTER_AUTHORIZATION_FAILED) return missingRight('write', 'any topic')
  return brokerError('give out an id for a producer', error)
}
