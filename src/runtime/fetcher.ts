/** Reads for the tasks of a worker: one poll at a time, for those that run and have room. */
import { TidemarkError } from '../base/errors.ts'
import type { PartitionName, Reader } from '../ports/log.ts'
import { TaskStopped } from './failure.ts'
import type { Frontier } from './frontier.ts'
import type { Task } from './task.ts'
import type { RuntimeOptions, World } from './world.ts'

/** How long a poll waits when there is nothing to do, ms. */
const WAIT_MS = 100

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
    const waitMs = running.every((task) => !task.busy) ? WAIT_MS : 0
    this.#polling = this.#poll(
      new Map(running.flatMap((task) => task.parts.inputs.map(({ parts }) => [parts.partition, task]))),
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
  async #poll(readers: ReadonlyMap<PartitionName, Task>, waitMs: number): Promise<void> {
    const { reader, options, frontier, signal, world, onStopped, onBroken } = this.#parts
    const before = frontier.snapshot(world.clock.now())
    try {
      for (const fetched of await reader.poll({ bytes: options.fetchBytes, waitMs, signal })) {
        const task = readers.get(fetched.partition)
        if (task === undefined || task.life.state !== 'running') continue
        if (fetched.kind === 'batches') {
          task.take(fetched.partition, fetched.batches, fetched.next, fetched.high)
          frontier.polled(fetched.partition, { high: fetched.high, at: world.clock.now() }, before)
        } else if (fetched.kind === 'failed') onStopped(task, new TaskStopped('halt', task.name, fetched.error))
        else onStopped(task, new TaskStopped('halt', task.name, gone(fetched)))
      }
    } catch (error) {
      if (!signal.aborted) onBroken(error)
    }
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
