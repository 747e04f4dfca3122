/**
 * Partitions that stand still: more is written than is decided, and what is decided grows no more. A transaction that is open for long does that
 * and ends; one that hangs, because the log lost its end, holds up its readers for good, and nobody would know why. So the log is asked.
 *
 * It only tells. To end such a transaction somebody must know whether it was committed, and have the right to: the log does what it can when
 * the writer of that transaction is opened the next time.
 */
import { codeOf, TidemarkError } from '../base/errors.ts'
import { readableMs } from '../base/time.ts'
import type { HangingTransaction, PartitionName } from '../ports/log.ts'
import type { World } from './world.ts'

/** How often is looked, ms. */
const LOOK_MS = 5_000
/** What stands still for longer is asked about, ms: brokers end a transaction of ours after 10 s, and look for such ones every 10 s. */
export const STALL_MS = 30_000
/** Nobody's transaction is open for so long, ms: brokers allow 15 minutes unless told otherwise. */
export const TRANSACTION_MS_MAX: number = 16 * 60_000

export interface StallsParts {
  readonly world: Pick<World, 'log' | 'clock' | 'telemetry'>
  readonly group: string
  /** This worker's own writer. */
  readonly writer: string
  /** What all workers of the application read: what the group's positions are about. A writer may have left something where another reads by now. */
  readonly inputs: readonly PartitionName[]
  /** What they write. */
  readonly written: readonly PartitionName[]
  /** A transaction of its own hangs: the next writer of its id may be able to end it. Told once of each. */
  readonly onOwn: (error: TidemarkError) => void
}

interface Standstill {
  /** Up to where everything is decided. */
  readonly stable: number
  /** By the clock that never goes back. */
  readonly since: number
  /** The same as wall time. */
  readonly sinceWall: number
}

/** The positions of the group, as a name among partitions; no topic has an empty name. */
const POSITIONS = ''

export class Stalls {
  readonly #parts: StallsParts
  readonly #still = new Map<PartitionName, Standstill>()
  #found = new Map<string, TidemarkError>()

  constructor(parts: StallsParts) {
    this.#parts = parts
  }

  /** Transactions that hang, as far as is known now. */
  get hanging(): readonly TidemarkError[] {
    return [...this.#found.values()]
  }

  /**
   * Whether a transaction of this worker's own hangs, so that its writer is to be opened once more. To be asked when that was just opened: all
   * that it ever began has ended by then, but for what the log lost.
   */
  async left(): Promise<boolean> {
    const { world, group, inputs, written, writer } = this.#parts
    if (world.log.manifest.hanging !== true) return false
    const hanging = await world.log.hanging([...new Set([...inputs, ...written])], group)
    const own = hanging.filter((each) => each.writer === writer)
    for (const each of own) world.telemetry.event({ kind: 'warning', error: hangs(each, { sinceWall: world.clock.now(), ageMs: 0 }) })
    return own.length > 0
  }

  /** Looks until it is told to stop. Never rejects for a log that does not answer: others notice that. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts.world
    if (log.manifest.hanging !== true) return
    for (;;) {
      try {
        await clock.sleep(LOOK_MS, signal)
        await this.look()
      } catch (error) {
        if (signal.aborted) return
        if (codeOf(error) === undefined) throw error
      }
    }
  }

  /** Looks once. @throws TidemarkError when the log cannot be asked */
  async look(): Promise<void> {
    const { world, group, inputs, written } = this.#parts
    const names = [...new Set([...inputs, ...written])]
    const stable = await world.log.offsets(names, 'stable')
    const high = await world.log.offsets(names, 'high')
    const pending = (await world.log.committed(group, inputs)) === 'unstable'
    const stuck = new Map([...stable].filter(([name, offset]) => offset < (high.get(name) as number)))
    if (pending) stuck.set(POSITIONS, 0)
    const now = world.clock.mono()
    for (const name of this.#still.keys()) if (!stuck.has(name)) this.#still.delete(name)
    for (const [name, offset] of stuck) {
      if (this.#still.get(name)?.stable !== offset) this.#still.set(name, { stable: offset, since: now, sinceWall: world.clock.now() })
    }
    const suspects = [...this.#still].filter(([, { since }]) => now - since >= STALL_MS).map(([name]) => name)
    await this.#ask(suspects)
  }

  async #ask(suspects: readonly PartitionName[]): Promise<void> {
    const { world, group, writer, onOwn } = this.#parts
    const before = this.#found
    this.#found = new Map()
    if (suspects.length === 0) return
    const hanging = await world.log.hanging(
      suspects.filter((name) => name !== POSITIONS),
      group,
    )
    for (const each of hanging) {
      const still = this.#still.get(each.partition) ?? this.#still.get(POSITIONS)
      const age = still === undefined ? 0 : world.clock.mono() - still.since
      // Of a producer that the log does not show to us, only time tells. And what stands among the positions of a group may be another group's.
      if (still === undefined || age < (each.writer === undefined ? TRANSACTION_MS_MAX : STALL_MS)) continue
      const key = `${each.partition}@${each.offset} ${each.producerId}`
      const error = before.get(key) ?? hangs(each, { ...still, ageMs: age })
      this.#found.set(key, error)
      if (before.has(key)) continue
      world.telemetry.event({ kind: 'warning', error })
      if (each.writer === writer) onOwn(error)
    }
  }
}

/** The sentence about a transaction that hangs, with what ends it. */
export function hangs(
  { partition, offset, producerId, producerEpoch, writer }: HangingTransaction,
  { sinceWall, ageMs }: { readonly sinceWall: number; readonly ageMs: number },
): TidemarkError {
  const slash = partition.lastIndexOf('/')
  const [topic, number] = [partition.slice(0, slash), partition.slice(slash + 1)]
  const since = `${new Date(sinceWall).toISOString()} (${readableMs(ageMs)})`
  return new TidemarkError('TRANSACTION_HANGING', `a transaction without an end holds up ${partition} at offset ${offset} since ${since}`, {
    detail:
      `Producer ${producerId}, epoch ${producerEpoch}, ${writer === undefined ? 'of a writer that no coordinator shows' : `of writer "${writer}"`}. ` +
      'Its coordinator has no such transaction any more, so nobody will end it, and nothing behind it can be read.',
    hint: `kafka-transactions.sh --bootstrap-server ... abort --topic ${topic} --partition ${number} --start-offset ${offset} ends it, and drops what it wrote there. It needs the right ALTER on the cluster.`,
  })
}
