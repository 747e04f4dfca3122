/** translate: a foreign fact becomes facts of our own, or is ignored, or rejected, each in so many words. */
import { describe, expect, test } from 'vitest'
import { context, contract, ignore, reject, schema, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { derivedId } from '../../src/contract/envelope.ts'
import { billing, Consent, consents, optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Item, item } from '../fixtures/plain.ts'

const fields = (...names: string[]) => names.map((name) => ({ name, type: 'int' as const }))
const Invited = schema<{ version: number }>({ type: 'record', name: 'Invited', namespace: 'billing', fields: fields('version') })
const Reminded = schema<{ version: number }>({ type: 'record', name: 'Reminded', namespace: 'billing', fields: fields('version') })
const letters = contract('letters', {
  owner: billing,
  version: 4,
  topic: 'billing.letters',
  partitions: 2,
  key: text,
  meaning: 'what is sent to whom',
  events: { Invited, Reminded },
})

type Cases = Parameters<ReturnType<typeof preferencesOf>['translate']>[2]
const preferencesOf = (flow: Parameters<Parameters<typeof topology>[1]>[0]) => flow.source(preferences).dedupe('once')
const translating = (cases: object): Topology<readonly []> =>
  topology('translating', (flow) => {
    preferencesOf(flow)
      .translate('as-letters', letters, cases as Cases as never)
      .to('out-step', 'out')
    return []
  })
const sent = async (run: Harness<readonly []>): Promise<string[]> =>
  (await run.topic('out')).map(({ key, headers }) => `${key} ${headers.ce_type}`)

/** Given facts, when they are translated, then these come out. Run twice: a translation has no clock and no chance. */
describe('given, when, then', () => {
  test.each<[what: string, cases: object, then: string[]]>([
    [
      'one fact makes one',
      { EmailOptIn: (event: { version: number }, fact: { key: string }) => letters.make.Invited(fact.key, event), EmailOptOut: 'ignore' },
      ['c-1 billing.Invited'],
    ],
    ['one fact makes none', { EmailOptIn: () => [], EmailOptOut: 'ignore' }, []],
    [
      'one fact makes several, under keys of their own',
      {
        EmailOptIn: (event: { version: number }) => [
          letters.make.Invited('x', event),
          letters.make.Reminded('y', event),
          letters.make.Reminded('x', event),
        ],
        EmailOptOut: (event: { version: number }) => letters.make.Reminded('z', event),
      },
      ['x billing.Invited', 'x billing.Reminded', 'y billing.Reminded', 'z billing.Reminded'],
    ],
    [
      'parts of a fact are ignored with a reason',
      {
        EmailOptIn: (event: { version: number }) => [ignore('nothing to say'), letters.make.Invited('x', event)],
        EmailOptOut: () => ignore('not ours'),
      },
      ['x billing.Invited'],
    ],
  ])('%s, and the same when it is run again (E02)', async (_what, cases, then) => {
    const seen: unknown[] = []
    for (let again = 0; again < 2; again++) {
      const run = harness(translating(cases))
      await run.feed(preferences, [optIn('c-1', 1, { id: 'a' }), optOut('c-1', 2, { id: 'b' })])
      expect((await sent(run)).sort()).toEqual([...then].sort())
      seen.push((await run.topic('out')).map(({ headers, value }) => [headers.ce_id, value?.toString('hex')]))
      await run.close()
    }
    expect(seen[0]).toEqual(seen[1])
  })
})

test('what is ignored is counted by its reason, and by its type where the case says ignore (E03)', async () => {
  const run = harness(translating({ EmailOptIn: 'ignore', EmailOptOut: () => ignore('no letters in summer') }))
  await run.feed(preferences, [optIn('c-1', 1), optIn('c-1', 2), optOut('c-1', 3)])
  expect([run.count('ignored', 'as-letters', 'EmailOptIn'), run.count('ignored', 'as-letters', 'no letters in summer')]).toEqual([2, 1])
  expect(await run.topic('out')).toEqual([])
  expect(await run.dead('as-letters')).toEqual([])
  await run.close()
})

test('reasons that come from data do not make a counter without bounds', async () => {
  const run = harness(
    translating({ EmailOptIn: (event: { version: number }) => ignore(`version ${event.version}`), EmailOptOut: 'ignore' }),
  )
  await run.feed(
    preferences,
    Array.from({ length: 300 }, (_, i) => optIn('c', i)),
  )
  expect(run.count('ignored', 'as-letters')).toBe(300)
  expect([...run.counts.keys()].filter((name) => name.startsWith('ignored as-letters version')).length).toBeLessThan(300)
  await run.close()
})

describe('a fact that was made of another', () => {
  const both = {
    EmailOptIn: (event: { version: number }, fact: { key: string }) => [
      letters.make.Invited(fact.key, event),
      letters.make.Reminded(fact.key, event),
    ],
    EmailOptOut: 'ignore',
  }

  test('names what caused it, and what the conversation was, and has an id that a replay makes again (D14) (G06)', async () => {
    const run = harness(translating(both))
    await run.feed(preferences, [{ ...optIn('c-1', 1, { id: 'cause-1' }), correlationId: 'talk-7' }, optIn('c-2', 1, { id: 'cause-2' })])
    const seen = await run.topic('out')
    const of = (key: string) => seen.filter((each) => each.key === key).map(({ headers }) => headers)
    expect(of('c-1')).toMatchObject([
      { ce_id: derivedId('cause-1', 'as-letters', 0), ce_causationid: 'cause-1', ce_correlationid: 'talk-7' },
      { ce_id: derivedId('cause-1', 'as-letters', 1), ce_causationid: 'cause-1', ce_correlationid: 'talk-7' },
    ])
    // A fact that begins a conversation gives it its name.
    expect(of('c-2')[0]).toMatchObject({ ce_correlationid: 'cause-2' })
    await run.close()
  })

  test('names what caused it also where that was made on the way: each link of the chain, and one conversation (D14) (G06)', async () => {
    const run = harness(
      topology('links', (flow) => {
        preferencesOf(flow)
          .translate('as-letters', letters, both as never)
          .translate('as-consent', consents, {
            Invited: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
            Reminded: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
          })
          .to('out-step', 'out')
        return []
      }),
    )
    await run.feed(preferences, [{ ...optIn('c-1', 1, { id: 'cause-1' }), correlationId: 'talk-7' }])
    const links = [0, 1].map((index) => derivedId('cause-1', 'as-letters', index))
    expect((await run.topic('out')).map(({ headers }) => [headers.ce_id, headers.ce_causationid, headers.ce_correlationid])).toEqual(
      links.map((link) => [derivedId(link, 'as-consent', 0), link, 'talk-7']),
    )
    await run.close()
  })

  test('speaks for the context that owns the contract, under its version (D10) (D12)', async () => {
    const run = harness(translating(both))
    await run.feed(preferences, [optIn('c-1', 1)])
    expect((await run.topic('out'))[0]?.headers).toMatchObject({
      ce_source: '/billing',
      ce_type: 'billing.Invited',
      ce_contractversion: '4',
      ce_specversion: '1.0',
    })
    await run.close()
  })

  test('keeps the business time of its cause, and when that was recorded (D11)', async () => {
    const run = harness(translating(both))
    const at = Date.UTC(2010, 11, 1, 8, 26)
    await run.feed(preferences, [optIn('c-1', 1, { at })])
    expect((await run.topic('out'))[0]).toMatchObject({
      at,
      headers: { ce_time: '2010-12-01T08:26:00.000Z', ce_recordedtime: new Date(run.clock.now()).toISOString() },
    })
    await run.close()
  })

  test.each(Object.entries(CRASH))('comes once, with one id, after a crash at %s (G06)', async (_point, crash) => {
    const run = harness(translating(both))
    await run.feed(preferences, [optIn('c-1', 1, { id: 'cause-1' }), crash])
    const ids = (await run.topic('out')).map(({ headers }) => headers.ce_id)
    expect(ids).toEqual([derivedId('cause-1', 'as-letters', 0), derivedId('cause-1', 'as-letters', 1)])
    await run.close()
  })
})

test('identity, cause and conversation come through two translations, an inbox, a hold, a lost disk and a restart (D13) (D14) (G06)', async () => {
  const build = topology('chain', (flow) => {
    const letterFacts = preferencesOf(flow).translate('as-letters', letters, {
      EmailOptIn: (event, fact) => letters.make.Invited(fact.key, { version: event.version }),
      EmailOptOut: (event, fact) => letters.make.Reminded(fact.key, { version: event.version }),
    })
    flow
      .inbox('letters-in', [letterFacts])
      .order('by-version', { sequence: (event) => event.version })
      .translate('as-consent', consents, {
        Invited: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
        Reminded: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
      })
      .to('out-step', 'out')
    return []
  })
  const run = harness(build)
  await run.feed(preferences, [{ ...optOut('c-1', 2, { id: 'second', at: 5_000 }), correlationId: 'talk-1' }])
  // The second waits for the first: its disk is lost meanwhile, and comes back from the changelog.
  await run.stop()
  for (const id of await run.state.list('chain')) await run.state.destroy(id)
  await run.feed(preferences, [{ ...optIn('c-1', 1, { id: 'first', at: 4_000 }), correlationId: 'talk-0' }])
  const idOf = (cause: string): string => derivedId(derivedId(cause, 'as-letters', 0), 'as-consent', 0)
  expect(await run.topic('out')).toMatchObject([
    { at: 4_000, headers: { ce_id: idOf('first'), ce_causationid: derivedId('first', 'as-letters', 0), ce_correlationid: 'talk-0' } },
    { at: 5_000, headers: { ce_id: idOf('second'), ce_causationid: derivedId('second', 'as-letters', 0), ce_correlationid: 'talk-1' } },
  ])
  await run.close()
})

describe('a translation is refused', () => {
  test('without a case for an event of its source, where it is written', () => {
    expect(() => translating({ EmailOptIn: 'ignore' })).toThrow(
      expect.objectContaining({
        code: 'TOPOLOGY_INVALID',
        message: 'step "as-letters" has no case for "EmailOptOut"',
        hint: "Translate it, or say EmailOptOut: 'ignore'.",
      }),
    )
  })

  test.each<[what: string, result: unknown, code: string]>([
    ['nothing', undefined, 'STEP_FAILED'],
    ['null', null, 'STEP_FAILED'],
    ['a text', 'Invited', 'STEP_FAILED'],
    ['an object that is no fact', {}, 'STEP_FAILED'],
    ['an event that its contract does not have', { key: 'k', value: { type: 'Paid', version: 1 } }, 'FACT_FOREIGN'],
    ['an event named as every object has something', { key: 'k', value: { type: 'constructor', version: 1 } }, 'FACT_FOREIGN'],
    ['a value that is nothing', { key: 'k', value: null }, 'STEP_FAILED'],
    ['an event with a field missing', { key: 'k', value: { type: 'Invited' } }, 'VALUE_INVALID'],
    ['a key of another kind', { key: { sku: 'x' }, value: { type: 'Invited', version: 1 } }, 'KEY_INVALID'],
    ['a fact and a rejection', [letters.make.Invited('k', { version: 1 }), reject('half')], 'STEP_REJECTED'],
  ])('when it returns %s: the fact is dead-lettered and nothing of it is sent', async (_what, result, code) => {
    const run = harness(
      translating({ EmailOptIn: () => result, EmailOptOut: (event: { version: number }) => letters.make.Reminded('z', event) }),
    )
    await run.feed(preferences, [optIn('c-1', 1), optOut('c-1', 2)])
    expect([(await run.dead('as-letters')).map(({ headers }) => headers.tm_code), await sent(run)]).toEqual([
      [code],
      ['z billing.Reminded'],
    ])
    await run.close()
  })
})

test('facts of a foreign context may not be folded as they are: translate them, or say why not (E01)', () => {
  const build = (conforming: boolean): (() => Topology) => {
    return () =>
      topology('absorbing', (flow) => {
        const facts = preferencesOf(flow)
        return [
          (conforming ? facts.conform('as-they-say', billing, { why: 'one word means one thing here' }) : facts).project('consent', {
            row: Consent,
            owner: billing,
            identity: 'once',
            windows: { 'contact-preferences': { target: '5s', max: '1m' } },
            fold: { EmailOptIn: (row) => row, EmailOptOut: (row) => row },
          }),
        ]
      })
  }
  expect(build(false)).toThrow(
    expect.objectContaining({
      code: 'TOPOLOGY_INVALID',
      message: 'projection "consent" belongs to "billing" but folds facts of "crm" as they are',
    }),
  )
  expect(build(true)).not.toThrow()
  expect(() =>
    topology('silent', (flow) => {
      preferencesOf(flow).conform('as-is', billing, { why: ' ' })
      return []
    }),
  ).toThrow(expect.objectContaining({ message: 'step "as-is" conforms without a reason' }))
})

test('the words of the events that are made are those of the target, whoever made them', async () => {
  // A context of its own with an event of the same name as the CRM's.
  const shop = context('shop', { owner: 'shop' })
  const EmailOptIn = schema<{ n: number }>({ type: 'record', name: 'EmailOptIn', namespace: 'shop', fields: fields('n') })
  const ours = contract('our-preferences', {
    owner: shop,
    version: 1,
    topic: 'shop.preferences',
    key: text,
    meaning: 'ours',
    events: { EmailOptIn },
  })
  const run = harness(
    topology('homonyms', (flow) => {
      preferencesOf(flow)
        .translate('as-ours', ours, {
          EmailOptIn: (event, fact) => ours.make.EmailOptIn(fact.key, { n: event.version }),
          EmailOptOut: 'ignore',
        })
        .map('to-item', (event) => item(event.n, event.type), { value: Item })
        .to('out-step', 'out')
      return []
    }),
  )
  await run.feed(preferences, [optIn('c', 3)])
  expect(await run.values('out', Item)).toMatchObject([['c', item(3, 'EmailOptIn'), expect.any(Number)]])
  await run.close()
})
