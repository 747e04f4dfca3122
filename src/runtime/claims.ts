/**
 * What a worker does that ends the work of others: it opens its writer, which fences its earlier life; it fences writers of dead members; it ends a
 * rebuild that is on its way. Once it has joined, none of it happens before the group has said that this worker still is its member. One that slept,
 * and whose place or name another process took meanwhile, would end the transactions of its successor.
 */
import { TidemarkError } from '../base/errors.ts'
import { rebuildersOf } from '../plan/naming.ts'
import type { Membership, PlainWriter, Writer } from '../ports/log.ts'
import { readDecisions } from './decisions.ts'
import { backoffMs, isFinal } from './failure.ts'
import type { Stages } from './stages.ts'
import type { Stalls } from './stalls.ts'
import type { RuntimeOptions, World } from './world.ts'

export interface ClaimsParts {
  readonly world: World
  readonly options: Pick<RuntimeOptions, 'guarantee'>
  readonly stages: Stages
  readonly stalls: Stalls
  /** The id of the writer. */
  readonly id: string
  /** The worker is to end: nothing is tried any more. */
  readonly signal: AbortSignal
}

export class Claims {
  readonly #parts: ClaimsParts
  #writer: Writer | PlainWriter | undefined

  constructor(parts: ClaimsParts) {
    this.#parts = parts
  }

  /** None while it is not sure that this worker is still the one that may open it. */
  get writer(): Writer | PlainWriter | undefined {
    return this.#writer
  }

  /** Opens the writer with a fresh epoch: fences this worker's earlier life and ends the transaction it left open. */
  async open(): Promise<void> {
    const { world, options, stalls, id } = this.#parts
    const { log } = world
    if (options.guarantee === 'at-least-once') {
      this.#writer = await log.plainWriter()
      return
    }
    const writer = await log.writer(id)
    try {
      if (!(await stalls.left())) {
        this.#writer = writer
        return
      }
    } catch (error) {
      await writer.close().catch(() => {})
      throw error
    }
    // What the log lost of the ends of our transactions is known by now, and the next writer makes up for it where it can.
    await writer.close()
    this.#writer = await log.writer(id)
  }

  async close(): Promise<void> {
    await this.#writer?.close().catch(() => {})
    this.#writer = undefined
  }

  /**
   * Opens the writer where there is none, and does what else ends the work of others. False when this worker is no member any more, or is to end:
   * the next event of the group says so.
   */
  async claim(membership: Membership, work: () => Promise<void> = () => Promise.resolve()): Promise<boolean> {
    let wanted = false
    let over: unknown
    const confirmed = (): Promise<boolean> =>
      membership.confirm(this.#parts.signal).catch((error: unknown) => {
        over = error
        throw error
      })
    await this.#insist(
      async () => {
        wanted = false
        if (!(await confirmed())) return
        if (this.#writer === undefined) await this.open()
        await work()
        wanted = true
      },
      // A membership that cannot even be asked about is over for good, whatever the reason.
      (error) => error === over,
    )
    return wanted
  }

  /**
   * While this worker was no member, a projection may have been rebuilt and switched to. A switch is refused once this worker is a member, so what
   * is decided by now stays so; one that is on its way is ended first, one way or the other.
   * @throws TidemarkError PLAN_CHANGED
   */
  checkGenerations(): Promise<void> {
    const { world, stages: prepared } = this.#parts
    const { app, stages } = prepared.plan
    return this.#insist(async () => {
      await world.log.fence(rebuildersOf(app), new Set())
      const { generations } = await readDecisions(world.log, app, 'high')
      for (const { name, generation } of stages) {
        const live = generations.get(name) ?? generation
        if (live === generation) continue
        throw new TidemarkError('PLAN_CHANGED', `stage "${name}" was rebuilt`, {
          detail: `Generation ${live} is live, and this worker was started for generation ${generation}.`,
          hint: 'Start it again: it takes up what was rebuilt.',
        })
      }
    })
  }

  /** Tries until it works, the worker is to end, or it never will work. */
  async #insist(work: () => Promise<void>, isOver: (error: unknown) => boolean = () => false): Promise<void> {
    const { world, signal } = this.#parts
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await work()
        return
      } catch (error) {
        if (signal.aborted) return
        if (isFinal(error) || isOver(error)) throw error
        await world.clock.sleep(backoffMs(attempt, world.random.unit()), signal).catch(() => {})
      }
    }
  }
}
