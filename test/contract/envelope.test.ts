/** The envelope: CloudEvents headers, read and written, and fields of the value where a producer has no headers. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { context, contract, schema, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { derivedId, originText, parseTime, putTime, sequenceText, TIME_BYTES } from '../../src/contract/envelope.ts'
import { encodeHeaders } from '../../src/ports/record-batch/index.ts'
import { Envelope, envelopeBytes } from '../../src/runtime/envelope.ts'
import { optIn, preferences } from '../fixtures/crm.ts'
import { Item } from '../fixtures/plain.ts'

function timeText(ms: number): string | undefined {
  const bytes = Buffer.alloc(TIME_BYTES)
  return putTime(bytes, 0, ms) ? bytes.toString() : undefined
}

describe('texts', () => {
  test('sequences order as texts do', () => {
    expect(sequenceText(7)).toBe('0000000000000007')
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
        expect(sequenceText(a) < sequenceText(b)).toBe(a < b)
      }),
    )
  })
  test.each<[ms: number, written: string | undefined]>([
    [0, '1970-01-01T00:00:00.000Z'],
    [-1, '1969-12-31T23:59:59.999Z'],
    [Date.UTC(9999, 11, 31, 23, 59, 59, 999), '9999-12-31T23:59:59.999Z'],
    [Date.UTC(9999, 11, 31, 23, 59, 59, 999) + 1, undefined],
    [-62_135_596_800_000, '0001-01-01T00:00:00.000Z'],
    [-62_135_596_800_001, undefined],
    [Number.NaN, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ])('the time %s is written %s, and read back', (ms, written) => {
    expect(timeText(ms)).toBe(written)
    expect(timeText(ms)).toBe(written)
    if (written !== undefined) expect(parseTime(written)).toBe(ms)
  })
  test('a time is written as the language itself writes it', () => {
    const inYears = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 })
    fc.assert(
      fc.property(inYears, fc.double({ min: -1e11, max: 1e11, noNaN: true }), (ms, fraction) => {
        expect(timeText(ms)).toBe(new Date(ms).toISOString())
        expect(timeText(fraction)).toBe(new Date(fraction).toISOString())
      }),
    )
  })
  test.each(['', 'yesterday', '+275760-09-13T00:00:00.000Z', '-000001-01-01T00:00:00Z'])('%j is no time', (written) => {
    expect(parseTime(written)).toBeUndefined()
  })
  test('an id derived from a cause depends on cause, step and index, each for itself', () => {
    const ids = [
      derivedId('a', 's', 0),
      derivedId('a', 's', 1),
      derivedId('a', 't', 0),
      derivedId('b', 's', 0),
      derivedId('a/s/0', 's', 0),
      derivedId('', '', 0),
    ]
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/)
    expect(originText('a.b', 3, 7)).toBe('a.b/3@7')
  })
})

test('what is written is read: any id, source, times, sequence, correlation, causation and version (D09)', () => {
  const texts = fc.string({ unit: 'binary', maxLength: 300 })
  const optional = fc.option(texts, { nil: undefined })
  const fact = fc.record({
    id: texts,
    eventType: optional,
    source: texts,
    at: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    recordedAt: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    sequence: fc.option(fc.integer({ min: 1, max: 9_999_999_999_999 }), { nil: undefined }),
    correlationId: optional,
    causationId: optional,
    contractVersion: fc.integer({ min: 1, max: 100_000 }),
    partitionKey: optional,
  })
  fc.assert(
    fc.property(fact, fc.boolean(), (given, forInbox) => {
      const bytes = Buffer.from(envelopeBytes(given, forInbox ? { topic: 't', partition: 1, offset: 2 } : undefined))
      const envelope = new Envelope()
      envelope.read(bytes, 0, bytes.length, (bytes[0] as number) >> 1)
      expect({
        id: envelope.text('id'),
        eventType: envelope.text('type'),
        source: envelope.text('source'),
        recordedAt: parseTime(envelope.text('recordedTime') ?? ''),
        sequence: envelope.digits('sequence'),
        correlationId: envelope.text('correlationId'),
        causationId: envelope.text('causationId'),
        contractVersion: envelope.digits('contractVersion'),
        origin: envelope.text('origin'),
      }).toEqual({
        id: given.id,
        eventType: given.eventType,
        source: given.source,
        recordedAt: given.recordedAt,
        sequence: given.sequence,
        correlationId: given.correlationId,
        causationId: given.causationId,
        contractVersion: given.contractVersion,
        origin: forInbox ? 't/1@2' : undefined,
      })
    }),
  )
})

test('headers that are strange are passed over: no value, names that begin alike, names of every length', () => {
  const headers = encodeHeaders([
    { name: 'ce_id', value: null },
    { name: 'ce_i', value: Buffer.from('short') },
    { name: 'ce_ids', value: Buffer.from('long') },
    { name: 'CE_ID', value: Buffer.from('capitals') },
    { name: '__proto__', value: Buffer.from('x') },
    { name: '', value: Buffer.from('nameless') },
    { name: 'n'.repeat(300), value: Buffer.from('x') },
    { name: 'ce_sequence', value: Buffer.from('') },
    { name: 'ce_contractversion', value: Buffer.from('one') },
  ])
  const envelope = new Envelope()
  envelope.read(headers, 0, headers.length, 9)
  expect([
    envelope.has('id'),
    envelope.text('id'),
    envelope.digits('sequence'),
    envelope.digits('contractVersion'),
    envelope.digits('origin'),
  ]).toEqual([false, undefined, Number.NaN, Number.NaN, undefined])
})

test('a published fact is a CloudEvent in binary mode, as the Kafka binding has it: attributes as ce_ headers, the partition key as the key (D15)', async () => {
  const run = harness(
    topology('watching', (flow) => {
      flow.source(preferences).dedupe('once').to('out-step', 'out')
      return []
    }),
  )
  const at = Date.UTC(2010, 11, 1, 8, 26)
  await run.feed(preferences, [{ ...optIn('c|1', 1, { id: 'fact-1', at }), correlationId: 'talk', causationId: 'cause' }])
  const recorded = new Date(run.clock.now()).toISOString()
  const [published] = await run.topic('crm.preferences.v1')
  expect(published).toMatchObject({ key: 'c|1', at })
  expect(published?.headers).toEqual({
    ce_specversion: '1.0',
    ce_id: 'fact-1',
    ce_type: 'crm.EmailOptIn',
    ce_source: '/crm',
    ce_time: '2010-12-01T08:26:00.000Z',
    ce_recordedtime: recorded,
    ce_partitionkey: 'c|1',
    ce_sequence: '0000000000000001',
    ce_correlationid: 'talk',
    ce_causationid: 'cause',
    ce_contractversion: '1',
  })
  // Passed on, it is what it was.
  expect((await run.topic('out'))[0]?.headers).toEqual(published?.headers)
  await run.close()
})

describe('a producer without headers', () => {
  const shop = context('shop', { owner: 'shop' })
  const Ordered = schema<{ uuid: string; when: number; version: number }>({
    type: 'record',
    name: 'Ordered',
    namespace: 'shop',
    fields: [
      { name: 'uuid', type: 'string' },
      { name: 'when', type: 'long' },
      { name: 'version', type: 'int' },
    ],
  })
  const legacy = contract('legacy-orders', {
    owner: shop,
    version: 2,
    topic: 'legacy.orders',
    partitions: 1,
    key: text,
    sequence: 'per key',
    meaning: 'orders of the shop that nobody dares to change',
    events: { Ordered },
    envelope: { id: (event) => event.uuid, time: (event) => event.when, sequence: (event) => event.version },
  })
  const following = topology('following', (flow) => {
    flow
      .source(legacy)
      .order('in-sequence')
      .map('to-item', (_event, fact) => ({ n: fact.at, note: `${fact.id} ${fact.sequence} ${fact.source}` }), { value: Item })
      .to('out-step', 'out')
    return []
  })

  test('has its identity, time and sequence in the value, and its facts are ordered and dated by them', async () => {
    const run = harness(following)
    await run.app()
    const encode = (uuid: string, when: number, version: number): Promise<Buffer> => run.encode(Ordered, { uuid, when, version })
    await run.send('legacy.orders', [
      { key: 'o', value: await encode('b', 2_000, 2), at: 9_000 },
      { key: 'o', value: await encode('a', 1_000, 1), at: 9_500 },
    ])
    expect((await run.values('out', Item)).map(([, value, at]) => [value, at])).toEqual([
      [{ n: 1_000, note: 'a 1 /shop' }, 1_000],
      [{ n: 2_000, note: 'b 2 /shop' }, 2_000],
    ])
    await run.close()
  })

  test.each([Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER])('whose time is %s is told so', async (when) => {
    const run = harness(following)
    await run.app()
    await run.send('legacy.orders', [{ key: 'o', value: await run.encode(Ordered, { uuid: 'a', when, version: 1 }) }])
    expect((await run.dead('legacy-orders')).map(({ headers }) => headers.tm_code)).toEqual(['ENVELOPE_INVALID'])
    await run.close()
  })

  test('is asked for its value at the door, and what cannot be read there is dead-lettered there', async () => {
    const run = harness(following)
    await run.app()
    await run.send('legacy.orders', [
      { key: 'o', value: Buffer.from('?') },
      { key: 'o', value: await run.encode(Ordered, { uuid: 'a', when: 1, version: 1 }) },
    ])
    expect((await run.dead('legacy-orders')).map(({ headers }) => headers.tm_code)).toEqual(['FRAMING_INVALID'])
    expect(await run.topic('out')).toHaveLength(1)
    await run.close()
  })
})
