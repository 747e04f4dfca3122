/**
 * The plan lock: what a plan commits an application to, because data lies under it. Kept in git as `*.plan.json` and, by a running application,
 * in its decisions topic. A plan that differs from its lock is announced with what the difference would do to state, never carried out in
 * silence.
 *
 * Functions are invisible to it: a fold that changes its meaning raises its `revision`, which is not.
 */
import { TidemarkError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'
import type { Plan, PlanFacts } from './plan.ts'

export interface PlanLock {
  readonly lockVersion: 1
  readonly app: string
  readonly stages: { readonly [name: string]: LockedStage }
  readonly stores: { readonly [name: string]: LockedStore }
  readonly topics: { readonly [name: string]: LockedTopic }
  /** Numbers of stores whose state was given up. No store gets one again: rows under it may lie in a changelog for good. */
  readonly spent?: readonly number[]
  /**
   * What applications that have run leave behind when they start with this lock: state of a store, as `stage/store`, or a `stage` with all its
   * stores. Written by `tidemark plan --write --give-up`.
   */
  readonly givenUp?: readonly string[]
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
    ...(plan.spent.length === 0 ? {} : { spent: plan.spent }),
  }
}

function sorted<T>(entries: readonly (readonly [string, T])[]): { readonly [name: string]: T } {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/**
 * What was recorded, as a later lock wants it: stores under the names that it gives them, because a renamed step keeps its state where the lock
 * says so, and nothing of what it gives up.
 */
export function asAgreed(recorded: PlanLock, later: PlanLock | undefined): PlanLock {
  return withoutGivenUp(underNewNames(recorded, later), later?.givenUp ?? [])
}

function underNewNames(recorded: PlanLock, later: PlanLock | undefined): PlanLock {
  const stores = { ...recorded.stores }
  for (const [name, { was }] of Object.entries(later?.stores ?? {})) {
    const store = was === undefined ? undefined : recorded.stores[was]
    if (store === undefined || name in recorded.stores) continue
    delete stores[was as string]
    stores[name] = store
  }
  return { ...recorded, stores }
}

/** A lock without the state that is given up, whose numbers are spent. */
export function withoutGivenUp(lock: PlanLock, givenUp: readonly string[]): PlanLock {
  const isGone = (name: string, stage: string): boolean => givenUp.includes(stage) || givenUp.includes(entryOf(name, stage))
  const stores = Object.entries(lock.stores)
  const gone = stores.filter(([name, { stage }]) => isGone(name, stage))
  if (gone.length === 0 && !givenUp.some((entry) => entry in lock.stages)) return lock
  const spent = [...new Set([...(lock.spent ?? []), ...gone.map(([, { id }]) => id)])].sort((a, b) => a - b)
  return {
    ...lock,
    stages: Object.fromEntries(Object.entries(lock.stages).filter(([name]) => !givenUp.includes(name))),
    stores: Object.fromEntries(stores.filter(([name, { stage }]) => !isGone(name, stage))),
    ...(spent.length === 0 ? {} : { spent }),
  }
}

/** How `givenUp` names the state of one store. Names of stages have no slash. */
function entryOf(store: string, stage: string): string {
  return `${stage}/${store}`
}

/** Whether a plan has what an entry of `givenUp` names. */
export function isPlanned(entry: string, { stages, stores }: PlanLock): boolean {
  return entry in stages || Object.entries(stores).some(([name, { stage }]) => entry === entryOf(name, stage))
}

/**
 * State that has a use is not given up: at the next start, and at each after it, what was made since would be gone.
 * @throws TidemarkError PLAN_LOCK_INVALID
 */
export function refuseContradiction(lock: PlanLock | undefined, plan: PlanLock): void {
  const entry = lock?.givenUp?.find((each) => isPlanned(each, plan))
  if (entry === undefined) return
  throw new TidemarkError('PLAN_LOCK_INVALID', `the plan lock gives up "${entry}", which the topology has`, {
    hint: 'Make the lock of this topology: tidemark plan <topology> --write. It takes the entry out.',
  })
}

/** What the later plan has no use for although state lies there, as `givenUp` names it. */
export function lossesBetween(before: PlanLock, after: PlanLock): string[] {
  const renamed = oldNamesIn(after)
  const stages = Object.keys(before.stages).filter((name) => after.stages[name] === undefined)
  const stores = Object.entries(before.stores).flatMap(([name, { stage }]) => {
    const is = after.stores[name]
    const lost = is === undefined ? !renamed.has(name) : is.stage !== stage
    return lost && !stages.includes(stage) ? [entryOf(name, stage)] : []
  })
  return [...stages, ...stores].sort()
}

const GIVING_UP = '--give-up'

/** The command that gives up what is lost. @param topology what the command line calls the topology */
export function givingUp(losses: readonly string[], topology: string): string {
  return `tidemark plan ${topology} --write ${GIVING_UP} ${losses.join(',')}`
}

function oldNamesIn({ stores }: PlanLock): Set<string> {
  return new Set(Object.values(stores).flatMap(({ was }) => (was === undefined ? [] : [was])))
}

/**
 * Former names of stores, as a lock has them, each as a sentence for whoever agrees to it: a lock cannot know whether anything was ever called so.
 * A name that is a store of its own is most likely mistyped; it may also be that a new step took it over.
 */
export function formerNames({ stores }: PlanLock): string[] {
  return Object.entries(stores).flatMap(([name, { was }]) => {
    if (was === undefined) return []
    const taken = stores[was] === undefined ? '' : `, and "${was}" is another store now, which begins empty where that has run`
    return [`store "${name}" keeps the state of what was called "${was}"${taken}`]
  })
}

/**
 * What an application that has run is refused with when its topology has changed in a way that its state would not survive.
 * @param recorded the plan that its state was made by
 * @param lock the committed lock, if there was one
 */
export function planChanged(
  sentence: string,
  harmful: readonly [Change, ...Change[]],
  { recorded, lock }: { readonly recorded: PlanLock; readonly lock: PlanLock | undefined },
): TidemarkError {
  const unknown = Object.entries(lock?.stores ?? {}).flatMap(([name, { was }]) => {
    if (was === undefined || was in recorded.stores || name in recorded.stores) return []
    const meant = nearest(was, Object.keys(recorded.stores))
    return [
      `- the lock says "was": "${was}" of store "${name}", and what has run has no such store${meant === undefined ? '' : `: did you mean "${meant}"?`}`,
    ]
  })
  // What a lock can say is what becomes of state that would be lost; it changes nothing about what has to be rebuilt.
  const wanted = lock === undefined && harmful.some(({ then }) => then.includes(GIVING_UP))
  const none = `There is no plan lock that says what was meant: no ${recorded.app}.plan.json beside the module, or it was not given to start().`
  return new TidemarkError('PLAN_CHANGED', sentence, {
    detail: [...harmful.map(({ what }) => `- ${what}`), ...unknown, ...(wanted ? [none] : [])].join('\n'),
    hint: `${wanted ? 'Make the lock: tidemark plan <topology> --write. ' : ''}${harmful[0].then}`,
  })
}

/** What a lock says to the planner. */
export function factsOf(lock: PlanLock | undefined, partitionsOf: PlanFacts['partitionsOf'] = () => undefined): PlanFacts {
  return {
    partitionsOf,
    generationOf: (kind, name) => (kind === 'stage' ? (lock?.stages[name]?.generation ?? 1) : 1),
    storeIdOf: (name) => lock?.stores[name]?.id,
    spent: lock?.spent ?? [],
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

/**
 * What is different, worst first; empty when nothing is.
 * @param topology what the command line calls the topology, for the commands that are named
 */
export function compareLocks(before: PlanLock, after: PlanLock, topology = '<topology>'): Change[] {
  const changes: Change[] = []
  const add = (effect: Effect, what: string, then: string): void => void changes.push({ effect, what, then })
  if (before.app !== after.app)
    add(
      'refused',
      `the application was "${before.app}" and is "${after.app}"`,
      'All its topics and state have the old name in theirs. Keep the name, or begin anew in another folder.',
    )
  const giveUp = `give it up: ${givingUp(lossesBetween(before, after), topology)}. Programs give the lock to start().`
  compareStages(before, after, giveUp, add)
  compareStores(before, after, giveUp, add)
  compareTopics(before, after, add)
  const rank: Record<Effect, number> = { refused: 0, rebuild: 1, safe: 2 }
  return changes.sort((a, b) => rank[a.effect] - rank[b.effect] || (a.what < b.what ? -1 : 1))
}

type Add = (effect: Effect, what: string, then: string) => void

function compareStages(before: PlanLock, after: PlanLock, giveUp: string, add: Add): void {
  for (const [name, was] of Object.entries(before.stages)) {
    const is = after.stages[name]
    if (is === undefined) {
      add(
        'rebuild',
        `stage "${name}" is gone`,
        `What it has in its topics and its state would not be used any more. Keep the name of what it reads, or ${giveUp}`,
      )
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

function compareStores(before: PlanLock, after: PlanLock, giveUp: string, add: Add): void {
  const renamed = oldNamesIn(after)
  for (const [name, was] of Object.entries(before.stores)) {
    const is = after.stores[name]
    if (is === undefined) {
      if (!renamed.has(name))
        add(
          'rebuild',
          `store "${name}" is gone`,
          `If its step was renamed, its state stays where the lock says "was": "${name}" in the entry of the new name. If it may go, ${giveUp}`,
        )
      continue
    }
    if (was.id !== is.id)
      add('refused', `store "${name}" had number ${was.id} and has ${is.id}`, 'Its rows lie under the old number. Keep it.')
    if (was.stage !== is.stage)
      add(
        'rebuild',
        `store "${name}" moved from stage "${was.stage}" to "${is.stage}"`,
        `Its rows lie in the old stage's changelog, and no other stage reads them. Leave it there, or ${giveUp}`,
      )
    if (was.revision !== is.revision)
      add(
        'rebuild',
        `store "${name}" goes from revision ${was.revision} to ${is.revision}`,
        `Its rows mean something else now. ${madeAnew(name, is, after)}`,
      )
    else if (was.fingerprint !== is.fingerprint)
      add(
        'rebuild',
        `rows of store "${name}" have another schema`,
        after.stages[is.stage]?.class === 'ingest'
          ? `Rows of before may not be readable. ${madeAnew(name, is, after)}`
          : `If the fold fills the new fields, raise its revision and rebuild it: tidemark replay ${name}.`,
      )
  }
  for (const name of Object.keys(after.stores))
    if (before.stores[name] === undefined) add('safe', `store "${name}" is new`, `It begins empty, from where its stage stands. ${EMPTY}`)
}

/** What an empty store means where facts have come before. */
export const EMPTY =
  'If facts have come before, an order waits for sequence 1 of every key again, a dedupe does not know them, and a projection lacks them.'

/** Only a fold can be made again from its log. */
function madeAnew(name: string, { stage }: LockedStore, { stages }: PlanLock): string {
  return stages[stage]?.class === 'ingest'
    ? `It cannot be rebuilt, because its stage is no fold: give the step another name, and then up what the old one keeps (${GIVING_UP} ${entryOf(name, stage)}).`
    : `Rebuild it: tidemark replay ${name}.`
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
