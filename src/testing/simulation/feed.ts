/**
 * Producers: what sends facts into a simulated world. They live as long as the process does, and their successors go on where the log says that
 * they were; a send whose answer was lost is sometimes sent again, as real producers do.
 */
import { partitionOf } from '../../base/murmur.ts'
import type { AnyContract, Contract, Translated } from '../../contract/contract.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import { type Log, partitionName, type TopicSpec } from '../../ports/log.ts'
import { BatchBuilder, type Codecs, encodeHeaders, type Header, NO_HEADERS } from '../../ports/record-batch/index.ts'
import type { Serdes, ValueCodec } from '../../ports/serde.ts'
import { encodeValue } from '../../runtime/encode.ts'
import { envelopeBytes } from '../../runtime/envelope.ts'
import { flavourOf } from '../../runtime/flavours.ts'
import { around, between, type Faults } from './faults.ts'

/** A fact that a producer sends, once or more often. */
export interface FedFact {
  readonly contract: AnyContract
  readonly fact: Translated<unknown, { readonly type: string }>
  /** Business time, ms since 1970. */
  readonly at: number
  readonly id: string
  readonly sequence?: number
  /** Bytes in place of the encoded value: a broken producer's. */
  readonly raw?: Uint8Array
  /** Send no envelope at all. */
  readonly bare?: boolean
}

/** A record of a stream without a contract. */
export interface FedRecord {
  readonly topic: string
  readonly partitions: number
  readonly key: string | null
  readonly value: Uint8Array | null
  readonly at: number
  readonly headers?: readonly Header[]
}

export type Fed = FedFact | FedRecord

/**
 * A fact for a feed, with types that fit.
 * @example fed(receipts, receipts.make.Sold('till-1', { cents: 250 }), { at: Date.UTC(2026, 0, 1), id: 'r-1', sequence: 1 })
 */
export function fed<K, V>(contract: Contract<string, K, V>, fact: Translated<K, V>, about: Omit<FedFact, 'contract' | 'fact'>): FedFact {
  return { ...about, contract: contract as unknown as AnyContract, fact: fact as unknown as FedFact['fact'] }
}

/** A record ready to be sent: its bytes, and where it goes. */
interface Ready {
  readonly topic: string
  readonly partition: number
  readonly at: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Headers as they lie in a record, without the number of the send. */
  readonly headers: Buffer
}

/** The header that tells sends apart, so that a producer knows after a restart which of its sends the log has. */
export const SEND_HEADER = 'sim_send'

export class Feed {
  readonly topics: readonly TopicSpec[]
  /** What is sent, in this order: duplicates and disorder are in it already. */
  readonly #sends: readonly Ready[]
  readonly #codecs: Codecs
  readonly #random: Random
  readonly #faults: Faults
  readonly #chunk: number
  readonly #pauseMs: number
  done = false

  private constructor(
    topics: readonly TopicSpec[],
    sends: readonly Ready[],
    parts: { codecs: Codecs; random: Random; faults: Faults; chunk: number; activeMs: number },
  ) {
    this.topics = topics
    this.#sends = sends
    this.#codecs = parts.codecs
    this.#random = parts.random
    this.#faults = parts.faults
    this.#chunk = parts.chunk
    this.#pauseMs = (parts.activeMs * 0.8 * ((1 + parts.chunk) / 2)) / Math.max(1, sends.length)
  }

  static async make(
    fed: readonly Fed[],
    serdes: Serdes,
    parts: { codecs: Codecs; random: Random; faults: Faults; chunk: number; activeMs: number },
  ): Promise<Feed> {
    const topics = new Map<string, TopicSpec>()
    const encoded: Ready[] = []
    for (const each of fed) {
      const spec = specOf(each)
      topics.set(spec.name, spec)
      encoded.push('contract' in each ? await encodeFact(each, serdes) : encodeRecord(each))
    }
    return new Feed([...topics.values()], disturbed(encoded, parts.faults), parts)
  }

  get length(): number {
    return this.#sends.length
  }

  /** Numbers of the sends that the log has. */
  async sent(log: Log): Promise<ReadonlySet<number>> {
    const sent = new Set<number>()
    const there = (await log.describe(this.topics.map(({ name }) => name))).flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => partitionName(name, partition)),
    )
    const ends = await log.offsets(there, 'stable')
    const positions = new Map(await log.offsets(there, 'start'))
    const reader = log.reader('committed')
    reader.assign(positions)
    while (there.some((name) => (positions.get(name) as number) < (ends.get(name) as number))) {
      for (const fetched of await reader.poll({ bytes: 64 * 1024 * 1024, waitMs: 0 })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') throw new Error(`${fetched.partition} begins at ${fetched.logStart}`)
        positions.set(fetched.partition, fetched.next)
        for (const batch of fetched.batches) for (let i = 0; i < batch.count; i++) sent.add(numberOf(batch.headers(i)))
      }
    }
    await reader.close()
    return sent
  }

  /** Sends what the log does not have yet. `sent` says which sends it has. Ends when all of them are there. */
  async run(log: Log, clock: Clock, sent: () => Promise<ReadonlySet<number>>): Promise<void> {
    // A log that opens again may have lost what it had when everything was sent.
    this.done = false
    await this.#again(clock, () => log.ensure(this.topics))
    for (;;) {
      const there = await sent()
      const missing = this.#sends.flatMap((_, number) => (there.has(number) ? [] : [number]))
      if (missing.length === 0) {
        this.done = true
        return
      }
      await this.#again(clock, () => this.#sendAll(log, clock, missing))
    }
  }

  /** A producer that fails says so to nobody, waits, and looks again what is there. */
  async #again(clock: Clock, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch {
      await clock.sleep(around(this.#random, 50))
    }
  }

  async #sendAll(log: Log, clock: Clock, numbers: readonly number[]): Promise<void> {
    const transactional = this.#faults.has('aborted-facts')
    const plain = await log.plainWriter()
    for (let at = 0; at < numbers.length; ) {
      const count = between(this.#random, 1, this.#chunk)
      const chunk = numbers.slice(at, at + count)
      await clock.sleep(around(this.#random, this.#pauseMs))
      if (transactional && this.#faults.strikes('aborted-facts')) await this.#abort(log, chunk)
      await Promise.all(this.#batches(chunk, clock).map(({ partition, batch }) => plain.append(partition, batch)))
      at += count
    }
    await plain.close()
  }

  /** A producer changes its mind: nobody may ever see these. */
  async #abort(log: Log, numbers: readonly number[]): Promise<void> {
    const writer = await log.writer('simulated-producer')
    await Promise.all(this.#batches(numbers, undefined).map(({ partition, batch }) => writer.append(partition, batch)))
    await writer.abort()
    await writer.close()
  }

  #batches(numbers: readonly number[], clock: Clock | undefined): { partition: string; batch: ReturnType<BatchBuilder['finish']> }[] {
    const builders = new Map<string, BatchBuilder>()
    for (const number of numbers) {
      const { topic, partition, at, key, value, headers } = this.#sends[number] as Ready
      const name = partitionName(topic, partition)
      let builder = builders.get(name)
      if (builder === undefined) {
        builder = new BatchBuilder({ codecs: this.#codecs, capacity: 1024 })
        builders.set(name, builder)
      }
      builder.add(at, key, value, withNumber(headers, clock === undefined ? -1 : number))
    }
    return [...builders].map(([partition, builder]) => ({ partition, batch: builder.finish() }))
  }
}

function specOf(fed: Fed): TopicSpec {
  if (!('contract' in fed)) return { name: fed.topic, partitions: fed.partitions, cleanup: 'delete', retentionMs: -1 }
  const { topic, partitions, exchange, retentionMs } = fed.contract
  return { name: topic, partitions, cleanup: exchange === 'state' ? 'compact' : 'delete', retentionMs }
}

async function encodeFact({ contract, fact, at, id, sequence, raw, bare }: FedFact, serdes: Serdes): Promise<Ready> {
  const { owner, name, version, topic, partitions, key: keys, events } = contract
  const shape = { key: keys, value: { readers: events, tagged: true }, language: contract, contexts: [] }
  const flavour = await flavourOf(shape, serdes, `${owner.name}.${name}`, 'writes')
  const key = flavour.key.encode(fact.key)
  const value = Buffer.from(raw ?? encodeValue(flavour.value as ValueCodec, fact.value))
  const envelope = {
    id,
    eventType: `${owner.name}.${fact.value.type}`,
    source: `/${owner.name}`,
    at,
    recordedAt: at,
    sequence,
    correlationId: undefined,
    causationId: undefined,
    contractVersion: version,
  }
  const headers = bare === true ? NO_HEADERS : Buffer.from(envelopeBytes(envelope, undefined))
  return { topic, partition: partitionOf(key, partitions), at, key, value, headers: Buffer.from(headers) }
}

function encodeRecord({ topic, partitions, key, value, at, headers = [] }: FedRecord): Ready {
  const bytes = key === null ? null : Buffer.from(key)
  return {
    topic,
    partition: bytes === null ? 0 : partitionOf(bytes, partitions),
    at,
    key: bytes,
    value: value === null ? null : Buffer.from(value),
    headers: Buffer.from(encodeHeaders(headers)),
  }
}

/** With duplicates, near and far, and with facts that come later than they should. */
function disturbed(sends: readonly Ready[], faults: Faults): Ready[] {
  const all = [...sends]
  for (let i = 0; i < all.length; i++) {
    if (faults.strikes('duplicates')) {
      const later = Math.min(all.length, i + between(faults.random('duplicates'), 1, 12))
      all.splice(later, 0, all[i] as Ready)
    }
    if (faults.strikes('disorder')) {
      const later = Math.min(all.length - 1, i + between(faults.random('disorder'), 1, 8))
      const [moved] = all.splice(i, 1)
      all.splice(later, 0, moved as Ready)
    }
  }
  return all
}

function numberOf(headers: readonly Header[]): number {
  const value = headers.find(({ name }) => name === SEND_HEADER)?.value
  return value === undefined || value === null ? -1 : Number(Buffer.from(value).toString())
}

/** Headers with one more: a count that one byte holds, and what follows it. */
function withNumber(headers: Buffer, number: number): Buffer {
  const extra = encodeHeaders([{ name: SEND_HEADER, value: Buffer.from(String(number)) }])
  const joined = Buffer.concat([headers, extra.subarray(1)])
  joined[0] = (headers.length === 0 ? 0 : (headers[0] as number)) + 2
  return joined
}
