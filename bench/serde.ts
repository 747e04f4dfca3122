/**
 * What values cost: decoding an event of ten fields, all of it or six of its fields, and writing it into a buffer that is used again.
 * Each case runs in rounds between the others, so that a slow moment of the machine hits all of them; the median round counts.
 */
import { performance } from 'node:perf_hooks'
import avsc from 'avsc'
import type { AvroSchema } from '../src/base/avro.ts'
import { avroSerdes } from '../src/drivers/avro/index.ts'
import { memorySchemas } from '../src/drivers/schemas/index.ts'
import type { ValueCodec } from '../src/ports/serde.ts'
import { printTable, type Row } from './table.ts'

const ROUNDS = 15
const ROUND_RECORDS = 40_000
/** Different records, so that no branch of the decoder is always the same. */
const RECORDS = 500

const field = (name: string, type: unknown): object => ({ name, type })
const OrderPlaced = {
  type: 'record',
  name: 'orders.OrderPlaced',
  fields: [
    field('orderId', 'string'),
    field('customerId', 'string'),
    field('channel', { type: 'enum', name: 'Channel', symbols: ['web', 'store', 'phone'] }),
    field('region', 'string'),
    field('currency', 'string'),
    field('totalCents', 'long'),
    field('lines', 'int'),
    field('placedAt', { type: 'long', logicalType: 'timestamp-millis' }),
    field('note', ['null', 'string']),
    field('gift', 'boolean'),
  ],
}
const SIX = ['orderId', 'customerId', 'channel', 'totalCents', 'lines', 'placedAt']
/** A version before, so that a reader's default and a resolver take part. */
const Older: AvroSchema = { ...OrderPlaced, fields: OrderPlaced.fields.slice(0, 9) }
const Newer: AvroSchema = { ...OrderPlaced, fields: [...OrderPlaced.fields.slice(0, 9), { name: 'gift', type: 'boolean', default: false }] }

function order(i: number): object {
  return {
    type: 'OrderPlaced',
    orderId: `o-${1_000_000 + i}`,
    customerId: `c-${(i * 7919) % 500_000}`,
    channel: ['web', 'store', 'phone'][i % 3],
    region: ['EU', 'US', 'APAC'][i % 3],
    currency: i % 2 === 0 ? 'EUR' : 'GBP',
    totalCents: 1_234_567 + i,
    lines: 1 + (i % 7),
    placedAt: 1_700_000_000_000 + i,
    note: i % 4 === 0 ? 'leave it at the door' : null,
    gift: i % 5 === 0,
  }
}

/** Encoded records one behind the other, as they lie in a batch. */
interface Batch {
  readonly bytes: Buffer
  readonly starts: readonly number[]
  readonly ends: readonly number[]
}

function batchOf(codec: ValueCodec): Batch {
  const bytes = Buffer.alloc(RECORDS * 200)
  const starts: number[] = []
  const ends: number[] = []
  let at = 0
  for (let i = 0; i < RECORDS; i++) {
    starts.push(at)
    at = codec.encode(order(i), bytes, at)
    ends.push(at)
  }
  return { bytes: bytes.subarray(0, at), starts, ends }
}

/** Measured rows, in records a second. */
export async function serdeBench(): Promise<Row[]> {
  const serdes = avroSerdes(memorySchemas())
  const codecOf = async (schema: AvroSchema, tagged: boolean, fields?: string[]): Promise<ValueCodec> => {
    const codec = await serdes.values('bench', { readers: new Map([['OrderPlaced', schema]]), tagged, fields })
    await codec.prepare([1, 2, 3])
    return codec
  }
  const writer = await codecOf(OrderPlaced, true)
  const whole = batchOf(writer)
  const ofOlder = batchOf(await codecOf(Older, true))
  const kept: unknown[] = Array.from({ length: 1024 }, () => undefined)
  const decoding = (codec: ValueCodec, { bytes, starts, ends }: Batch) => {
    return (i: number): void => {
      kept[i & 1023] = codec.decode(bytes, starts[i % RECORDS] as number, ends[i % RECORDS] as number)
    }
  }
  const library = avsc.Type.forSchema(OrderPlaced as never)
  const orders = Array.from({ length: RECORDS }, (_, i) => order(i))
  const into = Buffer.alloc(512)
  const cases: [string, (i: number) => void][] = [
    ['decode 10 fields', decoding(await codecOf(OrderPlaced, false), whole)],
    ['decode 10 fields, tagged', decoding(await codecOf(OrderPlaced, true), whole)],
    ['decode 6 of 10 fields', decoding(await codecOf(OrderPlaced, false, SIX), whole)],
    ['decode 6 of 10 fields, tagged', decoding(await codecOf(OrderPlaced, true, SIX), whole)],
    ['decode 10 fields of an older writer', decoding(await codecOf(Newer, true), ofOlder)],
    [
      'avsc alone: decode 10 fields',
      (i) => (kept[i & 1023] = library.decode(whole.bytes, (whole.starts[i % RECORDS] as number) + 5).value),
    ],
    ['check 10 fields before they are written', (i) => writer.check(orders[i % RECORDS])],
    ['encode 10 fields into a reused buffer', (i) => (kept[i & 1023] = writer.encode(orders[i % RECORDS], into, 0))],
    ['avsc alone: encode 10 fields', (i) => (kept[i & 1023] = library.encode(orders[i % RECORDS], into, 5))],
  ]
  const rounds = cases.map((): number[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    // Forth and back, so that no case always pays for the garbage of the same other.
    for (const [i, [, run]] of round % 2 === 0 ? cases.entries() : [...cases.entries()].toReversed()) {
      const start = performance.now()
      for (let record = 0; record < ROUND_RECORDS; record++) run(record)
      rounds[i]?.push((performance.now() - start) / ROUND_RECORDS)
    }
  }
  return cases.map(([name], i) => {
    const inOrder = (rounds[i] ?? []).sort((a, b) => a - b)
    return { name, recordsPerSecond: Math.round(1000 / (inOrder[Math.floor(inOrder.length / 2)] as number)) }
  })
}

if (import.meta.main) printTable('Avro', await serdeBench())
