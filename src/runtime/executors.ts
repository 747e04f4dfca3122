/**
 * The executors of kernel nodes: one object a node and task, which holds its successors. Records run through them synchronously, depth first.
 */
import { TidemarkError } from '../base/errors.ts'
import { derivedId } from '../contract/envelope.ts'
import type { KeyedNode, StepNode } from '../topology/node.ts'
import type { Place } from './envelope.ts'
import type { Failures } from './failures.ts'
import type { Outbox } from './outbox.ts'
import type { Outlet, Taker } from './outlet.ts'
import { type Flavour, Rec } from './record.ts'
import { KEYLESS, type NodeScope, slotOf } from './scope.ts'
import type { KeySlot } from './slots.ts'
import type { TaskState } from './state.ts'
import { NEVER, type StoreState } from './store-state.ts'
import type { Tally } from './tally.ts'
import type { Waits } from './waits.ts'

/** How far a record's event time may be ahead of when it was recorded and still move stream time: beyond it a wrong clock would end every wait. */
const SKEW_MS = 86_400_000

/** A page of rows that a step asked for, to be loaded before the next record. */
export interface PageWish {
  readonly executor: KeyedExecutor
  readonly slot: KeySlot
  readonly from: string
  /** Id of what asked for it. */
  readonly cause: string
}

/** What executors of steps without state have in common: a parked key is held, and a failed invocation is answered, or run again after a while. */
abstract class Stateless implements Taker {
  readonly writes: boolean
  protected readonly out: Outlet
  protected readonly count: Tally['count']
  readonly #failures: Failures
  readonly #parks: boolean
  readonly #waits: Waits

  constructor(node: StepNode, out: Outlet, tally: Tally, failures: Failures, waits: Waits) {
    this.#waits = waits
    this.out = out
    this.count = tally.count
    this.#failures = failures
    this.#parks = failures.parks
    this.writes = this.#parks || (node.passes && out.writes)
  }

  abstract take(rec: Rec, input: number): void
  /** Runs the step, and what follows it when it succeeds. @param attempt which one this is, from 1 */
  protected abstract attempt(rec: Rec, attempt: number): void

  protected held(rec: Rec): boolean {
    return this.#parks && this.#failures.holds(rec)
  }

  /** After a failure: the record is answered, or the step will be run again. */
  protected failed(rec: Rec, error: unknown, attempt: number): void {
    this.out.drop()
    if (this.#failures.answer(rec, error, attempt)) this.#waits.begin(attempt, () => this.attempt(rec, attempt + 1))
  }
}

/** A step that makes something of a record. */
export class StepExecutor extends Stateless {
  readonly #run: (rec: Rec, out: Outlet, count: Tally['count']) => void

  constructor(
    node: StepNode,
    run: (rec: Rec, out: Outlet, count: Tally['count']) => void,
    out: Outlet,
    tally: Tally,
    failures: Failures,
    waits: Waits,
  ) {
    super(node, out, tally, failures, waits)
    this.#run = run
  }

  take(rec: Rec, input: number): void {
    if (this.held(rec)) return
    rec.input = input
    this.attempt(rec, 1)
  }

  protected attempt(rec: Rec, attempt: number): void {
    try {
      this.out.begin(rec, rec.slot)
      this.#run(rec, this.out, this.count)
    } catch (error) {
      this.failed(rec, error, attempt)
      return
    }
    this.out.flush()
  }
}

/** A step that only lets a record pass or not: nothing is collected, nothing is made. */
export class PassExecutor extends Stateless {
  readonly #keep: (rec: Rec) => boolean
  /** The steps of the same kind in a row behind it: a loop over them costs a third less than calls within calls. */
  readonly #rest: readonly PassExecutor[]
  /** Where what passes them all goes on. */
  readonly #end: Outlet

  constructor(node: StepNode, keep: (rec: Rec) => boolean, out: Outlet, tally: Tally, failures: Failures, waits: Waits) {
    super(node, out, tally, failures, waits)
    this.#keep = keep
    const next = out.only
    const following = next?.to instanceof PassExecutor && next.input === 0 ? next.to : undefined
    this.#rest = following === undefined ? [] : [following, ...following.#rest]
    this.#end = following === undefined ? out : following.#end
  }

  take(rec: Rec, input: number): void {
    rec.input = input
    if (this.#passes(rec)) this.#goOn(rec)
  }

  #goOn(rec: Rec): void {
    const rest = this.#rest
    for (let i = 0; i < rest.length; i++) if (!(rest[i] as PassExecutor).#passes(rec)) return
    this.#end.pass(rec)
  }

  #passes(rec: Rec): boolean {
    if (this.held(rec)) return false
    try {
      return this.#keep(rec)
    } catch (error) {
      this.failed(rec, error, 1)
      return false
    }
  }

  protected attempt(rec: Rec, attempt: number): void {
    let passes: boolean
    try {
      passes = this.#keep(rec)
    } catch (error) {
      this.failed(rec, error, attempt)
      return
    }
    if (passes) this.#goOn(rec)
  }
}

export class KeyedExecutor implements Taker {
  readonly writes: boolean
  readonly node: KeyedNode
  readonly #run: KeyedNode['run']
  readonly store: StoreState
  readonly #state: TaskState
  readonly #scope: NodeScope
  readonly #out: Outlet
  readonly #tally: Tally
  readonly #failures: Failures
  readonly #place: { topic: string; partition: number }
  /** Where the record lies that moved time to the timer that goes off, or that asked for a page. */
  #movedBy: Place | undefined
  readonly #flavour: Flavour
  readonly #pages: PageWish[]
  readonly #waits: Waits
  readonly #timer = new Rec()
  /** Id of the record whose invocation asked for a page. */
  #cause = ''

  constructor(
    node: KeyedNode,
    state: TaskState,
    scope: NodeScope,
    out: Outlet,
    tally: Tally,
    failures: Failures,
    place: { topic: string; partition: number },
    flavour: Flavour,
    pages: PageWish[],
    waits: Waits,
  ) {
    this.node = node
    this.#run = node.run
    this.writes = node.keeps || failures.parks || (node.passes && out.writes)
    this.store = scope.store
    this.#state = state
    this.#scope = scope
    this.#out = out
    this.#tally = tally
    this.#failures = failures
    this.#place = place
    this.#flavour = flavour
    this.#pages = pages
    this.#waits = waits
  }

  take(rec: Rec, input: number): void {
    // Wall time moves by itself, so what it wakes is told by the record before.
    if (this.node.wall) this.#movedBy = placeOf(rec)
    // Time moves first, also by what will be held: a timer that goes off may be what parks this very key.
    if (this.#advance(rec, input)) this.#takeNow(rec, input)
  }

  #takeNow(rec: Rec, input: number): void {
    if (this.#failures.holds(rec)) return
    rec.input = input
    this.#attempt(rec, 1)
  }

  #attempt(rec: Rec, attempt: number): void {
    const scope = this.#scope
    const out = this.#out
    try {
      const slot = slotOf(this.#state, rec)
      scope.begin(slot, rec)
      out.begin(rec, slot)
      this.#run(rec, scope, out, this.#tally.count)
      if (scope.wantsPage) this.#asked(rec)
    } catch (error) {
      this.#failed(rec, error, attempt)
      return
    }
    this.#finish()
  }

  #asked(rec: Rec): void {
    this.#cause = rec.id
    this.#movedBy = placeOf(rec)
  }

  #failed(rec: Rec, error: unknown, attempt: number): void {
    this.#scope.undo()
    this.#out.drop()
    if (this.#failures.answer(rec, error, attempt)) this.#waits.begin(attempt, () => this.#attempt(rec, attempt + 1))
  }

  /** Moves the step's clock; what is due by then is woken first. False when one of those waits: the record is taken behind it then. */
  #advance(rec: Rec, input: number): boolean {
    const { store } = this
    let to = rec.at
    if (to <= store.streamTime) return true
    // One record with a wrong clock must not end every wait: a leap is believed only as far as the time of recording bears it out.
    if (store.streamTime === NEVER || to - store.streamTime > SKEW_MS) to = Math.min(to, rec.recordedAt + SKEW_MS)
    if (to <= store.streamTime) return true
    store.streamTime = to
    if (store.timers.size === 0 || store.timers.due(to) === undefined) return true
    this.#movedBy = placeOf(rec)
    return this.#wakeBefore(to, rec, input)
  }

  // A method of its own, because a function that makes a closure somewhere pays for it at every call.
  #wakeBefore(to: number, rec: Rec, input: number): boolean {
    return this.#wakeDue('stream', to, () => this.#takeNow(rec, input))
  }

  wakeByWall(now: number): void {
    if (this.store.wallTimers.size > 0) this.#wakeDue('wall', now, () => {})
  }

  /** Wakes what is due, one after the other. False when one of those waits; what is due then, and `behind`, come after it. */
  #wakeDue(kind: 'stream' | 'wall', to: number, behind: () => void): boolean {
    const timers = kind === 'stream' ? this.store.timers : this.store.wallTimers
    for (let due = timers.due(to); due !== undefined; due = timers.due(to)) {
      this.#wake(kind, due)
      if (!this.#waits.waiting) continue
      this.#waits.then(() => {
        if (this.#wakeDue(kind, to, behind)) behind()
      })
      return false
    }
    return true
  }

  #wake(kind: 'stream' | 'wall', name: string): void {
    const timer = (kind === 'stream' ? this.store.timers : this.store.wallTimers).timerOf(name)
    this.#state.changeTimer(this.store, kind, timer.at, timer.key, timer.sub, false)
    const { wake } = this.node
    if (wake === undefined) return
    const slot = this.#state.slots.of(timer.key, 0, timer.key.length)
    const rec = this.#timer
    const id = derivedId(`${this.node.id}/${timer.key.toString('hex')}`, timer.sub, timer.at)
    rec.awake(id, timer.at, slot, this.#place, this.#movedBy, this.#flavour)
    // Of a parked key: the timer waits behind what parked it.
    if (this.#failures.holds(rec)) return
    this.#invoke(rec, 1, () => {
      this.#scope.wakes(kind, timer.at, timer.sub)
      wake(timer, this.#scope, this.#out, this.#tally.count)
    })
  }

  /** Hands a step the page of rows that it asked for. */
  takePage({ slot, cause }: PageWish, rows: readonly (readonly [sub: string, value: unknown])[], next: string | undefined): void {
    const { page } = this.node
    if (page === undefined) return
    const rec = this.#timer
    rec.awake(derivedId(cause, `${this.node.id}!page`, 0), this.store.streamTime, slot, this.#place, this.#movedBy, this.#flavour)
    this.#invoke(rec, 1, () => page(rows, next, this.#scope, this.#out, this.#tally.count))
  }

  /** As `take` runs a record, for the rare invocations that a timer or a page asks for. */
  #invoke(rec: Rec, attempt: number, call: () => void): void {
    const scope = this.#scope
    const out = this.#out
    try {
      const slot = slotOf(this.#state, rec)
      scope.begin(slot, rec)
      out.begin(rec, slot)
      call()
      if (scope.wantsPage) this.#asked(rec)
    } catch (error) {
      scope.undo()
      out.drop()
      if (this.#failures.answer(rec, error, attempt)) this.#waits.begin(attempt, () => this.#invoke(rec, attempt + 1, call))
      return
    }
    this.#finish()
  }

  /** The invocation has returned: what it wrote and sent counts now. */
  #finish(): void {
    const scope = this.#scope
    scope.end()
    const from = scope.takePage()
    if (from !== undefined) this.#pages.push({ executor: this, slot: scope.slot, from, cause: this.#cause })
    this.#out.flush()
  }
}

function placeOf(rec: Rec): Place {
  const { topic, partition, offset } = rec.place()
  return { topic, partition, offset }
}

/** The end of a stage: a topic. */
export class SinkTaker implements Taker {
  readonly writes = true
  readonly #outbox: Outbox
  readonly #topic: string
  readonly #partitions: number
  readonly #inbox: boolean
  readonly #tally: Tally
  readonly #failures: Failures
  readonly #waits: Waits

  constructor(outbox: Outbox, topic: string, partitions: number, inbox: boolean, tally: Tally, failures: Failures, waits: Waits) {
    this.#waits = waits
    this.#outbox = outbox
    this.#topic = topic
    this.#partitions = partitions
    this.#inbox = inbox
    this.#tally = tally
    this.#failures = failures
  }

  take(rec: Rec): void {
    this.#attempt(rec, 1)
  }

  #attempt(rec: Rec, attempt: number): void {
    try {
      this.#send(rec)
    } catch (error) {
      this.#failed(rec, error, attempt)
      return
    }
    this.#tally.count('records_out')
  }

  #failed(rec: Rec, error: unknown, attempt: number): void {
    if (this.#failures.answer(rec, error, attempt)) this.#waits.begin(attempt, () => this.#attempt(rec, attempt + 1))
  }

  #send(rec: Rec): void {
    const key = rec.keyBytes()
    // Records without a key are tidemark's own in an inbox, and nothing behind it could keep state for one.
    if (key === null && this.#inbox) throw new TidemarkError('KEY_INVALID', 'a record without a key came to an inbox', { hint: KEYLESS })
    const headers = rec.headerBytes(this.#inbox ? 'inbox' : 'topic')
    this.#outbox.send(this.#topic, this.#partitions, rec.partition, rec.at, key, rec.valueBytes(), headers)
  }
}
