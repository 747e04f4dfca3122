/** inbox: several streams meet in one recorded topic, under the key of what follows, and replaying it replays what follows. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compound, type Flow, type Topology, text, topology } from '#tidemark'
import { CRASH, harness } from '#tidemark/testing'
import { preferences } from '../fixtures/crm.ts'
import { click, clicks, Item, item, Sum, summed } from '../fixtures/plain.ts'

const items = (flow: Flow, topic: string, partitions = 2) => flow.stream(topic, { key: text, value: Item }, { partitions })

const meeting = topology('meeting', (flow) => {
  const one = items(flow, 'one')
    .dedupe('one-once', { id: (v) => v.note })
    .keyBy('one-by-note', text, (v) => v.note.slice(0, 1))
  const other = items(flow, 'other', 3)
    .dedupe('other-once', { id: (v) => v.note })
    .keyBy('other-by-note', text, (v) => v.note.slice(0, 1))
  return [
    flow.inbox('all', [one, other], { partitions: 2 }).project('sums', { row: Sum, identity: ['one-once', 'other-once'], fold: summed }),
  ]
})
const facts = (run: { topic(name: string): Promise<{ key: string | undefined }[]> }, inbox: string) =>
  run.topic(inbox).then((all) => all.filter(({ key }) => key !== undefined))

test('streams keyed differently meet under one key, and each fact is recorded once', async () => {
  const run = harness(meeting)
  await run.put('one', Item, [
    ['p', item(1, 'a1')],
    ['q', item(2, 'b1')],
  ])
  await run.restart()
  await run.put('other', Item, [
    ['x', item(4, 'a2')],
    ['y', item(8, 'a3')],
  ])
  expect(await run.rows('sums')).toMatchObject({ a: { total: 13 }, b: { total: 2 } })
  expect(await facts(run, 'meeting-all-g1-inbox')).toHaveLength(4)
  await run.close()
})

test('says of each fact where it came from, by its source record', async () => {
  const run = harness(
    topology('origins', (flow) => {
      flow.inbox('all', [flow.source(clicks).dedupe('once')]).to('out-step', 'out')
      return []
    }),
  )
  await run.feed(clicks, [{ ...click('u', 'first'), correlationId: 'talk' }, click('u', 'second')])
  expect(await facts(run, 'origins-all-g1-inbox')).toMatchObject([
    {
      key: 'u',
      headers: { tm_origin: 'web.clicks/0@0', ce_id: 'first', ce_correlationid: 'talk', ce_contractversion: '3', ce_type: 'web.Clicked' },
    },
    { key: 'u', headers: { tm_origin: 'web.clicks/0@2', ce_id: 'second' } },
  ])
  await run.close()
})

test('tells how far its sources are, in records of its own that nothing behind it sees', async () => {
  const run = harness(meeting)
  await run.put('one', Item, [['p', item(1, 'a1')]])
  const control = (await run.topic('meeting-all-g1-inbox')).filter(({ key }) => key === undefined)
  expect(control.length).toBeGreaterThan(0)
  expect(new Set(control.map(({ headers }) => headers.tm_kind))).toEqual(new Set(['progress']))
  expect(await run.rows('sums')).toEqual({ a: { total: 1, notes: 'a1' } })
  await run.close()
})

test('a control record of a kind that is not known yet means nothing, and one that is damaged harms nothing', async () => {
  const run = harness(meeting)
  await run.app()
  const kind = (value: string) => [{ name: 'tm_kind', value: Buffer.from(value) }]
  await run.send('meeting-all-g1-inbox', [
    { key: null, value: null, headers: kind('cut') },
    { key: null, value: Buffer.from([1, 0xff, 0xff, 0xff, 0xff, 0xff]), headers: kind('progress') },
    { key: null, value: null, headers: kind('progress') },
    { key: null, value: Buffer.from('?') },
  ])
  await run.put('one', Item, [['p', item(1, 'a1')]])
  expect(await run.rows('sums')).toEqual({ a: { total: 1, notes: 'a1' } })
  expect(await run.replay('sums')).toMatchObject({ equal: true })
  await run.close()
})

test('whatever is fed to either side, with crashes anywhere, comes through once, and its rebuild is equal (G01)', async () => {
  const points = [
    ...Object.values(CRASH),
    { crash: 'commit.before-outputs' },
    { crash: 'commit.before-changelogs' },
    { crash: 'commit.before-decision' },
    { crash: 'commit.before-stores' },
  ]
  const input = fc.array(
    fc.record({
      topic: fc.constantFrom('one', 'other'),
      key: fc.constantFrom('p', 'q', 'r'),
      note: fc.constantFrom('a', 'b', 'c'),
      crash: fc.option(fc.constantFrom(...points), { nil: undefined, freq: 2 }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  await fc.assert(
    fc.asyncProperty(input, async (events) => {
      const run = harness(meeting)
      const expected: Record<string, number> = {}
      let n = 0
      for (const { topic, key, note, crash } of events) {
        n += 1
        await run.put(topic, Item, [[key, item(2 ** n, `${note}${n}`)]], crash)
        // And once more: what was there already is not there twice.
        await run.put(topic, Item, [[key, item(2 ** n, `${note}${n}`)]])
        expected[note] = (expected[note] ?? 0) + 2 ** n
      }
      const totals = Object.fromEntries(Object.entries(await run.rows('sums')).map(([key, row]) => [key, row.total]))
      expect(totals).toEqual(expected)
      expect(await facts(run, 'meeting-all-g1-inbox')).toHaveLength(events.length)
      expect(await run.replay('sums')).toMatchObject({ equal: true })
      expect((await run.verify()).problems).toEqual([])
      await run.close()
    }),
    { numRuns: 12 },
  )
})

describe('an inbox is refused', () => {
  const build = (define: (flow: Flow) => unknown): (() => Topology) => {
    return () =>
      topology('refused', (flow) => {
        define(flow)
        return []
      })
  }
  test('without streams', () => {
    expect(build((flow) => flow.inbox('all', []))).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'inbox "all" has no streams' }),
    )
  })
  test.each<[what: string, define: (flow: Flow) => unknown]>([
    [
      'of different keys',
      (flow) =>
        flow.inbox('all', [items(flow, 'one'), items(flow, 'other').keyBy('pairs', compound('a', 'b'), () => ({ a: '', b: '' })) as never]),
    ],
    ['of different values', (flow) => flow.inbox('all', [items(flow, 'one'), flow.stream('other', { key: text, value: Sum }) as never])],
    ['of a contract and of none', (flow) => flow.inbox('all', [items(flow, 'one'), flow.source(preferences).dedupe('once') as never])],
    [
      'of two contracts',
      (flow) => flow.inbox('all', [flow.source(clicks).dedupe('o') as never, flow.source(preferences).dedupe('once') as never]),
    ],
  ])('for streams %s', (_what, define) => {
    expect(build(define)).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'step "all" receives streams of different keys or values' }),
    )
  })
  test('for values that have no schema, because it writes them', () => {
    expect(build((flow) => flow.inbox('all', [items(flow, 'one').map('bare', (v) => ({ v }))]))).toThrow(
      expect.objectContaining({ message: 'step "all" writes its input to a topic, but values of "bare" have no schema' }),
    )
  })
})
