/** Every scenario by its name: how much of it is run, and its figures as tables. */
import { join } from 'node:path'
import { type Flipped, flipBits } from './flips.ts'
import { fillDisks, mountsTmpfs } from './full.ts'
import { type Kills, killAgainAndAgain } from './kills.ts'
import { killUntilDone } from './lives.ts'
import { inScratch } from './look.ts'
import { killReplays } from './replays.ts'
import { median, type Section } from './section.ts'
import { shareFolders } from './sharing.ts'
import type { Outcome } from './trial.ts'

export interface Extent {
  /** How often a process is killed while a paced feed runs. 100 is everything; the other scenarios keep the proportion. */
  readonly kills: number
  readonly seed: number
  /** Hears of each kill and each flip. */
  readonly tell: (line: string) => void
}

export const SCENARIOS = { kills, flips, full, replays, sharing } as const satisfies Record<string, (extent: Extent) => Promise<Section>>
export type ScenarioName = keyof typeof SCENARIOS

/** A part of what 100 kills stand for, at least one. */
function part(all: number, { kills }: Extent): number {
  return Math.max(1, Math.round((all * kills) / 100))
}

/** What a restart may take, ms. */
const PROMISED_MS = 2_000

async function kills(extent: Extent): Promise<Section> {
  const { seed, tell } = extent
  const verifyEvery = 10
  const plain = await inScratch((scratch) =>
    killAgainAndAgain({ dir: join(scratch, 'data'), kills: extent.kills, seed, faults: undefined, verifyEvery, tell }),
  )
  const faulty = await inScratch((scratch) =>
    killAgainAndAgain({ dir: join(scratch, 'data'), kills: part(30, extent), seed: seed + 1, faults: 7, verifyEvery, tell }),
  )
  const full = await killUntilDone({ kills: part(30, extent), seed: seed + 2, program: 'command', verifyEvery, tell })
  const small = await killUntilDone({ kills: part(50, extent), seed: seed + 3, program: 'small', verifyEvery, tell })
  const readies = [...plain.ready, ...faulty.ready]
  return {
    title: 'Killed with -9 at random, while it works',
    about: `\`tidemark dev topologies/retail\` in a process group of its own, killed at a random moment (50 ms to 2 s after its start, or up to a second after it
was ready), started again in the same folder, and so on; requests to end are mixed in, and kills of the whole group of \`npm start\`. After each
end a copy of the folder is looked at. In the end the feed is let through: all rows must equal the recomputation from the CSV, be made of
exactly 22,383 facts, verify, and replay to the same state; another run must apply nothing, and no store may ever have been dropped.

"Undecided": a transaction had been begun and not decided. "Store behind": the log had decided what the store had not got. "Restoring": the
process before left a store behind, and this one was killed before it was ready. How long a restart takes is measured and
is no part of the verdict: two seconds are wanted, and what else the machine does is in the clock, and not in the processor time.`,
    tables: [
      {
        head: ['feed', 'kill -9', 'of npm start', 'SIGTERM', 'SIGINT', 'before ready', 'undecided', 'store behind', 'restoring'],
        rows: [
          pacedRow('paced', plain),
          pacedRow('paced, with faults', faulty),
          [
            `unpaced, ${full.lives} times to its end`,
            full.kills,
            0,
            0,
            0,
            '',
            full.hit.undecided,
            full.hit.storesBehind,
            full.hit.restoring,
          ],
          [
            `unpaced, small files, ${small.lives} times to its end`,
            small.kills,
            0,
            0,
            0,
            '',
            small.hit.undecided,
            small.hit.storesBehind,
            small.hit.restoring,
          ],
        ],
      },
      {
        head: ['from process start to all tasks running', 'median', 'maximum'],
        rows: [
          [
            `by the clock, of ${readies.length} restarts`,
            ms(median(readies.map((each) => each.ms))),
            ms(Math.max(...readies.map((each) => each.ms))),
          ],
          ['processor time', ms(median(readies.map(({ cpuMs }) => cpuMs))), ms(Math.max(...readies.map(({ cpuMs }) => cpuMs)))],
          [`restarts under ${PROMISED_MS / 1_000} s`, `${readies.filter((each) => each.ms < PROMISED_MS).length} of ${readies.length}`, ''],
        ],
      },
    ],
    wrong: [...plain.wrong, ...faulty.wrong, ...full.wrong, ...small.wrong],
  }
}

function pacedRow(name: string, { counts, hit }: Kills): (string | number)[] {
  const { kill, npm, SIGTERM, SIGINT } = counts
  return [name, kill, npm, SIGTERM, SIGINT, hit.starting, hit.undecided, hit.storesBehind, hit.restoring]
}

function ms(value: number): string {
  return Number.isFinite(value) ? `${Math.round(value).toLocaleString('en')} ms` : 'none measured'
}

async function flips(extent: Extent): Promise<Section> {
  const { flipped, wrong } = await flipBits({ flips: part(20, extent), seed: extent.seed, tell: extent.tell })
  return {
    title: 'A bit flipped in its files',
    about: `One bit, at a random place, in a folder that nobody has open; then \`verify\`, \`verify --repair\` and the next start, each on a copy, and all rows
compared with the truth, by point reads and by pages. A wrong row that is called fresh must never be. A row that reads as missing must be found
by \`verify\`; what verify moves aside must come back whole; and where verify finds nothing, every record of the log must be what it was.

"Verify names it": it is reported with its place, or the log cannot be opened and says why. "As if nothing were": all rows are right; the
bytes are unused, can be derived from others, or are not read at a start. "Restored": the start noticed, dropped the state of that task, and made
it again from its changelog. "Refused": the start, or the task, ends with an error that names the damage. "Reads refused": rows were refused
with an error, or not called fresh. "Missing": a row reads as if it had never been.`,
    tables: [
      {
        head: ['where', 'flips', 'verify names it', 'as if nothing were', 'restored', 'refused', 'reads refused', 'missing', 'wrong'],
        rows: flipped.map(flippedRow),
      },
    ],
    wrong,
  }
}

function flippedRow({ place, outcomes }: Flipped): (string | number)[] {
  const began = (start: Outcome['start']): number => outcomes.filter((each) => each.start === start).length
  const starts = (['as if nothing were', 'restored', 'refused', 'reads refused', 'rows missing'] as const).map(began)
  const named = outcomes.filter(({ found }) => found.length > 0).length
  return [place, outcomes.length, named, ...starts, outcomes.filter(({ wrong }) => wrong.length > 0).length]
}

async function full(extent: Extent): Promise<Section> {
  const struck = await fillDisks({ sizes: part(10, extent), tell: extent.tell })
  const counts = new Map<string, number>()
  for (const { limit, program, where = 'nowhere: there was room', code, passed } of struck) {
    const key = JSON.stringify([limit, program, where, code, passed ? 'yes' : ''])
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return {
    title: 'A full disk',
    about: `The whole feed, unpaced, on a disk that is too small for it, at many sizes, and once more with room. The process must end with exit code 1, one of
three codes, a sentence and a hint that says what to do, and without a stack; what it leaves must verify; with room it must come to the same rows
of exactly 22,383 facts, with no store dropped. There is one exception: a log with room compacts on while state has none, and with small files
it may so pass what the disk has; then that is restored from the beginning of its changelog.${mountsTmpfs() ? '' : ' This user may not mount a tmpfs, so there are only limits on the size of files.'}`,
    tables: [
      {
        head: ['limit', 'program', 'sizes', 'it struck in', 'error', 'state restored'],
        rows: [...counts].map(([key, count]) => {
          const [limit, program, where, code, restored] = JSON.parse(key) as [string, string, string, string, string]
          return [limit, program, count, where, code, restored]
        }),
      },
    ],
    wrong: struck.flatMap(({ limit, kib, program, wrong }) => wrong.map((what) => `${limit}, ${kib} KiB, ${program}: ${what}`)),
  }
}

async function replays(extent: Extent): Promise<Section> {
  const done = await killReplays({ kills: part(30, extent), seed: extent.seed, tell: extent.tell })
  return {
    title: 'Killed with -9 during a replay',
    about: `\`tidemark replay allocatable-stock\` killed at random, replayed again, and so on; every other kill waits until the replay has begun its generation.
In the end, and in between, the application starts, applies nothing, and has the same rows; the state hash of each replay that comes to its end
is the live one, and of the dead attempts no state is left on disk.`,
    tables: [
      {
        head: ['kill -9', 'with a generation begun', 'came to their end before', 'starts of the application'],
        rows: [[done.kills, done.begun, done.through, done.starts]],
      },
    ],
    wrong: done.wrong,
  }
}

async function sharing(extent: Extent): Promise<Section> {
  const { shared, wrong } = await shareFolders({ copies: part(10, extent), seed: extent.seed, tell: extent.tell })
  return {
    title: 'A folder that others want, that cannot be written, or that is copied',
    about: `A second process is refused, and the first does not notice. A folder that cannot be written is refused with an error. A copy of a folder at work that
was made at one moment, which is what a crash leaves, is whole; one that was made file by file comes to the same rows, or is refused by name.`,
    tables: [{ head: ['what', 'outcome', 'times'], rows: shared.map(({ what, outcome, times }) => [what, outcome, times]) }],
    wrong,
  }
}
