/** A plan made ready to run on a world: topics in place, codecs made, and a way to open each task. Shared by all workers of an application. */
import { invariant } from '../base/assert.ts'
import { TidemarkError } from '../base/errors.ts'
import { sha256Hex128 } from '../base/sha256.ts'
import { groupOf, inboxTopic } from '../plan/naming.ts'
import type { Plan, PlanFacts, StagePlan } from '../plan/plan.ts'
import { type TaskPlan, tasksOf, topicRead } from '../plan/tasks.ts'
import { type PartitionName, partitionName, type TopicDescription, type TopicSpec } from '../ports/log.ts'
import { type Node, storeOf } from '../topology/node.ts'
import { entryOf } from './entry.ts'
import { type Codecs, codecsOf } from './flavours.ts'
import { Heard, type Way, type Ways, wayThrough } from './heard.ts'
import { Input } from './input.ts'
import { Interpreter } from './interpreter.ts'
import { type Opened, openTask } from './opening.ts'
import { Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import { holdingOf, parkedFormat } from './parking.ts'
import { Progress } from './progress.ts'
import type { Flavour } from './record.ts'
import { Sealer } from './seal.ts'
import { ROOM_OF_ONE, type Room } from './slots.ts'
import type { StageParts } from './stage-parts.ts'
import { TaskState } from './state.ts'
import { StoreState } from './store-state.ts'
import { Task, type TaskStatus } from './task.ts'
import { Variety } from './variety.ts'
import type { RuntimeOptions, World } from './world.ts'

/** Tombstones of changelogs are kept so long: a disk that slept longer is restored from the beginning. */
export const TOMBSTONE_MS: number = 7 * 86_400_000
/** A stage tells the inboxes that it feeds how far it is, so often at most. */
const PROGRESS_MS = 1_000

/**
 * The topic as a driver is asked for it. Sources are their contexts', and what is written to a topic is for others to keep; everything else is
 * what this application's state and its rebuilds are made from.
 */
export function specOf(topic: Plan['topics'][number]): TopicSpec {
  const { name, role, partitions, cleanup, retentionMs } = topic
  const owner = role === 'source' || role === 'sink' ? 'theirs' : 'ours'
  return cleanup === 'compact'
    ? { name, owner, partitions, cleanup, retentionMs, tombstoneMs: TOMBSTONE_MS }
    : { name, owner, partitions, cleanup, retentionMs }
}

export class Stages {
  readonly plan: Plan
  readonly group: string
  readonly planHash: string
  readonly tasks: readonly TaskPlan[]
  readonly deadTopics: ReadonlySet<string>
  readonly codecs: Codecs
  /** One for all tasks: what is opened again counts on under the names that there are. */
  readonly variety: Variety = new Variety()
  readonly #world: World
  readonly #options: RuntimeOptions
  readonly #facts: PlanFacts
  readonly #topics: ReadonlyMap<string, TopicDescription>
  /** What each task may keep in memory. */
  readonly #room: Room
  readonly #pace: Pace

  private constructor(
    plan: Plan,
    facts: PlanFacts,
    world: World,
    options: RuntimeOptions,
    codecs: Codecs,
    topics: readonly TopicDescription[],
    group: string,
  ) {
    this.plan = plan
    this.group = group
    this.planHash = sha256Hex128(JSON.stringify([plan.app, plan.stages, plan.topics]))
    this.tasks = tasksOf(plan, facts)
    this.deadTopics = new Set(plan.topics.filter(({ role }) => role === 'dead').map(({ name }) => name))
    this.codecs = codecs
    this.#world = world
    this.#options = options
    this.#facts = facts
    this.#pace = new Pace(world.clock)
    this.#topics = new Map(topics.map((topic) => [topic.name, topic]))
    const { cacheKeys, cacheKeysFirst, cacheKeysShared } = options
    this.#room = { first: Math.min(cacheKeysFirst, cacheKeys), most: cacheKeys, shared: { left: cacheKeysShared } }
  }

  /**
   * @param group whose positions say how far the stages are
   * @throws TidemarkError TOPIC_MISMATCH, SCHEMA_*
   */
  static async make(
    plan: Plan,
    facts: PlanFacts,
    world: World,
    options: RuntimeOptions,
    group: string = groupOf(plan.app),
  ): Promise<Stages> {
    const [codecs, topics] = await Promise.all([codecsOf(plan.graph, world.serdes), world.log.ensure(plan.topics.map(specOf))])
    return new Stages(plan, facts, world, options, codecs, topics, group)
  }

  topicId(topic: string): string {
    return (this.#topics.get(topic) as TopicDescription).id
  }

  partitionsOf(topic: string): number {
    const described = this.#topics.get(topic)
    if (described === undefined) throw new TidemarkError('TOPIC_UNKNOWN', `topic "${topic}" is not in the plan`)
    return described.partitions
  }

  /** Topics that come from outside, with the partitions that they were planned with. */
  get sources(): ReadonlyMap<string, number> {
    return new Map(this.plan.topics.flatMap(({ role, name }) => (role === 'source' ? [[name, this.partitionsOf(name)]] : [])))
  }

  /** Where the application reads, and where it writes what must be decided to be read. */
  get partitions(): { readonly inputs: PartitionName[]; readonly written: PartitionName[] } {
    const inputs = this.tasks.flatMap((task) => task.inputs.map(({ topic }) => partitionName(topic, task.partition)))
    const changelogs = this.tasks.flatMap(({ stage, partition }) =>
      stage.changelog === undefined ? [] : [partitionName(stage.changelog, partition)],
    )
    const outputs = this.plan.topics
      .filter(({ role }) => role === 'sink' || role === 'state')
      .flatMap(({ name }) => Array.from({ length: this.partitionsOf(name) }, (_, number) => partitionName(name, number)))
    return { inputs, written: [...changelogs, ...outputs] }
  }

  node(step: string): Node {
    return this.plan.graph.nodes.find((node) => node.id === step) as Node
  }

  /** Opens a task: its disk is brought level with its changelog, and it stands where the last commit left it. */
  async open(task: TaskPlan, signal: AbortSignal, listener: (status: TaskStatus) => void): Promise<Task> {
    const { stage, partition } = task
    const { plan } = this
    return openTask(
      {
        app: plan.app,
        graph: plan.graph,
        group: this.group,
        stage,
        partition,
        guarantee: this.#options.guarantee,
        tombstoneMs: TOMBSTONE_MS,
        signal,
        pace: this.#pace,
        inputs: task.inputs.map(({ topic }) => partitionName(topic, partition)),
        changelogId: stage.changelog === undefined ? '' : this.topicId(stage.changelog),
        inputIds: new Map(task.inputs.map(({ topic }) => [topic, this.topicId(topic)])),
      },
      this.#world,
      (opened) => this.#ready(task, opened, listener),
    )
  }

  /** Executors of a stage over no state, for records that only meet steps that keep nothing. */
  detached(stage: StagePlan, partition: number, outbox: Outbox): Interpreter {
    return new Interpreter(this.#partsOf(stage, partition, stateless(this.#stores(stage)), outbox))
  }

  /** A task over a disk that is level with its changelog. */
  async #ready(task: TaskPlan, opened: Opened, listener: (status: TaskStatus) => void): Promise<Task> {
    const { stage, partition } = task
    const { plan } = this
    const { db, checkpoint, meta, positions, committed } = opened
    const outbox = new Outbox(this.#world.codecs)
    const state = db === undefined ? undefined : new TaskState(db, this.#stores(stage), this.#room)
    if (state !== undefined && meta !== undefined) {
      for (const store of state.stores) {
        const known = meta.stores.get(store.plan.id)
        if (known !== undefined) store.resume(known)
      }
      await state.loadTimers()
      await state.countHeld()
    }
    await this.#prepareSchemas(stage, meta?.schemas ?? [])
    const progress = new Progress(
      stage.inboxes.map((step) => this.#inbox(step)),
      PROGRESS_MS,
    )
    const interpreter = new Interpreter(this.#partsOf(stage, partition, state ?? stateless(), outbox))
    const inputs = task.inputs.map(({ topic, step }) => {
      const name = partitionName(topic, partition)
      const node = this.node(step)
      const parts = {
        partition: name,
        topic,
        topicId: this.topicId(topic),
        number: partition,
        log: step,
        flavour: this.codecs.flavours.get(step) as Flavour,
        entry:
          node.kind === 'source' && node.contract !== undefined
            ? entryOf(node.contract, this.partitionsOf(topic), interpreter.tally(step), this.variety)
            : undefined,
      }
      const heard = node.kind === 'repartition' ? new Heard(this.waysInto(step), meta?.heard.get(name)) : undefined
      return new Input(parts, positions.get(name) as number, meta?.recorded.get(name), heard)
    })
    const sealer =
      state === undefined ? undefined : new Sealer(state, outbox, this.#world.codecs, plan.app, partition, this.codecs.flavours)
    const schemas = new Set(meta?.schemas)
    const { clock, random } = this.#world
    const around = { clock, random, reached: checkpoint?.next }
    return new Task({ stage, partition, inputs, interpreter, outbox, state, sealer, schemas, progress, committed, ...around }, listener)
  }

  /** All ways by which facts come from their sources into an inbox. */
  waysInto(inbox: string): Ways {
    const ways = new Map<PartitionName, Way[]>()
    const add = (source: PartitionName, way: Way): void => void ways.set(source, [...(ways.get(source) ?? []), way])
    for (const stage of this.plan.stages) {
      if (!stage.inboxes.includes(inbox)) continue
      for (const log of stage.logs) {
        for (const partition of this.#partitionsRead(log)) {
          if (this.node(log).kind === 'source') add(partition, partition)
          else for (const source of this.waysInto(log).keys()) add(source, wayThrough(partition, source))
        }
      }
    }
    return ways
  }

  #partitionsRead(log: string): PartitionName[] {
    const topic = topicRead(this.plan.app, this.plan.graph, log, this.#facts)
    return Array.from({ length: this.partitionsOf(topic) }, (_, partition) => partitionName(topic, partition))
  }

  #inbox(step: string): { topic: string; partitions: number } {
    const topic = inboxTopic(this.plan.app, step, this.#facts.generationOf('inbox', step))
    return { topic, partitions: this.partitionsOf(topic) }
  }

  #stores(stage: StagePlan): StoreState[] {
    return stage.stores.map((store, index) => {
      if (store.kind === 'parked')
        return new StoreState(store, undefined, index, { kind: 'format', format: parkedFormat, view: false }, holdingOf)
      const node = this.node(store.step)
      const spec = storeOf(node)
      const codec = this.codecs.rows.get(store.step)
      invariant(codec !== undefined && spec !== undefined, `step "${store.step}" has a store without rows`)
      return new StoreState(store, spec, index, codec, node.kind === 'keyed' ? node.holding : undefined)
    })
  }

  /** Records that a step kept are decoded long after their batch: the schemas that they were written with must be known by then. */
  async #prepareSchemas(stage: StagePlan, ids: readonly number[]): Promise<void> {
    for (const step of stage.steps) {
      const codec = this.codecs.flavours.get(step)?.value
      const unknown = codec === undefined ? [] : ids.filter((id) => !codec.knows(id))
      if (unknown.length > 0) await codec?.prepare(unknown)
    }
  }

  #partsOf(stage: StagePlan, partition: number, state: TaskState, outbox: Outbox): StageParts {
    return {
      plan: this.plan,
      stage,
      partition,
      state,
      outbox,
      flavours: this.codecs.flavours,
      planHash: this.planHash,
      variety: this.variety,
      freeze: this.#options.freezeRows,
      partitionsOf: (topic) => this.partitionsOf(topic),
      inboxGeneration: (step) => this.#facts.generationOf('inbox', step),
      unknownEvents: () => (stage.logs.some((log) => this.node(log).emits.language?.unknownEvents === 'ignore') ? 'ignore' : 'dead-letter'),
      now: () => this.#world.clock.now(),
    }
  }
}

/** A state with nothing in it, over no disk. */
function stateless(stores: readonly StoreState[] = []): TaskState {
  const nothing = {
    get: () => undefined,
    range: () => Promise.resolve([]),
    write: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
  return new TaskState(nothing, stores, ROOM_OF_ONE)
}
