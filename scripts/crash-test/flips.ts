/**
 * One bit flipped in a folder that nobody has open, somewhere in its files, and what happens then: at `tidemark verify`, and at the next start.
 * Whatever it was, a wrong row is never served as fresh. What a start does not notice and what is not as it was, verify finds, and what it
 * moves aside comes back whole.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { csvIn } from '../../test/topologies/rig.ts'
import { SHIPPED, unpacked } from '../../test/topologies/shuffle.ts'
import { copy, inScratch, openFolder } from './look.ts'
import { type Base, PLACES, type Region } from './places.ts'
import { Process } from './process.ts'
import { type Chance, chanceOf } from './random.ts'
import { digestOfLog, goOn, type Outcome, type Truth, truthOf, tryFolder, withoutState } from './trial.ts'

export interface FlipsOptions {
  /** In each place. */
  readonly flips: number
  readonly seed: number
  readonly tell?: (line: string) => void
}

export interface Flipped {
  readonly place: string
  readonly outcomes: readonly Outcome[]
}

/** Invoice rows: enough for some segments, journal files and blocks of each kind, and little enough to be copied a thousand times. */
const ROWS = 400

export async function flipBits({
  flips,
  seed,
  tell = () => {},
}: FlipsOptions): Promise<{ flipped: readonly Flipped[]; wrong: readonly string[] }> {
  const chance = chanceOf(seed)
  return await inScratch(async (scratch) => {
    const { folders, truth, logs } = await bases(scratch)
    const wrong: string[] = []
    const flipped: Flipped[] = []
    for (const place of PLACES) {
      const { base, name } = place
      const regions = await place.regions(folders[base])
      if (regions.length === 0) throw new Error(`there is no ${name}`)
      const outcomes: Outcome[] = []
      for (let count = 0; count < flips; count++) {
        const bit = pickBit(regions, chance)
        const outcome = await inScratch(async (own) => {
          const damaged = join(own, 'data')
          copy(folders[base], damaged)
          flip(damaged, bit)
          if (place.withoutState === true) await withoutState(damaged)
          return await tryFolder(damaged, truth, { replayed: place.replayed === true, log: logs[base] })
        })
        outcomes.push(outcome)
        const where = `${name}: bit ${bit.bit} of byte ${bit.at} of ${bit.file}`
        tell(`${where}: ${JSON.stringify(outcome)}`)
        wrong.push(...outcome.wrong.map((what) => `${where}: ${what}`))
      }
      flipped.push({ place: name, outcomes })
    }
    return { flipped, wrong }
  })
}

interface Bases {
  readonly folders: Readonly<Record<Base, string>>
  readonly truth: Truth
  readonly logs: Readonly<Record<Base, string | undefined>>
}

/** The folders in which bits flip, and what is true of them. */
async function bases(scratch: string): Promise<Bases> {
  const folders = { closed: join(scratch, 'closed'), tables: join(scratch, 'tables'), killed: join(scratch, 'killed') }
  const csv = csvIn(
    scratch,
    unpacked(SHIPPED)
      .split('\n')
      .slice(1, 1 + ROWS),
  )
  const workMs = await fedToTheEnd(folders.closed, csv)
  copy(folders.closed, folders.tables)
  const truth = await truthOf(folders.tables, csv)
  await killedInTheMiddle(folders.killed, csv, workMs)
  await inScratch(async (own) => {
    copy(folders.killed, join(own, 'data'))
    const went = await goOn(join(own, 'data'), truth)
    if (went.wrong.length + went.missing + went.unread + went.wipes > 0)
      throw new Error(`it is wrong before any bit flips: ${JSON.stringify(went)}`)
  })
  const logs = { closed: await logOf(folders.closed), tables: await logOf(folders.tables), killed: undefined }
  return { folders, truth, logs }
}

/** What a log has to say, read in a copy. */
async function logOf(folder: string): Promise<string> {
  return await inScratch(async (scratch) => {
    copy(folder, join(scratch, 'data'))
    const opened = await openFolder(join(scratch, 'data'))
    try {
      return await digestOfLog(opened.world)
    } finally {
      await opened.close()
    }
  })
}

/** With small files, so that there are several segments and journal files; LevelDB keeps all rows in its write-ahead files until they are opened again. */
function fed(dir: string, csv: string): Process {
  return new Process([process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'small.ts'), dir, '', csv])
}

/** Gives how long it was at work, ms. */
async function fedToTheEnd(dir: string, csv: string): Promise<number> {
  const process = fed(dir, csv)
  await process.until(() => process.err.includes(AT_WORK))
  const from = performance.now()
  const { code, err } = await process.ended()
  if (code !== 0) throw new Error(`a run that nobody disturbed went wrong:\n${err}`)
  return performance.now() - from
}

/** What a process says when everything is open and the feed begins. */
const AT_WORK = 'on the embedded log'

async function killedInTheMiddle(dir: string, csv: string, workMs: number): Promise<void> {
  for (let wait = workMs / 2; ; wait /= 2) {
    const process = fed(dir, csv)
    await process.until(() => process.err.includes(AT_WORK))
    await sleep(wait)
    const through = process.over
    process.kill()
    await process.ended()
    if (!through) return
    // It was faster this time.
    rmSync(dir, { recursive: true })
    if (wait < 1) throw new Error('it is always through before it can be killed')
  }
}

interface Bit {
  readonly file: string
  readonly at: number
  readonly bit: number
}

function pickBit(regions: readonly Region[], chance: Chance): Bit {
  let at = chance.between(
    0,
    regions.reduce((sum, { from, to }) => sum + to - from, 0),
  )
  for (const { file, from, to } of regions) {
    if (at < to - from) return { file, at: from + at, bit: chance.between(0, 8) }
    at -= to - from
  }
  throw new RangeError('there is no such byte')
}

function flip(dir: string, { file, at, bit }: Bit): void {
  const path = join(dir, file)
  const bytes = readFileSync(path)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at)
  writeFileSync(path, bytes)
}
