/** Every read says how fresh it is: for a row, for a partition and for a projection; by the clock of the source, not by its calendar. */
import { describe, expect, test } from 'vitest'
import { type Flow, TidemarkError, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { freshnessOf } from '../../src/runtime/freshness.ts'
import { Frontier } from '../../src/runtime/frontier.ts'
import type { SourceProgress, Way } from '../../src/runtime/heard.ts'
import { billing, Consent, consents, optIn, preferences } from '../fixtures/crm.ts'
import { click, clicks, Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const direct = topology('direct', (flow) => [
  flow
    .source(clicks)
    .dedupe('once')
    .project('clicks-of', {
      row: Item,
      identity: 'once',
      windows: { clicks: { target: '5s', max: '1m' } },
      decisions: {
        show: { maxStaleness: '10s', otherwise: 'proceed' },
        promise: { maxStaleness: '10s', otherwise: 'refuse' },
        ask: { maxStaleness: '10s', otherwise: 'ask-authority' },
        guess: { maxStaleness: '10s', otherwise: 'degrade' },
      },
      fold: { Clicked: (row, event) => item((row?.n ?? 0) + event.n) },
    }),
])

test('freshness is told of a row, of each partition and of the projection as a whole (K08)', async () => {
  const run = harness(
    topology('three-levels', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 3 })])
        .dedupe('once', { id: (v) => v.note })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ]),
  )
  await run.put('in', Item, [['k', item(1, 'a')]])
  const view = await run.view('sums')
  expect((await view.get('k')).freshness).toMatchObject({
    state: 'fresh',
    asOf: expect.stringMatching(/^three-levels-all-g1-inbox\/\d@\d+$/) as string,
  })
  const { projection, partitions } = view.freshness()
  expect(partitions.map(({ partition, freshness }) => [partition, freshness.state])).toEqual([
    [0, 'fresh'],
    [1, 'fresh'],
    [2, 'fresh'],
  ])
  expect(projection.state).toBe('fresh')
  await run.close()
})

test('a worker vouches for what it runs: a partition that another one has is unknown to it, and so is the whole (K08)', async () => {
  const cluster = await Cluster.open()
  const spread = topology('spread', (flow) => [
    flow
      .stream('in', { key: text, value: Item }, { partitions: 4 })
      .dedupe('once', { id: (v) => v.note })
      .project('sums', { row: Sum, identity: 'once', fold: summed }),
  ])
  const first = await cluster.start(spread, 'w0')
  await cluster.settle()
  await cluster.rest()
  expect(first.view('sums').freshness()).toMatchObject({ projection: { state: 'fresh' } })
  const second = await cluster.start(spread, 'w1')
  await cluster.settle()
  const keys = Array.from({ length: 12 }, (_, i) => `k${i}`)
  await cluster.put(
    'in',
    Item,
    keys.map((key) => [key, item(1, 'a')] as const),
  )
  await cluster.settle()
  await cluster.rest()
  const views = [first, second].map((app) => app.view('sums'))
  const states = views.map((view) => view.freshness().partitions.map(({ freshness }) => freshness.state))
  // Each partition is fresh for one of the two, and unknown to the other.
  expect(states[0]?.map((state, i) => [state, states[1]?.[i] ?? ''].toSorted((a, b) => (a < b ? -1 : 1)))).toEqual(
    Array.from({ length: 4 }, () => ['fresh', 'unknown']),
  )
  expect(states.map((each) => each.filter((state) => state === 'fresh').length)).toEqual([2, 2])
  expect(views.map((view) => view.freshness().projection.state)).toEqual(['unknown', 'unknown'])
  for (const key of keys) {
    const answers = await Promise.all(views.map((view) => view.get(key)))
    const at = answers.findIndex(({ freshness }) => freshness.state === 'fresh')
    expect([answers[at]?.value, answers[1 - at]?.value, answers[1 - at]?.freshness.state]).toEqual([
      { total: 1, notes: 'a' },
      undefined,
      'unknown',
    ])
  }
  await cluster.close()
})

test('facts of 2010 that are replayed today are fresh when they are through: age counts from when the source recorded them (D11)', async () => {
  const run = harness(direct)
  await run.feed(clicks, [click('u', 'a', 1, { at: Date.UTC(2010, 11, 1) })])
  const { freshness } = await (await run.view('clicks-of')).get('u')
  expect(freshness.state).toBe('fresh')
  expect('ageMs' in freshness && freshness.ageMs).toBeLessThan(1_000)
  await run.close()
})

describe('what lags', () => {
  /** A worker that stops in its first commit: everything after it lags. */
  const stuck = async (): Promise<{
    cluster: Cluster
    view: ReturnType<Awaited<ReturnType<Cluster['start']>>['view']>
    more: (id: string) => Promise<void>
  }> => {
    const cluster = await Cluster.open()
    const hang: { at?: string } = {}
    const app = await cluster.start(direct, 'w', { hang })
    const more = async (id: string): Promise<void> => {
      const { publisher } = await import('#tidemark')
      const { world } = cluster.world(`feed-${id}`)
      const events = publisher(clicks, { as: clicks.owner, log: world })
      // Of 2010 by its calendar: what counts is when it was recorded.
      await events.publish(clicks.make.Clicked('u', item(1, id)), { id, at: Date.UTC(2010, 11, 1) })
      await events.close()
    }
    await more('first')
    await cluster.settle()
    hang.at = 'commit.before-decision'
    return { cluster, view: app.view('clicks-of'), more }
  }

  test('is stale beyond its target, and says by how much; each decision does what it declared (D11)', async () => {
    const { cluster, view, more } = await stuck()
    await more('second')
    await cluster.turns(100)
    await cluster.clock.advance('3s')
    await cluster.turns(100)
    expect((await view.get('u')).freshness).toMatchObject({ state: 'fresh' })
    await cluster.clock.advance('17s')
    await cluster.turns(100)
    const { value, freshness } = await view.get('u')
    expect(value).toEqual(item(1))
    expect(freshness.state).toBe('stale')
    expect('ageMs' in freshness && freshness.ageMs).toBeGreaterThanOrEqual(15_000)
    expect('ageMs' in freshness && freshness.ageMs).toBeLessThan(60_000)
    expect('overrunMs' in freshness && 'ageMs' in freshness && freshness.ageMs - freshness.overrunMs).toBe(5_000)
    expect(await view.decide('show', 'u')).toMatchObject({ answer: 'value', value: item(1), degraded: false })
    expect(await view.decide('guess', 'u')).toMatchObject({ answer: 'value', value: item(1), degraded: true })
    expect(await view.decide('promise', 'u')).toMatchObject({ answer: 'refused', why: 'too-stale' })
    expect(await view.decide('ask', 'u')).toMatchObject({ answer: 'refused', why: 'ask-authority' })
    expect(view.freshness().projection.state).toBe('stale')
    cluster.kill('w')
    await cluster.close()
  })
})

test('a decision that was not declared is refused by name, and one within its staleness gets the value', async () => {
  const run = harness(direct)
  await run.feed(clicks, [click('u', 'a', 3)])
  const view = await run.view('clicks-of')
  expect(await view.decide('promise', 'u')).toMatchObject({
    answer: 'value',
    value: item(3),
    degraded: false,
    freshness: { state: 'fresh' },
  })
  await expect(view.decide('sell' as 'show', 'u')).rejects.toMatchObject({
    code: 'DECISION_UNKNOWN',
    hint: 'Declared are: show, promise, ask, guess.',
  })
  await run.close()
})

test('behind an inbox the sources decide: one that lags makes every row stale, because its facts may concern any of them', async () => {
  const merged = topology('merged', (flow: Flow) => [
    flow
      .inbox('changes', [
        flow
          .source(preferences)
          .dedupe('once')
          .translate(
            'as-consent',
            consents,
            {
              EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
              EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
            },
            { onError: 'halt' },
          ),
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
  const run = harness(merged)
  await run.feed(preferences, [optIn('c', 1)])
  expect((await (await run.view('consent')).get('c')).freshness.state).toBe('fresh')
  // The stage before the inbox halts; the inbox itself is read to its end all the time.
  await run.send('crm.preferences.v1', [
    {
      key: 'c',
      value: Buffer.from('poison'),
      headers: ['ce_id:x', 'ce_source:/crm', 'ce_sequence:2'].map((each) => ({
        name: each.slice(0, each.indexOf(':')),
        value: Buffer.from(each.slice(each.indexOf(':') + 1)),
      })),
    },
  ])
  expect(await run.failure()).toBeInstanceOf(TidemarkError)
  await run.advance('20s')
  const { freshness } = await (await run.view('consent')).get('c')
  expect(freshness.state).toBe('stale')
  expect('overrunMs' in freshness && freshness.overrunMs).toBeGreaterThan(10_000)
  await run.close()
})

describe('by itself', () => {
  const question = {
    partition: 'in/0',
    facts: [{ fact: 'clicks', window: { targetMs: 5_000, quantile: 0.99, maxMs: 60_000 }, behindInbox: undefined }],
    behindInbox: undefined,
    parked: undefined,
    restoring: undefined,
  }

  test('a log that was never read is unknown, and one that does not answer any more as well', () => {
    const frontier = new Frontier(new Set(['in']))
    expect(freshnessOf(frontier, { ...question, now: 1_000 })).toEqual({
      state: 'unknown',
      reason: 'its log is not read here: another worker has its task, or it is not open yet',
    })
    const input = { parts: { partition: 'in/0', topic: 'in' }, position: 7, recordedAt: undefined }
    frontier.opened({ name: 't', inputs: [] } as never, { parts: { inputs: [input] } } as never)
    frontier.polled('in/0', { high: 7, at: 1_000 }, frontier.snapshot(1_000))
    expect(freshnessOf(frontier, { ...question, now: 1_500 })).toEqual({ state: 'fresh', ageMs: 500, asOf: 'in/0@6' })
    expect(freshnessOf(frontier, { ...question, now: 40_000 })).toEqual({
      state: 'unknown',
      reason: 'its log has not answered for a while',
    })
  })

  /** A task that reads two sources into an inbox, and one that reads the inbox; all start at 7. */
  const behindInbox = (): Frontier => {
    const frontier = new Frontier(new Set(['a', 'b']))
    const input = (topic: string) => ({ parts: { partition: `${topic}/0`, topic }, position: 7, recordedAt: 200 })
    frontier.opened({ name: 's', inputs: [] } as never, { parts: { inputs: [input('a'), input('b')] } } as never)
    frontier.opened({ name: 't', inputs: [] } as never, { parts: { inputs: [input('in')] } } as never)
    return frontier
  }
  const following = (fact: string, targetMs: number, ...sources: string[]) => ({
    fact,
    window: { targetMs, quantile: 0.99, maxMs: 60_000 },
    behindInbox: new Map(sources.map((source) => [source, [source]])),
  })

  const upTo = (position: number, recordedAt: number, told: ReadonlyMap<Way, SourceProgress> = new Map()) => ({
    positions: new Map([['in/0', position]]),
    recorded: new Map([['in/0', recordedAt]]),
    heard: new Map([['in/0', told]]),
  })

  test('an inbox answers for its sources as they stood before it was asked, and not as they stand when it answers', () => {
    const frontier = behindInbox()
    frontier.polled('a/0', { high: 7, at: 1_000 }, frontier.snapshot(1_000))
    const before = frontier.snapshot(1_000)
    // Meanwhile the source was read on: what came of that may lie behind what the inbox answers.
    frontier.polled('a/0', { high: 7, at: 2_000 }, frontier.snapshot(2_000))
    const ask = (now: number): unknown => freshnessOf(frontier, { ...question, facts: [following('clicks', 5_000, 'a/0')], now })
    frontier.polled('in/0', { high: 7, at: 2_000 }, before)
    expect(ask(2_000)).toMatchObject({ state: 'fresh', ageMs: 1_000 })
    frontier.polled('in/0', { high: 9, at: 2_100 }, frontier.snapshot(2_100))
    // Two records more are in the inbox, and only when they are committed does it answer for what it was asked behind them.
    expect(ask(2_200)).toMatchObject({ ageMs: 1_200 })
    frontier.committed('t', upTo(8, 2_050))
    expect(ask(2_200)).toMatchObject({ ageMs: 1_200 })
    frontier.committed('t', upTo(9, 2_060))
    expect(ask(2_200)).toMatchObject({ ageMs: 200 })
    const quiet = frontier.snapshot(2_300)
    frontier.polled('a/0', { high: 7, at: 2_400 }, frontier.snapshot(2_400))
    frontier.quiet('in/0', 2_400, quiet)
    expect(ask(2_400)).toMatchObject({ ageMs: 400 })
  })

  test('of several facts the one that is furthest beyond its window decides, whichever comes last; one of which nothing is known makes it unknown', () => {
    const frontier = behindInbox()
    frontier.polled('a/0', { high: 7, at: 1_000 }, frontier.snapshot(1_000))
    // It lags: what is through is what was recorded up to its last record.
    frontier.polled('b/0', { high: 12, at: 1_000 }, frontier.snapshot(1_000))
    frontier.polled('in/0', { high: 7, at: 1_000 }, frontier.snapshot(1_000))
    const ask = (...facts: ReturnType<typeof following>[]): unknown => freshnessOf(frontier, { ...question, facts, now: 1_000 })
    const [fresh, lagging] = [following('a-facts', 500, 'a/0'), following('b-facts', 500, 'b/0')]
    for (const facts of [
      [fresh, lagging],
      [lagging, fresh],
    ])
      expect(ask(...facts)).toMatchObject({ state: 'stale', ageMs: 800, overrunMs: 300 })
    expect(ask(fresh, following('b-facts', 5_000, 'b/0'))).toMatchObject({ state: 'fresh', ageMs: 800 })
    expect(ask(following('both', 500, 'a/0', 'b/0'))).toMatchObject({ state: 'stale', overrunMs: 300 })
    expect(ask(following('both', 500, 'b/0', 'a/0'))).toMatchObject({ state: 'stale', overrunMs: 300 })
    expect(ask(fresh, following('elsewhere', 500, 'a/0', 'c/0'))).toEqual({
      state: 'unknown',
      reason: 'nothing is known yet of the sources of "elsewhere"',
    })
  })

  test('a restore says how far it is, and a parked key is stale although nothing lags', () => {
    const frontier = new Frontier(new Set(['in']))
    expect(freshnessOf(frontier, { ...question, now: 0, restoring: 0.25 })).toEqual({ state: 'restoring', done: 0.25 })
    const input = { parts: { partition: 'in/0', topic: 'in' }, position: 7, recordedAt: undefined }
    frontier.opened({ name: 't', inputs: [] } as never, { parts: { inputs: [input] } } as never)
    frontier.polled('in/0', { high: 7, at: 1_000 }, frontier.snapshot(1_000))
    expect(freshnessOf(frontier, { ...question, now: 1_000, parked: { reason: 'waits', held: 3 } })).toMatchObject({
      state: 'stale',
      overrunMs: 0,
      parked: { reason: 'waits', held: 3 },
    })
  })
})
