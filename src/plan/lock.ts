/**
 * The plan lock: what a plan commits an application to, because data lies under it. Kept in git as `*.plan.json` and, by a running application,
 * in its decisions topic. A plan that differs from its lock is announced with what the difference would do to state, never carried out in
 * silence.
 *
 * Functions are invisible to it: a fold that changes its meaning raises its `revision`, which is not.
 */
import { TidemarkError } from '../base/errors.ts'
import type { Plan, PlanFacts } from './plan.ts'

export interface PlanLock {
  readonly lockVersion: 1
  readonly app: string
  readonly stages: { readonly [name: string]: LockedStage }
  readonly stores: { readonly [name: string]: LockedStore }
  readonly topics: { readonly [name: string]: LockedTopic }
}
export interface LockedStage {
  readonly class: 'fold' | 'ingest'
  readonly generation: number
  readonly partitions: number
}
export interface LockedStore {
  readonly id: number
  readonly stage: string
  readonly fingerprint: string
  readonly revision: number
  /** The name it had before, for a renamed step: written by hand, to keep the state. */
  readonly was?: string
}
export interface LockedTopic {
  readonly role: string
  readonly partitions: number
  readonly cleanup: 'compact' | 'delete'
}

export function lockOf(plan: Plan): PlanLock {
  return {
    lockVersion: 1,
    app: plan.app,
    stages: sorted(plan.stages.map(({ name, class: kind, generation, partitions }) => [name, { class: kind, generation, partitions }])),
    stores: sorted(
      plan.stages.flatMap((stage) =>
        stage.stores.map(({ id, name, fingerprint, revision }) => [name, { id, stage: stage.name, fingerprint, revision }] as const),
      ),
    ),
    topics: sorted(plan.topics.map(({ name, role, partitions, cleanup }) => [name, { role, partitions, cleanup }])),
  }
}

function sorted<T>(entries: readonly (readonly [string, T])[]): { readonly [name: string]: T } {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The lock as it is kept: no time, no path, stable order. */
export function lockText(lock: PlanLock): string {
  return `${JSON.stringify(lock, null, 2)}\n`
}

/** @throws TidemarkError PLAN_LOCK_INVALID */
export function parseLock(text: string, where: string): PlanLock {
  const refuse = (detail: string, cause?: unknown): never => {
    throw new TidemarkError('PLAN_LOCK_INVALID', `${where} is not a plan lock`, {
      detail,
      hint: 'Bring the committed one back, or make a new one with "tidemark plan --write".',
      cause,
    })
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    return refuse('It is not JSON.', error)
  }
  const lock = parsed as Partial<PlanLock> | null
  if (typeof lock !== 'object' || lock === null || lock.lockVersion !== 1) return refuse('Its lockVersion is not 1.')
  for (const part of ['stages', 'stores', 'topics'] as const)
    if (typeof lock[part] !== 'object' || lock[part] === null) return refuse(`It has no "${part}".`)
  if (typeof lock.app !== 'string') return refuse('It names no application.')
  return lock as PlanLock
}

/** What was recorded, with its stores under the names that a later lock gives them: a renamed step keeps its state where the lock says so. */
export function underNewNames(recorded: PlanLock, later: PlanLock | undefined): PlanLock {
  const stores = { ...recorded.stores }
  for (const [name, { was }] of Object.entries(later?.stores ?? {})) {
    const store = was === undefined ? undefined : recorded.stores[was]
    if (store === undefined || name in recorded.stores) continue
    delete stores[was as string]
    stores[name] = store
  }
  return { ...recorded, stores }
}

/** What a lock says to the planner. */
export function factsOf(lock: PlanLock | undefined, partitionsOf: PlanFacts['partitionsOf'] = () => undefined): PlanFacts {
  return {
    partitionsOf,
    generationOf: (kind, name) => (kind === 'stage' ? (lock?.stages[name]?.generation ?? 1) : 1),
    storeIdOf: (name) => lock?.stores[name]?.id,
  }
}

/** What a difference does to state. `safe`: nothing. `rebuild`: state must be made again. `refused`: data would be misread or lost. */
export type Effect = 'safe' | 'rebuild' | 'refused'
export interface Change {
  readonly effect: Effect
  readonly what: string
  /** What to do about it. */
  readonly then: string
}

/** What is different, worst first; empty when nothing is. */
export function compareLocks(before: PlanLock, after: PlanLock): Change[] {
  const changes: Change[] = []
  const add = (effect: Effect, what: string, then: string): void => void changes.push({ effect, what, then })
  if (before.app !== after.app)
    add(
      'refused',
      `the application was "${before.app}" and is "${after.app}"`,
      'All its topics and state have the old name in theirs. Keep the name, or begin anew in another folder.',
    )
  compareStages(before, after, add)
  compareStores(before, after, add)
  compareTopics(before, after, add)
  const rank: Record<Effect, number> = { refused: 0, rebuild: 1, safe: 2 }
  return changes.sort((a, b) => rank[a.effect] - rank[b.effect] || (a.what < b.what ? -1 : 1))
}

type Add = (effect: Effect, what: string, then: string) => void

function compareStages(before: PlanLock, after: PlanLock, add: Add): void {
  for (const [name, was] of Object.entries(before.stages)) {
    const is = after.stages[name]
    if (is === undefined) {
      add('rebuild', `stage "${name}" is gone`, 'Its changelog and state stay where they are and are not used any more.')
      continue
    }
    if (was.partitions !== is.partitions) {
      add(
        'refused',
        `stage "${name}" had ${was.partitions} partitions and has ${is.partitions}`,
        'Keys would move to other tasks than their state. Keep the count, or rebuild into a new inbox.',
      )
    }
    if (was.generation !== is.generation)
      add('safe', `stage "${name}" goes from generation ${was.generation} to ${is.generation}`, 'A rebuild was switched to.')
    if (was.class !== is.class) add('safe', `stage "${name}" was ${was.class} and is ${is.class}`, 'Only how it may be replayed changes.')
  }
  for (const name of Object.keys(after.stages))
    if (before.stages[name] === undefined) add('safe', `stage "${name}" is new`, 'It begins with the first record that its log still has.')
}

function compareStores(before: PlanLock, after: PlanLock, add: Add): void {
  const renamed = new Set(Object.values(after.stores).flatMap(({ was }) => (was === undefined ? [] : [was])))
  for (const [name, was] of Object.entries(before.stores)) {
    const is = after.stores[name]
    if (is === undefined) {
      if (!renamed.has(name))
        add(
          'rebuild',
          `store "${name}" is gone`,
          `If step "${name}" was renamed, its state is lost: write "was": "${name}" under the new name in the lock to keep it. Programs give the lock to start().`,
        )
      continue
    }
    if (was.id !== is.id)
      add('refused', `store "${name}" had number ${was.id} and has ${is.id}`, 'Its rows lie under the old number. Keep it.')
    if (was.stage !== is.stage)
      add(
        'rebuild',
        `store "${name}" moved from stage "${was.stage}" to "${is.stage}"`,
        `Its rows stay in the old stage's changelog. Rebuild it: tidemark replay ${name}.`,
      )
    if (was.revision !== is.revision)
      add(
        'rebuild',
        `store "${name}" goes from revision ${was.revision} to ${is.revision}`,
        `Its rows mean something else now. Rebuild it: tidemark replay ${name}.`,
      )
    else if (was.fingerprint !== is.fingerprint)
      add(
        'rebuild',
        `rows of store "${name}" have another schema`,
        `If the fold fills the new fields, raise its revision and rebuild it: tidemark replay ${name}.`,
      )
  }
  for (const name of Object.keys(after.stores))
    if (before.stores[name] === undefined) add('safe', `store "${name}" is new`, 'It begins empty, from where its stage stands.')
}

function compareTopics(before: PlanLock, after: PlanLock, add: Add): void {
  for (const [name, was] of Object.entries(before.topics)) {
    const is = after.topics[name]
    if (is === undefined) add('safe', `topic "${name}" is not used any more`, 'It stays where it is; remove it when nobody else reads it.')
    else if (was.partitions !== is.partitions || was.cleanup !== is.cleanup) {
      add(
        'refused',
        `topic "${name}" had ${was.partitions} partitions (${was.cleanup}) and would have ${is.partitions} (${is.cleanup})`,
        'A topic cannot be changed so. Use another name.',
      )
    }
  }
  for (const [name, { role }] of Object.entries(after.topics))
    if (before.topics[name] === undefined) add('safe', `topic "${name}" (${role}) is new`, 'It is made when the application starts.')
}
