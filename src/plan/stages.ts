/**
 * Pass 2: names and classes of stages. A stage that holds a projection must be a fold, so that a rebuild equals what was live: it reads one
 * log and nothing but it decides what happens. Everything else that a topology wants to do belongs before an inbox.
 */
import { TidemarkError } from '../base/errors.ts'
import { type Node, readsLog, storeOf } from '../topology/node.ts'
import type { StageClass } from './plan.ts'
import type { SubTopology } from './subtopologies.ts'

export interface StageDraft extends SubTopology {
  readonly name: string
  readonly class: StageClass
  readonly logs: readonly Node[]
}

/** @throws TidemarkError PLAN_REFUSED */
export function stagesOf(subs: readonly SubTopology[]): StageDraft[] {
  return subs.map((sub) => {
    const logs = sub.nodes.filter(readsLog)
    const projection = sub.nodes.find((node) => storeOf(node)?.view !== undefined)
    if (projection !== undefined) refuseWhatFoldsMayNot(sub, logs, projection)
    // The name leads folders and topics. Of several logs the first in the alphabet gives it, so that reordering code renames nothing.
    const name = logs.map((log) => log.id).sort()[0] as string
    return { ...sub, name, logs, class: projection === undefined ? 'ingest' : 'fold' }
  })
}

function refuseWhatFoldsMayNot(sub: SubTopology, logs: readonly Node[], projection: Node): void {
  const refuse = (what: string, detail: string, hint: string): never => {
    throw new TidemarkError('PLAN_REFUSED', `projection "${projection.id}" ${what}`, { detail, hint })
  }
  if (logs.length > 1) {
    refuse(
      'follows several logs that were merged before it',
      `${logs.map((log) => `"${log.id}"`).join(', ')} are read side by side, so a rebuild could read them in another order than it was.`,
      `Let them meet in an inbox, which records the order: flow.inbox('a-name', [one, other]).project(...).`,
    )
  }
  for (const node of sub.nodes) {
    if (node.kind !== 'keyed' || !node.wall) continue
    refuse(
      `is in one stage with "${node.id}", which depends on wall time`,
      'A rebuild runs at another time than the first run did, and would come to another result.',
      `Put "${node.id}" before the projection's inbox.`,
    )
  }
}
