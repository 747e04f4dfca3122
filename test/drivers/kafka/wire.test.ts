/**
 * The wire layer against what a real broker and Kafka's own Java clients wrote: byte for byte in both directions, field by field against
 * Kafka's own layouts, and the meaning of answers that a driver decides by.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { codeOf } from '../../../src/base/errors.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  APIS,
  type Api,
  apiVersions,
  correlationIdOf,
  decodeAssignment,
  decodeRequest,
  decodeResponse,
  decodeSubscription,
  encodeAssignment,
  encodeRequest,
  encodeRequestParts,
  encodeResponse,
  encodeSubscription,
  endTxn,
  fetch,
  initProducerId,
  joinGroup,
  KAFKA_ERROR,
  KAFKA_ERRORS,
  kafkaError,
  listTransactions,
  metadata,
  newestVersion,
  offsetFetch,
  produce,
  syncGroup,
  WireReader,
  WireWriter,
} from '../../../src/drivers/kafka/wire/index.ts'
import { readBatches } from '../../../src/ports/record-batch/index.ts'
import { type Captured, captured, captures, UNKNOWN_VERSION } from './captures.ts'

const readJson = (file: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8'))
const spokenVersion = ({ api, version }: Captured): number => (version === UNKNOWN_VERSION ? api.versions[1] : version)
/** What the broker answered, as the driver sees it. */
function answer<Response>(api: Api<unknown, Response>, name: string, broker?: string): Response {
  const one = captured(api.name, name, broker)
  return decodeResponse(api, spokenVersion(one), one.response.subarray(8))
}
function first<T>(values: readonly T[]): T {
  if (values.length === 0) throw new Error('there is none')
  return values[0] as T
}

describe.each(APIS.map((api) => ({ name: api.name, api })))('$name', ({ api }) => {
  const own = captures.filter((each) => each.api === api)

  test('is captured in every version, from us and from an independent client', () => {
    const [oldest, newest] = api.versions
    for (let version = oldest; version <= newest; version++) expect(own.map((each) => each.version)).toContain(version)
    expect(own.some(({ client }) => client.startsWith('java'))).toBe(true)
    expect(own.some(({ client }) => client === 'tidemark')).toBe(true)
  })

  test('writes every captured request again byte for byte', () => {
    for (const one of own.filter(({ version }) => version !== UNKNOWN_VERSION)) {
      const { header, request } = decodeRequest(api, one.request)
      expect(header).toMatchObject({ key: api.key, version: one.version })
      const again = encodeRequest(api, header.version, header.correlationId, header.clientId, request)
      expect(again.toString('hex'), one.name).toBe(one.request.toString('hex'))
      const parts = encodeRequestParts(api, header.version, header.correlationId, header.clientId, request)
      expect(Buffer.concat(parts).equals(one.request), one.name).toBe(true)
    }
  })

  test('writes every captured answer again byte for byte', () => {
    for (const one of own) {
      const version = spokenVersion(one)
      const response = decodeResponse(api, version, one.response.subarray(8))
      const again = encodeResponse(api, version, correlationIdOf(one.response), response)
      expect(again.toString('hex'), one.name).toBe(one.response.toString('hex'))
    }
  })

  test('refuses every captured answer that ends too early, or too late', () => {
    for (const one of own) {
      const body = one.response.subarray(8)
      const step = Math.max(1, Math.floor(body.length / 100))
      for (let length = 0; length < body.length; length += step) {
        expect(
          codeIn(() => decodeResponse(api, spokenVersion(one), body.subarray(0, length))),
          `${one.name} at ${length}`,
        ).toBe('WIRE_INVALID')
      }
      expect(codeIn(() => decodeResponse(api, spokenVersion(one), Buffer.concat([body, Buffer.from([0])])))).toBe('WIRE_INVALID')
    }
  })

  test('refuses a version that it does not speak', () => {
    const writer = new WireWriter()
    expect(() => api.encode({}, api.versions[1] + 1, writer)).toThrow(TypeError)
    expect(() => api.encode({}, api.versions[0] - 1, writer)).toThrow(TypeError)
  })
})

function codeIn(work: () => unknown): string | undefined {
  try {
    work()
  } catch (error) {
    return codeOf(error) ?? String(error)
  }
  return undefined
}

describe('names', () => {
  /** Our word for Kafka's, wherever they differ. None of these stands beside another that it could be mistaken for. */
  const OURS: Readonly<Record<string, readonly string[]>> = {
    throttleTimeMs: ['throttleMs'],
    errorCode: ['error'],
    partitionErrorCode: ['error'],
    topicConfigErrorCode: ['configError'],
    partitionIndex: ['partition'],
    partitionIndexes: ['partitions'],
    index: ['partition'],
    name: ['topic'],
    topicData: ['topics'],
    partitionData: ['partitions'],
    responses: ['topics', 'resources'],
    partitionResponses: ['partitions'],
    batchIndexErrorMessage: ['message'],
    isInternal: ['internal'],
    replicaNodes: ['replicas'],
    isrNodes: ['inSyncReplicas'],
    topicAuthorizedOperations: ['authorizedOperations'],
    coordinatorKeys: ['keys'],
    groupInstanceId: ['instanceId'],
    generationIdOrMemberEpoch: ['generationId'],
    committedMetadata: ['metadata'],
    transactionState: ['state'],
    transactionStates: ['transactions'],
    durationFilter: ['durationFilterMs'],
    currentTxnStartOffset: ['currentTransactionStartOffset'],
    numPartitions: ['partitions'],
    configSource: ['source'],
    isSensitive: ['sensitive'],
    configType: ['type'],
    configOperation: ['operation'],
    forgottenTopicsData: ['forgottenTopics'],
    resultsByTopicV3AndBelow: ['topics'],
    resultsByPartition: ['partitions'],
    groupState: ['state'],
    protocolData: ['protocolName'],
    memberMetadata: ['metadata'],
    memberAssignment: ['assignment'],
  }
  /** Structs that no capture shows: brokers tell followers of snapshots only, and who leads from version 16 on. */
  const NEVER_SEEN = ['currentLeader', 'snapshotId'].map((name) => `Fetch response responses.partitions.${name}`)

  interface Layout {
    readonly api: string
    readonly version: number
    readonly request: string
    readonly response: string
  }
  const layouts = readJson('kafka-layouts.json') as Layout[]
  const unseen: string[] = []

  /** Compares the fields of structs with Kafka's below `path`, and goes into those that any of the values shows. */
  function compare(values: readonly object[], layout: readonly string[], path: string, what: string): void {
    const below = layout.filter((each) => each.startsWith(path) && !each.slice(path.length).includes('.'))
    const kafkas = below.map((each) =>
      each
        .slice(path.length)
        .replace(/#\d+$/, '')
        .replace(/^v3AndBelow(.)/, (_, letter: string) => letter.toLowerCase()),
    )
    const ours = Object.keys(first(values))
    expect(ours.length, `${what} ${path}: ${ours.join()} against ${kafkas.join()}`).toBe(kafkas.length)
    for (const [i, kafka] of kafkas.entries()) {
      const name = ours[i] as string
      expect([kafka, ...(OURS[kafka] ?? [])], `${what} ${path}${kafka}`).toContain(name)
      const inner = `${(below[i] as string).replace(/#\d+$/, '')}.`
      if (!layout.some((each) => each.startsWith(inner))) continue
      const children = values.flatMap((value) => (value as Record<string, unknown>)[name] ?? []) as object[]
      if (children.length === 0) unseen.push(`${what} ${inner.slice(0, -1)}`)
      else compare(children, layout, inner, what)
    }
  }

  test.each(APIS.map((api) => ({ name: api.name, api })))("$name has Kafka's own fields in Kafka's own order", ({ api }) => {
    const layout = layouts.find((each) => each.api === api.name && each.version === api.versions[1]) as Layout
    const own = captures.filter((each) => each.api === api && each.version === api.versions[1])
    compare(
      own.map((one) => decodeRequest(api, one.request).request as object),
      api === (fetch as unknown) ? layout.request.split(' ').filter((path) => path !== 'clusterId#0') : layout.request.split(' '),
      '',
      `${api.name} request`,
    )
    compare(
      own.map((one) => decodeResponse(api, one.version, one.response.subarray(8)) as object),
      layout.response.split(' '),
      '',
      `${api.name} response`,
    )
  })

  test('are compared for every struct but those that are never sent', () => {
    expect(unseen).toEqual(NEVER_SEEN)
  })
})

describe('errors', () => {
  test("have Kafka's own numbers, names and judgement", () => {
    const kafkas = readJson('kafka-errors.json')
    expect(KAFKA_ERRORS.map(({ code, name, retriable }) => ({ code, name, retriable }))).toEqual(kafkas)
  })

  test('of every number and every name lead to each other', () => {
    for (const { code, name } of KAFKA_ERRORS) {
      expect(kafkaError(code).name).toBe(name)
      expect(KAFKA_ERROR[name as keyof typeof KAFKA_ERROR]).toBe(code)
    }
  })

  test('have sentences that go behind a colon', () => {
    for (const { sentence } of KAFKA_ERRORS) expect(sentence).toMatch(/^[^A-Z].*[^.]$|^SASL/)
    expect(new Set(KAFKA_ERRORS.map(({ sentence }) => sentence)).size).toBe(KAFKA_ERRORS.length)
  })

  test('newer than the table are named and not retried', () => {
    expect(kafkaError(4711)).toMatchObject({ code: 4711, name: 'UNKNOWN_ERROR_4711', retriable: false })
  })
})

describe('meaning', () => {
  test('a cluster says that it has transaction protocol 2', () => {
    const features = answer(apiVersions, 'version 4').finalizedFeatures
    expect(features).toContainEqual({ name: 'transaction.version', maxVersionLevel: 2, minVersionLevel: 2 })
  })

  test('an older cluster has no transaction protocol 2, and its brokers no version of Produce that needs it', () => {
    const { finalizedFeatures, apiKeys } = answer(apiVersions, 'version 4', '3.9.2')
    expect(finalizedFeatures?.map(({ name }) => name)).not.toContain('transaction.version')
    const range = first(apiKeys.filter(({ apiKey }) => apiKey === produce.key))
    expect(newestVersion(produce, range)).toBe(11)
  })

  test('a broker that does not know our version of ApiVersions still says which it knows', () => {
    const refusal = answer(apiVersions, 'a version that the broker does not know')
    expect(refusal.error).toBe(KAFKA_ERROR.UNSUPPORTED_VERSION)
    expect(refusal.apiKeys).toEqual([{ apiKey: apiVersions.key, minVersion: 0, maxVersion: 4 }])
    expect(newestVersion(apiVersions, first(refusal.apiKeys))).toBe(4)
  })

  test('a broker that does not lead says who does, and where', () => {
    const response = answer(produce, 'at a broker that does not lead')
    const { error, currentLeader } = first(first(response.topics).partitions)
    expect(error).toBe(KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER)
    expect(currentLeader).toEqual({ leaderId: 1, leaderEpoch: 0 })
    expect(response.nodeEndpoints).toMatchObject([{ nodeId: 1, host: '127.0.0.1' }])
  })

  test('a record that is refused is named by its place in the batch', () => {
    const { error, recordErrors } = first(first(answer(produce, 'without keys to a compacted topic').topics).partitions)
    expect(error).toBe(KAFKA_ERROR.INVALID_RECORD)
    expect(recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([0, 1])
  })

  test('fetched records are a view of the answer, and hold what was produced', () => {
    const one = captured('Fetch', 'committed, with an aborted transaction')
    const { abortedTransactions, records, highWatermark, lastStableOffset } = first(
      first(decodeResponse(fetch, 12, one.response.subarray(8)).topics).partitions,
    )
    expect(records?.buffer).toBe(one.response.buffer)
    const { batches } = readBatches(records as Buffer, nativeCodecs)
    const aborted = batches.filter(({ controlType }) => controlType === 'abort')
    expect(abortedTransactions?.map(({ producerId }) => producerId)).toEqual(
      expect.arrayContaining(aborted.map(({ producerId }) => producerId)),
    )
    expect(abortedTransactions?.[0]?.firstOffset).toBe(0)
    expect(batches[0]?.value(1)?.toString()).toBe('value 1')
    expect(lastStableOffset).toBe(highWatermark)
  })

  test('read uncommitted, nothing is said of aborted transactions', () => {
    expect(first(first(answer(fetch, 'uncommitted').topics).partitions).abortedTransactions).toBeNull()
  })

  test('a log that was truncated below the position says where', () => {
    // Two records, and the marker of a transaction that had named the partition.
    const { error, divergingEpoch } = first(first(answer(fetch, 'an epoch that ended before the offset').topics).partitions)
    expect({ error, divergingEpoch }).toEqual({ error: 0, divergingEpoch: { epoch: 0, endOffset: 3 } })
  })

  test('a position that a transaction is about to change is unstable, and there is none yet', () => {
    const group = first(answer(offsetFetch, 'while a transaction is about to change one').groups)
    const { error, committedOffset } = first(first(group.topics).partitions)
    expect({ error, committedOffset }).toEqual({ error: KAFKA_ERROR.UNSTABLE_OFFSET_COMMIT, committedOffset: -1 })
  })

  test('the end of a transaction gives the next epoch from version 5 on, and none before', () => {
    const ended = answer(endTxn, 'abort, version 5')
    const begun = answer(initProducerId, 'again, which fences the first')
    expect(ended).toMatchObject({ error: 0, producerId: begun.producerId, producerEpoch: begun.producerEpoch + 1 })
    expect(answer(endTxn, 'commit, version 3')).toMatchObject({ error: 0, producerId: -1, producerEpoch: -1 })
  })

  test('a topic that does not exist has an error beside those that do', () => {
    const { topics } = answer(metadata, 'by name, one missing')
    const errors = Object.fromEntries(topics.map(({ name, error }) => [name?.replace(/-[^-]*$/, ''), error]))
    expect(errors).toEqual({ captures: 0, 'captures-compact': 0, missing: KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION })
  })

  test('user data of a member comes to the leader, and the plan back to the member', () => {
    const { members, leader } = answer(joinGroup, 'the leader again, with two members')
    const told = members.map(({ memberId, metadata }) => [
      memberId === leader,
      decodeSubscription(metadata).userData?.toString() === leader,
    ])
    expect(told).toEqual(
      expect.arrayContaining([
        [true, true],
        [false, false],
      ]),
    )
    const { topics, userData } = decodeAssignment(answer(syncGroup, 'by a follower').assignment)
    expect({ partitions: topics.length, userData: userData?.toString() }).toEqual({ partitions: 1, userData: 'plan' })
  })
})

describe('consumer protocol', () => {
  const java = captures.filter(({ client }) => client.startsWith('java'))

  test("what Kafka's own consumer writes is written again byte for byte", () => {
    const subscriptions = java.flatMap((one) =>
      one.api.key === joinGroup.key ? decodeRequest(joinGroup, one.request).request.protocols.map(({ metadata }) => metadata) : [],
    )
    const assignments = java.flatMap((one) =>
      one.api.key === syncGroup.key ? decodeRequest(syncGroup, one.request).request.assignments.map(({ assignment }) => assignment) : [],
    )
    expect(subscriptions.length).toBeGreaterThan(2)
    expect(assignments.length).toBeGreaterThan(2)
    for (const bytes of subscriptions) expect(encodeSubscription(decodeSubscription(bytes)).equals(bytes)).toBe(true)
    for (const bytes of assignments) expect(encodeAssignment(decodeAssignment(bytes)).equals(bytes)).toBe(true)
  })

  test('a subscription of the first version has nothing of the later ones', () => {
    const bytes = Buffer.from('0000000000010001610000000178', 'hex')
    expect(decodeSubscription(bytes)).toEqual({
      topics: ['a'],
      userData: Buffer.from('x'),
      ownedPartitions: [],
      generationId: -1,
      rackId: null,
    })
  })

  test('what a later version adds at the end is left alone', () => {
    const bytes = encodeSubscription({ topics: ['a'], userData: null, ownedPartitions: [], generationId: 3, rackId: 'r' })
    bytes.writeInt16BE(9, 0)
    expect(decodeSubscription(Buffer.concat([bytes, Buffer.from([1, 2, 3])]))).toMatchObject({ generationId: 3, rackId: 'r' })
  })

  test('no bytes are no partitions, and bytes that are none are refused', () => {
    expect(decodeAssignment(Buffer.alloc(0))).toEqual({ topics: [], userData: null })
    expect(codeIn(() => decodeAssignment(Buffer.from('ff', 'hex')))).toBe('WIRE_INVALID')
    expect(codeIn(() => decodeSubscription(Buffer.from('ffff00000000', 'hex')))).toBe('WIRE_INVALID')
    expect(codeIn(() => decodeSubscription(Buffer.from('00007fffffff', 'hex')))).toBe('WIRE_INVALID')
  })
})

describe('requests', () => {
  const records = Buffer.alloc(100_000, 'r')
  const request = { transactionalId: 'tx', acks: -1, timeoutMs: 1000, topics: [{ topic: 't', partitions: [{ partition: 0, records }] }] }

  test('refer to large record sets instead of copying them', () => {
    const parts = encodeRequestParts(produce, 12, 1, 'tidemark', request)
    expect(
      parts.some(
        ({ buffer, byteOffset, length }) => buffer === records.buffer && byteOffset === records.byteOffset && length === records.length,
      ),
    ).toBe(true)
    expect(parts.length).toBeLessThanOrEqual(3)
    expect(Buffer.concat(parts).equals(encodeRequest(produce, 12, 1, 'tidemark', request))).toBe(true)
  })

  test('of many fields grow as they need', () => {
    const topics = Array.from({ length: 3000 }, (_, i) => ({ name: `topic-${i}-${'ü'.repeat(i % 50)}` }))
    const asked = { topics, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false }
    const frame = encodeRequest(metadata, 12, 77, null, asked)
    expect(frame.readInt32BE(0)).toBe(frame.length - 4)
    const { header, request: read } = decodeRequest(metadata, frame)
    expect(header).toEqual({ key: 3, version: 12, correlationId: 77, clientId: null })
    expect(read.topics?.map(({ name }) => name)).toEqual(topics.map(({ name }) => name))
  })

  test('that say more than their version can are refused, and so are values that no field holds', () => {
    const ask = { stateFilters: [], producerIdFilters: [], durationFilterMs: -1, transactionalIdPattern: 'app-.*' }
    expect(() => encodeRequest(listTransactions, 1, 1, 'c', ask)).toThrow(TypeError)
    expect(encodeRequest(listTransactions, 1, 1, 'c', { ...ask, transactionalIdPattern: null }).length).toBeGreaterThan(0)
    for (const bad of [2 ** 31, -(2 ** 31) - 1, 1.5, Number.NaN]) {
      expect(() => encodeRequest(produce, 12, 1, 'c', { ...request, timeoutMs: bad }), `${bad}`).toThrow(TypeError)
    }
    expect(() =>
      encodeRequest(metadata, 12, 1, 'c', {
        topics: [{ topicId: 'short', name: null }],
        allowAutoTopicCreation: false,
        includeTopicAuthorizedOperations: false,
      }),
    ).toThrow(TypeError)
    expect(() =>
      encodeRequest(metadata, 12, 1, 'c'.repeat(40_000), {
        topics: [],
        allowAutoTopicCreation: false,
        includeTopicAuthorizedOperations: false,
      }),
    ).toThrow(TypeError)
  })
})

describe('primitive types', () => {
  const written = (write: (into: WireWriter) => void, flexible = true): Buffer => {
    const writer = new WireWriter(1)
    writer.flexible = flexible
    write(writer)
    return writer.bytes()
  }
  const refused = (hex: string, read: (from: WireReader) => unknown, flexible = true): string | undefined => {
    const reader = new WireReader(Buffer.from(hex, 'hex'))
    reader.flexible = flexible
    return codeIn(() => read(reader))
  }

  test('64-bit integers are exact or refused', () => {
    for (const value of [0, -1, 1, 2 ** 32, -(2 ** 32), 2 ** 40 + 7, -(2 ** 40) - 7, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      const bytes = written((into) => into.int64(value))
      expect(bytes.readBigInt64BE(0)).toBe(BigInt(value))
      expect(new WireReader(bytes).int64()).toBe(value)
    }
    expect(refused('0020000000000000', (from) => from.int64())).toBe('WIRE_INVALID')
    expect(refused('7fffffffffffffff', (from) => from.int64())).toBe('WIRE_INVALID')
    expect(refused('8000000000000000', (from) => from.int64())).toBe('WIRE_INVALID')
    expect(() => written((into) => into.int64(2 ** 53))).toThrow(TypeError)
  })

  test('lengths are exact up to 32 bits, and refused beyond', () => {
    for (const value of [0, 1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(new WireReader(written((into) => into.uvarint(value))).uvarint()).toBe(value)
    }
    expect(refused('ffffffff7f', (from) => from.uvarint())).toBe('WIRE_INVALID')
    expect(refused('808080808000', (from) => from.uvarint())).toBe('WIRE_INVALID')
    expect(refused('80', (from) => from.uvarint())).toBe('WIRE_INVALID')
  })

  test('counts and lengths that the bytes left cannot hold are refused before anything is made', () => {
    expect(refused('ffffffff0f00', (from) => from.count(1))).toBe('WIRE_INVALID')
    expect(refused('7fffffff00', (from) => from.count(1), false)).toBe('WIRE_INVALID')
    expect(refused('fffffffe', (from) => from.count(1), false)).toBe('WIRE_INVALID')
    expect(refused('03000000', (from) => from.count(4))).toBe('WIRE_INVALID')
    expect(refused('ffffffff0f00', (from) => from.string())).toBe('WIRE_INVALID')
    expect(refused('fffe', (from) => from.nullableString(), false)).toBe('WIRE_INVALID')
    expect(refused('80000000', (from) => from.nullableBytes(), false)).toBe('WIRE_INVALID')
    expect(refused('00', (from) => from.string())).toBe('WIRE_INVALID')
    expect(refused('00', (from) => from.nonNullBytes())).toBe('WIRE_INVALID')
  })

  test('strings, bytes and null come back in both forms', () => {
    for (const flexible of [true, false]) {
      for (const value of [null, '', 'a', 'ä'.repeat(300)]) {
        const reader = new WireReader(written((into) => into.nullableString(value), flexible))
        reader.flexible = flexible
        expect(reader.nullableString()).toBe(value)
        expect(reader.left).toBe(0)
      }
      for (const value of [null, Buffer.alloc(0), Buffer.alloc(5000, 7)]) {
        const reader = new WireReader(written((into) => into.nullableBytes(value), flexible))
        reader.flexible = flexible
        expect(reader.nullableBytes()).toEqual(value)
      }
    }
  })

  test('tagged fields that nobody knows are passed over and counted', () => {
    const bytes = Buffer.from('00000000 0000 02 05 01 ff 07 02 abcd'.replaceAll(' ', ''), 'hex')
    const reader = new WireReader(bytes)
    const heartbeat = APIS.find(({ name }) => name === 'Heartbeat')
    expect(heartbeat?.decode(reader, 4)).toEqual({ throttleMs: 0, error: 0 })
    expect({ skipped: reader.skippedTags, left: reader.left }).toEqual({ skipped: 2, left: 0 })
  })

  test('a tagged field that is shorter than its size says is refused', () => {
    const { response } = captured('Produce', 'at a broker that does not lead')
    const body = response.toString('hex', 8)
    const currentLeader = '010009000000010000000000'
    expect(body).toContain(currentLeader)
    const longer = body.replace(currentLeader, '01000a000000010000000000ff')
    expect(() => decodeResponse(produce, 12, Buffer.from(longer, 'hex'))).toThrow(
      expect.objectContaining({ code: 'WIRE_INVALID', detail: expect.stringContaining('1 of its 10 bytes are left over') }),
    )
  })

  test('a refusal names the message, the field and the place', () => {
    const { response } = captured('Fetch', 'uncommitted')
    let refusal: unknown
    try {
      decodeResponse(fetch, 12, response.subarray(8, 40))
    } catch (error) {
      refusal = error
    }
    expect(refusal).toMatchObject({ code: 'WIRE_INVALID', message: 'an answer of Fetch 12 cannot be read' })
    expect((refusal as { detail: string }).detail).toMatch(/^Its field "\w+", byte \d+ of 32: /)
  })
})
