/**
 * The reader of the port: Fetch 12 without sessions, over sockets of its own. It keeps a position for each partition; a broker keeps none.
 *
 * One request a broker is on its way at a time, and the next one leaves when an answer is handed out, so that reading goes on while the caller
 * works. An answer that was asked for before a new assignment is dropped. An empty poll means that every partition was asked after the poll
 * began and had nothing: whoever measures freshness may believe it. A broker that cannot be reached is therefore waited for, and in the end
 * an error, never silence.
 */
import type { TidemarkError } from '../../base/errors.ts'
import type { Fetched, Isolation, PartitionName, Positions, Reader } from '../../ports/log.ts'
import { partitionName, topicPartition } from '../../ports/log.ts'
import type { Codecs, Limits } from '../../ports/record-batch/index.ts'
import { decodeFetched, FetchBroken } from './answer.ts'
import type { Cluster, PartitionLeader, Purpose } from './cluster.ts'
import { closedError, isMoved, LinkLost, recreated, topicError, topicUnknown, unreachable } from './failures.ts'
import { offsetsAt } from './offsets.ts'
import { requestFor, type Track } from './tracks.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { type FetchPartition, type FetchResponse, fetch } from './wire/fetch.ts'
import { READ_COMMITTED, READ_UNCOMMITTED } from './wire/parts.ts'

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
/**
 * Requests to a broker leave at least this far apart while records come in a trickle, ms: the broker gathers meanwhile, where asking at once would
 * fetch them one by one. What comes after a silence is not held up, because the request for it left long before. At 2,000 records a second this
 * leaves a third of the requests and takes a tenth off the worker's processor time (bench/w1/compare.ts m3), and no time is lost where a commit
 * takes longer anyway.
 */
const GATHER_MS = 10
/** An answer with fewer bytes is part of a trickle. */
const TRICKLE_BYTES = 64 * 1024
/** Given as the reason of what is over, because an abort without one makes an error with a stack. */
const OVER = 'over'
/** How often topics are looked at anew, ms: one that was deleted and made again is noticed. */
const LOOK_MS = 10_000

export class KafkaReader implements Reader {
  private readonly options: ReaderOptions
  private readonly cluster: Cluster
  /** In the order in which they are asked for: who was answered goes to the end, so that none waits for ever behind others. */
  private tracks: Track[] = []
  private paused: ReadonlySet<PartitionName> = new Set()
  /** Brokers that have a request of ours. */
  private readonly asking = new Set<number>()
  private readonly deaf = new Map<number, { failures: number; until: number; error: unknown }>()
  /** When a broker whose records come in a trickle may be asked again. */
  private readonly gathering = new Map<number, number>()
  private looking = false
  private lookedAt: number
  private bytes = 0
  private polling = false
  private closed = false
  private released = false
  private broken: TidemarkError | Error | undefined
  private wakeUp: () => void = () => {}

  constructor(options: ReaderOptions) {
    this.options = options
    this.cluster = options.cluster
    this.lookedAt = this.cluster.clock.mono()
  }

  assign(positions: Positions): void {
    const before = new Map(this.tracks.map((track) => [track.name, track]))
    this.tracks = [...positions].map(([name, position]): Track => {
      if (!Number.isSafeInteger(position) || position < 0) throw new TypeError(`a position is an offset, not ${position} (${name})`)
      const known = before.get(name)
      if (known !== undefined && known.position === position) return known
      const { topic, partition } = topicPartition(name)
      const topicId = known?.topicId
      const fresh = {
        ready: undefined,
        asked: false,
        lost: false,
        misses: 0,
        missingSince: undefined,
        notBefore: 0,
        quietAt: Number.NEGATIVE_INFINITY,
      }
      return { name, topic, partition, position, lastEpoch: -1, topicId, ...fresh }
    })
    this.wakeUp()
  }

  pause(partitions: ReadonlySet<PartitionName>): void {
    this.paused = new Set(partitions)
    this.wakeUp()
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
        const ready = this.take()
        if (ready.length > 0) {
          this.ask(AHEAD_MS)
          return ready
        }
        const now = clock.mono()
        if (now >= until) {
          const unheard = this.active().find(({ quietAt }) => quietAt < began)
          if (unheard === undefined) return []
          if (now >= until + DEAF_MS) throw this.silence(unheard)
        }
        this.ask(Math.max(0, Math.min(PARK_MS, until - now)))
        await this.wait(Math.min(this.dueIn(now), now < until ? until - now : until + DEAF_MS - now), signal)
      }
    } finally {
      this.polling = false
    }
  }

  close(): Promise<void> {
    if (!this.closed) {
      this.closed = true
      this.wakeUp()
      this.release()
    }
    return Promise.resolve()
  }

  private release(): void {
    if (!this.closed || this.released || this.asking.size > 0) return
    this.released = true
    this.options.onClose(this)
  }

  private active(): Track[] {
    return this.tracks.filter(({ name }) => !this.paused.has(name))
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
      else if (ready.kind === 'failed') track.notBefore = this.cluster.clock.mono() + FAILED_MS
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
        this.answer(track, { kind: 'failed', partition: track.name, error: recreated(track.topic) })
        continue
      }
      const { node } = leader
      const deaf = this.deaf.get(node)
      if (this.asking.has(node) || (deaf !== undefined && deaf.until > now) || (this.gathering.get(node) ?? 0) > now) continue
      const of = byNode.get(node)
      if (of === undefined) byNode.set(node, [{ track, leader }])
      else of.push({ track, leader })
    }
    if (look) void this.look()
    for (const [node, of] of byNode) void this.fetch(node, of, waitMs, Math.max(1, Math.floor(this.bytes / byNode.size)))
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
    this.asking.add(node)
    const topics = requestFor(of, bytes)
    const request = {
      maxWaitMs: Math.ceil(waitMs),
      minBytes: 1,
      maxBytes: bytes,
      isolationLevel: options.isolation === 'committed' ? READ_COMMITTED : READ_UNCOMMITTED,
      topics,
    }
    try {
      const answer = await cluster.send(node, fetch, request, { purpose: options.purpose, timeoutMs: waitMs + ANSWER_MS })
      this.deaf.delete(node)
      if (isTrickle(answer)) this.gathering.set(node, sentAt + GATHER_MS)
      for (const track of tracks.values()) track.asked = false
      if (answer.error !== E.NONE) throw new LinkLost(`Fetch was answered with ${answer.error}`, true, undefined)
      for (const { topic, partitions } of answer.topics) {
        for (const partition of partitions) {
          const track = tracks.get(partitionName(topic, partition.partition))
          if (track !== undefined && this.tracks.includes(track)) this.take1(track, partition, sentAt)
        }
      }
    } catch (error) {
      for (const track of tracks.values()) track.asked = false
      if (error instanceof LinkLost) {
        const failures = (this.deaf.get(node)?.failures ?? 0) + 1
        this.deaf.set(node, { failures, until: cluster.clock.mono() + Math.min(1_000, 10 * 2 ** failures), error })
        for (const track of tracks.values()) track.lost = true
      } else this.broken ??= error as Error
    } finally {
      this.asking.delete(node)
      this.release()
      this.wakeUp()
    }
  }

  private take1(track: Track, answer: FetchPartition, sentAt: number): void {
    const { error } = answer
    if (error === E.NONE && answer.divergingEpoch === undefined) {
      track.misses = 0
      this.decode(track, answer, sentAt)
    } else if (error === E.OFFSET_OUT_OF_RANGE || error === E.NONE) void this.measure(track, answer.divergingEpoch?.endOffset)
    else if (error === E.UNKNOWN_TOPIC_OR_PARTITION || error === E.UNKNOWN_TOPIC_ID || error === E.INCONSISTENT_TOPIC_ID || isMoved(error))
      track.lost = true
    else this.answer(track, { kind: 'failed', partition: track.name, error: topicError('read', 'read', track.topic, error) })
  }

  private decode(track: Track, answer: FetchPartition, sentAt: number): void {
    const { isolation, codecs, limits } = this.options
    try {
      const decoded = decodeFetched(track, answer, { isolation, codecs, limits })
      if (decoded === undefined) {
        track.quietAt = sentAt
        return
      }
      track.lastEpoch = decoded.lastEpoch
      this.answer(track, decoded.fetched)
    } catch (error) {
      if (!(error instanceof FetchBroken)) throw error
      this.answer(track, { kind: 'failed', partition: track.name, error: error.failure })
    }
  }

  private answer(track: Track, fetched: Fetched): void {
    track.ready = fetched
    this.wakeUp()
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
      else track.notBefore = this.cluster.clock.mono() + 20
    } catch {
      // It is asked for again, and fails again by itself if it must.
      track.lost = true
    } finally {
      track.asked = false
      this.wakeUp()
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
      this.deaf.set(-1, { failures: 1, until: 0, error })
    } finally {
      this.looking = false
      this.wakeUp()
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
      this.answer(track, { kind: 'failed', partition: track.name, error: topicError('read', 'read', track.topic, error) })
    } else if (leader === undefined && this.isGone(track)) {
      this.answer(track, { kind: 'failed', partition: track.name, error: topicUnknown(track.topic) })
    } else track.notBefore = cluster.clock.mono() + Math.min(500, 10 * 2 ** ++track.misses)
  }

  private isGone(track: Track): boolean {
    const { cluster } = this
    track.missingSince ??= cluster.clock.mono()
    return cluster.clock.mono() - track.missingSince >= cluster.doubtMs(track.topic)
  }

  private silence(track: Track): Error {
    const leader = this.cluster.leader(track.topic, track.partition)
    const heard = this.deaf.get(leader?.node ?? -1) ?? this.deaf.get(-1)
    return unreachable(`reading ${track.name}`, `broker ${leader?.node ?? '?'}`, heard?.error ?? new Error('it has no leader'))
  }

  // --- waiting -----------------------------------------------------------------------------------------------------------------

  /** How long until something may be asked for again that may not be now, ms. */
  private dueIn(now: number): number {
    let due = Number.POSITIVE_INFINITY
    for (const { notBefore } of this.active()) if (notBefore > now) due = Math.min(due, notBefore)
    for (const { until } of this.deaf.values()) if (until > now) due = Math.min(due, until)
    for (const until of this.gathering.values()) if (until > now) due = Math.min(due, until)
    // Timers may be early by a part of a millisecond.
    return due - now + 1
  }

  private async wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const timer = new AbortController()
    const { promise: woken, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.wakeUp = wake
    this.cluster.closing.addEventListener('abort', wake, { once: true })
    signal?.addEventListener('abort', wake, { once: true })
    try {
      await Promise.race([woken, this.cluster.clock.sleep(Math.max(1, ms), timer.signal).catch(() => {})])
    } finally {
      timer.abort(OVER)
      this.cluster.closing.removeEventListener('abort', wake)
      signal?.removeEventListener('abort', wake)
      this.wakeUp = () => {}
    }
  }
}

function isTrickle({ topics }: FetchResponse): boolean {
  let bytes = 0
  for (const { partitions } of topics) for (const { records } of partitions) bytes += records?.length ?? 0
  return bytes > 0 && bytes < TRICKLE_BYTES
}
