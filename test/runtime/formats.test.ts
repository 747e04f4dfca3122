/**
 * Bytes and names that data lies under, written out: a change here is a change of format, and needs a version and a migration.
 * Hashes at the ends of rows are MurmurHash3-like 64-bit hashes of key and row; digests and derived ids are SHA-256/128, and were computed
 * with another program (`printf 'cause/step/3' | sha256sum`).
 */
import { describe, expect, test } from 'vitest'
import { compound, type RowFormat, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { ByteWriter } from '../../src/base/bytes.ts'
import { derivedId, HEADER, originText, putTime, sequenceText, TIME_BYTES } from '../../src/contract/envelope.ts'
import { keyCodec } from '../../src/contract/key.ts'
import { fingerprintOf } from '../../src/operators/dedupe.ts'
import { changelogTopic, deadTopic, decisionsTopic, groupOf, inboxTopic, rebuildGroup, taskName, writerId } from '../../src/plan/naming.ts'
import { encodeLive, encodeMember } from '../../src/runtime/assignment.ts'
import { DEAD_HEADER } from '../../src/runtime/dead-letter.ts'
import { envelopeBytes } from '../../src/runtime/envelope.ts'
import { lastRecord } from '../../src/runtime/lineage.ts'
import { encodeCheckpoint, encodeMeta } from '../../src/runtime/meta.ts'
import { parkedFormat } from '../../src/runtime/parking.ts'
import { CHK_KEY, RowWriter, TM_KEY } from '../../src/runtime/rows.ts'
import { KeySlot, keyHash, Row } from '../../src/runtime/slots.ts'
import { digestOf, Sums, stateHash } from '../../src/runtime/sums.ts'
import { TimerQueue } from '../../src/runtime/timers.ts'
import { Item, item } from '../fixtures/plain.ts'

function timeText(ms: number): string | undefined {
  const bytes = Buffer.alloc(TIME_BYTES)
  return putTime(bytes, 0, ms) ? bytes.toString() : undefined
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
/** Hex with spaces between the fields. */
const h = (fields: string): string => fields.replaceAll(' ', '')

test('names of topics, groups, writers and tasks', () => {
  expect([
    changelogTopic('retail', 'stock', 2),
    inboxTopic('retail', 'stock', 1),
    deadTopic('retail', 'orders-once', 1),
    decisionsTopic('retail'),
    groupOf('retail'),
    rebuildGroup('retail', 'stock', 3),
    writerId('retail', '0'),
    taskName('stock', 7),
  ]).toEqual([
    'retail-stock-g2-changelog',
    'retail-stock-g1-inbox',
    'retail-orders-once-g1-dead',
    'retail-decisions',
    'retail',
    'retail-stock-g3',
    'retail-worker/0',
    'stock/7',
  ])
})

test('names of headers', () => {
  expect(Object.values(HEADER)).toEqual([
    'ce_specversion',
    'ce_id',
    'ce_type',
    'ce_source',
    'ce_time',
    'ce_recordedtime',
    'ce_partitionkey',
    'ce_sequence',
    'ce_correlationid',
    'ce_causationid',
    'ce_contractversion',
    'tm_origin',
    'tm_kind',
  ])
  expect(Object.values(DEAD_HEADER)).toEqual([
    'tm_origin',
    'tm_step',
    'tm_code',
    'tm_reason',
    'tm_detail',
    'tm_attempts',
    'tm_stack',
    'tm_plan',
    'tm_contractversion',
    'tm_sequence',
    'tm_failedat',
    'tm_truncated',
    'tm_truncatedkey',
    'tm_unwritten',
    'tm_headers',
  ])
})

test('texts: sequence, time, origin, derived id, fingerprint of an id, keys', () => {
  expect(sequenceText(42)).toBe('0000000000000042')
  expect(timeText(1_291_191_960_000)).toBe('2010-12-01T08:26:00.000Z')
  expect(originText('orders.v1', 3, 12)).toBe('orders.v1/3@12')
  expect(derivedId('cause', 'step', 3)).toBe('b2a3662e2397b2953c320d70bc866488')
  expect(hex(fingerprintOf('00112233445566778899aabbccddeeff'))).toBe('00112233445566778899aabbccddeeff')
  expect(hex(fingerprintOf('00112233-4455-6677-8899-aabbccddeeff'))).toBe('00112233445566778899aabbccddeeff')
  expect(hex(fingerprintOf('order 1'))).toBe('f3d6f0d55b053fdeb0116c2eaffd74e9')
  const pair = keyCodec(compound('sku', 'region') as never)
  expect(pair.encode({ sku: 'a|b\\c', region: 'EU' }).toString()).toBe('a\\|b\\\\c|EU')
  expect(hex(keyCodec(text as never).encode('Ä'))).toBe('c384')
})

describe('a store', () => {
  const writer = new RowWriter()
  const bytesFormat: RowFormat = { write: (value, into) => void into.put(Buffer.from(value as string)), read: () => undefined }
  const key = Buffer.from(writer.key(2, Buffer.from('k'), '', false))
  const row = (fields: Partial<Row>, view = false): string => {
    const made = Object.assign(new Row(new KeySlot(Buffer.from('k'), keyHash(Buffer.from('k')), 1), 0, ''), fields)
    return hex(writer.encode(made, key, { kind: 'format', format: bytesFormat, view }))
  }

  test('keys: varint store, escaped key, 00 01, sub-key; the bucket of an expiring store before the key', () => {
    expect(hex(writer.key(2, Buffer.from('k'), '', false))).toBe(h('02 6b 0001'))
    expect(hex(writer.key(300, Buffer.from([0, 97]), '!p\u0007', false))).toBe(h('ac02 00ff61 0001 217007'))
    expect(hex(writer.key(1, Buffer.from('k'), '\u0080\u0000\u0000\u0005\u0001', true))).toBe(h('01 80000005 6b 0001 01'))
  })

  test('rows: format, flags, version, time, what flags announce, payload, hash', () => {
    expect(row({ exists: true, value: 'v', version: 0, at: 5 })).toBe(h('01 00 00 0a 76 e84868302fbbbe25'))
    expect(row({ exists: false, version: 300, at: -1 })).toBe(h('01 01 ac02 01 41444f2f0b1b777b'))
    const origin = { topic: 'in', partition: 3, offset: 300, contractVersion: 2, appliedAt: 6 }
    expect(row({ exists: true, value: 'v', version: 1, at: 1, markHigh: 1, markLow: -2, ...origin }, true)).toBe(
      h('01 06 01 02 00000001fffffffe 02696e 03 ac02 02 0c 76 0a59f57d250a8eb7'),
    )
  })

  test('timers: varint store, 00 "!t" or "!w", time from 2^52 on, key, 00 01, sub-key; a row without content', () => {
    const name = (kind: 'stream' | 'wall', at: number, of: number[], sub: string): string =>
      hex(Buffer.from(new TimerQueue(2, kind).nameOf(at, Buffer.from(of), sub), 'latin1'))
    expect(name('stream', 1_000, [0x6b], 's')).toBe(h('02 002174 00100000000003e8 6b 0001 73'))
    expect(name('wall', -1, [0], '')).toBe(h('02 002177 000fffffffffffff 00ff 0001'))
    expect(hex(writer.empty(Buffer.from('k')))).toBe(h('01000000 aca1abebf13abfe0'))
  })

  test('what the last commit said of its task', () => {
    expect([hex(TM_KEY), hex(CHK_KEY)]).toEqual(['00746d', '0063686b'])
    const meta = {
      generation: 1,
      positions: new Map([['in/0', 7]]),
      recorded: new Map<string, number>(),
      topicIds: new Map([['in', 'abc']]),
      schemas: [],
      stores: new Map(),
      heard: new Map(),
    }
    // generation, positions with the recorded time of each (-1 for none), schema ids, stores, ids of topics
    expect(hex(encodeMeta(meta))).toBe(h('01000000 01 01 04696e2f30 07 01 00 00 01 02696e 03616263 316488655ec75108'))
    // Then, where an inbox is read: its partition; for each topic on the way the partitions, with the position and the time that are through.
    const told = new Map([
      ['in/0', { position: 7, through: 4 }],
      ['in/1', { position: 300, through: undefined }],
      ['far/2 in/1', { position: 1, through: 0 }],
    ])
    const behind = encodeMeta({ ...meta, heard: new Map([['all/2', told]]) })
    expect(hex(behind.subarray(0, -8))).toBe(
      h(
        '01000000 01 01 04696e2f30 07 01 00 00 01 02696e 03616263 05616c6c2f32 02 02696e 02 00 07 08 01 ac02 01 086661722f3220696e 01 01 01 00',
      ),
    )
    const sums = new Sums()
    sums.row(1, 1, 2, 1)
    const full = encodeMeta({
      ...meta,
      generation: 2,
      recorded: new Map([['in/0', 9]]),
      schemas: [3, 300],
      stores: new Map([[2, { streamTime: 5, firstBucket: 0xffffffff, sums, held: undefined }]]),
    })
    const before = h('01000000 02 01 04696e2f30 07 12 02 03 ac02 01 02 010a ffffffff0f')
    expect(hex(full.subarray(0, before.length / 2))).toBe(before)
    // Sixteen ranges of seven words, the ids, and the hash.
    expect(full.length).toBe(before.length / 2 + 16 * 7 * 4 + 8 + 8)
    expect(hex(full.subarray(before.length / 2 + 28, before.length / 2 + 28 + 12))).toBe(h('00000001 00000001 00000002'))
    // Of a step that may hold facts: a flag, and behind the sums how many, of how many keys, and how many of these are parked.
    const holding = encodeMeta({
      ...meta,
      stores: new Map([[2, { streamTime: undefined, firstBucket: 0, sums: new Sums(), held: { facts: 300, keys: 4, parked: 1 } }]]),
    })
    const beforeSums = h('01000000 01 01 04696e2f30 07 01 00 01 02 020000')
    expect(hex(holding.subarray(0, beforeSums.length / 2))).toBe(beforeSums)
    expect(hex(holding.subarray(beforeSums.length / 2 + 16 * 7 * 4, -8))).toBe(h('ac02 04 01 01 02696e 03616263'))
  })

  test('how far the disk is', () => {
    const checkpoint = { app: 'a', stage: 's', changelogId: 'id', next: 300, syncedAt: 7, last: undefined }
    expect(hex(encodeCheckpoint(checkpoint))).toBe(h('01000000 0161 0173 026964 ac02 07 00 ac12794fa134f94d'))
    expect(hex(encodeCheckpoint({ ...checkpoint, last: { offset: 299, high: 1, low: -1 } }))).toBe(
      h('01000000 0161 0173 026964 ac02 07 ac02 00000001ffffffff d73b68baf3f924be'),
    )
    expect(lastRecord(5, Buffer.from('k'), Buffer.from('v'))).toEqual({ offset: 5, high: 642_038_870, low: 591_479_304 })
  })

  test('the state hash: SHA-256/128 of key, version and payload, added up', () => {
    const digest = digestOf(Buffer.from('k'), 1, Buffer.from('v'), 0, 1)
    const sums = new Sums()
    sums.digest(0, digest, 1)
    // printf '\x01k\x01v' | sha256sum
    expect(stateHash([sums])).toBe('3a0511d85eacbbdd36deb83b3e4a9e8a')
    sums.digest(9, digest, 1)
    expect(stateHash([sums])).toBe('740a23b0bd5977ba6dbd70767c953d14')
  })

  test('parked keys and held records', () => {
    const write = (value: unknown): string => {
      const to = new ByteWriter()
      parkedFormat.write(value, to)
      return hex(to.bytes())
    }
    expect(write({ code: 'C', reason: 'r', next: 3 })).toBe(h('00 03 0143 0172'))
    expect(write(Buffer.from('ab'))).toBe(h('01 6162'))
  })
})

test('what members of a group tell each other', () => {
  const owned = new Map([['s/0', { generation: 3, reached: 5 }]])
  const kept = new Map([['s/1', { generation: -1, reached: undefined }]])
  // Up to the names it is what the first version wrote and all versions read.
  expect(hex(encodeMember({ plan: 'p', writer: 'w', owned, kept }))).toBe(h('01 0170 0177 01 03732f30 02 06 0a 01 03732f31 01 01'))
  expect(hex(encodeLive('p', ['w']))).toBe(h('01 0170 00 01 0177'))
})

describe('the envelope', () => {
  const fact = {
    id: 'i',
    eventType: 'c.E',
    source: '/c',
    partitionKey: 'k',
    at: 0,
    recordedAt: 1,
    sequence: 7,
    correlationId: 'x',
    causationId: 'y',
    contractVersion: 2,
  }
  const header = (name: string, value: string): string =>
    `${String.fromCharCode(name.length * 2)}${name}${String.fromCharCode(value.length * 2)}${value}`
  test('in an inbox: the business time is the record’s, and the origin is added', () => {
    expect(Buffer.from(envelopeBytes(fact, { topic: 't', partition: 1, offset: 2 })).toString('latin1')).toBe(
      `\u0014${header('ce_specversion', '1.0')}${header('ce_id', 'i')}${header('ce_type', 'c.E')}${header('ce_source', '/c')}${header('ce_recordedtime', '1970-01-01T00:00:00.001Z')}${header('ce_sequence', '0000000000000007')}${header('ce_correlationid', 'x')}${header('ce_causationid', 'y')}${header('ce_contractversion', '2')}${header('tm_origin', 't/1@2')}`,
    )
  })
  test('elsewhere: in full', () => {
    expect(Buffer.from(envelopeBytes(fact, undefined)).toString('latin1')).toBe(
      `\u0016${header('ce_specversion', '1.0')}${header('ce_id', 'i')}${header('ce_type', 'c.E')}${header('ce_source', '/c')}${header('ce_time', '1970-01-01T00:00:00.000Z')}${header('ce_recordedtime', '1970-01-01T00:00:00.001Z')}${header('ce_partitionkey', 'k')}${header('ce_sequence', '0000000000000007')}${header('ce_correlationid', 'x')}${header('ce_causationid', 'y')}${header('ce_contractversion', '2')}`,
    )
  })
})

/** What tidemark itself writes to topics beside facts, rows and dead letters. */
test('control records of an inbox, and what was decided for every later run', async () => {
  const run = harness(
    topology('golden', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
        .project('last', { row: Item, gate: { version: (v) => v.n }, fold: (_row, v) => v }),
    ]),
  )
  await run.app()
  await run.advance('2s')
  const at = run.clock.now()
  await run.put('in', Item, [['k', item(1), at]])
  const [first, second] = (await run.topic('golden-all-g1-inbox')).filter(({ key }) => key === undefined)
  expect([first, second].map((each) => each?.headers)).toEqual([{ tm_kind: 'progress' }, { tm_kind: 'progress' }])
  const [started, time] = [first?.at as number, at].map((each) => hex(new ByteWriter().varint(each).bytes()))
  // format, when, count; then each source partition with the position that has come through, and the time up to which (-1 for none)
  expect(hex(first?.value as Buffer)).toBe(h(`01 ${started} 01 04696e2f30 00 01`))
  expect(hex(second?.value as Buffer)).toBe(h(`01 ${time} 01 04696e2f30 01 ${time}`))
  await run.replay('last')
  await run.app()
  const decisions = (await run.topic('golden-decisions')).map(({ key, value }) => [key, value?.toString()])
  expect(decisions.filter(([key]) => key !== 'plan')).toEqual([['generation/all', '2']])
  expect(Object.keys(JSON.parse(decisions.find(([key]) => key === 'plan')?.[1] ?? '{}') as object)).toEqual([
    'lockVersion',
    'app',
    'stages',
    'stores',
    'topics',
  ])
  await run.close()
})

/** What operators keep, as it lies in a changelog: keys and rows without their hashes. */
describe('operators', () => {
  const rowsOf = async (
    define: Parameters<typeof topology>[1],
    records: readonly (readonly [string, Item, number])[],
  ): Promise<Record<string, string>> => {
    const run = harness(topology('golden', define))
    await run.app()
    await run.put('in', Item, records)
    await run.stop()
    const db = await run.state.open({ app: 'golden', stage: 'in', generation: 1, partition: 0 })
    const rows = await db.range({ from: Buffer.from([1]), to: Buffer.from([2]), limit: 100 })
    await db.close()
    return Object.fromEntries(rows.map(([key, value]) => [hex(key), hex(value.subarray(0, -8))]))
  }
  const items = (flow: Parameters<Parameters<typeof topology>[1]>[0]) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })

  test('dedupe by sequence keeps one number, and spans while there are holes', async () => {
    const rows = await rowsOf(
      (flow) => {
        items(flow)
          .dedupe('once', { sequence: (v) => v.n })
          .to('out-step', 'out')
        return []
      },
      [
        ['a', item(1), 1],
        ['a', item(2), 1],
        ['b', item(2), 1],
        ['b', item(3), 1],
        ['b', item(9), 1],
      ],
    )
    // through; count of spans; each as the distance of its first number and its length
    expect(rows).toEqual({ '01610001': h('010000 02 02 00'), '01620001': h('010000 02 00 02 02010600') })
  })

  test('dedupe by id keeps sixteen bytes an id, under the bucket', async () => {
    const rows = await rowsOf(
      (flow) => {
        items(flow)
          .dedupe('once', { id: (v) => v.note, keep: '10s' })
          .to('out-step', 'out')
        return []
      },
      [
        ['a', item(1, '00112233445566778899aabbccddeeff'), 12_000],
        ['a', item(2, 'order 1'), 12_001],
      ],
    )
    expect(rows).toEqual({
      [h('01 80000002 61 0001')]: h('01 00 00 c2bb01 00112233445566778899aabbccddeeff f3d6f0d55b053fdeb0116c2eaffd74e9'),
    })
  })

  test('order keeps the next number, what is held, and the held records whole', async () => {
    const rows = await rowsOf(
      (flow) => {
        items(flow)
          .order('in-sequence', { sequence: (v) => v.n, gap: { hold: '10s', then: 'park' } })
          .to('out-step', 'out')
        return []
      },
      [
        ['a', item(1), 1_000],
        ['a', item(3, 'x'), 2_000],
      ],
    )
    expect(rows).toEqual({
      // kind, next, spans, flags (2: waits for a time), the time
      [h('01 61 0001')]: h('01 00 00 a01f 00 02 01 0100 02 c0bb01'),
      // kind; then length of the value, partition, offset, time, distance of the log's own time, headers (count, bytes), value
      [h('01 61 0001 2170 0000000000000003')]: h('01 00 00 a01f 01 10 00 02 a01f 00 00 01 00 00 00000001 06 0278'),
      // the timer at 12,000
      [h('01 002174 0010000000002ee0 61 0001')]: '01000000',
    })
  })
})
