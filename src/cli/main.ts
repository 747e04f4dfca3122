/** Where the process begins: makes a shell of it, runs the command line, and ends with its exit code. */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { nodeClock } from '../drivers/node/index.ts'
import { run } from './program.ts'
import { HIDE_CURSOR, type Output, SHOW_CURSOR, type Shell, type Signal } from './shell.ts'

const SIGNALS: Readonly<Record<Signal, readonly NodeJS.Signals[]>> = { SIGINT: ['SIGINT'], SIGTERM: ['SIGTERM', 'SIGHUP'] }

/** Whether a picture hid the cursor. However the process ends, it is given back. */
let hidden = false
process.on('exit', () => {
  if (hidden) process.stdout.write(SHOW_CURSOR)
})

function outputOf(stream: NodeJS.WriteStream): Output {
  let gone = false
  // A reader that has enough closes the pipe; what it did not want is no error.
  stream.on('error', () => {
    gone = true
  })
  return {
    get gone() {
      return gone
    },
    terminal: stream.isTTY,
    get columns() {
      return stream.columns ?? 100
    },
    get rows() {
      return stream.rows ?? 40
    },
    write: (text) => {
      if (text.includes(HIDE_CURSOR)) hidden = true
      return gone ? Promise.resolve() : new Promise((resolve) => stream.write(text, () => resolve()))
    },
  }
}

/**
 * The `tidemark` command may be two processes, the one that was started and this one, and whoever kills the first with -9 means both. A process
 * that has lost its parent has another one's number; it ends then as if it had been asked to.
 */
const PARENT_MS = 500
function onOrphaned(listener: () => void): () => void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid !== parent) listener()
  }, PARENT_MS)
  timer.unref()
  return () => clearInterval(timer)
}

const shell: Shell = {
  out: outputOf(process.stdout),
  err: outputOf(process.stderr),
  env: process.env,
  folder: process.cwd(),
  clock: nodeClock,
  version: (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }).version,
  onSignal: (listener) => {
    const offs = Object.entries(SIGNALS).flatMap(([signal, all]) =>
      all.map((each) => {
        const heard = (): void => listener(signal as Signal)
        process.on(each, heard)
        return (): unknown => process.off(each, heard)
      }),
    )
    if (process.env.TIDEMARK_LAUNCHED !== undefined) offs.push(onOrphaned(() => listener('SIGTERM')))
    return () => {
      for (const off of offs) off()
    }
  },
  exit: (code) => process.exit(code),
}

const code = await run(process.argv.slice(2), shell)
// What was written is written before the end, and what a topology's module left open does not keep the process.
await Promise.all([shell.out.write(''), shell.err.write('')])
process.exit(code)
