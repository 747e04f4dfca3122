/**
 * Valid batches, changed at random, must be read or refused: with a typed error, without a crash or a hang, and without more memory than
 * the limits allow. Runs are the same each time; TIDEMARK_FUZZ says how many mutations there are, TIDEMARK_FUZZ_SEED where they begin.
 */
import { expect, test } from 'vitest'
import { TidemarkError } from '../../../src/base/errors.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  COMPRESSIONS,
  type Codecs,
  CommittedFilter,
  controlBatch,
  DEFAULT_LIMITS,
  type Limits,
  type RecordBatch,
  readBatches,
} from '../../../src/ports/record-batch/index.ts'
import { compacted, encode, type Sample, sealed, TIME } from './sample.ts'

const MUTATIONS = Number(process.env.TIDEMARK_FUZZ ?? 5_000)
const SEED = Number(process.env.TIDEMARK_FUZZ_SEED ?? 1)
const LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  batchBytesMax: 2 ** 20,
  recordsMax: 5_000,
  decompressedBytesMax: 2 ** 18,
  recordBytesMax: 2 ** 16,
}
/** Columns of all records, the content and one piece more of a decoder that had to take it in pieces. */
const MEMORY_MAX = LIMITS.recordsMax * 44 + 3 * LIMITS.decompressedBytesMax

/** mulberry32, by Tommy Ettinger (public domain): small, and the same everywhere. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** Batches of every shape and compression, to begin from. */
function seeds(): Buffer[] {
  const small: Sample[] = Array.from({ length: 12 }, (_, i) => ({
    timestamp: TIME + i * 700,
    key: i % 4 === 0 ? null : Buffer.from(`key-${i}`),
    value: i % 5 === 0 ? null : Buffer.alloc(i * 9, `value ${i} `),
    headers: Array.from({ length: i % 4 }, (_header, h) => ({ name: `header-${h}`, value: h === 1 ? null : Buffer.alloc(h * 40) })),
  }))
  const bomb: Sample[] = [{ timestamp: TIME, key: null, value: Buffer.alloc(2 ** 19), headers: [] }]
  const batches = COMPRESSIONS.flatMap((compression) => [
    encode(small, { compression }),
    encode(small.slice(0, 1), { compression }),
    encode(bomb, { compression }),
    // Once more for each, because "repaired" packs the changed records of some of these.
    encode(small),
  ])
  return [...batches, controlBatch('abort', { producerId: 5, producerEpoch: 0, timestamp: TIME, coordinatorEpoch: 1 }, nativeCodecs)]
}

const INTERESTING = [0, 1, 2, 3, 0x7f, 0x80, 0xff, 0xfe, 0x0f]

function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(original)
  for (let changes = 1 + random(4); changes > 0; changes--) {
    // Half of the changes hit the header and the first record, where the lengths and counts are.
    const at = random(2) === 0 ? random(Math.min(bytes.length, 90)) : random(bytes.length)
    switch (random(6)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8))
        break
      case 1:
        bytes[at] = INTERESTING[random(INTERESTING.length)] as number
        break
      case 2: // a number of four bytes, where there may be one
        bytes.writeUInt32BE(([0, 1, 0x7fffffff, 0xffffffff, 0x80000000] as const)[random(5)] ?? 0, Math.min(at, bytes.length - 4))
        break
      case 3: // a long varint over what was there
        bytes.set(Buffer.from('ffffffff0f', 'hex').subarray(random(5)), Math.min(at, bytes.length - 5))
        break
      case 4: // a piece of it, again or instead
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          bytes.subarray(random(bytes.length)).subarray(0, random(40)),
          bytes.subarray(at + random(2) * random(40)),
        ])
        break
      default:
        bytes = Buffer.from(bytes.subarray(0, 17 + random(bytes.length - 16)))
    }
    if (bytes.length < 64) break
  }
  return bytes
}

/** Repairs what would stop the reader before its records, in most cases; packs the records, in some. */
function repaired(bytes: Buffer, random: (below: number) => number): Buffer {
  if (bytes.length < 61 || random(10) === 0) return bytes
  let whole = bytes
  if (random(3) === 0 && (bytes.readInt16BE(21) & 7) === 0) {
    const type = random(5)
    const records = nativeCodecs.compress(COMPRESSIONS[type] ?? 'none', bytes.subarray(61))
    whole = Buffer.concat([bytes.subarray(0, 61), records])
    whole.writeInt16BE(whole.readInt16BE(21) | type, 21)
  }
  whole[16] = 2
  if (random(8) !== 0) whole.writeInt32BE(whole.length - 12, 8)
  return sealed(whole)
}

/** Uses everything of a batch that was accepted, and checks what its columns promise. */
function readThrough(batch: RecordBatch): number {
  const { count, payload, offsets, timestamps, keyAt, keyEnd, valueAt, valueEnd, headersAt, headersEnd } = batch.columns
  let before = batch.baseOffset - 1
  for (let i = 0; i < count; i++) {
    const inOrder = (at: number, end: number): boolean => (at === -1 && end === -1) || (at >= 0 && at <= end && end <= payload.length)
    const whole =
      (offsets[i] as number) > before &&
      (offsets[i] as number) <= batch.lastOffset &&
      Number.isSafeInteger(timestamps[i]) &&
      inOrder(keyAt[i] as number, keyEnd[i] as number) &&
      inOrder(valueAt[i] as number, valueEnd[i] as number) &&
      inOrder(headersAt[i] as number, headersEnd[i] as number) &&
      batch.headers(i).length === batch.columns.headerCount[i]
    if (!whole) throw new Error(`record ${i} breaks the promise of its columns`)
    before = offsets[i] as number
  }
  void batch.controlType
  return count
}

test(`${MUTATIONS} damaged batches are read or refused, and cost no more memory than allowed`, {
  timeout: Math.max(60_000, MUTATIONS * 10),
}, () => {
  const random = generator(SEED)
  const originals = seeds()
  let decompressedMax = 0
  const codecs: Codecs = {
    ...nativeCodecs,
    decompress(type, bytes, bytesMax) {
      const content = nativeCodecs.decompress(type, bytes, bytesMax)
      decompressedMax = Math.max(decompressedMax, content.length)
      return content
    },
  }
  const outcomes: Record<string, number> = {}
  let memoryMax = 0
  for (let run = 0; run < MUTATIONS; run++) {
    const bytes = repaired(mutate(originals[random(originals.length)] as Buffer, random), random)
    const memory = process.memoryUsage().arrayBuffers
    let outcome: string
    try {
      const { batches } = readBatches(bytes, codecs, LIMITS)
      outcome = batches.length === 0 ? 'incomplete' : 'read'
      for (const batch of new CommittedFilter().filter(batches, [{ producerId: 5, firstOffset: 0 }])) {
        readThrough(batch)
        const copy = readBatches(
          compacted(batch, () => true),
          nativeCodecs,
        ).batches[0]
        if (copy?.columns.count !== batch.count) throw new Error('the copy has other records')
      }
    } catch (error) {
      if (!(error instanceof TidemarkError) || !error.code.startsWith('BATCH_')) {
        throw new Error(`mutation ${run} of seed ${SEED}: ${bytes.toString('hex')}`, { cause: error })
      }
      outcome = error.code
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    memoryMax = Math.max(memoryMax, process.memoryUsage().arrayBuffers - memory)
  }
  expect(decompressedMax).toBeLessThanOrEqual(LIMITS.decompressedBytesMax)
  // What was allocated for one batch and not yet collected; a collection in between only makes it less.
  expect(memoryMax).toBeLessThan(MEMORY_MAX)
  // Each end must be reached often, or the mutations have become useless.
  for (const end of ['read', 'incomplete', 'BATCH_CORRUPT', 'BATCH_LIMIT', 'BATCH_UNSUPPORTED']) {
    expect(outcomes[end] ?? 0, end).toBeGreaterThan(MUTATIONS / 200)
  }
  if (process.env.TIDEMARK_FUZZ !== undefined) console.log(outcomes, { memoryMax, decompressedMax })
})
