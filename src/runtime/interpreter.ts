/**
 * Executes the kernel nodes of one stage for one task; nothing else does. A stage is compiled once into executors that hold their successors,
 * and a record runs through them synchronously, depth first: no promise, no queue and no allocation between two steps.
 *
 * The unit of failure is one invocation of one node: its writes and what it sends count only when it has returned, and what earlier steps
 * did stands. What a failure means is decided in `failure.ts`.
 */
import { unreachable } from '../base/assert.ts'
import type { TidemarkError } from '../base/errors.ts'
import { deadTopic, inboxTopic } from '../plan/naming.ts'
import type { Plan, StagePlan } from '../plan/plan.ts'
import { type Graph, type KeyedNode, type Node, type NodeId, readsLog, type StepNode } from '../topology/node.ts'
import { sendDeadLetter } from './dead-letter.ts'
import { asFailure, TaskStopped, verdictOn } from './failure.ts'
import type { Outbox } from './outbox.ts'
import { type Edge, Outlet, type Taker } from './outlet.ts'
import { Parking } from './parking.ts'
import { type Flavour, Rec } from './record.ts'
import { NodeScope, slotOf } from './scope.ts'
import type { KeySlot } from './slots.ts'
import type { TaskState } from './state.ts'
import { NEVER, type StoreState } from './store-state.ts'
import { Tally } from './tally.ts'

/** How far a record's event time may be ahead of when it was recorded and still move stream time: beyond it a wrong clock would end every wait. */
const SKEW_MS = 86_400_000

/** What a compiled stage works with. */
export interface StageParts {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  readonly state: TaskState
  readonly outbox: Outbox
  readonly flavours: ReadonlyMap<NodeId, Flavour>
  /** Partitions of every topic that the plan knows. */
  readonly partitionsOf: (topic: string) => number
  /** The live generation of an inbox. */
  readonly inboxGeneration: (step: NodeId) => number
  readonly unknownEvents: (stage: StagePlan) => 'dead-letter' | 'ignore'
  readonly planHash: string
  readonly now: () => number
  /** Freeze rows, so that a fold that changes its argument fails at once. */
  readonly freeze: boolean
}

/** A page of rows that a step asked for, to be loaded before the next record. */
export interface PageWish {
  readonly executor: KeyedExecutor
  readonly slot: KeySlot
  readonly from: string
}

export class Interpreter {
  readonly tallies: readonly Tally[]
  /** Executors behind each log. */
  readonly #entries = new Map<NodeId, readonly Edge[]>()
  readonly #keyed: readonly KeyedExecutor[]
  readonly #failures: ReadonlyMap<NodeId, Failures>
  readonly #pages: PageWish[] = []

  constructor(parts: StageParts) {
    const { plan, stage } = parts
    const byId = new Map(plan.graph.nodes.map((node) => [node.id, node]))
    const tallies = new Map(stage.steps.map((step) => [step, new Tally(step)]))
    const takers = new Map<string, Taker>()
    const failures = new Map<NodeId, Failures>()
    const keyed: KeyedExecutor[] = []
    // Successors first, so that an executor is made with its edges.
    for (const step of [...stage.steps].reverse()) {
      const node = byId.get(step) as Node
      const tally = tallies.get(step) as Tally
      const edges = edgesOf(plan.graph, node, (to) => takers.get(to.id) ?? this.#leaves(to, node, parts, tally))
      failures.set(step, new Failures(parts, node, tally))
      if (readsLog(node)) {
        this.#entries.set(node.id, edges[0] ?? [])
        continue
      }
      const taker = this.#executor(node, edges, parts, tally, failures.get(step) as Failures)
      if (taker instanceof KeyedExecutor) keyed.push(taker)
      if (taker !== undefined) takers.set(step, taker)
    }
    this.#keyed = keyed.reverse()
    this.#failures = failures
    this.tallies = [...tallies.values()]
  }

  #executor(node: Node, edges: readonly (readonly Edge[])[], parts: StageParts, tally: Tally, failures: Failures): Taker | undefined {
    const flavour = parts.flavours.get(node.id) as Flavour
    const topic = topicOfLog(parts)
    switch (node.kind) {
      case 'step':
        return new StepExecutor(node, new Outlet(node.id, topic, edges, flavour, false), tally, failures)
      case 'keyed': {
        const store = parts.state.stores.find(({ plan }) => plan.name === node.store.name) as StoreState
        const place = { topic, partition: parts.partition }
        return new KeyedExecutor(
          node,
          parts.state,
          new NodeScope(parts.state, store, parts.freeze),
          new Outlet(node.id, topic, edges, flavour, !node.rekeys),
          tally,
          failures,
          place,
          flavour,
          this.#pages,
        )
      }
      case 'sink':
        return new SinkTaker(parts.outbox, node.topic, parts.partitionsOf(node.topic), false, tally)
      // A merge is only edges, and a log is read, not run.
      case 'merge':
      case 'source':
      case 'repartition':
        return undefined
      default:
        return unreachable(node)
    }
  }

  /** What leaves the stage for an inbox. */
  #leaves(to: Node, _from: Node, parts: StageParts, tally: Tally): Taker {
    const topic = inboxTopic(parts.plan.app, to.id, parts.inboxGeneration(to.id))
    return new SinkTaker(parts.outbox, topic, parts.partitionsOf(topic), true, tally)
  }

  /** Runs a record of a log through everything behind it. */
  run(log: NodeId, rec: Rec): void {
    const edges = this.#entries.get(log) as readonly Edge[]
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i] as Edge
      edge.to.take(rec, edge.input)
    }
  }

  /** Answers a record that a log brought and that cannot enter, such as one without an envelope. */
  refuse(log: NodeId, rec: Rec, error: unknown): void {
    ;(this.#failures.get(log) as Failures).answer(rec, error, 1)
  }

  tally(step: NodeId): Tally {
    return this.tallies.find((tally) => tally.step === step) as Tally
  }

  /** Pages that steps asked for while the last record ran. */
  takePages(): PageWish[] {
    return this.#pages.splice(0)
  }

  /** Wakes what wall time is due for. */
  wakeByWall(now: number): void {
    for (const executor of this.#keyed) executor.wakeByWall(now)
  }

  /** When wall time is next due; Infinity when never. */
  nextWall(): number {
    return Math.min(...this.#keyed.map((executor) => executor.store.wallTimers.next()), Number.POSITIVE_INFINITY)
  }
}

function topicOfLog({ plan, stage }: StageParts): string {
  const log = plan.graph.nodes.find((node) => node.id === stage.logs[0])
  return plan.topics.find((topic) => topic.step === log?.id && (topic.role === 'source' || topic.role === 'inbox'))?.name ?? ''
}

/** Successors of a node by output. A merge stands for its own successors. */
function edgesOf(graph: Graph, node: Node, takerOf: (to: Node) => Taker): Edge[][] {
  const edges: Edge[][] = []
  for (const to of graph.nodes) {
    to.from.forEach(({ id, port }, input) => {
      if (id !== node.id) return
      edges[port] ??= []
      const places = edges[port]
      if (to.kind === 'merge') places.push(...(edgesOf(graph, to, takerOf)[0] ?? []))
      else places.push({ to: takerOf(to), input })
    })
  }
  return edges
}

/** What a step does about its failures. */
class Failures {
  readonly #parts: StageParts
  readonly #node: Node
  readonly #tally: Tally
  readonly #unknownEvents: 'dead-letter' | 'ignore'
  readonly #topic: string
  readonly parking: Parking | undefined

  constructor(parts: StageParts, node: Node, tally: Tally) {
    this.#parts = parts
    this.#node = node
    this.#tally = tally
    this.#unknownEvents = parts.unknownEvents(parts.stage)
    this.#topic = deadTopic(parts.plan.app, node.id, parts.stage.generation)
    const parked = parts.state.stores.find(({ plan }) => plan.step === node.id && plan.kind === 'parked')
    this.parking = parked === undefined ? undefined : new Parking(parts.state, new NodeScope(parts.state, parked, false))
  }

  /**
   * Decides about a failed invocation, which has been undone. Returns true when it is to be tried again.
   * @throws TaskStopped when the task ends here
   */
  answer(rec: Rec, error: unknown, attempt: number): boolean {
    const { onError, id } = this.#node
    // A record that cannot enter has no key that could be trusted, so there is nothing to park.
    const then = readsLog(this.#node) && onError.then === 'park' ? 'dead-letter' : onError.then
    const verdict = verdictOn(error, attempt, { retry: onError.retry, then, unknownEvents: this.#unknownEvents })
    const failure = asFailure(error, id)
    switch (verdict) {
      case 'again':
        this.#tally.count('retried')
        return true
      case 'drop':
        this.#tally.count('unmapped')
        return false
      case 'dead-letter':
        this.#bury(rec, failure, attempt)
        return false
      case 'park':
        if (this.parking === undefined || (rec.keyAt < 0 && rec.slot === undefined)) this.#bury(rec, failure, attempt)
        else {
          this.parking.park(rec, failure)
          this.#tally.count('parked')
        }
        return false
      case 'halt':
      case 'reopen':
        throw new TaskStopped(verdict, id, failure)
      default:
        return unreachable(verdict)
    }
  }

  #bury(rec: Rec, error: TidemarkError, attempts: number): void {
    this.#tally.count('dead', error.code)
    sendDeadLetter(this.#parts.outbox, {
      rec,
      step: this.#node.id,
      topic: this.#topic,
      error,
      attempts,
      plan: this.#parts.planHash,
      now: this.#parts.now(),
    })
  }
}

class StepExecutor implements Taker {
  readonly writes: boolean
  readonly #run: StepNode['run']
  readonly #out: Outlet
  readonly #tally: Tally
  readonly #failures: Failures

  constructor(node: StepNode, out: Outlet, tally: Tally, failures: Failures) {
    this.#run = node.run
    this.writes = failures.parking !== undefined
    this.#out = out
    this.#tally = tally
    this.#failures = failures
  }

  take(rec: Rec, input: number): void {
    const failures = this.#failures
    if (failures.parking?.holds(rec) === true) {
      this.#tally.count('held')
      return
    }
    rec.input = input
    const out = this.#out
    for (let attempt = 1; ; attempt++) {
      out.begin(rec, rec.slot)
      try {
        this.#run(rec, out, this.#tally.count)
        break
      } catch (error) {
        out.drop()
        if (!failures.answer(rec, error, attempt)) return
      }
    }
    out.flush()
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
  readonly #flavour: Flavour
  readonly #pages: PageWish[]
  readonly #timer = new Rec()

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
    this.writes = node.keeps || failures.parking !== undefined
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
    if (failures.parking?.holds(rec) === true) {
      this.#tally.count('held')
      return
    }
    this.#advance(rec)
    rec.input = input
    const scope = this.#scope
    const out = this.#out
    for (let attempt = 1; ; attempt++) {
      try {
        const slot = slotOf(this.#state, rec)
        scope.begin(slot, rec)
        out.begin(rec, slot)
        this.#run(rec, scope, out, this.#tally.count)
        break
      } catch (error) {
        scope.undo()
        out.drop()
        if (!failures.answer(rec, error, attempt)) return
      }
    }
    this.#finish()
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
    for (let due = store.timers.due(to); due !== undefined; due = store.timers.due(to)) this.#wake('stream', due)
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
    rec.awake(timer, slot, this.node.id, this.#place, this.#flavour)
    this.#invoke(rec, () => wake(timer, this.#scope, this.#out, this.#tally.count))
  }

  /** Hands a step the page of rows that it asked for. */
  takePage(slot: KeySlot, rows: readonly (readonly [sub: string, value: unknown])[], next: string | undefined): void {
    const { page } = this.node
    if (page === undefined) return
    const rec = this.#timer
    rec.awake({ at: this.store.streamTime, sub: next ?? '' }, slot, this.node.id, this.#place, this.#flavour)
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
    if (from !== undefined) this.#pages.push({ executor: this, slot: scope.slot, from })
    this.#out.flush()
  }
}

/** The end of a stage: a topic. */
class SinkTaker implements Taker {
  readonly writes = true
  readonly #outbox: Outbox
  readonly #topic: string
  readonly #partitions: number
  readonly #inbox: boolean
  readonly #tally: Tally

  constructor(outbox: Outbox, topic: string, partitions: number, inbox: boolean, tally: Tally) {
    this.#outbox = outbox
    this.#topic = topic
    this.#partitions = partitions
    this.#inbox = inbox
    this.#tally = tally
  }

  take(rec: Rec): void {
    this.#tally.count('records_out')
    const headers = rec.headerBytes(this.#inbox)
    this.#outbox.send(this.#topic, this.#partitions, rec.partition, rec.at, rec.keyBytes(), rec.valueBytes(), headers)
  }
}
