/** Reads for the tasks of a worker: one poll at a time, for those that run and have room. */
import { TidemarkError } from '../base/errors.ts'
import type { PartitionName, Reader } from '../ports/log.ts'
import { TaskStopped, verdictOnRead } from './failure.ts'
import type { Frontier, Through } from './frontier.ts'
import type { Task } from './task.ts'
import type { RuntimeOptions, World } from './world.ts'

/** How long a poll waits when there is nothing to do, ms. */
const WAIT_MS = 100
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
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(parts: FetcherParts) {
    this.#parts = parts
  }

  /** Keeps a poll going. */
  fetch(tasks: Iterable<Task>): void {
    if (this.#polling !== undefined) return
    const { reader, options } = this.#parts
    const running = [...tasks].filter((task) => task.life.state === 'running')
    if (running.length === 0) return
    if (running.length !== this.#assigned.length || running.some((task, i) => task !== this.#assigned[i])) {
      this.#assigned = running
      reader.assign(new Map(running.flatMap((task) => task.parts.inputs.map((input) => [input.parts.partition, input.readTo]))))
    }
    // Pause instead of queues without bound.
    const inputs = running.flatMap((task) => task.parts.inputs)
    const full = new Set(inputs.filter((input) => input.queuedBytes >= options.bufferBytes).map((input) => input.parts.partition))
    if (full.size === inputs.length) return
    reader.pause(full)
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

  /** Resolves when no poll is on its way. */
  async settled(): Promise<void> {
    await this.#polling
  }

  /** @param readers for whom each partition is read: what comes for a task that was opened anew meanwhile is not its */
  async #poll(readers: ReadonlyMap<PartitionName, Task>, paused: ReadonlySet<PartitionName>, waitMs: number): Promise<void> {
    const { reader, options, frontier, signal, world, onStopped, onBroken } = this.#parts
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
        } else if (fetched.kind === 'failed') onStopped(task, new TaskStopped(verdictOnRead(fetched.error), task.name, fetched.error))
        else onStopped(task, new TaskStopped('halt', task.name, gone(fetched)))
      }
      if (answers.length > 0) await this.#askSilent(readers, new Set(answers.map(({ partition }) => partition)))
    } catch (error) {
      if (!signal.aborted) onBroken(error)
    }
  }

  /**
   * Where some partitions always have something, those that are left out of the answers may have had nothing, or no room. Their ends tell,
   * and are asked for once in a while: an idle source is known to be idle, however busy its neighbours are.
   */
  async #askSilent(readers: ReadonlyMap<PartitionName, Task>, heard: ReadonlySet<PartitionName>): Promise<void> {
    const { world, frontier } = this.#parts
    const silent = [...readers.keys()].filter((name) => !heard.has(name))
    if (silent.length === 0 || world.clock.mono() - this.#askedAt < ASK_MS) return
    this.#askedAt = world.clock.mono()
    const at = world.clock.now()
    const before = frontier.snapshot(at)
    const ends = await world.log.offsets(silent, 'stable')
    for (const name of silent) {
      const task = readers.get(name) as Task
      if ((ends.get(name) as number) <= task.input(name).readTo) this.#quiet(name, task, at, before)
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
