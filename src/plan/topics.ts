/** Pass 4: every topic that the application reads or writes, with what it must be like. */
import { type Graph, type Node, readsLog, type SourceNode, storeOf } from '../topology/node.ts'
import { deadTopic, decisionsTopic, inboxTopic } from './naming.ts'
import type { PlanFacts, StagePlan, TopicPlan } from './plan.ts'

export function topicsOf(app: string, graph: Graph, stages: readonly StagePlan[], facts: PlanFacts): TopicPlan[] {
  const topics: TopicPlan[] = []
  const byId = new Map(graph.nodes.map((node) => [node.id, node]))
  for (const stage of stages) {
    for (const step of stage.steps) {
      const node = byId.get(step) as Node
      topics.push(...topicsOfNode(app, node, stage, facts))
    }
    if (stage.changelog !== undefined) {
      topics.push({
        name: stage.changelog,
        role: 'changelog',
        partitions: stage.partitions,
        cleanup: 'compact',
        retentionMs: -1,
        step: undefined,
      })
    }
  }
  topics.push({ name: decisionsTopic(app), role: 'decisions', partitions: 1, cleanup: 'compact', retentionMs: -1, step: undefined })
  return topics.map((topic) => Object.freeze(topic))
}

function topicsOfNode(app: string, node: Node, stage: StagePlan, facts: PlanFacts): TopicPlan[] {
  const topics: TopicPlan[] = []
  if (node.kind === 'source') topics.push(sourceTopic(node, facts))
  if (node.kind === 'repartition') {
    const name = inboxTopic(app, node.id, facts.generationOf('inbox', node.id))
    topics.push({ name, role: 'inbox', partitions: stage.partitions, cleanup: 'delete', retentionMs: -1, step: node.id })
  }
  if (node.kind === 'sink') {
    topics.push({
      name: node.topic,
      role: 'sink',
      partitions: facts.partitionsOf(node.topic) ?? node.partitions ?? stage.partitions,
      cleanup: node.cleanup,
      retentionMs: -1,
      step: node.id,
    })
  }
  const publish = storeOf(node)?.view?.publish
  if (publish !== undefined)
    topics.push({ name: publish, role: 'state', partitions: stage.partitions, cleanup: 'compact', retentionMs: -1, step: node.id })
  if (deadLetters(node)) {
    topics.push({
      name: deadTopic(app, node.id, stage.generation),
      role: 'dead',
      partitions: 1,
      cleanup: 'delete',
      retentionMs: -1,
      step: node.id,
    })
  }
  return topics
}

/**
 * Whether records can be dead-lettered at a step. Where it says park, too: a record without a key has nothing that could be parked. A merge
 * runs nothing, so nothing fails there.
 */
export function deadLetters(node: Node): boolean {
  return readsLog(node) || (node.kind !== 'merge' && node.onError.then !== 'halt')
}

function sourceTopic(node: SourceNode, facts: PlanFacts): TopicPlan {
  return {
    name: node.topic,
    role: 'source',
    partitions: facts.partitionsOf(node.topic) ?? node.partitions,
    cleanup: node.cleanup,
    retentionMs: node.retentionMs,
    step: node.id,
  }
}
