/**
 * Processes to be killed: the real command line, each in a process group of its own, because `npm start` and the `tidemark` command are a
 * chain of processes and a kill that takes only the first of them kills nobody. Whatever is left when this program ends is ended with it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const ROOT: string = join(import.meta.dirname, '..', '..')
const BIN = join(ROOT, 'bin', 'tidemark.mjs')
/** Nothing that is started here takes so long: what does hangs, and that is a finding. */
const HANGS_MS = 180_000
const POLL_MS = 10
/** The unit of times in /proc, USER_HZ, which Linux keeps at 100 a second for programs. */
const TICK_MS = 10

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** A start, measured. */
export interface Ready {
  readonly ms: number
  readonly cpuMs: number
}

const alive = new Set<Process>()
process.on('exit', () => {
  for (const each of alive) each.kill()
})

export class Process {
  out = ''
  err = ''
  readonly startedAt: number = performance.now()
  readonly #child: ChildProcess
  readonly #ended: Promise<Ended>
  #over = false

  constructor(command: readonly string[], options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {}) {
    const [file, ...args] = command as [string, ...string[]]
    const { cwd = ROOT, env = {} } = options
    this.#child = spawn(file, args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
    })
    alive.add(this)
    const hangs = setTimeout(() => this.kill(), HANGS_MS)
    this.#ended = once(this.#child, 'close').then(([code, signal]) => {
      clearTimeout(hangs)
      this.#over = true
      alive.delete(this)
      return { code: code as number | null, signal: signal as NodeJS.Signals | null, out: this.out, err: this.err }
    })
  }

  get over(): boolean {
    return this.#over
  }

  ended(): Promise<Ended> {
    return this.#ended
  }

  /** kill -9, for the whole group. */
  kill(): void {
    this.signalGroup('SIGKILL')
  }

  /** To every process of the group, as a terminal sends Ctrl-C. */
  signalGroup(signal: NodeJS.Signals): void {
    try {
      process.kill(-(this.#child.pid as number), signal)
    } catch (error) {
      // It has ended by itself.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** To the first process alone, as a supervisor does. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Resolves with true when `test` holds, with false when the process ended or `signal` was given before. */
  async until(test: () => boolean | Promise<boolean>, signal?: AbortSignal): Promise<boolean> {
    for (;;) {
      if (this.#over || signal?.aborted === true) return false
      if (await test()) return true
      await sleep(POLL_MS)
    }
  }

  /**
   * What it took from the start of the process until all its tasks ran, by the answer of /health/ready on `port`; undefined when it ended, or
   * `signal` was given, before that.
   */
  async ready(port: number, signal?: AbortSignal): Promise<Ready | undefined> {
    const isReady = await this.until(() => answers(port), signal)
    return isReady ? { ms: performance.now() - this.startedAt, cpuMs: this.#cpuMs() } : undefined
  }

  /** Time that processors spent on all processes of the group up to now, ms: what a start costs, however many others want the machine. */
  #cpuMs(): number {
    let ticks = 0
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue
      try {
        // The name of the program, in brackets, may hold anything; what follows it is numbers: proc(5).
        const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')
        if (Number(fields[2]) === this.#child.pid)
          ticks += Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14])
      } catch {
        // It ended while we looked.
      }
    }
    return ticks * TICK_MS
  }
}

/** The `tidemark` command of the repository. */
export function tidemark(...args: readonly string[]): Process {
  return new Process([process.execPath, BIN, ...args])
}

/** A whole `tidemark` command, for those that end by themselves. */
export function run(...args: readonly string[]): Promise<Ended> {
  return tidemark(...args).ended()
}

/** The last line of an output, as the JSON object that it is. @throws Error with the whole output when it is none */
export function jsonOf({ out, err, code, signal }: Ended): unknown {
  const line = out.trimEnd().split('\n').at(-1) ?? ''
  try {
    return JSON.parse(line)
  } catch {
    throw new Error(`it ended with ${code ?? signal} and no JSON object:\n${out}\n${err}`)
  }
}

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/health/ready', agent: false, timeout: 1_000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    }).on('error', () => resolve(false))
  })
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  server.close()
  await once(server, 'close')
  return port
}
