/**
 * Produce 10 to 12: stamped batches to the leaders of their partitions, in order, each exactly once however often it must be sent.
 *
 * A request carries at most one batch of each partition; up to five of a partition are on their way, but for the first. A batch is stamped before it is sent
 * for the first time and is never touched again: the broker recognizes the same bytes and would silently drop others that carry the
 * same sequence. When one of a partition fails in a way that another try may mend, the partition waits until all its requests have been
 * answered, and then sends what is not acknowledged again, in order. Everything else ends the track.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { PartitionName } from '../../ports/log.ts'
import { type Codecs, type EncodedBatch, stampBatch } from '../../ports/record-batch/index.ts'
import type { Cluster } from './cluster.ts'
import { brokerError, isMoved, LinkLost, unreachable } from './failures.ts'
import { DATA } from './lanes.ts'
import { type Appended, isFull, newTrack, type Outgoing, type Session, type Track } from './producer-track.ts'
import { isRetriable, refusal } from './refusals.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { type ProducePartition, produce } from './wire/produce.ts'

export interface ProducerOptions {
  readonly cluster: Cluster
  readonly codecs: Codecs
  /** null for a producer without transactions. */
  readonly transactionalId: string | null
  /** How long one request may take before it is sent again, ms: less than a transaction has. */
  readonly answerMs: number
  /** The newest version of Produce that may be used. */
  readonly version: number
  /** As whom a partition's batches are sent from now on; asked for again after the partition failed. */
  readonly session: () => Session | Promise<Session>
  /** Called before a partition's first batch in a transaction, where something was lost since the last time: whether it may be written to. */
  readonly admit?: (partitions: readonly PartitionName[]) => Promise<void>
  /**
   * Called before the first batch of a partition in a transaction; without it partitions need no introduction. Gives the failures of those that
   * are refused; then none of them is introduced.
   */
  readonly introduce?: (partitions: readonly PartitionName[]) => Promise<ReadonlyMap<PartitionName, TidemarkError>>
  /** A partition failed for good: what was appended to it and not acknowledged is rejected with this error. */
  readonly onFailed?: (error: TidemarkError) => void
}

/** Bytes of one request; a batch that is larger goes alone. */
const REQUEST_BYTES_MAX = 8 * 1024 * 1024
/** How long a batch may take to be acknowledged, tries included, ms. */
const DELIVERY_MS = 30_000
/** Of the time for an answer, what the brokers have for their replicas. */
const REPLICAS_SHARE = 0.75
const SEQUENCES = 2 ** 31

export class Producer {
  private readonly options: ProducerOptions
  private readonly tracks = new Map<PartitionName, Track>()
  private scheduled = false
  private failure: TidemarkError | undefined
  private waiters: (() => void)[] = []

  constructor(options: ProducerOptions) {
    this.options = options
  }

  /** `guard` is asked each time before the batch is sent: when it throws, the partition fails with that. */
  append(name: PartitionName, batch: EncodedBatch, guard?: () => void): Promise<Appended> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    return new Promise((resolve, reject) => {
      this.track(name).pending.push({ batch, guard, resolve, reject, stamped: false, onWire: false })
      this.schedule()
    })
  }

  /** Resolves when everything appended so far is acknowledged or has failed, and nothing is on its way. */
  drained(): Promise<void> {
    if (this.idle) return Promise.resolve()
    return new Promise((resolve) => this.waiters.push(resolve))
  }

  /**
   * Begins a transaction: partitions must be introduced again, and sequences begin anew when the session is another one.
   * Only when everything is drained.
   */
  begin(sessionChanged: boolean): void {
    for (const track of this.tracks.values()) {
      track.introduced = false
      track.begun = false
      if (!sessionChanged) continue
      track.session = undefined
      track.sequence = 0
    }
  }

  /** Rejects everything that is not acknowledged, and every later append. */
  end(error: TidemarkError): void {
    this.failure ??= error
    for (const track of this.tracks.values()) this.reject(track, error)
    this.settle()
  }

  private get idle(): boolean {
    for (const { pending, onWire, preparing } of this.tracks.values()) if (pending.length > 0 || onWire > 0 || preparing) return false
    return true
  }

  private settle(): void {
    if (this.waiters.length === 0 || !this.idle) return
    for (const waiter of this.waiters.splice(0)) waiter()
  }

  private track(name: PartitionName): Track {
    let track = this.tracks.get(name)
    if (track === undefined) {
      track = newTrack(name)
      this.tracks.set(name, track)
    }
    return track
  }

  /** Appends of one turn leave together. */
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(() => {
      this.scheduled = false
      this.pump()
    })
  }

  // --- sending -----------------------------------------------------------------------------------------------------------------

  private pump(): void {
    const ready: Track[] = []
    const strangers: Track[] = []
    const unsure: Track[] = []
    const { upsets } = this.options.cluster
    for (const track of this.tracks.values()) {
      if (track.pending.length === 0 || track.recovering || track.preparing || isFull(track)) continue
      if (track.session === undefined || this.node(track) === undefined) this.prepare(track)
      else if (this.options.admit !== undefined && !track.begun && track.admittedAt !== upsets) unsure.push(track)
      else if (this.options.introduce !== undefined && !track.introduced) strangers.push(track)
      else ready.push(track)
    }
    if (unsure.length > 0) this.admit(unsure, upsets)
    if (strangers.length > 0) this.introduce(strangers)
    for (let round = ready; round.length > 0; ) {
      const byNode = new Map<number, { track: Track; out: Outgoing }[]>()
      const bytes = new Map<number, number>()
      const more: Track[] = []
      for (const track of round) {
        if (isFull(track)) continue
        const out = track.pending.find(({ onWire }) => !onWire)
        if (out === undefined || this.forbidden(track, out)) continue
        const node = this.node(track) as number
        const size = (bytes.get(node) ?? 0) + out.batch.bytes.length
        more.push(track)
        const of = byNode.get(node)
        if (of !== undefined && size > REQUEST_BYTES_MAX) continue
        bytes.set(node, size)
        if (of === undefined) byNode.set(node, [{ track, out }])
        else of.push({ track, out })
      }
      for (const [node, of] of byNode) void this.send(node, of)
      round = more
    }
  }

  private forbidden(track: Track, { guard }: Outgoing): boolean {
    try {
      guard?.()
      return false
    } catch (error) {
      this.fail(track, asTidemark(error, track))
      this.settle()
      return true
    }
  }

  private node({ topic, partition }: Track): number | undefined {
    const leader = this.options.cluster.leader(topic, partition)
    return leader === undefined || leader.node < 0 ? undefined : leader.node
  }

  private async send(node: number, of: readonly { track: Track; out: Outgoing }[]): Promise<void> {
    const { cluster, codecs, transactionalId, version, answerMs } = this.options
    const topics = new Map<string, { partition: number; records: Buffer }[]>()
    for (const { track, out } of of) {
      if (!out.stamped) {
        const { producerId, producerEpoch } = track.session as Session
        stampBatch(out.batch, { producerId, producerEpoch, baseSequence: track.sequence, transactional: transactionalId !== null }, codecs)
        track.sequence = (track.sequence + out.batch.count) % SEQUENCES
        out.stamped = true
        track.begun = true
      }
      out.onWire = true
      track.onWire++
      const partitions = topics.get(track.topic)
      const wanted = { partition: track.partition, records: out.batch.bytes }
      if (partitions === undefined) topics.set(track.topic, [wanted])
      else partitions.push(wanted)
    }
    const request = {
      transactionalId,
      acks: -1,
      timeoutMs: Math.round(answerMs * REPLICAS_SHARE),
      topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
    }
    let answers: Map<string, ProducePartition> | undefined
    let lost: unknown
    try {
      const answer = await cluster.send(node, produce, request, { purpose: DATA, timeoutMs: answerMs, version })
      answers = new Map(answer.topics.flatMap(({ topic, partitions }) => partitions.map((each) => [`${topic}/${each.partition}`, each])))
    } catch (error) {
      lost = error
    }
    for (const { track, out } of of) {
      out.onWire = false
      track.onWire--
      const answer = answers?.get(track.name)
      if (!track.pending.includes(out)) continue
      if (answer === undefined) this.lost(track, lost)
      else if (answer.error === E.NONE) this.acknowledged(track, out, answer)
      else this.refused(track, out, answer)
    }
    for (const { track } of of) if (track.recovering && track.onWire === 0 && track.pending.length > 0) this.recover(track)
    this.settle()
    this.pump()
  }

  private acknowledged(track: Track, out: Outgoing, { baseOffset }: ProducePartition): void {
    track.pending.splice(track.pending.indexOf(out), 1)
    track.failures = 0
    track.knownAs = track.session?.producerId ?? -1
    out.resolve({ base: baseOffset, next: baseOffset + out.batch.count })
  }

  private lost(track: Track, error: unknown): void {
    if (error === undefined || error instanceof LinkLost) {
      track.moved = true
      this.retry(track, error ?? new Error('the partition was not answered for'))
    } else this.fail(track, asTidemark(error, track))
  }

  private refused(track: Track, out: Outgoing, answer: ProducePartition): void {
    const { error, errorMessage, recordErrors } = answer
    // What follows a batch that failed cannot be in order.
    const follower = error === E.OUT_OF_ORDER_SEQUENCE_NUMBER && track.recovering && track.pending[0] !== out
    if (follower || isRetriable(error)) {
      track.moved ||= isMoved(error)
      this.retry(track, brokerError(`write to ${track.name}`, error, errorMessage))
      return
    }
    if (error === E.UNSUPPORTED_VERSION) this.options.cluster.forgetProtocol()
    const message = recordErrors[0]?.message ?? errorMessage
    this.fail(track, refusal(track, this.options.transactionalId, { error, message, maxTimestamp: out.batch.maxTimestamp }))
  }

  // --- trying again ------------------------------------------------------------------------------------------------------------

  private retry(track: Track, why: unknown): void {
    const { clock } = this.options.cluster
    if (track.failures === 0) track.failingSince = clock.mono()
    track.failures++
    track.recovering = true
    if (clock.mono() - track.failingSince < DELIVERY_MS) return
    this.fail(track, why instanceof TidemarkError ? why : unreachable(`write to ${track.name}`, 'the leader of the partition', why))
  }

  /** Everything was answered: asks who leads now, waits a little, and sends again from the first that is not acknowledged. */
  private recover(track: Track): void {
    if (track.preparing) return
    this.hold(track, async () => {
      const { cluster } = this.options
      await cluster.pause(track.failures - 1)
      // One that is busy with the transaction before is the right one all the same.
      if (track.moved) await cluster.refresh([track.topic])
      track.moved = false
      track.recovering = false
    })
  }

  private prepare(track: Track): void {
    this.hold(track, async () => {
      const { cluster, session } = this.options
      track.session ??= await session()
      await cluster.know([track.name])
      for (let attempt = 0; this.node(track) === undefined; attempt++) {
        if (attempt > 60) throw unreachable(`write to ${track.name}`, 'the partition', new Error('it has no leader'))
        await cluster.pause(attempt + 2)
        await cluster.refresh([track.topic])
      }
    })
  }

  private admit(tracks: readonly Track[], upsets: number): void {
    const admitted = this.options.admit?.(tracks.map(({ name }) => name)) as Promise<void>
    for (const track of tracks) {
      this.hold(track, async () => {
        await admitted
        track.admittedAt = upsets
      })
    }
  }

  private introduce(tracks: readonly Track[]): void {
    const names = tracks.map(({ name }) => name)
    const introduced = this.options.introduce?.(names) as Promise<ReadonlyMap<PartitionName, TidemarkError>>
    for (const track of tracks) {
      this.hold(track, async () => {
        const refused = await introduced
        const failure = refused.get(track.name)
        if (failure !== undefined) throw failure
        track.introduced = refused.size === 0
      })
    }
  }

  /** Nothing of a partition is sent while something else is done for it. */
  private hold(track: Track, work: () => Promise<void>): void {
    track.preparing = true
    work()
      .catch((error: unknown) => this.fail(track, asTidemark(error, track)))
      .finally(() => {
        track.preparing = false
        this.settle()
        this.schedule()
      })
  }

  private fail(track: Track, error: TidemarkError): void {
    this.reject(track, error)
    // Its sequence has a hole now, or may have: only another session can go on.
    track.session = undefined
    track.sequence = 0
    track.recovering = false
    track.failures = 0
    this.options.onFailed?.(error)
  }

  private reject(track: Track, error: TidemarkError): void {
    for (const { reject } of track.pending.splice(0)) reject(error)
  }
}

function asTidemark(error: unknown, track: Track): TidemarkError {
  if (error instanceof TidemarkError) return error
  if (error instanceof LinkLost) return unreachable(`write to ${track.name}`, 'the leader of the partition', error)
  return new TidemarkError('BROKER_ERROR', `a batch for ${track.name} could not be sent: ${messageOf(error)}`, { cause: error })
}
