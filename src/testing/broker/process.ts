/**
 * A process that cannot outlive the one that started it, however that one ends. Between the two stands a shell with nothing to do but to wait
 * for the end of its input, which comes when the parent is gone; then it kills the process. It needs a POSIX shell, so not Windows.
 *
 * Rejected: a sweep of stale processes at the next start (they would hold their ports and memory until then), `PR_SET_PDEATHSIG` (Linux
 * only, and bound to the thread that started the process).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { TidemarkError } from '../../base/errors.ts'

/**
 * $1 is where the process says what it says; the rest is its command line. Its input is not ours: what waits for the end of ours would else
 * compete with it. It writes the id of the process, and ends with its status.
 */
const GUARD = `
log=$1; shift
exec 3<&0 0</dev/null
"$@" >>"$log" 2>&1 3<&- &
pid=$!
{ read -r _ <&3; kill -9 "$pid"; } >/dev/null 2>&1 &
guard=$!
exec 3<&-
echo "$pid"
exec >/dev/null 2>&1
wait "$pid"
status=$?
kill "$guard"
exit "$status"
`

/** Removes a folder after the parent is gone, again and again while processes that are being killed still write to it. */
const JANITOR = `
read -r _
tries=0
while [ -e "$1" ] && [ "$tries" -lt 50 ]; do
  rm -rf "$1" && break
  tries=$((tries + 1))
  sleep 0.1
done
`

export interface GuardedProcess {
  readonly pid: number
  /** Whether it has not ended yet, as far as this process heard. */
  readonly running: boolean
  /** Resolves when it ended. */
  ended(): Promise<void>
  signal(name: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): void
}

/**
 * Starts a process that ends with this one. It does not keep this one from ending, and signals from the terminal do not reach it.
 * @throws Error when there is no shell, or no such program
 */
export async function startGuarded(
  command: readonly string[],
  options: { readonly folder: string; readonly log: string },
): Promise<GuardedProcess> {
  const shell = spawn('sh', ['-c', GUARD, 'sh', options.log, ...command], {
    cwd: options.folder,
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const pid = await firstNumber(shell)
  release(shell)
  let running = true
  const ended = new Promise<void>((resolve) => {
    shell.once('exit', () => {
      running = false
      resolve()
    })
  })
  return {
    pid,
    get running() {
      return running
    },
    async ended() {
      shell.ref()
      await ended
    },
    signal(name) {
      if (running) process.kill(pid, name)
    },
  }
}

/** @throws TidemarkError TEST_BROKER_UNAVAILABLE where there is no POSIX shell */
export function requireShell(): void {
  if (process.platform !== 'win32') return
  throw new TidemarkError('TEST_BROKER_UNAVAILABLE', 'a broker of tests is guarded by a POSIX shell, and Windows has none', {
    hint: 'Run the tests in WSL; or name brokers that run already in TIDEMARK_TEST_BROKERS.',
  })
}

/** Removes a folder when this process is gone. The returned function ends the watch. */
export function removeAtEnd(folder: string): () => void {
  const shell = spawn('sh', ['-c', JANITOR, 'sh', folder], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  // Without a shell no broker starts either, and that says why.
  shell.on('error', () => {})
  release(shell)
  return () => shell.kill('SIGKILL')
}

function firstNumber(shell: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = ''
    shell.once('error', reject)
    shell.once('exit', (status) => reject(new Error(`the shell that guards a process ended with ${status}`)))
    shell.stdout?.on('data', (piece: Buffer) => {
      said += piece.toString()
      if (said.endsWith('\n')) resolve(Number(said))
    })
  })
}

/** Lets this process end although the child runs. */
function release(shell: ChildProcess): void {
  shell.unref()
  for (const stream of [shell.stdin, shell.stdout]) (stream as Socket | null)?.unref()
}
