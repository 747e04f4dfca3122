/** The interpreter alone: from columnar batches through six stateless steps to a counting sink, values undecoded. */
import { schema, text, topology } from '#tidemark'
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

const STEPS = 6
const BATCH = 1_000

/** CPU time of this process: on a machine that others use too, it says what the clock on the wall does not. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

export async function kernelBench(records = 5_000_000): Promise<Row[]> {
  const Value = schema<{ n: number }>({ type: 'record', name: 'Value', fields: [{ name: 'n', type: 'int' }] })
  let counted = 0
  const graph = topology('bench', (flow) => {
    let stream = flow.stream('in', { key: text, value: Value }, { partitions: 1 })
    for (let step = 1; step <= STEPS; step++) stream = stream.filter(`step-${step}`, (_value, fact) => fact.at >= step, { reads: [] })
    stream.filter(
      'count',
      () => {
        counted += 1
        return false
      },
      { reads: [] },
    )
    return []
  }).graph
  const plan = planOf(graph)
  const { flavours } = await codecsOf(graph, avroSerdes(memorySchemas()))
  const nothing = { get: () => undefined, range: () => Promise.resolve([]), write: () => Promise.resolve(), close: () => Promise.resolve() }
  const stage = plan.stages[0] as (typeof plan.stages)[number]
  const interpreter = new Interpreter({
    plan,
    stage,
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
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  for (let i = 0; i < BATCH; i++) builder.add(1_700_000_000_000 + i, Buffer.from(`key-${i}`), Buffer.alloc(100, 1))
  const bytes = builder.finish().bytes
  // The checksum of an unstamped batch is 0: what is measured begins behind it.
  const rec = new Rec()
  const flavour = flavours.get('in') as Flavour
  const run = (count: number): number => {
    const before = cpuSeconds()
    for (let done = 0; done < count; done += BATCH) {
      const [batch] = readBatches(bytes, { ...nativeCodecs, crc32c: () => 0 }).batches
      const columns = (batch as NonNullable<typeof batch>).columns
      const behind = interpreter.behind('in')
      for (let i = 0; i < columns.count; i++) {
        rec.read(columns, i, 'in', 0, flavour)
        interpreter.run(behind, rec)
      }
    }
    return cpuSeconds() - before
  }
  run(records / 5)
  counted = 0
  const seconds = [run(records), run(records), run(records)].sort((a, b) => a - b)[1] as number
  if (counted !== 3 * records) throw new Error(`the sink counted ${counted} of ${3 * records} records`)
  return [
    {
      name: `columnar batch, ${STEPS} stateless steps, counting sink`,
      recordsPerSecond: Math.round(records / seconds),
      note: 'a CPU second',
    },
  ]
}

if (import.meta.main) printTable('interpreter', await kernelBench())
