/**
 * A process that is killed again and again, at any moment, while its feed goes on: what `kill -9` of a whole process group leaves, and what
 * requests to end leave. After each end the folder is looked at, and the next process is started in it.
 *
 * Half of the processes are killed at a random moment after their start, whatever they are doing. The other half is let come to readiness and
 * killed at a random moment after that: only these say how long a restart takes, because a slow one would be killed in the other half and
 * not be counted.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readInvoices } from '../../topologies/retail/csv.ts'
import { Pace } from '../../topologies/retail/pace.ts'
import { type Left, lookAt } from './look.ts'
import { freePort, Process, type Ready, tidemark } from './process.ts'
import { chanceOf } from './random.ts'
import { finish, resultOf, TOPOLOGY, wrongIn, wrongInFolder } from './truth.ts'

export interface KillsOptions {
  readonly dir: string
  readonly kills: number
  readonly seed: number
  /** Of the feed; undefined for a feed without faults. */
  readonly faults: number | undefined
  /** Hears of each end. */
  readonly tell?: (line: string) => void
  /** Every so many kills the whole folder is verified as well, in a copy. */
  readonly verifyEvery: number
}

/** `npm` is a kill -9 too: of the group of `npm start`. */
type How = 'kill' | 'npm' | 'SIGTERM' | 'SIGINT'

export interface Kills {
  readonly counts: Readonly<Record<How, number>>
  /** Of kills only. */
  readonly hit: {
    readonly starting: number
    readonly restoring: number
    readonly undecided: number
    readonly storesBehind: number
  }
  /** Of the processes that were let come to that: from the start until all tasks ran. */
  readonly ready: readonly Ready[]
  /** Facts that were left to be applied after the last kill. */
  readonly leftAtTheEnd: number
  readonly wrong: readonly string[]
}

/** A process that is not ready by then never will be. */
const READY_MAX_MS = 120_000
/** About how much of its feed a process gets through before it is killed, on this machine or a faster one, ms. */
const FED_MS = 900

export async function killAgainAndAgain(options: KillsOptions): Promise<Kills> {
  const { dir, kills, seed, faults, tell = () => {}, verifyEvery } = options
  const chance = chanceOf(seed)
  const counts = { kill: 0, npm: 0, SIGTERM: 0, SIGINT: 0 }
  const hit = { starting: 0, restoring: 0, undecided: 0, storesBehind: 0 }
  const readies: Ready[] = []
  const wrong: string[] = []
  const faulty = faults === undefined ? [] : ['--seed', `${faults}`]
  const feed = ['--pace', `${await paceFor(kills * FED_MS)}`, ...faulty]
  let before: Left | undefined
  for (let round = 0; counts.kill + counts.npm < kills; round++) {
    const how: How = round % 12 === 5 ? 'SIGTERM' : round % 12 === 11 ? 'SIGINT' : round % 12 === 8 ? 'npm' : 'kill'
    const port = await freePort()
    const process = launched(dir, how, port, feed)
    const letReady = round % 2 === 1
    const stop = new AbortController()
    const becomesReady = process.ready(port, stop.signal)
    const wait = letReady ? chance.between(0, 1_000) : chance.between(50, 2_000)
    if (letReady) await Promise.race([becomesReady, sleep(READY_MAX_MS)])
    await sleep(wait)
    if (process.over) wrong.push(`a process ended before it was killed:\n${process.out.slice(-300)}\n${process.err.slice(-500)}`)
    if (how === 'SIGTERM') process.signal('SIGTERM')
    else if (how === 'SIGINT') process.signalGroup('SIGINT')
    else process.kill()
    const ended = await process.ended()
    stop.abort()
    const ready = await becomesReady
    if (letReady && ready === undefined) wrong.push('a process was not ready in two minutes')
    if (letReady && ready !== undefined) readies.push(ready)
    if ((how === 'SIGTERM' || how === 'SIGINT') && ready !== undefined) {
      const code = how === 'SIGTERM' ? 0 : 130
      if (ended.code !== code) wrong.push(`a process that got ${how} ended with ${ended.code ?? ended.signal}:\n${ended.err.slice(-500)}`)
    }
    counts[how]++
    const left = await lookAt(dir, { whole: round % verifyEvery === verifyEvery - 1 })
    wrong.push(...left.wrong)
    if (how === 'kill' || how === 'npm') {
      if (ready === undefined) hit.starting++
      if (ready === undefined && (before?.behind.tasks ?? 0) > 0) hit.restoring++
      if (left.undecided) hit.undecided++
      if (left.behind.tasks > 0) hit.storesBehind++
    }
    tell(`${round} ${how}: ready ${ready === undefined ? 'not yet' : `${Math.round(ready.ms)} ms`}, ${JSON.stringify(left)}`)
    before = left
    if (wrong.length > 10) break
  }
  const last = await finish(dir, ...faulty)
  wrong.push(...wrongIn(last))
  const leftAtTheEnd = resultOf(last).applied
  if (leftAtTheEnd === 0) wrong.push('the feed was through before the last kill')
  wrong.push(...(await unchangedBy(dir, faulty)))
  return { counts, hit, ready: readies, leftAtTheEnd, wrong }
}

/** Once more from the start: nothing may be applied again, everything must verify, and a replay must give the same state. */
async function unchangedBy(dir: string, faulty: readonly string[]): Promise<string[]> {
  const again = await finish(dir, ...faulty)
  const { applied } = resultOf(again)
  const twice = applied === 0 ? [] : [`a rerun applied ${applied} facts again`]
  return [...wrongIn(again), ...twice, ...(await wrongInFolder(dir))]
}

function launched(dir: string, how: How, port: number, feed: readonly string[]): Process {
  const args = ['--dir', dir, '--port', `${port}`, ...feed]
  return how === 'npm' ? new Process(['npm', 'start', '--silent', '--', ...args]) : tidemark('dev', TOPOLOGY, ...args)
}

/** The pace at which the shipped file lasts about so long. */
async function paceFor(ms: number): Promise<number> {
  const pace = new Pace()
  for await (const rows of readInvoices(new URL(`../../${TOPOLOGY}/data/online-retail-2010-12.csv.gz`, import.meta.url).pathname)) {
    for (const row of rows) if (!('problem' in row)) pace.note(row.at)
  }
  return Math.max(1, Math.round(pace.factorFor(ms)))
}
