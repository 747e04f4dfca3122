/** dedupe: what a key has brought before is dropped, by every identity, through restarts, and forgotten when its time is over. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Duration, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { optIn, preferences } from '../fixtures/crm.ts'
import { Clicked, click, clicks, Item, item, Sum, summed } from '../fixtures/plain.ts'

type Options = Parameters<ReturnType<typeof plainOf>['dedupe']>[1]
const plainOf = (flow: Parameters<Parameters<typeof topology>[1]>[0]) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })

const plain = (options: Options): Topology<readonly []> =>
  topology('plain', (flow) => {
    plainOf(flow).dedupe('once', options).to('out-step', 'out')
    return []
  })
const byContract = (options: { keep?: Duration } = {}): Topology<readonly []> =>
  topology('contracted', (flow) => {
    flow.source(clicks).dedupe('once', options).to('out-step', 'out')
    return []
  })

const passed = async (run: Harness<readonly []>): Promise<string[]> =>
  (await run.values('out', Item)).map(([key, value]) => `${key}:${value?.n}`)
const ids = async (run: Harness<readonly []>): Promise<string[]> => (await run.values('out', Clicked)).map(([, value]) => value?.note ?? '')

describe('by the id of the event', () => {
  const HEX = '00112233445566778899aabbccddeeff'
  const UUID = '00112233-4455-6677-8899-aabbccddee00'
  test.each<[what: string, one: string, other: string]>([
    ['hex ids', HEX, 'ff112233445566778899aabbccddeeff'],
    ['hex ids that differ in their second quarter', HEX, '00112233445566768899aabbccddeeff'],
    ['hex ids that differ in their third quarter', HEX, '00112233445566778899aabaccddeeff'],
    ['hex ids that differ in their last digit', HEX, '00112233445566778899aabbccddeefe'],
    ['UUIDs', UUID, '00112233-4455-6677-8899-aabbccddee01'],
    ['texts', 'order 1', 'order 2'],
    ['a hex id and the same in capitals', HEX, HEX.toUpperCase()],
    ['a UUID and the same in capitals', UUID, UUID.toUpperCase()],
    ['a UUID and a text with its dashes elsewhere', UUID, '00112233-44-556677-8899-aabbccddee00'],
    ['a short text and a longer one that begins alike', 'a', `a\u0000`],
    ['a text of one character and one of many', 'x', 'x'.repeat(2_000)],
  ])('%s are dropped when they come again, and told apart (G02)', async (_what, one, other) => {
    const run = harness(byContract())
    await run.feed(clicks, [click('u', one), click('u', other), click('u', one)])
    await run.restart()
    await run.feed(clicks, [click('u', other), click('u', one)])
    expect(await ids(run)).toEqual([one, other])
    expect(run.count('duplicate', 'once')).toBe(3)
    await run.close()
  })

  test('the same id under two keys is two facts', async () => {
    const run = harness(byContract())
    await run.feed(clicks, [click('u', 'same', 1), click('v', 'same', 2)])
    expect(await ids(run)).toEqual(['same', 'same'])
    await run.close()
  })

  test('a producer that sends a fact again under another producer id and offset is noticed (G05)', async () => {
    const run = harness(byContract())
    // Each feed opens a publisher of its own: another transactional producer, another sequence on the log.
    await run.feed(clicks, [click('u', 'a')])
    await run.feed(clicks, [click('u', 'a')])
    expect(await run.topic('web.clicks')).toHaveLength(2)
    expect(await ids(run)).toEqual(['a'])
    await run.close()
  })

  test('a key may have many more ids than one chunk of its marks holds, through a restart', async () => {
    const run = harness(byContract())
    const all = Array.from({ length: 150 }, (_, i) => click('hot', `id-${i}`))
    await run.feed(clicks, all)
    await run.restart()
    await run.feed(clicks, all.toReversed())
    expect(await ids(run)).toHaveLength(150)
    expect(run.count('duplicate', 'once')).toBe(150)
    await run.close()
    // Three rows of 64 at most: adding an id never writes more than that.
    const db = await run.state.open({ app: 'contracted', stage: 'clicks', generation: 1, partition: 0 })
    const rows = await db.range({ from: Buffer.from([1]), to: Buffer.from([2]), limit: 1_000 })
    await db.close()
    expect(rows.map(([, bytes]) => Math.floor(bytes.length / 16))).toEqual([64, 64, 22].map((ids) => ids + 1))
  })
})

describe('by a custom identity', () => {
  test('values that give the same text are one fact (G02)', async () => {
    const run = harness(plain({ id: (value) => value.note }))
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'a')],
      ['k', item(3, 'b')],
    ])
    await run.restart()
    await run.put('in', Item, [['k', item(4, 'b')]])
    expect(await passed(run)).toEqual(['k:1', 'k:3'])
    await run.close()
  })

  test('rows that share one LSN all apply, and each is dropped when it is delivered again (G11) (S3) (S4)', async () => {
    // A COPY of three rows and a snapshot: one LSN for all. Row key and place within it tell them apart.
    const run = harness(plain({ id: (value, fact) => `lsn-7/${fact.key}/${value.note}` }))
    const rows = [
      ['row-1', item(1, 'insert/0')],
      ['row-2', item(2, 'insert/1')],
      ['row-2', item(3, 'update/2')],
    ] as const
    await run.put('in', Item, rows)
    await run.restart()
    await run.put('in', Item, rows)
    expect(await passed(run)).toEqual(['row-1:1', 'row-2:2', 'row-2:3'])
    expect(run.count('duplicate', 'once')).toBe(3)
    await run.close()
  })

  test('a key that passes more ids within one commit than between two is counted right', async () => {
    const run = harness(plain({ id: (value) => value.note }), { commitBytes: 1 })
    await run.put(
      'in',
      Item,
      Array.from({ length: 140 }, (_, i) => ['k', item(i, `${i % 70}`)] as const),
    )
    expect(await passed(run)).toHaveLength(70)
    await run.close()
  })
})

describe('by a sequence', () => {
  test('a contract that numbers the facts of a key needs no more than that (G02)', async () => {
    const run = harness(
      topology('numbered', (flow) => {
        flow.source(preferences).dedupe('once').to('out-step', 'out')
        return []
      }),
    )
    await run.feed(preferences, [
      optIn('c', 1, { sequence: 1, id: 'a' }),
      optIn('c', 1, { sequence: 1, id: 'another id, the same fact' }),
      optIn('c', 3, { sequence: 3, id: 'c' }),
      optIn('d', 1, { sequence: 1, id: 'a' }),
    ])
    await run.restart()
    await run.feed(preferences, [optIn('c', 2, { sequence: 2, id: 'b' }), optIn('c', 3, { sequence: 3, id: 'c' })])
    expect((await run.topic('out')).map(({ key, headers }) => `${key}${Number(headers.ce_sequence)}`).sort()).toEqual([
      'c1',
      'c2',
      'c3',
      'd1',
    ])
    await run.close()
  })

  test('any numbers in any order, repeated and with restarts, pass once each, in the order of their first coming (G02)', async () => {
    const numbers = fc.array(fc.oneof(fc.integer({ min: 1, max: 25 }), fc.constant('restart' as const)), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(numbers, async (input) => {
        const run = harness(plain({ sequence: (value) => value.n }))
        const expected = new Set<number>()
        for (const each of input) {
          if (each === 'restart') await run.restart()
          else {
            expected.add(each)
            await run.put('in', Item, [['k', item(each)]])
          }
        }
        expect(await passed(run)).toEqual([...expected].map((n) => `k:${n}`))
        await run.close()
      }),
      { numRuns: 25 },
    )
  })

  test.each([0, -1, 1.5, Number.NaN, 2 ** 53])('number %s is no sequence: the record is dead-lettered and the key goes on', async (bad) => {
    const run = harness(plain({ sequence: (value) => (value.note === 'bad' ? bad : value.n) }))
    await run.put('in', Item, [
      ['k', item(1)],
      ['k', item(2, 'bad')],
      ['k', item(2)],
    ])
    expect(await passed(run)).toEqual(['k:1', 'k:2'])
    expect((await run.dead('once')).map(({ headers }) => headers.tm_code)).toEqual(['ENVELOPE_INVALID'])
    await run.close()
  })

  test('a thousand holes of a key are remembered; what would make one more is dead-lettered, and other keys go on', async () => {
    const run = harness(plain({ sequence: (value) => value.n }))
    await run.put(
      'in',
      Item,
      Array.from({ length: 1_001 }, (_, i) => ['k', item(2 * (i + 1))] as const),
    )
    await run.put('in', Item, [
      ['k', item(2)],
      ['k', item(1)],
      ['other', item(1)],
    ])
    expect((await run.dead('once')).map(({ headers }) => headers.tm_code)).toEqual(['SCOPE_TOO_LARGE'])
    expect((await passed(run)).slice(-3)).toEqual(['k:2000', 'k:1', 'other:1'])
    await run.close()
  })
})

describe('the horizon of ids', () => {
  const T = 1_700_000_000_000
  const marksOnDisk = async (run: Harness<readonly []>): Promise<number> => {
    await run.stop()
    const db = await run.state.open({ app: 'plain', stage: 'in', generation: 1, partition: 0 })
    // Marks are the rows of store 1; the rest is what the task says of itself.
    const rows = await db.range({ from: Buffer.from([1]), to: Buffer.from([2]), limit: 1_000 })
    await db.close()
    return rows.length
  }

  test('an id is remembered for `keep` of stream time, and forgotten later', async () => {
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put('in', Item, [
      ['k', item(1, 'a'), T],
      ['k', item(2, 'a'), T + 10_000],
      ['k', item(3, 'a'), T + 16_000],
    ])
    expect(await passed(run)).toEqual(['k:1', 'k:3'])
    await run.close()
  })

  test('stream time is what counts, and survives a restart: the clock on the wall forgets nothing', async () => {
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put('in', Item, [
      ['k', item(1, 'a'), T],
      ['x', item(9, 'x'), T + 100_000],
    ])
    run.crash()
    await run.clock.advance('30d')
    await run.put('in', Item, [
      // Late by its own time; but the step's time has passed the horizon of the first one.
      ['k', item(2, 'a'), T + 1],
      ['k', item(3, 'a'), T + 2],
    ])
    expect(await passed(run)).toEqual(['k:1', 'x:9', 'k:2'])
    await run.close()
  })

  test('an id that comes late is remembered from when it came, not from its own time', async () => {
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put('in', Item, [
      ['k', item(1, 'a'), T + 50_000],
      ['k', item(2, 'late'), T],
      ['k', item(3, 'late'), T + 59_000],
    ])
    expect(await passed(run)).toEqual(['k:1', 'k:2'])
    await run.close()
  })

  test('an id is remembered for as long as promised although older ones of its key, which lie beside it, are forgotten', async () => {
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put('in', Item, [
      ['k', item(1, 'a'), T],
      ['k', item(2, 'b'), T + 9_000],
      ['k', item(3, 'b'), T + 18_900],
      ['k', item(4, 'a'), T + 18_900],
    ])
    expect(await passed(run)).toEqual(['k:1', 'k:2', 'k:4'])
    await run.close()
  })

  test('against a model of small steps: within its horizon an id never passes again, and half a horizon later it does, through restarts (G02)', async () => {
    const event = fc.record({ id: fc.integer({ min: 0, max: 4 }), step: fc.constantFrom(0, 1, 2, 3, 4, 7, -5, 13) })
    const input = fc.array(fc.oneof({ weight: 8, arbitrary: event }, { weight: 1, arbitrary: fc.constant('restart' as const) }), {
      minLength: 5,
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(input, async (events) => {
        const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
        let seconds = 0
        const sent: { readonly id: number; readonly at: number }[] = []
        for (const each of events) {
          if (each === 'restart') {
            await run.restart()
            continue
          }
          seconds += each.step
          sent.push({ id: each.id, at: seconds })
          await run.put('in', Item, [['k', item(sent.length, String(each.id)), T + seconds * 1_000]])
        }
        const out = new Set(await passed(run))
        await run.close()
        const seenAt = new Map<number, number>()
        let streamTime = Number.NEGATIVE_INFINITY
        for (const [i, { id, at }] of sent.entries()) {
          streamTime = Math.max(streamTime, at)
          const age = streamTime - (seenAt.get(id) ?? Number.NEGATIVE_INFINITY)
          const passes = out.has(`k:${i + 1}`)
          if (age <= 10) expect(passes).toBe(false)
          // Ids are forgotten a bucket at a time, of which two make the horizon.
          else if (age >= 15) expect(passes).toBe(true)
          if (passes) seenAt.set(id, streamTime)
        }
      }),
      { numRuns: 25 },
    )
  })

  test('marks of buckets whose time is over leave the disk and the changelog', async () => {
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put(
      'in',
      Item,
      Array.from({ length: 30 }, (_, i) => [`k${i}`, item(i, 'a'), T + i * 100] as const),
    )
    expect(await marksOnDisk(run)).toBeGreaterThanOrEqual(30)
    await run.put('in', Item, [['z', item(99, 'z'), T + 1_000_000]])
    await run.settle()
    const changelog = (await run.topic('plain-in-g1-changelog')).filter(({ key }) => key?.startsWith('\u0001'))
    const live = new Map(changelog.map(({ key, value }) => [key, value]))
    expect([...live.values()].filter((value) => value !== undefined)).toHaveLength(1)
    expect(await marksOnDisk(run)).toBe(1)
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('marks are never taken for timers, whatever the number of their bucket spells', async () => {
    // The bucket of this time is 00 21 74 00: a zero byte, "!t", and a zero byte, as a timer's key begins.
    const at = 0x00217400 * 5_000
    const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
    await run.put('in', Item, [
      ['k', item(1, 'a'), at],
      ['k', item(2, 'b'), at + 1],
    ])
    await run.restart()
    await run.put('in', Item, [
      ['k', item(3, 'a'), at + 2],
      ['k', item(4, 'c'), at + 30_000],
    ])
    expect(await passed(run)).toEqual(['k:1', 'k:2', 'k:4'])
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('against a model: whatever comes, an id passes when it is new or its horizon is over, through restarts (G02)', async () => {
    // Steps of time far apart compared with the horizon, so that what is promised leaves nothing open.
    const event = fc.record({
      key: fc.constantFrom('a', 'b'),
      id: fc.integer({ min: 0, max: 3 }),
      step: fc.constantFrom(0, 0, 0, -3, 1, 2),
    })
    const input = fc.array(fc.oneof({ weight: 6, arbitrary: event }, { weight: 1, arbitrary: fc.constant('restart' as const) }), {
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(input, async (events) => {
        const run = harness(plain({ id: (value) => value.note, keep: '10s' }))
        const seenAt = new Map<string, number>()
        const expected: string[] = []
        let time = 100
        let streamTime = 0
        let n = 0
        for (const each of events) {
          if (each === 'restart') {
            await run.restart()
            continue
          }
          time += each.step
          streamTime = Math.max(streamTime, time)
          n += 1
          const name = `${each.key}/${each.id}`
          // One step is twenty seconds, twice the horizon.
          if (seenAt.get(name) !== streamTime) expected.push(`${each.key}:${n}`)
          if (seenAt.get(name) !== streamTime) seenAt.set(name, streamTime)
          await run.put('in', Item, [[each.key, item(n, String(each.id)), T + time * 20_000]])
        }
        expect(await passed(run)).toEqual(expected)
        await run.close()
      }),
      { numRuns: 25 },
    )
  })

  test.each(['0s', -1, 'soon'] as const)('a horizon of %s is refused', (keep) => {
    expect(() => plain({ id: (value) => value.note, keep: keep as never })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})

test('a new generation of a projection sees every fact again: marks belong to one generation (G08) (S6)', async () => {
  const run = harness(
    topology('generations', (flow) => [
      flow
        .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 2 })])
        .dedupe('once', { id: (value) => value.note })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ]),
  )
  await run.put('in', Item, [
    ['k', item(1, 'a')],
    ['k', item(1, 'a')],
    ['k', item(2, 'b')],
    ['l', item(4, 'a')],
  ])
  const before = await run.rows('sums')
  expect(before).toEqual({ k: { total: 3, notes: 'ab' }, l: { total: 4, notes: 'a' } })
  const replayed = await run.replay('sums')
  expect(replayed).toMatchObject({ equal: true, switched: true })
  expect(await run.rows('sums')).toEqual(before)
  await run.put('in', Item, [
    ['k', item(9, 'b')],
    ['k', item(8, 'c')],
  ])
  expect(await run.rows('sums')).toMatchObject({ k: { total: 11, notes: 'abc' } })
  await run.close()
})

test('a sink that fails once gets the record at the next try, because mark and effect are one commit (G14) (S1)', async () => {
  // What loses events elsewhere: mark, then effect, with a failure in between.
  const run = harness(byContract())
  await run.feed(clicks, [click('u', 'a'), { crash: 'commit.before-outputs' }, click('u', 'b'), CRASH.afterAppend])
  await run.feed(clicks, [click('u', 'a'), click('u', 'b')])
  expect(await ids(run)).toEqual(['a', 'b'])
  await run.close()
})
