/**
 * How fast records are decoded and encoded on one thread, beside kafkajs's own decoder and encoder in the same run.
 * Each case is timed in rounds that alternate with the other cases, and the median round counts.
 *
 *   node scripts/with-node.mjs bench/record-batch.ts
 */
import { nativeCodecs } from '../src/drivers/codecs/index.ts'
import {
  BatchBuilder,
  COMPRESSIONS,
  type Codecs,
  encodeHeaders,
  type Header,
  HeaderCursor,
  type RecordBatch,
  readBatches,
  stampBatch,
} from '../src/ports/record-batch/index.ts'
import { type KafkajsInput, kafkajsDecode, kafkajsEncode } from '../test/ports/record-batch/kafkajs.ts'
import { printTable, type Row } from './table.ts'

interface Input {
  readonly timestamp: number
  readonly key: Buffer
  readonly value: Buffer
  readonly headers: readonly Header[]
}

interface Case {
  readonly name: string
  readonly records: number
  readonly against?: string
  run(): unknown
}

const ROUNDS = 9
const ROUND_MS = 60
const PRODUCER = { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: false }

/** Runs all cases; takes about half a minute. */
export async function recordBatchBench(): Promise<Row[]> {
  const cases = [
    ...shape('100 B', inputs({ count: 1000, valueBytes: 100, headers: 0 })),
    ...shape('1 KB', inputs({ count: 1000, valueBytes: 1000, headers: 0 })),
    ...shape('100 B + 2 headers', inputs({ count: 1000, valueBytes: 100, headers: 2 })),
    ...shape('100 B, batches of 10', inputs({ count: 10, valueBytes: 100, headers: 0 })),
    ...compressed(inputs({ count: 1000, valueBytes: 100, headers: 0 })),
  ]
  const perSecond = await time(cases)
  return cases.map(({ name, against }, i) => {
    const recordsPerSecond = perSecond[i] as number
    const other = cases.findIndex((each) => each.name === against)
    return against === undefined
      ? { name, recordsPerSecond }
      : { name, recordsPerSecond, ratio: recordsPerSecond / (perSecond[other] as number), against }
  })
}

function shape(size: string, records: readonly Input[]): Case[] {
  const count = records.length
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  const encoded = records.map(({ headers }) => encodeHeaders(headers))
  const theirs = records.map(forKafkajs)
  const bytes = build(builder, records, encoded)
  const unchecked: Codecs = { ...nativeCodecs, crc32c: () => bytes.readUInt32BE(17) }
  const cursor = new HeaderCursor()
  const decoder = `decode ${size}: kafkajs`
  const encoder = `encode ${size}: kafkajs`
  const cases: Case[] = [
    { name: decoder, records: count, run: () => kafkajsDecode(bytes) },
    { name: `decode ${size}: columns`, records: count, against: decoder, run: () => readBatches(bytes, nativeCodecs).batches[0]?.columns },
    {
      name: `decode ${size}: columns, checksum not looked at`,
      records: count,
      against: decoder,
      run: () => readBatches(bytes, unchecked).batches[0]?.columns,
    },
    {
      name: `decode ${size}: a view of each key and value`,
      records: count,
      against: decoder,
      run() {
        const batch = readBatches(bytes, nativeCodecs).batches[0] as RecordBatch
        let sum = 0
        for (let i = 0; i < count; i++) sum += (batch.key(i)?.length ?? 0) + (batch.value(i)?.length ?? 0)
        return sum
      },
    },
    { name: encoder, records: count, run: () => kafkajsEncode(theirs, PRODUCER) },
    { name: `encode ${size}: add`, records: count, against: encoder, run: () => build(builder, records, encoded) },
    {
      name: `encode ${size}: value written in place`,
      records: count,
      against: encoder,
      run() {
        for (let i = 0; i < count; i++) {
          const { timestamp, key, value } = records[i] as Input
          const at = builder.reserve(value.length)
          builder.buffer.set(value, at)
          builder.addReserved(timestamp, key, at + value.length, encoded[i])
        }
        return stamped(builder)
      },
    },
  ]
  if (records[0]?.headers.length) {
    cases.push({
      name: `decode ${size}: columns and all headers by cursor`,
      records: count,
      against: decoder,
      run() {
        const { columns } = readBatches(bytes, nativeCodecs).batches[0] as RecordBatch
        let sum = 0
        for (let i = 0; i < count; i++) {
          cursor.reset(columns.payload, columns.headersAt[i] as number, columns.headersEnd[i] as number, columns.headerCount[i] as number)
          while (cursor.next()) sum += cursor.valueEnd - cursor.valueAt
        }
        return sum
      },
    })
  }
  return cases
}

function compressed(records: readonly Input[]): Case[] {
  return COMPRESSIONS.flatMap((compression): Case[] => {
    if (compression === 'none') return []
    const count = records.length
    const builder = new BatchBuilder({ codecs: nativeCodecs, compression })
    const encoded = records.map(({ headers }) => encodeHeaders(headers))
    const theirs = records.map(forKafkajs)
    const bytes = build(builder, records, encoded)
    const decoder = `decode ${compression}: kafkajs`
    const encoder = `encode ${compression}: kafkajs`
    return [
      { name: decoder, records: count, run: () => kafkajsDecode(bytes) },
      {
        name: `decode ${compression}: columns`,
        records: count,
        against: decoder,
        run: () => readBatches(bytes, nativeCodecs).batches[0]?.columns,
      },
      { name: encoder, records: count, run: () => kafkajsEncode(theirs, PRODUCER, compression) },
      { name: `encode ${compression}: add`, records: count, against: encoder, run: () => build(builder, records, encoded) },
    ]
  })
}

function build(builder: BatchBuilder, records: readonly Input[], headers: readonly Buffer[]): Buffer {
  for (let i = 0; i < records.length; i++) {
    const { timestamp, key, value } = records[i] as Input
    builder.add(timestamp, key, value, headers[i])
  }
  return stamped(builder)
}

function stamped(builder: BatchBuilder): Buffer {
  const batch = builder.finish()
  stampBatch(batch, PRODUCER, nativeCodecs)
  return batch.bytes
}

/** Records like a business writes them: ids, words that repeat, and numbers that do not. Always the same ones. */
function inputs({ count, valueBytes, headers }: { count: number; valueBytes: number; headers: number }): Input[] {
  let seed = 1
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return seed / 2 ** 32
  }
  return Array.from({ length: count }, (_, i) => {
    let text = ''
    while (text.length < valueBytes)
      text += `{"order":"${Math.floor(random() * 1e9)}","state":"shipped","cents":${Math.floor(random() * 1e6)}}`
    return {
      timestamp: 1_700_000_000_000 + i * 3,
      key: Buffer.from(`customer-${Math.floor(random() * 1e6)}`),
      value: Buffer.from(text.slice(0, valueBytes)),
      headers: Array.from({ length: headers }, (_header, h) => ({ name: `ce_header${h}`, value: Buffer.from(`value-${i}`) })),
    }
  })
}

function forKafkajs({ timestamp, key, value, headers }: Input): KafkajsInput {
  return { timestamp, key, value, headers: Object.fromEntries(headers.map((header) => [header.name, header.value as Buffer])) }
}

/** Records a second of each case: the median of rounds that take turns, so that a slow moment of the machine hits all alike. */
async function time(cases: readonly Case[]): Promise<number[]> {
  const rounds = cases.map((): number[] => [])
  for (let round = -2; round < ROUNDS; round++) {
    for (const [i, each] of cases.entries()) {
      const start = performance.now()
      let runs = 0
      let tookMs = 0
      do {
        await each.run()
        runs++
        tookMs = performance.now() - start
      } while (tookMs < ROUND_MS)
      // The first two rounds warm the code up.
      if (round >= 0) rounds[i]?.push((runs * each.records * 1000) / tookMs)
    }
  }
  return rounds.map((each) => each.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] as number)
}

if (import.meta.main) printTable('record batch', await recordBatchBench())
