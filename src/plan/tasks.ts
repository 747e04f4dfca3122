/** Pass 6: tasks, and who runs them. The assignment is a pure function of what the members say of themselves. */
import type { Graph } from '../topology/node.ts'
import { inboxTopic, taskName } from './naming.ts'
import type { Plan, PlanFacts, StagePlan } from './plan.ts'

export interface TaskPlan {
  readonly name: string
  readonly stage: StagePlan
  readonly partition: number
  /** Log partitions that it reads: topic and step of each. */
  readonly inputs: readonly { readonly topic: string; readonly step: string }[]
}

/** The topic that a log-reading step reads. */
export function topicRead(app: string, graph: Graph, step: string, facts: Pick<PlanFacts, 'generationOf'>): string {
  const node = graph.nodes.find((each) => each.id === step)
  return node?.kind === 'source' ? node.topic : inboxTopic(app, step, facts.generationOf('inbox', step))
}

/** Every stage on every partition. A log with fewer partitions than its stage feeds only the first tasks. */
export function tasksOf(plan: Plan, facts: Pick<PlanFacts, 'generationOf'>): TaskPlan[] {
  const partitionsOf = new Map(plan.topics.map((topic) => [topic.name, topic.partitions]))
  return plan.stages.flatMap((stage) =>
    Array.from({ length: stage.partitions }, (_, partition) => ({
      name: taskName(stage.name, partition),
      stage,
      partition,
      inputs: stage.logs
        .map((step) => ({ step, topic: topicRead(plan.app, plan.graph, step, facts) }))
        .filter(({ topic }) => partition < (partitionsOf.get(topic) as number)),
    })),
  )
}

export interface Claimant {
  readonly member: string
  /** Tasks that it ran before. */
  readonly owned: ReadonlySet<string>
}

/**
 * Gives every task to one member: to the one that ran it before where that is fair, else to whoever has the fewest. Loads differ by one at
 * most, few tasks move, and the order of the members does not matter.
 */
export function assignTasks(tasks: readonly string[], claimants: readonly Claimant[]): ReadonlyMap<string, readonly string[]> {
  const members = [...claimants].sort((a, b) => (a.member < b.member ? -1 : 1))
  const given = new Map<string, string[]>(members.map(({ member }) => [member, []]))
  if (members.length === 0) return given
  const ordered = [...tasks].sort()
  const most = Math.ceil(ordered.length / members.length)
  // So many members may have the greater share; the others have one task less.
  let full = ordered.length % members.length === 0 ? members.length : ordered.length % members.length
  const free: string[] = []
  for (const task of ordered) {
    const owner = members.find(({ member, owned }) => owned.has(task) && (given.get(member) as string[]).length < most)
    const own = owner === undefined ? undefined : (given.get(owner.member) as string[])
    if (own === undefined || (own.length === most - 1 && full === 0 && most > 1)) {
      free.push(task)
      continue
    }
    own.push(task)
    if (own.length === most) full -= 1
  }
  for (const task of free) {
    const [least] = [...given.values()].sort((a, b) => a.length - b.length)
    ;(least as string[]).push(task)
  }
  return given
}
