/** order: a key's facts pass as 1, 2, 3; what comes early waits on disk; a hole ends as the step says, and a restart changes nothing. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type OrderOptions, Stream, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, shuffled, summed } from '../fixtures/plain.ts'

const T = 1_700_000_000_000

const ordered = (gap?: OrderOptions<Item, string>['gap']): Topology<readonly []> =>
  topology('ordered', (flow) => {
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .order('in-sequence', { sequence: (value) => value.n, ...(gap === undefined ? {} : { gap }) })
      .to('out-step', 'out')
    return []
  })

type Run = Harness<readonly []>
const send = (run: Run, key: string, numbers: readonly number[], at = T): Promise<void> =>
  run.put(
    'in',
    Item,
    numbers.map((n) => [key, item(n, `${n}`), at] as const),
  )
const passed = async (run: Run, key = 'k'): Promise<number[]> =>
  (await run.values('out', Item)).flatMap(([of, value]) => (of === key ? [value?.n ?? Number.NaN] : []))

describe('facts of one key', () => {
  test('1, 3, 2 pass as 1, 2, 3 (H05)', async () => {
    const run = harness(ordered())
    await send(run, 'k', [1, 3, 2])
    expect(await passed(run)).toEqual([1, 2, 3])
    expect([run.count('gap'), run.count('held'), run.count('released')]).toEqual([1, 0, 1])
    await run.close()
  })

  test('wait for their predecessor and not for other keys: order is local, and no step orders keys among each other (H01)', async () => {
    const run = harness(ordered())
    await send(run, 'slow', [2, 3])
    await send(run, 'k', [1, 2])
    expect(await passed(run)).toEqual([1, 2])
    expect(await passed(run, 'slow')).toEqual([])
    await send(run, 'slow', [1])
    expect(await passed(run, 'slow')).toEqual([1, 2, 3])
    // The vocabulary has no word for an order of everything.
    const words = Object.getOwnPropertyNames(Stream.prototype).filter((name) => name !== 'constructor')
    expect(words.sort()).toEqual(
      [
        'branch',
        'conform',
        'dedupe',
        'filter',
        'flatMap',
        'keyBy',
        'map',
        'merge',
        'order',
        'process',
        'project',
        'tip',
        'to',
        'translate',
      ].sort(),
    )
    await run.close()
  })

  test('that come again are dropped and told apart: the last one is a duplicate, an older one stale, a held one a duplicate', async () => {
    const run = harness(ordered())
    await send(run, 'k', [1, 2, 3, 3, 1, 6, 6, 7])
    expect([run.count('duplicate'), run.count('stale'), run.count('gap'), run.count('held')]).toEqual([2, 1, 1, 1])
    await send(run, 'k', [4, 5])
    expect(await passed(run)).toEqual([1, 2, 3, 4, 5, 6, 7])
    await run.close()
  })

  test('may have two holes, which are filled in either order', async () => {
    for (const fill of [
      [2, 4],
      [4, 2],
    ]) {
      const run = harness(ordered())
      await send(run, 'k', [1, 3, 5, 6])
      await run.restart()
      await send(run, 'k', fill.slice(0, 1))
      await run.restart()
      await send(run, 'k', fill.slice(1))
      expect(await passed(run)).toEqual([1, 2, 3, 4, 5, 6])
      await run.close()
    }
  })

  test('keep their envelope, origin and time while they wait, through a restart (D13)', async () => {
    const flow = topology('enveloped', (flow) => {
      flow.source(preferences).order('in-sequence').to('out-step', 'out')
      return []
    })
    const run = harness(flow)
    await run.feed(preferences, [
      { ...optOut('c', 2, { sequence: 2, id: 'second', at: T + 5 }), correlationId: 'talk-1', causationId: 'cause-1' },
    ])
    await run.restart()
    await run.feed(preferences, [optIn('c', 1, { sequence: 1, id: 'first', at: T })])
    const [first, second] = await run.topic('out')
    expect(first).toMatchObject({ at: T, headers: { ce_id: 'first' } })
    expect(second).toMatchObject({
      key: 'c',
      at: T + 5,
      headers: {
        ce_id: 'second',
        ce_correlationid: 'talk-1',
        ce_causationid: 'cause-1',
        ce_type: 'crm.EmailOptOut',
        ce_sequence: '0000000000000002',
      },
    })
    await run.close()
  })

  test('any permutation of 1 to n, with repetitions, restarts and crashes anywhere, passes as 1 to n', async () => {
    const input = fc.record({
      n: fc.integer({ min: 1, max: 12 }),
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      again: fc.array(fc.nat(), { maxLength: 6 }),
      stops: fc.array(fc.record({ at: fc.nat(), crash: fc.constantFrom(...Object.values(CRASH), undefined) }), { maxLength: 3 }),
    })
    await fc.assert(
      fc.asyncProperty(input, async ({ n, seed, again, stops }) => {
        const run = harness(
          topology('permuted', (flow) => {
            flow.source(preferences).order('in-sequence').to('out-step', 'out')
            return []
          }),
          { seed },
        )
        let state = seed
        const unit = (): number => {
          state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
          return state / 2 ** 32
        }
        const numbers = Array.from({ length: n }, (_, i) => i + 1)
        const order = shuffled([...numbers, ...again.map((i) => (i % n) + 1)], unit)
        const items = order.flatMap((sequence, i) => {
          const crashes = stops.flatMap(({ at, crash }) => (at % order.length === i && crash !== undefined ? [crash] : []))
          // A crash takes effect within the commit of what came before it, so something must come before it.
          return [optIn('k', sequence, { sequence, id: `id-${sequence}` }), ...crashes.flatMap((crash) => [optIn('other', 1), crash])]
        })
        await run.feed(preferences, items)
        if (stops.some(({ crash }) => crash === undefined)) await run.restart()
        const out = (await run.topic('out')).filter(({ key }) => key === 'k').map(({ headers }) => Number(headers.ce_sequence))
        expect(out).toEqual(numbers)
        await run.close()
      }),
      { numRuns: 30 },
    )
  })
})

describe('a hole that is held by count', () => {
  test('and then skipped lets what is held pass without it, and drops it when it comes after all', async () => {
    const run = harness(ordered({ hold: { records: 2 }, then: 'skip' }))
    await send(run, 'k', [1, 3, 4])
    expect(await passed(run)).toEqual([1])
    await run.restart()
    await send(run, 'k', [5])
    expect(await passed(run)).toEqual([1, 3, 4, 5])
    await send(run, 'k', [2, 6])
    expect(await passed(run)).toEqual([1, 3, 4, 5, 6])
    expect([run.count('skipped'), run.count('released'), run.count('stale')]).toEqual([1, 3, 1])
    await run.close()
  })

  test('and then skipped goes on to the next hole, which is held by the same rule', async () => {
    const run = harness(ordered({ hold: { records: 1 }, then: 'skip' }))
    await send(run, 'k', [3, 6])
    expect(await passed(run)).toEqual([3])
    await send(run, 'k', [7])
    expect(await passed(run)).toEqual([3, 6, 7])
    await run.close()
  })

  test('with nothing to be held skips at once', async () => {
    const run = harness(ordered({ hold: { records: 0 }, then: 'skip' }))
    await send(run, 'k', [2, 1, 5])
    expect(await passed(run)).toEqual([2, 5])
    await run.close()
  })

  test('and then parked goes on holding, and releases itself when the missing fact comes, through restarts', async () => {
    const run = harness(ordered({ hold: { records: 1 }, then: 'park' }))
    await send(run, 'k', [1, 3, 4])
    expect(run.count('parked')).toBe(1)
    await run.restart()
    await send(run, 'k', [5, 5, 1])
    expect(await passed(run)).toEqual([1])
    await run.restart()
    await send(run, 'k', [2])
    expect(await passed(run)).toEqual([1, 2, 3, 4, 5])
    expect([run.count('parked'), run.count('unparked')]).toEqual([1, 1])
    await send(run, 'k', [6])
    expect(await passed(run)).toEqual([1, 2, 3, 4, 5, 6])
    await run.close()
  })

  test('and then halted stops the task where it is; another program goes on exactly there', async () => {
    const run = harness(ordered({ hold: { records: 1 }, then: 'halt' }))
    await send(run, 'k', [1, 3])
    await send(run, 'k', [4])
    expect(await run.failure()).toMatchObject({ code: 'TASK_HALTED', message: 'step "in-sequence" gave up waiting for number 2 of a key' })
    expect(await passed(run)).toEqual([1])
    expect(await run.dead('in-sequence')).toEqual([])
    await run.close()
    const mended = harness(ordered({ hold: { records: 100 }, then: 'halt' }), { after: run })
    await send(mended, 'k', [2])
    expect(await passed(mended)).toEqual([1, 2, 3, 4])
    await mended.close()
  })
})

describe('a hole that is held for a time', () => {
  const held = (then: 'park' | 'skip' | 'halt'): Topology<readonly []> => ordered({ hold: '10s', then })

  test.each([false, true])('is skipped when stream time has passed (a restart in between: %s)', async (restart) => {
    const run = harness(held('skip'))
    await send(run, 'k', [1, 3], T)
    if (restart) await run.restart()
    await send(run, 'other', [1], T + 9_999)
    expect(await passed(run)).toEqual([1])
    if (restart) await run.restart()
    await send(run, 'other', [2], T + 10_000)
    expect(await passed(run)).toEqual([1, 3])
    await run.close()
  })

  test.each([false, true])(
    'is parked when its time in stream time is over, which is counted, and released when it comes (a restart in between: %s) (H05)',
    async (restart) => {
      const run = harness(held('park'))
      await send(run, 'k', [1, 3], T)
      await send(run, 'other', [1], T + 10_000)
      if (restart) await run.restart()
      expect(run.count('parked')).toBe(1)
      await send(run, 'k', [4], T + 20_000)
      if (restart) await run.restart()
      await send(run, 'k', [2], T + 30_000)
      expect(await passed(run)).toEqual([1, 2, 3, 4])
      await run.close()
    },
  )

  test('of nothing ends at once, also where one hole is followed by the next', async () => {
    const run = harness(ordered({ hold: '0s', then: 'skip' }))
    await send(run, 'k', [1, 3, 5, 4, 9], T)
    expect(await passed(run)).toEqual([1, 3, 5, 9])
    expect([run.count('skipped'), run.count('stale') + run.count('duplicate')]).toEqual([3, 1])
    await run.close()
  })

  test('is forgotten when it is filled in time: the next hole has a time of its own', async () => {
    const run = harness(held('skip'))
    await send(run, 'k', [1, 3], T)
    await send(run, 'k', [2], T + 5_000)
    await send(run, 'k', [5], T + 8_000)
    await run.restart()
    await send(run, 'other', [1], T + 17_999)
    expect(await passed(run)).toEqual([1, 2, 3])
    await send(run, 'other', [2], T + 18_000)
    expect(await passed(run)).toEqual([1, 2, 3, 5])
    await run.close()
  })

  test('halts the task by its time; nothing that was held is lost to the program that goes on', async () => {
    const run = harness(held('halt'))
    await send(run, 'k', [1, 3], T)
    await send(run, 'other', [1], T + 10_000)
    expect(await run.failure()).toMatchObject({ code: 'TASK_HALTED' })
    await run.close()
    const mended = harness(held('park'), { after: run })
    await send(mended, 'k', [2], T + 10_001)
    expect([await passed(mended), await passed(mended, 'other')]).toEqual([[1, 2, 3], [1]])
    await mended.close()
  })

  test('is not ended by one record with a clock of the year 9999, where the source says when it was recorded', async () => {
    const run = harness(
      topology('skewed', (flow) => {
        flow
          .source(preferences)
          .order('in-sequence', { gap: { hold: '10d', then: 'skip' } })
          .to('out-step', 'out')
        return []
      }),
    )
    await run.feed(preferences, [
      optIn('c', 2, { sequence: 2 }),
      // Among them is one of the same partition as "c".
      ...['d', 'e', 'f', 'g', 'h'].map((key) => optIn(key, 1, { sequence: 1, at: Date.UTC(9999, 11, 31) })),
      optIn('c', 1, { sequence: 1 }),
    ])
    const at = async (key: string): Promise<number | undefined> =>
      (await run.topic('crm.preferences.v1')).find((each) => each.key === key)?.partition
    expect(await Promise.all(['d', 'e', 'f', 'g', 'h'].map(at))).toContain(await at('c'))
    expect((await run.topic('out')).filter(({ key }) => key === 'c').map(({ headers }) => Number(headers.ce_sequence))).toEqual([1, 2])
    await run.close()
  })
})

test.each([[{ records: 5 }], ['10s'], [{ records: 1 }]] as const)(
  'what was held leaves the disk with its timer when it is released: one number a key stays (held by %j)',
  async (hold) => {
    const run = harness(ordered({ hold, then: 'park' }))
    await send(run, 'k', [3, 2, 5, 4])
    await send(run, 'k', [1])
    expect(await passed(run)).toEqual([1, 2, 3, 4, 5])
    await run.stop()
    const db = await run.state.open({ app: 'ordered', stage: 'in', generation: 1, partition: 0 })
    const rows = await db.range({ from: Buffer.from([1]), to: Buffer.from([2]), limit: 100 })
    await db.close()
    expect(rows.map(([key]) => key.toString('latin1'))).toEqual(['\u0001k\u0000\u0001'])
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  },
)

test('facts that come while a hole is waited for do not lengthen the wait', async () => {
  const run = harness(ordered({ hold: '10s', then: 'skip' }))
  await send(run, 'k', [1, 3], T)
  await send(run, 'k', [4], T + 6_000)
  await run.restart()
  await send(run, 'k', [5], T + 9_000)
  expect(await passed(run)).toEqual([1])
  await send(run, 'other', [1], T + 10_000)
  expect(await passed(run)).toEqual([1, 3, 4, 5])
  await run.close()
})

test('a key that was parked waits for its next hole as for the first, and is parked anew', async () => {
  const run = harness(ordered({ hold: { records: 1 }, then: 'park' }))
  await send(run, 'k', [1, 3, 4, 6])
  expect([run.count('parked'), run.count('unparked')]).toEqual([1, 0])
  await send(run, 'k', [2])
  // One fact is held behind the next hole, which is within the bound.
  expect([await passed(run), run.count('parked'), run.count('unparked')]).toEqual([[1, 2, 3, 4], 1, 1])
  await run.restart()
  await send(run, 'k', [7])
  expect([await passed(run), run.count('parked'), run.count('unparked')]).toEqual([[1, 2, 3, 4], 2, 1])
  await send(run, 'k', [5])
  expect([await passed(run), run.count('unparked')]).toEqual([[1, 2, 3, 4, 5, 6, 7], 2])
  await run.close()
})

test('cancel before create: each policy gives what it says, and nothing is dropped in silence (H04)', async () => {
  // The second fact of a key comes first; the first comes never.
  const early = async (gap: OrderOptions<Item, string>['gap']): Promise<unknown> => {
    const run = harness(ordered(gap))
    await send(run, 'k', [2])
    const said = {
      passed: await passed(run),
      halted: (await run.failure())?.code,
      parked: run.count('parked'),
      skipped: run.count('skipped'),
      gap: run.count('gap'),
    }
    await run.close()
    return said
  }
  expect(await early({ hold: { records: 5 }, then: 'park' })).toEqual({ passed: [], halted: undefined, parked: 0, skipped: 0, gap: 1 })
  expect(await early({ hold: { records: 0 }, then: 'park' })).toEqual({ passed: [], halted: undefined, parked: 1, skipped: 0, gap: 1 })
  expect(await early({ hold: { records: 0 }, then: 'skip' })).toEqual({ passed: [2], halted: undefined, parked: 0, skipped: 1, gap: 1 })
  expect(await early({ hold: { records: 0 }, then: 'halt' })).toMatchObject({ passed: [], halted: 'TASK_HALTED' })
})

test('a view says that a key is parked, why, and how many wait, although nothing lags', async () => {
  const run = harness(
    topology('viewed', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])
        .order('in-sequence', { sequence: (value) => value.n, gap: { hold: { records: 1 }, then: 'park' } })
        .project('sums', {
          row: Sum,
          identity: 'in-sequence',
          fold: summed,
          decisions: { ship: { maxStaleness: '1h', otherwise: 'refuse' } },
        }),
    ]),
  )
  await run.put('in', Item, [
    ['k', item(1, '1')],
    ['k', item(3, '3')],
    ['k', item(4, '4')],
    ['l', item(1, '1')],
  ])
  const view = await run.view('sums')
  expect(await view.get('k')).toMatchObject({
    value: { total: 1, notes: '1' },
    freshness: { state: 'stale', parked: { reason: 'waits for number 2', held: 2 } },
  })
  expect(await view.get('l')).toMatchObject({ freshness: { state: 'fresh' } })
  expect(await view.decide('ship', 'k')).toMatchObject({ answer: 'refused', why: 'parked' })
  await run.restart()
  await run.put('in', Item, [['k', item(2, '2')]])
  expect(await (await run.view('sums')).get('k')).toMatchObject({ value: { total: 10, notes: '1234' }, freshness: { state: 'fresh' } })
  await run.close()
})

test.each([-1, 1.5, Number.NaN])('holding %s records is refused', (records) => {
  expect(() => ordered({ hold: { records }, then: 'park' })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
})

test('a stream whose values have no schema cannot be ordered, because what waits is kept as bytes', () => {
  expect(() =>
    topology('bare', (flow) => {
      flow
        .stream('in', { key: text, value: Item })
        .map('to-anything', (value) => ({ anything: value }))
        .order('in-sequence', { sequence: () => 1 })
      return []
    }),
  ).toThrow(
    expect.objectContaining({
      code: 'TOPOLOGY_INVALID',
      message: 'step "in-sequence" keeps records until their turn comes, but values of "to-anything" have no schema',
    }),
  )
})
