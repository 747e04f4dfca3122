/**
 * kafkajs's own record batch codec, behind the paths that it does not publish: what our bytes are compared with, in tests and benchmarks.
 * Its snappy, lz4 and zstd, which it leaves to its users, are those of `nativeCodecs`.
 */
import { createRequire } from 'node:module'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { COMPRESSIONS, type Compression } from '../../../src/ports/record-batch/index.ts'

export interface KafkajsInput {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** An array for a name that repeats. */
  readonly headers: Readonly<Record<string, Buffer | Buffer[]>>
}

export interface KafkajsRecord {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | null | (Buffer | null)[]>>
}

export interface KafkajsStamp {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly transactional: boolean
}

const require = createRequire(import.meta.url)
const Decoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => object
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (decoder: object) => Promise<{ records: KafkajsRecord[] }>
const batchModule = require('kafkajs/src/protocol/recordBatch/v0') as { RecordBatch: (batch: object) => Promise<{ buffer: Buffer }> }
const encodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0') as (record: object) => object
const { CompressionCodecs } = require('kafkajs') as { CompressionCodecs: Record<number, () => object> }

for (const compression of ['snappy', 'lz4', 'zstd'] as const) {
  CompressionCodecs[COMPRESSIONS.indexOf(compression)] = () => ({
    compress: async (encoder: { buffer: Buffer }) => nativeCodecs.compress(compression, encoder.buffer),
    decompress: async (bytes: Buffer) => nativeCodecs.decompress(compression, bytes, 2 ** 30),
  })
}

/** The records of the one batch in `bytes`. */
export async function kafkajsDecode(bytes: Buffer): Promise<readonly KafkajsRecord[]> {
  return (await decodeBatch(new Decoder(bytes))).records
}

/** A batch as kafkajs's producer sends it, with the leader epoch that Kafka's own producer writes. */
export async function kafkajsEncode(
  records: readonly KafkajsInput[],
  stamp: KafkajsStamp,
  compression: Compression = 'none',
): Promise<Buffer> {
  const firstTimestamp = records[0]?.timestamp ?? 0
  const { producerId, producerEpoch, baseSequence, transactional } = stamp
  const batch = await batchModule.RecordBatch({
    compression: COMPRESSIONS.indexOf(compression),
    firstTimestamp,
    maxTimestamp: records.reduce((max, { timestamp }) => Math.max(max, timestamp), firstTimestamp),
    partitionLeaderEpoch: -1,
    lastOffsetDelta: records.length - 1,
    producerId,
    producerEpoch,
    firstSequence: baseSequence,
    transactional,
    records: records.map(({ timestamp, key, value, headers }, offsetDelta) =>
      encodeRecord({ offsetDelta, timestampDelta: timestamp - firstTimestamp, key, value, headers }),
    ),
  })
  return batch.buffer
}
