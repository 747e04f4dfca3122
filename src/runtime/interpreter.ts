/**
 * Executes the kernel nodes of one stage for one task; nothing else does. A stage is compiled once into executors that hold their successors,
 * and a record runs through them synchronously, depth first: no promise, no queue and no allocation between two steps.
 *
 * The unit of failure is one invocation of one node: its writes and what it sends count only when it has returned, and what earlier steps
 * did stands. What a failure means is decided in `failure.ts`.
 */
import { unreachable } from '../base/assert.ts'
import { inboxTopic } from '../plan/naming.ts'
import { type Graph, type Node, type NodeId, readsLog } from '../topology/node.ts'
import { KeyedExecutor, type PageWish, PassExecutor, SinkTaker, StepExecutor } from './executors.ts'
import { Failures } from './failures.ts'
import { type Edge, Outlet, type Taker } from './outlet.ts'
import type { Flavour, Rec } from './record.ts'
import { NodeScope } from './scope.ts'
import type { StageParts } from './stage-parts.ts'
import type { StoreState } from './store-state.ts'
import { Tally } from './tally.ts'
import { Waits } from './waits.ts'

export class Interpreter {
  readonly tallies: readonly Tally[]
  /** The invocation that is to be run again after a while, with what stands behind it. While there is one, nothing else may be run. */
  readonly waits: Waits = new Waits()
  /** Executors behind each log. */
  readonly #entries = new Map<NodeId, readonly Edge[]>()
  readonly #takers: ReadonlyMap<NodeId, Taker>
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
    for (const step of stage.steps.toReversed()) {
      const node = byId.get(step) as Node
      const tally = tallies.get(step) as Tally
      const edges = edgesOf(plan.graph, node, (to) => takers.get(to.id) ?? this.#leaves(to, parts, tally, tallies))
      failures.set(step, new Failures(parts, node, tally))
      if (readsLog(node)) {
        this.#entries.set(node.id, edges[0] ?? [])
        continue
      }
      const taker = this.#executor(node, edges, parts, tally, failures.get(step) as Failures)
      if (taker instanceof KeyedExecutor) keyed.push(taker)
      if (taker !== undefined) takers.set(step, taker)
    }
    this.#takers = takers
    this.#keyed = keyed.toReversed()
    this.#failures = failures
    this.tallies = [...tallies.values()]
  }

  #executor(node: Node, edges: readonly (readonly Edge[])[], parts: StageParts, tally: Tally, failures: Failures): Taker | undefined {
    const flavour = parts.flavours.get(node.id) as Flavour
    const topic = topicOfLog(parts)
    switch (node.kind) {
      case 'step': {
        const out = new Outlet(node.id, topic, edges, flavour, false, this.waits)
        return 'keep' in node.does
          ? new PassExecutor(node, node.does.keep, out, tally, failures, this.waits)
          : new StepExecutor(node, node.does.run, out, tally, failures, this.waits)
      }
      case 'keyed': {
        const store = parts.state.stores.find(({ plan }) => plan.name === node.store.name) as StoreState
        const place = { topic, partition: parts.partition }
        return new KeyedExecutor(
          node,
          parts.state,
          new NodeScope(parts.state, store, parts.freeze),
          new Outlet(node.id, topic, edges, flavour, !node.rekeys, this.waits),
          tally,
          failures,
          place,
          flavour,
          this.#pages,
          this.waits,
        )
      }
      case 'sink':
        return new SinkTaker(parts.outbox, node.topic, parts.partitionsOf(node.topic), false, tally, failures, this.waits)
      // A merge is only edges, and a log is read, not run.
      case 'merge':
      case 'source':
      case 'repartition':
        return undefined
      default:
        return unreachable(node)
    }
  }

  /** What leaves the stage for an inbox. What the inbox cannot take is answered as the inbox says. */
  #leaves(to: Node, parts: StageParts, tally: Tally, tallies: Map<NodeId, Tally>): Taker {
    const topic = inboxTopic(parts.plan.app, to.id, parts.inboxGeneration(to.id))
    const own = tallies.get(to.id) ?? new Tally(to.id)
    tallies.set(to.id, own)
    return new SinkTaker(parts.outbox, topic, parts.partitionsOf(topic), true, tally, new Failures(parts, to, own), this.waits)
  }

  /** What stands behind a log: looked up once a batch, for `run`. */
  behind(log: NodeId): readonly Edge[] {
    return this.#entries.get(log) as readonly Edge[]
  }

  /** Runs a record of a log through everything behind it. */
  run(edges: readonly Edge[], rec: Rec, from = 0): void {
    for (let i = from; i < edges.length; i++) {
      const edge = edges[i] as Edge
      edge.to.take(rec, edge.input)
      if (i + 1 < edges.length && this.waits.waiting) {
        this.#runLater(edges, rec, i + 1)
        return
      }
    }
  }

  #runLater(edges: readonly Edge[], rec: Rec, from: number): void {
    this.waits.then(() => this.run(edges, rec, from))
  }

  /** Runs a record through a step and what follows it, as if the steps before it had just let it pass. */
  enter(step: NodeId, rec: Rec): void {
    ;(this.#takers.get(step) as Taker).take(rec, 0)
  }

  /**
   * Answers a record that a log brought and that cannot enter, such as one without an envelope. Where the source says so it is looked at again
   * after a while, and enters if it can then.
   */
  refuse(log: NodeId, rec: Rec, error: unknown, look: () => void, attempt = 1): void {
    if (!(this.#failures.get(log) as Failures).answer(rec, error, attempt)) return
    this.waits.begin(attempt, () => {
      try {
        look()
      } catch (next) {
        this.refuse(log, rec, next, look, attempt + 1)
        return
      }
      this.run(this.behind(log), rec)
    })
  }

  tally(step: NodeId): Tally {
    return this.tallies.find((tally) => tally.step === step) as Tally
  }

  /** Pages that steps asked for while the last record ran. */
  takePages(): PageWish[] {
    return this.#pages.splice(0)
  }

  /** Whether a step asked for a page. */
  get wantsPages(): boolean {
    return this.#pages.length > 0
  }

  /** Wakes what wall time is due for. */
  wakeByWall(now: number, from = 0): void {
    for (const [i, executor] of this.#keyed.entries()) {
      if (i < from) continue
      executor.wakeByWall(now)
      if (!this.waits.waiting) continue
      this.waits.then(() => this.wakeByWall(now, i + 1))
      return
    }
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
