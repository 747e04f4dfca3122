/** One broker of a cluster of tests: started, stopped, killed and paused as its test wants. Its data stays between its lives. */
import { readFile } from 'node:fs/promises'
import { TidemarkError } from '../../base/errors.ts'
import { nodeClock } from '../../drivers/node/index.ts'
import { tailOf } from './java.ts'
import { HOST } from './ports.ts'
import { probe } from './probe.ts'
import { type GuardedProcess, startGuarded } from './process.ts'

export interface KafkaNode {
  readonly id: number
  readonly host: string
  /** Of the listener for clients. It stays the same when the node starts again. */
  readonly port: number
  /** While it runs. */
  readonly pid: number | undefined
  /** Ends it at once, as `kill -9` does. Resolves when it is gone; at once when it is not running. */
  kill(): Promise<void>
  /** Ends it in good order: it gives its partitions to others first. Killed when that takes longer than 20 s. */
  stop(): Promise<void>
  /**
   * Starts it again over its data. Resolves when it answers and counts itself among the nodes that serve; at once when it runs.
   * @throws TidemarkError TEST_BROKER_FAILED when it ends instead, or does not answer within 60 s
   */
  start(): Promise<void>
  /** Freezes it (SIGSTOP): its connections stay open, and nothing answers. Nothing happens when it is not running. */
  pause(): void
  resume(): void
  /** The last lines of what it said: warnings, and what ended it. */
  logTail(lines?: number): Promise<string>
}

export interface NodePlan {
  readonly id: number
  readonly port: number
  /** Of the plain listener, where it is asked whether it serves. */
  readonly internalPort: number
  readonly clusterId: string
  readonly folder: string
  readonly log: string
  readonly command: readonly string[]
}

const READY_MS_MAX = 60_000
const STOP_MS_MAX = 20_000
const POLL_MS = 25

export class LocalNode implements KafkaNode {
  readonly id: number
  readonly host: string = HOST
  readonly port: number
  readonly #plan: NodePlan
  #process: GuardedProcess | undefined

  constructor(plan: NodePlan) {
    this.id = plan.id
    this.port = plan.port
    this.#plan = plan
  }

  get pid(): number | undefined {
    return this.#process?.running === true ? this.#process.pid : undefined
  }

  async start(): Promise<void> {
    await this.launch()
    await this.ready([this.id])
  }

  /** Starts the process, and does not wait for it to serve: the first of three cannot before the second is there. */
  async launch(): Promise<void> {
    if (this.#process?.running === true) return
    const { command, folder, log } = this.#plan
    this.#process = await startGuarded(command, { folder, log })
  }

  /** Resolves when the node answers for its cluster and knows all these nodes to serve. */
  async ready(ids: readonly number[]): Promise<void> {
    const { clusterId, internalPort } = this.#plan
    const deadline = nodeClock.mono() + READY_MS_MAX
    for (;;) {
      const seen = await probe(HOST, internalPort)
      if (this.pid === undefined) throw await this.#failure('ended while it started')
      if (seen?.clusterId === clusterId && ids.every((id) => seen.nodes.some((node) => node.id === id))) return
      if (nodeClock.mono() > deadline) throw await this.#failure(`does not serve after ${READY_MS_MAX / 1_000} s`)
      await nodeClock.sleep(POLL_MS)
    }
  }

  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL')
    await this.#process?.ended()
  }

  async stop(): Promise<void> {
    const broker = this.#process
    if (broker === undefined) return
    // A paused process hears nothing but its end.
    broker.signal('SIGCONT')
    broker.signal('SIGTERM')
    const late = setTimeout(() => broker.signal('SIGKILL'), STOP_MS_MAX)
    await broker.ended()
    clearTimeout(late)
  }

  pause(): void {
    this.#process?.signal('SIGSTOP')
  }

  resume(): void {
    this.#process?.signal('SIGCONT')
  }

  async logTail(lines = 40): Promise<string> {
    return tailOf(await readFile(this.#plan.log, 'utf8').catch(() => ''), lines)
  }

  async #failure(what: string): Promise<TidemarkError> {
    return new TidemarkError('TEST_BROKER_FAILED', `the Kafka broker ${this.id} ${what}`, {
      detail: await this.logTail(),
      hint: 'These are the last lines of its log. Too little memory or disk is what it mostly is, or a port that somebody took.',
    })
  }
}
