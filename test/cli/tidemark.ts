/** Runs the real command line as a process of its own, as users do. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { run } from '../../src/cli/program.ts'
import type { Output } from '../../src/cli/shell.ts'
import { nodeClock } from '../../src/drivers/node/index.ts'

export const ROOT: string = join(import.meta.dirname, '..', '..')
export const SHOP = 'test/fixtures/shop'
const MAIN = join(ROOT, 'src', 'cli', 'main.ts')
/** What Node compiled once is not compiled again: most of a short command is that. */
const COMPILED = join(tmpdir(), 'tidemark-compiled')
/** No command takes so long: a process that does hangs, and is killed so that its test says so. */
const HANGS_MS = 40_000

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A command on its way. */
export class Command {
  out = ''
  err = ''
  readonly #process: ChildProcessWithoutNullStreams
  readonly #ended: Promise<Ended>

  constructor(args: readonly string[], folder = ROOT) {
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env: { ...process.env, NODE_COMPILE_CACHE: COMPILED } })
    this.#process = child
    child.stdin.end()
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
    })
    const hangs = setTimeout(() => child.kill('SIGKILL'), HANGS_MS)
    this.#ended = once(child, 'close').then(([code]) => {
      clearTimeout(hangs)
      return { code: code as number | null, out: this.out, err: this.err }
    })
    onTestFinished(() => void child.kill('SIGKILL'))
  }

  /** Resolves when what it has written matches; rejects when it ended without. */
  async wrote(pattern: RegExp): Promise<RegExpExecArray> {
    const over = this.#ended.then(() => true)
    for (;;) {
      const found = pattern.exec(this.out) ?? pattern.exec(this.err)
      if (found !== null) return found
      const turn = new Promise<false>((resolve) => setTimeout(() => resolve(false), 20))
      if (await Promise.race([over, turn])) throw new Error(`it ended and never wrote ${pattern}:\n${this.out}\n${this.err}`)
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  ended(): Promise<Ended> {
    return this.#ended
  }
}

/** A whole command as a process of its own. */
export function tidemark(...args: readonly string[]): Promise<Ended> {
  return new Command(args).ended()
}

/** A whole command in this process: everything but the process itself is the real one. */
export async function inProcess(args: readonly string[], folder = ROOT): Promise<Ended> {
  const written = { out: '', err: '' }
  const output = (name: 'out' | 'err'): Output => ({
    write: async (text) => {
      written[name] += text
    },
    gone: false,
    terminal: false,
    columns: 120,
    rows: 40,
  })
  const code = await run(args, {
    out: output('out'),
    err: output('err'),
    env: {},
    folder,
    clock: nodeClock,
    version: '1.2.3',
    onSignal: () => () => {},
    exit: () => expect.unreachable('no command ends the process that it runs in'),
  })
  return { code, ...written }
}

/** A folder that ends with the test. */
export function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The last line that is not empty. */
export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}
