/** What the parts of the log suite share: names that nobody else uses, batches from texts, and reading until an end is reached. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../base/bytes.ts'
import { nodeClock } from '../../drivers/node/index.ts'
import type {
  Fetched,
  FetchedBatches,
  GroupEvent,
  Isolation,
  Log,
  LogManifest,
  Membership,
  OffsetAt,
  PartitionName,
  TopicSpec,
} from '../../ports/log.ts'
import { partitionName } from '../../ports/log.ts'
import {
  BatchBuilder,
  type Codecs,
  type Compression,
  type EncodedBatch,
  encodeHeaders,
  type Header,
} from '../../ports/record-batch/index.ts'

export interface LogFixture {
  /** Another client of the same log. */
  connect(): Promise<Log>
  /** Compacts a topic as far as the driver can now; it may leave the newest records as they are. Needed when the manifest says compaction. */
  compact?(topic: string): Promise<void>
  /** Ends the log and starts it again over the same data; earlier clients are dead. Needed when the manifest says durable. */
  restart?(): Promise<void>
  stop(): Promise<void>
}

export interface LogSuiteOptions {
  readonly name: string
  /** Makes a log for the whole suite. */
  readonly make: () => Promise<LogFixture>
  /** What the driver says of itself. What it does not do is skipped, with its reason in the name of the test. */
  readonly manifest: LogManifest
  readonly codecs: Codecs
  /** Sessions of members, ms. Default 6,000, the least that a Kafka broker allows. */
  readonly sessionMs?: number
}

export interface Entry {
  readonly key?: string | null
  readonly value?: string | Buffer | null
  readonly time?: number
  readonly headers?: readonly Header[]
}

export interface Read {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
  readonly time: number
  readonly headers: readonly Header[]
}

/** A log that has nothing to tell is asked so often, each time with a wait, before a test gives up. */
const POLLS_MAX = 200
const WAIT_MS = 250
/** Who has something to tell tells it within this time; shorter than any session. */
const QUIET_MS = 50
export const TIME = 1_700_000_000_000

export class Kit {
  readonly options: LogSuiteOptions
  readonly sessionMs: number
  fixture!: LogFixture
  log!: Log
  private names = 0
  private readonly run = randomUUID().slice(0, 8)

  constructor(options: LogSuiteOptions) {
    this.options = options
    this.sessionMs = options.sessionMs ?? 6_000
  }

  /** A name that no other test and no other run uses. */
  name(what: string): string {
    return `${what}-${this.run}-${this.names++}`
  }

  /** A topic of this test alone. */
  async topic(spec: Partial<TopicSpec> = {}): Promise<string> {
    const name = this.name('topic')
    await this.log.ensure([{ name, partitions: 1, cleanup: 'delete', retentionMs: -1, ...spec }])
    return name
  }

  batch(entries: readonly Entry[], compression: Compression = 'none'): EncodedBatch {
    const builder = new BatchBuilder({ codecs: this.options.codecs, compression })
    for (const { key = 'key', value = 'value', time = TIME, headers = [] } of entries) {
      builder.add(time, bytes(key), bytes(value), encodeHeaders(headers))
    }
    return builder.finish()
  }

  /** One batch of records with these values. */
  values(...values: string[]): EncodedBatch {
    return this.batch(values.map((value) => ({ value })))
  }

  /** Appends outside transactions, a batch a call. */
  async append(partition: PartitionName, ...batches: EncodedBatch[]): Promise<void> {
    const writer = await this.log.plainWriter()
    await Promise.all(batches.map((batch) => writer.append(partition, batch)))
    await writer.close()
  }

  /** Everything from `from` to where the partition ends now. */
  async read(partition: PartitionName, options: { isolation?: Isolation; from?: number; bytes?: number; log?: Log } = {}): Promise<Read[]> {
    const { isolation = 'committed', bytes = 1_000_000, log = this.log } = options
    const from = options.from ?? (await offsetOf(log, partition, 'start'))
    const end = await offsetOf(log, partition, 'high')
    const reader = log.reader(isolation)
    reader.assign(new Map([[partition, from]]))
    const records: Read[] = []
    let next = from
    for (let polls = 0; next < end; polls++) {
      if (polls > POLLS_MAX) throw new Error(`${partition} was read to offset ${next} only; it ends at ${end}`)
      for (const fetched of await reader.poll({ bytes, waitMs: WAIT_MS })) {
        const got = batchesOf(fetched)
        expect(got.next).toBeGreaterThan(next)
        records.push(...recordsOf(got).filter(({ offset }) => offset >= next))
        next = got.next
        if (got.batches.length > 0) polls = 0
      }
    }
    await reader.close()
    return records
  }

  /** The values of `read`. */
  async readValues(partition: PartitionName, options: Parameters<Kit['read']>[1] = {}): Promise<(string | null)[]> {
    return (await this.read(partition, options)).map(({ value }) => value)
  }

  /** Polls until something comes. */
  async poll(reader: { poll(options: { bytes: number; waitMs: number }): Promise<Fetched[]> }, bytes = 1_000_000): Promise<Fetched[]> {
    for (let polls = 0; polls < POLLS_MAX; polls++) {
      const fetched = await reader.poll({ bytes, waitMs: WAIT_MS })
      if (fetched.length > 0) return fetched
    }
    throw new Error('nothing came')
  }

  /** A test of a feature that the driver may lack. */
  when(feature: Exclude<keyof LogManifest, 'name'>): (promise: string, test: () => Promise<void>) => void {
    const reason = this.options.manifest[feature]
    return (promise, test) => (reason === true ? it(promise, test) : it.skip(`${promise} (skipped: ${reason})`, test))
  }
}

export function batchesOf(fetched: Fetched): FetchedBatches {
  if (fetched.kind === 'batches') return fetched
  throw new Error(`expected batches of ${fetched.partition}, got ${JSON.stringify(fetched)}`)
}

export function recordsOf({ batches }: FetchedBatches): Read[] {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => ({
      offset: batch.offset(i),
      key: text(batch.key(i)),
      value: text(batch.value(i)),
      time: batch.timestamp(i),
      headers: batch.headers(i).map(({ name, value }) => ({ name, value: value === null ? null : Buffer.from(value) })),
    })),
  )
}

/** The next event of a membership. A test that waits for ever fails by its time limit. */
export function nextEvent(membership: Membership): Promise<GroupEvent> {
  return membership.next(new AbortController().signal)
}

export async function nextAssigned(membership: Membership): Promise<Extract<GroupEvent, { kind: 'assigned' }>> {
  for (;;) {
    const event = await nextEvent(membership)
    if (event.kind === 'assigned') return event
    if (event.kind === 'revoking') event.done()
    else throw event.error
  }
}

export async function offsetOf(log: Log, partition: PartitionName, at: OffsetAt): Promise<number> {
  return (await log.offsets([partition], at)).get(partition) ?? Number.NaN
}

/** Whether a membership has nothing to tell for a while. */
export async function isSilent(membership: Membership): Promise<boolean> {
  const stop = new AbortController()
  const event = membership.next(stop.signal).then(
    () => false,
    () => true,
  )
  await nodeClock.sleep(QUIET_MS)
  stop.abort()
  return event
}

export async function codeFrom(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return (error as { code?: unknown }).code ?? error
  }
  return 'no error'
}

export { describe, expect, it, partitionName }

function bytes(value: string | Buffer | null): Buffer | null {
  return value === null ? null : Buffer.from(value)
}

function text(value: Buffer | null): string | null {
  return value === null ? null : utf8(value)
}
