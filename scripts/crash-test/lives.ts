/**
 * A process under full load that is killed again and again until it once comes to its end; then its folder must be right to the last row, and
 * another life begins in a new one. At full load a transaction is open, a decision is on its way, or a store is behind much of the time,
 * which a paced feed gives only now and then.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inScratch, lookAt } from './look.ts'
import { Process, tidemark } from './process.ts'
import { chanceOf } from './random.ts'
import { TOPOLOGY, wrongIn, wrongInFolder } from './truth.ts'

export interface LivesOptions {
  readonly kills: number
  readonly seed: number
  /** `small`: the same application with small files, see small.ts. */
  readonly program: 'command' | 'small'
  /** Every so many kills the whole folder is verified as well, in a copy. */
  readonly verifyEvery: number
  /** Hears of each end. */
  readonly tell?: (line: string) => void
}

export interface Lives {
  readonly kills: number
  readonly lives: number
  readonly hit: { readonly undecided: number; readonly storesBehind: number; readonly restoring: number }
  readonly wrong: readonly string[]
}

export async function killUntilDone({ kills, seed, program, verifyEvery, tell = () => {} }: LivesOptions): Promise<Lives> {
  const chance = chanceOf(seed)
  const hit = { undecided: 0, storesBehind: 0, restoring: 0 }
  const wrong: string[] = []
  // How long the work takes that nobody disturbs depends on the machine and on what else it does.
  const workMs = await lasts(program)
  let killed = 0
  let lives = 0
  for (;;) {
    if (killed === kills || wrong.length > 0) return { kills: killed, lives, hit, wrong }
    await inScratch(async (scratch) => {
      const dir = join(scratch, 'data')
      // Every other life has a feed with faults, each its own.
      const faults = lives % 2 === 0 ? [] : [`${lives}`]
      for (let behind = 0; ; ) {
        const process = launched(program, dir, faults)
        if (killed < kills && (await atWork(process))) await Promise.race([process.ended(), sleep(chance.between(0, workMs))])
        // A life that comes to its end, or had kills enough.
        if (process.over || killed === kills) {
          const ended = await process.ended()
          wrong.push(...wrongIn(ended), ...(await wrongInFolder(dir)))
          break
        }
        process.kill()
        await process.ended()
        killed++
        const left = await lookAt(dir, { whole: killed % verifyEvery === 0 })
        wrong.push(...left.wrong)
        if (left.undecided) hit.undecided++
        if (left.behind.tasks > 0) hit.storesBehind++
        // The process before left something to restore, and this one did not get to the end of that.
        if (behind > 0 && left.behind.records >= behind) hit.restoring++
        behind = left.behind.records
        tell(`${program}, life ${lives + 1}, kill ${killed}: ${JSON.stringify(left)}`)
      }
      lives++
    })
  }
}

/** Resolves when everything is open and the feed begins; with false when the process ended before. */
function atWork(process: Process): Promise<boolean> {
  return process.until(() => process.err.includes('on the embedded log'))
}

async function lasts(program: LivesOptions['program']): Promise<number> {
  return await inScratch(async (scratch) => {
    const undisturbed = launched(program, join(scratch, 'data'), [])
    await atWork(undisturbed)
    const from = performance.now()
    const wrong = wrongIn(await undisturbed.ended())
    if (wrong.length > 0) throw new Error(`a run that nobody disturbed went wrong: ${wrong.join('; ')}`)
    return performance.now() - from
  })
}

function launched(program: LivesOptions['program'], dir: string, faults: readonly string[]): Process {
  const small = join(import.meta.dirname, 'small.ts')
  if (program === 'small') return new Process([process.execPath, '--disable-warning=ExperimentalWarning', small, dir, ...faults])
  return tidemark('dev', TOPOLOGY, '--dir', dir, '--once', '--json', ...(faults.length === 0 ? [] : ['--seed', ...faults]))
}
