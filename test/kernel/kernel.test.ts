/** The kernel carries operators that the vocabulary does not have yet: windows, joins and suppress, written on it as tests. */
import { describe, expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import {
  announcePaged,
  foreignKeyJoin,
  hoppingCount,
  Joined,
  Order,
  sessionCount,
  subscribe,
  suppress,
  tableJoin,
  Windowed,
  Word,
} from './operators.ts'

const windows = (
  rows: readonly (readonly [string | undefined, { start: number; end: number; count: number; final: boolean } | null, number])[],
  final: boolean,
): string[] =>
  rows.flatMap(([key, value]) => (value !== null && value.final === final ? [`${key}@${value.start}/${value.end}=${value.count}`] : []))

describe('a hopping window on the kernel', () => {
  const tumbling = topology('tumbling', (flow) => {
    hoppingCount(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'counts', 2, 2, 1).to('out-step', 'out')
    return []
  })
  const at = (...times: number[]): readonly (readonly [string, { text: string }, number])[] =>
    times.map((time) => ['k1', { text: '-' }, time])

  test('gives one final result a window, and none for a record that is late', async () => {
    const run = harness(tumbling)
    await run.put('in', Word, at(0, 1, 2, 1, 0, 5, 0))
    expect(windows(await run.values('out', Windowed), true)).toEqual(['k1@0/2=4', 'k1@2/4=1'])
    expect(run.count('late', 'counts')).toBe(1)
    await run.close()
  })

  test('remembers after a restart which windows have closed', async () => {
    const run = harness(tumbling)
    await run.put('in', Word, at(0, 5))
    await run.restart()
    await run.put('in', Word, at(0))
    expect(run.count('late', 'counts')).toBe(1)
    expect(windows(await run.values('out', Windowed), true)).toEqual(['k1@0/2=1'])
    await run.close()
  })

  test('closes windows that a quiet period leaves behind, through a restart in between', async () => {
    const run = harness(
      topology('gap', (flow) => {
        hoppingCount(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'counts', 10, 10, 0).to('out-step', 'out')
        return []
      }),
    )
    await run.put('in', Word, at(1, 12))
    await run.restart()
    await run.put('in', Word, at(30, 40))
    expect(windows(await run.values('out', Windowed), true)).toEqual(['k1@0/10=1', 'k1@10/20=1', 'k1@30/40=1'])
    await run.close()
  })

  test('counts a record in every window that it falls into', async () => {
    const run = harness(
      topology('hopping', (flow) => {
        hoppingCount(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'counts', 10, 5, 0).to('out-step', 'out')
        return []
      }),
    )
    await run.put('in', Word, at(7, 12))
    expect(windows(await run.values('out', Windowed), false)).toEqual(['k1@5/15=1', 'k1@0/10=1', 'k1@10/20=1', 'k1@5/15=2'])
    await run.close()
  })
})

describe('a session window on the kernel', () => {
  test('merges the sessions that a record connects, and counts on after a restart', async () => {
    const run = harness(
      topology('sessions', (flow) => {
        sessionCount(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'sessions', 5, 10).to('out-step', 'out')
        return []
      }),
    )
    await run.put('in', Word, [
      ['a', { text: '-' }, 0],
      ['a', { text: '-' }, 10],
      ['a', { text: '-' }, 5],
    ])
    await run.restart()
    await run.put('in', Word, [
      ['a', { text: '-' }, 12],
      ['b', { text: '-' }, 40],
    ])
    expect(windows(await run.values('out', Windowed), false)).toEqual(['a@0/0=1', 'a@10/10=1', 'a@0/10=3', 'a@0/12=4', 'b@40/40=1'])
    expect(windows(await run.values('out', Windowed), true)).toContain('a@0/12=4')
    await run.close()
  })
})

describe('a table-table join on the kernel', () => {
  test('joins whichever side changes, and tells of deletions', async () => {
    const run = harness(
      topology('tables', (flow) => {
        const left = flow.stream('left', { key: text, value: Word }, { partitions: 2, cleanup: 'compact' })
        const right = flow.stream('right', { key: text, value: Word }, { partitions: 2, cleanup: 'compact' })
        tableJoin(left, right, 'joined').to('out-step', 'out')
        return []
      }),
    )
    await run.put('left', Word, [['k', { text: 'A' }]])
    await run.put('right', Word, [['k', { text: 'a' }]])
    await run.restart()
    await run.put('left', Word, [['k', { text: 'B' }]])
    await run.put('right', Word, [['k', null]])
    expect((await run.values('out', Joined)).map(([, value]) => `${value?.left}-${value?.right}`)).toEqual([
      'A-null',
      'A-a',
      'B-a',
      'B-null',
    ])
    await run.close()
  })
})

describe('a foreign-key join on the kernel', () => {
  const results = async (
    rows: readonly (readonly [string | undefined, { left: string | null; right: string | null } | null, number])[],
  ): Promise<Record<string, string>> => Object.fromEntries(rows.map(([key, value]) => [key as string, `${value?.left}/${value?.right}`]))

  test('follows orders that move between customers, and customers with several orders', async () => {
    const run = harness(
      topology('foreign-key', (flow) => {
        const orders = flow.stream('orders', { key: text, value: Order }, { partitions: 2 })
        const customers = flow.stream('customers', { key: text, value: Word }, { partitions: 3 })
        const subscriptions = flow.inbox('by-customer', [subscribe(orders, 'subscribe')], { partitions: 3 })
        foreignKeyJoin(subscriptions, customers, 'join').to('out-step', 'out')
        return []
      }),
    )
    await run.put('orders', Order, [
      ['o1', { customer: 'ann', item: 'book' }],
      ['o2', { customer: 'ann', item: 'lamp' }],
    ])
    await run.put('customers', Word, [
      ['ann', { text: 'Ann' }],
      ['bob', { text: 'Bob' }],
    ])
    await run.restart()
    await run.put('orders', Order, [['o2', { customer: 'bob', item: 'lamp' }]])
    await run.put('customers', Word, [['ann', { text: 'Anna' }]])
    const seen = (await run.values('out', Joined)).map(([key, value]) => `${key}:${value?.left}/${value?.right}`)
    expect(seen.filter((each) => each.startsWith('o1'))).toEqual(['o1:book/null', 'o1:book/Ann', 'o1:book/Anna'])
    // The farewell to the former customer and the greeting of the new one travel by two partitions: their order is not promised.
    expect(seen.filter((each) => each.startsWith('o2')).sort()).toEqual(['o2:lamp/Ann', 'o2:lamp/Bob', 'o2:lamp/null', 'o2:null/Ann'])
    expect(Object.keys(await results(await run.values('out', Joined)))).toEqual(expect.arrayContaining(['o1', 'o2']))
    await run.close()
  })

  test('reaches more orders of one customer than are loaded at once, page by page', async () => {
    const run = harness(
      topology('paged', (flow) => {
        const orders = flow.stream('orders', { key: text, value: Order }, { partitions: 1 })
        const customers = flow.stream('customers', { key: text, value: Word }, { partitions: 1 })
        const subscriptions = flow.inbox('by-customer', [subscribe(orders, 'subscribe')])
        announcePaged(customers, subscriptions, 'announce').to('out-step', 'out')
        return []
      }),
    )
    const count = 2_500
    await run.put(
      'orders',
      Order,
      Array.from({ length: count }, (_, i) => [`o${String(i).padStart(5, '0')}`, { customer: 'ann', item: `i${i}` }] as const),
    )
    await run.put('customers', Word, [
      ['ann', { text: 'Ann' }],
      ['bob', { text: 'Bob' }],
    ])
    const out = await run.values('out', Joined)
    expect(out).toHaveLength(count)
    expect(out[count - 1]).toMatchObject(['o02499', { left: 'i2499', right: 'Ann' }, expect.any(Number)])
    await run.close()
  })
})

describe('suppress on the kernel', () => {
  test('lets out the last value once the time is over, and keeps what waits through a restart', async () => {
    const run = harness(
      topology('suppressed', (flow) => {
        suppress(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'calm', 10).to('out-step', 'out')
        return []
      }),
    )
    await run.put('in', Word, [
      ['k', { text: 'a' }, 0],
      ['k', { text: 'b' }, 5],
    ])
    await run.restart()
    await run.put('in', Word, [
      ['other', { text: '-' }, 10],
      ['k', { text: 'c' }, 11],
    ])
    expect((await run.values('out', Word)).map(([key, value]) => `${key}=${value?.text}`)).toEqual(['k=b'])
    await run.close()
  })
})
