/** Checks of a whole topology that need no plan: what no single step can see. */
import { TidemarkError } from '../base/errors.ts'
import type { Graph, KeyedNode, Node, NodeId } from './node.ts'

/** @throws TidemarkError TOPOLOGY_INVALID for the first thing that is wrong */
export function validate(graph: Graph): void {
  if (graph.nodes.length === 0)
    throw new TidemarkError('TOPOLOGY_INVALID', `topology "${graph.name}" is empty`, {
      hint: 'Begin with flow.source(contract) or flow.stream(topic, serdes).',
    })
  const byId = new Map(graph.nodes.map((node) => [node.id, node]))
  for (const node of graph.nodes) {
    needsSchema(node, byId)
    if (node.kind !== 'keyed' || node.store.view === undefined) continue
    speaksItsLanguage(node, byId)
    foldIsSafe(node, byId)
  }
  sourcesAreGuarded(graph, byId)
}

type ById = ReadonlyMap<NodeId, Node>

function inputsOf(node: Node, byId: ById): Node[] {
  return node.from.map(({ id }) => byId.get(id) as Node)
}

/** What is written somewhere needs a way to be written. */
function needsSchema(node: Node, byId: ById): void {
  const why =
    node.kind === 'repartition' || node.kind === 'sink'
      ? 'writes its input to a topic'
      : node.kind === 'keyed' && node.keeps
        ? 'keeps records until their turn comes'
        : node.onError.then === 'park' && node.from.length > 0
          ? 'parks records that fail'
          : undefined
  if (why === undefined) return
  const bare = inputsOf(node, byId).find((input) => input.emits.value === undefined)
  if (bare === undefined) return
  throw new TidemarkError('TOPOLOGY_INVALID', `step "${node.id}" ${why}, but values of "${bare.id}" have no schema`, {
    hint: `Give "${bare.id}" the schema of what it makes: { value: SomeSchema }.`,
  })
}

/** A projection of one context does not fold the words of another. */
function speaksItsLanguage(node: KeyedNode, byId: ById): void {
  const owner = node.store.view?.owner
  if (owner === undefined) return
  for (const input of inputsOf(node, byId)) {
    const { language, contexts } = input.emits
    if (language === undefined || contexts.includes(owner.name)) continue
    throw new TidemarkError(
      'TOPOLOGY_INVALID',
      `projection "${node.id}" belongs to "${owner.name}" but folds facts of "${language.owner.name}" as they are`,
      {
        detail: `They come from "${input.id}" in the language of contract "${language.name}".`,
        hint: `Translate them into a contract of "${owner.name}", or say .conform(step, ${owner.name}, { why }).`,
      },
    )
  }
}

/** Every way from a source to a fold that adds up passes one of the steps that it names. */
function foldIsSafe(node: KeyedNode, byId: ById): void {
  const safety = node.store.view?.safety
  if (safety === undefined || safety === 'gate') return
  for (const name of safety) {
    const step = byId.get(name)
    if (step === undefined || step.kind !== 'keyed' || !step.identity) {
      throw new TidemarkError('TOPOLOGY_INVALID', `projection "${node.id}" relies on "${name}", which lets nothing pass once`, {
        detail: step === undefined ? 'There is no such step.' : `It is a ${step.operator}.`,
        hint: 'Name dedupe or order steps before the projection.',
      })
    }
  }
  const open = wayWithout(node, byId, (step) => safety.includes(step.id))
  if (open !== undefined) {
    throw new TidemarkError(
      'TOPOLOGY_INVALID',
      `facts reach projection "${node.id}" from "${open}" without passing ${safety.map((name) => `"${name}"`).join(' or ')}`,
      {
        hint: 'A fact that comes twice would be added twice. Put a dedupe on that way and name it in identity.',
      },
    )
  }
}

/** The id of a source from which `node` can be reached without passing a node that `guards`, if there is one. */
function wayWithout(node: Node, byId: ById, guards: (step: Node) => boolean): string | undefined {
  // Each step is looked at once, however many ways lead through it: ways double with every fork that joins again.
  const seen = new Set<NodeId>()
  const open = inputsOf(node, byId)
  for (let input = open.pop(); input !== undefined; input = open.pop()) {
    if (seen.has(input.id) || guards(input)) continue
    seen.add(input.id)
    if (input.kind === 'source') return input.id
    open.push(...inputsOf(input, byId))
  }
  return undefined
}

/** Sources deliver again whatever the log promises, so what goes out for good must have passed a step that drops repeats. */
function sourcesAreGuarded(graph: Graph, byId: ById): void {
  const guards = (step: Node): boolean =>
    (step.kind === 'keyed' && step.identity) || (step.kind === 'source' && (step.contract === undefined || step.noDedupe !== undefined))
  for (const node of graph.nodes) {
    const leaves = node.kind === 'sink' || node.kind === 'repartition'
    if (!leaves) continue
    const open = wayWithout(node, byId, guards)
    if (open === undefined) continue
    throw new TidemarkError('TOPOLOGY_INVALID', `facts of "${open}" reach "${node.id}" without a dedupe`, {
      detail: 'Every producer sends some facts twice, and every failure of one delivers some again.',
      hint: `Put .dedupe(step) behind the source, or say why it does no harm: flow.source(contract, { noDedupe: 'reason' }).`,
    })
  }
}
