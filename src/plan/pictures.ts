/**
 * Each pass of the planner as a mermaid flowchart of its own. The picture of the whole is `mermaid.ts`; what that leaves out to stay readable,
 * such as changelogs and dead-letter topics, is here.
 */
import { unreachable } from '../base/assert.ts'
import type { Node, NodeId } from '../topology/node.ts'
import { count, type Section } from './explain.ts'
import { box, chart, mermaid, nodeName, shape, stepsDrawn } from './mermaid.ts'
import type { Plan, PlanFacts, StagePlan, TopicPlan } from './plan.ts'
import { subTopologies } from './subtopologies.ts'
import { type TaskPlan, tasksOf, topicRead } from './tasks.ts'

type Facts = Pick<PlanFacts, 'generationOf'>

/** @example picture(planOf(retail.graph), NOTHING_KNOWN, 'topics') */
export function picture(plan: Plan, facts: Facts, section: Section): string {
  return PICTURES[section](plan, facts)
}

const PICTURES: Readonly<Record<Section, (plan: Plan, facts: Facts) => string>> = {
  topology: (plan) => stepsDrawn(plan, []),
  subtopologies: (plan) =>
    stepsDrawn(
      plan,
      subTopologies(plan.graph).map(({ nodes }, i) => ({
        name: `sub_${i + 1}`,
        title: `sub-topology ${i + 1}`,
        steps: nodes.map(({ id }) => id),
      })),
    ),
  stages: mermaid,
  'co-partitioning': coPartitioningDrawn,
  topics: topicsDrawn,
  stores: storesDrawn,
  tasks: tasksDrawn,
}

/** A box is inputs of equal counts; an arrow goes from an input to what is kept by its keys. */
function coPartitioningDrawn(plan: Plan, facts: Facts): string {
  const byId = new Map(plan.graph.nodes.map((node) => [node.id, node]))
  const boxes = plan.coPartitioning.flatMap(({ stage, groups }) =>
    groups.flatMap(({ logs, partitions, because }, i) => [
      ...box(`equal_${stage}_${i + 1}`, `${stage}: ${count(partitions, 'partition')}${logs.length > 1 ? ' each' : ''}`, [
        ...logs.map((log) => `${nodeName(log)}[/"${topicRead(plan.app, plan.graph, log, facts)}"/]:::topic`),
        ...because.map(({ step }) => shape(byId.get(step) as Node)),
      ]),
      ...because.flatMap(({ step, keeps, reads }) =>
        reads.map((log) => `${nodeName(log)} -- ${keeps === 'rows' ? 'rows by key' : 'parked by key'} --> ${nodeName(step)}`),
      ),
    ]),
  )
  return chart(boxes)
}

/** Every topic, with the stages that read and write it. */
function topicsDrawn(plan: Plan): string {
  // Several steps may write one topic.
  const topics = [...new Map(plan.topics.map((topic) => [topic.name, topic])).values()]
  const nameOf = new Map(topics.map((topic, i) => [topic.name, `topic_${i + 1}`]))
  const stageWith = (step: NodeId | undefined): StagePlan | undefined => plan.stages.find(({ steps }) => steps.some((id) => id === step))
  const arrowsOf = (topic: TopicPlan): string[] => {
    const [name, own] = [nameOf.get(topic.name), stageWith(topic.step)]
    const at = own === undefined ? '' : stageName(own)
    switch (topic.role) {
      case 'source':
        return [`${name} --> ${at}`]
      case 'inbox':
        return [
          ...plan.stages.filter(({ inboxes }) => inboxes.some((id) => id === topic.step)).map((by) => `${stageName(by)} --> ${name}`),
          `${name} --> ${at}`,
        ]
      case 'changelog':
        return plan.stages.filter(({ changelog }) => changelog === topic.name).map((stage) => `${stageName(stage)} -. changes .-> ${name}`)
      case 'dead':
        return [`${at} -. failures .-> ${name}`]
      case 'state':
      case 'sink':
        return [`${at} --> ${name}`]
      // The application's own, whoever runs a stage of it.
      case 'decisions':
        return []
      default:
        return unreachable(topic.role)
    }
  }
  return chart([
    ...topics.map(
      ({ name, role, partitions }) =>
        `${nameOf.get(name)}[/"${role}, ${count(partitions, 'partition')}<br/>${name}"/]:::${role === 'inbox' ? 'inbox' : 'topic'}`,
    ),
    ...plan.stages.map((stage) => `${stageName(stage)}["stage ${stage.name}"]:::step`),
    ...plan.topics.flatMap(arrowsOf),
  ])
}

/** A box is a stage, a cylinder one of its stores with its number; every change of them goes into one changelog. */
function storesDrawn(plan: Plan): string {
  return chart(
    plan.stages.flatMap((stage) => {
      if (stage.changelog === undefined) return []
      const inside = stage.stores.map(({ id, name, kind }) => `store_${id}[("${id}<br/>${name}")]:::${kind === 'rows' ? 'store' : 'step'}`)
      const changelog = `changelog_${stage.name.replaceAll('-', '_')}`
      return [
        ...box(stageName(stage), `stage ${stage.name}`, inside),
        `${changelog}[/"${stage.changelog}"/]:::topic`,
        ...stage.stores.map(({ id }) => `store_${id} --> ${changelog}`),
      ]
    }),
  )
}

/** A box is a stage. Tasks that read alike are one, or a topic of a hundred partitions would be a picture of nothing else. */
function tasksDrawn(plan: Plan, facts: Facts): string {
  const tasks = tasksOf(plan, facts)
  const topics = [...new Set(tasks.flatMap(({ inputs }) => inputs.map(({ topic }) => topic)))]
  const nameOf = new Map(topics.map((topic, i) => [topic, `topic_${i + 1}`]))
  return chart([
    ...topics.map((topic) => `${nameOf.get(topic)}[/"${topic}"/]:::topic`),
    ...plan.stages.flatMap((stage) => {
      const runs = alike(tasks.filter((task) => task.stage === stage))
      const named = runs.map((run, i) => ({ run, name: `tasks_${i + 1}_${stageName(stage)}` }))
      return [
        ...box(
          stageName(stage),
          `stage ${stage.name}`,
          named.map(({ run, name }) => `${name}["${runTitle(run)}"]:::step`),
        ),
        ...named.flatMap(({ run, name }) => run[0].inputs.map(({ topic }) => `${nameOf.get(topic)} --> ${name}`)),
      ]
    }),
  ])
}

type Run = readonly [TaskPlan, ...TaskPlan[]]

/** Neighbours that read the same topics. */
function alike(tasks: readonly TaskPlan[]): Run[] {
  const runs: [TaskPlan, ...TaskPlan[]][] = []
  const read = (task: TaskPlan | undefined): string => task?.inputs.map(({ topic }) => topic).join() ?? ''
  for (const task of tasks) {
    const last = runs.at(-1)
    if (last !== undefined && read(last[0]) === read(task)) last.push(task)
    else runs.push([task])
  }
  return runs
}

function runTitle(run: Run): string {
  return run.length === 1 ? `task ${run[0].name}` : `tasks ${run[0].name} to ${run.at(-1)?.partition}<br/>each its partition`
}

function stageName({ name }: StagePlan): string {
  return `stage_${name.replaceAll('-', '_')}`
}
