/**
 * The way between a worker and the log: every call travels there and back, and each leg is an event. A request may be refused, or lost, or come
 * late, after its sender gave up; an answer may be lost, or come late. What the sender sees is what the port allows a driver to answer then:
 * an error of the disk or the network, a dead writer, a commit in doubt.
 *
 * Requests of one writer arrive in the order in which they were sent. Nothing else is promised. In particular a commit is told to one partition
 * after the other, as logs do that are spread over machines: positions may be committed while the last stable offset of a partition still
 * lies before the records that they belong to.
 */
import { TidemarkError } from '../../base/errors.ts'
import type {
  CommitOutcome,
  Fetched,
  GroupPositions,
  Isolation,
  JoinOptions,
  Log,
  Membership,
  PartitionName,
  PlainWriter,
  Positions,
  Reader,
  Writer,
} from '../../ports/log.ts'
import type { EncodedBatch } from '../../ports/record-batch/index.ts'
import type { Owner, Scheduler } from './scheduler.ts'

/** What becomes of a call: it never arrives; it arrives and its answer does not; its sender gives up and it arrives after that. */
export type Fate = 'well' | 'refused' | 'unanswered' | 'late'

export interface Link {
  readonly scheduler: Scheduler
  /** Who sends: answers wait while it is paused. */
  readonly sender: Owner
  /** Where requests travel on, whatever becomes of who sent them. */
  readonly network: Owner
  /** Time of one leg, ms. */
  readonly legMs: () => number
  readonly lateMs: () => number
  /** After which time a partition is told of a commit, ms. */
  readonly toldMs: () => number
  /** A request that has not arrived after this time never does, ms. */
  readonly lostMs: number
  /** A request on its way is lost when its sender dies. */
  readonly forgetful: boolean
  /** Appends that have arrived and are not in the log. */
  appending: number
  readonly fate: (call: string) => Fate
  /** Called when a sender, or what it sends next, will wait until then because of a fault, ms of simulated time. */
  readonly onWaiting: (until: number) => void
  /** Of partitions that have not been told of a commit yet: their last stable offset until then, and when that is. Shared by all workers. */
  readonly untold: Map<PartitionName, { readonly stable: number; readonly until: number }>
}

interface Travel {
  /** Requests that share it arrive in order. */
  readonly lane?: { at: number }
  readonly fate?: Fate
}

/** A log as a worker sees it that lives elsewhere. */
export function remoteLog(log: Log, link: Link): Log {
  const call = <T>(label: string, work: () => Promise<T>, travel?: Travel): Promise<T> => travelled(link, label, work, travel)
  return {
    manifest: log.manifest,
    describe: (names) => call('describe', () => log.describe(names)),
    ensure: (specs, options) => call('ensure', () => log.ensure(specs, options)),
    offsets: (partitions, at) =>
      call(`offsets ${typeof at === 'string' ? at : 'time'}`, async () => {
        const offsets = await log.offsets(partitions, at)
        return at === 'stable' ? asTold(offsets, link) : offsets
      }),
    reader: (isolation: Isolation) => new RemoteReader(log.reader(isolation), link),
    join: async (group: string, options: JoinOptions) => remoteMembership(await call('join', () => log.join(group, options)), link),
    committed: (group, partitions): Promise<Positions | 'unstable'> => call('committed', () => log.committed(group, partitions)),
    writer: async (id) => new RemoteWriter(log, await call('writer', () => log.writer(id)), link),
    plainWriter: async () => new RemotePlainWriter(await call('plainWriter', () => log.plainWriter()), link),
    fence: (prefix, live) => call('fence', () => log.fence(prefix, live)),
    hanging: (partitions, group) => call('hanging', () => log.hanging(partitions, group)),
    commitPositions: (positions) => call('commitPositions', () => log.commitPositions(positions)),
    trim: (partition, before) => call('trim', () => log.trim(partition, before)),
    close: () => log.close(),
  }
}

function asTold(offsets: Positions, { scheduler, untold }: Link): Positions {
  return new Map(
    [...offsets].map(([partition, offset]) => {
      const before = untold.get(partition)
      if (before !== undefined && before.until > scheduler.now) return [partition, Math.min(before.stable, offset)]
      untold.delete(partition)
      return [partition, offset]
    }),
  )
}

function travelled<T>(link: Link, label: string, work: () => Promise<T>, { lane, fate }: Travel = {}): Promise<T> {
  const { scheduler, sender, network, legMs, lateMs, lostMs } = link
  const how = fate ?? link.fate(label)
  return new Promise<T>((resolve, reject) => {
    const giveUp = (after: number): void => void scheduler.after(after, sender, `${label} fails (${how})`, () => reject(unanswered(label)))
    const answer = (settle: () => void): void => {
      if (how === 'well') scheduler.after(legMs(), sender, `${label} answered`, settle)
    }
    if (how !== 'well') {
      const after = legMs() * 2 + (how === 'unanswered' ? lateMs() : 0)
      link.onWaiting(scheduler.now + after)
      giveUp(after)
    }
    if (how === 'refused') return
    let arrival = scheduler.now + legMs() + (how === 'late' ? lateMs() : 0)
    if (lane !== undefined) {
      arrival = Math.max(arrival, lane.at)
      lane.at = arrival
    }
    if (how === 'late') link.onWaiting(arrival)
    const sentAt = scheduler.now
    const travel = (): void => {
      const due = Math.max(arrival, scheduler.now)
      if (due - sentAt > lostMs) {
        if (how === 'well') giveUp(0)
        return
      }
      scheduler.after(due - scheduler.now, network, `${label} arrives`, () => {
        if (link.forgetful && sender.dead) return
        const appends = label.startsWith('append') ? 1 : 0
        link.appending += appends
        work()
          .finally(() => {
            link.appending -= appends
          })
          .then(
            (value) => answer(() => resolve(value)),
            (error: Error) => answer(() => reject(error)),
          )
      })
    }
    // While the way is down a request waits where it is; once on its way it arrives, even if its sender dies meanwhile.
    if (sender.still) scheduler.after(0, sender, `${label} leaves`, travel)
    else travel()
  })
}

function unanswered(label: string): TidemarkError {
  return new TidemarkError('LOG_IO', 'the log did not answer', { detail: `The call was "${label}".` })
}

class RemoteReader implements Reader {
  readonly #reader: Reader
  readonly #link: Link

  constructor(reader: Reader, link: Link) {
    this.#reader = reader
    this.#link = link
  }

  assign(positions: Positions): void {
    this.#reader.assign(positions)
  }

  pause(partitions: ReadonlySet<PartitionName>): void {
    this.#reader.pause(partitions)
  }

  poll(options: { bytes: number; waitMs: number; signal?: AbortSignal }): Promise<Fetched[]> {
    // A reader moves with its answers, so one that is lost would be a gap here and nowhere else: a poll fails before it reads.
    const fate = this.#link.fate('poll') === 'well' ? 'well' : 'refused'
    return travelled(this.#link, 'poll', () => this.#reader.poll(options), { fate })
  }

  close(): Promise<void> {
    return this.#reader.close()
  }
}

/** What a writer's failures have in common: after the first it is dead, and says why. */
class Sender {
  readonly link: Link
  readonly lane = { at: 0 }
  dead: TidemarkError | undefined
  readonly #unanswered = new Set<Promise<unknown>>()

  constructor(link: Link) {
    this.link = link
  }

  /** Resolves when everything that was sent has been answered, or will not be. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#unanswered)
  }

  append(
    writer: Writer | PlainWriter,
    partition: PartitionName,
    batch: EncodedBatch,
  ): Promise<{ readonly base: number; readonly next: number }> {
    const answer = this.#append(writer, partition, batch).finally(() => this.#unanswered.delete(answer))
    this.#unanswered.add(answer)
    return answer
  }

  async #append(
    writer: Writer | PlainWriter,
    partition: PartitionName,
    batch: EncodedBatch,
  ): Promise<{ readonly base: number; readonly next: number }> {
    if (this.dead !== undefined) throw this.dead
    try {
      return await travelled(this.link, `append ${partition}`, () => writer.append(partition, batch), { lane: this.lane })
    } catch (error) {
      this.dead ??= error as TidemarkError
      throw error
    }
  }
}

class RemoteWriter implements Writer {
  readonly id: string
  readonly #log: Log
  readonly #writer: Writer
  readonly #sender: Sender
  readonly #touched = new Set<PartitionName>()

  constructor(log: Log, writer: Writer, link: Link) {
    this.id = writer.id
    this.#log = log
    this.#writer = writer
    this.#sender = new Sender(link)
  }

  append(partition: PartitionName, batch: EncodedBatch): Promise<{ readonly base: number; readonly next: number }> {
    this.#touched.add(partition)
    return this.#sender.append(this.#writer, partition, batch)
  }

  async commit(positions: readonly GroupPositions[]): Promise<CommitOutcome> {
    await this.#sender.drained()
    const { link, lane, dead } = this.#sender
    if (dead !== undefined) return { kind: 'aborted', error: dead }
    try {
      const outcome = await travelled(link, 'commit', () => this.#decide(positions), { lane })
      if (outcome.kind !== 'committed') this.#sender.dead = outcome.error
      return outcome
    } catch (cause) {
      const error = new TidemarkError('COMMIT_IN_DOUBT', 'the log did not say whether it committed', { cause })
      this.#sender.dead = error
      return { kind: 'in-doubt', error }
    }
  }

  async #decide(positions: readonly GroupPositions[]): Promise<CommitOutcome> {
    const { scheduler, toldMs, untold } = this.#sender.link
    const touched = [...this.#touched]
    this.#touched.clear()
    const before = await this.#log.offsets(touched, 'stable')
    const outcome = await this.#writer.commit(positions)
    for (const [partition, stable] of before) {
      const late = toldMs()
      if (late > 0)
        untold.set(partition, { stable: Math.min(stable, untold.get(partition)?.stable ?? stable), until: scheduler.now + late })
    }
    return outcome
  }

  abort(): Promise<void> {
    return travelled(this.#sender.link, 'abort', () => this.#writer.abort(), { lane: this.#sender.lane })
  }

  close(): Promise<void> {
    const { link, lane } = this.#sender
    return travelled(link, 'close', () => this.#writer.close(), { lane })
  }
}

class RemotePlainWriter implements PlainWriter {
  readonly #writer: PlainWriter
  readonly #sender: Sender

  constructor(writer: PlainWriter, link: Link) {
    this.#writer = writer
    this.#sender = new Sender(link)
  }

  async append(
    partition: PartitionName,
    batch: EncodedBatch,
    guard?: () => void,
  ): Promise<{ readonly base: number; readonly next: number }> {
    guard?.()
    return await this.#sender.append(this.#writer, partition, batch)
  }

  close(): Promise<void> {
    return this.#writer.close()
  }
}

function remoteMembership(membership: Membership, { scheduler, sender, network, legMs }: Link): Membership {
  return {
    next: async (signal) => {
      const event = await membership.next(signal)
      await scheduler.wait(legMs(), sender, `group says ${event.kind}`)
      return event
    },
    heartbeatAge: () => membership.heartbeatAge(),
    confirm: async (signal) => {
      await scheduler.wait(legMs(), network, 'a member asks')
      const answer = await membership.confirm(signal)
      await scheduler.wait(legMs(), sender, 'the group answers')
      return answer
    },
    rejoin: () => membership.rejoin(),
    leave: (options) => membership.leave(options),
  }
}
