/** The views of an application: one for every projection, with what each needs to know about its sources. */

import { taskName } from '../plan/naming.ts'
import type { PlanFacts, StagePlan } from '../plan/plan.ts'
import { topicRead } from '../plan/tasks.ts'
import { topicPartition } from '../ports/log.ts'
import { readsLog, storeOf } from '../topology/node.ts'
import type { Frontier } from './frontier.ts'
import { parkedFormat } from './parking.ts'
import type { Flavour } from './record.ts'
import type { RowCodec } from './rows.ts'
import type { Stages } from './stages.ts'
import type { Task } from './task.ts'
import { StoreView, type ViewParts } from './view.ts'

interface Access {
  readonly now: () => number
  readonly taskOf: (name: string) => Task | undefined
  readonly restoring: (name: string) => number | undefined
  readonly onFailure: (task: Task, error: unknown) => void
}

export function viewsOf(stages: Stages, facts: PlanFacts, frontier: Frontier, access: Access): ReadonlyMap<string, StoreView> {
  const views = new Map<string, StoreView>()
  const { plan } = stages
  for (const stage of plan.stages) {
    for (const store of stage.stores) {
      const node = stages.node(store.step)
      const spec = storeOf(node)?.view
      if (spec === undefined || store.kind !== 'rows') continue
      const [log] = stage.logs as [string]
      const direct = stages.node(log).kind === 'source'
      const parts: ViewParts = {
        name: store.name,
        stage,
        store,
        spec,
        frontier,
        now: access.now,
        key: (stages.codecs.flavours.get(node.id) as Flavour).key,
        codec: stages.codecs.rows.get(node.id) as RowCodec,
        log: topicRead(plan.app, plan.graph, log, facts),
        behindInbox: direct ? undefined : behindInbox(stages, log),
        taskOf: (partition) => access.taskOf(taskName(stage.name, partition)),
        onFailure: access.onFailure,
        restoring: (partition) => access.restoring(taskName(stage.name, partition)),
        parkers: parkersOf(stages, stage),
      }
      views.set(store.name, new StoreView(parts))
    }
  }
  return views
}

function behindInbox(stages: Stages, inbox: string): NonNullable<ViewParts['behindInbox']> {
  const all = stages.waysInto(inbox)
  const { nodes } = stages.plan.graph
  const contracts = new Map(nodes.flatMap((node) => (node.kind === 'source' ? [[node.topic, node.contract?.name]] : [])))
  const byFact = Map.groupBy(all, ([source]) => contracts.get(topicPartition(source).topic))
  return { all, of: (fact) => new Map(byFact.get(fact)) }
}

function parkersOf(stages: Stages, stage: StagePlan): ViewParts['parkers'] {
  return stage.stores.flatMap((store): ViewParts['parkers'][number][] => {
    const node = stages.node(store.step)
    if (store.kind === 'parked') return [{ store, node: undefined, codec: { kind: 'format', format: parkedFormat, view: false } }]
    const codec = stages.codecs.rows.get(store.step)
    return node.kind === 'keyed' && !readsLog(node) && node.holding !== undefined && codec !== undefined ? [{ store, node, codec }] : []
  })
}
