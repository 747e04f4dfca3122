/**
 * Pass 3: the one co-partitioning rule. All inputs of a node that keeps anything by key, back to the nearest logs, have equal partition counts
 * and the same partitioner, and no step changes the key on the way: then one task sees all records of a key. The rule asks what a node is,
 * never what it is called. Gives the proof, stage by stage, or refuses.
 *
 * The partitioner is Kafka's default, murmur2 over the key's bytes, for whatever tidemark writes. How foreign producers divide their keys no plan
 * can see: of a contract's topic every record is asked when it comes (`PARTITION_MISMATCH`), of a plain stream it is presumed.
 */
import { TidemarkError } from '../base/errors.ts'
import { type Graph, type Node, type NodeId, readsLog, storeOf } from '../topology/node.ts'
import type { CoPartitioning, KeyedBy } from './plan.ts'
import type { StageDraft } from './stages.ts'
import { parksKeys } from './stores.ts'

interface Upstream {
  readonly logs: ReadonlySet<Node>
  /** The step that changed the key, if one did. */
  readonly rekeyedBy: NodeId | undefined
}

/**
 * What holds of the topology's stages, in their order.
 * @throws TidemarkError PLAN_REFUSED where it does not hold
 */
export function coPartitioning(graph: Graph, drafts: readonly StageDraft[], partitionsOf: (log: Node) => number): CoPartitioning[] {
  const keepers = proven(graph, partitionsOf)
  return drafts.map(({ name, logs, nodes }) =>
    Object.freeze({
      stage: name,
      groups: groupsOf(
        logs,
        nodes.flatMap((node) => keepers.get(node.id) ?? []),
        partitionsOf,
      ),
    }),
  )
}

/** Every node that keeps something by key, with what makes it see all of a key. */
function proven(graph: Graph, partitionsOf: (log: Node) => number): ReadonlyMap<NodeId, KeyedBy> {
  const upstreams = new Map<NodeId, Upstream>()
  const keepers = new Map<NodeId, KeyedBy>()
  for (const node of graph.nodes) {
    if (readsLog(node)) {
      upstreams.set(node.id, { logs: new Set([node]), rekeyedBy: undefined })
      continue
    }
    const inputs = node.from.map(({ id }) => upstreams.get(id) as Upstream)
    const logs = new Set(inputs.flatMap((input) => [...input.logs]))
    const rekeyedBy = inputs.find((input) => input.rekeyedBy !== undefined)?.rekeyedBy
    const keeps = keptByKey(node)
    if (keeps !== undefined) {
      check(node, logs, rekeyedBy, partitionsOf)
      keepers.set(node.id, Object.freeze({ step: node.id, keeps, reads: Object.freeze([...logs].map(({ id }) => id)) }))
    }
    upstreams.set(node.id, { logs, rekeyedBy: (node.kind === 'step' || node.kind === 'keyed') && node.rekeys ? node.id : rekeyedBy })
  }
  return keepers
}

/** What a node keeps by key: rows, or the records that it parked. */
function keptByKey(node: Node): KeyedBy['keeps'] | undefined {
  if (storeOf(node) !== undefined) return 'rows'
  return parksKeys(node) ? 'parked' : undefined
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

/** Logs that some step reads together are one group; two such steps that share a log bind the logs of both. A log that nobody binds is alone. */
function groupsOf(logs: readonly Node[], keepers: readonly KeyedBy[], partitionsOf: (log: Node) => number): CoPartitioning['groups'] {
  let bound: NodeId[][] = logs.map(({ id }) => [id])
  for (const { reads } of keepers) {
    const met = bound.filter((group) => group.some((id) => reads.includes(id)))
    bound = [...bound.filter((group) => !met.includes(group)), met.flat()]
  }
  const order = logs.map(({ id }) => id)
  return Object.freeze(
    bound
      .map((group) => group.sort((a, b) => order.indexOf(a) - order.indexOf(b)))
      .sort(([a = ''], [b = '']) => order.indexOf(a) - order.indexOf(b))
      .map((group) =>
        Object.freeze({
          logs: Object.freeze(group),
          partitions: partitionsOf(logs.find(({ id }) => id === group[0]) as Node),
          because: Object.freeze(keepers.filter(({ reads }) => reads.some((id) => group.includes(id)))),
        }),
      ),
  )
}
