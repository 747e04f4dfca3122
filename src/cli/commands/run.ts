/**
 * `tidemark run`: one worker of a topology on Kafka, with its views over HTTP. Sources must exist: "topics apply" makes them.
 *
 * What stops it says whether it comes back. Told to end (SIGTERM), as supervisors do who start it again, a worker with a name stays a member:
 * within its session nobody else notices. Interrupted (Ctrl-C, SIGINT) it leaves for good, and others take over at once.
 */
import { TidemarkError } from '../../base/errors.ts'
import { type Duration, durationMs } from '../../base/time.ts'
import { differenceText } from '../../drivers/kafka/index.ts'
import type { LogDriver } from '../../ports/log.ts'
import { checkedInstance, requireFolder } from '../../start.ts'
import { Ear } from '../ear.ts'
import { brokersOf, committedSchemas, kafkaOf } from '../kafka.ts'
import type { RunWords } from '../kafka-grammar.ts'
import type { Loaded } from '../load.ts'
import { prepared } from '../prepared.ts'
import type { Shell } from '../shell.ts'
import { lockAnyFolder, lockFolder, workerFolder } from '../worker-folder.ts'
import { dev } from './dev.ts'
import { compared, onLog } from './topics.ts'

/** @throws TidemarkError when it cannot be started; what happens later is shown, and decides the exit code */
export async function runOnKafka(
  loaded: Loaded,
  words: RunWords,
  feed: Readonly<Record<string, string | true | undefined>>,
  shell: Shell,
): Promise<number> {
  const { instance = '0', dynamic = false, session, once = false, json = false, feed: feeds = false, port } = words
  checkedInstance(instance)
  if (dynamic && words.instance !== undefined) {
    throw new TidemarkError('OPTION_INVALID', 'a dynamic worker has no name', { hint: 'Leave out --instance, or --dynamic.' })
  }
  const member = {
    ...(dynamic ? { membership: 'dynamic' as const } : { instance }),
    ...(session === undefined ? {} : { session: durationMs(session as Duration, '--session') }),
  }
  if (feeds && loaded.feed === undefined) {
    throw new TidemarkError('OPTION_INVALID', `topology "${loaded.topology.name}" has no feed`, {
      hint: 'Leave out --feed: its sources are others’.',
    })
  }
  const given = Object.keys(feed).find((name) => feed[name] !== undefined)
  if (!feeds && given !== undefined) {
    throw new TidemarkError('OPTION_INVALID', `--${given} is an option of the feed`, { hint: 'Add --feed to run it here.' })
  }
  const { name } = loaded.topology
  const folder = dynamic ? words.dir : (words.dir ?? workerFolder(name, instance))
  if (folder !== undefined) requireFolder(folder)
  const ready = feeds ? await prepared(loaded, { unpaced: once, options: feed }) : loaded
  const ear = new Ear(shell.clock)
  const log = ear.listened(await kafkaOf(words, shell))
  await requireSources(log, loaded, shell)
  const schemas = await committedSchemas()
  // Taken before the group hears of this worker: another one of the same name would be thrown out of it first.
  const { dir, lock } =
    dynamic || folder === undefined
      ? await lockAnyFolder(name, folder)
      : await lockFolder(folder, instance, 'Give another worker its own name: --instance 1. Or none: --dynamic.')
  const who = dynamic ? 'as a dynamic member' : `as instance ${instance}`
  const where = `on Kafka at ${brokersOf(words, shell).join(', ')} ${who}, state in ${dir}`
  try {
    return await dev(ready, { dir, port, once, json, feed, kafka: { log, ear, where, member, feeds, schemas } }, shell)
  } finally {
    await lock.release()
  }
}

/** @throws TidemarkError TOPIC_UNKNOWN TOPIC_MISMATCH */
async function requireSources(driver: LogDriver, loaded: Loaded, shell: Shell): Promise<void> {
  await onLog(driver, shell, async (log) => {
    for (const { topic, state, differ } of await compared(log, loaded)) {
      if (topic.role !== 'source' || state === 'right') continue
      const hint = `"tidemark topics apply ${loaded.name}" makes the topics of a topology.`
      if (state === 'missing') throw new TidemarkError('TOPIC_UNKNOWN', `source topic "${topic.name}" does not exist`, { hint })
      throw new TidemarkError('TOPIC_MISMATCH', `source topic "${topic.name}" is not what the topology reads`, {
        detail: `${differ.map(differenceText).join(', ')}.`,
        hint: 'Make it anew as "tidemark topics plan" says, or say in the contract what it is like.',
      })
    }
  })
}
