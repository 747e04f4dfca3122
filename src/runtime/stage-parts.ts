/** What a stage is compiled with, for one task. */
import type { Plan, StagePlan } from '../plan/plan.ts'
import type { NodeId } from '../topology/node.ts'
import type { Outbox } from './outbox.ts'
import type { Flavour } from './record.ts'
import type { TaskState } from './state.ts'
import type { Variety } from './variety.ts'

export interface StageParts {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  readonly state: TaskState
  readonly outbox: Outbox
  readonly flavours: ReadonlyMap<NodeId, Flavour>
  /** Partitions of every topic that the plan knows. */
  readonly partitionsOf: (topic: string) => number
  /** The live generation of an inbox. */
  readonly inboxGeneration: (step: NodeId) => number
  readonly unknownEvents: (stage: StagePlan) => 'dead-letter' | 'ignore'
  readonly planHash: string
  readonly variety: Variety
  readonly now: () => number
  /** Freeze rows, so that a fold that changes its argument fails at once. */
  readonly freeze: boolean
}
