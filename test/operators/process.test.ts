/** process: the kernel's stateful node as it is. What it writes and sends counts when it has returned; timers and ranges keep their promises. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type Fact, type Flow, type Out, type Scope, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, type HarnessOptions, harness } from '#tidemark/testing'
import { Item, item } from '../fixtures/plain.ts'
import { Joined, sessionCount, tableJoin, Windowed, Word } from '../kernel/operators.ts'

type Run = Harness<readonly []>
const flowOf = (define: (flow: Flow) => void, name = 'kernel'): Topology<readonly []> =>
  topology(name, (flow) => {
    define(flow)
    return []
  })
const run1 = (define: (flow: Flow) => void, options: HarnessOptions = {}): Run => harness(flowOf(define), options)
const items = (flow: Flow, topic = 'in') => flow.stream(topic, { key: text, value: Item }, { partitions: 1 })
const numbers = async (run: Run): Promise<(number | undefined)[]> => (await run.values('out', Item)).map(([, value]) => value?.n)
const dead = async (run: Run, step: string): Promise<string[]> => (await run.dead(step)).map(({ headers }) => headers.tm_code ?? '')
const countOf = (scope: Scope): number => (scope.get() as Item | undefined)?.n ?? 0

describe('rows', () => {
  test('are read as they were written, within one invocation and after it, through crashes everywhere', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('count', {
          rows: Item,
          value: Item,
          run: (_incoming, scope, out) => {
            scope.put(item(countOf(scope) + 1))
            scope.put(item(countOf(scope) + 1))
            out.value(item(countOf(scope)))
          },
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(0)],
      ['k', item(0)],
      ['l', item(0)],
    ])
    await run.restart()
    await run.put('in', Item, [['k', item(0)]])
    expect(await numbers(run)).toEqual([2, 4, 2, 6])
    await run.close()
  })

  test('can be put and deleted, and there is no insert that fails on what is there (G09)', () => {
    expectTypeOf<keyof Scope>().toEqualTypeOf<
      | 'key'
      | 'streamTime'
      | 'get'
      | 'row'
      | 'put'
      | 'mark'
      | 'delete'
      | 'range'
      | 'page'
      | 'wakeAt'
      | 'cancelWake'
      | 'wakeAtWall'
      | 'buckets'
    >()
    // A fact is identity and times; there is no clock and no randomness in it (E02).
    expectTypeOf<Extract<keyof Fact, 'now' | 'random' | 'clock'>>().toEqualTypeOf<never>()
  })

  test('of a failed invocation are as before it: put, delete, sub-keys, timers and what was sent', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('step', {
          rows: Item,
          value: Item,
          run: (incoming, scope, out) => {
            const { n, note } = incoming.value as Item
            if (note === 'look') {
              out.value(item(countOf(scope), JSON.stringify([scope.get('a'), scope.get('b')])))
              return
            }
            scope.put(item(n))
            scope.put(item(n), 'a')
            scope.delete('b')
            scope.put(item(n + 1))
            scope.wakeAt(incoming.at + 10)
            out.value(item(n))
            if (note === 'fail') throw new Error('after everything')
            scope.put(item(n), 'b')
          },
          wake: (_timer, scope, out) => out.value(item(-countOf(scope))),
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(1), 100],
      ['k', item(5, 'fail'), 101],
      ['k', item(0, 'look'), 102],
      // The timer of the good one is due, that of the failed one was never set.
      ['other', item(7), 112],
    ])
    expect((await run.values('out', Item)).map(([, value]) => [value?.n, value?.note])).toEqual([
      [1, ''],
      [2, JSON.stringify([item(1), item(1)])],
      [-2, ''],
      [7, ''],
    ])
    expect(await dead(run, 'step')).toEqual(['STEP_FAILED'])
    await run.close()
  })

  test('of a failed invocation have the version, time and mark that they had, too', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('step', {
          rows: Item,
          value: Item,
          run: (incoming, scope, out) => {
            const { n, note } = incoming.value as Item
            if (note === 'look') {
              const { exists, version, at, markHigh, markLow } = scope.row()
              out.value(item(n, JSON.stringify([exists, version, at, markHigh, markLow])))
              return
            }
            if (note === 'delete') scope.delete('', { version: n, at: 7 })
            else scope.put(item(n), '', { version: n, at: n * 10 })
            scope.mark(n, -n)
            if (note !== '') throw new Error('after everything')
          },
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(1)],
      ['k', item(5, 'fail')],
      ['k', item(0, 'look')],
      ['k', item(6, 'delete')],
      ['k', item(0, 'look')],
    ])
    await run.restart()
    await run.put('in', Item, [['k', item(0, 'look')]])
    const seen = (await run.values('out', Item)).map(([, value]) => JSON.parse(value?.note ?? '') as unknown)
    expect(seen).toEqual([
      [true, 1, 10, 1, -1],
      [true, 1, 10, 1, -1],
      [true, 1, 10, 1, -1],
    ])
    await run.close()
  })

  test('of one commit and rows that failed in it meet nowhere: a row touched, undone and touched again is written once', async () => {
    const run = run1((flow) =>
      items(flow).process('step', {
        rows: Item,
        run: (incoming, scope) => {
          const { n, note } = incoming.value as Item
          scope.put(item(countOf(scope) + n))
          if (note === 'fail') throw new Error('no')
        },
      }),
    )
    await run.put('in', Item, [
      ['k', item(1, 'fail')],
      ['k', item(2)],
      ['k', item(4, 'fail')],
      ['k', item(8)],
    ])
    const verified = await run.verify()
    expect(verified).toMatchObject({ problems: [], rows: 1 })
    await run.close()
  })

  test('may hold anything as a key: empty, zeros, 0xff, what is no text, and a megabyte', async () => {
    const run = run1((flow) =>
      flow
        .stream('in', { key: text, value: Item }, { partitions: 1 })
        .process<Item, Item>('count', {
          rows: Item,
          value: Item,
          run: (_incoming, scope, out) => {
            scope.put(item(countOf(scope) + 1))
            out.value(item(countOf(scope)))
          },
        })
        .to('out-step', 'out'),
    )
    const keys = [
      Buffer.from([]),
      Buffer.from([0]),
      Buffer.from([0, 0]),
      Buffer.from([0, 1]),
      Buffer.from([0, 0xff]),
      Buffer.from([0xff]),
      Buffer.from([0xff, 0xff, 0xff]),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('__proto__'),
      Buffer.alloc(1024 * 1024, 0),
      Buffer.alloc(1024 * 1024, 0xff),
    ]
    const value = await run.encode(Item, item(1))
    await run.send(
      'in',
      keys.map((key) => ({ key, value })),
    )
    await run.restart()
    await run.send(
      'in',
      keys.map((key) => ({ key, value })),
    )
    // Every key has met itself, and no other one.
    expect(await numbers(run)).toEqual([...keys.map(() => 1), ...keys.map(() => 2)])
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('a step may both pass its input on and make values of its own', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item>('double', {
          rows: Item,
          passes: true,
          run: (incoming, _scope, out) => {
            out.same()
            out.value(item((incoming.value as Item).n * 10, 'made'))
          },
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [['k', item(1)]])
    expect([await numbers(run), await dead(run, 'double')]).toEqual([[1, 10], []])
    await run.close()
  })

  test.each<[what: string, send: (out: Pick<Out, 'fact'>, scope: Scope) => void]>([
    ['a fact under another key without saying so', (out) => out.fact('other', item(1))],
    ['a fact of no time', (out) => out.fact('k', item(1), Number.NaN)],
    ['a fact of a time beyond all clocks', (out) => out.fact('k', item(1), 1e300)],
    ['a fact under a key of another kind', (out) => out.fact(7, item(1))],
    ['a value that does not fit', (out) => out.fact('k', { n: 'x' })],
    ['a timer of no time', (_out, scope) => scope.wakeAt(Number.NaN)],
    ['a timer that never comes', (_out, scope) => scope.wakeAt(Number.POSITIVE_INFINITY)],
  ])('%s fails the step that sends it', async (_what, send) => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('step', { rows: Item, value: Item, run: (_incoming, scope, out) => send(out, scope) })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [['k', item(1)]])
    expect(await dead(run, 'step')).toHaveLength(1)
    expect(run.events.filter(({ kind }) => kind === 'failure')).toEqual([])
    await run.close()
  })
})

describe('timers', () => {
  /** Wakes at the number of its record, and says when it did. */
  const alarms = (options: HarnessOptions = {}): Run =>
    run1(
      (flow) =>
        items(flow)
          .process<Item, Item>('alarm', {
            rows: Item,
            value: Item,
            run: (incoming, scope) => {
              const { n, note } = incoming.value as Item
              if (note === 'cancel') scope.cancelWake(n)
              else if (n !== 0) scope.wakeAt(n, note)
            },
            wake: ({ at, sub }, scope, out) => out.value(item(at, `${String(scope.key)}${sub}@${scope.streamTime}`)),
          })
          .to('out-step', 'out'),
      options,
    )
  const rang = async (run: Run): Promise<string[]> => (await run.values('out', Item)).map(([, value]) => `${value?.n}:${value?.note}`)

  test('wake before the record that takes time there, in the order of time, then key, then sub-key', async () => {
    const run = alarms()
    await run.put('in', Item, [
      ['b', item(20), 1],
      ['a', item(20, 'y'), 2],
      ['a', item(20, 'x'), 3],
      ['c', item(15), 4],
      ['d', item(0), 30],
    ])
    expect(await rang(run)).toEqual(['15:c@30', '20:ax@30', '20:ay@30', '20:b@30'])
    await run.close()
  })

  test.each(['nothing', ...Object.keys(CRASH)] as (keyof typeof CRASH | 'nothing')[])(
    'wake once, whatever happens meanwhile: %s',
    async (event) => {
      const run = alarms()
      const crash = event === 'nothing' ? undefined : CRASH[event]
      await run.put(
        'in',
        Item,
        [
          ['a', item(10), 1],
          ['a', item(10), 2],
          ['b', item(10), 2],
          ['b', item(10, 'cancel'), 3],
        ],
        crash,
      )
      await run.put('in', Item, [['x', item(0), 10]], crash)
      await run.restart()
      await run.put('in', Item, [['x', item(0), 11]])
      expect(await rang(run)).toEqual(['10:a@10'])
      await run.close()
    },
  )

  test('of the past wake at the next record that moves time, and those before 1970 come first', async () => {
    const run = alarms()
    await run.put('in', Item, [
      ['late', item(5), 100],
      ['older', item(-5), 100],
      ['x', item(0), 101],
    ])
    expect(await rang(run)).toEqual(['-5:older@101', '5:late@101'])
    await run.close()
  })

  test('that wake more keys than the cache holds lose no row of the record that brought the time', async () => {
    // The first step only reads, so nothing holds the key of the record at hand in memory while the alarms of others go off.
    const run = run1(
      (flow) =>
        items(flow)
          .process<Item>('reader', {
            rows: Item,
            passes: true,
            run: (_incoming, scope, out) => {
              scope.get()
              out.same()
            },
          })
          .process<Item, Item>('count', {
            rows: Item,
            value: Item,
            run: (incoming, scope, out) => {
              scope.put(item(countOf(scope) + 1))
              scope.wakeAt(incoming.at + 1_000)
              if (incoming.key === 'hot') out.value(item(countOf(scope)))
            },
            wake: (_timer, scope) => scope.get(),
          })
          .to('out-step', 'out'),
      { cacheKeys: 2 },
    )
    const { codecs, log } = await run.access()
    const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
    const value = await run.encode(Item, item(1))
    const one = async (records: readonly (readonly [key: string, at: number])[]): Promise<void> => {
      const writer = await log.plainWriter()
      const batch = new BatchBuilder({ codecs })
      for (const [key, at] of records) batch.add(at, Buffer.from(key), value)
      await writer.append('in/0', batch.finish())
      await writer.close()
      await run.settle()
    }
    await one(Array.from({ length: 200 }, (_, i) => [`k${i}`, 1] as const))
    // All in one slice and one commit: time moves, two hundred keys wake, and the same key comes again and again.
    await one([
      ['hot', 5_000],
      ['hot', 5_001],
      ['hot', 5_002],
    ])
    expect(await numbers(run)).toEqual([1, 2, 3])
    await run.close()
  })

  test('that throw are answered as their step says, and are not set any more', async () => {
    const run = run1((flow) =>
      items(flow).process('alarm', {
        rows: Item,
        run: (incoming, scope) => scope.wakeAt((incoming.value as Item).n),
        wake: () => {
          throw new Error('no')
        },
      }),
    )
    await run.put('in', Item, [
      ['a', item(10), 1],
      ['x', item(1_000), 11],
      ['x', item(1_000), 12],
    ])
    expect(await run.dead('alarm')).toMatchObject([{ key: 'a', at: 10, headers: { tm_code: 'STEP_FAILED', tm_origin: 'in/0@-1' } }])
    await run.close()
  })

  test('of the wall wake when the clock gets there, through a restart', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('alarm', {
          rows: Item,
          value: Item,
          wall: true,
          run: (incoming, scope) => scope.wakeAtWall(incoming.at + 10_000),
          wake: ({ at }, _scope, out) => out.value(item(at)),
        })
        .to('out-step', 'out'),
    )
    const start = run.clock.now()
    await run.put('in', Item, [['k', item(1)]])
    await run.advance('9s')
    expect(await numbers(run)).toEqual([])
    await run.restart()
    await run.advance('2s')
    expect(await numbers(run)).toEqual([start + 10_000])
    await run.advance('20s')
    expect(await numbers(run)).toHaveLength(1)
    await run.close()
  })

  test('of the wall may ask for pages, which come although no record does', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('alarm', {
          rows: Item,
          value: Item,
          wall: true,
          run: (incoming, scope) => {
            scope.put(incoming.value, (incoming.value as Item).note)
            scope.wakeAtWall(incoming.at + 1_000)
          },
          wake: (_timer, scope) => scope.page(''),
          page: (rows, _next, _scope, out) => out.value(item(rows.length)),
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(1, 'b')],
      ['l', item(1, 'a')],
    ])
    await run.advance('5s')
    expect((await run.values('out', Item)).map(([key, value]) => [key, value?.n])).toEqual([
      ['k', 2],
      ['l', 1],
    ])
    await run.close()
  })

  test.each<[what: string, again: (at: number, streamTime: number) => number]>([
    ['the moment that it woke at', (at) => at],
    ['one before it', (at) => at - 1],
    ['now, and now again', (_at, streamTime) => streamTime],
  ])('that sets itself again for %s fails instead of waking for ever; one for later wakes', async (_what, again) => {
    const woken: number[] = []
    const run = run1((flow) =>
      items(flow).process('alarm', {
        rows: Item,
        run: (incoming, scope) => {
          if ((incoming.value as Item).n > 0) scope.wakeAt((incoming.value as Item).n)
        },
        wake: ({ at }, scope) => {
          woken.push(at)
          if (woken.length > 50) throw new Error('for ever')
          scope.wakeAt(at < 30 ? at + 10 : again(at, scope.streamTime))
        },
      }),
    )
    await run.put('in', Item, [
      ['k', item(10), 1],
      ['x', item(0), 35],
      ['x', item(0), 36],
    ])
    expect(woken.length).toBeLessThan(6)
    expect(woken.slice(0, 3)).toEqual([10, 20, 30])
    expect((await run.dead('alarm')).map(({ headers }) => headers.tm_detail)).toEqual([
      expect.stringContaining('sets a timer for a moment that is over') as string,
    ])
    await run.close()
  })
})

describe('ranges', () => {
  const counted = (step: string, more: object = {}) =>
    ({
      rows: Item,
      ranged: true,
      value: Item,
      run: (incoming: { readonly value: unknown; readonly offset: number }, scope: Scope, out: { value(value: unknown): void }) => {
        scope.put(item((incoming.value as Item).n), `${incoming.offset}`)
        out.value(item(scope.range().length, step))
      },
      ...more,
    }) as never

  test('see all rows of a key in byte order, those of this commit included, and no other key', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('step', {
          rows: Item,
          ranged: true,
          value: Item,
          run: (incoming, scope, out) => {
            const { n, note } = incoming.value as Item
            if (note === 'delete') scope.delete(`s${n}`)
            else scope.put(item(n), `s${n}`)
            out.value(
              item(
                n,
                scope
                  .range('s', 't')
                  .map(([sub]) => sub)
                  .join(' '),
              ),
            )
          },
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(2)],
      ['k', item(1)],
      ['l', item(9)],
    ])
    await run.restart()
    await run.put('in', Item, [
      ['k', item(3)],
      ['k', item(1, 'delete')],
    ])
    expect((await run.values('out', Item)).map(([, value]) => value?.note)).toEqual(['s2', 's1 s2', 's9', 's1 s2 s3', 's2 s3'])
    await run.close()
  })

  test('are whole for every key of a batch that has far more keys than the cache', async () => {
    const run = run1((flow) => items(flow).process<Item, Item>('step', counted('step')).to('out-step', 'out'), { cacheKeys: 4 })
    const { codecs, log } = await run.access()
    const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
    const value = await run.encode(Item, item(1))
    const batch = new BatchBuilder({ codecs })
    for (let i = 0; i < 600; i++) batch.add(1, Buffer.from(`k${i % 300}`), value)
    const writer = await log.plainWriter()
    await writer.append('in/0', batch.finish())
    await writer.close()
    await run.settle()
    expect(await dead(run, 'step')).toEqual([])
    expect((await numbers(run)).reduce<number>((sum, n) => sum + (n ?? 0), 0)).toBe(300 * (1 + 2))
    await run.close()
  })

  test('are whole on both sides of two logs, whichever batch is through first', async () => {
    const run = run1(
      (flow) => {
        const left = items(flow, 'left')
        const right = items(flow, 'right')
        left.merge('both', right).process<Item, Item>('step', counted('step')).to('out-step', 'out')
      },
      { cacheKeys: 1 },
    )
    await run.app()
    const { codecs, log } = await run.access()
    const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
    const value = await run.encode(Item, item(1))
    const writer = await log.writer('feed')
    for (const [topic, times] of [
      ['left', [1, 2]],
      ['right', [3, 4, 5, 6]],
      ['left', [7, 8, 9]],
    ] as const) {
      const batch = new BatchBuilder({ codecs })
      for (const at of times) batch.add(at, Buffer.from(`k${at % 5}`), value)
      await writer.append(`${topic}/0`, batch.finish())
    }
    await writer.commit([])
    await writer.close()
    await run.settle()
    expect(await dead(run, 'step')).toEqual([])
    expect(await numbers(run)).toHaveLength(9)
    await run.close()
  })

  test('are whole for a key that a timer wakes, of this step or of one before it', async () => {
    const run = run1((flow) =>
      items(flow)
        .order('in-sequence', { sequence: (value) => value.n, gap: { hold: '10s', then: 'skip' } })
        .process<Item, Item>('step', counted('step'))
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(1), 1_000],
      ['k', item(3), 2_000],
    ])
    await run.restart()
    // The batch that wakes "k" does not have it.
    await run.put('in', Item, [['other', item(1), 20_000]])
    expect(await dead(run, 'step')).toEqual([])
    expect((await run.values('out', Item)).map(([key, value]) => `${key}${value?.n}`)).toEqual(['k1', 'k2', 'other1'])
    await run.close()
  })

  test('are whole for a key that the wall wakes', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>(
          'step',
          counted('step', {
            wall: true,
            run: (incoming: { readonly at: number; readonly offset: number }, scope: Scope) => {
              scope.put(item(1), `${incoming.offset}`)
              scope.wakeAtWall(incoming.at + 1_000)
            },
            wake: (_timer: unknown, scope: Scope, out: { value(value: unknown): void }) => out.value(item(scope.range().length)),
          }),
        )
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [
      ['k', item(1)],
      ['k', item(2)],
    ])
    await run.restart()
    await run.advance('5s')
    expect([await numbers(run), await dead(run, 'step')]).toEqual([[2], []])
    await run.close()
  })

  test('survive a window that closes for a key long gone from the cache', async () => {
    const run = run1(
      (flow) => sessionCount(flow.stream('in', { key: text, value: Word }, { partitions: 1 }), 'sessions', 5, 0).to('out-step', 'out'),
      { cacheKeys: 1 },
    )
    await run.put('in', Word, [
      ...Array.from({ length: 20 }, (_, i) => [`k${i}`, { text: '-' }, 10] as const),
      ['late', { text: '-' }, 1_000],
    ])
    const finals = (await run.values('out', Windowed)).filter(([, value]) => value?.final)
    expect(finals).toHaveLength(20)
    await run.close()
  })

  test('of a key with more rows than are loaded at once are refused with a word on what to do', async () => {
    const run = run1((flow) =>
      items(flow)
        .process<Item, Item>('step', {
          rows: Item,
          ranged: true,
          value: Item,
          run: (incoming, scope, out) => {
            const { n, note } = incoming.value as Item
            if (note === 'fill') for (let i = 0; i < n; i++) scope.put(item(i), String(i).padStart(6, '0'))
            else out.value(item(scope.range().length))
          },
        })
        .to('out-step', 'out'),
    )
    await run.put('in', Item, [['k', item(12_000, 'fill')]])
    await run.restart()
    await run.put('in', Item, [['k', item(0)]])
    expect(await run.dead('step')).toMatchObject([{ headers: { tm_code: 'SCOPE_TOO_LARGE' } }])
    await run.close()
  })

  test('and rows that expire exclude each other, and a step that keeps rows for no time is refused', () => {
    expect(() =>
      flowOf((flow) => void items(flow).process('step', { rows: Item, ranged: true, expires: { keepMs: 5 }, run: () => {} })),
    ).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => flowOf((flow) => void items(flow).process('step', { rows: Item, expires: { keepMs: 0 }, run: () => {} }))).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
  })
})

test('facts that two pages of one key make at one time are told apart by what asked for them (G06)', async () => {
  const run = run1((flow) =>
    items(flow)
      .process<Item, Item>('announce', {
        rows: Item,
        value: Item,
        run: (incoming, scope) => {
          scope.put(incoming.value)
          scope.page('')
        },
        page: (_rows, _next, scope, out) => out.fact('k', scope.get()),
      })
      .to('out-step', 'out'),
  )
  await run.put('in', Item, [
    ['k', item(1), 50],
    ['k', item(2), 50],
  ])
  const ids = (await run.topic('out')).map(({ headers }) => headers.ce_id)
  expect(ids).toHaveLength(2)
  expect(new Set(ids).size).toBe(2)
  await run.close()
})

test.each(Object.entries(CRASH))('a join of two tables goes on after a crash at %s', async (_point, crash) => {
  const run = run1((flow) => {
    const left = flow.stream('left', { key: text, value: Word }, { partitions: 1, cleanup: 'compact' })
    const right = flow.stream('right', { key: text, value: Word }, { partitions: 1, cleanup: 'compact' })
    tableJoin(left, right, 'joined').to('out-step', 'out')
  })
  await run.put('left', Word, [['k', { text: 'A' }]], crash)
  await run.put('right', Word, [['k', { text: 'a' }]], crash)
  await run.put('left', Word, [['k', { text: 'B' }]], crash)
  expect((await run.values('out', Joined)).map(([, value]) => `${value?.left}-${value?.right}`)).toEqual(['A-null', 'A-a', 'B-a'])
  await run.close()
})

test('a conversation goes on through a join whose other side was restored from the changelog (D13)', async () => {
  const run = run1((flow) => {
    const left = flow.stream('left', { key: text, value: Word }, { partitions: 1, cleanup: 'compact' })
    const right = flow.stream('right', { key: text, value: Word }, { partitions: 1, cleanup: 'compact' })
    tableJoin(left, right, 'joined').to('out-step', 'out')
  })
  const send = async (topic: string, word: string, talk: string): Promise<void> =>
    run.send(topic, [
      {
        key: 'k',
        value: await run.encode(Word, { text: word }),
        headers: [
          { name: 'ce_id', value: Buffer.from(`id-${word}`) },
          { name: 'ce_correlationid', value: Buffer.from(talk) },
        ],
      },
    ])
  await run.app()
  await send('left', 'A', 'talk-1')
  await run.stop()
  for (const id of await run.state.list('kernel')) await run.state.destroy(id)
  await send('right', 'a', 'talk-2')
  // Each result belongs to the conversation of the record that brought it about.
  const talks = (await run.topic('out')).map(({ headers }) => [headers.ce_causationid, headers.ce_correlationid])
  expect(talks).toEqual([
    ['id-A', 'talk-1'],
    ['id-a', 'talk-2'],
  ])
  expect((await run.values('out', Joined)).map(([, value]) => `${value?.left}-${value?.right}`)).toEqual(['A-null', 'A-a'])
  await run.close()
})
