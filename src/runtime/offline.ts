/**
 * Reading projections beside their application: for tools that export or compare. The same checks are made as at a start, and the state is
 * brought level with its changelog; nothing is processed, published or decided.
 */
import { TidemarkError } from '../base/errors.ts'
import { compareLocks, lockOf } from '../plan/lock.ts'
import { groupOf, rebuildersOf, writersOf } from '../plan/naming.ts'
import type { Plan, StagePlan } from '../plan/plan.ts'
import { planOf } from '../plan/planner.ts'
import type { TaskStore } from '../ports/store.ts'
import type { Graph } from '../topology/node.ts'
import { storeOf } from '../topology/node.ts'
import { factsKnown, readDecisions } from './decisions.ts'
import { codecsOf } from './flavours.ts'
import { openLevel } from './opening.ts'
import { type Page, type PageOptions, pageOf, type Shelf } from './pages.ts'
import type { Flavour } from './record.ts'
import type { RowCodec } from './rows.ts'
import { TOMBSTONE_MS } from './stages.ts'
import type { World } from './world.ts'

/** A projection at rest. */
export interface Resting {
  readonly name: string
  /** Rows whose key's text begins with `prefix`, in the order of their keys' bytes. */
  page(options?: PageOptions): Promise<Page<unknown, unknown>>
  close(): Promise<void>
}

export interface RestingOptions {
  readonly signal?: AbortSignal
  /**
   * Others may run the application meanwhile, with state of their own: nothing of theirs is ended, and what is read is what is decided now, of
   * each partition by itself. Default false: nobody runs it, and what a dead writer has left open is decided first.
   */
  readonly shared?: boolean
}

/**
 * Opens a projection of an application.
 * @throws TidemarkError VIEW_UNKNOWN, TOPIC_UNKNOWN when the application never ran, PLAN_CHANGED, STORE_*, LOG_*
 */
export async function openResting(
  graph: Graph,
  name: string,
  world: World,
  { signal = new AbortController().signal, shared = false }: RestingOptions = {},
): Promise<Resting> {
  const plan = await planAtRest(graph, world)
  const { stage, store, step } = find(plan, name)
  const codecs = await codecsOf(graph, world.serdes)
  const shelf: Shelf = {
    store,
    key: (codecs.flavours.get(step) as Flavour).key,
    codec: codecs.rows.get(step) as RowCodec,
  }
  const stores: TaskStore[] = []
  const close = async (): Promise<void> => {
    for (const each of stores) await each.close()
  }
  try {
    // A writer that died may have left a transaction open: what it wrote is not read before that is decided.
    if (!shared) for (const prefix of [writersOf(graph.name), rebuildersOf(graph.name)]) await world.log.fence(prefix, new Set())
    const upTo = shared ? 'stable' : 'high'
    for (let partition = 0; partition < stage.partitions; partition++)
      stores.push(await open(plan, stage, partition, world, { signal, upTo }))
  } catch (error) {
    await close()
    throw error
  }
  return { name, page: (options = {}) => pageOf(shelf, stores, options), close }
}

/**
 * The plan that the state was made by, which must be the one that the topology has now.
 * @throws TidemarkError TOPIC_UNKNOWN when the application never ran, PLAN_CHANGED
 */
export async function planAtRest(graph: Graph, world: Pick<World, 'log'>): Promise<Plan> {
  const decisions = await readDecisions(world.log, graph.name)
  const recorded = decisions.plan
  if (recorded === undefined) {
    throw new TidemarkError('TOPIC_UNKNOWN', `"${graph.name}" has not run here yet, so there is nothing to read`, {
      hint: 'Start it first, or name the folder that it ran in (--dir).',
    })
  }
  const plan = planOf(graph, await factsKnown(world.log, decisions, undefined))
  const harmful = compareLocks(recorded, lockOf(plan)).filter(({ effect }) => effect !== 'safe')
  if (harmful.length === 0) return plan
  throw new TidemarkError('PLAN_CHANGED', `the state of "${graph.name}" was made by another plan`, {
    detail: harmful.map(({ what }) => `- ${what}`).join('\n'),
    hint: `Start it once as it is now, with a plan lock that says what was meant: then its state can be read. ${(harmful[0] as { then: string }).then}`,
  })
}

function find(plan: Plan, name: string): { stage: StagePlan; store: number; step: string } {
  const views = plan.stages.flatMap((stage) =>
    stage.stores
      .filter(({ kind, step }) => kind === 'rows' && plan.graph.nodes.some((node) => node.id === step && storeOf(node)?.view !== undefined))
      .map((store) => ({ stage, store: store.id, step: store.step, name: store.name })),
  )
  const found = views.find((view) => view.name === name)
  if (found !== undefined) return found
  throw new TidemarkError('VIEW_UNKNOWN', `there is no view "${name}"`, {
    hint: `Views of "${plan.app}" are: ${views.map((view) => view.name).join(', ') || 'none'}.`,
  })
}

async function open(
  plan: Plan,
  stage: StagePlan,
  partition: number,
  world: World,
  how: { readonly signal: AbortSignal; readonly upTo: 'high' | 'stable' },
): Promise<TaskStore> {
  const { app } = plan
  const changelog = stage.changelog as string
  const [topic] = await world.log.describe([changelog])
  if (topic === undefined)
    throw new TidemarkError('TOPIC_UNKNOWN', `changelog "${changelog}" does not exist`, { hint: 'Start the application once.' })
  const parts = {
    app,
    graph: plan.graph,
    group: groupOf(app),
    stage,
    partition,
    inputs: [],
    guarantee: 'exactly-once' as const,
    tombstoneMs: TOMBSTONE_MS,
    changelogId: topic.id,
    inputIds: new Map(),
    ...how,
  }
  const { db } = await openLevel({ app, stage: stage.name, generation: stage.generation, partition }, parts, world)
  return db
}
