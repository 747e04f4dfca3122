/** Several workers of one application over one log, each with a disk of its own, on one clock that is moved by hand. */
import { partitionOf } from '../../src/base/murmur.ts'
import { avroSerdes } from '../../src/drivers/avro/index.ts'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { type EmbeddedLog, openEmbeddedLog } from '../../src/drivers/embedded/index.ts'
import { memoryState } from '../../src/drivers/memory/index.ts'
import { memorySchemas } from '../../src/drivers/schemas/index.ts'
import type { Schema, Topology } from '../../src/index.ts'
import { type Log, partitionName } from '../../src/ports/log.ts'
import { BatchBuilder } from '../../src/ports/record-batch/index.ts'
import type { TelemetryEvent } from '../../src/ports/telemetry.ts'
import { App, type StartOptions } from '../../src/runtime/app.ts'
import { encodeValue } from '../../src/runtime/encode.ts'
import type { World } from '../../src/runtime/world.ts'
import { type ManualClock, manualClock, seededRandom, simulatedDisk } from '../../src/testing/index.ts'

interface Member {
  readonly app: App
  readonly world: World
  readonly stop: () => void
}

/** A point of the commit at which a worker stops: for ever, as a process does that dies there, or for a while. */
interface Hang {
  at?: string
  hit?: () => void
  until?: Promise<void>
}

export class Cluster {
  readonly clock: ManualClock
  readonly counts: Map<string, number> = new Map()
  readonly events: TelemetryEvent[] = []
  readonly members: Map<string, Member> = new Map()
  readonly #broker: EmbeddedLog
  readonly #schemas = memorySchemas()
  readonly #disks = new Map<string, ReturnType<typeof memoryState>>()
  readonly #random = seededRandom(7)

  private constructor(broker: EmbeddedLog, clock: ManualClock) {
    this.#broker = broker
    this.clock = clock
  }

  static async open(): Promise<Cluster> {
    const clock = manualClock()
    const random = seededRandom(3)
    const broker = await openEmbeddedLog({
      folder: 'log',
      fs: simulatedDisk({ random }).fs,
      clock,
      random,
      codecs: nativeCodecs,
      fsync: 'never',
    })
    return new Cluster(broker, clock)
  }

  /** A world of its own: another process on another machine. `over` stands between it and the log, for a log that fails. */
  world(name: string, hang: Hang = {}, over: (log: Log) => Log = (log) => log): { world: World; stop: () => void } {
    const clock = this.clock.fork()
    let disk = this.#disks.get(name)
    if (disk === undefined) {
      disk = memoryState()
      this.#disks.set(name, disk)
    }
    const world: World = {
      log: over(this.#broker.client({ clock })),
      state: disk,
      serdes: avroSerdes(this.#schemas, { now: () => clock.mono() }),
      codecs: nativeCodecs,
      clock,
      random: this.#random,
      telemetry: {
        count: (counter, { step }, by = 1) => {
          for (const key of new Set([counter, [counter, step].filter((part) => part !== undefined).join(' ')]))
            this.counts.set(key, (this.counts.get(key) ?? 0) + by)
        },
        event: (event) => void this.events.push(event),
      },
      failpoint: {
        hit: (point) => {
          if (point !== hang.at) return undefined
          hang.hit?.()
          return hang.until ?? new Promise<void>(() => {})
        },
        armed: (point) => point === hang.at,
      },
    }
    return { world, stop: () => clock.stop() }
  }

  /** Starts a worker. */
  async start(topology: Topology, instance: string, options: StartOptions & { hang?: Hang; over?: (log: Log) => Log } = {}): Promise<App> {
    const { hang, over, ...settings } = options
    const { world, stop } = this.world(instance, hang, over)
    const app = await App.start(topology.graph, world, { freezeRows: true, ...settings, instance })
    this.members.set(instance, { app, world, stop })
    return app
  }

  /** Kills a worker: nothing of it ever goes on, and nobody is told. */
  kill(instance: string): void {
    this.members.get(instance)?.stop()
    this.members.delete(instance)
    this.#disks.get(instance)?.crash()
  }

  /** Ends a worker in good order. */
  async leave(instance: string): Promise<void> {
    await this.members.get(instance)?.app.close({ leave: true })
    this.members.delete(instance)
  }

  /** Writes values to a plain topic, each key to its partition, as one transaction; or without one, which leaves no marker behind them. */
  async put<V>(
    topic: string,
    schema: Schema<V>,
    records: readonly (readonly [key: string, value: V, at?: number])[],
    how: 'as-transaction' | 'plainly' = 'as-transaction',
  ): Promise<void> {
    const { world } = this.world('feed')
    const codec = await world.serdes.values(schema.name, { readers: new Map([['', schema.avro]]), tagged: false, fields: undefined })
    const [described] = await world.log.describe([topic])
    const batches = new Map<number, BatchBuilder>()
    for (const [key, value, at = this.clock.now()] of records) {
      const partition = partitionOf(Buffer.from(key), described?.partitions ?? 1)
      const batch = batches.get(partition) ?? new BatchBuilder({ codecs: nativeCodecs })
      batches.set(partition, batch)
      batch.add(at, Buffer.from(key), encodeValue(codec, value))
    }
    const transaction = how === 'plainly' ? undefined : await world.log.writer('feed')
    const writer = transaction ?? (await world.log.plainWriter())
    for (const [partition, batch] of batches) await writer.append(partitionName(topic, partition), batch.finish())
    await transaction?.commit([])
    await writer.close()
    await world.log.close()
  }

  /** Waits until all workers that are left have processed everything, moving time on while they do not. */
  async settle(): Promise<void> {
    const apps = [...this.members.values()].map(({ app }) => app)
    for (let turn = 0; turn < 20_000; turn++) {
      if (
        apps.every((app) => app.ready || app.failure !== undefined) &&
        (await apps.find((app) => app.failure === undefined)?.caughtUp()) === true
      )
        return
      await this.turns(1)
      if (turn % 20 === 19) await this.clock.advance(200)
    }
    throw new Error(`the cluster does not settle: ${JSON.stringify(apps.map(({ tasks, ready }) => ({ tasks, ready })))}`)
  }

  /** Lets time pass until there is nothing left to do: no commit, no poll that finds something. */
  async rest(): Promise<void> {
    for (let i = 0; i < 10; i++) {
      await this.turns(20)
      await this.clock.advance(200)
    }
    await this.turns(20)
  }

  async until(done: () => boolean): Promise<void> {
    for (let turn = 0; turn < 20_000; turn++) {
      if (done()) return
      await this.turns(1)
      if (turn % 20 === 19) await this.clock.advance(200)
    }
    throw new Error('what was waited for did not come')
  }

  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.clock.turn()
  }

  /** Rows of a view, from whichever worker has them. Fails where two workers have one key. */
  async rows(view: string): Promise<Record<string, unknown>> {
    const rows: Record<string, unknown> = {}
    for (const { app } of this.members.values()) {
      for (const { text, value } of (await app.view(view).page({ limit: 1_000 })).rows) {
        if (Object.hasOwn(rows, text)) throw new Error(`two workers have a row of "${text}"`)
        rows[text] = value
      }
    }
    return rows
  }

  /** Values of a plain topic as they are committed, in the order of its partitions. */
  async values<V>(topic: string, schema: Schema<V>): Promise<(readonly [key: string | undefined, value: V])[]> {
    const { world } = this.world('reader')
    const codec = await world.serdes.values(schema.name, { readers: new Map([['', schema.avro]]), tagged: false, fields: undefined })
    const seen: (readonly [string | undefined, V])[] = []
    const [described] = await world.log.describe([topic])
    for (let partition = 0; partition < (described?.partitions ?? 0); partition++) {
      const name = partitionName(topic, partition)
      const end = (await world.log.offsets([name], 'stable')).get(name) as number
      const reader = world.log.reader('committed')
      let position = 0
      reader.assign(new Map([[name, 0]]))
      while (position < end) {
        for (const fetched of await reader.poll({ bytes: 8 * 1024 * 1024, waitMs: 0 })) {
          if (fetched.kind !== 'batches') throw new Error(`${name} cannot be read`)
          position = fetched.next
          for (const batch of fetched.batches) {
            for (let i = 0; i < batch.count; i++) {
              const value = batch.value(i) as Buffer
              await codec.prepare([value.readUInt32BE(1)])
              seen.push([batch.key(i)?.toString(), codec.decode(value, 0, value.length) as V])
            }
          }
        }
      }
      await reader.close()
    }
    await world.log.close()
    return seen
  }

  async close(): Promise<void> {
    for (const instance of this.members.keys()) await this.leave(instance)
    await this.#broker.close()
  }
}
