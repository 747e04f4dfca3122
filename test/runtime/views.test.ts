/** Views: what is committed and nothing else, by key and by page, always with its freshness. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type Answer, compound, type Decided, type Flow, schema, text, topology, type View } from '#tidemark'
import { harness } from '#tidemark/testing'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const sums = topology('sums', (flow: Flow) => [
  flow
    .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 3 })])
    .dedupe('once', { id: (v) => v.note })
    .project('sums', { row: Sum, identity: 'once', decisions: { ship: { maxStaleness: '1m', otherwise: 'refuse' } }, fold: summed }),
])

test('a read gives value and freshness together, and neither can be had without the other (K11)', () => {
  expectTypeOf<Awaited<ReturnType<View<string, Sum, 'ship'>['get']>>>().toEqualTypeOf<Answer<Sum>>()
  expectTypeOf<Answer<Sum>>().toHaveProperty('freshness')
  expectTypeOf<Answer<Sum>['freshness']['state']>().toEqualTypeOf<'fresh' | 'stale' | 'unknown' | 'restoring'>()
  expectTypeOf<Answer<Sum>['value']>().toEqualTypeOf<Sum | undefined>()
  // A refusal has no value to use by mistake.
  expectTypeOf<Extract<Decided<Sum>, { answer: 'refused' }>>().not.toHaveProperty('value')
  expectTypeOf<Decided<Sum>>().toHaveProperty('freshness')
})

describe('a read sees what is committed', () => {
  // Without an inbox: one commit takes a fact to its row.
  const direct = topology('direct', (flow: Flow) => [
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .dedupe('once', { id: (v) => v.note })
      .project('sums', { row: Sum, identity: 'once', fold: summed }),
  ])
  test.each([
    ['commit.before-outputs', 1],
    ['commit.after-outputs', 1],
    ['commit.after-changelogs', 1],
    ['commit.before-decision', 1],
    ['commit.before-stores', 1],
    ['commit.after-stores', 3],
  ] as const)('while a commit stands at %s a row adds up to %i, and to 3 for whoever takes over', async (at, seen) => {
    const cluster = await Cluster.open()
    let stands = false
    const hang: { at?: string; hit: () => void } = {
      hit: () => {
        stands = true
      },
    }
    const app = await cluster.start(direct, 'w', { hang })
    await cluster.settle()
    await cluster.put('in', Item, [['k', item(1, 'a')]], 'plainly')
    await cluster.settle()
    // Without the marker of a transaction in between, the next commit is that of the next fact.
    hang.at = at
    await cluster.put('in', Item, [['k', item(2, 'b')]], 'plainly')
    await cluster.until(() => stands)
    await cluster.turns(20)
    const view = app.view('sums')
    expect([(await view.get('k')).value, (await view.page()).rows.map(({ value }) => value)]).toMatchObject([
      { total: seen },
      [{ total: seen }],
    ])
    cluster.kill('w')
    const next = await cluster.start(direct, 'w')
    await cluster.settle()
    expect((await next.view('sums').get('k')).value).toEqual({ total: 3, notes: 'ab' })
    await cluster.close()
  })
})

test('a key that was never written has no row, and one of another kind is refused', async () => {
  const run = harness(sums)
  await run.put('in', Item, [['k', item(1, 'a')]])
  const view = await run.view('sums')
  expect(await view.get('nobody')).toMatchObject({ value: undefined, row: undefined, freshness: { state: 'fresh' } })
  await expect(view.get(7 as never)).rejects.toMatchObject({ code: 'KEY_INVALID' })
  await expect(view.get('a\ud800')).rejects.toMatchObject({ code: 'KEY_INVALID' })
  await run.close()
})

test('a view that does not exist is named with those that do', async () => {
  const run = harness(sums)
  const app = await run.app()
  expect(() => app.view('nothing')).toThrow(expect.objectContaining({ code: 'VIEW_UNKNOWN', hint: 'Views of "sums" are: sums.' }))
  expect(app.views).toEqual(['sums'])
  await run.close()
})

describe('pages', () => {
  const keys = ['a', 'a|', 'a|b', 'aa', 'ab', 'b', 'b\\', 'ä', '', '\u0000', '\uffff', '~'.repeat(300)]
  const filled = async () => {
    const run = harness(sums)
    await run.put(
      'in',
      Item,
      keys.map((key, i) => [key, item(i, 'a')] as const),
    )
    return run
  }

  test('go through all rows once, in the order of their keys’ bytes, whatever their size', async () => {
    const run = await filled()
    const view = await run.view('sums')
    const inOrder = keys.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)))
    for (const limit of [1, 2, 5, 12, 100]) {
      const seen: string[] = []
      let after: string | undefined
      do {
        const page = await view.page(after === undefined ? { limit } : { limit, after })
        expect(page.rows.length).toBeLessThanOrEqual(limit)
        seen.push(...page.rows.map(({ text: key }) => key))
        after = page.next
      } while (after !== undefined)
      expect(seen).toEqual(inOrder)
    }
    expect(await view.count()).toBe(keys.length)
    await run.close()
  })

  test.each(['a', 'a|', 'b', 'ä', 'nothing', '', '\u0000'])('with the prefix %j have the keys that begin so', async (prefix) => {
    const run = await filled()
    const { rows } = await (await run.view('sums')).page({ prefix })
    expect(rows.map(({ text: key }) => key)).toEqual(
      keys.filter((key) => key.startsWith(prefix)).toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b))),
    )
    await run.close()
  })

  test('leave out what was deleted, and count it not', async () => {
    const run = harness(
      topology('deleting', (flow) => [
        flow
          .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 2 })])
          .project('last', { row: Item, gate: { version: (v) => v.n }, fold: (_row, v) => (v.note === 'gone' ? undefined : v) }),
      ]),
    )
    await run.put('in', Item, [
      ['a', item(1)],
      ['b', item(1)],
      ['a', item(2, 'gone')],
    ])
    const view = await run.view('last')
    expect([(await view.page()).rows.map(({ text: key }) => key), await view.count()]).toEqual([['b'], 1])
    await run.close()
  })

  test.each([0, -1, 1_001, 1e9])('of %i rows are held to what a page may have', async (limit) => {
    const run = await filled()
    const { rows } = await (await run.view('sums')).page({ limit })
    expect(rows.length).toBe(limit < 1 ? 1 : keys.length)
    await run.close()
  })
})

test('a compound key is read by its parts and by the text that URLs have', async () => {
  const Stock = schema<{ n: number }>({ type: 'record', name: 'Stock', fields: [{ name: 'n', type: 'long' }] })
  const run = harness(
    topology('compound', (flow) => [
      flow
        .inbox('by-place', [
          flow
            .stream('in', { key: text, value: Item }, { partitions: 1 })
            .keyBy('place', compound('sku', 'region'), (v) => ({ sku: v.note, region: 'EU|1' })),
        ])
        .dedupe('once', { id: (v) => `${v.n}` })
        .project('stock', { row: Stock, identity: 'once', fold: (row, v) => ({ n: (row?.n ?? 0) + v.n }) }),
    ]),
  )
  await run.put('in', Item, [['x', item(4, 'a\\b')]])
  const view = await run.view('stock')
  expect((await view.get({ sku: 'a\\b', region: 'EU|1' })).value).toEqual({ n: 4 })
  expect(view.keyOf('a\\\\b|EU\\|1')).toEqual({ sku: 'a\\b', region: 'EU|1' })
  expect((await view.page()).rows).toEqual([{ key: { sku: 'a\\b', region: 'EU|1' }, text: 'a\\\\b|EU\\|1', value: { n: 4 } }])
  await run.close()
})

test('rows and hash are the same whatever the number of partitions', async () => {
  const hashes: string[] = []
  for (const partitions of [1, 2, 5]) {
    const run = harness(
      topology('spread', (flow) => [
        flow
          .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions })])
          .dedupe('once', { id: (v) => v.note })
          .project('sums', { row: Sum, identity: 'once', fold: summed }),
      ]),
    )
    await run.put(
      'in',
      Item,
      Array.from({ length: 30 }, (_, i) => [`k${i % 11}`, item(i, `${i}`)] as const),
    )
    hashes.push(await run.stateHash('sums'))
    await run.close()
  }
  expect(new Set(hashes).size).toBe(1)
})
