/** What a step makes of a record is an event of its own, caused by it; what it only lets pass stays what it was (D14, D15). */
import { describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { derivedId } from '../../src/contract/envelope.ts'
import { letterTopics, readLetters } from '../../src/runtime/letters.ts'
import { Redriver } from '../../src/runtime/redrive.ts'
import { optIn, preferences } from '../fixtures/crm.ts'
import { Item, item } from '../fixtures/plain.ts'

const T = Date.UTC(2020, 1, 2)
const started = (define: (flow: Flow) => void) =>
  harness(
    topology('making', (flow) => {
      define(flow)
      return []
    }),
  )
const fact = { ...optIn('c', 1, { id: 'fact', at: T }), correlationId: 'talk', causationId: 'campaign' }
const windows = { 'contact-preferences': { target: '5s', max: '1m' } } as const

describe('what goes out is described as what it is', () => {
  test('after map: another event, in nobody’s language, of the same key and number', async () => {
    const run = started((flow) =>
      flow
        .source(preferences)
        .dedupe('once')
        .map('to-item', ({ version }) => item(version), { value: Item })
        .to('out-step', 'out'),
    )
    await run.feed(preferences, [fact])
    const came = (await run.topic('crm.preferences.v1'))[0]?.headers
    const [out] = await run.topic('out')
    expect(out).toMatchObject({ key: 'c', at: T })
    expect(out?.headers).toEqual({
      ce_specversion: '1.0',
      ce_id: derivedId('fact', 'to-item', 0),
      ce_type: 'making.Item',
      ce_source: '/making',
      ce_time: came?.ce_time,
      ce_recordedtime: came?.ce_recordedtime,
      ce_partitionkey: 'c',
      ce_sequence: '0000000000000001',
      ce_correlationid: 'talk',
      ce_causationid: 'fact',
    })
    await run.close()
  })

  test('after keyBy: the same statement under another key, where it has no number', async () => {
    const run = started((flow) =>
      flow
        .source(preferences)
        .dedupe('once')
        .keyBy('by-theme', text, (event) => (event.type === 'EmailOptIn' ? event.theme : 'none'))
        .to('out-step', 'out'),
    )
    await run.feed(preferences, [fact])
    const [came] = await run.topic('crm.preferences.v1')
    const { ce_sequence, ...others } = came?.headers ?? {}
    expect(ce_sequence).toBe('0000000000000001')
    const [out] = await run.topic('out')
    expect(out).toMatchObject({ key: 'dark', at: T, value: came?.value })
    expect(out?.headers).toEqual({
      ...others,
      ce_id: derivedId('fact', 'by-theme', 0),
      ce_partitionkey: 'dark',
      ce_causationid: 'fact',
    })
    await run.close()
  })

  test('after filter, also through an inbox: as it came', async () => {
    const run = started((flow) => {
      const all = flow
        .source(preferences)
        .dedupe('once')
        .filter('some', () => true)
      all.to('out-step', 'out')
      flow.inbox('all', [all]).to('late-step', 'late')
    })
    await run.feed(preferences, [fact])
    const [came] = await run.topic('crm.preferences.v1')
    for (const topic of ['out', 'late']) expect((await run.topic(topic)).map(({ headers }) => headers)).toEqual([came?.headers])
    await run.close()
  })

  test('after keyBy and an inbox: as it was made before the inbox', async () => {
    const run = started((flow) => {
      const keyed = flow
        .source(preferences)
        .dedupe('once')
        .keyBy('by-theme', text, () => 'dark')
      keyed.to('out-step', 'out')
      flow.inbox('all', [keyed]).to('late-step', 'late')
    })
    await run.feed(preferences, [fact])
    const [out] = await run.topic('out')
    expect(out?.headers).toMatchObject({ ce_id: derivedId('fact', 'by-theme', 0), ce_partitionkey: 'dark' })
    expect((await run.topic('late')).map(({ headers }) => headers)).toEqual([out?.headers])
    await run.close()
  })

  test('after several steps: each link of the chain, with an id that none of the others has, in one conversation', async () => {
    const run = started((flow) => {
      const facts = flow.source(preferences).dedupe('once')
      const one = facts.map('one', ({ version }) => item(version), { value: Item })
      const other = facts.flatMap('other', ({ version }) => [item(version), item(version + 1)], { value: Item })
      one
        .merge('both', other)
        .map('again', ({ n }) => item(n + 10), { value: Item })
        .keyBy('by-number', text, ({ n }) => `${n}`)
        .to('out-step', 'out')
    })
    await run.feed(preferences, [{ ...optIn('c', 1), id: 'fact' }])
    const sent = (await run.topic('out')).map(({ headers }) => headers)
    expect(sent).toHaveLength(3)
    expect(new Set(sent.map(({ ce_id }) => ce_id)).size).toBe(3)
    const made = [derivedId('fact', 'one', 0), derivedId('fact', 'other', 0), derivedId('fact', 'other', 1)]
    const again = made.map((id) => derivedId(id, 'again', 0))
    expect(new Set(sent.map(({ ce_causationid }) => ce_causationid))).toEqual(new Set(again))
    for (const headers of sent) {
      expect(headers.ce_id).toBe(derivedId(headers.ce_causationid as string, 'by-number', 0))
      expect(headers).toMatchObject({ ce_correlationid: 'fact', ce_type: 'making.Item', ce_source: '/making' })
      expect(headers).not.toHaveProperty('ce_sequence')
    }
    await run.close()
  })

  test('keeps what else it came with, such as a trace, and needs no key', async () => {
    const run = started((flow) =>
      flow
        .stream('in', { key: text, value: Item }, { partitions: 1 })
        .map('same', (value) => value, { value: Item })
        .to('out-step', 'out'),
    )
    await run.app()
    const headers = [
      ['traceparent', '00-1-2-01'],
      ['ce_id', 'one'],
      ['ce_type', 'theirs.Thing'],
      ['ce_subject', 'it'],
      ['tm_origin', 'elsewhere/0@0'],
      ['empty', ''],
    ].map(([name, value]) => ({ name: name as string, value: Buffer.from(value as string) }))
    await run.send('in', [
      { key: null, value: await run.encode(Item, item(1)), headers },
      // More than a record may have beside an envelope: what fits goes on.
      { key: 'k', value: await run.encode(Item, item(2)), headers: [{ name: 'large', value: Buffer.alloc(64_000, 'x') }] },
    ])
    const [first, second] = await run.topic('out')
    expect(first?.key).toBeUndefined()
    expect(first?.headers).toMatchObject({
      traceparent: '00-1-2-01',
      empty: '',
      ce_id: derivedId('one', 'same', 0),
      ce_type: 'making.Item',
      ce_causationid: 'one',
    })
    for (const name of ['ce_subject', 'tm_origin', 'ce_partitionkey']) expect(first?.headers).not.toHaveProperty(name)
    expect(second?.headers).toMatchObject({ ce_causationid: 'in/0@1' })
    expect(second?.headers).not.toHaveProperty('large')
    await run.close()
  })
})

test('facts under another key are told apart by id, because their numbers were those of the old key', async () => {
  const run = harness(
    topology('theming', (flow) => [
      flow
        .inbox('all', [
          flow
            .source(preferences)
            .dedupe('once')
            .keyBy('by-theme', text, () => 'dark'),
        ])
        .dedupe('once-a-theme')
        .project('sums', { row: Item, identity: 'once-a-theme', windows, fold: (row, { version }) => item((row?.n ?? 0) + version) }),
    ]),
  )
  // Each is number 1 of its contact.
  await run.feed(
    preferences,
    ['a', 'b', 'c'].map((contact) => optIn(contact, 1)),
  )
  expect(await run.rows('sums')).toEqual({ dark: item(3) })
  expect([run.count('duplicate'), run.count('dead')]).toEqual([0, 0])
  expect(await run.replay('sums')).toMatchObject({ equal: true })
  await run.close()
})

test('a step sees the id that the event goes out with, and a held or redriven one keeps it and its number', async () => {
  const seen: unknown[] = []
  let broken = true
  const making = topology('making', (flow) => {
    flow
      .source(preferences)
      .dedupe('once')
      .map('to-item', ({ version }) => item(version), { value: Item })
      .order('in-sequence')
      .filter('look', (_value, { id, sequence, causationId, correlationId }) => {
        if (broken && sequence === 2) throw new Error('not yet')
        seen.push([id, sequence, causationId, correlationId])
        return true
      })
      .to('out-step', 'out')
    return []
  })
  const run = harness(making)
  await run.feed(preferences, [optIn('c', 3, { sequence: 3, id: 'three' }), optIn('c', 2, { sequence: 2, id: 'two' })])
  await run.restart()
  await run.feed(preferences, [optIn('c', 1, { sequence: 1, id: 'one' })])
  const expected = (id: string, number: number): unknown[] => [derivedId(id, 'to-item', 0), number, id, id]
  expect(seen).toEqual([expected('one', 1), expected('three', 3)])
  const [letter] = await run.dead('look')
  expect(letter?.headers).toMatchObject({ ce_id: derivedId('two', 'to-item', 0), ce_sequence: '0000000000000002', ce_causationid: 'two' })
  broken = false
  const [redriven] = await run.offline(async (world) => {
    const redriver = await Redriver.open(making.graph, world, { alone: true })
    const outcomes = []
    for (const of of await letterTopics(world.log, making.graph)) {
      for await (const each of readLetters(world.log, of)) outcomes.push(await redriver.redrive(each))
    }
    await redriver.close()
    return outcomes
  })
  expect(redriven).toEqual({ kind: 'redriven' })
  expect(seen.at(-1)).toEqual(expected('two', 2))
  expect((await run.topic('out')).map(({ headers }) => headers.ce_id)).toEqual(seen.map((each) => (each as string[])[0]))
  await run.close()
})
