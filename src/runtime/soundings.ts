/**
 * Soundings: where the sources behind the inboxes of this worker's projections end, asked once in a while. A source that still ends where all of it
 * has come through has nothing new, and nobody needs to write anything down for that to be known, on whatever worker. Sources that got more
 * partitions are noticed on the way.
 */
import { type PartitionName, topicPartition } from '../ports/log.ts'
import { Counts, type CountsParts } from './counts.ts'
import type { Frontier } from './frontier.ts'
import type { Task } from './task.ts'
import type { World } from './world.ts'

/** How often sources are asked, ms. */
const ASK_MS = 500

export class Soundings {
  readonly #world: World
  readonly #frontier: Frontier
  readonly #counts: Counts
  #askedAt = Number.NEGATIVE_INFINITY
  /** Topics that have not answered yet. */
  readonly #asked = new Set<string>()

  constructor(world: World, frontier: Frontier, planned: CountsParts['planned'], onChanged: CountsParts['onChanged']) {
    this.#world = world
    this.#frontier = frontier
    this.#counts = new Counts({ world, planned, onChanged })
  }

  /** Asks, beside whoever calls, when it is time. */
  take(tasks: Iterable<Task>): void {
    const { clock } = this.#world
    this.#counts.take()
    if (clock.mono() - this.#askedAt < ASK_MS) return
    this.#askedAt = clock.mono()
    const sources = new Set<PartitionName>()
    for (const { parts, life } of tasks) {
      if (parts.stage.class !== 'fold' || life.state !== 'running') continue
      for (const { heard } of parts.inputs) for (const source of heard?.ways.keys() ?? []) sources.add(source)
    }
    for (const [topic, partitions] of Map.groupBy(sources, (source) => topicPartition(source).topic))
      if (!this.#asked.has(topic)) void this.#ask(topic, partitions)
  }

  async #ask(topic: string, partitions: readonly PartitionName[]): Promise<void> {
    const { log, clock } = this.#world
    this.#asked.add(topic)
    const at = clock.now()
    try {
      this.#frontier.ended(await log.offsets(partitions, 'stable'), at)
    } catch {
      // One that does not answer is not heard from, which is what a read then says. Who reads it meets the error, and tells of it.
    } finally {
      this.#asked.delete(topic)
    }
  }
}
