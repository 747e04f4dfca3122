/** onError { retry }: an invocation that failed is run again after a while, and its partition waits with it, so nothing overtakes and nothing is lost. */
import { describe, expect, test } from 'vitest'
import { context, contract, type Flow, type Stream, schema, type Topology, text, topology } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

type Run = Harness<readonly []>
const items = (flow: Flow, partitions = 1) => flow.stream('in', { key: text, value: Item }, { partitions })
const program = (build: (flow: Flow) => void): Topology<readonly []> =>
  topology('retrying', (flow) => {
    build(flow)
    return []
  })
const passed = async (run: Run, topic = 'out'): Promise<string[]> =>
  (await run.values(topic, Item)).map(([key, value]) => `${key}${value?.n}`)
const until = async (done: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 20_000 && !done(); turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(done()).toBe(true)
}

test('each further try comes after a wait of its own, twice as long at most as the one before could be, and ten seconds at most', async () => {
  const at: number[] = []
  const run = harness(
    program((flow) =>
      items(flow)
        .filter(
          'sieve',
          () => {
            at.push(run.clock.now())
            throw new Error('not yet')
          },
          { onError: { retry: 12, then: 'dead-letter' } },
        )
        .to('out-step', 'out'),
    ),
  )
  await run.app()
  const end = new AbortController()
  const sending = run.put('in', Item, [['k', item(1)]]).finally(() => end.abort())
  while (!end.signal.aborted) await run.clock.advance('10s')
  await sending
  const waits = at.slice(1).map((time, i) => time - (at[i] as number))
  expect(waits).toHaveLength(12)
  for (const [i, wait] of waits.entries()) expect(wait).toBeLessThanOrEqual(Math.min(10_000, 100 * 2 ** i))
  // Which share of that it is, is chance: with all twelve the chance of so little is less than one in a million.
  expect(waits.reduce((sum, wait) => sum + wait, 0)).toBeGreaterThan(1_000)
  expect(new Set(waits).size).toBeGreaterThan(6)
  expect((await run.dead('sieve')).map(({ headers }) => headers.tm_attempts)).toEqual(['13'])
  await run.close()
})

test('while a record waits, what stands behind it in its partition waits too, other partitions go on, and nothing of it is committed', async () => {
  let mended = false
  let calls = 0
  const run = harness(
    program((flow) =>
      items(flow, 2)
        .filter(
          'sieve',
          ({ n }) => {
            if (n !== 1 || mended) return true
            calls += 1
            throw new Error('not yet')
          },
          { onError: { retry: 100, then: 'halt' } },
        )
        .to('out-step', 'out'),
    ),
  )
  const value = async (n: number) => await run.encode(Item, item(n))
  await run.app()
  const sending = run.send('in', [
    { key: 'a', value: await value(1), partition: 0 },
    { key: 'a', value: await value(2), partition: 0 },
    { key: 'b', value: await value(3), partition: 1 },
  ])
  await until(() => calls >= 3)
  expect(await passed(run)).toEqual(['b3'])
  mended = true
  await sending
  expect(await passed(run)).toEqual(expect.arrayContaining(['a1', 'a2', 'b3']))
  expect((await passed(run)).filter((each) => each.startsWith('a'))).toEqual(['a1', 'a2'])
  await run.close()
})

test('a worker that is told to end does not wait, and one that dies loses nothing: the next one begins the record anew', async () => {
  let mended = false
  let calls = 0
  const build = program((flow) =>
    items(flow)
      .process<Item>('counter', {
        rows: Item,
        passes: true,
        onError: { retry: 100, then: 'halt' },
        run: (incoming, scope, out) => {
          scope.put(item(((scope.get() as Item | undefined)?.n ?? 0) + 1))
          if (!mended && (incoming.value as Item).n === 2) {
            calls += 1
            throw new Error('not yet')
          }
          out.value(scope.get())
        },
      })
      .to('out-step', 'out'),
  )
  for (const end of ['stop', 'crash'] as const) {
    mended = false
    calls = 0
    const run = harness(build)
    await run.put('in', Item, [['k', item(1)]])
    run
      .put('in', Item, [
        ['k', item(2)],
        ['k', item(3)],
      ])
      .catch(() => {})
    await until(() => calls >= 2)
    const before = run.clock.now()
    if (end === 'stop') await run.stop()
    else run.crash()
    // What it slept ended with it.
    expect(run.clock.now()).toBe(before)
    mended = true
    await run.settle()
    expect(await passed(run)).toEqual(['k1', 'k2', 'k3'])
    await run.close()
  }
})

test('a task whose records fail one after the other is committed in between', async () => {
  const failed = new Set<number>()
  const run = harness(
    program((flow) =>
      items(flow)
        .filter(
          'sieve',
          ({ n }) => {
            if (failed.has(n)) return true
            failed.add(n)
            throw new Error('at first')
          },
          { onError: { retry: 3, then: 'halt' } },
        )
        .to('out-step', 'out'),
    ),
  )
  const all = Array.from({ length: 40 }, (_, i) => ['k', item(i)] as const)
  await run.put('in', Item, all)
  expect(await passed(run)).toEqual(all.map(([key, { n }]) => `${key}${n}`))
  // One at most waits for a commit beside those that the last one has.
  expect(run.count('commits')).toBeGreaterThanOrEqual(40)
  await run.close()
})

test('at the door of a source a record that fails is looked at again, and is not lost', async () => {
  let left = 2
  const shop = context('shop', { owner: 'shop' })
  const sales = contract('sales', {
    owner: shop,
    version: 1,
    topic: 'sales',
    partitions: 1,
    key: text,
    meaning: 'what was sold',
    events: { Sold: schema<{ n: number }>({ type: 'record', name: 'Sold', namespace: 'shop', fields: [{ name: 'n', type: 'int' }] }) },
    envelope: {
      time: ({ n }) => {
        if (left-- > 0) throw new Error('not yet')
        return n
      },
    },
  })
  for (const [fails, then] of [
    [2, ['1', '2']],
    [9, ['2']],
  ] as const) {
    left = fails
    const run = harness(
      program((flow) =>
        flow.source(sales, { noDedupe: 'each is sent once', onError: { retry: 3, then: 'dead-letter' } }).to('out-step', 'out'),
      ),
    )
    await run.app()
    await run.feed(sales, [sales.make.Sold('1', { n: 1 })])
    left = 0
    await run.feed(sales, [sales.make.Sold('2', { n: 2 })])
    expect((await run.topic('out')).map(({ key }) => key)).toEqual(then)
    expect(await run.dead('sales')).toHaveLength(2 - then.length)
    await run.close()
  }
})

describe('with failures everywhere that the next tries mend, everything comes out as without', () => {
  /** Every third invocation of a step fails once and every seventh once more, for as long as `on`. */
  const tripping = (on: boolean): (() => void) => {
    let calls = 0
    let left = 0
    return () => {
      if (left > 0) left -= 1
      else {
        calls += 1
        if (on) left = (calls % 3 === 0 ? 1 : 0) + (calls % 7 === 0 ? 1 : 0)
      }
      if (left > 0) throw new Error('trips')
    }
  }
  const onError = { retry: 5, then: 'halt' } as const
  /** Outputs that fan out, timers of a step with state, pages of its rows, several successors of one stream, and two ways that meet again. */
  const winding = (on: boolean) => {
    const trips = {
      split: tripping(on),
      even: tripping(on),
      alarm: tripping(on),
      ring: tripping(on),
      page: tripping(on),
      last: tripping(on),
      fold: tripping(on),
    }
    return topology('winding', (flow) => {
      const split = items(flow).flatMap(
        'split',
        ({ n, note }) => {
          trips.split()
          return [item(n, `${note}a`), item(n + 1, `${note}b`), item(n + 2, `${note}c`)]
        },
        { value: Item, onError },
      )
      const alarmed = split.process<Item, Item>('alarms', {
        rows: Item,
        passes: true,
        onError,
        run: (incoming, scope, out) => {
          trips.alarm()
          scope.put(incoming.value, `r${(incoming.value as Item).note}`)
          scope.wakeAt(incoming.at + 3, `w${(incoming.value as Item).note}`)
          if ((incoming.value as Item).n % 5 === 0) scope.page('r')
          out.same()
        },
        wake: ({ sub }, scope, out) => {
          trips.ring()
          out.fact(scope.key, item(0, `rang ${sub}`))
        },
        page: (rows, _next, scope, out) => {
          trips.page()
          out.fact(scope.key, item(rows.length, 'page'))
        },
      })
      alarmed.to('alarms-out', 'alarmed')
      const { even, odd } = alarmed.branch(
        'even',
        {
          even: ({ n }) => {
            trips.even()
            return n % 2 === 0
          },
          odd: () => true,
        },
        { onError },
      )
      const last = (stream: Stream<string, Item, never>) =>
        stream.filter(
          'last',
          () => {
            trips.last()
            return true
          },
          { onError },
        )
      const met = last(even.merge('both', odd))
      met.to('out-step', 'out')
      return [
        flow
          .inbox('all', [met])
          .dedupe('once', { id: (_value, fact) => fact.id })
          .project('sums', {
            row: Sum,
            identity: 'once',
            onError,
            fold: (row, value) => {
              trips.fold()
              return summed(row, value)
            },
          }),
      ]
    })
  }
  const outcome = async (on: boolean) => {
    const run = harness(winding(on))
    await run.put(
      'in',
      Item,
      Array.from({ length: 60 }, (_, i) => [`k${i % 3}`, item(i, `${i}`), 1_000 + i] as const),
    )
    const topics = await Promise.all(
      ['alarmed', 'out'].map(async (topic) =>
        (await run.topic(topic)).map(({ key, value, at, headers }) => [key, value?.toString('hex'), at, headers.ce_id]),
      ),
    )
    const said = {
      topics,
      rows: await run.rows('sums'),
      hash: await run.stateHash('sums'),
      dead: run.count('dead'),
      failure: await run.failure(),
    }
    const retried =
      run.count('retried', 'alarms') + run.count('retried', 'split') + run.count('retried', 'last') + run.count('retried', 'sums')
    const replayed = await run.replay('sums')
    await run.close()
    return { said, retried, replayed }
  }
  test('in the same order, under the same ids, with the same rows, and a rebuild comes to the same', async () => {
    const smooth = await outcome(false)
    const rough = await outcome(true)
    expect([smooth.retried, rough.retried > 200]).toEqual([0, true])
    expect(smooth.said.topics.map((topic) => topic.length > 300)).toEqual([true, true])
    expect(rough.said).toEqual(smooth.said)
    expect(rough.replayed).toMatchObject({ equal: true })
  })
})
