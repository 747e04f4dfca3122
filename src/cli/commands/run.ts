/** `tidemark run`: one worker of a topology on Kafka, with its views over HTTP. Sources must exist: "topics apply" makes them. */
import { join } from 'node:path'
import { codeOf, TidemarkError } from '../../base/errors.ts'
import { nodeFs } from '../../drivers/node/index.ts'
import { schemaCatalogue } from '../../drivers/schemas/index.ts'
import type { Lock } from '../../ports/fs.ts'
import type { LogDriver } from '../../ports/log.ts'
import { requireFolder } from '../../start.ts'
import { Ear } from '../ear.ts'
import { brokersOf, kafkaOf } from '../kafka.ts'
import type { RunWords } from '../kafka-grammar.ts'
import type { Loaded } from '../load.ts'
import type { Shell } from '../shell.ts'
import { dev } from './dev.ts'
import { compared, onLog } from './topics.ts'

const INSTANCE = /^[a-zA-Z0-9._-]{1,100}$/

/** @throws TidemarkError when it cannot be started; what happens later is shown, and decides the exit code */
export async function runOnKafka(
  loaded: Loaded,
  words: RunWords,
  feed: Readonly<Record<string, string | true | undefined>>,
  shell: Shell,
): Promise<number> {
  const { instance = '0', once = false, json = false, feed: feeds = false, port } = words
  if (!INSTANCE.test(instance)) {
    throw new TidemarkError('OPTION_INVALID', `"${instance}" is no name for a worker`, {
      hint: 'Use letters, digits, dots, dashes and underscores.',
    })
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
  const dir = words.dir ?? join('.tidemark', 'kafka', name, instance)
  requireFolder(dir)
  const ear = new Ear(shell.clock)
  const log = ear.listened(await kafkaOf(words, shell))
  await requireSources(log, loaded, shell)
  const where = `on Kafka at ${brokersOf(words, shell).join(', ')} as instance ${instance}, state in ${dir}`
  // Ids of schemas must mean the same to every worker: only what is committed with the code does.
  const schemas = schemaCatalogue({ file: join('schemas', 'catalogue.json'), writable: false })
  const lock = await lockOf(dir, instance)
  try {
    return await dev(loaded, { dir, port, once, json, feed, kafka: { log, ear, where, instance, feeds, schemas } }, shell)
  } finally {
    await lock.release()
  }
}

/** Taken before the group hears of this worker: another one of the same name would be thrown out of it first. */
async function lockOf(dir: string, instance: string): Promise<Lock> {
  try {
    return await nodeFs.lock(join(dir, 'worker'))
  } catch (error) {
    if (codeOf(error) !== 'LOG_LOCKED') throw error
    throw new TidemarkError('STORE_LOCKED', `instance "${instance}" runs already, with its state in ${dir}`, {
      hint: 'Give another worker a name of its own: --instance 1.',
    })
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
        detail: `${differ.join(', ')}.`,
        hint: 'Make it anew as "tidemark topics plan" says, or say in the contract what it is like.',
      })
    }
  })
}
