/** What rows of a projection say of where they come from, deleted ones included, and what a state topic says of them. */
import { describe, expect, test } from 'vitest'
import { context, contract, type Flow, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { derivedId } from '../../src/contract/envelope.ts'
import { BatchBuilder, encodeHeaders } from '../../src/ports/record-batch/index.ts'
import { Envelope } from '../../src/runtime/envelope.ts'
import { billing, Consent, consents, optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Clicked, clicks, Item, item, Sum, summed } from '../fixtures/plain.ts'

const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })

/** The last version wins; a note of "gone" deletes. */
const latest = topology('latest', (flow) => [
  items(flow).project('last', {
    row: Sum,
    gate: { version: (value) => value.n },
    publish: 'last-state',
    fold: (_row, value) => (value.note === 'gone' ? undefined : { total: value.n, notes: value.note }),
  }),
])
const adding = topology('adding', (flow) => [
  items(flow)
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
    .project('sums', {
      row: Sum,
      identity: 'once',
      publish: 'sums-state',
      fold: (row, value) => (value.note === 'gone' ? undefined : summed(row, value)),
    }),
])

/** Loses the disk and everything in memory: what a row says then is what the changelog has. */
async function loseDisk(run: Harness<readonly never[]>, app: string): Promise<void> {
  await run.stop()
  for (const id of await run.state.list(app)) await run.state.destroy(id)
}
const ids = async (run: { topic(name: string): Promise<{ headers: Readonly<Record<string, string>> }[]> }, topic: string) =>
  (await run.topic(topic)).map(({ headers }) => headers.ce_id)

describe('a deleted row says which record deleted it (K09)', () => {
  test('in a fold that adds up, after a restart, a lost disk and a rebuild', async () => {
    const run = harness(adding)
    await run.put('in', Item, [['k', item(1, 'a'), 1_000]])
    const before = await run.stateHash('sums')
    await run.put('in', Item, [['k', item(2, 'gone'), 2_000]])
    const [, deletion] = await run.topic('in')
    const appliedAt = run.clock.now()
    const told = { version: 2, at: 2_000, appliedAt, source: { topic: 'in', partition: 0, offset: deletion?.offset }, contractVersion: 0 }
    const read = async (): Promise<unknown> => (await run.view('sums')).get('k')
    expect(await read()).toMatchObject({ value: undefined, row: told })
    await run.restart()
    expect(await read()).toMatchObject({ value: undefined, row: told })
    const live = await run.stateHash('sums')
    await loseDisk(run as never, 'adding')
    expect(await read()).toMatchObject({ value: undefined, row: told })
    expect(await run.stateHash('sums')).toBe(live)
    expect(live).not.toBe(before)
    expect(await run.replay('sums')).toMatchObject({ equal: true, switched: true })
    expect(await read()).toMatchObject({ value: undefined, row: { ...told, appliedAt: run.clock.now() } })
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('where the first fact that a gate meets deletes', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(5, 'gone'), 2_000]])
    const told = { version: 5, at: 2_000, appliedAt: run.clock.now(), source: { topic: 'in', partition: 0, offset: 0 } }
    const read = async (): Promise<unknown> => (await (await run.view('last')).get('k')).row
    expect(await read()).toMatchObject(told)
    await loseDisk(run as never, 'latest')
    expect(await read()).toMatchObject(told)
    await run.close()
  })
})

describe('behind an inbox a row says which record of its source it comes from (K09)', () => {
  const windows = { 'contact-preferences': { target: '5s', max: '1m' } } as const
  const far = topology('far', (flow) => {
    const facts = flow
      .source(preferences)
      .dedupe('once')
      .translate('as-consent', consents, {
        EmailOptIn: ({ version }, { key }) => consents.make.ConsentGranted(key, { version }),
        EmailOptOut: ({ version }, { key }) => consents.make.ConsentWithdrawn(key, { version }),
      })
    const near = flow.inbox('near', [facts], { partitions: 3 })
    return [
      flow
        .inbox('all', [near.keyBy('by-other', text, (_event, { key }) => `${key}'`)])
        .map('to-item', ({ version }) => item(version), { value: Item })
        .order('in-sequence', { sequence: (value) => value.n })
        .project('versions', {
          row: Item,
          identity: 'in-sequence',
          windows,
          fold: (_row, { n }) => (n === 4 ? undefined : item(n)),
        }),
    ]
  })

  test('through two of them, another key and another value, also of what was held, restored and rebuilt, and of a deletion', async () => {
    const run = harness(far)
    await run.feed(preferences, [optIn('c', 1), optIn('c', 3)])
    const [, third] = await run.topic('crm.preferences.v1')
    const read = async (): Promise<unknown> => (await (await run.view('versions')).get("c'")).row
    const source = { topic: 'crm.preferences.v1', partition: third?.partition }
    expect(await read()).toMatchObject({ version: 1, source: { ...source, offset: 0 } })
    // Held meanwhile, as a row.
    await loseDisk(run as never, 'far')
    await run.feed(preferences, [optIn('c', 2)])
    expect(await run.rows('versions')).toEqual({ "c'": item(3) })
    expect(await read()).toMatchObject({ version: 3, source: { ...source, offset: third?.offset } })
    await run.feed(preferences, [optIn('c', 4)])
    const deletion = (await run.topic('crm.preferences.v1')).at(-1)
    const told = { version: 4, source: { ...source, offset: deletion?.offset } }
    expect(await read()).toMatchObject(told)
    await loseDisk(run as never, 'far')
    expect(await read()).toMatchObject(told)
    expect(await run.replay('versions')).toMatchObject({ equal: true, switched: true })
    expect(await read()).toMatchObject(told)
    for (const inbox of ['near', 'all']) {
      const records = (await run.topic(`far-${inbox}-g1-inbox`)).filter(({ key }) => key !== undefined)
      expect(records.map(({ headers }) => headers.tm_origin?.slice(0, 20))).toEqual(
        Array.from({ length: 4 }, () => `crm.preferences.v1/${third?.partition}`),
      )
    }
    await run.close()
  })

  test('and of what a timer did there, which record moved time to it', async () => {
    const run = harness(
      topology('reminding', (flow) => [
        flow
          .inbox('all', [items(flow)])
          .process('remind', {
            rows: Item,
            value: Item,
            run: (incoming, scope) => {
              scope.put(incoming.value)
              if ((incoming.value as Item).note !== 'tick') scope.wakeAt(incoming.at + 1_000)
            },
            wake: (_timer, scope, out) => out.fact(scope.key, scope.get()),
          })
          .dedupe('once')
          .project('sums', { row: Sum, identity: 'once', fold: summed }),
      ]),
    )
    await run.put('in', Item, [['k', item(1, 'one'), 1_000]])
    await run.put('in', Item, [['tick', item(0, 'tick'), 2_000]])
    const { row } = await (await run.view('sums')).get('k')
    expect(row).toMatchObject({ version: 1, source: { topic: 'in', partition: 0, offset: 1 } })
    await run.close()
  })

  test.each(['', 'in', 'in/0', 'in/@1', '/0@1', 'in/0@', 'in/x@1', 'in/0@1x', '@', '/'])(
    '%j is no place: then it is the inbox’s own',
    (text) => {
      const envelope = new Envelope()
      const headers = encodeHeaders([{ name: 'tm_origin', value: Buffer.from(text) }])
      envelope.read(headers, 0, headers.length, 1)
      expect(envelope.origin()).toBeUndefined()
    },
  )
  test.each([
    ['in/0@0', 'in', 0, 0],
    ['a.b_c-d/12@9007199254740991', 'a.b_c-d', 12, Number.MAX_SAFE_INTEGER],
  ])('%j is one', (text, topic, partition, offset) => {
    const envelope = new Envelope()
    const headers = encodeHeaders([{ name: 'tm_origin', value: Buffer.from(text) }])
    envelope.read(headers, 0, headers.length, 1)
    expect(envelope.origin()).toEqual({ topic, partition, offset })
  })
})

describe('what is published has an id of its own for each version of each key', () => {
  test('a deletion is told apart from the row that it deletes, and deletions of two keys from each other', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]])
    await run.put('in', Item, [['k', item(2, 'gone')]])
    await run.put('in', Item, [['l', item(2, 'gone')]])
    await run.put('in', Item, [['m', item(2, 'gone')]])
    const given = await ids(run, 'last-state')
    expect(given).toEqual(['in/0@0/last/k@1', 'in/0@1/last/k@2', 'in/0@2/last/l@2', 'in/0@3/last/m@2'])
    await run.close()
  })

  test('a consumer that drops repeats by id sees the value, its deletion, and the value that comes after it', async () => {
    const stock = context('latest', { owner: 'stock' })
    const told = contract('last-state', {
      owner: stock,
      version: 1,
      topic: 'last-state',
      partitions: 1,
      key: text,
      exchange: 'state',
      meaning: 'the last item',
      events: { Sum },
    })
    const seen: (number | undefined)[] = []
    const following = topology('following', (flow) => {
      flow
        .source(told)
        .dedupe('once')
        .process('look', {
          rows: Sum,
          value: Sum,
          run: (incoming) => void seen.push(incoming.empty ? undefined : (incoming.value as Sum).total),
        })
        .to('out-step', 'out')
      return []
    })
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]])
    await run.put('in', Item, [['k', item(2, 'gone')]])
    await run.put('in', Item, [['k', item(3, 'c')]])
    await run.close()
    const follower = harness(following, { after: run })
    await follower.settle()
    expect(seen).toEqual([1, undefined, 3])
    expect(follower.count('duplicate')).toBe(0)
    await follower.close()
  })

  test.each(Object.entries(CRASH))('and a crash at %s gives each the id that it had', async (_point, crash) => {
    const publish = async (sentinel: typeof crash | undefined): Promise<(string | undefined)[]> => {
      const run = harness(latest)
      await run.put('in', Item, [['k', item(1, 'a')]], sentinel)
      await run.put('in', Item, [['k', item(2, 'gone')]], sentinel)
      const given = await ids(run, 'last-state')
      await run.close()
      return given
    }
    expect(await publish(crash)).toEqual(await publish(undefined))
  })

  /** Says a key's number again, one second later, under the key's own timer. */
  const reminding = topology('reminding', (flow) => [
    items(flow)
      .process('remind', {
        rows: Item,
        value: Item,
        run: (incoming, scope, out) => {
          const { n, note } = incoming.value as Item
          if (note === 'tick') return
          if (note === 'now') out.fact(incoming.key, item(n, 'now'))
          scope.put(incoming.value)
          scope.wakeAt(incoming.at + 1_000)
        },
        wake: (_timer, scope, out) => out.fact(scope.key, item((scope.get() as Item).n, 'timer')),
      })
      .dedupe('once', { by: 'id' })
      .project('sums', { row: Sum, identity: 'once', publish: 'sums-state', fold: summed }),
  ])

  test('rows that timers made are told apart by key, and say which record moved time, the same in every life (K09)', async () => {
    const run = harness(reminding)
    await run.put('in', Item, [
      ['k', item(1, 'now'), 1_000],
      ['l', item(2), 1_000],
      ['m', item(3), 1_000],
    ])
    await run.put('in', Item, [['tick', item(0, 'tick'), 2_000]])
    const moved = (await run.topic('in')).at(-1)
    const states = await run.topic('sums-state')
    expect(states.map(({ key, headers }) => [key, headers.ce_sequence])).toEqual(
      expect.arrayContaining([
        ['k', '0000000000000001'],
        ['k', '0000000000000002'],
        ['l', '0000000000000001'],
        ['m', '0000000000000001'],
      ]),
    )
    const given = states.map(({ headers }) => headers.ce_id)
    expect(new Set(given).size).toBe(given.length)
    const rows = async (): Promise<unknown[]> => {
      const view = await run.view('sums')
      return Promise.all(['k', 'l', 'm'].map(async (key) => (await view.get(key)).row))
    }
    const source = { topic: 'in', partition: 0, offset: moved?.offset }
    expect(await rows()).toMatchObject([
      { version: 2, source },
      { version: 1, source },
      { version: 1, source },
    ])
    const before = await rows()
    await loseDisk(run as never, 'reminding')
    expect(await rows()).toEqual(before)
    expect(await run.replay('sums')).toMatchObject({ equal: true, switched: true })
    expect(await rows()).toMatchObject([
      { version: 2, source },
      { version: 1, source },
      { version: 1, source },
    ])
    await run.close()
  })
})

describe('a state topic has CloudEvents (D13, D14, D15)', () => {
  const windows = { 'contact-preferences': { target: '5s', max: '1m' } } as const
  const T = Date.UTC(2020, 1, 2)
  const consent = topology('consenting', (flow) => {
    const facts = flow
      .source(preferences)
      .order('in-sequence')
      .translate('as-consent', consents, {
        EmailOptIn: ({ version }, { key }) => consents.make.ConsentGranted(key, { version }),
        EmailOptOut: ({ version }, { key }) => consents.make.ConsentWithdrawn(key, { version }),
      })
    return [
      flow.inbox('all', [facts]).project('consent', {
        row: Consent,
        owner: billing,
        revision: 3,
        identity: 'in-sequence',
        windows,
        publish: 'billing.consent.v1',
        fold: {
          ConsentGranted: (row) => ({ mayInvoiceByEmail: true, changes: (row?.changes ?? 0) + 1 }),
          ConsentWithdrawn: () => undefined,
        },
      }),
    ]
  })

  test('of who owns the projection, about its key, caused by the last fact and of its conversation, also where a row is deleted', async () => {
    const run = harness(consent)
    await run.feed(preferences, [{ ...optIn('Ä|1', 1, { id: 'one', at: T }), correlationId: 'talk', causationId: 'campaign' }])
    const recorded = new Date(run.clock.now()).toISOString()
    await run.feed(preferences, [optOut('Ä|1', 2, { id: 'two', at: T + 5 })])
    const [granted, withdrawn] = await run.topic('billing.consent.v1')
    const [first, second] = ['one', 'two'].map((id) => derivedId(id, 'as-consent', 0))
    expect(granted).toMatchObject({ key: 'Ä|1', at: T })
    expect(granted?.headers).toEqual({
      ce_specversion: '1.0',
      ce_id: `${first}/consent/Ä|1@1`,
      ce_type: 'billing.Consent',
      ce_source: '/billing',
      ce_time: '2020-02-02T00:00:00.000Z',
      ce_recordedtime: recorded,
      ce_partitionkey: 'Ä|1',
      ce_sequence: '0000000000000001',
      ce_correlationid: 'talk',
      ce_causationid: first,
      ce_contractversion: '3',
    })
    expect(withdrawn).toMatchObject({ key: 'Ä|1', value: undefined, at: T + 5 })
    expect(withdrawn?.headers).toEqual({
      ...granted?.headers,
      ce_id: `${second}/consent/Ä|1@2`,
      ce_time: '2020-02-02T00:00:00.005Z',
      ce_recordedtime: expect.any(String) as string,
      ce_sequence: '0000000000000002',
      // It began a conversation of its own, which is known by its id.
      ce_correlationid: 'two',
      ce_causationid: second,
    })
    await run.close()
  })

  test('of the application, where no context owns it, and of plain records, which are known by their place', async () => {
    const run = harness(adding)
    await run.put('in', Item, [['k', item(1, 'a')]])
    expect(await run.topic('sums-state')).toMatchObject([
      {
        headers: {
          ce_type: 'adding.Sum',
          ce_source: '/adding',
          ce_partitionkey: 'k',
          ce_causationid: 'in/0@0',
          ce_correlationid: 'in/0@0',
        },
      },
    ])
    await run.close()
  })

  test('of the last of the facts that one commit applied to a row', async () => {
    const run = harness(
      topology('clicking', (flow) => [
        flow
          .source(clicks)
          .dedupe('once')
          .project('sums', {
            row: Sum,
            identity: 'once',
            windows: { clicks: { target: '5s', max: '1m' } },
            publish: 'state',
            fold: summed,
          }),
      ]),
    )
    const { log, codecs } = await run.access()
    // One batch, so that it goes into one commit.
    const batch = new BatchBuilder({ codecs })
    for (const id of ['a', 'b', 'c']) {
      const headers = Object.entries({ ce_id: id, ce_source: '/web', ce_correlationid: `talk ${id}` })
      batch.add(
        1_000,
        Buffer.from('u'),
        await run.encode(Clicked, item(1, id)),
        encodeHeaders(headers.map(([name, value]) => ({ name, value: Buffer.from(value) }))),
      )
    }
    const writer = await log.plainWriter()
    await writer.append('web.clicks/0', batch.finish())
    await writer.close()
    await run.settle()
    expect(await run.topic('state')).toMatchObject([
      { headers: { ce_id: 'c/sums/u@3', ce_sequence: '0000000000000003', ce_causationid: 'c', ce_correlationid: 'talk c' } },
    ])
    await run.close()
  })

  test('of the conversation of a fact that was held, written to disk, restored from its changelog, and then released', async () => {
    const run = harness(consent)
    await run.feed(preferences, [{ ...optIn('c', 2, { sequence: 2, id: 'two' }), correlationId: 'talk' }])
    await loseDisk(run as never, 'consenting')
    await run.feed(preferences, [{ ...optOut('c', 1, { sequence: 1, id: 'one' }), correlationId: 'other' }])
    expect((await run.topic('billing.consent.v1')).at(-1)?.headers).toMatchObject({
      ce_causationid: derivedId('two', 'as-consent', 0),
      ce_correlationid: 'talk',
    })
    await run.close()
  })

  test('a contract of state takes them for what they say: type, source, id and version', async () => {
    const states = contract('consent-state', {
      owner: billing,
      version: 3,
      topic: 'billing.consent.v1',
      partitions: 2,
      key: text,
      exchange: 'state',
      meaning: 'who may be sent invoices by e-mail',
      events: { Consent },
    })
    const run = harness(consent)
    await run.feed(preferences, [{ ...optIn('c', 1), correlationId: 'talk' }])
    await run.close()
    const follower = harness(
      topology('following', (flow) => [
        flow
          .source(states)
          .dedupe('once')
          .project('copies', {
            row: Consent,
            identity: 'once',
            windows: { 'consent-state': { target: '5s', max: '1m' } },
            fold: (_row, { mayInvoiceByEmail, changes }, fact) => {
              expect(fact).toMatchObject({ source: '/billing', correlationId: 'talk', sequence: 1 })
              return { mayInvoiceByEmail, changes }
            },
          }),
      ]),
      { after: run },
    )
    expect(await follower.rows('copies')).toEqual({ c: { mayInvoiceByEmail: true, changes: 1 } })
    expect(follower.count('contract_version', 'consent-state', 3)).toBe(1)
    expect(await follower.dead('consent-state')).toEqual([])
    await follower.close()
  })

  test('an id or a key as long as a record does not make headers that no reader takes', async () => {
    const long = 'x'.repeat(60_000)
    const run = harness(
      topology('lengthy', (flow) => {
        const facts = flow
          .source(preferences)
          .dedupe('once')
          .translate('as-consent', consents, {
            EmailOptIn: ({ version }, { key }) => consents.make.ConsentGranted(key, { version }),
            EmailOptOut: 'ignore',
          })
        facts.to('out-step', 'out')
        return [
          flow.inbox('all', [facts]).project('versions', {
            row: Item,
            identity: 'once',
            windows,
            publish: 'versions-state',
            fold: { ConsentGranted: (_row, { version }) => item(version), ConsentWithdrawn: () => undefined },
          }),
        ]
      }),
    )
    await run.feed(preferences, [
      optIn('c', 1, { id: long }),
      { ...optIn('d', 1), correlationId: long, causationId: long },
      optIn('k'.repeat(60_000), 1, { id: 'of a long key' }),
    ])
    expect(Object.keys(await run.rows('versions')).map((key) => key.length)).toEqual([1, 1, 60_000])
    for (const topic of ['out', 'versions-state']) {
      const seen = await run.topic(topic)
      expect(seen).toHaveLength(3)
      for (const { headers } of seen) expect(headers.ce_id?.length).toBeLessThan(100)
      expect(new Set(seen.map(({ headers }) => headers.ce_id)).size).toBe(3)
      expect(seen.filter(({ headers }) => headers.ce_partitionkey === undefined)).toHaveLength(1)
    }
    expect(await run.dead('contact-preferences')).toEqual([])
    await run.close()
  })
})
