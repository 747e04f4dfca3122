/**
 * The transaction coordinators of a simulated cluster, as Kafka 4 behaves under both protocols of transactions: who may write under which id,
 * what is open, how it ends, and the markers that tell partitions and groups of it, each at a time of its own.
 *
 *   empty ──add──► ongoing ──end──► preparing ──all markers written──► complete ──add──► ongoing ...
 *                     └──time is over, or the id is opened anew: as if it were aborted, one epoch further
 */
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'
import type { PartitionName } from '../../ports/log.ts'
import type { Decision } from './partition.ts'
import type { Timeline } from './timeline.ts'

export interface Ids {
  readonly producerId: number
  readonly producerEpoch: number
}

/** A partition, or a group, that takes part in a transaction: hears how it ended. */
export type Mark = (ids: Ids, kind: 'commit' | 'abort') => void

interface Entry {
  readonly id: string
  producerId: number
  epoch: number
  /** The id before the epochs of it were used up. */
  formerProducerId: number
  state: 'empty' | 'ongoing' | 'preparing' | 'complete'
  decision: Decision
  /** By name, so that each is there once. */
  readonly parts: Map<string, Mark>
  timeoutMs: number
}

/** What a coordinator says of an id. */
export interface Known extends Ids {
  readonly id: string
  readonly state: string
  readonly timeoutMs: number
  /** Where its transaction is open, or has to be ended still. */
  readonly partitions: readonly PartitionName[]
}

export interface TransactionsOptions {
  readonly timeline: Timeline
  /** How long after a decision one part hears of it, ms. */
  readonly markerMs: () => number
  /** How long after its time is over an open transaction may stay, ms. */
  readonly cleanupMs: () => number
  /** The coordinator of an id works, so that markers leave. */
  readonly awake: (id: string) => boolean
  readonly timeoutMsMax: number
  /** The last epoch of a producer id: 32,766 in Kafka. */
  readonly epochMax: number
}

/** A coordinator that is not awake looks again after this time, ms. */
const AGAIN_MS = 5

export class Transactions {
  readonly #options: TransactionsOptions
  readonly #entries = new Map<string, Entry>()
  #producers = 1_000

  constructor(options: TransactionsOptions) {
    this.#options = options
  }

  newProducer(): number {
    return this.#producers++
  }

  /** InitProducerId. */
  open(id: string, timeoutMs: number, given: Ids): Ids & { readonly error: number } {
    const refused = (error: number) => ({ error, producerId: -1, producerEpoch: -1 })
    if (timeoutMs > this.#options.timeoutMsMax) return refused(E.INVALID_TRANSACTION_TIMEOUT)
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      entry = {
        id,
        producerId: this.newProducer(),
        epoch: -1,
        formerProducerId: -1,
        state: 'empty',
        decision: { state: 'open' },
        parts: new Map(),
        timeoutMs,
      }
      this.#entries.set(id, entry)
    }
    if (entry.state === 'preparing') return refused(E.CONCURRENT_TRANSACTIONS)
    if (entry.state === 'ongoing') {
      this.#fence(entry)
      return refused(E.CONCURRENT_TRANSACTIONS)
    }
    if (given.producerId >= 0) {
      if (given.producerId !== entry.producerId) return refused(E.INVALID_PRODUCER_ID_MAPPING)
      if (given.producerEpoch !== entry.epoch) return refused(E.PRODUCER_FENCED)
    }
    entry.timeoutMs = timeoutMs
    entry.state = 'empty'
    if (entry.epoch >= this.#options.epochMax) this.#renew(entry)
    else entry.epoch += 1
    return { error: E.NONE, producerId: entry.producerId, producerEpoch: entry.epoch }
  }

  /** AddPartitionsToTxn, AddOffsetsToTxn, and what leaders and groups do by themselves under protocol 2. */
  add(id: string, ids: Ids, parts: ReadonlyMap<string, Mark>): number {
    const entry = this.#entries.get(id)
    const error = whose(entry, ids)
    if (entry === undefined || error !== E.NONE) return error
    if (entry.state === 'preparing') return E.CONCURRENT_TRANSACTIONS
    if (entry.state !== 'ongoing') this.#begin(entry)
    for (const [name, mark] of parts) if (!entry.parts.has(name)) entry.parts.set(name, mark)
    return E.NONE
  }

  /** Under protocol 1: whether a part was added before anything was written to it. */
  verify(id: string, ids: Ids, part: string): number {
    const entry = this.#entries.get(id)
    const error = whose(entry, ids)
    if (entry === undefined || error !== E.NONE) return error
    if (entry.state === 'preparing') return E.CONCURRENT_TRANSACTIONS
    return entry.state === 'ongoing' && entry.parts.has(part) ? E.NONE : E.INVALID_TXN_STATE
  }

  /** The transaction that is open under an id. */
  decisionOf(id: string): Decision | undefined {
    return this.#entries.get(id)?.decision
  }

  /** EndTxn. @param bumps whether every transaction has an epoch of its own, as under protocol 2 */
  end(id: string, ids: Ids, committed: boolean, bumps: boolean): Ids & { readonly error: number } {
    const entry = this.#entries.get(id)
    const refused = (error: number) => ({ error, producerId: -1, producerEpoch: -1 })
    if (entry === undefined) return refused(E.INVALID_PRODUCER_ID_MAPPING)
    const { epochMax } = this.#options
    const overflown =
      bumps && entry.formerProducerId === ids.producerId && ids.producerEpoch >= epochMax && entry.epoch === 0 && entry.state !== 'empty'
    const again = overflown || (bumps && entry.producerId === ids.producerId && entry.epoch === ids.producerEpoch + 1)
    if (entry.producerId !== ids.producerId && !overflown) return refused(E.INVALID_PRODUCER_ID_MAPPING)
    if (entry.epoch !== ids.producerEpoch && !again) return refused(E.PRODUCER_FENCED)
    const same = entry.decision.state === (committed ? 'commit' : 'abort')
    switch (entry.state) {
      case 'ongoing':
        if (again) return refused(E.PRODUCER_FENCED)
        return { error: E.NONE, ...this.#end(entry, committed, bumps) }
      case 'preparing':
        return refused(same ? E.CONCURRENT_TRANSACTIONS : E.INVALID_TXN_STATE)
      case 'complete':
        if (!bumps) return same ? this.#said(entry) : refused(E.INVALID_TXN_STATE)
        if (again) return same ? this.#said(entry) : refused(E.INVALID_TXN_STATE)
        break
      case 'empty':
        break
    }
    if (committed || !bumps) return refused(E.INVALID_TXN_STATE)
    if (again) return refused(E.PRODUCER_FENCED)
    // Nothing was written, and there is an epoch less all the same.
    this.#begin(entry)
    return { error: E.NONE, ...this.#end(entry, false, true) }
  }

  /** All ids, as coordinators tell of them. */
  get known(): Known[] {
    return [...this.#entries.values()].map(({ id, producerId, epoch, state, decision, parts, timeoutMs }) => ({
      id,
      producerId,
      producerEpoch: epoch,
      state: stateText(state, decision),
      timeoutMs,
      partitions: state === 'ongoing' || state === 'preparing' ? [...parts.keys()].filter((name) => name.includes('/')) : [],
    }))
  }

  #said({ producerId, epoch }: Entry): Ids & { readonly error: number } {
    return { error: E.NONE, producerId, producerEpoch: epoch }
  }

  #begin(entry: Entry): void {
    entry.state = 'ongoing'
    entry.parts.clear()
    const decision: Decision = { state: 'open' }
    entry.decision = decision
    const { timeline, cleanupMs } = this.#options
    timeline.after(entry.timeoutMs + cleanupMs(), `time of ${entry.id}`, () => {
      if (entry.decision === decision && entry.state === 'ongoing') this.#fence(entry)
    })
  }

  /** Whoever has it open has it no more. */
  #fence(entry: Entry): void {
    entry.epoch += 1
    this.#end(entry, false, false)
  }

  /** Decides. What follows only tells of it. */
  #end(entry: Entry, committed: boolean, bumps: boolean): Ids {
    const { epochMax } = this.#options
    const kind = committed ? 'commit' : 'abort'
    entry.state = 'preparing'
    entry.decision.state = kind
    const marker = { producerId: entry.producerId, producerEpoch: entry.epoch + (bumps ? 1 : 0) }
    if (bumps && entry.epoch >= epochMax) this.#renew(entry)
    else if (bumps) entry.epoch += 1
    const { decision } = entry
    let left = entry.parts.size
    const done = (): void => {
      if (left === 0 && entry.decision === decision && entry.state === 'preparing') entry.state = 'complete'
    }
    for (const [name, mark] of entry.parts) {
      this.#tell(entry.id, name, () => {
        mark(marker, kind)
        left -= 1
        done()
      })
    }
    done()
    return { producerId: entry.producerId, producerEpoch: entry.epoch }
  }

  #tell(id: string, part: string, mark: () => void): void {
    const { timeline, markerMs, awake } = this.#options
    const arrive = (): void => {
      if (awake(id)) mark()
      else timeline.after(AGAIN_MS, `marker of ${id} waits`, arrive)
    }
    timeline.after(markerMs(), `marker of ${id} for ${part}`, arrive)
  }

  #renew(entry: Entry): void {
    entry.formerProducerId = entry.producerId
    entry.producerId = this.newProducer()
    entry.epoch = 0
  }
}

/** In Kafka's words. */
function stateText(state: Entry['state'], { state: how }: Decision): string {
  if (state === 'empty') return 'Empty'
  if (state === 'ongoing') return 'Ongoing'
  return `${state === 'preparing' ? 'Prepare' : 'Complete'}${how === 'commit' ? 'Commit' : 'Abort'}`
}

function whose(entry: Entry | undefined, { producerId, producerEpoch }: Ids): number {
  if (entry === undefined || entry.producerId !== producerId) return E.INVALID_PRODUCER_ID_MAPPING
  return entry.epoch === producerEpoch ? E.NONE : E.PRODUCER_FENCED
}
