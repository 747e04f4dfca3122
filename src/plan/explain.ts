/**
 * A plan in words and as JSON, one section a pass: what a newcomer reads to learn what will run, and what a program compares.
 * Stable: the same plan gives the same text.
 */
import { describe } from '../topology/describe.ts'
import { type Node, readsLog, storeOf } from '../topology/node.ts'
import type { CoPartitioning, KeyedBy, Plan, PlanFacts, StagePlan, TopicPlan, TopicRole } from './plan.ts'
import { subTopologies } from './subtopologies.ts'
import { type TaskPlan, tasksOf, topicRead } from './tasks.ts'

/** The passes, in their order. */
export const SECTIONS = ['topology', 'subtopologies', 'stages', 'co-partitioning', 'topics', 'stores', 'tasks'] as const
export type Section = (typeof SECTIONS)[number]

type Facts = Pick<PlanFacts, 'generationOf'>

/**
 * Some sections of a plan, all by default.
 * @example explain(planOf(retail.graph), NOTHING_KNOWN, ['topics'])
 */
export function explain(plan: Plan, facts: Facts, sections: readonly Section[] = SECTIONS): string {
  const all = sections.length === SECTIONS.length
  const parts = sections.map((section) => {
    const { title, about, lines } = TEXTS[section](plan, facts)
    return [`${title}: ${about}`, ...lines.map((line) => (line === '' ? '' : `  ${line}`))].join('\n')
  })
  if (all) parts.unshift(summary(plan, facts))
  if (all && plan.warnings.length > 0) parts.push(['Warnings', ...plan.warnings.map((warning) => `  ${warning}`)].join('\n'))
  return `${parts.join('\n\n')}\n`
}

/** The same as data. */
export function explainJson(plan: Plan, facts: Facts, sections: readonly Section[] = SECTIONS): Readonly<Record<string, unknown>> {
  const described: Record<string, unknown> = { app: plan.app }
  for (const section of sections) described[section] = DATA[section](plan, facts)
  return { ...described, warnings: plan.warnings }
}

/** One line: how large it is. */
export function summary(plan: Plan, facts: Facts): string {
  const stores = plan.stages.reduce((sum, stage) => sum + stage.stores.length, 0)
  return `${plan.app}: ${[
    count(plan.graph.nodes.length, 'step'),
    count(plan.stages.length, 'stage'),
    count(plan.topics.length, 'topic'),
    count(stores, 'store'),
    count(tasksOf(plan, facts).length, 'task'),
  ].join(', ')}`
}

interface Text {
  readonly title: string
  readonly about: string
  readonly lines: readonly string[]
}

const TEXTS: Readonly<Record<Section, (plan: Plan, facts: Facts) => Text>> = {
  topology: (plan) => ({
    title: 'Topology',
    about: 'every step with its name, and what it reads ("<-").',
    lines: describe(plan.graph).split('\n'),
  }),
  subtopologies: (plan) => ({
    title: 'Sub-topologies',
    about: 'the graph, cut where records go through a topic. What stays connected runs together, in memory.',
    lines: subTopologies(plan.graph).map(({ nodes, inboxes }, i) => {
      const writes =
        inboxes.length === 0 ? '' : `; it writes ${inboxes.length === 1 ? 'inbox' : 'inboxes'} ${inboxes.map(({ id }) => id).join(', ')}`
      return `${i + 1}. ${nodes.map(({ id }) => id).join(', ')}${writes}`
    }),
  }),
  stages: (plan, facts) => ({
    title: 'Stages',
    about: 'what lies between two recorded logs, and how it can be made again.',
    lines: plan.stages.flatMap((stage, i) => [...(i === 0 ? [] : ['']), ...stageLines(plan, stage, facts)]),
  }),
  'co-partitioning': (plan, facts) => ({
    title: 'Co-partitioning',
    about: 'inputs that must have equal partition counts, so that one task sees all records of a key. No step changes the key on the way.',
    lines: plan.coPartitioning.flatMap(({ stage, groups }) => groups.flatMap((group) => groupLines(plan, stage, group, facts))),
  }),
  topics: (plan) => ({
    title: 'Topics',
    about: 'every topic that is read or written; those that are missing are made at the start.',
    lines: columns(
      byRole(plan.topics).map(({ name, role, partitions, cleanup, retentionMs, step }) => [
        role,
        name,
        count(partitions, 'partition'),
        keptHow(cleanup, retentionMs),
        ROLES[role](step ?? ''),
      ]),
    ),
  }),
  stores: (plan) => ({
    title: 'Stores',
    about: 'what steps remember, by key. A number stays with its name for good: rows lie under it.',
    lines: columns(
      plan.stages.flatMap((stage) =>
        stage.stores.map((store) => [`${store.id}`, store.name, `in stage ${stage.name}`, storeAbout(plan, store.step, store.kind)]),
      ),
    ),
  }),
  tasks: (plan, facts) => ({
    title: 'Tasks',
    about: 'a stage on one partition; the unit that moves between workers.',
    lines: columns(
      plan.stages.flatMap((stage) =>
        taskLines(
          stage,
          tasksOf(plan, facts).filter((task) => task.stage === stage),
        ),
      ),
    ),
  }),
}

function stageLines(plan: Plan, stage: StagePlan, facts: Facts): string[] {
  const views = viewsOf(plan, stage)
  const written = topicsWritten(plan, stage)
  const lines = [
    `${stage.name}: ${stage.class === 'fold' ? 'a fold' : 'an ingest'} stage of generation ${stage.generation}, in ${count(stage.partitions, 'task')}.`,
  ]
  lines.push(`  reads   ${stage.logs.map((log) => topicRead(plan.app, plan.graph, log, facts)).join(', ')}`)
  lines.push(`  runs    ${stage.steps.join(', ')}`)
  if (written.length > 0) lines.push(`  writes  ${written.join(', ')}`)
  const dead = plan.topics.filter(({ role, step }) => role === 'dead' && step !== undefined && stage.steps.includes(step)).length
  if (dead > 0) lines.push(`  aside   records that fail, as they came, into ${count(dead, 'dead-letter topic')}, one a step`)
  if (stage.stores.length > 0)
    lines.push(`  keeps   ${stage.stores.map(({ id, name }) => `${name} (store ${id})`).join(', ')}; every change is in ${stage.changelog}`)
  if (stage.class === 'fold')
    lines.push(
      '  again   It reads one log, and nothing else decides: reading that log again gives the same rows, byte for byte.',
      ...views.map((view) => `          Made again and compared by: tidemark replay ${view}`),
    )
  else lines.push('  again   What it decides is recorded in what it writes, so nothing behind it depends on when it ran.')
  return lines
}

function groupLines(plan: Plan, stage: string, { logs, partitions, because }: Group, facts: Facts): string[] {
  const named = (steps: readonly string[]): string => steps.map((log) => topicRead(plan.app, plan.graph, log, facts)).join(', ')
  const counted = `${count(partitions, 'partition')}${logs.length > 1 ? ' each' : ''}`
  if (because.length === 0) return [`${stage}: ${named(logs)}, ${counted}`, '  Nothing is kept by its keys, so it may have any count.']
  const why = because.map(({ step, keeps, reads }) => [step, `keeps ${KEPT[keeps]} by the keys of ${named(reads)}`])
  return [`${stage}: ${named(logs)}, ${counted}`, ...columns(why).map((line) => `  ${line}`)]
}

type Group = CoPartitioning['groups'][number]
const KEPT: Readonly<Record<KeyedBy['keeps'], string>> = { rows: 'rows', parked: 'records that failed, and those behind them,' }

function viewsOf(plan: Plan, stage: StagePlan): string[] {
  return plan.graph.nodes.filter((node) => stage.steps.includes(node.id) && storeOf(node)?.view !== undefined).map(({ id }) => id)
}

/** Topics that a stage writes for others to read. */
function topicsWritten(plan: Plan, stage: StagePlan): string[] {
  const steps = new Set([...stage.steps, ...stage.inboxes])
  return plan.topics
    .filter(({ role, step }) => {
      if (step === undefined || !steps.has(step)) return false
      if (role === 'inbox') return stage.inboxes.includes(step)
      return role === 'sink' || role === 'state'
    })
    .map(({ name }) => name)
}

function storeAbout(plan: Plan, step: string, kind: 'rows' | 'parked'): string {
  if (kind === 'parked') return `records that ${step} holds back, until their turn comes`
  const node = plan.graph.nodes.find(({ id }) => id === step)
  const store = node === undefined ? undefined : storeOf(node)
  if (store?.view === undefined) return `what ${node?.operator ?? 'a step'} remembers${store?.expires === undefined ? '' : ', for a while'}`
  return `rows of the projection, revision ${store.revision}`
}

const ROLES: Readonly<Record<TopicRole, (step: string) => string>> = {
  source: () => 'facts from outside',
  inbox: () => 'translated facts, keyed as their projection needs them',
  state: (step) => `each row of ${step}, for others`,
  sink: (step) => `what ${step} sends`,
  changelog: () => 'each row of the stores, for a disk that is lost',
  dead: (step) => `records that failed in ${step}`,
  decisions: () => 'which plan and which generations are live',
}

/** In the order in which a record meets them. */
function byRole(topics: readonly TopicPlan[]): TopicPlan[] {
  const order = Object.keys(ROLES)
  return [...topics].sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role))
}

/** One line where all tasks of a stage read the same topics, else one line each. */
function taskLines(stage: StagePlan, tasks: readonly TaskPlan[]): string[][] {
  const topics = (task: TaskPlan | undefined): string => task?.inputs.map(({ topic }) => topic).join(', ') ?? ''
  const same = tasks.length > 1 && tasks.every((task) => topics(task) === topics(tasks[0]))
  if (same) return [[`${stage.name}/0 to ${tasks.length - 1}`, `each reads its partition of ${topics(tasks[0])}`]]
  return tasks.map((task) => [task.name, `reads ${task.inputs.map(({ topic }) => `${topic}/${task.partition}`).join(', ') || 'nothing'}`])
}

function keptHow(cleanup: TopicPlan['cleanup'], retentionMs: number): string {
  if (cleanup === 'compact') return 'keeps the last record of each key'
  return retentionMs < 0 ? 'kept for ever' : `kept for ${Math.round(retentionMs / 3_600_000)} h`
}

const DATA: Readonly<Record<Section, (plan: Plan, facts: Facts) => unknown>> = {
  topology: (plan) => plan.graph.nodes.map(stepData),
  subtopologies: (plan) =>
    subTopologies(plan.graph).map(({ nodes, inboxes }) => ({ steps: nodes.map(({ id }) => id), inboxes: inboxes.map(({ id }) => id) })),
  stages: (plan, facts) =>
    plan.stages.map((stage) => ({
      name: stage.name,
      class: stage.class,
      generation: stage.generation,
      partitions: stage.partitions,
      reads: stage.logs.map((log) => topicRead(plan.app, plan.graph, log, facts)),
      steps: stage.steps,
      writes: topicsWritten(plan, stage),
      changelog: stage.changelog,
      projections: viewsOf(plan, stage),
    })),
  'co-partitioning': (plan, facts) =>
    plan.coPartitioning.map(({ stage, groups }) => ({
      stage,
      groups: groups.map(({ logs, partitions, because }) => ({
        reads: logs.map((log) => topicRead(plan.app, plan.graph, log, facts)),
        partitions,
        because: because.map(({ step, keeps, reads }) => ({
          step,
          keeps,
          reads: reads.map((log) => topicRead(plan.app, plan.graph, log, facts)),
        })),
      })),
    })),
  topics: (plan) => plan.topics,
  stores: (plan) => plan.stages.flatMap((stage) => stage.stores.map((store) => ({ ...store, stage: stage.name }))),
  tasks: (plan, facts) =>
    tasksOf(plan, facts).map(({ name, stage, partition, inputs }) => ({ name, stage: stage.name, partition, inputs })),
}

function stepData(node: Node): unknown {
  return {
    step: node.id,
    operator: node.operator,
    from: node.from,
    topic: node.kind === 'source' || node.kind === 'sink' ? node.topic : undefined,
    contract: node.kind === 'source' ? node.contract?.name : undefined,
    noDedupe: node.kind === 'source' ? node.noDedupe : undefined,
    store: storeOf(node)?.name,
    onError: readsLog(node) ? undefined : node.onError,
  }
}

/** @example count(1, 'task') // '1 task' */
export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}

/** Rows of texts as lines, each column as wide as its widest text. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] as number))).join('  '))
}
