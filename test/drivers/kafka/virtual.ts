/** The driver over simulated brokers, in simulated time: a test of minutes takes none, and everything happens in the same order each time. */

import type { TidemarkError } from '../../../src/base/errors.ts'
import { avroSerdes } from '../../../src/drivers/avro/index.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { openClient } from '../../../src/drivers/kafka/client.ts'
import { memoryState } from '../../../src/drivers/memory/index.ts'
import { memorySchemas } from '../../../src/drivers/schemas/index.ts'
import type { Topology } from '../../../src/index.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { Fetched, Log, Reader } from '../../../src/ports/log.ts'
import { BatchBuilder, DEFAULT_LIMITS, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import type { TelemetryEvent } from '../../../src/ports/telemetry.ts'
import { App, type StartOptions } from '../../../src/runtime/app.ts'
import type { World } from '../../../src/runtime/world.ts'
import { TEST_EPOCH_MS } from '../../../src/testing/clock.ts'
import {
  FAIR_WEATHER,
  SimKafka,
  type SimKafkaOptions,
  served,
  simulatedDial,
  virtualTimeline,
  type Weather,
} from '../../../src/testing/kafka-sim/index.ts'
import { seededRandom } from '../../../src/testing/random.ts'
import { Owner, Scheduler, virtualClock } from '../../../src/testing/simulation/scheduler.ts'

export interface Virtual {
  readonly kafka: SimKafka
  readonly clock: Clock
  /** What the driver has told. */
  readonly told: TidemarkError[]
  readonly connect: (options?: { readonly weather?: Weather; readonly transactionMs?: number }) => Promise<Log>
  /** A worker of a topology; its disk outlives it, by its name. */
  readonly start: (topology: Topology, instance: string, options?: StartOptions) => Promise<Running>
  readonly made: (topic: string, partitions?: number) => Promise<void>
  /** A batch of one record to each of some partitions, without a transaction. */
  readonly put: (partition: string, ...values: readonly string[]) => Promise<void>
}

export interface Running {
  readonly app: App
  readonly world: World
  /** What it told, but for what counts. */
  readonly events: TelemetryEvent[]
}

/** One way of a message, ms. */
const LEG_MS = 1
/** Nothing that is tested here takes longer, ms of simulated time. */
const LIMIT_MS = 3_600_000

export async function inVirtualTime(options: Partial<SimKafkaOptions>, test: (world: Virtual) => Promise<void>): Promise<void> {
  const scheduler = new Scheduler()
  const brokers = new Owner('brokers')
  const program = new Owner('program')
  const kafka = new SimKafka({
    timeline: virtualTimeline(scheduler, brokers, TEST_EPOCH_MS),
    codecs: nativeCodecs,
    protocol: 2,
    nodes: 1,
    ...options,
  })
  const clock = virtualClock(scheduler, program, { offsetMs: TEST_EPOCH_MS }, () => 0)
  const timeline = virtualTimeline(scheduler, program, TEST_EPOCH_MS)
  const told: TidemarkError[] = []
  const connect: Virtual['connect'] = ({ weather = { ...FAIR_WEATHER, legMs: () => LEG_MS }, transactionMs = 10_000 } = {}) =>
    openClient({
      of: {
        seeds: kafka.seeds,
        link: { clientId: 'virtual', ssl: undefined, sasl: undefined, connectMs: 3_000 },
        clock,
        random: seededRandom(1),
        dial: simulatedDial(served(kafka), { program: timeline, road: timeline, cutOff: () => false, weather }),
        tell: (warning) => void told.push(warning),
      },
      codecs: nativeCodecs,
      limits: DEFAULT_LIMITS,
      replication: -1,
      transactionMs,
    })
  let admin: Log | undefined
  let over = false
  const schemas = memorySchemas()
  const disks = new Map<string, ReturnType<typeof memoryState>>()
  const start: Virtual['start'] = async (topology, instance, options = {}) => {
    const log = await connect()
    const events: TelemetryEvent[] = []
    const disk = disks.get(instance) ?? memoryState()
    disks.set(instance, disk)
    const world: World = {
      log,
      state: disk,
      serdes: avroSerdes(schemas, { now: () => clock.mono() }),
      codecs: nativeCodecs,
      clock,
      random: seededRandom(2),
      telemetry: { count: () => {}, event: (event) => void events.push(event) },
      failpoint: { hit: () => undefined },
    }
    return { app: await App.start(topology.graph, world, { ...options, instance }), world, events }
  }
  const tested = test({
    kafka,
    clock,
    told,
    connect,
    start,
    made: async (topic, partitions = 1) => {
      admin ??= await connect()
      await admin.ensure([{ name: topic, partitions, cleanup: 'delete', retentionMs: -1 }])
    },
    put: async (partition, ...values) => {
      admin ??= await connect()
      const writer = await admin.plainWriter()
      for (const value of values) await writer.append(partition, batchOf(value))
      await writer.close()
    },
  }).finally(() => {
    over = true
  })
  const ran = scheduler.run(() => over || scheduler.now > LIMIT_MS)
  await Promise.race([tested, ran.then(() => (over ? tested : Promise.reject(new Error(`nothing more happens at ${scheduler.now} ms`))))])
}

export function batchOf(value: string | Buffer, count = 1): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  for (let i = 0; i < count; i++) builder.add(TEST_EPOCH_MS, Buffer.from(`k${i}`), Buffer.from(value))
  return builder.finish()
}

/** Reads a partition up to an offset, and gives what else was said on the way. */
export async function readTo(reader: Reader, end: number): Promise<{ readonly values: string[]; readonly others: Fetched[] }> {
  const values: string[] = []
  const others: Fetched[] = []
  for (let next = 0; next < end; ) {
    for (const fetched of await reader.poll({ bytes: 2 * 1024 * 1024, waitMs: 100 })) {
      if (fetched.kind !== 'batches') {
        others.push(fetched)
        if (fetched.kind === 'gap') return { values, others }
        continue
      }
      next = fetched.next
      for (const batch of fetched.batches) for (let i = 0; i < batch.count; i++) values.push(String(batch.value(i)))
    }
  }
  return { values, others }
}
