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

/** What a member says of a task that it runs or opens, or ran before. */
export interface Claim {
  /** The generation of the group in which the task was its own last; -1 when it does not say. */
  readonly generation: number
  /** How far what it has of the task's state is in the changelog: the offset behind. Undefined, for as far as anybody, when it does not say. */
  readonly reached: number | undefined
}

export interface Claimant {
  readonly member: string
  /** Tasks that it runs, or opens. */
  readonly owned: ReadonlyMap<string, Claim>
  /** Tasks that it ran before, and has state of. */
  readonly kept: ReadonlyMap<string, Claim>
}

/** Who is fewer records of the changelog behind than this is as good as level: to read them takes less than to move a task. */
const LEVEL_RECORDS = 10_000

interface Ranked {
  readonly member: string
  readonly owns: boolean
  readonly generation: number
  /** Records that it is behind the furthest of those who claim the task; none where that makes no difference. */
  readonly lag: number
}

/** All who claim a task, the warmest first; of those who are as warm, who had it in the newest generation. */
function ranked(task: string, members: readonly Claimant[]): readonly Ranked[] {
  const claims = members.flatMap(({ member, owned, kept }) => {
    const claim = owned.get(task) ?? kept.get(task)
    return claim === undefined ? [] : [{ member, owns: owned.has(task), ...claim }]
  })
  const furthest = Math.max(0, ...claims.map(({ reached }) => reached ?? 0))
  return claims
    .map(({ member, owns, generation, reached = furthest }) => {
      const behind = furthest - reached
      return { member, owns, generation, lag: behind < LEVEL_RECORDS ? 0 : behind }
    })
    .sort((a, b) => a.lag - b.lag || b.generation - a.generation)
}

/**
 * Gives every task to one member: to the one that runs it where that is fair, else to whoever has most of its state, else to whoever has the
 * fewest tasks. An owner that is far behind another member gives way to it. Loads differ by one at most, few tasks move, and the order of the
 * members does not matter.
 */
export function assignTasks(tasks: readonly string[], claimants: readonly Claimant[]): ReadonlyMap<string, readonly string[]> {
  const members = [...claimants].sort((a, b) => (a.member < b.member ? -1 : 1))
  const given = new Map<string, string[]>(members.map(({ member }) => [member, []]))
  if (members.length === 0) return given
  const ordered = [...tasks].sort()
  const most = Math.ceil(ordered.length / members.length)
  // So many members may have the greater share; the others have one task less.
  let full = ordered.length % members.length === 0 ? members.length : ordered.length % members.length
  const take = (member: string, task: string): boolean => {
    const own = given.get(member) as string[]
    if (own.length >= most || (own.length === most - 1 && full === 0 && most > 1)) return false
    own.push(task)
    if (own.length === most) full -= 1
    return true
  }
  const claims = new Map(ordered.map((task) => [task, ranked(task, members)]))
  // First all that may stay: what somebody only has a copy of takes no place from what runs there.
  const moving = ordered.filter((task) => !claims.get(task)?.some(({ owns, lag, member }) => owns && lag === 0 && take(member, task)))
  const free = moving.filter((task) => !claims.get(task)?.some(({ member }) => take(member, task)))
  for (const task of free) {
    const [least] = [...given.values()].sort((a, b) => a.length - b.length)
    ;(least as string[]).push(task)
  }
  return given
}
