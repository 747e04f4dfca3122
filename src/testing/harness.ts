/**
 * The harness: the real runtime on the embedded log, over a disk in memory, with a clock moved by hand. What a test sees is what a user would:
 * it feeds facts, moves time, crashes the process in the middle of things, and reads views and topics.
 */
import { TidemarkError } from '../base/errors.ts'
import { partitionOf } from '../base/murmur.ts'
import { isRecord, refuse, refuseUnknown, shown } from '../base/options.ts'
import type { Duration } from '../base/time.ts'
import { type AnyContract, type Contract, checkedContract, type Translated } from '../contract/contract.ts'
import { type Key, keyCodec } from '../contract/key.ts'
import { checkedSchema, type Schema } from '../contract/schema.ts'
import { avroSerdes } from '../drivers/avro/index.ts'
import { nativeCodecs } from '../drivers/codecs/index.ts'
import { type EmbeddedLog, openEmbeddedLog } from '../drivers/embedded/index.ts'
import { memoryState } from '../drivers/memory/index.ts'
import { memorySchemas } from '../drivers/schemas/index.ts'
import { checkTopology } from '../operators/given.ts'
import type { Topology, ViewOf } from '../operators/stream.ts'
import { deadTopic } from '../plan/naming.ts'
import { partitionName } from '../ports/log.ts'
import { BatchBuilder, encodeHeaders, type Header } from '../ports/record-batch/index.ts'
import type { SchemaStore } from '../ports/serde.ts'
import type { Counter, TelemetryEvent } from '../ports/telemetry.ts'
import { App, type StartOptions } from '../runtime/app.ts'
import { COMMIT_PLACES } from '../runtime/commit.ts'
import { encodeValue } from '../runtime/encode.ts'
import { type About, publisher } from '../runtime/publisher.ts'
import { type Replayed, type ReplayOptions, replay } from '../runtime/replay.ts'
import { type Verified, verify } from '../runtime/verify.ts'
import type { View } from '../runtime/view.ts'
import { DEFAULT_OPTIONS, type World } from '../runtime/world.ts'
import { type ManualClock, manualClock } from './clock.ts'
import { simulatedDisk } from './disk.ts'
import { seededRandom } from './random.ts'

/** An item of the input that makes the process die at a point of the commit of what came before it; then it is started again. */
export interface Crash {
  readonly crash: string
}

/**
 * Crash sentinels, by where the commit is when the process dies. Exactly once, a commit that is to die between sending and deciding takes one
 * step after the other, which it does not do else: so that a place is what its name says.
 */
export const CRASH: Readonly<Record<'afterAppend' | 'afterChangelog' | 'afterDecision' | 'afterStore', Crash>> = {
  /**
   * Facts for inboxes and sinks are in the log, state is not, and nothing is decided. Exactly once nobody ever sees them, and all is done again;
   * at least once everybody sees them, and again when it is done again.
   */
  afterAppend: { crash: 'commit.after-outputs' },
  /**
   * State is in the changelog as well, the disk has nothing. Exactly once nothing is decided, and all is done again; at least once the changelog
   * says what was done, and nothing is.
   */
  afterChangelog: { crash: 'commit.after-changelogs' },
  /** The log has decided, the disk does not know yet. At least once nothing decides: there it is refused, `OPTION_INVALID`. */
  afterDecision: { crash: 'commit.after-decision' },
  /** The disk has it, too; nobody was told. At least once the group's positions still lie before it. */
  afterStore: { crash: 'commit.after-stores' },
}

/** A record as it lies in a topic. */
export interface Seen {
  readonly key: string | undefined
  readonly value: Buffer | undefined
  readonly at: number
  readonly partition: number
  readonly offset: number
  readonly headers: Readonly<Record<string, string>>
}

/** A record to put on a topic as it is, for streams without a contract and for broken input. */
export interface RawRecord {
  readonly key?: string | Uint8Array | null
  readonly value?: Uint8Array | null
  readonly at?: number
  readonly headers?: readonly Header[]
  /** Default: the one that the key chooses. */
  readonly partition?: number
}

export interface HarnessOptions extends StartOptions {
  /** Schemas and their ids, shared by several harnesses where a test needs that. */
  readonly schemas?: SchemaStore
  readonly seed?: number
  /** The program that ran before this one and was closed or crashed: its log, state, schemas and clock are taken over. */
  readonly after?: Pick<Harness<readonly unknown[]>, 'clock' | 'disk' | 'state' | 'schemas'>
}

type Item<K, V> = Translated<K, V> | (Translated<K, V> & About) | Crash
type Views<P extends readonly unknown[]> = ViewOf<P[number]>
type Named<P extends readonly unknown[], N> = Extract<Views<P>, { readonly name: N }>

/** Turns of the event loop that settling may take before it is taken for a hang. */
const TURNS_MAX = 50_000

export class Harness<P extends readonly unknown[]> {
  readonly clock: ManualClock
  /** Every count since the start, by counter; and by `counter step` and `counter step value`. */
  readonly counts: Map<string, number> = new Map()
  readonly events: TelemetryEvent[] = []
  readonly schemas: SchemaStore
  readonly disk: ReturnType<typeof simulatedDisk>
  readonly state: ReturnType<typeof memoryState>
  readonly #topology: Topology<P>
  readonly #options: HarnessOptions
  readonly #random: ReturnType<typeof seededRandom>
  #process: Process | undefined
  #starting: Promise<Process> | undefined

  constructor(topology: Topology<P>, options: HarnessOptions) {
    this.#topology = topology
    this.#options = options
    this.#random = seededRandom(options.seed ?? 1)
    const { after } = options
    this.clock = after?.clock ?? manualClock()
    this.disk = after?.disk ?? simulatedDisk({ random: this.#random })
    this.state = after?.state ?? memoryState()
    this.schemas = options.schemas ?? after?.schemas ?? memorySchemas()
  }

  /** Publishes facts of a contract, in order, and waits until they are processed. Crash sentinels among them take effect in their place. */
  async feed<K, V>(contract: Contract<string, K, V>, items: readonly Item<K, V>[]): Promise<void> {
    checkedContract(contract, 'what feed() is given first')
    if (!Array.isArray(items)) refuse(items, `what "${contract.name}" is fed`, 'a list of facts', 'Write feed(contract, [fact, another]).')
    for (const item of items as readonly unknown[])
      if (!isRecord(item))
        refuse(item, `what "${contract.name}" is fed`, 'a fact or a crash', `Crashes are CRASH.${Object.keys(CRASH).join(', CRASH.')}.`)
    let batch: (Translated<K, V> & About)[] = []
    for (const item of items) {
      if (!('crash' in item)) {
        batch.push(item)
        continue
      }
      await this.#publish(contract, batch, item.crash)
      batch = []
    }
    await this.#publish(contract, batch, undefined)
    await this.settle()
  }

  async #publish<K, V>(
    contract: Contract<string, K, V>,
    facts: readonly (Translated<K, V> & About)[],
    crash: string | undefined,
  ): Promise<void> {
    if (facts.length === 0 && crash === undefined) return
    const { world, failpoints } = await this.#running()
    const events = publisher(contract, { as: (contract as unknown as AnyContract).owner, log: world })
    if (crash !== undefined) failpoints.add(this.#place(crash))
    for (const { key, value, ...about } of facts) await events.publish({ key, value }, about)
    await events.close()
    if (crash !== undefined) await this.#crashed(crash)
  }

  /** Puts records on a topic as they are, and waits until they are processed; with a crash sentinel, until that has taken effect. */
  async send(topic: string, records: readonly RawRecord[], crash?: Crash): Promise<void> {
    if (!Array.isArray(records)) refuse(records, `what is sent to "${topic}"`, 'a list of records', 'Write send(topic, [{ key, value }]).')
    for (const record of records) refuseUnknown(record, RAW, `a record for "${topic}"`)
    const { world, failpoints, app } = await this.#running()
    const [described] = await world.log.describe([topic])
    if (described === undefined) {
      throw new TidemarkError('TOPIC_UNKNOWN', `topic "${topic}" does not exist`, {
        hint: `The topology has ${app.plan.topics.map(({ name }) => name).join(', ')}.`,
      })
    }
    if (crash !== undefined) failpoints.add(this.#place(crash.crash))
    const writer = await world.log.plainWriter()
    for (const { key = null, value = null, at = this.clock.now(), headers = [], partition } of records) {
      const bytes = typeof key === 'string' ? Buffer.from(key) : key
      const batch = new BatchBuilder({ codecs: world.codecs })
      batch.add(at, bytes, value, encodeHeaders(headers))
      await writer.append(
        partitionName(topic, partition ?? (bytes === null ? 0 : partitionOf(bytes, described.partitions))),
        batch.finish(),
      )
    }
    await writer.close()
    if (crash !== undefined) await this.#crashed(crash.crash)
    await this.settle()
  }

  /** @throws TidemarkError OPTION_INVALID a commit never comes to such a place */
  #place(crash: string): string {
    const { guarantee = 'exactly-once' } = this.#options
    const places = COMMIT_PLACES[guarantee]
    if (places.includes(crash)) return crash
    throw new TidemarkError('OPTION_INVALID', `no commit comes to "${crash}" under ${guarantee}, so nothing can crash there`, {
      detail: `A commit passes ${places.join(', ')}.`,
      ...(crash === CRASH.afterDecision.crash
        ? { hint: 'At least once nothing decides. CRASH.afterChangelog is where the log has everything and the disk has nothing of it.' }
        : {}),
    })
  }

  /** Waits until the process has come to a point, and starts another one. */
  async #crashed(point: string): Promise<void> {
    await this.#until(() => this.#process?.hit === true, `nothing was committed up to ${point}`)
    await this.restart()
  }

  /** Encodes a value as a stream's schema writes it. */
  async encode<V>(schema: Schema<V>, value: V): Promise<Buffer> {
    checkedSchema(schema, 'what a value is encoded by')
    const { world } = await this.#running()
    const codec = await world.serdes.values(schema.name, { readers: new Map([['', schema.avro]]), tagged: false, fields: undefined })
    return Buffer.from(encodeValue(codec, value))
  }

  /** Sends values of a plain stream. */
  async put<V>(
    topic: string,
    schema: Schema<V>,
    records: readonly (readonly [key: string, value: V | null, at?: number])[],
    crash?: Crash,
  ): Promise<void> {
    checkedSchema(schema, `what "${topic}" is put by`)
    if (!Array.isArray(records)) refuse(records, `what is put to "${topic}"`, 'a list', 'Write put(topic, schema, [[key, value]]).')
    const raw: RawRecord[] = []
    for (const [key, value, at] of records) {
      raw.push({ key, value: value === null ? null : await this.encode(schema, value), ...(at === undefined ? {} : { at }) })
    }
    await this.send(topic, raw, crash)
  }

  /** Moves time on, and waits until what that brought about is processed. */
  async advance(by: Duration): Promise<void> {
    await this.#running()
    await this.clock.advance(by)
    await this.settle()
  }

  /** Waits until everything in the logs is processed and committed, or something has stopped for good. */
  async settle(): Promise<void> {
    const { app } = await this.#running()
    let least = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      if (app.failure !== undefined) return
      if (app.ready && (await app.caughtUp())) return
      // Work that waits for a moment, such as another try, is not waited for: time moves only by hand.
      await this.clock.turn()
      if (turn % 200 !== 199) continue
      await this.clock.advance(100)
      // What gets on, however slowly, does not wait for ever.
      const left = app.lag() ?? Number.POSITIVE_INFINITY
      if (left < least) turn = 0
      least = Math.min(least, left)
    }
    throw new Error('the application does not settle: something waits for ever')
  }

  async #until(done: () => boolean, otherwise: string): Promise<void> {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      if (done()) return
      await this.clock.turn()
      if (turn % 200 === 199) await this.clock.advance(100)
    }
    throw new Error(otherwise)
  }

  /** Kills the process as `kill -9` does, and starts another. */
  async restart(): Promise<void> {
    await this.#running()
    this.crash()
    await this.settle()
  }

  /** Kills the process. The next call of anything else starts another. */
  crash(): void {
    const process = this.#process
    this.#process = undefined
    this.#starting = undefined
    process?.kill()
    this.disk.crash()
    this.state.crash()
  }

  /** Ends the process in good order, and starts another. */
  async stop(): Promise<void> {
    const process = await this.#running()
    this.#process = undefined
    this.#starting = undefined
    await process.app.close()
    await process.broker.close()
    process.kill()
  }

  async view<const N extends Views<P>['name']>(name: N): Promise<View<Named<P, N>['key'], Named<P, N>['row'], Named<P, N>['decision']>> {
    await this.settle()
    return (await this.#running()).app.view(name)
  }

  /** All rows of a view, by the text of their keys. */
  async rows<const N extends Views<P>['name']>(name: N): Promise<Readonly<Record<string, Named<P, N>['row']>>> {
    const view = await this.view(name)
    const rows: Record<string, Named<P, N>['row']> = {}
    let after: string | undefined
    do {
      const page = await view.page(after === undefined ? { limit: 1_000 } : { after, limit: 1_000 })
      for (const { text, value } of page.rows) rows[text] = value
      after = page.next
    } while (after !== undefined)
    return rows
  }

  async stateHash(name: Views<P>['name']): Promise<string> {
    await this.settle()
    return (await this.#running()).app.stateHash(name)
  }

  /** What is committed in a topic, in the order of its partitions. */
  async topic(name: string, key?: Key<unknown>): Promise<Seen[]> {
    const { world } = await this.#running()
    const [described] = await world.log.describe([name])
    if (described === undefined) return []
    const seen: Seen[] = []
    for (let partition = 0; partition < described.partitions; partition++) {
      const tp = partitionName(name, partition)
      const end = (await world.log.offsets([tp], 'stable')).get(tp) as number
      let position = (await world.log.offsets([tp], 'start')).get(tp) as number
      const reader = world.log.reader('committed')
      reader.assign(new Map([[tp, position]]))
      while (position < end) {
        for (const fetched of await reader.poll({ bytes: 16 * 1024 * 1024, waitMs: 0 })) {
          if (fetched.kind !== 'batches') throw fetched.kind === 'failed' ? fetched.error : new Error(`${tp} has a gap`)
          position = fetched.next
          for (const batch of fetched.batches) {
            for (let i = 0; i < batch.count; i++) {
              const bytes = batch.key(i)
              seen.push({
                key:
                  bytes === null
                    ? undefined
                    : key === undefined
                      ? bytes.toString()
                      : keyCodec(key).toText(keyCodec(key).decode(bytes, 0, bytes.length)),
                value: batch.value(i) ?? undefined,
                at: batch.timestamp(i),
                partition,
                offset: batch.offset(i),
                headers: Object.fromEntries(
                  batch.headers(i).map((header) => [header.name, header.value === null ? '' : Buffer.from(header.value).toString()]),
                ),
              })
            }
          }
        }
      }
      await reader.close()
    }
    return seen
  }

  /** Values of a plain topic, decoded. */
  async values<V>(topic: string, schema: Schema<V>): Promise<(readonly [key: string | undefined, value: V | null, at: number])[]> {
    const { world } = await this.#running()
    const codec = await world.serdes.values(schema.name, { readers: new Map([['', schema.avro]]), tagged: false, fields: undefined })
    return (await this.topic(topic)).map(({ key, value, at }) => [
      key,
      value === undefined ? null : (codec.decode(value, 0, value.length) as V),
      at,
    ])
  }

  /** Dead letters of a step. */
  async dead(step: string, generation = 1): Promise<Seen[]> {
    return this.topic(deadTopic(this.#topology.name, step, generation))
  }

  count(counter: Counter, step?: string, value?: string | number): number {
    return this.counts.get([counter, step, value].filter((part) => part !== undefined).join(' ')) ?? 0
  }

  /** The first error that stopped a task for good, or the worker. */
  async failure(): Promise<TidemarkError | undefined> {
    return (await this.#running()).app.failure
  }

  /** Rebuilds a projection beside the live one, which is stopped meanwhile. */
  async replay(projection: Views<P>['name'], options: ReplayOptions = {}): Promise<Replayed> {
    refuseUnknown(options, ['switch', 'signal', 'lock', 'shared', 'onProgress'] satisfies (keyof ReplayOptions)[], 'replay()')
    return this.offline((world) => this.#inTime(replay(this.#topology.graph, projection, world, options)))
  }

  /** Lets time pass for what may wait for it, such as for another try. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    const end = new AbortController()
    const stop = (): void => end.abort()
    void work.then(stop, stop)
    for (let turn = 1; !end.signal.aborted; turn++) {
      await this.clock.turn()
      if (turn % 200 === 0) await this.clock.advance(100)
    }
    return await work
  }

  /** Reads and checks everything, while nothing runs. */
  async verify(options: { readonly repair?: boolean } = {}): Promise<Verified> {
    refuseUnknown(options, ['repair'], 'verify()')
    return this.offline((world) => verify(this.#topology.graph, world, options))
  }

  /** Works on what the application left, while nothing runs. */
  async offline<T>(work: (world: World) => Promise<T>): Promise<T> {
    await this.close()
    const { world, broker } = await this.#world(new Set())
    try {
      return await work(world)
    } finally {
      await broker.close()
    }
  }

  /** The application that runs, started when it is first needed. */
  async app(): Promise<App> {
    return (await this.#running()).app
  }

  async access(): Promise<World> {
    return (await this.#running()).world
  }

  async close(): Promise<void> {
    if (this.#process !== undefined || this.#starting !== undefined) await this.stop()
  }

  #running(): Promise<Process> {
    this.#starting ??= this.#start()
    return this.#starting
  }

  async #start(): Promise<Process> {
    const failpoints = new Set<string>()
    const made = await this.#world(failpoints)
    const { schemas: _schemas, seed: _seed, after: _after, ...options } = this.#options
    try {
      const app = await App.start(this.#topology.graph, made.world, { freezeRows: true, ...options })
      await app.running()
      const process: Process = { ...made, app, failpoints, hit: false }
      made.onHit = () => {
        process.hit = true
      }
      this.#process = process
      return process
    } catch (error) {
      // The next call may try again, such as after a replay.
      this.#starting = undefined
      await made.broker.close()
      throw error
    }
  }

  async #world(failpoints: Set<string>): Promise<Omit<Process, 'app' | 'failpoints' | 'hit'> & { onHit: () => void }> {
    const clock = this.clock.fork()
    const broker = await openEmbeddedLog({
      folder: 'log',
      fs: this.disk.fs,
      clock,
      random: this.#random,
      codecs: nativeCodecs,
      fsync: 'never',
    })
    const made = {
      broker,
      onHit: () => {},
      kill: () => clock.stop(),
      world: {
        log: broker.client({ clock }),
        state: this.state,
        serdes: avroSerdes(this.schemas, { now: () => clock.mono() }),
        codecs: nativeCodecs,
        clock,
        random: this.#random,
        telemetry: {
          count: (counter: Counter, { step, value }: { step?: string; value?: string | number }, by = 1) => {
            for (const name of new Set([
              counter,
              [counter, step].filter((part) => part !== undefined).join(' '),
              [counter, step, value].filter((part) => part !== undefined).join(' '),
            ])) {
              this.counts.set(name, (this.counts.get(name) ?? 0) + by)
            }
          },
          event: (event: TelemetryEvent) => void this.events.push(event),
        },
        failpoint: {
          hit: (name: string) => {
            if (!failpoints.has(name)) return undefined
            made.onHit()
            return new Promise<void>(() => {})
          },
          armed: (name: string) => failpoints.has(name),
        },
      } satisfies World,
    }
    return made
  }
}

interface Process {
  readonly world: World
  readonly broker: EmbeddedLog
  readonly app: App
  readonly failpoints: Set<string>
  hit: boolean
  /** Stops its clock: nothing of it ever goes on. */
  readonly kill: () => void
}

const RAW: readonly (keyof RawRecord)[] = ['key', 'value', 'at', 'headers', 'partition']
const OPTIONS: readonly string[] = ['seed', 'schemas', 'after', ...Object.keys(DEFAULT_OPTIONS), 'lock', 'protocol']

/**
 * @throws TidemarkError OPTION_INVALID
 * @example
 * const run = harness(retail)
 * await run.feed(orderLifecycle, [placed('o-1'), CRASH.afterAppend, placed('o-2')])
 * expect(await run.rows('allocatable-stock')).toEqual({ ... })
 */
export function harness<P extends readonly unknown[]>(topology: Topology<P>, options: HarnessOptions = {}): Harness<P> {
  checkTopology(topology, 'what harness() is given')
  refuseUnknown(options, OPTIONS, 'harness()')
  const { seed, after } = options
  if (seed !== undefined && !Number.isSafeInteger(seed))
    throw new TidemarkError('OPTION_INVALID', `seed of harness() is ${shown(seed)}`, { hint: 'It is a whole number, such as 7.' })
  if (after !== undefined && ![after, after?.clock, after?.disk, after?.state, after?.schemas].every(isRecord))
    refuse(after, 'after of harness()', 'a harness', 'Give the harness whose program ran before: harness(shop, { after: first }).')
  return new Harness(topology, options)
}
