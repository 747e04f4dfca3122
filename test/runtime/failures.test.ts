/** What a failing record does: it never stops the worker, never blocks its partition, and is answered at the step that it fails in. */
import { describe, expect, test } from 'vitest'
import {
  compound,
  contract,
  type Fact,
  reject,
  type SchemaStore,
  schema,
  type Topology,
  type TopologyOptions,
  text,
  topology,
} from '#tidemark'
import { type Harness, harness, type RawRecord } from '#tidemark/testing'
import { memorySchemas } from '../../src/drivers/schemas/index.ts'
import { billing, Consent, consents, crm, EmailOptIn, EmailOptOut, optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const header = (name: string, value: string): { name: string; value: Buffer } => ({ name, value: Buffer.from(value) })
/** Headers of a good fact of the CRM. */
const envelope = (over: Readonly<Record<string, string | undefined>> = {}): RawRecord['headers'] =>
  Object.entries({
    ce_specversion: '1.0',
    ce_id: 'raw-1',
    ce_type: 'crm.EmailOptIn',
    ce_source: '/crm',
    ce_time: '2026-01-01T00:00:00Z',
    ce_sequence: '0000000000000001',
    ...over,
  }).flatMap(([name, value]) => (value === undefined ? [] : [header(name, value)]))

const toConsent = topology('to-consent', (flow) => [
  flow
    .inbox('consent-changes', [
      flow
        .source(preferences)
        .dedupe('once')
        .translate('as-consent', consents, {
          EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
          EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
        }),
    ])
    .project('consent', {
      row: Consent,
      owner: billing,
      identity: 'once',
      windows: { 'contact-preferences': { target: '5s', max: '1m' } },
      fold: {
        ConsentGranted: (row) => ({ mayInvoiceByEmail: true, changes: (row?.changes ?? 0) + 1 }),
        ConsentWithdrawn: (row) => ({ mayInvoiceByEmail: false, changes: (row?.changes ?? 0) + 1 }),
      },
    }),
])

/** Codes of the dead letters of a step, in order. */
const codes = async (run: Harness<readonly never[]> | Harness<typeof toConsent.projections>, step: string): Promise<string[]> =>
  (await run.dead(step)).map(({ headers }) => headers.tm_code ?? '')

describe('a record of a contract that cannot enter is dead-lettered at its source, and its partition goes on', () => {
  const good = async (run: Harness<typeof toConsent.projections>): Promise<Buffer> => run.encode(EmailOptIn, { version: 1, theme: 'dark' })

  test.each<[what: string, code: string, over: Readonly<Record<string, string | undefined>>]>([
    ['no id (D09)', 'ENVELOPE_INVALID', { ce_id: undefined }],
    ['no source', 'ENVELOPE_INVALID', { ce_source: undefined }],
    ['no sequence, which its contract needs', 'ENVELOPE_INVALID', { ce_sequence: undefined }],
    ['a sequence of letters', 'ENVELOPE_INVALID', { ce_sequence: 'first' }],
    ['sequence 0', 'ENVELOPE_INVALID', { ce_sequence: '0' }],
    ['a sequence beyond what numbers hold', 'ENVELOPE_INVALID', { ce_sequence: '9999999999999999' }],
    ['a source that the contract does not accept (D12)', 'SOURCE_FOREIGN', { ce_source: '/billing' }],
    ['an event type that the contract does not have', 'EVENT_UNKNOWN', { ce_type: 'crm.EmailRead' }],
  ])('%s', async (_what, code, over) => {
    const run = harness(toConsent)
    await run.app()
    const value = await good(run)
    await run.send('crm.preferences.v1', [
      { key: 'bad', value, headers: envelope(over) ?? [] },
      { key: 'good', value, headers: envelope() ?? [] },
    ])
    expect([await codes(run, 'contact-preferences'), await run.rows('consent')]).toEqual([
      [code],
      { good: { mayInvoiceByEmail: true, changes: 1 } },
    ])
    await run.close()
  })

  test('no key', async () => {
    const run = harness(toConsent)
    await run.app()
    await run.send('crm.preferences.v1', [{ key: null, value: await good(run), headers: envelope() ?? [] }])
    expect(await codes(run, 'contact-preferences')).toEqual(['KEY_INVALID'])
    await run.close()
  })

  test('another partition than its key demands, which tells of a foreign partitioner (D07)', async () => {
    const run = harness(toConsent)
    await run.feed(preferences, [optIn('c-1', 1, { sequence: 1 })])
    const [there] = await run.topic('crm.preferences.v1')
    await run.send('crm.preferences.v1', [
      { key: 'c-1', value: await good(run), headers: envelope({ ce_sequence: '2' }) ?? [], partition: 1 - (there?.partition ?? 0) },
    ])
    expect(await codes(run, 'contact-preferences')).toEqual(['PARTITION_MISMATCH'])
    expect(await run.rows('consent')).toEqual({ 'c-1': { mayInvoiceByEmail: true, changes: 1 } })
    await run.close()
  })

  test('a header that comes twice counts by its last value, and a header of a strange name harms nothing', async () => {
    const run = harness(toConsent)
    await run.app()
    await run.send('crm.preferences.v1', [
      {
        key: 'c',
        value: await good(run),
        headers: [
          header('ce_source', '/mallory'),
          header('__proto__', 'x'),
          header('', ''),
          { name: 'constructor', value: null },
          ...(envelope() ?? []),
        ],
      },
    ])
    expect(await run.rows('consent')).toEqual({ c: { mayInvoiceByEmail: true, changes: 1 } })
    await run.close()
  })
})

describe('a value that cannot be read fails the first step that reads it', () => {
  test.each<[what: string, code: string, value: (good: Buffer) => Buffer | null]>([
    ['bytes that are no frame', 'FRAMING_INVALID', () => Buffer.from('{"json":true}')],
    ['no bytes', 'FRAMING_INVALID', () => Buffer.alloc(0)],
    ['half a frame', 'FRAMING_INVALID', () => Buffer.from([0, 0, 0])],
    ['a schema id that nobody knows', 'SCHEMA_UNKNOWN', () => Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 2, 2])],
    ['a schema id with the highest bit set', 'SCHEMA_UNKNOWN', () => Buffer.from([0, 0x80, 0, 0, 1, 2, 2])],
    ['Avro that ends too early', 'VALUE_INVALID', (good) => good.subarray(0, good.length - 1)],
    ['Avro with bytes behind it', 'VALUE_INVALID', (good) => Buffer.concat([good, Buffer.from([7])])],
    ['null', 'VALUE_INVALID', () => null],
  ])('%s', async (_what, code, make) => {
    const run = harness(toConsent)
    await run.app()
    const good = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
    // Twice, in batches of their own: what is known of a schema id after the first must not change the answer.
    for (const sequence of ['1', '2']) {
      await run.send('crm.preferences.v1', [
        { key: 'bad', value: make(good), headers: envelope({ ce_sequence: sequence, ce_id: `bad-${sequence}` }) ?? [] },
        { key: 'good', value: good, headers: envelope({ ce_sequence: sequence, ce_id: `good-${sequence}` }) ?? [] },
      ])
    }
    expect(await codes(run, 'as-consent')).toEqual([code, code])
    expect(await run.rows('consent')).toEqual({ good: { mayInvoiceByEmail: true, changes: 2 } })
    expect(run.count('dead', 'as-consent', code)).toBe(2)
    expect(run.events.filter(({ kind }) => kind === 'failure')).toEqual([])
    await run.close()
  })

  test('an event that is known elsewhere and not to this contract, batch after batch', async () => {
    const run = harness(toConsent)
    await run.app()
    const foreign = await run.encode(Consent, { mayInvoiceByEmail: true, changes: 1 })
    for (const sequence of ['1', '2', '3']) {
      await run.send('crm.preferences.v1', [
        { key: 'bad', value: foreign, headers: envelope({ ce_sequence: sequence, ce_id: sequence }) ?? [] },
      ])
    }
    await run.feed(preferences, [optIn('good', 1)])
    expect(await codes(run, 'as-consent')).toEqual(['EVENT_UNKNOWN', 'EVENT_UNKNOWN', 'EVENT_UNKNOWN'])
    expect(await run.rows('consent')).toEqual({ good: { mayInvoiceByEmail: true, changes: 1 } })
    await run.close()
  })

  test('a schema id that becomes known later is read from then on, and a flood of unknown ones leaves nothing behind', async () => {
    const shared = memorySchemas({ firstId: 500 })
    const known = new Set<number>()
    // A registry whose follower lags: it does not have an id yet when the first record with it comes.
    const schemas: SchemaStore = {
      ...shared,
      byId: async (id) => (id >= 500 && (id < 600 || known.has(id)) ? shared.byId(id - (id < 600 ? 0 : 100)) : undefined),
    }
    const run = harness(
      topology('late-schema', (flow) => {
        flow
          .stream('in', { key: text, value: Item }, { partitions: 1 })
          .filter('all', () => true)
          .to('out-step', 'out')
        return []
      }),
      { schemas },
    )
    const framed = async (id: number): Promise<Buffer> => {
      const bytes = Buffer.from(await run.encode(Item, item(id)))
      bytes.writeUInt32BE(id, 1)
      return bytes
    }
    const [own] = [(await run.encode(Item, item(0))).readUInt32BE(1)]
    await run.send('in', [{ key: 'k', value: await framed(own + 100) }])
    expect(await codes(run as never, 'all')).toEqual(['SCHEMA_UNKNOWN'])
    known.add(own + 100)
    await run.advance('2m')
    await run.send('in', [{ key: 'k', value: await framed(own + 100) }])
    expect(await run.topic('out')).toHaveLength(1)
    await run.close()
  })
})

describe('events that a contract does not know', () => {
  const extended = contract('contact-preferences', {
    owner: crm,
    version: 2,
    topic: 'crm.preferences.v1',
    partitions: 2,
    key: text,
    sequence: 'per key',
    meaning: 'how a contact wants to be reached',
    events: {
      EmailOptIn,
      EmailOptOut,
      SmsOptIn: schema<{ version: number }>({
        type: 'record',
        name: 'SmsOptIn',
        namespace: 'crm',
        fields: [{ name: 'version', type: 'int' }],
      }),
    },
  })
  const following = (unknownEvents: 'ignore' | 'dead-letter') =>
    topology('following', (flow) => {
      flow
        .source(
          contract('contact-preferences', {
            owner: crm,
            version: 1,
            topic: 'crm.preferences.v1',
            partitions: 2,
            key: text,
            sequence: 'per key',
            meaning: 'how a contact wants to be reached',
            events: { EmailOptIn, EmailOptOut },
            unknownEvents,
          }),
        )
        .order('in-sequence')
        .translate('as-consent', consents, {
          EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
          EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
        })
        .to('out-step', 'out')
      return []
    })
  const feedNewer = (run: Harness<readonly []>): Promise<void> =>
    run.feed(
      extended as never,
      [
        extended.make.EmailOptIn('c', { version: 1, theme: 'dark' }),
        extended.make.SmsOptIn('c', { version: 2 }),
        extended.make.EmailOptOut('c', { version: 3, reason: 'asked' }),
      ] as never,
    )

  test('are counted and passed over where it says ignore, and the sequence goes on behind them (E03)', async () => {
    const run = harness(following('ignore'))
    await feedNewer(run)
    expect((await run.topic('out')).map(({ headers }) => headers.ce_type)).toEqual(['billing.ConsentGranted', 'billing.ConsentWithdrawn'])
    expect([run.count('unmapped'), run.count('unmapped', 'as-consent', 'crm.SmsOptIn')]).toEqual([1, 1])
    expect(await codes(run as never, 'contact-preferences')).toEqual([])
    await run.close()
  })

  test('are dead-lettered by default, and the successors of the key wait for them (E03)', async () => {
    const run = harness(following('dead-letter'))
    await feedNewer(run)
    expect((await run.topic('out')).map(({ headers }) => headers.ce_type)).toEqual(['billing.ConsentGranted'])
    expect(await codes(run as never, 'contact-preferences')).toEqual(['EVENT_UNKNOWN'])
    expect(run.count('gap', 'in-sequence')).toBe(1)
    expect(run.count('unmapped', 'contact-preferences', 'crm.SmsOptIn')).toBe(1)
    await run.close()
  })

  test('are counted by their type, also where only their schema tells it (E03)', async () => {
    const run = harness(following('ignore'))
    await run.app()
    const value = await run.encode(extended.events.SmsOptIn as never, { version: 1 })
    const headers = envelope({ ce_type: undefined, ce_sequence: '1' }) ?? []
    await run.send('crm.preferences.v1', [{ key: 'c', value, headers }])
    expect(run.count('unmapped', 'as-consent', 'crm.SmsOptIn')).toBe(1)
    await run.close()
  })

  test('may be called anything by anybody: there are so many names, none is long or strange, and the rest are others (E03)', async () => {
    const run = harness(following('dead-letter'))
    await run.app()
    const value = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
    const send = (types: readonly string[]): Promise<void> =>
      run.send(
        'crm.preferences.v1',
        types.map((type, i) => ({ key: 'c', value, headers: envelope({ ce_type: type, ce_id: `${i}` }) ?? [] })),
      )
    await send(['a"b\nc\u0000{é', 'x'.repeat(1_000)])
    const names = Array.from({ length: 100 }, (_, i) => `crm.Made${i}`)
    await send(names.slice(0, 60))
    // What is counted by name stays so when its task is opened again, in the same process.
    await send(names)
    const counted = [...run.counts.keys()].filter((name) => name.startsWith('unmapped contact-preferences '))
    expect(counted).toHaveLength(51)
    expect(counted).toEqual(
      expect.arrayContaining(['unmapped contact-preferences a?b?c???', `unmapped contact-preferences ${'x'.repeat(100)}`]),
    )
    expect(run.count('unmapped', 'contact-preferences', 'crm.Made0')).toBe(2)
    expect(run.count('unmapped', 'contact-preferences', 'other')).toBe(60 + 100 - 2 * 48)
    expect(run.count('unmapped', 'contact-preferences')).toBe(162)
    await run.close()
  })

  test('and of versions of a contract, which anybody may claim, as many are told apart (D10)', async () => {
    const run = harness(following('ignore'))
    await run.app()
    const value = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
    await run.send(
      'crm.preferences.v1',
      Array.from({ length: 80 }, (_, i) => ({
        key: 'c',
        value,
        headers: envelope({ ce_id: `${i}`, ce_sequence: `${i + 1}`, ce_contractversion: `${i + 1}` }) ?? [],
      })),
    )
    const counted = [...run.counts.keys()].filter((name) => name.startsWith('contract_version contact-preferences '))
    expect(counted).toHaveLength(52)
    expect(run.count('contract_version', 'contact-preferences', 1)).toBe(1)
    expect(run.count('contract_version', 'contact-preferences', 'other')).toBe(29)
    await run.close()
  })
})

test('a reason outside the closed list of its contract is dead-lettered at the step that reads it (D08)', async () => {
  const closed = contract('contact-preferences', {
    owner: crm,
    version: 1,
    topic: 'crm.preferences.v1',
    partitions: 1,
    key: text,
    meaning: 'how a contact wants to be reached',
    events: { EmailOptOut },
    reasons: { EmailOptOut: { field: 'reason', codes: ['asked', 'bounced'] } },
  })
  const run = harness(
    topology('reasons', (flow) => {
      flow
        .source(closed)
        .dedupe('once')
        .translate('as-consent', consents, {
          EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
        })
        .to('out-step', 'out')
      return []
    }),
  )
  const out = (reason: string): ReturnType<typeof closed.make.EmailOptOut> => closed.make.EmailOptOut('c', { version: 1, reason })
  await run.feed(closed, [out('asked'), out('because'), out('bounced'), out('toString')])
  expect(await run.topic('out')).toHaveLength(2)
  expect(await codes(run as never, 'as-consent')).toEqual(['REASON_UNKNOWN', 'REASON_UNKNOWN'])
  await run.close()
})

describe('a function that throws', () => {
  const failing = (fails: (value: Item, fact: Fact<string>) => boolean, options: TopologyOptions = {}): Topology<readonly []> =>
    topology(
      'failing',
      (flow) => {
        flow
          .stream('in', { key: text, value: Item }, { partitions: 1 })
          .filter('sieve', (value, fact) => {
            if (fails(value, fact)) throw new RangeError(`cannot take ${value.n}`)
            return true
          })
          .to('out-step', 'out')
        return []
      },
      options,
    )
  const three = [
    ['a', item(1)],
    ['b', item(2)],
    ['a', item(3)],
  ] as const

  test('dead-letters its record, and the others go on', async () => {
    const run = harness(failing(({ n }) => n === 2))
    await run.put('in', Item, three)
    expect((await run.values('out', Item)).map(([, value]) => value?.n)).toEqual([1, 3])
    expect(await run.dead('sieve')).toMatchObject([
      {
        key: 'b',
        headers: { tm_code: 'STEP_FAILED', tm_reason: 'step "sieve" threw', tm_detail: 'RangeError: cannot take 2', tm_attempts: '1' },
      },
    ])
    await run.close()
  })

  test.each<unknown>([undefined, null, 'a text', 7, { code: 'X' }, Object.create(null)])(
    'may throw %j: it is a failure like any other',
    async (thrown) => {
      const run = harness(
        topology('thrower', (flow) => {
          flow
            .stream('in', { key: text, value: Item }, { partitions: 1 })
            .filter('sieve', () => {
              throw thrown
            })
            .to('out-step', 'out')
          return []
        }),
      )
      await run.put('in', Item, three)
      expect(await codes(run as never, 'sieve')).toEqual(['STEP_FAILED', 'STEP_FAILED', 'STEP_FAILED'])
      await run.close()
    },
  )

  test.each([0, 1, 3])('is run %i times more where the step says so, and then answered as it says', async (retry) => {
    let calls = 0
    const run = harness(
      failing(
        ({ n }) => {
          if (n === 2) calls += 1
          return n === 2
        },
        { onError: { retry, then: 'dead-letter' } },
      ),
    )
    await run.put('in', Item, three)
    expect([calls, run.count('retried', 'sieve')]).toEqual([retry + 1, retry])
    expect((await run.dead('sieve')).map(({ headers }) => headers.tm_attempts)).toEqual([`${retry + 1}`])
    await run.close()
  })

  test('that succeeds at its second try sends what it sends once, and writes what it writes once', async () => {
    let left = 2
    const run = harness(
      topology('flaky', (flow) => [
        flow
          .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
          .dedupe('once', { id: (value) => value.note })
          .process<Item>('flaky', {
            rows: Item,
            passes: true,
            onError: { retry: 5, then: 'halt' },
            run: (_incoming, scope, out) => {
              scope.put(item(((scope.get() as Item | undefined)?.n ?? 0) + 1))
              out.same()
              if (left-- > 0) throw new Error('not yet')
              out.value(item((scope.get() as Item).n * 100, 'count'))
            },
          })
          .project('sums', { row: Sum, identity: 'once', fold: summed }),
      ]),
    )
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'b')],
    ])
    expect(await run.rows('sums')).toEqual({ k: { total: 1 + 100 + 2 + 200, notes: 'acountbcount' } })
    await run.close()
  })

  test('halts its task where the step says so: nothing more is done there, state stays readable, and a mended program goes on exactly there', async () => {
    const program = (bad: number) =>
      topology('halting', (flow) => [
        flow
          .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
          .dedupe('once', { id: (value) => value.note })
          .project('sums', {
            row: Sum,
            identity: 'once',
            onError: 'halt',
            fold: (row, value) => {
              if (value.n === bad) throw new Error('a defect')
              return summed(row, value)
            },
          }),
      ])
    const run = harness(program(3))
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'b')],
    ])
    await run.put('in', Item, [
      ['k', item(3, 'c')],
      ['k', item(4, 'd')],
    ])
    expect(await run.failure()).toMatchObject({ code: 'STEP_FAILED', detail: 'Error: a defect' })
    expect(await (await run.view('sums')).get('k')).toMatchObject({ value: { total: 3, notes: 'ab' } })
    expect(await run.dead('sums')).toEqual([])
    await run.close()
    const mended = harness(program(-1), { after: run })
    expect(await mended.rows('sums')).toEqual({ k: { total: 10, notes: 'abcd' } })
    await mended.close()
  })

  test('halts only its own task: other partitions and stages go on', async () => {
    const run = harness(
      topology('halting-partly', (flow) => {
        flow
          .stream('in', { key: text, value: Item }, { partitions: 2 })
          .filter(
            'sieve',
            ({ n }) => {
              if (n < 0) throw new Error('halt here')
              return true
            },
            { onError: 'halt' },
          )
          .to('out-step', 'out')
        return []
      }),
    )
    await run.app()
    const value = (n: number): Promise<Buffer> => run.encode(Item, item(n))
    await run.send('in', [{ key: 'a', value: await value(1), partition: 0 }])
    await run.send('in', [
      { key: 'a', value: await value(-1), partition: 0 },
      { key: 'a', value: await value(2), partition: 0 },
    ])
    await run.send('in', [{ key: 'b', value: await value(3), partition: 1 }])
    for (let i = 0; i < 50; i++) await run.clock.turn()
    expect(new Set((await run.values('out', Item)).map(([, each]) => each?.n))).toEqual(new Set([1, 3]))
    expect(await run.failure()).toMatchObject({ code: 'STEP_FAILED' })
    await run.close()
  })
})

test('a translation that rejects says why, and its fact is answered as the step says', async () => {
  const run = harness(
    topology('rejecting', (flow) => {
      flow
        .source(preferences)
        .dedupe('once')
        .translate(
          'as-consent',
          consents,
          {
            EmailOptIn: () => reject('a consent needs a signature'),
            EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
          },
          { onError: { retry: 4, then: 'dead-letter' } },
        )
        .to('out-step', 'out')
      return []
    }),
  )
  await run.feed(preferences, [optIn('c', 1), optOut('c', 2)])
  // Trying again cannot help: the same fact is rejected again.
  expect(await run.dead('as-consent')).toMatchObject([
    { key: 'c', headers: { tm_code: 'STEP_REJECTED', tm_reason: 'a consent needs a signature', tm_attempts: '1' } },
  ])
  expect(run.count('rejected', 'as-consent', 'a consent needs a signature')).toBe(1)
  expect(await run.topic('out')).toHaveLength(1)
  await run.close()
})

test('a schema source that is down pauses what needs it, and nothing is dead-lettered: it goes on when the source answers', async () => {
  const source = memorySchemas()
  let down = false
  const schemas: SchemaStore = {
    ...source,
    byId: async (id) => {
      if (down) throw new Error('connection refused')
      return source.byId(id)
    },
  }
  const flow = topology('needy', (flow) => {
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .filter('all', () => true)
      .to('out-step', 'out')
    flow
      .stream('calm', { key: text, value: Sum }, { partitions: 1 })
      .filter('others', () => true)
      .to('calm-out', 'calm-out')
    return []
  })
  const run = harness(flow, { schemas })
  // Written by another process, under a schema that this one has never met.
  const elder = schema<{ n: number }>({ type: 'record', name: 'Item', fields: [{ name: 'n', type: 'long' }] })
  const id = await source.idOf('elder', elder.avro)
  await run.app()
  down = true
  const value = Buffer.from([0, 0, 0, 0, id, 2])
  const sent = run.send('in', [{ key: 'k', value }])
  for (let i = 0; i < 300; i++) await run.clock.turn()
  expect(run.events.some((event) => event.kind === 'failure' && event.error.code === 'SCHEMA_SOURCE_FAILED')).toBe(true)
  down = false
  await sent
  expect((await run.values('out', Item)).map(([, each]) => each)).toEqual([item(1)])
  expect(await codes(run as never, 'all')).toEqual([])
  expect(run.count('dead')).toBe(0)
  await run.close()
})

test('a batch whose records contradict themselves halts the task and is named, because no record of it can be', async () => {
  const run = harness(
    topology('contradicted', (flow) => {
      flow
        .stream('in', { key: text, value: Item }, { partitions: 1 })
        .filter('all', () => true)
        .to('out-step', 'out')
      return []
    }),
  )
  await run.put('in', Item, [['k', item(1)]])
  const { log, codecs } = await run.access()
  const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
  const builder = new BatchBuilder({ codecs })
  builder.add(1, Buffer.from('k'), Buffer.from('v'))
  const batch = builder.finish()
  // The length of the record's key now reaches beyond the record; the checksum is made when it is sent, so it holds.
  batch.bytes[61 + 4] = 0x7e
  const writer = await log.plainWriter()
  await writer.append('in/0', batch)
  await writer.close()
  await run.settle()
  expect(await run.failure()).toMatchObject({
    code: 'BATCH_CORRUPT',
    detail: 'Record 0 of 1 in the batch at offset 1: its key reaches beyond it.',
  })
  expect(await run.topic('out')).toHaveLength(1)
  await run.close()
})

describe('a value that a step makes and that does not fit its schema', () => {
  const wrong = { n: 'not a number', note: '' } as unknown as Item
  const good = item(1)

  test.each<[what: string, step: string, build: (flow: Parameters<Parameters<typeof topology>[1]>[0]) => void]>([
    [
      'fails the map before a topic',
      'made',
      (flow) =>
        flow
          .stream('in', { key: text, value: Item })
          .map('made', (v) => (v.n === 0 ? wrong : good), { value: Item })
          .to('out-step', 'out'),
    ],
    [
      'fails the map and not the filter behind it',
      'made',
      (flow) =>
        flow
          .stream('in', { key: text, value: Item })
          .map('made', (v) => (v.n === 0 ? wrong : good), { value: Item })
          .filter('all', () => true)
          .to('out-step', 'out'),
    ],
    [
      'fails the map and not the step that gives it another key',
      'made',
      (flow) =>
        void flow.inbox('all', [
          flow
            .stream('in', { key: text, value: Item })
            .map('made', (v) => (v.n === 0 ? wrong : good), { value: Item })
            .keyBy('by-note', text, (_v, fact) => `${fact.key}!`),
        ]),
    ],
    [
      'fails the flatMap before a branch and a merge',
      'made',
      (flow) => {
        const { yes, no } = flow
          .stream('in', { key: text, value: Item })
          .flatMap('made', (v) => (v.n === 0 ? [good, wrong] : [good]), { value: Item })
          .branch('either', { yes: () => true, no: () => true })
        yes.merge('both', no).to('out-step', 'out')
      },
    ],
  ])('%s', async (_what, step, build) => {
    const run = harness(
      topology('misfit', (flow) => {
        build(flow)
        return []
      }),
    )
    await run.put('in', Item, [
      ['a', item(0)],
      ['b', item(1)],
    ])
    expect(await run.dead(step)).toMatchObject([{ key: 'a', headers: { tm_code: 'VALUE_INVALID', tm_step: step } }])
    expect(run.count('records_out')).toBe(1)
    expect(run.events.filter(({ kind }) => kind === 'failure')).toEqual([])
    await run.close()
  })

  test('fails the fold that made it, and the row stays as it was', async () => {
    const run = harness(
      topology('misfit-row', (flow) => [
        flow
          .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
          .dedupe('once', { id: (value) => value.note })
          .project('sums', {
            row: Sum,
            identity: 'once',
            fold: (row, value) => (value.n < 0 ? ({ total: 'x' } as never) : summed(row, value)),
          }),
      ]),
    )
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(-1, 'b')],
      ['k', item(2, 'c')],
    ])
    expect(await run.rows('sums')).toEqual({ k: { total: 3, notes: 'ac' } })
    expect(await codes(run as never, 'sums')).toEqual(['VALUE_INVALID'])
    await run.close()
  })

  test('is refused where its key does not fit, too', async () => {
    const run = harness(
      topology('misfit-key', (flow) => {
        flow.inbox('all', [
          flow
            .stream('in', { key: text, value: Item })
            .keyBy('by-pair', compound('a', 'b'), (v) => (v.n === 0 ? ({ a: 1 } as never) : { a: 'x', b: 'y' })),
        ])
        return []
      }),
    )
    await run.put('in', Item, [
      ['k', item(0)],
      ['k', item(1)],
    ])
    expect(await codes(run as never, 'by-pair')).toEqual(['KEY_INVALID'])
    expect((await run.topic('misfit-key-all-g1-inbox')).filter(({ key }) => key !== undefined).map(({ key }) => key)).toEqual(['x|y'])
    await run.close()
  })
})
