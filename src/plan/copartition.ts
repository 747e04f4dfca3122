/**
 * Pass 3: the one co-partitioning rule. All inputs of a node that keeps state by key, back to the nearest logs, have equal partition counts
 * and the same partitioner, and no step changes the key on the way. The rule asks what a node is, never what it is called.
 */
import { TidemarkError } from '../base/errors.ts'
import { type Graph, type Node, type NodeId, readsLog } from '../topology/node.ts'

interface Upstream {
  readonly logs: ReadonlySet<Node>
  /** The step that changed the key, if one did. */
  readonly rekeyedBy: NodeId | undefined
}

/** @throws TidemarkError PLAN_REFUSED */
export function checkCopartitioning(graph: Graph, partitionsOf: (log: Node) => number): void {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]))
  const upstreams = new Map<NodeId, Upstream>()
  for (const node of graph.nodes) {
    if (readsLog(node)) {
      upstreams.set(node.id, { logs: new Set([node]), rekeyedBy: undefined })
      continue
    }
    const inputs = node.from.map(({ id }) => upstreams.get((byId.get(id) as Node).id) as Upstream)
    const logs = new Set(inputs.flatMap((input) => [...input.logs]))
    const rekeyedBy = inputs.find((input) => input.rekeyedBy !== undefined)?.rekeyedBy
    if (keepsByKey(node)) check(node, logs, rekeyedBy, partitionsOf)
    upstreams.set(node.id, { logs, rekeyedBy: (node.kind === 'step' || node.kind === 'keyed') && node.rekeys ? node.id : rekeyedBy })
  }
}

/** Whether a node keeps anything by key: rows, or records that it parked. */
function keepsByKey(node: Node): boolean {
  return node.kind === 'keyed' || node.onError.then === 'park'
}

function check(node: Node, logs: ReadonlySet<Node>, rekeyedBy: NodeId | undefined, partitionsOf: (log: Node) => number): void {
  if (rekeyedBy !== undefined) {
    throw new TidemarkError('PLAN_REFUSED', `step "${node.id}" keeps state by key, but "${rekeyedBy}" changed the key before it`, {
      detail: 'Records of one new key lie in several partitions, so no single task would see them all.',
      hint: `Put an inbox between them: flow.inbox('a-name', [stream]).`,
    })
  }
  const counts = new Set([...logs].map(partitionsOf))
  if (counts.size > 1) {
    throw new TidemarkError('PLAN_REFUSED', `step "${node.id}" reads logs of different partition counts`, {
      detail: `${[...logs].map((log) => `"${log.id}" has ${partitionsOf(log)}`).join(', ')}.`,
      hint: 'Put an inbox between them, or give the topics equal counts.',
    })
  }
}
