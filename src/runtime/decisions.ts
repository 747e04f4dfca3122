/**
 * Decisions: a compacted topic of the application's own, that says what was decided once and holds for every later run: the plan that its
 * state was made by, which generation of each stage is live, and which dead letters were redriven.
 */
import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { asAgreed, factsOf, type PlanLock } from '../plan/lock.ts'
import { lockText, parseLock } from '../plan/lock-text.ts'
import { decisionsTopic } from '../plan/naming.ts'
import type { PlanFacts } from '../plan/plan.ts'
import { type Log, type PlainWriter, partitionName, type Writer } from '../ports/log.ts'
import { BatchBuilder, type Codecs } from '../ports/record-batch/index.ts'

const PLAN = 'plan'
const GENERATION = 'generation/'
const REDRIVEN = 'redriven/'

export interface Decisions {
  /** The plan that the state was made by; undefined before the first start. */
  readonly plan: PlanLock | undefined
  /** The live generation of each stage that was ever rebuilt. */
  readonly generations: ReadonlyMap<string, number>
  /** Dead letters that were redriven, by where they lie: `topic/partition@offset`. */
  readonly redriven: ReadonlySet<string>
}

/**
 * Reads the topic from its beginning; it is short. An application that never started has made no decisions.
 * @param upTo `stable`: what is decided now; `high`: also what is being decided at this moment, which is waited for
 */
export async function readDecisions(log: Log, app: string, upTo: 'stable' | 'high' = 'stable'): Promise<Decisions> {
  const topic = decisionsTopic(app)
  const known = new Map<string, string | undefined>()
  if ((await log.describe([topic])).length > 0) {
    const partition = partitionName(topic, 0)
    const until = (await log.offsets([partition], upTo)).get(partition) as number
    let position = (await log.offsets([partition], 'start')).get(partition) as number
    const reader = log.reader('committed')
    try {
      reader.assign(new Map([[partition, position]]))
      while (position < until) {
        for (const fetched of await reader.poll({ bytes: 1024 * 1024, waitMs: 100 })) {
          if (fetched.kind === 'failed') throw fetched.error
          if (fetched.kind === 'gap')
            throw new TidemarkError('POSITION_GAP', `decisions of "${app}" are gone`, {
              detail: `The topic begins at ${fetched.logStart}.`,
            })
          for (const batch of fetched.batches) {
            for (let i = 0; i < batch.count; i++) {
              const key = batch.key(i)
              const value = batch.value(i)
              if (key !== null) known.set(utf8(key), value === null ? undefined : utf8(value))
            }
          }
          position = fetched.next
        }
      }
    } finally {
      await reader.close()
    }
  }
  const plan = known.get(PLAN)
  const generations = new Map<string, number>()
  const redriven = new Set<string>()
  for (const [key, value] of known) {
    if (value === undefined) continue
    if (key.startsWith(GENERATION)) generations.set(key.slice(GENERATION.length), Number(value))
    else if (key.startsWith(REDRIVEN)) redriven.add(key.slice(REDRIVEN.length))
  }
  return { plan: plan === undefined ? undefined : parseLock(plan, `the plan in topic "${topic}"`), generations, redriven }
}

/** What exists, for the planner: topics, numbers of stores, live generations. */
export async function factsKnown(log: Log, decisions: Decisions, lock: PlanLock | undefined): Promise<PlanFacts> {
  const existing = new Map((await log.describe()).map((topic) => [topic.name, topic.partitions]))
  const agreed = decisions.plan === undefined ? lock : asAgreed(decisions.plan, lock)
  const known = factsOf(agreed, (topic) => existing.get(topic))
  return {
    ...known,
    generationOf: (kind, name) => (kind === 'stage' ? (decisions.generations.get(name) ?? known.generationOf(kind, name)) : 1),
  }
}

/** Records the plan that the state is made by from now on. */
export async function recordPlan(writer: Writer | PlainWriter, codecs: Codecs, lock: PlanLock, now: number): Promise<void> {
  await append(writer, codecs, lock.app, PLAN, lockText(lock), now)
}

/** Records which generation of a stage is live. In a transaction it takes effect with it. */
export async function recordGeneration(
  writer: Writer | PlainWriter,
  codecs: Codecs,
  app: string,
  stage: string,
  generation: number,
  now: number,
): Promise<void> {
  await append(writer, codecs, app, `${GENERATION}${stage}`, String(generation), now)
}

/** Records that a dead letter was redriven. In the transaction of what came of it, it is so exactly when that is there. */
export async function recordRedriven(writer: Writer, codecs: Codecs, app: string, letter: string, now: number): Promise<void> {
  await append(writer, codecs, app, `${REDRIVEN}${letter}`, String(now), now)
}

async function append(writer: Writer | PlainWriter, codecs: Codecs, app: string, key: string, value: string, now: number): Promise<void> {
  const batch = new BatchBuilder({ codecs, capacity: 4 * 1024 })
  batch.add(now, Buffer.from(key), Buffer.from(value))
  await writer.append(partitionName(decisionsTopic(app), 0), batch.finish())
}
