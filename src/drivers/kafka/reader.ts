/**
 * The reader of the port: Fetch 12 without sessions, over sockets of its own. It keeps a position for each partition; a broker keeps none.
 *
 * One request a broker is on its way at a time, and the next one leaves when an answer is handed out, so that reading goes on while the caller
 * works. An answer that was asked for before a new assignment is dropped. An empty poll means that every partition was asked after the poll
 * began and had nothing: whoever measures freshness may believe it. A broker that cannot be reached is therefore waited for, and in the end
 * an error, never silence. One whose quota is used up, and a partition that it cannot read at the moment, are waited for as long as it says so.
 */
import type { TidemarkError } from '../../base/errors.ts'
import type { Fetched, Isolation, PartitionName, Positions, Reader } from '../../ports/log.ts'
import { partitionName } from '../../ports/log.ts'
import type { Codecs, Limits } from '../../ports/record-batch/index.ts'
import { damaged, decodeFetched, FetchBroken } from './answer.ts'
import { ANY_NODE, Askable } from './askable.ts'
import type { Cluster, PartitionLeader } from './cluster.ts'
import { brokerError, closedError, isMoved, LinkLost, recreated, topicError, topicUnknown } from './failures.ts'
import type { Purpose } from './lanes.ts'
import { offsetsAt } from './offsets.ts'
import { isDamage, readVerdict, silent, type Trouble, toldOf, troubled, troubleMs, unreadable } from './reading.ts'
import { dueOf, requestFor, type Track, trackOf } from './tracks.ts'
import { Waits } from './waits.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'
import { type FetchPartition, fetch } from './wire/fetch.ts'

export interface ReaderOptions {
  readonly cluster: Cluster
  readonly isolation: Isolation
  readonly codecs: Codecs
  readonly limits: Limits
  /** The name of the sockets that are this reader's alone. */
  readonly purpose: Purpose
  /** Called when nothing of the reader is on its way any more. */
  readonly onClose: (reader: KafkaReader) => void
}

/** How long a request waits at a broker for something to come, ms: a new assignment waits as long for an answer to the old one. */
const PARK_MS = 250
/** The same for a request that leaves while the caller works on the answer to the last. */
const AHEAD_MS = 100
/** How long brokers may be silent beyond what a poll waits, ms. */
const DEAF_MS = 10_000
const ANSWER_MS = 5_000
/** What failed is asked for again after this long, ms. */
const FAILED_MS = 1_000
/** How often it is asked whether a topic is another one, ms. */
const STRANGE_MS = 250
/** How often topics are looked at anew, ms: one that was deleted and made again is noticed. */
const LOOK_MS = 10_000

export class KafkaReader implements Reader {
  private readonly options: ReaderOptions
  private readonly cluster: Cluster
  /** In the order in which they are asked for: who was answered goes to the end, so that none waits for ever behind others. */
  private tracks: Track[] = []
  private paused: ReadonlySet<PartitionName> = new Set()
  private readonly brokers: Askable
  private looking = false
  private lookedAt: number
  private bytes = 0
  private polling = false
  private closed = false
  private released = false
  private broken: TidemarkError | Error | undefined
  private readonly waits: Waits

  constructor(options: ReaderOptions) {
    this.options = options
    this.cluster = options.cluster
    this.lookedAt = this.cluster.clock.mono()
    this.brokers = new Askable(this.cluster.clock)
    this.waits = new Waits(this.cluster.clock, this.cluster.closing)
  }

  assign(positions: Positions): void {
    const before = new Map(this.tracks.map((track) => [track.name, track]))
    this.tracks = [...positions].map(([name, position]) =>
      trackOf(name, position, this.cluster.epochs.of(name, position), before.get(name)),
    )
    this.waits.wake()
  }

  pause(partitions: ReadonlySet<PartitionName>): void {
    this.paused = new Set(partitions)
    this.waits.wake()
  }

  async poll(options: { bytes: number; waitMs: number; signal?: AbortSignal }): Promise<Fetched[]> {
    const { bytes, waitMs, signal } = options
    if (this.polling) throw new TypeError('a reader is polled once at a time')
    this.polling = true
    this.bytes = bytes
    const { clock } = this.cluster
    const began = clock.mono()
    const until = began + waitMs
    try {
      for (;;) {
        if (this.closed || this.cluster.closing.aborted) throw closedError('the reader')
        signal?.throwIfAborted()
        if (this.broken !== undefined) throw this.broken
        const now = clock.mono()
        this.complain(now)
        const ready = this.take()
        if (ready.length > 0) {
          this.ask(AHEAD_MS)
          return ready
        }
        let next = until
        if (now >= until) {
          const unheard = this.active().filter(({ quietAt }) => quietAt < began)
          if (unheard.length === 0) return []
          next = Math.min(...unheard.map((track) => this.patience(track, until)))
          if (now >= next) throw this.silence(unheard.find((track) => this.patience(track, until) === next) as Track)
        }
        this.ask(Math.max(0, Math.min(PARK_MS, until - now)))
        const due = Math.min(next, this.brokers.dueAt(now), dueOf(this.active(), now))
        // Timers may be early by a part of a millisecond.
        await this.waits.wait(due - now + 1, signal)
      }
    } finally {
      this.polling = false
    }
  }

  close(): Promise<void> {
    if (!this.closed) {
      this.closed = true
      this.waits.wake()
      this.release()
    }
    return Promise.resolve()
  }

  private release(): void {
    if (!this.closed || this.released || !this.brokers.idle) return
    this.released = true
    this.options.onClose(this)
  }

  private active(): Track[] {
    return this.tracks.filter(({ name }) => !this.paused.has(name))
  }

  /** Until when a partition may be silent, ms by the monotonic clock. */
  private patience({ topic, partition, heardAt }: Track, until: number): number {
    const node = this.cluster.leader(topic, partition)?.node ?? ANY_NODE
    return Math.max(until, heardAt, this.brokers.heldUntil(node)) + DEAF_MS
  }

  /** Tells of partitions that have not been readable for a while. */
  private complain(now: number): void {
    for (const track of this.active()) {
      const { name, topic, partition, trouble, ready } = track
      if (trouble === undefined || ready !== undefined || now < trouble.tellAt) continue
      track.trouble = toldOf(trouble, now)
      const error = unreadable(name, this.cluster.leader(topic, partition)?.node, trouble, now)
      track.ready = { kind: 'failed', partition: name, error }
    }
  }

  /** Everything that is ready, and moves the positions behind it. */
  private take(): Fetched[] {
    const taken: Fetched[] = []
    const answered: Track[] = []
    for (const track of this.active()) {
      const { ready } = track
      if (ready === undefined) continue
      track.ready = undefined
      taken.push(ready)
      answered.push(track)
      if (ready.kind === 'batches') track.position = ready.next
      else if (ready.kind === 'failed' && track.trouble === undefined) track.notBefore = this.cluster.clock.mono() + FAILED_MS
    }
    if (answered.length > 0 && answered.length < this.tracks.length) {
      const moved = new Set(answered)
      this.tracks = [...this.tracks.filter((track) => !moved.has(track)), ...answered]
    }
    return taken
  }

  // --- asking ------------------------------------------------------------------------------------------------------------------

  /** Sends a request to every broker that has none and something to be asked for. */
  private ask(waitMs: number): void {
    if (this.closed) return
    const now = this.cluster.clock.mono()
    const byNode = new Map<number, { track: Track; leader: PartitionLeader }[]>()
    let look = now - this.lookedAt >= LOOK_MS
    for (const track of this.active()) {
      if (track.ready !== undefined || track.asked || track.notBefore > now) continue
      const topic = this.cluster.topic(track.topic)
      const leader = topic?.partitions[track.partition]
      if (topic === undefined || leader === undefined || leader.node < 0 || track.lost) {
        track.lost = true
        look = true
        continue
      }
      track.topicId ??= topic.id
      if (track.topicId !== topic.id) {
        track.strangeSince ??= now
        if (now - track.strangeSince >= this.cluster.doubtMs(track.topic)) this.fail(track, recreated(track.topic))
        // A broker that lags behind tells of the topic that was there before. Nothing is read until several have been asked.
        else {
          track.lost = true
          track.notBefore = now + STRANGE_MS
          look = true
        }
        continue
      }
      track.strangeSince = undefined
      const { node } = leader
      if (!this.brokers.may(node, now)) continue
      const of = byNode.get(node)
      if (of === undefined) byNode.set(node, [{ track, leader }])
      else of.push({ track, leader })
    }
    if (look) void this.look()
    for (const [node, of] of byNode) {
      const bytes = Math.max(1, Math.floor(this.bytes / byNode.size))
      void this.fetch(node, of, waitMs, this.brokers.bytesOf(node, bytes))
    }
  }

  private async fetch(
    node: number,
    of: readonly { track: Track; leader: PartitionLeader }[],
    waitMs: number,
    bytes: number,
  ): Promise<void> {
    const { cluster, options } = this
    const sentAt = cluster.clock.mono()
    const tracks = new Map(of.map(({ track }) => [track.name, track]))
    for (const track of tracks.values()) track.asked = true
    this.brokers.asked(node)
    const request = requestFor(of, { bytes, waitMs, isolation: options.isolation })
    try {
      const answer = await cluster.send(node, fetch, request, { purpose: options.purpose, timeoutMs: waitMs + ANSWER_MS })
      this.brokers.answered(node, answer, sentAt)
      for (const track of tracks.values()) track.asked = false
      if (answer.error !== E.NONE) {
        const error = brokerError('answer a Fetch', answer.error)
        throw readVerdict(answer.error) === 'refused' ? error : new LinkLost(error.message, true, undefined)
      }
      for (const { topic, partitions } of answer.topics) {
        for (const partition of partitions) {
          const track = tracks.get(partitionName(topic, partition.partition))
          if (track !== undefined && this.tracks.includes(track)) this.take1(track, partition, sentAt)
        }
      }
    } catch (error) {
      for (const track of tracks.values()) track.asked = false
      if (error instanceof LinkLost) {
        this.brokers.lost(node, error)
        for (const track of tracks.values()) track.lost = true
      } else this.broken ??= error as Error
    } finally {
      this.brokers.ended(node)
      this.release()
      this.waits.wake()
    }
  }

  private take1(track: Track, answer: FetchPartition, sentAt: number): void {
    const { error, divergingEpoch } = answer
    track.heardAt = this.cluster.clock.mono()
    if (error === E.NONE && divergingEpoch === undefined) {
      track.misses = 0
      track.trouble = undefined
      this.decode(track, answer, sentAt)
      return
    }
    const verdict = error === E.NONE ? 'measure' : readVerdict(error)
    if (verdict === 'measure') void this.measure(track, divergingEpoch?.endOffset)
    else if (verdict === 'refused') this.fail(track, topicError('read', 'read', track.topic, error))
    else {
      const trouble = this.hinder(track, error)
      if (isDamage(trouble, track.heardAt)) this.fail(track, damaged(track.name, track.position, kafkaError(error).name))
      track.lost = verdict !== 'again'
      // Who leads instead is asked at once; whoever is found says when it may be read.
      if (verdict === 'moved') track.notBefore = 0
    }
  }

  /** It cannot be read now, and is asked for again a little later. */
  private hinder(track: Track, error: number): Trouble {
    const now = this.cluster.clock.mono()
    track.trouble = troubled(track.trouble, error, now)
    track.notBefore = now + troubleMs(track.trouble)
    return track.trouble
  }

  private decode(track: Track, answer: FetchPartition, sentAt: number): void {
    const { isolation, codecs, limits } = this.options
    try {
      const decoded = decodeFetched(track, answer, { isolation, codecs, limits })
      if (decoded === undefined) {
        track.quietAt = sentAt
        return
      }
      let from = track.position
      for (const { end, epoch } of decoded.leaders) {
        this.cluster.epochs.note(track.name, from, end, epoch)
        from = end
        track.lastEpoch = epoch
      }
      this.answer(track, decoded.fetched)
    } catch (error) {
      if (!(error instanceof FetchBroken)) throw error
      this.fail(track, error.failure)
    }
  }

  private fail(track: Track, error: TidemarkError): void {
    track.trouble = undefined
    this.answer(track, { kind: 'failed', partition: track.name, error })
  }

  private answer(track: Track, fetched: Fetched): void {
    track.ready = fetched
    this.waits.wake()
  }

  /** The position is outside of the log, or was when it was asked: the ends tell. */
  private async measure(track: Track, cutAt: number | undefined): Promise<void> {
    track.asked = true
    try {
      await this.cluster.refresh([track.topic])
      const { name, position } = track
      const start = (await offsetsAt(this.cluster, [name], 'start')).get(name) as number
      const ends = await offsetsAt(this.cluster, [name], 'high')
      const high = cutAt ?? ends.get(name) ?? start
      if (position < start || position > high) this.answer(track, { kind: 'gap', partition: name, position, logStart: start, high })
      else this.hinder(track, E.OFFSET_OUT_OF_RANGE)
    } catch {
      // It is asked for again, and fails again by itself if it must.
      this.hinder(track, E.OFFSET_OUT_OF_RANGE)
      track.lost = true
    } finally {
      track.asked = false
      this.waits.wake()
    }
  }

  // --- looking up --------------------------------------------------------------------------------------------------------------

  private async look(): Promise<void> {
    if (this.looking) return
    this.looking = true
    const lost = this.tracks.filter((track) => track.lost)
    try {
      await this.cluster.refresh(new Set((lost.length > 0 ? lost : this.tracks).map(({ topic }) => topic)))
      this.lookedAt = this.cluster.clock.mono()
      for (const track of lost) this.found(track)
    } catch (error) {
      // No broker answers: whoever polls hears of it when it has waited long enough.
      for (const track of lost) track.notBefore = this.cluster.clock.mono() + FAILED_MS
      this.brokers.lost(ANY_NODE, error)
    } finally {
      this.looking = false
      this.waits.wake()
    }
  }

  private found(track: Track): void {
    const { cluster } = this
    const leader = cluster.leader(track.topic, track.partition)
    const error = cluster.topicError(track.topic) ?? E.NONE
    if (leader !== undefined && leader.node >= 0) {
      track.lost = false
      track.missingSince = undefined
      track.misses++
      // It may still say that it does not lead: not asked for in a tight loop.
      if (track.misses > 1) track.notBefore = cluster.clock.mono() + Math.min(500, 5 * 2 ** track.misses)
    } else if (error !== E.NONE && error !== E.UNKNOWN_TOPIC_OR_PARTITION && !isMoved(error)) {
      track.lost = false
      this.fail(track, topicError('read', 'read', track.topic, error))
    } else if (leader === undefined && this.isGone(track)) {
      this.fail(track, topicUnknown(track.topic))
    } else {
      // Brokers answer, so this is no silence: a partition without a leader does not keep others from being read.
      if (leader !== undefined) {
        track.heardAt = cluster.clock.mono()
        this.hinder(track, E.LEADER_NOT_AVAILABLE)
      }
      track.notBefore = cluster.clock.mono() + Math.min(500, 10 * 2 ** ++track.misses)
    }
  }

  private isGone(track: Track): boolean {
    const { cluster } = this
    track.missingSince ??= cluster.clock.mono()
    return cluster.clock.mono() - track.missingSince >= cluster.doubtMs(track.topic)
  }

  private silence({ name, topic, partition }: Track): Error {
    const node = this.cluster.leader(topic, partition)?.node
    return silent(name, node, this.brokers.why(node ?? ANY_NODE))
  }
}
