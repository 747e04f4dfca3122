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

/** What executors of steps without state have in common: a parked key is held, and a failed invocation is answered or run again. */
abstract class Stateless implements Taker {
  readonly writes: boolean
  protected readonly out: Outlet
  protected readonly count: Tally['count']
  readonly #failures: Failures
  readonly #parks: boolean

  constructor(node: StepNode, out: Outlet, tally: Tally, failures: Failures) {
    this.out = out
    this.count = tally.count
    this.#failures = failures
    this.#parks = failures.parks
    this.writes = this.#parks || (node.passes && out.writes)
  }

  abstract take(rec: Rec, input: number): void
  /** Runs the step once; true when something may go on. */
  protected abstract invoke(rec: Rec): boolean

  protected held(rec: Rec): boolean {
    return this.#parks && this.#failures.holds(rec)
  }

  /** After a failure: runs again as often as the step says; false when the record has been answered otherwise. */
  protected again(rec: Rec, first: unknown): boolean {
    let error = first
    for (let attempt = 1; ; attempt++) {
      this.out.drop()
      if (!this.#failures.answer(rec, error, attempt)) return false
      try {
        return this.invoke(rec)
      } catch (next) {
        error = next
      }
    }
  }
}

/** A step that makes something of a record. */
export class StepExecutor extends Stateless {
  readonly #run: (rec: Rec, out: Outlet, count: Tally['count']) => void

  constructor(node: StepNode, run: (rec: Rec, out: Outlet, count: Tally['count']) => void, out: Outlet, tally: Tally, failures: Failures) {
    super(node, out, tally, failures)
    this.#run = run
  }

  take(rec: Rec, input: number): void {
    if (this.held(rec)) return
    rec.input = input
    try {
      this.invoke(rec)
    } catch (error) {
      if (!this.again(rec, error)) return
    }
    this.out.flush()
  }

  protected invoke(rec: Rec): boolean {
    this.out.begin(rec, rec.slot)
    this.#run(rec, this.out, this.count)
    return true
  }
}

/** A step that only lets a record pass or not: nothing is collected, nothing is made. */
export class PassExecutor extends Stateless {
  readonly #keep: (rec: Rec) => boolean
  /** The steps of the same kind in a row behind it: a loop over them costs a third less than calls within calls. */
  readonly #rest: readonly PassExecutor[]
  /** Where what passes them all goes on. */
  readonly #end: Outlet

  constructor(node: StepNode, keep: (rec: Rec) => boolean, out: Outlet, tally: Tally, failures: Failures) {
    super(node, out, tally, failures)
    this.#keep = keep
    const next = out.only
    const following = next?.to instanceof PassExecutor && next.input === 0 ? next.to : undefined
    this.#rest = following === undefined ? [] : [following, ...following.#rest]
    this.#end = following === undefined ? out : following.#end
  }

  take(rec: Rec, input: number): void {
    rec.input = input
    if (!this.#passes(rec)) return
    const rest = this.#rest
    for (let i = 0; i < rest.length; i++) if (!(rest[i] as PassExecutor).#passes(rec)) return
    this.#end.pass(rec)
  }

  #passes(rec: Rec): boolean {
    if (this.held(rec)) return false
    try {
      return this.#keep(rec)
    } catch (error) {
      return this.again(rec, error)
    }
  }

  protected invoke(rec: Rec): boolean {
    return this.#keep(rec)
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
  }

  take(rec: Rec, input: number): void {
    const failures = this.#failures
    // Wall time moves by itself, so what it wakes is told by the record before.
    if (this.node.wall) this.#movedBy = placeOf(rec)
    // Time moves first, also by what will be held: a timer that goes off may be what parks this very key.
    this.#advance(rec)
    if (failures.holds(rec)) return
    rec.input = input
    const scope = this.#scope
    const out = this.#out
    for (let attempt = 1; ; attempt++) {
      try {
        const slot = slotOf(this.#state, rec)
        scope.begin(slot, rec)
        out.begin(rec, slot)
        this.#run(rec, scope, out, this.#tally.count)
        if (scope.wantsPage) this.#asked(rec)
        break
      } catch (error) {
        scope.undo()
        out.drop()
        if (!failures.answer(rec, error, attempt)) return
      }
    }
    this.#finish()
  }

  #asked(rec: Rec): void {
    this.#cause = rec.id
    this.#movedBy = placeOf(rec)
  }

  /** Moves the step's clock; what is due by then is woken first. */
  #advance(rec: Rec): void {
    const { store } = this
    let to = rec.at
    if (to <= store.streamTime) return
    // One record with a wrong clock must not end every wait: a leap is believed only as far as the time of recording bears it out.
    if (store.streamTime === NEVER || to - store.streamTime > SKEW_MS) to = Math.min(to, rec.recordedAt + SKEW_MS)
    if (to <= store.streamTime) return
    store.streamTime = to
    if (store.timers.size === 0) return
    const first = store.timers.due(to)
    if (first === undefined) return
    this.#movedBy = placeOf(rec)
    for (let due: string | undefined = first; due !== undefined; due = store.timers.due(to)) this.#wake('stream', due)
  }

  wakeByWall(now: number): void {
    const { wallTimers } = this.store
    if (wallTimers.size === 0) return
    for (let due = wallTimers.due(now); due !== undefined; due = wallTimers.due(now)) this.#wake('wall', due)
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
    this.#invoke(rec, () => {
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
    this.#invoke(rec, () => page(rows, next, this.#scope, this.#out, this.#tally.count))
  }

  /** As `take` runs a record, for the rare invocations that a timer or a page asks for. */
  #invoke(rec: Rec, call: () => void): void {
    const scope = this.#scope
    const out = this.#out
    for (let attempt = 1; ; attempt++) {
      try {
        const slot = slotOf(this.#state, rec)
        scope.begin(slot, rec)
        out.begin(rec, slot)
        call()
        if (scope.wantsPage) this.#asked(rec)
        break
      } catch (error) {
        scope.undo()
        out.drop()
        if (!this.#failures.answer(rec, error, attempt)) return
      }
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

  constructor(outbox: Outbox, topic: string, partitions: number, inbox: boolean, tally: Tally, failures: Failures) {
    this.#outbox = outbox
    this.#topic = topic
    this.#partitions = partitions
    this.#inbox = inbox
    this.#tally = tally
    this.#failures = failures
  }

  take(rec: Rec): void {
    for (let attempt = 1; ; attempt++) {
      try {
        this.#send(rec)
        break
      } catch (error) {
        if (!this.#failures.answer(rec, error, attempt)) return
      }
    }
    this.#tally.count('records_out')
  }

  #send(rec: Rec): void {
    const key = rec.keyBytes()
    // Records without a key are tidemark's own in an inbox, and nothing behind it could keep state for one.
    if (key === null && this.#inbox) throw new TidemarkError('KEY_INVALID', 'a record without a key came to an inbox', { hint: KEYLESS })
    const headers = rec.headerBytes(this.#inbox ? 'inbox' : 'topic')
    this.#outbox.send(this.#topic, this.#partitions, rec.partition, rec.at, key, rec.valueBytes(), headers)
  }
}
