/**
 * `tidemark replay` killed at random, again and again, and then let through: the state that comes of it must be the live one, and nothing
 * that the dead attempts left may be in its way, be it on disk or in the log. In between the application is started, and must not notice.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { levelState } from '../../src/drivers/level/index.ts'
import type { Replayed } from '../../src/runtime/replay.ts'
import { retail } from '../../topologies/retail/index.ts'
import { inScratch, openFolder } from './look.ts'
import { type Ended, jsonOf, type Process, tidemark } from './process.ts'
import { chanceOf } from './random.ts'
import { finish, resultOf, VIEWS, wrongIn, wrongInFolder } from './truth.ts'

export interface ReplaysOptions {
  readonly kills: number
  readonly seed: number
  readonly tell?: (line: string) => void
}

export interface Replays {
  readonly kills: number
  /** Attempts that had begun a generation when they were killed. */
  readonly begun: number
  /** Attempts that were through before they could be killed: they switched to what they made. */
  readonly through: number
  readonly starts: number
  readonly wrong: readonly string[]
}

/** The application is started after every so many kills. */
const START_EVERY = 5

export async function killReplays({ kills, seed, tell = () => {} }: ReplaysOptions): Promise<Replays> {
  const chance = chanceOf(seed)
  return await inScratch(async (scratch) => {
    const dir = join(scratch, 'data')
    const wrong = [...wrongIn(await finish(dir))]
    const { hash, lasts } = await undisturbedReplay(dir, wrong)
    let begun = 0
    let through = 0
    let starts = 0
    let generations = await generationsIn(dir)
    for (let killed = 0; killed < kills && wrong.length === 0; ) {
      const topics = topicsIn(dir)
      const attempt = replaying(dir, VIEWS[0], 'equal')
      // Every other one is killed at work: most of the time of a replay of so few rows is its start.
      if (killed % 2 === 1) await attempt.until(() => topicsIn(dir) > topics)
      await Promise.race([attempt.ended(), sleep(chance.between(0, killed % 2 === 1 ? lasts.work : lasts.all))])
      if (attempt.over) {
        through++
        if (hashOf(await attempt.ended(), wrong) !== hash) wrong.push('a replay came to another state hash')
      } else {
        attempt.kill()
        await attempt.ended()
        killed++
        const now = await generationsIn(dir)
        if (now > generations) begun++
        tell(`replay, kill ${killed}: ${now - generations} generations begun`)
        if (killed % START_EVERY === 0) {
          starts++
          await undisturbed(dir, wrong)
        }
      }
      generations = await generationsIn(dir)
    }
    if (hashOf(await replaying(dir, VIEWS[0], 'equal').ended(), wrong) !== hash) wrong.push('the last replay came to another state hash')
    starts++
    await undisturbed(dir, wrong)
    wrong.push(...(await wrongInFolder(dir)))
    for (const dead of await deadGenerations(dir)) wrong.push(`state of a generation that is not live is left: ${dead}`)
    return { kills, begun, through, starts, wrong }
  })
}

function replaying(dir: string, view: string, when: 'equal' | 'never'): Process {
  return tidemark('replay', view, '--dir', dir, '--switch', when, '--json')
}

/** The state hash of the first view, when it is that of the live one too. */
function hashOf(ended: Ended, wrong: string[]): string | undefined {
  const { projections } = jsonOf(ended) as Partial<Replayed>
  const [projection] = projections ?? []
  if (ended.code !== 0 || projection === undefined || !projection.equal)
    wrong.push(`a replay ended with ${ended.code ?? ended.signal}: ${ended.out} ${ended.err}`)
  return projection?.rebuilt
}

async function undisturbed(dir: string, wrong: string[]): Promise<void> {
  const ended = await finish(dir)
  const { applied } = resultOf(ended)
  wrong.push(...wrongIn(ended))
  if (applied !== 0) wrong.push(`after a replay, ${applied} facts were applied again`)
}

/** The state hash, and how long a replay takes that nobody disturbs: all of it, and from when it has begun a generation, ms. */
async function undisturbedReplay(
  dir: string,
  wrong: string[],
): Promise<{ hash: string | undefined; lasts: { all: number; work: number } }> {
  const topics = topicsIn(dir)
  const from = performance.now()
  const replay = replaying(dir, VIEWS[0], 'never')
  await replay.until(() => topicsIn(dir) > topics)
  const begun = performance.now()
  const hash = hashOf(await replay.ended(), wrong)
  return { hash, lasts: { all: performance.now() - from, work: performance.now() - begun } }
}

/** A generation begins with topics of its own. */
function topicsIn(dir: string): number {
  return readdirSync(join(dir, 'log', 'topics')).length
}

/** How many generations there are of the stage that is replayed, by their changelogs. */
async function generationsIn(dir: string): Promise<number> {
  const opened = await openFolder(dir)
  try {
    return (await opened.world.log.describe()).filter(({ name }) => /-stock-g\d+-changelog$/.test(name)).length
  } finally {
    await opened.close()
  }
}

/** Generations of the replayed stage that have state on disk, but for the newest. */
async function deadGenerations(dir: string): Promise<string[]> {
  const ids = (await levelState({ folder: join(dir, 'state') }).list(retail.graph.name)).filter(({ stage }) => stage === 'stock')
  const live = Math.max(...ids.map(({ generation }) => generation))
  return [...new Set(ids.filter(({ generation }) => generation !== live).map(({ stage, generation }) => `${stage}-g${generation}`))]
}
