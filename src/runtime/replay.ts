/**
 * Replay: a projection made again from its log into its next generation, beside the live one, which nobody runs meanwhile. The same records
 * go through the same interpreter up to exactly where the live generation stands; then both are compared by state hash, and the switch to the
 * new one is one transaction. Nothing but state is written, and dead letters of the new generation: what the live run published, it has
 * published.
 */
import { TidemarkError } from '../base/errors.ts'
import { asAgreed, compareLocks, lockOf, type PlanLock, planChanged, refuseContradiction } from '../plan/lock.ts'
import { changelogTopic, groupOf, rebuilderId, rebuildersOf, rebuildGroup, writersOf } from '../plan/naming.ts'
import type { PlanFacts, StagePlan } from '../plan/plan.ts'
import { planOf } from '../plan/planner.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import { type Identity, type Positions, topicPartition, type Writer } from '../ports/log.ts'
import type { Graph } from '../topology/node.ts'
import { alone } from './alone.ts'
import { commitAlone, failing, loading } from './commit-alone.ts'
import { factsKnown, readDecisions, recordGeneration, recordPlan } from './decisions.ts'
import { decodeMeta } from './meta.ts'
import { openLevel } from './opening.ts'
import { afterPrefix, storePrefix, TM_KEY } from './rows.ts'
import { Stages, TOMBSTONE_MS } from './stages.ts'
import { type Sums, stateHash } from './sums.ts'
import type { Task } from './task.ts'
import { DEFAULT_OPTIONS, type World } from './world.ts'

export interface ReplayOptions {
  /** Switch when the rebuilt projection equals the live one (default), whatever came out, or not at all. */
  readonly switch?: 'equal' | 'always' | 'never'
  readonly signal?: AbortSignal
  /** The committed plan lock: what it renames and gives up besides is no obstacle. */
  readonly lock?: PlanLock | undefined
  /** Others may have state of the application elsewhere, and could run it: they are kept out. Default false: the log is this process's alone. */
  readonly shared?: boolean
  readonly onProgress?: (progress: { readonly partition: number; readonly done: number; readonly total: number }) => void
}

export interface Replayed {
  readonly stage: string
  readonly generation: { readonly live: number; readonly rebuilt: number }
  readonly records: number
  /** Of every projection of the stage. */
  readonly projections: readonly {
    readonly name: string
    readonly live: string
    readonly rebuilt: string
    readonly equal: boolean
    readonly rows: number
  }[]
  readonly equal: boolean
  readonly switched: boolean
  /**
   * Stores of the stage whose state was given up while the live generation was live, as the lock names them, or by number where it does not. What
   * took their place began empty there and knows no fact from before, and in the rebuilt generation it has seen all of them.
   */
  readonly givenUp: readonly string[]
}

/** How far the live generation of a partition is, and what it holds. */
interface Live {
  readonly positions: Positions
  readonly sums: ReadonlyMap<number, Sums>
  /** Numbers of stores that were given up, and have rows here. */
  readonly leftBehind: readonly number[]
}

const COMMIT_RECORDS = 50_000
const FETCH_BYTES = 8 * 1024 * 1024

/**
 * @throws TidemarkError VIEW_UNKNOWN, PLAN_REFUSED, PLAN_CHANGED (for state outside the stage), POSITION_GAP (the log no longer reaches back),
 *   APP_RUNNING
 */
export async function replay(graph: Graph, projection: string, world: World, options: ReplayOptions = {}): Promise<Replayed> {
  const { signal = new AbortController().signal, shared = false } = options
  if (!shared) return await rebuild(graph, projection, world, { ...options, signal }, undefined)
  return await alone(graph.name, world.log, signal, async (guard) => {
    // Nobody else is left, so what is open belongs to the dead. What they wrote is not read before that is decided.
    for (const prefix of [writersOf(graph.name), rebuildersOf(graph.name)]) await world.log.fence(prefix, new Set())
    return await rebuild(graph, projection, world, { ...options, signal: guard.signal }, guard.identity)
  })
}

async function rebuild(
  graph: Graph,
  projection: string,
  world: World,
  options: ReplayOptions & { readonly signal: AbortSignal },
  identity: Identity | undefined,
): Promise<Replayed> {
  const { signal, lock } = options
  const decisions = await readDecisions(world.log, graph.name)
  const known = await factsKnown(world.log, decisions, lock)
  const stage = stageOf(graph, projection, known)
  const live = await Promise.all(
    Array.from({ length: stage.partitions }, (_, partition) => liveState(graph, stage, partition, world, signal)),
  )

  await dropDead(graph.name, stage, world)
  const generation = await freeGeneration(graph.name, stage, world)
  const facts: PlanFacts = {
    ...known,
    generationOf: (kind, name) => (kind === 'stage' && name === stage.name ? generation : known.generationOf(kind, name)),
  }
  const plan = planOf(graph, facts)
  refuseContradiction(lock, lockOf(plan))
  if (decisions.plan !== undefined) refuseOtherChanges({ recorded: decisions.plan, lock }, lockOf(plan), stage)
  const stages = await Stages.make(plan, facts, world, DEFAULT_OPTIONS, rebuildGroup(graph.name, stage.name, generation))

  const writer = await world.log.writer(rebuilderId(graph.name, stage.name))
  let records = 0
  const rebuilt: ReadonlyMap<number, Sums>[] = []
  try {
    for (const task of stages.tasks.filter((each) => each.stage.name === stage.name)) {
      const { done, sums } = await refold(stages, task, live[task.partition] as Live, writer, world, options, signal)
      records += done
      rebuilt.push(sums)
    }
    const projections = stage.stores
      .filter((store) => store.kind === 'rows' && isView(graph, store.step))
      .map(({ id, name }) =>
        compared(
          name,
          live.map(({ sums }) => sums.get(id)),
          rebuilt.map((sums) => sums.get(id)),
        ),
      )
    const equal = projections.every((each) => each.equal)
    const wanted = options.switch ?? 'equal'
    const switched = wanted === 'always' || (wanted === 'equal' && equal)
    if (switched) {
      await recordGeneration(writer, world.codecs, graph.name, stage.name, generation, world.clock.now())
      await recordPlan(writer, world.codecs, lockOf(plan), world.clock.now())
      // Where others could run it, positions that stay as they are make the log refuse the switch, should somebody have come.
      const positions = new Map(live.flatMap((each) => [...each.positions]))
      const guarded = identity === undefined ? [] : [{ group: groupOf(graph.name), identity, positions }]
      const outcome = await writer.commit(guarded)
      if (outcome.kind !== 'committed') throw outcome.error
    }
    await discard(graph.name, stage, switched ? stage.generation : generation, world)
    const generations = { live: stage.generation, rebuilt: generation }
    return { stage: stage.name, generation: generations, records, projections, equal, switched, givenUp: givenUpIn(stage, live, lock) }
  } finally {
    await writer.close()
  }
}

/**
 * Rows of what was given up stay where they are for good, so a generation that has some has lived through it; one that was rebuilt since has none,
 * and then nothing that differs comes of it.
 */
function givenUpIn(stage: StagePlan, live: readonly Live[], lock: PlanLock | undefined): string[] {
  const numbers = new Set(live.flatMap(({ leftBehind }) => leftBehind))
  if (numbers.size === 0) return []
  const named = (lock?.givenUp ?? []).filter((entry) => entry.startsWith(`${stage.name}/`))
  return named.length > 0 ? named : [...numbers].sort((a, b) => a - b).map((number) => `${stage.name}, store number ${number}`)
}

function isView(graph: Graph, step: string): boolean {
  const node = graph.nodes.find((each) => each.id === step)
  return node?.kind === 'keyed' && node.store.view !== undefined
}

function stageOf(graph: Graph, projection: string, facts: PlanFacts): StagePlan {
  const plan = planOf(graph, facts)
  const views = plan.stages.flatMap((stage) =>
    stage.stores.filter((store) => isView(graph, store.step)).map((store) => ({ stage, name: store.name })),
  )
  const found = views.find(({ name }) => name === projection)
  if (found !== undefined) return found.stage
  throw new TidemarkError('VIEW_UNKNOWN', `there is no projection "${projection}"`, {
    hint: `Projections of "${graph.name}" are: ${views.map(({ name }) => name).join(', ')}.`,
  })
}

/** State of other stages must be what the plan says: only this one is being made again. */
function refuseOtherChanges(
  { recorded, lock }: { readonly recorded: PlanLock; readonly lock: PlanLock | undefined },
  after: PlanLock,
  stage: StagePlan,
): void {
  const before = asAgreed(recorded, lock)
  const own = new Set(Object.entries(before.stores).flatMap(([name, store]) => (store.stage === stage.name ? [name] : [])))
  const others = { ...before, stores: Object.fromEntries(Object.entries(before.stores).filter(([name]) => !own.has(name))) }
  const [worst, ...more] = compareLocks(others, after).filter(({ effect }) => effect !== 'safe')
  if (worst !== undefined)
    throw planChanged('more has changed than the projection that is to be rebuilt', [worst, ...more], { recorded, lock })
}

/** The first generation that nothing was ever written under: what an interrupted replay left is never built upon. */
async function freeGeneration(app: string, stage: StagePlan, world: World): Promise<number> {
  for (let generation = stage.generation + 1; ; generation++) {
    if ((await world.log.describe([changelogTopic(app, stage.name, generation)])).length === 0) return generation
  }
}

/** State of generations that are not live: a replay that was killed left it, be it before its switch or between the switch and the end. */
async function dropDead(app: string, { name, generation }: StagePlan, world: World): Promise<void> {
  for (const id of await world.state.list(app)) if (id.stage === name && id.generation !== generation) await world.state.destroy(id)
}

async function liveState(graph: Graph, stage: StagePlan, partition: number, world: World, signal: AbortSignal): Promise<Live> {
  const app = graph.name
  const changelog = stage.changelog as string
  const [topic] = await world.log.describe([changelog])
  if (topic === undefined)
    throw new TidemarkError('TOPIC_UNKNOWN', `"${app}" has not run yet: there is nothing to rebuild`, { hint: 'Start it first.' })
  const id = { app, stage: stage.name, generation: stage.generation, partition }
  const parts = {
    app,
    graph,
    group: app,
    stage,
    partition,
    inputs: [],
    guarantee: 'exactly-once' as const,
    tombstoneMs: TOMBSTONE_MS,
    changelogId: topic.id,
    inputIds: new Map(),
    signal,
  }
  const { db } = await openLevel(id, parts, world)
  try {
    const bytes = db.get(TM_KEY)
    if (bytes === undefined) return { positions: new Map(), sums: new Map(), leftBehind: [] }
    const meta = decodeMeta(bytes)
    const leftBehind: number[] = []
    for (const number of stage.spent) {
      const prefix = storePrefix(number)
      if ((await db.range({ from: prefix, to: afterPrefix(prefix), limit: 1 })).length > 0) leftBehind.push(number)
    }
    return { positions: meta.positions, sums: new Map([...meta.stores].map(([store, { sums }]) => [store, sums])), leftBehind }
  } finally {
    await db.close()
  }
}

/** Runs one partition of the log through the stage, up to where the live generation stands. */
async function refold(
  stages: Stages,
  plan: TaskPlan,
  live: Live,
  writer: Writer,
  world: World,
  options: ReplayOptions,
  signal: AbortSignal,
): Promise<{ done: number; sums: ReadonlyMap<number, Sums> }> {
  const task = await stages.open(plan, signal, () => {})
  const reader = world.log.reader('committed')
  let done = 0
  try {
    task.life.to('running')
    for (const input of task.parts.inputs) input.until = live.positions.get(input.parts.partition) ?? input.position
    const total = task.parts.inputs.reduce((sum, { until, position }) => sum + Math.max(0, until - position), 0)
    reader.assign(new Map(task.parts.inputs.map(({ parts, position }) => [parts.partition, position])))
    let uncommitted = 0
    while (task.parts.inputs.some(({ position, until }) => position < until)) {
      signal.throwIfAborted()
      for (const fetched of await reader.poll({ bytes: FETCH_BYTES, waitMs: 100, signal })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') throw gone(fetched.partition, fetched.logStart)
        task.take(fetched.partition, fetched.batches, fetched.next, fetched.high)
      }
      while (task.busy) {
        if (task.pending !== undefined) await loading(task)
        const ran = failing(() => task.run(COMMIT_RECORDS))
        done += ran
        uncommitted += ran
        if (uncommitted < COMMIT_RECORDS) continue
        await commitTask(stages, task, writer, world)
        uncommitted = 0
        options.onProgress?.({ partition: plan.partition, done, total })
      }
    }
    await commitTask(stages, task, writer, world)
    options.onProgress?.({ partition: plan.partition, done, total })
    return { done, sums: new Map((task.parts.state?.stores ?? []).map((store) => [store.plan.id, store.sums])) }
  } finally {
    await reader.close()
    await task.close()
  }
}

/**
 * State and positions only: outputs were written by the run that is being repeated. What fails again is noted under the new generation, whose
 * letters would else be the only ones that nobody hears of.
 */
async function commitTask(stages: Stages, task: Task, writer: Writer, world: World): Promise<void> {
  const sealed = failing(() => task.seal(world.clock.now(), () => undefined))
  const outputs = sealed.outputs.filter(({ partition }) => stages.deadTopics.has(topicPartition(partition).topic))
  await commitAlone(stages, { ...sealed, outputs }, writer, world)
}

function compared(
  name: string,
  live: readonly (Sums | undefined)[],
  rebuilt: readonly (Sums | undefined)[],
): Replayed['projections'][number] {
  const known = (all: readonly (Sums | undefined)[]): Sums[] => all.filter((sums) => sums !== undefined)
  const before = stateHash(known(live))
  const after = stateHash(known(rebuilt))
  return { name, live: before, rebuilt: after, equal: before === after, rows: known(rebuilt).reduce((sum, sums) => sum + sums.rows, 0) }
}

async function discard(app: string, stage: StagePlan, generation: number, world: World): Promise<void> {
  for (let partition = 0; partition < stage.partitions; partition++)
    await world.state.destroy({ app, stage: stage.name, generation, partition })
}

function gone(partition: string, logStart: number): TidemarkError {
  return new TidemarkError('POSITION_GAP', `the beginning of ${partition} is gone`, {
    detail: `It begins at ${logStart} now.`,
    hint: 'A projection can only be rebuilt from a log that still has everything. Put an inbox, which is kept for ever, before it.',
  })
}
