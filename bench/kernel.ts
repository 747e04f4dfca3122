/**
 * The interpreter alone: from columnar batches through six stateless steps to a step that counts, values undecoded. Twice, because steps that
 * only let records pass are run as a loop: once six of those, and once six of different kinds. By the clock on the wall and by CPU time: on a
 * machine that others use too, the second says what the first does not.
 */
import { type Flow, type Stream, schema, text, topology } from '#tidemark'
import { avroSerdes } from '../src/drivers/avro/index.ts'
import { nativeCodecs } from '../src/drivers/codecs/index.ts'
import { memorySchemas } from '../src/drivers/schemas/index.ts'
import { planOf } from '../src/plan/planner.ts'
import { BatchBuilder, readBatches } from '../src/ports/record-batch/index.ts'
import { codecsOf } from '../src/runtime/flavours.ts'
import { Interpreter } from '../src/runtime/interpreter.ts'
import { Outbox } from '../src/runtime/outbox.ts'
import { type Flavour, Rec } from '../src/runtime/record.ts'
import { ROOM_OF_ONE } from '../src/runtime/slots.ts'
import { TaskState } from '../src/runtime/state.ts'
import { Variety } from '../src/runtime/variety.ts'
import type { Row } from './table.ts'
import { printTable } from './table.ts'

const BATCH = 1_000
const Value = schema<{ n: number }>({ type: 'record', name: 'Value', fields: [{ name: 'n', type: 'int' }] })
type Values = Stream<string, unknown, never>
const reads = [] as const

/** Steps that need no value. Each lets every record on. */
const STEPS: Readonly<Record<string, (stream: Values) => Values>> = {
  'six filters': (stream) => {
    let on = stream
    for (let step = 1; step <= 6; step++) on = on.filter(`filter-${step}`, (_value, fact) => fact.at >= step, { reads })
    return on
  },
  'filter, branch, merge, keyBy, map and flatMap': (stream) => {
    const { even, odd } = stream
      .filter('filter', (_value, fact) => fact.at >= 1, { reads })
      .branch('branch', { even: (_value, fact) => fact.at % 2 === 0, odd: () => true }, { reads })
    return even
      .merge('merge', odd)
      .keyBy('key-by', text, (_value, fact) => fact.key, { reads })
      .map('map', (_value, fact) => fact.at, { reads })
      .flatMap('flat-map', (_value, fact) => [fact.at], { reads })
  },
}

export async function kernelBench(records = 5_000_000): Promise<Row[]> {
  const rows: Row[] = []
  for (const [name, steps] of Object.entries(STEPS)) rows.push(await measured(name, steps, records))
  return rows
}

async function measured(name: string, steps: (stream: Values) => Values, records: number): Promise<Row> {
  let counted = 0
  const count = (): boolean => {
    counted += 1
    return false
  }
  const { graph } = topology('bench', (flow: Flow) => {
    steps(flow.stream('in', { key: text, value: Value }, { partitions: 1 })).filter('count', count, { reads })
    return []
  })
  const { flavours } = await codecsOf(graph, avroSerdes(memorySchemas()))
  const interpreter = interpreterOf(graph, flavours)
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  for (let i = 0; i < BATCH; i++) builder.add(1_700_000_000_000 + i, Buffer.from(`key-${i}`), Buffer.alloc(100, 1))
  const bytes = builder.finish().bytes
  const rec = new Rec()
  const flavour = flavours.get('in') as Flavour
  const run = (many: number): { readonly wall: number; readonly cpu: number } => {
    const before = { wall: performance.now(), cpu: process.cpuUsage() }
    for (let done = 0; done < many; done += BATCH) {
      // The checksum of an unstamped batch is 0: what is measured begins behind it.
      const [batch] = readBatches(bytes, { ...nativeCodecs, crc32c: () => 0 }).batches
      const columns = (batch as NonNullable<typeof batch>).columns
      const behind = interpreter.behind('in')
      for (let i = 0; i < columns.count; i++) {
        rec.read(columns, i, 'in', 0, flavour)
        interpreter.run(behind, rec)
      }
    }
    const { user, system } = process.cpuUsage(before.cpu)
    return { wall: (performance.now() - before.wall) / 1e3, cpu: (user + system) / 1e6 }
  }
  run(records / 5)
  counted = 0
  const [, middle] = [run(records), run(records), run(records)].sort((a, b) => a.cpu - b.cpu)
  const { wall, cpu } = middle as NonNullable<typeof middle>
  if (counted !== 3 * records) throw new Error(`${counted} of ${3 * records} records were counted`)
  return {
    name: `${name}, then a filter that counts`,
    recordsPerSecond: Math.round(records / wall),
    cpuMicrosPerRecord: (1e6 * cpu) / records,
    note: `${(records / cpu / 1e6).toFixed(1)} M a CPU second`,
  }
}

function interpreterOf(graph: Parameters<typeof planOf>[0], flavours: ReadonlyMap<string, Flavour>): Interpreter {
  const plan = planOf(graph)
  const nothing = { get: () => undefined, range: () => Promise.resolve([]), write: () => Promise.resolve(), close: () => Promise.resolve() }
  return new Interpreter({
    plan,
    stage: plan.stages[0] as (typeof plan.stages)[number],
    partition: 0,
    state: new TaskState(nothing, [], ROOM_OF_ONE),
    outbox: new Outbox(nativeCodecs),
    flavours,
    partitionsOf: () => 1,
    inboxGeneration: () => 1,
    unknownEvents: () => 'dead-letter',
    planHash: '',
    now: () => 0,
    freeze: false,
    variety: new Variety(),
  })
}

if (import.meta.main) printTable('interpreter', await kernelBench())
