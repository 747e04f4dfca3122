/**
 * A disk that runs full, at many sizes, so that it strikes in one kind of file after the other: a small tmpfs in a mount namespace of its own,
 * which takes no privilege where user namespaces are allowed; and a limit on file sizes, which any user can set. The process must end with an
 * error that says what to do, what it leaves must be whole, and with room it must go on as if nothing had been.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { inScratch, lookAt } from './look.ts'
import { type Ended, Process, ROOT } from './process.ts'
import { resultOf, TOPOLOGY, wrongIn, wrongInFolder } from './truth.ts'

export interface FullOptions {
  /** How many sizes of each kind of limit, of each program. */
  readonly sizes: number
  /** Default: both. */
  readonly programs?: readonly Program[]
  readonly tell?: (line: string) => void
}

type Limit = 'tmpfs' | 'tmpfs of state' | 'ulimit -f'

/** What one disk came to. */
export interface Struck {
  /** A tmpfs that holds everything, a tmpfs that holds only state, a limit on the size of each file. */
  readonly limit: Limit
  readonly kib: number
  readonly program: 'command' | 'small files'
  /** Which kind of file had no room; undefined when there was room enough. */
  readonly where: string | undefined
  readonly code: string
  /** State was dropped and restored, because compaction had passed it while its disk was full. */
  readonly passed: boolean
  readonly wrong: readonly string[]
}

/** A program in a mount namespace of its own, where it may mount what it likes. */
export const NAMESPACE = ['unshare', '--user', '--map-root-user', '--mount'] as const

/** Whether this user may mount a tmpfs in a namespace of his own. */
export function mountsTmpfs(): boolean {
  return spawnSync(NAMESPACE[0], [...NAMESPACE.slice(1), 'sh', '-c', 'mount -t tmpfs none /tmp']).status === 0
}

export async function fillDisks({
  sizes,
  programs = ['command', 'small files'],
  tell = () => {},
}: FullOptions): Promise<readonly Struck[]> {
  const struck: Struck[] = []
  for (const program of programs) {
    const most = await sizesOf(program)
    for (const limit of mountsTmpfs() ? LIMITS : LIMITS.filter((each) => each === 'ulimit -f')) {
      for (let step = 1; step <= sizes; step++) {
        // Small ones are closer to each other: there the first files of each kind are made.
        const kib = Math.max(8, Math.round((most[limit] / 1024) * (step / (sizes + 1)) ** 2))
        const one = await inScratch((scratch) =>
          limit === 'ulimit -f' ? underLimit(scratch, kib, program) : onTmpfs(scratch, kib, program, limit),
        )
        struck.push(one)
        tell(JSON.stringify(one))
      }
    }
  }
  return struck
}

const LIMITS: readonly Limit[] = ['tmpfs', 'tmpfs of state', 'ulimit -f']

type Program = Struck['program']

/** The command, and what it writes where nothing is in its way, bytes. */
async function sizesOf(program: Program): Promise<Readonly<Record<Limit, number>>> {
  return await inScratch(async (scratch) => {
    const dir = join(scratch, 'data')
    const wrong = wrongIn(await new Process(wordsOf(program, dir)).ended())
    if (wrong.length > 0) throw new Error(`a run that nobody disturbed went wrong: ${wrong.join('; ')}`)
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .map((name) => ({ name, stats: statSync(join(dir, name)) }))
      .filter(({ stats }) => stats.isFile())
    // What a tmpfs has no room for is whole pages.
    const pages = (below: string): number =>
      files.reduce((sum, { name, stats }) => sum + (name.startsWith(below) ? Math.ceil(stats.size / 4096) * 4096 : 0), 0)
    return { tmpfs: pages(''), 'tmpfs of state': pages('state/'), 'ulimit -f': Math.max(...files.map(({ stats }) => stats.size)) }
  })
}

function wordsOf(program: Program, dir: string): string[] {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning']
  return program === 'command'
    ? [...node, join(ROOT, 'bin', 'tidemark.mjs'), 'dev', TOPOLOGY, '--dir', dir, '--once', '--json']
    : [...node, join(ROOT, 'scripts', 'crash-test', 'small.ts'), dir]
}

/** A mount is gone with the last process of its namespace, so one shell makes it, fills it, gives it room, and copies what is on it. */
const ON_TMPFS = `
mount -t tmpfs -o size=$KIB"k" none "$DISK" || exit 99
"$@" >"$OUT/1.out" 2>"$OUT/1.err"; echo $? >"$OUT/1.code"
cp -a "$DIR" "$OUT/full"
mount -o remount,size=1g "$DISK" || exit 99
"$@" >"$OUT/2.out" 2>"$OUT/2.err"; echo $? >"$OUT/2.code"
cp -a "$DIR" "$OUT/whole"
`

async function onTmpfs(scratch: string, kib: number, program: Program, limit: 'tmpfs' | 'tmpfs of state'): Promise<Struck> {
  const dir = join(scratch, 'data')
  const disk = limit === 'tmpfs' ? dir : join(dir, 'state')
  mkdirSync(disk, { recursive: true })
  const words = wordsOf(program, dir)
  const env = { KIB: `${kib}`, DISK: disk, DIR: dir, OUT: scratch }
  const shell = await new Process([...NAMESPACE, 'sh', '-c', ON_TMPFS, 'sh', ...words], { env }).ended()
  if (shell.code !== 0) throw new Error(`the disk could not be made: ${shell.code ?? shell.signal} ${shell.err}`)
  const ended = (run: 1 | 2): Ended => {
    const text = (name: string): string => readFileSync(join(scratch, `${run}.${name}`), 'utf8')
    return { code: Number(text('code')), signal: null, out: text('out'), err: text('err') }
  }
  const left = await leftIn(join(scratch, 'full'))
  return judged({ limit, kib, program }, ended(1), left, ended(2), join(scratch, 'whole'))
}

async function underLimit(scratch: string, kib: number, program: Program): Promise<Struck> {
  const dir = join(scratch, 'data')
  const words = wordsOf(program, dir)
  // POSIX counts in blocks of 512 bytes; so does every sh but bash.
  const first = await new Process(['sh', '-c', `ulimit -f ${kib * 2}; exec "$@"`, 'sh', ...words]).ended()
  const left = await leftIn(dir)
  return judged({ limit: 'ulimit -f', kib, program }, first, left, await new Process(words).ended(), dir)
}

async function leftIn(dir: string): Promise<readonly string[]> {
  return existsSync(dir) ? (await lookAt(dir, { whole: true })).wrong : []
}

async function judged(
  disk: Pick<Struck, 'limit' | 'kib' | 'program'>,
  first: Ended,
  left: readonly string[],
  second: Ended,
  dir: string,
): Promise<Struck> {
  const all = [...left, ...wrongIn(second), ...(await wrongInFolder(dir))]
  // A log with room compacts on while state has none, and with small files it does so all the time: it may pass what the disk has.
  const mayPass = disk.limit === 'tmpfs of state' && disk.program === 'small files'
  const wrong = mayPass ? all.filter((sentence) => !/POSITION_GAP|\bdropped$/.test(sentence)) : all
  const passed = wrong.length < all.length
  if (first.code === 0) return { ...disk, where: undefined, code: '', passed, wrong: [...wrong, ...wrongIn(first)] }
  const said = saidBy(first)
  if ('wrong' in said) return { ...disk, where: 'unknown', code: '', passed, wrong: [...wrong, said.wrong] }
  const { code, message, detail = '', hint = '' } = said
  // A commit whose decision met the full disk is the first to tell of it: nobody knows then what of the decision is written.
  if (code !== 'LOG_IO' && code !== 'STORE_IO' && code !== 'COMMIT_IN_DOUBT') wrong.push(`it says ${code}: ${message}`)
  if (first.code !== 1) wrong.push(`it ended with ${first.code ?? first.signal}`)
  if (!/full|free space|make room|limit/i.test(hint)) wrong.push(`its hint is "${hint}", its detail "${detail}"`)
  if (/^ {4}at /m.test(first.err)) wrong.push(`it printed a stack:\n${first.err.slice(0, 500)}`)
  return { ...disk, where: placeIn(detail), code, passed, wrong }
}

function saidBy(ended: Ended): { code: string; message: string; detail?: string; hint?: string } | { wrong: string } {
  try {
    const { error } = resultOf(ended)
    return error ?? { wrong: `it ended with ${ended.code ?? ended.signal} and names no error: ${ended.err.slice(-500)}` }
  } catch (error) {
    return { wrong: (error as Error).message }
  }
}

/** Which kind of file an error is about, by the path that its detail names. */
function placeIn(detail: string): string {
  if (detail.includes('/log/journal')) return 'journal'
  if (/\.(cleaned|swap)/.test(detail)) return 'compaction'
  if (detail.includes('.index')) return 'index of a segment'
  if (detail.includes('/log/topics')) return 'segment'
  if (detail.includes('/log/lock')) return 'lock'
  if (detail.includes('/state/')) return 'LevelDB'
  return detail.includes('schemas.json') ? 'catalogue' : 'elsewhere'
}
