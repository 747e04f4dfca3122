/** Contracts are values that both sides import: what they hold, and what they are refused for. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { avroKey, compound, context, contract, type EventOf, schema, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { planOf } from '../../src/plan/planner.ts'
import { crm, EmailOptIn, EmailOptOut, preferences } from '../fixtures/crm.ts'

const terms = { owner: crm, version: 1, topic: 'crm.x', key: text, meaning: 'a test', events: { EmailOptIn, EmailOptOut } } as const
const make = (more: object = {}): (() => unknown) => {
  return () => contract('x', { ...terms, ...more })
}

/** The topic that is made for a contract where it does not exist yet. */
const topicOf = async (more: object): Promise<unknown> => {
  const run = harness(
    topology('follower', (flow) => {
      flow
        .source(contract('x', { ...terms, ...more }))
        .dedupe('once')
        .to('out-step', 'out')
      return []
    }),
  )
  const [made] = await (await run.access()).log.describe(['crm.x'])
  await run.close()
  return made
}

describe('a contract', () => {
  test('is frozen, with defaults for what it does not say', () => {
    const value = contract('x', terms)
    expect(value).toMatchObject({
      name: 'x',
      partitions: 4,
      exchange: 'events',
      sequence: 'none',
      sources: ['/crm'],
      unknownEvents: 'dead-letter',
      retentionMs: -1,
      envelope: {},
      reasons: {},
    })
    expect(Object.isFrozen(value) && Object.isFrozen(value.events) && Object.isFrozen(value.make) && Object.isFrozen(value.sources)).toBe(
      true,
    )
  })

  test('says nothing in words that it does not know, also within what it says', () => {
    for (const [more, said] of [
      [{ envelope: { idd: () => '' } }, 'envelope of contract "x" has no option "idd"'],
      [
        { reasons: { EmailOptIn: { field: 'theme', codes: ['dark'], code: [] } } },
        'reasons of "EmailOptIn" in contract "x" has no option "code"',
      ],
      [{ envelope: 'none' }, 'envelope of contract "x" is "none", where options are meant'],
    ] as const)
      expect(make(more)).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID', message: said, hint: expect.stringMatching(/It has \w+/) }),
      )
    expect(() => context('shop', { owner: 'us', team: 'us' } as { owner: string })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: 'context "shop" has no option "team"' }),
    )
  })

  test('makes facts that are told apart by their type, and its events are a union of just these (D17)', () => {
    expect(preferences.make.EmailOptIn('c-1', { version: 1, theme: 'dark' })).toEqual({
      key: 'c-1',
      value: { type: 'EmailOptIn', version: 1, theme: 'dark' },
    })
    expectTypeOf<EventOf<{ EmailOptIn: typeof EmailOptIn; EmailOptOut: typeof EmailOptOut }>['type']>().toEqualTypeOf<
      'EmailOptIn' | 'EmailOptOut'
    >()
    const describeEvent = (event: NonNullable<typeof preferences._value>): string => {
      switch (event.type) {
        case 'EmailOptIn':
          return event.theme
        case 'EmailOptOut':
          return event.reason
        default:
          return event satisfies never
      }
    }
    expect(describeEvent({ type: 'EmailOptOut', version: 1, reason: 'asked' })).toBe('asked')
  })

  test('makes the event that is asked for, also from the fields of another one', () => {
    const other = preferences.make.EmailOptOut('c', { version: 7, reason: 'r' }).value
    expect(preferences.make.EmailOptIn('c', { ...other, theme: 'dark' }).value.type).toBe('EmailOptIn')
  })
})

describe('facts that all count', () => {
  test('travel on a topic that is kept by time: compaction, which would drop some of a key, is refused (C09)', async () => {
    expect(make({ cleanup: 'compact' })).toThrow(
      expect.objectContaining({ code: 'CONTRACT_INVALID', message: 'contract "x" carries events on a compacted topic' }),
    )
    expect(make({ cleanup: 'delete' })).not.toThrow()
    expect(make({ exchange: 'events', retention: '7d' })()).toMatchObject({ retentionMs: 7 * 86_400_000 })
    expect(make({ retention: 'forever' })()).toMatchObject({ retentionMs: -1 })
    expect(await topicOf({ retention: '7d' })).toMatchObject({ cleanup: 'delete', retentionMs: 7 * 86_400_000, partitions: 4 })
    expect(await topicOf({ partitions: 3 })).toMatchObject({ cleanup: 'delete', retentionMs: -1, partitions: 3 })
  })
})

describe('state, of which the last fact of a key counts', () => {
  test('travels on a compacted topic under a key: deletion by time, or no key, is refused (C10)', async () => {
    expect(make({ exchange: 'state', cleanup: 'delete' })).toThrow(
      expect.objectContaining({ code: 'CONTRACT_INVALID', message: 'contract "x" carries state on a topic that is not compacted' }),
    )
    expect(make({ exchange: 'state', key: undefined })).toThrow(
      expect.objectContaining({ code: 'CONTRACT_INVALID', message: 'contract "x" has no key' }),
    )
    expect(make({ exchange: 'state' })).not.toThrow()
    expect(await topicOf({ exchange: 'state' })).toMatchObject({ cleanup: 'compact' })
  })
})

test.each<[what: string, more: object, code: string]>([
  ['no version', { version: undefined }, 'CONTRACT_INVALID'],
  ['version 0', { version: 0 }, 'CONTRACT_INVALID'],
  ['half a version', { version: 1.5 }, 'CONTRACT_INVALID'],
  ['no partitions', { partitions: 0 }, 'CONTRACT_INVALID'],
  ['half a partition', { partitions: 2.5 }, 'CONTRACT_INVALID'],
  ['no events', { events: {} }, 'CONTRACT_INVALID'],
  ['an event under another name than its record', { events: { OptIn: EmailOptIn } }, 'CONTRACT_INVALID'],
  [
    'an event with a field that is named as what tells events apart',
    { events: { Typed: schema({ type: 'record', name: 'Typed', fields: [{ name: 'type', type: 'string' }] }) } },
    'CONTRACT_INVALID',
  ],
  ['reasons for an event that it does not have', { reasons: { Nothing: { field: 'reason', codes: ['a'] } } }, 'CONTRACT_INVALID'],
  ['reasons in a field that the event does not have', { reasons: { EmailOptOut: { field: 'why', codes: ['a'] } } }, 'CONTRACT_INVALID'],
  ['a closed list of no reasons', { reasons: { EmailOptOut: { field: 'reason', codes: [] } } }, 'CONTRACT_INVALID'],
  ['nobody who may speak', { sources: [] }, 'CONTRACT_INVALID'],
  ['a topic that is none', { topic: 'crm/x' }, 'NAME_INVALID'],
  ['a retention that is none', { retention: 'a while' }, 'OPTION_INVALID'],
  ['a sequence that is none', { sequence: 'global' }, 'CONTRACT_INVALID'],
  ['an exchange that is none', { exchange: 'commands' }, 'CONTRACT_INVALID'],
  ['a fate of unknown events that is none', { unknownEvents: 'drop' }, 'CONTRACT_INVALID'],
  ['a word that says nothing', { colour: 'red' }, 'OPTION_INVALID'],
])('a contract with %s is refused where it is written', (_what, more, code) => {
  expect(make(more)).toThrow(expect.objectContaining({ code }))
})

test.each(['', 'Orders', 'a b', 'a_b', '-a'])('neither a contract nor a context is named %j', (name) => {
  expect(() => contract(name, terms)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  expect(() => context(name, { owner: 'o' })).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
})

test('a topic that many contexts feed is warned of, and each further one named (D06)', () => {
  const warnings = (sources: readonly string[]): readonly string[] =>
    planOf(
      topology('linted', (flow) => {
        flow
          .source(contract('x', { ...terms, sources }))
          .dedupe('once')
          .to('out-step', 'out')
        return []
      }).graph,
    ).warnings
  expect(warnings(['/crm'])).toEqual([])
  expect(warnings(['/crm', '/shop', '/web', '/app', '/partner'])).toEqual([
    'topic "crm.x" is fed by 5 contexts (/crm, /shop, /web, /app, /partner): align a topic with one domain, or nobody answers for its facts',
  ])
})

test('ids that are forgotten before their records are warned of: a replay of the older ones would count them twice (S7)', () => {
  const warnings = (retention: '7d' | '1h'): readonly string[] =>
    planOf(
      topology('linted', (flow) => {
        flow
          .source(contract('x', { ...terms, retention }))
          .dedupe('once', { by: 'id', keep: '1d' })
          .to('out-step', 'out')
        return []
      }).graph,
    ).warnings
  expect(warnings('1h')).toEqual([])
  expect(warnings('7d')).toEqual([
    'step "once" forgets ids before topic "crm.x" forgets records: a replay of the older ones would not be deduplicated',
  ])
})

test('a key of parts has each part once', () => {
  for (const parts of [[], ['a', 'a'], [['a', 'b']], [5]] as never[][])
    expect(() => compound(...parts)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', hint: 'Name each part once, such as compound("sku", "region").' }),
    )
})

test.each<[what: string, more: object, said: string]>([
  ['the name of a key', { key: 'text' }, 'key of contract "x" is "text", where a key is meant'],
  ['a function in the place of a key', { key: compound }, 'key of contract "x" is a function (compound), where a key is meant'],
  ['the name of a context', { owner: 'crm' }, 'owner of contract "x" is "crm", where a context is meant'],
  ['no meaning', { meaning: undefined }, 'meaning of contract "x" is undefined, where a text is meant'],
  ['a list of events', { events: [EmailOptIn] }, 'events of contract "x" is a list, where an object is meant'],
  ['no events at all', { events: undefined }, 'events of contract "x" is undefined, where an object is meant'],
  [
    'the name of a schema',
    { events: { EmailOptIn: 'EmailOptIn' } },
    'event "EmailOptIn" of contract "x" is "EmailOptIn", where a schema is meant',
  ],
  [
    'an Avro record that is no schema yet',
    { events: { EmailOptIn: EmailOptIn.avro } },
    'event "EmailOptIn" of contract "x" is an object (of the name "EmailOptIn"), where a schema is meant',
  ],
  [
    'the name of a field in the envelope',
    { envelope: { id: 'id' } },
    'id, in the envelope of contract "x", is "id", where a function is meant',
  ],
  ['one source that is no list', { sources: '/crm' }, 'sources of contract "x" is "/crm", where a list of texts is meant'],
  ['reasons that are none', { reasons: 'late' }, 'reasons of contract "x" is "late", where an object is meant'],
  [
    'reasons without codes',
    { reasons: { EmailOptOut: { field: 'reason' } } },
    'codes of the reasons of "EmailOptOut" is undefined, where a list of texts is meant',
  ],
  ['a version in words', { version: { major: 1 } }, 'contract "x" has version {"major":1}'],
  ['an exchange that is an object', { exchange: { kind: 'state' } }, 'contract "x" exchanges {"kind":"state"}'],
  ['a cleanup that is none', { cleanup: 'compat' }, 'contract "x" has cleanup "compat"'],
])('a program without the compiler is told what a contract is given wrong, and what is meant: %s', (_what, more, message) => {
  expect(make(more)).toThrow(
    expect.objectContaining({
      name: 'TidemarkError',
      code: expect.stringMatching(/^(OPTION|CONTRACT)_INVALID$/),
      message,
      hint: expect.any(String),
    }),
  )
})

test('a context has an owner in words, and the key of a record is made from its schema', () => {
  expect(() => context('shop', { owner: crm } as never)).toThrow(
    expect.objectContaining({
      code: 'OPTION_INVALID',
      message: 'owner of context "shop" is {"name":"crm","owner":"customer-care"}, where a text is meant',
    }),
  )
  expect(() => avroKey('EmailOptIn' as never)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: 'what avroKey() is given is "EmailOptIn", where a schema is meant' }),
  )
})
