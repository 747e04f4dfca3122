/**
 * Topology + facts -> plan, pass by pass. Each pass is a pure function in its own file, and what it comes to can be printed on its own, as
 * text, JSON or picture (`tidemark plan --stage`): sub-topologies, stages, co-partitioning, topics, stores, tasks.
 */
import { TidemarkError } from '../base/errors.ts'
import { type Graph, type Node, type NodeId, readsLog, storeOf } from '../topology/node.ts'
import { coPartitioning } from './copartition.ts'
import { changelogTopic } from './naming.ts'
import type { Plan, PlanFacts, StagePlan } from './plan.ts'
import { type StageDraft, stagesOf } from './stages.ts'
import { numberStores } from './stores.ts'
import { subTopologies } from './subtopologies.ts'
import { topicsOf } from './topics.ts'

/** Nothing exists yet. */
export const NOTHING_KNOWN: PlanFacts = Object.freeze({
  partitionsOf: () => undefined,
  generationOf: () => 1,
  storeIdOf: () => undefined,
  spent: Object.freeze([]),
})

/**
 * @throws TidemarkError PLAN_REFUSED
 * @example const plan = planOf(retail.graph)
 */
export function planOf(graph: Graph, facts: PlanFacts = NOTHING_KNOWN): Plan {
  const drafts = stagesOf(subTopologies(graph))
  const partitions = partitionsOfLogs(drafts, facts)
  const countOf = (log: Node): number => partitions.get(log.id) as number
  const divided = coPartitioning(graph, drafts, countOf)
  const stores = numberStores(graph.nodes, facts)
  const stages = drafts.map((draft): StagePlan => {
    const generation = facts.generationOf('stage', draft.name)
    const own = draft.nodes.flatMap((node) => stores.get(node.id) ?? [])
    return Object.freeze({
      name: draft.name,
      class: draft.class,
      generation,
      partitions: Math.max(...draft.logs.map(countOf)),
      logs: draft.logs.map((log) => log.id),
      steps: draft.nodes.map((node) => node.id),
      inboxes: draft.inboxes.map((inbox) => inbox.id),
      stores: Object.freeze(own),
      spent: facts.spent,
      changelog: own.length === 0 ? undefined : changelogTopic(graph.name, draft.name, generation),
    })
  })
  const topics = topicsOf(graph.name, graph, stages, facts)
  // Several steps may send to one topic, and nothing else may share one.
  const twice = topics.find((topic, i) =>
    topics.slice(0, i).some((other) => other.name === topic.name && (other.role !== 'sink' || topic.role !== 'sink')),
  )
  if (twice !== undefined)
    throw new TidemarkError('PLAN_REFUSED', `topic "${twice.name}" has two uses in this topology`, {
      hint: 'Read it or write it, and under one step.',
    })
  return Object.freeze({
    app: graph.name,
    graph,
    stages: Object.freeze(stages),
    coPartitioning: Object.freeze(divided),
    topics: Object.freeze(topics),
    warnings: Object.freeze(warningsOf(graph)),
    spent: facts.spent,
  })
}

/** Sources have what they have; an inbox has what it says, or as many as the widest stage that writes it, so drafts are taken in their order. */
function partitionsOfLogs(drafts: readonly StageDraft[], facts: PlanFacts): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>()
  const widthOf = (draft: StageDraft): number => Math.max(...draft.logs.map(countOf))
  const countOf = (log: Node): number => {
    const known = counts.get(log.id)
    if (known !== undefined) return known
    const count =
      log.kind === 'source'
        ? (facts.partitionsOf(log.topic) ?? log.partitions)
        : log.kind === 'repartition' && log.partitions !== undefined
          ? log.partitions
          : Math.max(...drafts.filter((draft) => draft.inboxes.some((inbox) => inbox.id === log.id)).map(widthOf))
    counts.set(log.id, count)
    return count
  }
  for (const draft of drafts) for (const log of draft.logs) countOf(log)
  return counts
}

function warningsOf(graph: Graph): string[] {
  const warnings: string[] = []
  for (const node of graph.nodes) {
    if (node.kind === 'source' && node.contract !== undefined && node.contract.sources.length > 1) {
      warnings.push(
        `topic "${node.topic}" is fed by ${node.contract.sources.length} contexts (${node.contract.sources.join(', ')}): align a topic with one domain, or nobody answers for its facts`,
      )
    }
    const keepMs = storeOf(node)?.expires?.keepMs
    const log = keepMs === undefined ? undefined : graph.nodes.find((other) => readsLog(other) && reaches(graph, other, node))
    if (keepMs !== undefined && log?.kind === 'source' && log.retentionMs > keepMs) {
      warnings.push(
        `step "${node.id}" forgets ids before topic "${log.topic}" forgets records: a replay of the older ones would not be deduplicated`,
      )
    }
  }
  return warnings
}

/** Steps come after what they read, so one look at each from the end is enough, however many ways there are. */
function reaches(graph: Graph, from: Node, to: Node): boolean {
  const upstream = new Set(to.from.map(({ id }) => id))
  for (const node of graph.nodes.toReversed()) if (upstream.has(node.id)) for (const { id } of node.from) upstream.add(id)
  return upstream.has(from.id)
}
