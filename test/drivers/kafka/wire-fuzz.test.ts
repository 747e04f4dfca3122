/**
 * Captured messages, changed at random, must be read or refused: with a typed error, without a crash or a hang, and with memory in
 * proportion to their size. Runs are the same each time; TIDEMARK_FUZZ says how many mutations there are, TIDEMARK_FUZZ_SEED where they
 * begin.
 */
import { expect, test } from 'vitest'
import { codeOf } from '../../../src/base/errors.ts'
import {
  createTopics,
  decodeAssignment,
  decodeRequest,
  decodeResponse,
  decodeSubscription,
  describeGroups,
  encodeAssignment,
  encodeResponse,
  encodeSubscription,
  NO_UUID,
} from '../../../src/drivers/kafka/wire/index.ts'
import { captures, UNKNOWN_VERSION } from './captures.ts'

const MUTATIONS = Number(process.env.TIDEMARK_FUZZ ?? 5_000)
const SEED = Number(process.env.TIDEMARK_FUZZ_SEED ?? 1)
/** What one mutation may allocate: the objects of small structs, and an error with its stack. */
const MEMORY_MAX = (bytes: number): number => 60 * bytes + 64 * 1024

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

interface Sample {
  readonly bytes: Buffer
  readonly read: (bytes: Buffer) => unknown
}

const topics = [{ topic: 'orders', partitions: [0, 1, 2] }]
const SAMPLES: readonly Sample[] = [
  ...captures.map(({ api, version, response }): Sample => {
    const spoken = version === UNKNOWN_VERSION ? api.versions[1] : version
    return { bytes: response.subarray(8), read: (bytes) => decodeResponse(api, spoken, bytes) }
  }),
  ...captures.map(({ api, request }): Sample => ({ bytes: request, read: (bytes) => decodeRequest({ ...api, versions: [0, 99] }, bytes) })),
  {
    bytes: encodeSubscription({ topics: ['orders'], userData: Buffer.from('u'), ownedPartitions: topics, generationId: 3, rackId: 'r' }),
    read: decodeSubscription,
  },
  { bytes: encodeAssignment({ topics, userData: Buffer.from('plan') }), read: decodeAssignment },
]

const LENGTHS = ['ffffffff0f', 'ffffffff07', '8080808008', 'ffff03', '8101', '00', '01', '7fffffff', '80000000', 'ffffffff', '7fff', 'ffff']

function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(original)
  for (let changes = 1 + random(3); changes > 0 && bytes.length > 0; changes--) {
    const at = random(bytes.length)
    switch (random(5)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8))
        break
      case 1: // a length or a count, where there may be one
        Buffer.from(LENGTHS[random(LENGTHS.length)] as string, 'hex').copy(bytes, at)
        break
      case 2:
        bytes = Buffer.from(bytes.subarray(0, at))
        break
      case 3: // bytes too many
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(LENGTHS[random(LENGTHS.length)] as string, 'hex'), bytes.subarray(at)])
        break
      default: // a piece of the same message somewhere else
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at + 1))])
    }
  }
  return bytes
}

/** What reading allocates, in bytes, unless a collection comes between. */
function memoryOf(bytes: Buffer, { read }: Pick<Sample, 'read'>): number {
  const before = process.memoryUsage().heapUsed
  try {
    read(bytes)
  } catch {
    // A refusal costs as well.
  }
  return process.memoryUsage().heapUsed - before
}

/** Bytes of texts and byte strings, and elements of lists, in what was read. */
function weight(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (Buffer.isBuffer(value)) return value.length
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + 1 + weight(each), 0)
  if (typeof value === 'object' && value !== null) return Object.values(value).reduce((sum: number, each) => sum + weight(each), 0)
  return 0
}

test(`${MUTATIONS} damaged messages are read or refused, with memory in proportion`, { timeout: Math.max(60_000, MUTATIONS * 5) }, () => {
  const random = generator(SEED)
  const outcomes = { read: 0, refused: 0 }
  let memoryMost = 0
  for (let run = 0; run < MUTATIONS; run++) {
    const sample = SAMPLES[random(SAMPLES.length)] as Sample
    const bytes = mutate(sample.bytes, random)
    const before = process.memoryUsage().heapUsed
    try {
      const value = sample.read(bytes)
      outcomes.read++
      // Text that is not UTF-8 takes up to three bytes for one.
      expect(weight(value)).toBeLessThanOrEqual(3 * bytes.length)
    } catch (error) {
      if (codeOf(error) !== 'WIRE_INVALID' && !unknownVersion(error)) {
        throw new Error(`mutation ${run} of seed ${SEED}: ${bytes.toString('hex')}`, { cause: error })
      }
      outcomes.refused++
    }
    // What was allocated and not yet collected; a collection in between only makes it less. The engine allocates for itself now and then,
    // but not each time: what a message costs, it costs again.
    let memory = process.memoryUsage().heapUsed - before
    for (let tries = 0; tries < 5 && memory > MEMORY_MAX(bytes.length); tries++) memory = Math.min(memory, memoryOf(bytes, sample))
    memoryMost = Math.max(memoryMost, memory)
    if (memory > MEMORY_MAX(bytes.length)) throw new Error(`mutation ${run} of seed ${SEED} took ${memory} bytes: ${bytes.toString('hex')}`)
  }
  // Each end must be reached often, or the mutations have become useless.
  expect(outcomes.read).toBeGreaterThan(MUTATIONS / 20)
  expect(outcomes.refused).toBeGreaterThan(MUTATIONS / 4)
  if (process.env.TIDEMARK_FUZZ !== undefined) console.log(outcomes, { memoryMost })
})

test('the longest lists of the smallest things take memory in proportion', () => {
  const nothing = Buffer.alloc(1)
  const member = { memberId: '', instanceId: null, clientId: '', clientHost: '', metadata: nothing, assignment: nothing }
  const group = { error: 0, groupId: '', state: '', protocolType: '', protocolName: '', authorizedOperations: 0 }
  const groups = [{ ...group, members: Array.from({ length: 100_000 }, () => member) }]
  const config = { name: '', value: null, readOnly: false, source: 0, sensitive: false }
  const topic = { name: '', topicId: NO_UUID, error: 0, errorMessage: null, partitions: 0, replicationFactor: 0, configError: undefined }
  const created = [{ ...topic, configs: Array.from({ length: 100_000 }, () => config) }]
  const described = encodeResponse(describeGroups, 5, 1, { throttleMs: 0, groups }).subarray(8)
  const made = encodeResponse(createTopics, 7, 1, { throttleMs: 0, topics: created }).subarray(8)
  // Measured without a collection in between: 36 and 19 times the bytes.
  const readGroups = (bytes: Buffer): unknown => decodeResponse(describeGroups, 5, bytes)
  expect(memoryOf(described, { read: readGroups }) / described.length).toBeLessThan(60)
  const readTopics = (bytes: Buffer): unknown => decodeResponse(createTopics, 7, bytes)
  expect(memoryOf(made, { read: readTopics }) / made.length).toBeLessThan(60)
})

/** The header of a request says which layout to read it by, and only a mistake of the caller asks for one that we do not have. */
function unknownVersion(error: unknown): boolean {
  return error instanceof TypeError && error.message.includes('is not spoken here')
}
