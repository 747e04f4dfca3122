/** Pass 1: cuts the graph at its logs. What stays connected runs in one task a partition. */
import { TidemarkError } from '../base/errors.ts'
import type { Graph, Node, NodeId } from '../topology/node.ts'

export interface SubTopology {
  /** In the order of the topology, inputs before outputs. */
  readonly nodes: readonly Node[]
  /** Inboxes that its nodes write; they begin other sub-topologies. */
  readonly inboxes: readonly Node[]
}

/** @throws TidemarkError PLAN_REFUSED when two steps read one topic */
export function subTopologies(graph: Graph): SubTopology[] {
  oneReaderEach(graph)
  const parent = new Map<NodeId, NodeId>(graph.nodes.map((node) => [node.id, node.id]))
  const root = (id: NodeId): NodeId => {
    let at = id
    while (parent.get(at) !== at) at = parent.get(at) as NodeId
    return at
  }
  // An inbox is written across the cut and read behind it, so the edges into it join nothing.
  for (const node of graph.nodes) {
    if (node.kind === 'repartition') continue
    for (const { id } of node.from) parent.set(root(node.id), root(id))
  }
  const groups = Map.groupBy(graph.nodes, (node) => root(node.id))
  return [...groups.values()].map((nodes) => {
    const ids = new Set(nodes.map((node) => node.id))
    return { nodes, inboxes: graph.nodes.filter((node) => node.kind === 'repartition' && node.from.some(({ id }) => ids.has(id))) }
  })
}

/** A group has one position a partition, so two readers of one topic would share it and each miss what the other took. */
function oneReaderEach(graph: Graph): void {
  const readers = new Map<string, NodeId>()
  for (const node of graph.nodes) {
    if (node.kind !== 'source') continue
    const first = readers.get(node.topic)
    if (first !== undefined) {
      throw new TidemarkError('PLAN_REFUSED', `topic "${node.topic}" is read by two steps, "${first}" and "${node.id}"`, {
        hint: 'Read it once and let several streams go on from there.',
      })
    }
    readers.set(node.topic, node.id)
  }
}
