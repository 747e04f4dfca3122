/** The workers of a run: processes that are killed, frozen and started again. None outlives the one that started it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { NODE_ENVIRONMENT, NODE_FLAGS } from '../node-version.mjs'

export interface Death {
  readonly at: string
  readonly nth: number
}

/** A frozen one would not notice that its parent is gone. */
const alive = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})

export class Workers {
  /** Times that a worker was started. */
  starts = 0
  /** Workers that ended although nobody killed them. */
  readonly ownEnds: string[] = []
  readonly #folder: string
  readonly #brokers: string
  readonly #guarantee: string
  readonly #running = new Map<number, ChildProcess>()
  readonly #told = new WeakSet<ChildProcess>()
  readonly #working = new WeakMap<ChildProcess, Promise<void>>()
  #stopping = false
  /** Where the next worker of a slot is to die. */
  nextDeath: () => Death | undefined = () => undefined
  /** Called when a worker died where it was told to. */
  onDeath: () => void = () => {}

  constructor(options: { readonly folder: string; readonly brokers: readonly string[]; readonly guarantee: string }) {
    this.#folder = options.folder
    this.#brokers = options.brokers.join(',')
    this.#guarantee = options.guarantee
    mkdirSync(this.#folder, { recursive: true })
  }

  /** Starts the worker of a slot; it is started again whenever it ends, until `stop`. Its state stays where it was. */
  start(slot: number): void {
    const child = this.#spawn(slot, this.nextDeath())
    this.#running.set(slot, child)
    child.once('exit', (code, signal) => {
      // Stopped, or replaced.
      if (this.#stopping || this.#running.get(slot) !== child) return
      if (signal === 'SIGKILL' && !this.#told.has(child)) this.onDeath()
      else if (signal === null) this.#note(`worker ${slot} ended by itself with ${code}`)
      this.start(slot)
    })
  }

  get slots(): readonly number[] {
    return [...this.#running.keys()]
  }

  /** Resolves when the worker of a slot has written its first results, or is no more. */
  async working(slot: number): Promise<void> {
    await this.#working.get(this.#running.get(slot) as ChildProcess)
  }

  kill(slot: number): void {
    const child = this.#running.get(slot) as ChildProcess
    this.#told.add(child)
    // One that is frozen dies all the same.
    child.kill('SIGKILL')
  }

  freeze(slot: number): void {
    this.#running.get(slot)?.kill('SIGSTOP')
  }

  wake(slot: number): void {
    this.#running.get(slot)?.kill('SIGCONT')
  }

  /** Starts another process under the name and in the place of a frozen one. Resolves when the one that woke up has ended. */
  async replace(slot: number, frozenMs: number): Promise<number | null> {
    const old = this.#running.get(slot) as ChildProcess
    this.#told.add(old)
    // In a folder of its own: the frozen one still has the lock of its.
    const other = this.#spawn(slot, undefined, `${slot}-other-${this.starts}`)
    this.#running.set(slot, other)
    await new Promise((resolve) => setTimeout(resolve, frozenMs))
    const ended = new Promise<number | null>((resolve) => old.once('exit', (code) => resolve(code)))
    old.kill('SIGCONT')
    return ended
  }

  /** Ends all in good order. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(
      [...this.#running.values()].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGCONT')
        child.kill('SIGTERM')
        const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
        await ended
        clearTimeout(late)
      }),
    )
  }

  #spawn(slot: number, death: Death | undefined, place = String(slot)): ChildProcess {
    this.starts += 1
    const log = openSync(join(this.#folder, `worker-${place}.log`), 'a')
    const args = ['--brokers', this.#brokers, '--dir', join(this.#folder, `state-${place}`), '--instance', String(slot)]
    args.push('--guarantee', this.#guarantee)
    if (death !== undefined) args.push('--die', death.at, '--nth', String(death.nth))
    const child = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, 'worker.ts'), ...args], {
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...NODE_ENVIRONMENT, ...process.env },
    })
    closeSync(log)
    alive.add(child)
    this.#working.set(child, new Promise((resolve) => child.once('message', () => resolve()).once('exit', () => resolve())))
    child.once('exit', () => alive.delete(child))
    return child
  }

  #note(what: string): void {
    this.ownEnds.push(what)
    appendFileSync(join(this.#folder, 'notes.log'), `${new Date().toISOString()} ${what}\n`)
  }
}
