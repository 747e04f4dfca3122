/** Reads for the tasks of a worker: one poll at a time, for those that run and have room. */
import { TidemarkError } from '../base/errors.ts'
import type { PartitionName, Reader } from '../ports/log.ts'
import { TaskStopped, verdictOnRead } from './failure.ts'
import type { Frontier, Through } from './frontier.ts'
import type { Input } from './input.ts'
import type { Task } from './task.ts'
import type { RuntimeOptions, World } from './world.ts'

/** How long a poll waits when there is nothing to do, ms. */
const WAIT_MS = 100
/** A poll that takes longer waits for brokers. Others are not kept waiting with it, ms. */
const LONG_MS = 250
/** Given as the reason, because an abort without one makes an error with a stack. */
const OVER = 'over'
/** How often partitions are asked for their ends that nothing comes from, ms. */
const ASK_MS = 500

export interface FetcherParts {
  readonly world: World
  readonly options: RuntimeOptions
  readonly frontier: Frontier
  readonly reader: Reader
  readonly signal: AbortSignal
  /** A task cannot be read for any more. */
  readonly onStopped: (task: Task, error: TaskStopped) => void
  /** Nothing can be read any more. */
  readonly onBroken: (error: unknown) => void
  /** Something came, or the poll ended. */
  readonly onAnswer: () => void
}

export class Fetcher {
  readonly #parts: FetcherParts
  /** For which tasks the reader was last assigned. */
  #assigned: readonly Task[] = []
  #polling: Promise<void> | undefined
  /** Ends the poll that is on its way; what it has is handed out by the next one. */
  #interrupt = new AbortController()
  #pollBegan = 0
  /** What the poll that is on its way leaves out. */
  #paused: ReadonlySet<PartitionName> = new Set()
  #asking = false
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(parts: FetcherParts) {
    this.#parts = parts
    parts.signal.addEventListener('abort', () => this.#interrupt.abort(), { once: true })
  }

  /** Keeps a poll going. */
  fetch(tasks: Iterable<Task>): void {
    const { reader, options, world } = this.#parts
    if (this.#polling !== undefined && world.clock.mono() - this.#pollBegan <= LONG_MS) return
    const running = [...tasks].filter((task) => task.life.state === 'running')
    const others = running.length !== this.#assigned.length || running.some((task, i) => task !== this.#assigned[i])
    if (this.#polling !== undefined) {
      // It waits for a broker that is slow to answer: tasks that were opened or have room since are not to wait with it.
      if (others || running.some(({ parts }) => parts.inputs.some((input) => this.#hasRoom(input)))) this.#interrupt.abort()
      return
    }
    if (running.length === 0) return
    if (others) {
      this.#assigned = running
      reader.assign(new Map(running.flatMap((task) => task.parts.inputs.map((input) => [input.parts.partition, input.readTo]))))
    }
    // Pause instead of queues without bound.
    const inputs = running.flatMap((task) => task.parts.inputs)
    const full = new Set(inputs.filter((input) => input.queuedBytes >= options.bufferBytes).map((input) => input.parts.partition))
    if (full.size === inputs.length) return
    reader.pause(full)
    this.#paused = full
    this.#pollBegan = world.clock.mono()
    this.#interrupt = new AbortController()
    if (this.#parts.signal.aborted) this.#interrupt.abort()
    // A task that waits for its schemas or rows has no use for more records, and a poll that waits for nothing would keep the loop from
    // letting that input happen at all.
    const waitMs = running.every((task) => !task.busy || task.pending !== undefined) ? WAIT_MS : 0
    this.#polling = this.#poll(
      new Map(running.flatMap((task) => task.parts.inputs.map(({ parts }) => [parts.partition, task]))),
      full,
      waitMs,
    ).finally(() => {
      this.#polling = undefined
      this.#parts.onAnswer()
    })
  }

  /** Whether a partition that the poll leaves out could take more by now. */
  #hasRoom({ parts, queuedBytes }: Input): boolean {
    return queuedBytes < this.#parts.options.bufferBytes && this.#paused.has(parts.partition)
  }

  /** Ends the poll that is on its way. */
  async settled(): Promise<void> {
    this.#interrupt.abort()
    await this.#polling
  }

  /** @param readers for whom each partition is read: what comes for a task that was opened anew meanwhile is not its */
  async #poll(readers: ReadonlyMap<PartitionName, Task>, paused: ReadonlySet<PartitionName>, waitMs: number): Promise<void> {
    const { reader, options, frontier, world, onStopped, onBroken } = this.#parts
    const { signal } = this.#interrupt
    const before = frontier.snapshot(world.clock.now())
    try {
      const answers = await reader.poll({ bytes: options.fetchBytes, waitMs, signal })
      if (answers.length === 0)
        for (const [name, task] of readers) if (!paused.has(name)) this.#quiet(name, task, world.clock.now(), before)
      for (const fetched of answers) {
        const task = readers.get(fetched.partition)
        if (task === undefined || task.life.state !== 'running') continue
        if (fetched.kind === 'batches') {
          task.take(fetched.partition, fetched.batches, fetched.next, fetched.high)
          frontier.polled(fetched.partition, { high: fetched.high, at: world.clock.now() }, before)
        } else if (fetched.kind === 'failed') this.#failed(task, fetched.error)
        else onStopped(task, new TaskStopped('halt', task.name, gone(fetched)))
      }
      if (answers.length > 0) await this.#askSilent(readers, new Set(answers.map(({ partition }) => partition)))
    } catch (error) {
      if (!signal.aborted) onBroken(error)
    }
  }

  #failed(task: Task, error: TidemarkError): void {
    const verdict = verdictOnRead(error)
    if (verdict !== 'again') this.#parts.onStopped(task, new TaskStopped(verdict, task.name, error))
    else this.#parts.world.telemetry.event({ kind: 'failure', task: task.name, step: task.name, decision: verdict, error })
  }

  /**
   * Where some partitions always have something, those that are left out of the answers may have had nothing, or no room. Their ends tell,
   * and are asked for once in a while: an idle source is known to be idle, however busy its neighbours are. A log
   * that is slow to say so is not waited for.
   */
  async #askSilent(readers: ReadonlyMap<PartitionName, Task>, heard: ReadonlySet<PartitionName>): Promise<void> {
    const { world } = this.#parts
    const silent = [...readers.keys()].filter((name) => !heard.has(name))
    if (silent.length === 0 || this.#asking || world.clock.mono() - this.#askedAt < ASK_MS) return
    this.#askedAt = world.clock.mono()
    this.#asking = true
    const slow = new AbortController()
    const asked = this.#ask(readers, silent).finally(() => {
      this.#asking = false
    })
    await Promise.race([asked, world.clock.sleep(LONG_MS, slow.signal).catch(() => {})])
    slow.abort(OVER)
  }

  async #ask(readers: ReadonlyMap<PartitionName, Task>, silent: readonly PartitionName[]): Promise<void> {
    const { world, frontier } = this.#parts
    const at = world.clock.now()
    const before = frontier.snapshot(at)
    try {
      const ends = await world.log.offsets(silent, 'stable')
      for (const name of silent) {
        const task = readers.get(name) as Task
        if ((ends.get(name) as number) <= task.input(name).readTo) this.#quiet(name, task, at, before)
      }
    } catch {
      // One that does not answer is not heard from, which is what a read then says. The next poll meets the error, and tells of it.
    }
  }

  /** Of a task that was opened anew meanwhile nothing is known: it may stand before what the old one had read. */
  #quiet(partition: PartitionName, task: Task, at: number, before: Through): void {
    if (task.life.state === 'running') this.#parts.frontier.quiet(partition, at, before)
  }

  async close(): Promise<void> {
    await this.#parts.reader.close()
  }
}

function gone(gap: { partition: PartitionName; position: number; logStart: number; high: number }): TidemarkError {
  return new TidemarkError('POSITION_GAP', `records of ${gap.partition} are gone`, {
    detail: `They were to be read from ${gap.position}; the log has ${gap.logStart} to ${gap.high}.`,
    hint: 'Retention removed what was not processed yet. Lengthen it; to go on without them, move the positions of the group on purpose.',
  })
}
