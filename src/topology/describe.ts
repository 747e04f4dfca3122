/** A topology in words: one line a node, stable, for people and for comparing two topologies. */
import type { Graph, Node } from './node.ts'
import { storeOf } from './node.ts'

/**
 * @example describe(retail.graph)
 * // source order-lifecycle (orders.lifecycle.v1)
 * // dedupe orders-once <- order-lifecycle [store]
 * // source prices (prices.v1), not deduplicated: "each price replaces the last"
 */
export function describe(graph: Graph): string {
  return graph.nodes.map(line).join('\n')
}

function line(node: Node): string {
  const from = node.from.map(({ id, port }) => (port === 0 ? id : `${id}:${port}`)).join(', ')
  const topic = node.kind === 'source' || node.kind === 'sink' ? ` (${node.topic})` : ''
  const store = storeOf(node) === undefined ? '' : ' [store]'
  // Quoted as JSON, because a reason may have lines.
  const undeduplicated = node.kind === 'source' && node.noDedupe !== undefined ? `, not deduplicated: ${JSON.stringify(node.noDedupe)}` : ''
  return `${node.operator} ${node.id}${topic}${from === '' ? '' : ` <- ${from}`}${store}${undeduplicated}`
}
