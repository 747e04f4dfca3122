/** onError park: a key whose record failed is taken out of the flow with all its successors, in order, while every other key goes on. */
import { describe, expect, test } from 'vitest'
import { type Flow, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { unzigzag } from '../../src/base/bytes.ts'
import { unescapeKey } from '../../src/runtime/rows.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

type Run = Harness<readonly []>
const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })
const taken = (value: Item): boolean => {
  if (value.n < 0) throw new Error('a defect')
  return true
}
const program = (build: (flow: Flow) => void): Topology<readonly []> =>
  topology('parking', (flow) => {
    build(flow)
    return []
  })
const stateless = program((flow) => items(flow).filter('sieve', taken, { onError: 'park' }).to('out-step', 'out'))
const stateful = program((flow) =>
  items(flow)
    .process<Item>('sieve', {
      rows: Item,
      passes: true,
      onError: { retry: 1, then: 'park' },
      run: (incoming, _scope, out) => {
        if (taken(incoming.value as Item)) out.same()
      },
    })
    .to('out-step', 'out'),
)

const passed = async (run: Run): Promise<string[]> => (await run.values('out', Item)).map(([key, value]) => `${key}${value?.n}`)
/** The records that are held for each key, in order, as they lie on disk. */
const held = async (run: Run): Promise<Record<string, number[]>> => {
  await run.stop()
  const db = await run.state.open({ app: 'parking', stage: 'in', generation: 1, partition: 0 })
  const rows = await db.range({ from: Buffer.from([1]), to: Buffer.from([3]), limit: 1_000 })
  await db.close()
  const found: Record<string, number[]> = {}
  for (const [key, bytes] of rows) {
    const place = unescapeKey(key, 1)
    if (place?.sub.startsWith('!p') !== true) continue
    // A held record ends with its value; the last bytes of that are the number and an empty note.
    const number = bytes.at(bytes.length - 8 - 2) as number
    found[place.key.toString()] ??= []
    found[place.key.toString()]?.push(unzigzag(number))
  }
  return found
}

describe.each<[what: string, topology: Topology<readonly []>]>([
  ['a stateless step', stateless],
  ['a step with state', stateful],
])('in %s', (_what, build) => {
  test('one poison key among a hundred is parked, and the ninety-nine others pass (I01)', async () => {
    const run = harness(build)
    await run.put(
      'in',
      Item,
      Array.from({ length: 100 }, (_, i) => [`k${i}`, item(i === 50 ? -1 : i)] as const),
    )
    expect(await passed(run)).toHaveLength(99)
    expect([run.count('parked', 'sieve'), run.count('dead')]).toEqual([1, 0])
    await run.close()
  })

  test('the successors of a parked key are held, in order, through restarts and crashes', async () => {
    const run = harness(build)
    await run.put('in', Item, [
      ['a', item(1)],
      ['a', item(-1)],
      ['b', item(2)],
    ])
    await run.restart()
    await run.put('in', Item, [['a', item(3)]], CRASH.afterAppend)
    await run.put('in', Item, [['a', item(4)]], CRASH.afterDecision)
    const more = Array.from({ length: 20 }, (_, i) => 10 + i)
    await run.put('in', Item, [['b', item(5)], ...more.map((n) => ['a', item(n)] as const)])
    expect(await passed(run)).toEqual(['a1', 'b2', 'b5'])
    expect(await held(run)).toEqual({ a: [-1, 3, 4, ...more] })
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('a record without a key cannot be parked, so it is dead-lettered, and the worker lives', async () => {
    const run = harness(build)
    await run.app()
    await run.send('in', [{ key: null, value: await run.encode(Item, item(-1)) }])
    await run.put('in', Item, [['a', item(1)]])
    expect(await passed(run)).toEqual(['a1'])
    expect(await run.dead('sieve')).toHaveLength(1)
    expect(await run.failure()).toBeUndefined()
    await run.close()
  })

  test('a record that cannot even be decoded is parked as it came', async () => {
    const run = harness(build)
    await run.app()
    await run.send('in', [
      { key: 'a', value: Buffer.from('poison') },
      { key: 'a', value: await run.encode(Item, item(1)) },
      { key: 'b', value: await run.encode(Item, item(2)) },
    ])
    expect(await passed(run)).toEqual(['b2'])
    expect([run.count('parked'), run.count('held')]).toEqual([1, 1])
    await run.close()
  })
})

test('a timer that fails parks its key as well, and what follows it is held', async () => {
  const run = harness(
    program((flow) =>
      items(flow)
        .process<Item>('sieve', {
          rows: Item,
          passes: true,
          onError: 'park',
          run: (incoming, scope, out) => {
            if ((incoming.value as Item).note === 'wake') scope.wakeAt(incoming.at + 10)
            out.same()
          },
          wake: () => {
            throw new Error('a defect')
          },
        })
        .to('out-step', 'out'),
    ),
  )
  await run.put('in', Item, [
    ['a', item(1, 'wake'), 1_000],
    ['b', item(2), 2_000],
    ['a', item(3), 2_001],
  ])
  expect(await passed(run)).toEqual(['a1', 'b2'])
  await run.restart()
  await run.put('in', Item, [['a', item(4), 2_002]])
  expect([await passed(run), run.count('parked'), run.count('held')]).toEqual([['a1', 'b2'], 1, 2])
  await run.close()
})

test('a timer of a parked key waits behind what is held: it neither runs nor takes the place of a record', async () => {
  const woken: string[] = []
  const run = harness(
    program((flow) =>
      items(flow)
        .process<Item>('sieve', {
          rows: Item,
          passes: true,
          onError: 'park',
          run: (incoming, scope, out) => {
            const { n, note } = incoming.value as Item
            if (note === 'wake') scope.wakeAt(n)
            if (taken(incoming.value as Item)) out.same()
          },
          wake: ({ at }, scope) => {
            woken.push(`${String(scope.key)}@${at}`)
            if (at === 1_500) throw new Error('a defect')
          },
        })
        .to('out-step', 'out'),
    ),
  )
  await run.put('in', Item, [
    ['a', item(1_500, 'wake'), 1_000],
    ['b', item(1_600, 'wake'), 1_000],
    ['c', item(1_500, 'wake'), 1_000],
    ['c', item(1_600, 'wake'), 1_000],
    ['a', item(-1), 1_001],
    ['a', item(-2), 1_002],
  ])
  await run.restart()
  // Brings the time: of "a" which is parked, of "b" which is not, and twice of "c", whose first timer parks it. Then "c" itself must wait.
  await run.put('in', Item, [
    ['c', item(7), 2_000],
    ['a', item(8), 2_001],
    ['b', item(9), 2_002],
  ])
  expect(woken).toEqual(['c@1500', 'b@1600'])
  expect(await passed(run)).toEqual(['a1500', 'b1600', 'c1500', 'c1600', 'b9'])
  expect([run.count('parked', 'sieve'), run.count('held', 'sieve')]).toEqual([2, 5])
  const { a, c } = await held(run)
  expect([a?.length, c?.length, a?.slice(0, 2)]).toEqual([4, 3, [-1, -2]])
  expect((await run.verify()).problems).toEqual([])
  await run.close()
})

test('a page that fails for a key that was parked meanwhile lines up behind what is held', async () => {
  const run = harness(
    program((flow) =>
      items(flow)
        // Both go through the step before the page that the first one asks for.
        .flatMap('first', (value) => (value.note === 'both' ? [item(1, 'page'), item(-1)] : [value]), { value: Item })
        .process<Item>('sieve', {
          rows: Item,
          passes: true,
          onError: 'park',
          run: (incoming, scope, out) => {
            if ((incoming.value as Item).note === 'page') scope.page('')
            if (taken(incoming.value as Item)) out.same()
          },
          page: () => {
            throw new Error('another defect')
          },
        })
        .to('out-step', 'out'),
    ),
  )
  await run.put('in', Item, [
    ['a', item(0, 'both')],
    ['a', item(2)],
    ['b', item(3)],
  ])
  expect(await passed(run)).toEqual(['a1', 'b3'])
  const { a } = await held(run)
  expect([a?.length, a?.[0], a?.[2]]).toEqual([3, -1, 2])
  await run.close()
})

test('a view says that a key is parked before it, by which error, and how many wait', async () => {
  const run = harness(
    topology('parking', (flow) => [
      flow
        .inbox('all', [items(flow)])
        .dedupe('once', { id: (value) => value.note })
        .filter('sieve', taken, { onError: 'park' })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ]),
  )
  await run.put('in', Item, [
    ['a', item(1, '1')],
    ['a', item(-1, '2')],
    ['a', item(3, '3')],
    ['b', item(4, '4')],
  ])
  const view = await run.view('sums')
  expect(await view.get('a')).toMatchObject({
    value: { total: 1, notes: '1' },
    freshness: { state: 'stale', parked: { reason: 'STEP_FAILED: step "sieve" threw', held: 2 } },
  })
  expect((await view.get('b')).freshness.state).toBe('fresh')
  // A rebuild parks the same keys.
  expect(await run.replay('sums')).toMatchObject({ equal: true })
  await run.close()
})

test('one poison key among a hundred: ninety-nine rows are there and fresh, and one says that it is parked (I01)', async () => {
  const run = harness(
    topology('parking', (flow) => [
      flow
        .inbox('all', [items(flow)])
        .dedupe('once', { id: (value) => value.note })
        .project('sums', {
          row: Sum,
          identity: 'once',
          onError: { retry: 2, then: 'park' },
          fold: (row, value) => {
            if (value.n < 0) throw new Error('a defect')
            return summed(row, value)
          },
        }),
    ]),
  )
  const all = (note: string, bad: number) => Array.from({ length: 100 }, (_, i) => [`k${i}`, item(i === 50 ? bad : 1, note)] as const)
  await run.put('in', Item, all('a', -1))
  await run.put('in', Item, all('b', 1))
  expect([run.count('retried', 'sums'), run.count('parked', 'sums'), run.count('held', 'sums'), run.count('dead')]).toEqual([2, 1, 1, 0])
  const view = await run.view('sums')
  for (const [key] of all('', 0)) {
    expect(await view.get(key)).toMatchObject(
      key === 'k50'
        ? { value: undefined, freshness: { state: 'stale', parked: { held: 2 } } }
        : { value: { total: 2, notes: 'ab' }, freshness: { state: 'fresh' } },
    )
  }
  await run.close()
})

test('what fails at the door of a source that says park is dead-lettered: its key cannot be trusted', async () => {
  const run = harness(
    topology(
      'doors',
      (flow) => {
        items(flow)
          .dedupe('once', { id: (value) => value.note })
          .to('out-step', 'out')
        return []
      },
      { onError: 'park' },
    ),
  )
  await run.app()
  await run.send('in', [{ key: 'k', value: Buffer.from('poison'), at: 2 ** 52 }])
  expect((await run.dead('in')).map(({ headers }) => headers.tm_code)).toEqual(['ENVELOPE_INVALID'])
  await run.close()
})
