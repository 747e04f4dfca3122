/** `tidemark topics`: what a topology needs of Kafka, against what is there. */
import { TidemarkError } from '../../base/errors.ts'
import { differences, differenceText, remedyOf, type TopicDifference } from '../../drivers/kafka/index.ts'
import type { TopicPlan } from '../../plan/plan.ts'
import { planOf } from '../../plan/planner.ts'
import type { Log, LogDriver, TopicSpec } from '../../ports/log.ts'
import { factsKnown, readDecisions } from '../../runtime/decisions.ts'
import { specOf } from '../../runtime/stages.ts'
import { jsonText } from '../../server/json.ts'
import { type KafkaWords, kafkaOf } from '../kafka.ts'
import type { Loaded } from '../load.ts'
import { lockAt } from '../locks.ts'
import { table } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'

export interface TopicsOptions extends KafkaWords {
  readonly json: boolean
}

export interface Compared {
  readonly topic: TopicPlan
  readonly spec: TopicSpec
  readonly state: 'right' | 'missing' | 'differs'
  /** How it differs from what is needed. */
  readonly differ: readonly TopicDifference[]
}

/** @throws TidemarkError BROKER_*, NOT_AUTHORIZED, TOPIC_MISMATCH when `apply` meets a topic that it cannot put right */
export async function topics(
  what: 'plan' | 'apply' | 'verify',
  loaded: Loaded,
  options: Partial<TopicsOptions>,
  shell: Shell,
): Promise<number> {
  return await onLog(await kafkaOf(options, shell), shell, async (log) => {
    const before = await compared(log, loaded)
    const wrong = before.filter(({ state }) => state === 'differs')
    const missing = before.filter(({ state }) => state === 'missing')
    if (what === 'apply') {
      const hopeless = wrong.filter(({ differ }) => !canBeAltered(differ))
      if (hopeless.length > 0) throw mismatch(hopeless)
      await log.ensure(
        [...wrong, ...missing].map(({ spec }) => spec),
        { alter: true },
      )
    }
    if (options.json === true) {
      const shown = before.map(({ topic, state, differ }) => ({
        name: topic.name,
        role: topic.role,
        partitions: topic.partitions,
        cleanup: topic.cleanup,
        state,
        differ: differ.map(({ setting, is, wanted, remedy }) => ({ setting, is, wanted, alterable: remedy === 'alter' })),
      }))
      await shell.out.write(`${jsonText({ topics: shown })}\n`)
    } else for (const line of lines(what, before)) await shell.out.write(`${line}\n`)
    return what === 'verify' && missing.length + wrong.length > 0 ? EXIT.differences : EXIT.ok
  })
}

/** Opens a log for one piece of work. */
export async function onLog<T>(driver: LogDriver, shell: Shell, work: (log: Log) => Promise<T>): Promise<T> {
  const [{ nodeRandom: random }, { nativeCodecs: codecs }] = await Promise.all([
    import('../../drivers/node/index.ts'),
    import('../../drivers/codecs/index.ts'),
  ])
  const opened = await driver.open({ clock: shell.clock, random, codecs })
  try {
    return await work(opened.log)
  } finally {
    await opened.close()
  }
}

/** Every topic of a topology as it is on a log. */
export async function compared(log: Log, loaded: Loaded): Promise<Compared[]> {
  const { graph, name } = loaded.topology
  const plan = planOf(graph, await factsKnown(log, await readDecisions(log, name), lockAt(loaded)))
  const existing = new Map((await log.describe(plan.topics.map((topic) => topic.name))).map((topic) => [topic.name, topic]))
  return plan.topics.map((topic): Compared => {
    const spec = specOf(topic)
    const found = existing.get(topic.name)
    if (found === undefined) return { topic, spec, state: 'missing', differ: [] }
    const differ = differences(found, spec)
    return { topic, spec, state: differ.length === 0 ? 'right' : 'differs', differ }
  })
}

function canBeAltered(differ: readonly TopicDifference[]): boolean {
  return differ.every(({ remedy }) => remedy === 'alter')
}

function lines(what: 'plan' | 'apply' | 'verify', all: readonly Compared[]): string[] {
  const rows = all.map(({ topic, state, differ }) => {
    const words = {
      right: 'is there',
      missing: what === 'apply' ? 'made' : what === 'plan' ? 'would be made' : 'missing',
      differs: !canBeAltered(differ) || what === 'verify' ? 'differs' : what === 'apply' ? 'altered' : 'would be altered',
    }
    const how = differ.map(differenceText).join(', ')
    return [topic.name, topic.role, `${topic.partitions} x ${topic.cleanup}`, `${words[state]}${how === '' ? '' : `: ${how}`}`]
  })
  return table(rows)
}

function mismatch(wrong: readonly Compared[]): TidemarkError {
  return new TidemarkError('TOPIC_MISMATCH', 'a topic exists with other properties', {
    detail: wrong.map(({ topic, differ }) => `- ${topic.name}: ${differ.map(differenceText).join(', ')}`).join('\n'),
    hint: `Nothing was changed. ${remedyOf(wrong.flatMap(({ differ }) => differ))}`,
  })
}
