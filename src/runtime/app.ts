/**
 * An application: a topology that runs. It makes the plan, sees that topics and codecs are in place, works in one worker, and answers reads.
 */
import { codeOf, TidemarkError } from '../base/errors.ts'
import { asAgreed, compareLocks, lockOf, type PlanLock, planChanged, refuseContradiction } from '../plan/lock.ts'
import { lockText } from '../plan/lock-text.ts'
import { groupOf } from '../plan/naming.ts'
import type { Plan, PlanFacts } from '../plan/plan.ts'
import { planOf } from '../plan/planner.ts'
import { type PartitionName, partitionName } from '../ports/log.ts'
import type { Telemetry, TelemetryEvent } from '../ports/telemetry.ts'
import type { Graph } from '../topology/node.ts'
import { COMMIT, type CommitProtocol } from './commit.ts'
import { factsKnown, readDecisions, recordPlan } from './decisions.ts'
import { Frontier } from './frontier.ts'
import { type HeldAt, heldByStep } from './held.ts'
import { decodeMeta } from './meta.ts'
import { TM_KEY } from './rows.ts'
import { Stages, specOf } from './stages.ts'
import { stateHash } from './sums.ts'
import type { Task } from './task.ts'
import type { StoreView, View } from './view.ts'
import { viewsOf } from './views.ts'
import { Warmth } from './warmth.ts'
import { Worker } from './worker.ts'
import { DEFAULT_OPTIONS, type RuntimeOptions, type World } from './world.ts'

export interface StartOptions extends Partial<RuntimeOptions> {
  /** The committed plan lock. A plan that it does not announce is refused. */
  readonly lock?: PlanLock | undefined
  /** For the simulator alone: other orders of the commit, to see that they are caught. */
  readonly protocol?: CommitProtocol
}

export class App {
  readonly plan: Plan
  readonly #world: World
  readonly #stages: Stages
  readonly #frontier: Frontier
  readonly #worker: Worker
  readonly #views: ReadonlyMap<string, StoreView>
  readonly #ended: Promise<void>
  /** The tasks that were open when it was closed. */
  #closed: { readonly tasks: readonly Task[] | undefined } | undefined

  private constructor(
    stages: Stages,
    facts: PlanFacts,
    world: World,
    options: RuntimeOptions,
    protocol: CommitProtocol,
    restoring: Map<string, number>,
    warmth: Warmth,
  ) {
    this.plan = stages.plan
    this.#world = world
    this.#stages = stages
    this.#frontier = new Frontier(new Set(stages.plan.topics.filter(({ role }) => role === 'source').map(({ name }) => name)))
    this.#worker = new Worker(world, options, stages, this.#frontier, warmth, protocol)
    this.#views = viewsOf(stages, facts, this.#frontier, {
      now: () => world.clock.now(),
      taskOf: (name) => this.#taskOf(name),
      restoring: (name) => restoring.get(name),
      onFailure: (task, error) => this.#worker.readFailed(task, error),
    })
    this.#ended = this.#worker.run()
  }

  /**
   * Starts an application and resolves when its worker has joined its group; tasks restore behind it.
   * @throws TidemarkError PLAN_REFUSED, PLAN_CHANGED, TOPIC_MISMATCH, SCHEMA_*, LOG_*, STORE_*
   */
  static async start(graph: Graph, world: World, options: StartOptions = {}): Promise<App> {
    const { lock, protocol = COMMIT, ...chosen } = options
    const settings: RuntimeOptions = { ...DEFAULT_OPTIONS, ...chosen }
    const { plan, facts } = await planAgainst(graph, world, lock)
    const restoring = new Map<string, number>()
    const warmth = new Warmth()
    const observed: World = { ...world, telemetry: watching(world.telemetry, restoring, warmth) }
    const stages = await Stages.make(plan, facts, observed, settings)
    await dropReplaced(plan, world)
    return new App(stages, facts, observed, settings, protocol, restoring, warmth)
  }

  #taskOf(name: string): Task | undefined {
    for (const task of this.#worker.tasks) if (task.name === name && task.life.state !== 'closed') return task
    return undefined
  }

  /** @throws TidemarkError VIEW_UNKNOWN */
  view(name: string): View<unknown, unknown, string> {
    const view = this.#views.get(name)
    if (view !== undefined) return view
    throw new TidemarkError('VIEW_UNKNOWN', `there is no view "${name}"`, {
      hint: `Views of "${this.plan.app}" are: ${[...this.#views.keys()].join(', ') || 'none'}.`,
    })
  }

  get views(): readonly string[] {
    return [...this.#views.keys()]
  }

  /** Names of this worker's tasks and how they are; those that are still to be opened are among them. */
  get tasks(): readonly { readonly name: string; readonly state: string }[] {
    return this.#worker.given
  }

  /** Transactions without an end that hold up what this application reads or writes, each as the error that says so. */
  get hanging(): readonly TidemarkError[] {
    return this.#worker.hanging
  }

  /** Records in the sources and inboxes of this worker's tasks that are not committed yet; undefined as long as some partition's end is not known. */
  lag(): number | undefined {
    const given = new Set(this.#worker.given.map(({ name }) => name))
    // What lies in partitions that nobody reads is not known either.
    if ((given.size === 0 && !this.#worker.ready) || this.#frontier.anyBarred) return undefined
    let lag = 0
    for (const { name, inputs, partition } of this.#stages.tasks) {
      if (!given.has(name)) continue
      for (const { topic } of inputs) {
        const known = this.#frontier.lagOf(partitionName(topic, partition))
        if (known === undefined) return undefined
        lag += known
      }
    }
    return lag
  }

  /**
   * What the steps of this worker's tasks hold back, in this run or since an earlier one: for each step that may hold facts, how many it holds, of how
   * many keys, and how many of these are parked, as of the last commits. Undefined as long as some task is not open; after `close`, as it was left.
   */
  held(): readonly HeldAt[] | undefined {
    const tasks = this.#closed === undefined ? this.#open() : this.#closed.tasks
    return tasks === undefined ? undefined : heldByStep(tasks.flatMap(({ held }) => held))
  }

  /** This worker's tasks; undefined as long as some of them is not open. */
  #open(): readonly Task[] | undefined {
    const { given } = this.#worker
    if (given.length === 0 && !this.#worker.ready) return undefined
    const tasks = given.map(({ name }) => this.#taskOf(name)).filter((task) => task !== undefined)
    return tasks.length === given.length ? tasks : undefined
  }

  #partitionsRead(): PartitionName[] {
    return this.#stages.tasks.flatMap((task) => task.inputs.map(({ topic }) => partitionName(topic, task.partition)))
  }

  /** Whether everything in the logs is processed and committed by the group, and this worker's part of it is on disk. */
  async caughtUp(): Promise<boolean> {
    // A task that is not open yet has nothing on its way either, and nothing that can be read.
    if (!this.#worker.ready || !this.#worker.settled || this.#frontier.anyBarred) return false
    const partitions = this.#partitionsRead()
    const { log } = this.#world
    const committed = await log.committed(groupOf(this.plan.app), partitions)
    if (committed === 'unstable') return false
    const ends = await log.offsets(partitions, 'high')
    const starts = await log.offsets(partitions, 'start')
    // Once more: while the log was asked, a commit may have been decided whose rows are not on disk yet.
    if (!this.#worker.ready || !this.#worker.settled) return false
    return partitions.every(
      (partition) => (committed.get(partition) ?? (starts.get(partition) as number)) >= (ends.get(partition) as number),
    )
  }

  /** The state hash of a projection over the tasks of this worker, as of their last commits. */
  stateHash(name: string): string {
    const sums = [...this.#worker.tasks].flatMap((task) => {
      const store = task.parts.stage.stores.find((each) => each.name === name)
      const bytes = store === undefined ? undefined : task.parts.state?.db.get(TM_KEY)
      const meta = bytes === undefined || store === undefined ? undefined : decodeMeta(bytes).stores.get(store.id)
      return meta === undefined ? [] : [meta.sums]
    })
    return stateHash(sums)
  }

  /** Resolves when the application has ended. @throws TidemarkError what ended it, when it did not end by `close` */
  async ended(): Promise<void> {
    await this.#ended
    if (this.#worker.failure !== undefined) throw this.#worker.failure
  }

  /** The first error that stopped a task for good or the whole worker; undefined while all is well. */
  get failure(): TidemarkError | undefined {
    return this.#worker.failure ?? this.#stages.tasks.map((task) => this.#frontier.haltOf(task.name)).find((error) => error !== undefined)
  }

  /** Whether all tasks that the group gave this worker are restored and run. */
  get ready(): boolean {
    return this.#worker.ready
  }

  /** Resolves when the worker runs; rejects when it never will. */
  async running(): Promise<void> {
    await this.#worker.life.reached('running', 'failed', 'closed')
    if (this.#worker.failure !== undefined) throw this.#worker.failure
  }

  /**
   * Finishes what is begun, commits it and lets go of everything. Safe to call twice. A static member of its group is expected back within its
   * session; with `leave` others take over its tasks at once.
   */
  async close({ leave = false }: { readonly leave?: boolean } = {}): Promise<void> {
    // The worker lets go of its tasks, and what they held when it did is still asked for.
    this.#closed ??= { tasks: this.#open() }
    await this.#worker.close({ leave })
    if (this.#worker.failure !== undefined && codeOf(this.#worker.failure) !== 'LOG_CLOSED') throw this.#worker.failure
  }
}

/** The plan of a topology against what exists: topics, earlier generations, earlier numbers of stores. */
export async function planAgainst(
  graph: Graph,
  world: Pick<World, 'log' | 'clock' | 'codecs'>,
  lock: PlanLock | undefined,
): Promise<{ plan: Plan; facts: PlanFacts }> {
  const { log } = world
  const decisions = await readDecisions(log, graph.name)
  const facts = await factsKnown(log, decisions, lock)
  const plan = planOf(graph, facts)
  const next = lockOf(plan)
  refuseContradiction(lock, next)
  if (decisions.plan !== undefined) {
    const recorded = decisions.plan
    const [worst, ...others] = compareLocks(asAgreed(recorded, lock), next).filter(({ effect }) => effect !== 'safe')
    if (worst !== undefined)
      throw planChanged(`the state of "${graph.name}" was made by another plan`, [worst, ...others], { recorded, lock })
  }
  if (decisions.plan === undefined || lockText(decisions.plan) !== lockText(next)) {
    await log.ensure(plan.topics.filter(({ role }) => role === 'decisions').map(specOf))
    const writer = await log.plainWriter()
    await recordPlan(writer, world.codecs, next, world.clock.now())
    await writer.close()
  }
  return { plan, facts }
}

/** Removes state of generations that were replaced by a rebuild elsewhere: nothing goes back to them. */
async function dropReplaced({ app, stages }: Plan, { state }: World): Promise<void> {
  // A disk that cannot even be listed is told of when the tasks are opened.
  for (const id of await state.list(app).catch(() => [])) {
    const live = stages.find(({ name }) => name === id.stage)?.generation
    if (live !== undefined && id.generation < live) await state.destroy(id)
  }
}

/** A telemetry that also remembers how far restores are, for reads that come meanwhile, and for the leader of the group. */
function watching(telemetry: Telemetry, restoring: Map<string, number>, warmth: Warmth): Telemetry {
  return {
    count: (counter, labels, by) => telemetry.count(counter, labels, by),
    event: (event: TelemetryEvent) => {
      if (event.kind === 'restore') {
        restoring.set(event.task, event.records / Math.max(1, event.records + event.left))
        warmth.reached(event.task, event.reached)
      }
      if (event.kind === 'task') restoring.delete(event.task)
      telemetry.event(event)
    },
  }
}
