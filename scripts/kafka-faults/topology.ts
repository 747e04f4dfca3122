/**
 * The application that is tormented: for each record of a key it writes how many there were and what their numbers add up to. Each result
 * follows from all before it, so a record that is lost, done twice or done out of order shows in the next one.
 */
import { type Schema, type SchemaStore, schema, type Topology, text, topology } from '#tidemark'
import { memorySchemas } from '#tidemark/drivers/schemas'

export interface Tick {
  readonly n: number
}
export interface Total {
  readonly n: number
  readonly count: number
  readonly sum: number
}

const longs = (...names: readonly string[]): { name: string; type: 'long' }[] => names.map((name) => ({ name, type: 'long' }))
export const Tick: Schema<Tick> = schema<Tick>({ type: 'record', name: 'Tick', fields: longs('n') })
export const Total: Schema<Total> = schema<Total>({ type: 'record', name: 'Total', fields: longs('n', 'count', 'sum') })

export const APP = 'faults'
export const IN = 'faults.in'
export const OUT = 'faults.out'
export const PARTITIONS = 4
/** Ids as `schemas()` gives them. */
export const TICK_ID = 1
export const TOTAL_ID = 2

export const faults: Topology<readonly []> = topology(APP, (flow) => {
  flow
    .stream(IN, { key: text, value: Tick })
    .process<Total, Total>('totals', {
      rows: Total,
      value: Total,
      run: (incoming, scope, out) => {
        const { n } = incoming.value as Tick
        const before = scope.get() as Total | undefined
        const total = { n, count: (before?.count ?? 0) + 1, sum: (before?.sum ?? 0) + n }
        scope.put(total)
        out.value(total)
      },
    })
    .to('written', OUT, { partitions: PARTITIONS })
  return []
})

export async function schemas(): Promise<SchemaStore> {
  const store = memorySchemas()
  await store.idOf(Tick.name, Tick.avro)
  await store.idOf(Total.name, Total.avro)
  return store
}
