/**
 * `tidemark run`: one worker of a topology on Kafka, with its views over HTTP. Sources must exist: "topics apply" makes them.
 *
 * What stops it says whether it comes back. Told to end (SIGTERM), as supervisors do who start it again, a worker with a name stays a member:
 * within its session nobody else notices. Interrupted (Ctrl-C, SIGINT) it leaves for good, and others take over at once.
 */
import { join } from 'node:path'
import { codeOf, TidemarkError } from '../../base/errors.ts'
import { type Duration, durationMs } from '../../base/time.ts'
import { nodeFs } from '../../drivers/node/index.ts'
import { schemaCatalogue } from '../../drivers/schemas/index.ts'
import type { Lock } from '../../ports/fs.ts'
import type { LogDriver } from '../../ports/log.ts'
import { brokersOf, kafkaOf } from '../kafka.ts'
import type { RunWords } from '../kafka-grammar.ts'
import type { Loaded } from '../load.ts'
import type { Shell } from '../shell.ts'
import { dev } from './dev.ts'
import { compared, onLog } from './topics.ts'

/** Dynamic workers on one machine. */
const PLACES_MAX = 1_000
const INSTANCE = /^[a-zA-Z0-9._-]{1,100}$/

/** @throws TidemarkError when it cannot be started; what happens later is shown, and decides the exit code */
export async function runOnKafka(
  loaded: Loaded,
  words: RunWords,
  feed: Readonly<Record<string, string | true | undefined>>,
  shell: Shell,
): Promise<number> {
  const { instance = '0', dynamic = false, session, once = false, json = false, feed: feeds = false, port } = words
  if (!INSTANCE.test(instance)) {
    throw new TidemarkError('OPTION_INVALID', `"${instance}" is no name for a worker`, {
      hint: 'Use letters, digits, dots, dashes and underscores.',
    })
  }
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
  const log = await kafkaOf(words, shell)
  await requireSources(log, loaded, shell)
  const { name } = loaded.topology
  const place = dynamic ? await anyPlace(name, words.dir) : await placeOf(words.dir ?? join(homeOf(name), instance), instance)
  const { dir } = place
  const who = dynamic ? 'as a dynamic member' : `as instance ${instance}`
  const where = `on Kafka at ${brokersOf(words, shell).join(', ')} ${who}, state in ${dir}`
  // Ids of schemas must mean the same to every worker: only what is committed with the code does.
  const schemas = schemaCatalogue({ file: join('schemas', 'catalogue.json'), writable: false })
  try {
    return await dev(loaded, { dir, port, once, json, feed, kafka: { log, where, member, feeds, schemas } }, shell)
  } finally {
    await place.lock.release()
  }
}

interface Place {
  readonly dir: string
  readonly lock: Lock
}

function homeOf(topology: string): string {
  return join('.tidemark', 'kafka', topology)
}

/** Taken before the group hears of this worker: another one of the same name would be thrown out of it first. */
async function placeOf(dir: string, instance: string): Promise<Place> {
  try {
    return { dir, lock: await nodeFs.lock(join(dir, 'worker')) }
  } catch (error) {
    if (codeOf(error) !== 'LOG_LOCKED') throw error
    throw new TidemarkError('STORE_LOCKED', `instance "${instance}" runs already, with its state in ${dir}`, {
      hint: 'Give another worker a name of its own: --instance 1. Or none: --dynamic.',
    })
  }
}

/** The first folder that no other worker on this machine uses: what one of them left there is restored from, whoever it was. */
async function anyPlace(topology: string, chosen: string | undefined): Promise<Place> {
  for (let n = 0; ; n++) {
    const dir = chosen ?? join(homeOf(topology), `dynamic-${n}`)
    try {
      return { dir, lock: await nodeFs.lock(join(dir, 'worker')) }
    } catch (error) {
      if (codeOf(error) !== 'LOG_LOCKED') throw error
      if (chosen === undefined && n < PLACES_MAX) continue
      throw new TidemarkError('STORE_LOCKED', `another worker has its state in ${dir}`, { hint: 'Give each a folder of its own: --dir.' })
    }
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
      })
    }
  })
}
