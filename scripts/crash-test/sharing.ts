/**
 * A folder that is not one process's alone: a second process that wants it, a disk that cannot be written, and copies made while it is at
 * work. A copy made while the process stands still is what a crash at that moment leaves, and must be whole. One made while it writes is
 * files of different moments, which no crash leaves: it is brought to a moment that is wholly there, or refused by name.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mountsTmpfs, NAMESPACE } from './full.ts'
import { copy, inScratch, lookAt } from './look.ts'
import { type Ended, freePort, jsonOf, Process, ROOT, run, tidemark } from './process.ts'
import { type Chance, chanceOf } from './random.ts'
import { finish, type Result, resultOf, TOPOLOGY, VIEWS, wrongIn, wrongInFolder } from './truth.ts'

export interface SharingOptions {
  /** Copies of each kind. */
  readonly copies: number
  readonly seed: number
  readonly tell?: (line: string) => void
}

export interface Shared {
  readonly what: string
  readonly outcome: string
  readonly times: number
}

const IN_USE = 75

export async function shareFolders({
  copies,
  seed,
  tell = () => {},
}: SharingOptions): Promise<{ shared: readonly Shared[]; wrong: readonly string[] }> {
  const chance = chanceOf(seed)
  const wrong: string[] = []
  const outcomes = new Map<string, number>()
  const note = (what: string, outcome: string): void => {
    tell(`${what}: ${outcome}`)
    const key = JSON.stringify([what, outcome])
    outcomes.set(key, (outcomes.get(key) ?? 0) + 1)
  }
  await secondProcess(note, wrong)
  if (mountsTmpfs()) await readOnly(note, wrong)
  else note('a folder that cannot be written', 'not tried: this user may not mount one')
  for (const still of [true, false]) await copiesOf(still, copies, chance, note, wrong)
  const shared = [...outcomes].map(([key, times]) => {
    const [what, outcome] = JSON.parse(key) as [string, string]
    return { what, outcome, times }
  })
  return { shared, wrong }
}

type Note = (what: string, outcome: string) => void

async function secondProcess(note: Note, wrong: string[]): Promise<void> {
  await inScratch(async (scratch) => {
    const dir = join(scratch, 'data')
    const port = await freePort()
    const first = tidemark('dev', TOPOLOGY, '--dir', dir, '--port', `${port}`, '--json')
    const stop = new AbortController()
    if ((await first.ready(port)) === undefined) wrong.push(`the first process was not ready: ${first.err}`)
    const seconds: readonly (readonly [name: string, words: readonly string[]])[] = [
      ['dev', ['dev', TOPOLOGY, '--dir', dir, '--once', '--json']],
      ['verify', ['verify', '--dir', dir, '--json']],
      ['replay', ['replay', VIEWS[0], '--dir', dir, '--json']],
      ['export', ['export', VIEWS[0], '--dir', dir]],
    ]
    for (const [name, words] of seconds) {
      const ended = await run(...words)
      const said = `${ended.out}\n${ended.err}`
      if (ended.code !== IN_USE || !said.includes('LOG_LOCKED'))
        wrong.push(`a second process (${name}) ended with ${ended.code ?? ended.signal}: ${said}`)
      note(`a second process: tidemark ${name}`, `exit code ${ended.code}, LOG_LOCKED`)
    }
    if ((await first.ready(port, stop.signal)) === undefined) wrong.push('the first process is not ready any more')
    first.signal('SIGTERM')
    const ended = await first.ended()
    const { wipes, applied, error } = resultOf(ended)
    if (ended.code !== 0 || error !== undefined || wipes !== 0 || applied === 0)
      wrong.push(`the first process was disturbed: ${ended.out} ${ended.err}`)
    wrong.push(...wrongIn(await finish(dir)), ...(await wrongInFolder(dir)))
    note('the first process', 'undisturbed, ended with 0')
  })
}

const READ_ONLY = 'mount --bind "$DIR" "$DIR" && mount -o remount,ro,bind "$DIR" && exec "$@"'

async function readOnly(note: Note, wrong: string[]): Promise<void> {
  await inScratch(async (scratch) => {
    const empty = join(scratch, 'empty')
    const used = join(scratch, 'used')
    mkdirSync(empty)
    wrong.push(...wrongIn(await finish(used)))
    const words = (dir: string): Readonly<Record<string, readonly string[]>> => ({
      dev: ['dev', TOPOLOGY, '--dir', dir, '--once', '--json'],
      verify: ['verify', '--dir', dir, '--topology', TOPOLOGY, '--json'],
      replay: ['replay', VIEWS[0], '--dir', dir, '--topology', TOPOLOGY, '--json'],
    })
    for (const [kind, dir] of Object.entries({ empty, used })) {
      for (const [name, own] of Object.entries(words(dir))) {
        if (kind === 'empty' && name !== 'dev') continue
        const ended = await mountedReadOnly(dir, own)
        const { error } = jsonOf(ended) as Partial<Result>
        if (ended.code !== 1 || error === undefined || error.hint === undefined || /^ {4}at /m.test(ended.err))
          wrong.push(
            `tidemark ${name} on a ${kind} folder that cannot be written ended with ${ended.code ?? ended.signal}: ${ended.out} ${ended.err}`,
          )
        note(`a folder that cannot be written, ${kind}: tidemark ${name}`, `exit code ${ended.code}, ${error?.code}`)
      }
    }
    wrong.push(...wrongIn(await finish(used)), ...(await wrongInFolder(used)))
  })
}

function mountedReadOnly(dir: string, words: readonly string[]): Promise<Ended> {
  const command = [process.execPath, join(ROOT, 'bin', 'tidemark.mjs'), ...words]
  return new Process([...NAMESPACE, 'sh', '-c', READ_ONLY, 'sh', ...command], { env: { DIR: dir } }).ended()
}

/** How long a process at full load is let work between two copies, ms. */
const BETWEEN_MS = 400

async function copiesOf(still: boolean, copies: number, chance: Chance, note: Note, wrong: string[]): Promise<void> {
  const what = still ? 'a copy made while the process stands still' : 'a copy made while the process writes'
  for (let made = 0; ; ) {
    if (made === copies) return
    await inScratch(async (scratch) => {
      const dir = join(scratch, 'data')
      const process = new Process([...NODE, join(ROOT, 'scripts', 'crash-test', 'small.ts'), dir])
      await process.until(() => process.err.includes('on the embedded log'))
      const taken: string[] = []
      while (made + taken.length < copies) {
        await Promise.race([process.ended(), sleep(chance.between(0, BETWEEN_MS))])
        if (process.over) break
        const own = join(scratch, `copy-${taken.length}`)
        if (still) process.signalGroup('SIGSTOP')
        try {
          copy(dir, own)
          taken.push(own)
        } catch (error) {
          // While it is copied, the process removes what it does not need any more.
          if (still) throw error
        } finally {
          if (still) process.signalGroup('SIGCONT')
        }
      }
      process.kill()
      await process.ended()
      for (const own of taken) {
        made++
        note(what, still ? await whole(own, wrong) : await wholeOrRefused(own, wrong))
      }
    })
  }
}

const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'] as const

async function whole(dir: string, wrong: string[]): Promise<string> {
  wrong.push(...(await lookAt(dir, { whole: true })).wrong, ...wrongIn(await finish(dir)), ...(await wrongInFolder(dir)))
  return 'whole: no store dropped, all rows equal in the end'
}

async function wholeOrRefused(dir: string, wrong: string[]): Promise<string> {
  const ended = await finish(dir)
  const { wipes, equal, error } = resultOf(ended)
  if (error !== undefined) {
    if (ended.code === 0 || error.hint === undefined) wrong.push(`it ended with ${ended.code} and ${JSON.stringify(error)}`)
    return `refused: ${error.code}`
  }
  if (equal !== true) wrong.push(`a copy made while it was written came to wrong rows: ${ended.out}`)
  return wipes === 0 ? 'all rows equal in the end' : 'a store dropped and restored, all rows equal in the end'
}
