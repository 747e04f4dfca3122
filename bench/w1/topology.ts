/** Workload W1 as a topology: dedupe by a random id, order by sequence, project. Three steps, each with state of its own. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Projection, type Schema, type SchemaStore, schema, type Topology, text, topology } from '#tidemark'
import { memorySchemas } from '#tidemark/drivers/schemas'

export interface OrderEvent {
  readonly eventId: string
  readonly orderId: string
  readonly seq: number
  readonly kind: 'PLACED' | 'LINE_ADDED' | 'LINE_REMOVED' | 'PAID' | 'SHIPPED' | 'CANCELLED'
  readonly sku: string
  readonly qty: number
  readonly unitPriceMinor: number
  readonly warehouse: string
  readonly occurredAt: number
  readonly note: string | null
}
export interface OrderView {
  readonly orderId: string
  readonly version: number
  readonly status: string
  readonly lines: number
  readonly units: number
  readonly amountMinor: number
  readonly updatedAt: number
}

const avsc = <T>(name: string): Schema<T> => schema<T>(JSON.parse(readFileSync(join(import.meta.dirname, `${name}.avsc`), 'utf8')))
export const OrderEvent: Schema<OrderEvent> = avsc('OrderEvent')
export const OrderView: Schema<OrderView> = avsc('OrderView')

export const IN = 'w1.in'
export const OUT = 'w1.out'

const SIGN: Readonly<Record<string, number>> = { LINE_ADDED: 1, LINE_REMOVED: -1 }

export const w1: Topology<readonly [Projection<'order-view', string, OrderView, never>]> = topology('w1', (flow) => [
  flow
    .stream(IN, { key: text, value: OrderEvent })
    .dedupe('once', { id: (event) => event.eventId, reads: ['eventId'], keep: '1d' })
    .order('in-sequence', { sequence: (event) => event.seq, reads: ['seq'] })
    .project('order-view', {
      row: OrderView,
      identity: 'once',
      publish: OUT,
      reads: ['orderId', 'seq', 'kind', 'qty', 'unitPriceMinor', 'occurredAt'],
      fold: (row, event) => {
        const sign = SIGN[event.kind] ?? 0
        return {
          orderId: event.orderId,
          version: event.seq,
          status: sign === 0 ? event.kind : (row as OrderView).status,
          lines: (row?.lines ?? 0) + sign,
          units: (row?.units ?? 0) + sign * event.qty,
          amountMinor: (row?.amountMinor ?? 0) + sign * event.qty * event.unitPriceMinor,
          updatedAt: Math.max(row?.updatedAt ?? 0, event.occurredAt),
        }
      },
    }),
])

/** Ids as the workload fixes them: 1 for events, 2 for views. */
export async function w1Schemas(): Promise<SchemaStore> {
  const schemas = memorySchemas()
  await schemas.idOf(OrderEvent.name, OrderEvent.avro)
  await schemas.idOf(OrderView.name, OrderView.avro)
  return schemas
}

/** What passing a record costs: from the input to the output, no state, no value decoded. */
export const copy: Topology<readonly []> = topology('w1', (flow) => {
  flow.stream(IN, { key: text, value: OrderEvent }).to('copied', OUT, { cleanup: 'compact' })
  return []
})
