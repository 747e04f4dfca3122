/**
 * A plan as a mermaid flowchart, as GitHub draws it: sources on the left, a box a stage, inboxes between them, and what leaves on the right.
 * A step that remembers something is a cylinder, because step and store have one name.
 *
 * Left out: changelogs, dead-letter topics and decisions. Every stage has them, and they would hide the picture.
 */
import { type Node, type NodeId, storeOf } from '../topology/node.ts'
import type { Plan } from './plan.ts'

/** Colours that are read on white and on black alike: each sets its own text colour. */
const CLASSES = [
  'classDef topic fill:#dbeafe,stroke:#2563eb,color:#1e293b',
  'classDef inbox fill:#ede9fe,stroke:#7c3aed,color:#1e293b',
  'classDef step fill:#f8fafc,stroke:#64748b,color:#1e293b',
  'classDef store fill:#fef3c7,stroke:#d97706,color:#1e293b',
  'classDef projection fill:#dcfce7,stroke:#16a34a,color:#1e293b',
]

/** @example mermaid(planOf(retail.graph)) // 'flowchart LR\n...' */
export function mermaid(plan: Plan): string {
  const passing = new Set(plan.graph.nodes.filter(withinStage).map(({ id }) => id))
  return stepsDrawn(
    plan,
    plan.stages.map((stage) => ({
      name: `stage_${stage.name}`,
      title: `${stage.name}: ${stage.class}, ${stage.class === 'fold' ? 'can be replayed' : 'recorded in what it writes'}`,
      steps: stage.steps.filter((id) => passing.has(id)),
    })),
  )
}

/** What begins and ends stages is drawn between them. */
function withinStage(node: Node): boolean {
  return node.kind !== 'source' && node.kind !== 'repartition' && node.kind !== 'sink'
}

export interface Box {
  readonly name: string
  readonly title: string
  readonly steps: readonly NodeId[]
}

/** All steps and what travels between them, some of them in boxes. */
export function stepsDrawn(plan: Plan, boxes: readonly Box[]): string {
  const boxed = new Set(boxes.flatMap(({ steps }) => steps))
  const shapes = new Map(plan.graph.nodes.map((node) => [node.id, shape(node)]))
  return chart([
    ...plan.graph.nodes.filter(({ id }) => !boxed.has(id)).map(({ id }) => shapes.get(id) as string),
    ...published(plan).map(({ step, topic }) => `${topicName(step)}[/"${topic}"/]:::topic`),
    ...boxes.flatMap(({ name, title, steps }) =>
      box(
        name,
        title,
        steps.map((id) => shapes.get(id) as string),
      ),
    ),
    ...arrows(plan),
    ...published(plan).map(({ step }) => `${nodeName(step)} --> ${topicName(step)}`),
  ])
}

/** A box around what it holds; nothing where it holds nothing. */
export function box(name: string, title: string, held: readonly string[]): string[] {
  return held.length === 0 ? [] : [`subgraph ${idOf(name)}["${title}"]`, ...held.map((line) => `  ${line}`), 'end']
}

/** A whole drawing. */
export function chart(lines: readonly string[]): string {
  return `${['flowchart LR', ...[...lines, ...CLASSES].map((line) => `  ${line}`)].join('\n')}\n`
}

function published(plan: Plan): { readonly step: NodeId; readonly topic: string }[] {
  return plan.graph.nodes.flatMap((node) => {
    const topic = storeOf(node)?.view?.publish
    return topic === undefined ? [] : [{ step: node.id, topic }]
  })
}

export function shape(node: Node): string {
  const name = nodeName(node.id)
  switch (node.kind) {
    case 'source':
      return `${name}[/"${node.id === node.topic ? node.topic : `${node.id}<br/>${node.topic}`}"/]:::topic`
    case 'sink':
      return `${name}[/"${node.topic}"/]:::topic`
    case 'repartition':
      return `${name}[["inbox<br/>${node.id}"]]:::inbox`
    case 'keyed':
      return `${name}[("${node.operator}<br/>${node.id}")]:::${storeOf(node)?.view === undefined ? 'store' : 'projection'}`
    default:
      return `${name}["${node.operator}<br/>${node.id}"]:::step`
  }
}

/** Outputs of a step that has several are numbered, from 1. */
function arrows({ graph }: Plan): string[] {
  const edges = graph.nodes.flatMap((node) => node.from.map(({ id, port }) => ({ from: id, port, to: node.id })))
  const split = new Set(edges.filter(({ port }) => port > 0).map(({ from }) => from))
  return edges.map(({ from, port, to }) => `${nodeName(from)} ${split.has(from) ? `-- ${port + 1} -->` : '-->'} ${nodeName(to)}`)
}

// Names begin with what they are, because mermaid takes some words, such as "end", for its own. A step's name has no underscore itself.
export function nodeName(id: NodeId): string {
  return idOf(`step_${id}`)
}
function topicName(step: NodeId): string {
  return idOf(`topic_${step}`)
}
function idOf(name: string): string {
  return name.replaceAll('-', '_')
}
