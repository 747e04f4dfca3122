/**
 * How many partitions the sources have, looked at while the application runs. A topic that gets more of them sends keys elsewhere: facts of one key
 * would be processed by two tasks, and those in the new partitions by none. So it is noticed, all that read the topic stop, and no read is called
 * fresh that follows it. A start finds by itself that what it recorded was made for another number (PLAN_CHANGED).
 */
import { TidemarkError } from '../base/errors.ts'
import type { World } from './world.ts'

/** How often is looked, ms. */
const LOOK_MS = 10_000

export interface CountsParts {
  readonly world: Pick<World, 'log' | 'clock'>
  /** What the plan was made for, by source topic. */
  readonly planned: ReadonlyMap<string, number>
  /** Called once a topic. */
  readonly onChanged: (topic: string, error: TidemarkError) => void
}

export class Counts {
  readonly #parts: CountsParts
  readonly #changed = new Set<string>()
  #lookedAt: number
  #looking = false

  constructor(parts: CountsParts) {
    this.#parts = parts
    // The start has just looked.
    this.#lookedAt = parts.world.clock.mono()
  }

  /** Looks, beside whoever calls, when it is time. */
  take(): void {
    const { clock } = this.#parts.world
    if (this.#looking || clock.mono() - this.#lookedAt < LOOK_MS) return
    void this.#look()
  }

  async #look(): Promise<void> {
    const { world, planned, onChanged } = this.#parts
    this.#looking = true
    try {
      for (const { name, partitions } of await world.log.describe([...planned.keys()])) {
        const before = planned.get(name)
        if (before === undefined || before === partitions || this.#changed.has(name)) continue
        this.#changed.add(name)
        onChanged(name, changed(name, before, partitions))
      }
    } catch {
      // Who reads from the log meets the same, and tells of it.
    } finally {
      this.#lookedAt = world.clock.mono()
      this.#looking = false
    }
  }
}

function changed(topic: string, before: number, now: number): TidemarkError {
  return new TidemarkError('PARTITION_COUNT_CHANGED', `topic "${topic}" has ${now} partitions now, and ${before} when this was started`, {
    detail: 'Its producers send keys to other partitions since, so facts of one key would be processed by two tasks, or by none.',
    hint: `Nothing of it is processed until somebody decides. Make the topic anew with ${before} partitions, or let its facts go to a new topic with ${now} and rebuild from that under a contract of that topic.`,
  })
}
