/**
 * Transactions: who may write under which id, what an open transaction has touched, and how it ends. A transaction is decided by one record
 * of the journal and by nothing else. What happens before that record is written ends as `rejected`, `fenced` or `aborted`; when the write
 * of the record itself fails the outcome is in doubt, and the next opening of the log reads it from the disk.
 *
 *   open --commit--> deciding --journal--> over
 *     `----abort, fence, failed append----> aborting --journal--> over
 */
import { TidemarkError } from '../../base/errors.ts'
import type { CommitOutcome, GroupPositions } from '../../ports/log.ts'
import type { Decisions } from './decisions.ts'
import { closedError, fencedError } from './errors.ts'
import type { Health } from './health.ts'
import type { Journal } from './journal.ts'
import type { Partition } from './partition.ts'
import type { Appended } from './producers.ts'
import type { DecidedPositions, LogState, Mark } from './state.ts'

interface Transaction {
  state: 'open' | 'deciding' | 'aborting' | 'over'
  /** What is in the files: first offset, and the place behind the last batch. */
  readonly touched: Map<Partition, { readonly first: number; end: Mark }>
  /** Partitions with batches that were given an offset. */
  readonly begun: Set<Partition>
  readonly inFlight: Set<Promise<unknown>>
  /** Settles when the transaction is over, or can never be in this process. */
  ending: Promise<unknown> | undefined
}

/** One holder of a writer's id, until a newer one comes. */
export interface Session {
  readonly id: string
  readonly producerId: number
  readonly epoch: number
  /** Why it may write no more. Nothing ends that: the id must be opened anew. */
  dead: { readonly kind: 'fenced' | 'rejected' | 'aborted' | 'in-doubt'; readonly error: TidemarkError } | undefined
  transaction: Transaction | undefined
}

interface Entry {
  session: Session | undefined
  /** Openings of one id wait for each other. */
  turn: Promise<unknown>
  /** Counts openings, so that one that was overtaken while it waited knows. */
  openings: number
}

/** A Kafka epoch is a signed 16-bit number, the last of which is reserved. */
const EPOCH_MAX = 32_766

export class Transactions {
  private readonly state: LogState
  private readonly journal: Journal
  private readonly decisions: Decisions
  private readonly health: Health
  private readonly entries = new Map<string, Entry>()

  constructor(state: LogState, journal: Journal, decisions: Decisions, health: Health) {
    this.state = state
    this.journal = journal
    this.decisions = decisions
    this.health = health
  }

  /**
   * A new holder of `id`. Earlier ones are fenced at once; the transaction they left open is ended before this resolves.
   * @throws TidemarkError WRITER_FENCED when a still newer holder came meanwhile, LOG_IO, LOG_CLOSED
   */
  async open(id: string): Promise<Session> {
    const refusal = this.health.refusal()
    if (refusal !== undefined) throw refusal
    const entry = this.entry(id)
    const opening = ++entry.openings
    fenceOff(entry.session)
    const opened = entry.turn.then(() => this.openInTurn(id, entry, opening))
    entry.turn = opened.catch(() => {})
    return opened
  }

  /** Ends open transactions of ids that begin with `prefix`, and fences their holders. */
  async fence(prefix: string, live: ReadonlySet<string>): Promise<void> {
    const ended: Promise<unknown>[] = []
    for (const [id, { session }] of this.entries) {
      if (session?.transaction === undefined || live.has(id) || !id.startsWith(prefix)) continue
      fenceOff(session)
      ended.push(this.end(session))
    }
    await Promise.all(ended)
  }

  /** Counts a batch into the open transaction of a session, or begins one. */
  track(session: Session, partition: Partition, base: number, written: Promise<Mark>): Promise<Appended> {
    session.transaction ??= begin()
    const transaction = session.transaction
    transaction.begun.add(partition)
    const landed = written.then((end): Appended => {
      const touched = transaction.touched.get(partition)
      if (touched === undefined) transaction.touched.set(partition, { first: base, end })
      else touched.end = end
      return { base, next: end.offset }
    })
    const settled: Promise<void> = landed.then(
      () => {
        transaction.inFlight.delete(settled)
      },
      (error: TidemarkError) => {
        transaction.inFlight.delete(settled)
        this.doom(session, error)
      },
    )
    transaction.inFlight.add(settled)
    return landed
  }

  /** An append failed, so the transaction can only be aborted. That is done at once: readers of committed records wait for its end. */
  doom(session: Session, error: TidemarkError): void {
    session.dead ??= { kind: 'aborted', error: aborted(session, error) }
    void this.end(session).catch(() => {})
  }

  /** Why this session may not append, or undefined. */
  refusal(session: Session): Error | undefined {
    if (session.dead !== undefined) return session.dead.error
    const state = session.transaction?.state
    return state === undefined || state === 'open' ? undefined : new TypeError(`writer "${session.id}" appends while its transaction ends`)
  }

  async commit(session: Session, groups: readonly GroupPositions[]): Promise<CommitOutcome> {
    if (session.dead !== undefined) return this.dead(session, session.dead)
    let positions: DecidedPositions[]
    try {
      positions = groups.map((group) => this.decisions.resolve(group))
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      return this.dead(session, { kind: 'aborted', error: aborted(session, error) })
    }
    if (session.transaction === undefined && positions.every((group) => group.positions.length === 0)) return { kind: 'committed' }
    session.transaction ??= begin()
    const transaction = session.transaction
    if (transaction.state !== 'open') throw new TypeError(`writer "${session.id}" commits while its transaction ends`)
    await Promise.all(transaction.inFlight)
    try {
      if (session.dead === undefined) await this.decisions.confirm([...transaction.touched.keys()])
    } catch (error) {
      session.dead ??= { kind: 'aborted', error: aborted(session, error as TidemarkError) }
    }
    // From here to the submission of the decision nothing is awaited: who was not fenced or expelled by now has committed in time.
    if (session.dead !== undefined) return this.dead(session, session.dead)
    // Its writer was closed meanwhile, which aborts: two decisions about one transaction would hide its records and keep its positions.
    if (transaction.state !== 'open') return this.dead(session, { kind: 'aborted', error: aborted(session, closedError('the writer')) })
    const refusal = this.decisions.refusal(groups)
    if (refusal !== undefined) return this.dead(session, { kind: 'rejected', error: refusal })
    transaction.state = 'deciding'
    const decided = this.decide(session, transaction, 'commit', positions)
    transaction.ending = decided
    try {
      await decided
      return { kind: 'committed' }
    } catch (error) {
      return this.dead(session, { kind: 'in-doubt', error: inDoubt(session, error as TidemarkError) })
    }
  }

  /** @throws TidemarkError LOG_IO */
  async abort(session: Session): Promise<void> {
    await this.end(session)
  }

  /** Ends what is open of a session: by an abort, or by waiting for a decision that is on its way. */
  private end(session: Session): Promise<unknown> {
    const { transaction } = session
    if (transaction === undefined) return Promise.resolve()
    if (transaction.state === 'open') {
      transaction.state = 'aborting'
      transaction.ending = this.rollBack(session, transaction)
      // Whoever waits for it hears of a failure; the log as a whole has heard of it too.
      transaction.ending.catch(() => {})
    }
    return transaction.ending ?? Promise.resolve()
  }

  private async rollBack(session: Session, transaction: Transaction): Promise<void> {
    await Promise.all(transaction.inFlight)
    // Also what nobody will see must be there before it is decided: a decision whose bytes are missing ends the history at an opening.
    await this.decisions.confirm([...transaction.touched.keys()])
    await this.decide(session, transaction, 'abort', [])
    for (const partition of transaction.begun) if (!transaction.touched.has(partition)) partition.forgetOpen(session.producerId)
  }

  private async decide(
    session: Session,
    transaction: Transaction,
    outcome: 'commit' | 'abort',
    groups: readonly DecidedPositions[],
  ): Promise<void> {
    const over = (): void => {
      transaction.state = 'over'
      if (session.transaction === transaction) session.transaction = undefined
    }
    if (transaction.touched.size === 0 && groups.length === 0) return over()
    const { producerId, epoch } = session
    await this.decisions.submit({ outcome, producerId, epoch, touched: transaction.touched, groups }, over)
  }

  /** The session ends with its transaction. */
  private async dead(session: Session, why: NonNullable<Session['dead']>): Promise<CommitOutcome> {
    session.dead ??= why
    // That the abort could not be written changes nothing for the caller: without a decision nothing is ever visible.
    await this.end(session).catch(() => {})
    return why
  }

  private async openInTurn(id: string, entry: Entry, opening: number): Promise<Session> {
    if (entry.session !== undefined) await this.end(entry.session)
    const last = this.state.writers.get(id)
    const next =
      last !== undefined && last.epoch < EPOCH_MAX
        ? { producerId: last.producerId, epoch: last.epoch + 1 }
        : { producerId: this.state.nextProducerId++, epoch: 0 }
    await this.journal.submit({ kind: 'writer', id, ...next })
    if (entry.openings !== opening) throw fencedError(id)
    entry.session = { id, ...next, dead: undefined, transaction: undefined }
    return entry.session
  }

  private entry(id: string): Entry {
    let entry = this.entries.get(id)
    if (entry === undefined) {
      entry = { session: undefined, turn: Promise.resolve(), openings: 0 }
      this.entries.set(id, entry)
    }
    return entry
  }
}

function begin(): Transaction {
  return { state: 'open', touched: new Map(), begun: new Set(), inFlight: new Set(), ending: undefined }
}

function fenceOff(session: Session | undefined): void {
  if (session !== undefined) session.dead ??= { kind: 'fenced', error: fencedError(session.id) }
}

function aborted(session: Session, cause: TidemarkError): TidemarkError {
  return new TidemarkError('COMMIT_ABORTED', `the transaction of writer "${session.id}" was aborted`, {
    detail: `${cause.message}. ${cause.detail ?? ''}`.trimEnd(),
    hint: cause.hint,
    cause,
  })
}

function inDoubt(session: Session, cause: TidemarkError): TidemarkError {
  return new TidemarkError('COMMIT_IN_DOUBT', `whether the commit of writer "${session.id}" took effect is not known`, {
    detail: `${cause.message}. ${cause.detail ?? ''}`.trimEnd(),
    hint: `${cause.hint ?? 'Open the log again.'} What is on the disk then decides; nothing of the commit is visible before that.`,
    cause,
  })
}
