/** Topics that are kept by key have deletions: what each step does with one, and how a projection follows a state of somebody else (C10). */
import { describe, expect, test } from 'vitest'
import { type Contract, context, contract, type Flow, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { consents } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const windows = { totals: { target: '5s', max: '1m' } } as const
/** Publishes what it adds up; a note of "gone" deletes. */
const publishing = topology('publishing', (flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
    .project('sums', {
      row: Sum,
      identity: 'once',
      publish: 'totals.v1',
      fold: (row, value) => (value.note === 'gone' ? undefined : summed(row, value)),
    }),
])
const totals = contract('totals', {
  owner: context('publishing', { owner: 'tests' }),
  version: 1,
  topic: 'totals.v1',
  partitions: 1,
  key: text,
  exchange: 'state',
  meaning: 'what there is of each thing',
  events: { Sum },
})
/** A follower that runs on what a publisher left. */
const followerOf = async <P extends readonly unknown[]>(
  following: Topology<P>,
  records: readonly (readonly [key: string, value: Item])[],
): Promise<Harness<P>> => {
  const run = harness(publishing)
  // One after the other, so that each is a commit of its own, and none is left out of what is published.
  for (const record of records) await run.put('in', Item, [record])
  await run.close()
  const follower = harness(following, { after: run })
  await follower.settle()
  return follower
}
const dead = async (run: Harness<readonly unknown[]>, step: string): Promise<unknown[]> =>
  (await run.dead(step)).map(({ key, headers }) => [key, headers.tm_code, headers.tm_reason])

const copying = topology('copying', (flow) => [
  flow
    .source(totals)
    .dedupe('once')
    .project('copies', { row: Sum, identity: 'once', windows, fold: (_row, { total, notes }) => ({ total, notes }) }),
])

describe('a projection of somebody else’s state', () => {
  const records = [
    ['a', item(1, 'one')],
    ['b', item(2, 'two')],
    ['a', item(0, 'gone')],
    ['c', item(3, 'three')],
    ['a', item(4, 'again')],
    ['b', item(0, 'gone')],
  ] as const
  const left = { a: { total: 4, notes: 'again' }, c: { total: 3, notes: 'three' } }

  test('has the rows that the other has: a deletion deletes, also behind dedupe, after a restart, a lost disk and a rebuild (C10)', async () => {
    const run = await followerOf(copying, records)
    expect(await run.rows('copies')).toEqual(left)
    const hash = await run.stateHash('copies')
    expect((await (await run.view('copies')).get('b')).row).toMatchObject({ version: 2, source: { topic: 'totals.v1' } })
    await run.restart()
    expect(await run.rows('copies')).toEqual(left)
    await run.stop()
    for (const id of await run.state.list('copying')) await run.state.destroy(id)
    expect([await run.rows('copies'), await run.stateHash('copies')]).toEqual([left, hash])
    expect(await run.replay('copies')).toMatchObject({ equal: true, switched: true })
    expect(await run.rows('copies')).toEqual(left)
    expect((await run.verify()).problems).toEqual([])
    expect([run.count('dead'), run.count('duplicate'), run.count('applied')]).toEqual([0, 0, 6])
    await run.close()
  })

  test.each(Object.entries(CRASH))('also when it dies at %s between a row and its deletion (C10)', async (_point, crash) => {
    const run = harness(
      topology('both', (flow) => [
        flow
          .stream('in', { key: text, value: Item }, { partitions: 1, cleanup: 'compact' })
          .dedupe('once')
          .project('copies', { row: Item, identity: 'once', fold: (_row, value) => value }),
      ]),
    )
    await run.put('in', Item, [['a', item(1)]], crash)
    await run.put('in', Item, [['a', null]], crash)
    await run.put('in', Item, [['b', item(2)]], crash)
    await run.put('in', Item, [['never', null]])
    expect(await run.rows('copies')).toEqual({ b: item(2) })
    expect(run.count('dead')).toBe(0)
    await run.close()
  })

  test('by the number of each row: a late row does not bring back what was deleted, a later one does (S8) (C10)', async () => {
    const run = await followerOf(
      topology('gating', (flow) => [
        flow.source(totals).project('copies', {
          row: Sum,
          gate: { version: (_value, fact) => fact.sequence ?? 0, deleted: (fact) => fact.sequence },
          windows,
          fold: (_row, { total, notes }) => ({ total, notes }),
        }),
      ]),
      records,
    )
    expect(await run.rows('copies')).toEqual(left)
    const [first, , deletion] = await run.topic('totals.v1')
    const again = [first, deletion].map((seen) => ({
      key: seen?.key as string,
      value: seen?.value ?? null,
      headers: Object.entries(seen?.headers ?? {}).map(([name, value]) => ({ name, value: Buffer.from(value) })),
    }))
    await run.send('totals.v1', again)
    expect(await run.rows('copies')).toEqual(left)
    expect(run.count('stale')).toBe(2)
    // Number 2 of b deleted it; number 1 comes late.
    const [, row] = await run.topic('totals.v1')
    const headers = Object.entries(row?.headers ?? {}).map(([name, value]) => ({ name, value: Buffer.from(value) }))
    await run.send('totals.v1', [{ key: 'b', value: row?.value ?? null, headers }])
    expect(await run.rows('copies')).toEqual(left)
    // A deletion without a number says so, and deletes nothing.
    await run.send('totals.v1', [{ key: 'c', value: null, headers: headers.filter(({ name }) => name !== 'ce_sequence') }])
    expect(await dead(run, 'copies')).toEqual([['c', 'ENVELOPE_INVALID', 'the gate of "copies" gave version undefined']])
    expect(await run.rows('copies')).toEqual(left)
    await run.close()
  })

  test('in the sequence of its numbers, where an order stands before it (C10)', async () => {
    const run = harness(
      topology('ordering', (flow) => [
        flow
          .source({ ...totals, sequence: 'per key' })
          .order('in-sequence')
          .project('copies', { row: Sum, identity: 'in-sequence', windows, fold: (_row, { total, notes }) => ({ total, notes }) }),
      ]),
    )
    await run.app()
    const value = await run.encode(Sum, { total: 1, notes: '' })
    const send = (number: number, bytes: Buffer | null): Promise<void> =>
      run.send('totals.v1', [
        {
          key: 'a',
          value: bytes,
          headers: Object.entries({ ce_id: `${number}`, ce_source: '/publishing', ce_sequence: `${number}` }).map(([name, each]) => ({
            name,
            value: Buffer.from(each),
          })),
        },
      ])
    await send(1, value)
    // Held as bytes, read after a restart, and still a deletion.
    await send(3, null)
    await run.restart()
    expect(await run.rows('copies')).toEqual({ a: { total: 1, notes: '' } })
    await send(2, value)
    expect(await run.rows('copies')).toEqual({})
    await send(4, value)
    expect(await run.rows('copies')).toEqual({ a: { total: 1, notes: '' } })
    expect(run.count('dead')).toBe(0)
    await run.close()
  })

  test('may say what a deletion does instead (C10)', async () => {
    const run = await followerOf(
      topology('keeping', (flow) => [
        flow
          .source(totals)
          .dedupe('once')
          .project('copies', {
            row: Sum,
            identity: 'once',
            windows,
            fold: (_row, { total, notes }) => ({ total, notes }),
            deleted: (row, fact) => (row === undefined ? undefined : { ...row, notes: `${row.notes}, gone by ${fact.sequence}` }),
          }),
      ]),
      records,
    )
    expect(await run.rows('copies')).toEqual({ ...left, b: { total: 2, notes: 'two, gone by 2' } })
    expect(await run.replay('copies')).toMatchObject({ equal: true })
    await run.close()
  })

  test('of a producer whose envelope is in its values follows the deletions, which have none (C10)', async () => {
    const legacy = contract('totals', {
      owner: totals.owner,
      version: 1,
      topic: 'totals.v1',
      partitions: 1,
      key: text,
      exchange: 'state',
      meaning: 'what there is of each thing',
      events: { Sum },
      envelope: { id: (event) => event.notes, time: (event) => event.total, sequence: (event) => event.total },
    })
    const run = harness(
      topology('copying', (flow) => [
        flow
          .source(legacy as unknown as Contract<'totals', string, { type: 'Sum' } & Sum>)
          .dedupe('once')
          .project('copies', { row: Sum, identity: 'once', windows, fold: (_row, { total, notes }) => ({ total, notes }) }),
      ]),
    )
    await run.app()
    await run.send('totals.v1', [{ key: 'a', value: await run.encode(Sum, { total: 1, notes: 'one' }), at: 500 }])
    expect(Object.keys(await run.rows('copies'))).toEqual(['a'])
    await run.send('totals.v1', [{ key: 'a', value: null, at: 900 }])
    expect(await run.rows('copies')).toEqual({})
    expect((await (await run.view('copies')).get('a')).row).toMatchObject({ at: 900 })
    expect(run.count('dead')).toBe(0)
    await run.close()
  })
})

describe('a deletion', () => {
  const records = [
    ['a', item(1, 'one')],
    ['a', item(0, 'gone')],
  ] as const
  type Sums = ReturnType<typeof sums>
  const sums = (flow: Flow) => flow.source(totals).dedupe('once')
  const through = (define: (stream: Sums, flow: Flow) => void): Promise<Harness<readonly []>> =>
    followerOf(
      topology('through', (flow) => {
        define(sums(flow), flow)
        return []
      }),
      records,
    )
  const out = async (run: Harness<readonly unknown[]>, topic = 'out'): Promise<unknown[]> =>
    (await run.topic(topic)).map(({ key, value }) => [key, value === undefined ? 'deleted' : 'value'])
  const both = [
    ['a', 'value'],
    ['a', 'deleted'],
  ]

  test('passes a filter, which has no value to judge; one that reads none of it is asked', async () => {
    const run = await through((stream) => {
      stream.filter('sieve', ({ total }) => total > 0).to('out-step', 'out')
      stream.filter('numbers', (_value, { sequence }) => sequence === 1, { reads: [] }).to('odd-step', 'odd')
    })
    expect([await out(run), await out(run, 'odd')]).toEqual([both, [['a', 'value']]])
    await run.close()
  })

  test('is one of what map and flatMap make, as an event of its own, and goes through an inbox into the row made of them', async () => {
    const run = await followerOf(
      topology('through', (flow) => {
        const mapped = sums(flow).map('to-item', ({ total }) => item(total), { value: Item })
        mapped.to('out-step', 'out')
        return [
          flow
            .inbox('all', [mapped.flatMap('again', (value) => [value], { value: Item })])
            .project('copies', { row: Item, identity: 'once', windows, fold: (_row, value) => value }),
        ]
      }),
      [...records, ['b', item(2, 'two')]],
    )
    expect(await out(run)).toEqual([...both, ['b', 'value']])
    const ids = (await run.topic('out')).map(({ headers }) => headers.ce_id)
    expect(new Set(ids).size).toBe(3)
    const [, deleted] = await run.topic('totals.v1')
    expect((await run.topic('out'))[1]?.headers).toMatchObject({ ce_causationid: deleted?.headers.ce_id, ce_type: 'through.Item' })
    expect(await run.rows('copies')).toEqual({ b: item(2) })
    expect(await run.replay('copies')).toMatchObject({ equal: true })
    expect(run.count('dead')).toBe(0)
    await run.close()
  })

  test('goes to every branch, for its key may have been in any', async () => {
    const run = await through((stream) => {
      const { small, large } = stream.branch('sort', { small: ({ total }) => total < 10, large: () => true })
      small.to('small-step', 'small')
      large.to('large-step', 'large')
    })
    expect([await out(run, 'small'), await out(run, 'large')]).toEqual([both, [['a', 'deleted']]])
    await run.close()
  })

  test('keeps its key where the new one is made of the old, and is dead-lettered where that would need the value', async () => {
    const run = await through((stream) => {
      stream.keyBy('by-key', text, (_value, { key }) => `${key}!`, { reads: [] }).to('out-step', 'out')
      stream.keyBy('by-notes', text, ({ notes }) => notes).to('notes-step', 'notes')
    })
    expect(await out(run)).toEqual([
      ['a!', 'value'],
      ['a!', 'deleted'],
    ])
    expect(await out(run, 'notes')).toEqual([['one', 'value']])
    expect(await dead(run, 'by-notes')).toEqual([
      ['a', 'VALUE_INVALID', 'step "by-notes" takes its key from the value, and a deletion has none'],
    ])
    await run.close()
  })

  test('is translated as the step says: into facts, or not at all', async () => {
    const run = await through((stream) => {
      const granted = { Sum: (_event: Sum, { key }: { key: string }) => consents.make.ConsentGranted(key, { version: 1 }) }
      stream
        .translate('telling', consents, granted, {
          deleted: ({ key, sequence = 0 }) => consents.make.ConsentWithdrawn(key, { version: sequence }),
        })
        .to('out-step', 'out')
      stream.translate('ignoring', consents, granted, { deleted: 'ignore' }).to('few-step', 'few')
    })
    expect((await run.topic('out')).map(({ headers }) => headers.ce_type)).toEqual(['billing.ConsentGranted', 'billing.ConsentWithdrawn'])
    expect(await out(run, 'few')).toEqual([['a', 'value']])
    expect(run.count('ignored', 'ignoring', 'deletion')).toBe(1)
    await run.close()
  })

  test('is known by its id where dedupe has an identity of its own in the value', async () => {
    const run = await followerOf(
      topology('through', (flow) => {
        flow
          .source(totals)
          .dedupe('own', { id: ({ notes }) => notes })
          .to('out-step', 'out')
        return []
      }),
      records,
    )
    expect(await out(run)).toEqual(both)
    await run.close()
  })

  test('of an events contract is none: a null value there is dead-lettered, and says why', async () => {
    const run = harness(
      topology('through', (flow) => {
        flow
          .source({ ...totals, exchange: 'events' })
          .dedupe('once')
          .filter('sieve', ({ total }) => total > 0)
          .to('out-step', 'out')
        return []
      }),
    )
    await run.app()
    const headers = ['ce_id:1', 'ce_source:/publishing'].map((each) => ({
      name: each.slice(0, each.indexOf(':')),
      value: Buffer.from(each.slice(each.indexOf(':') + 1)),
    }))
    await run.send('totals.v1', [{ key: 'a', value: null, headers }])
    expect(await dead(run, 'sieve')).toEqual([['a', 'VALUE_INVALID', 'a record has no value where one is needed']])
    await run.close()
  })

  const refused: readonly (readonly [what: string, define: (flow: Flow) => unknown, message: string])[] = [
    [
      'a translation that has no case for it',
      (flow) => sums(flow).translate('telling', consents, { Sum: 'ignore' }),
      'step "telling" has no case for a deletion',
    ],
    [
      'a gate that does not say which version it has',
      (flow) => flow.source(totals).project('copies', { row: Sum, gate: { version: () => 1 }, windows, fold: () => undefined }),
      'the gate of projection "copies" does not say which version a deletion has',
    ],
    [
      'a translation that has a case, where nothing deletes',
      (flow) => flow.source({ ...totals, exchange: 'events' }).translate('telling', consents, { Sum: 'ignore' }, { deleted: 'ignore' }),
      'step "telling" says what a deletion is, and nothing that comes to it deletes',
    ],
    [
      'a projection that has one, where nothing deletes',
      (flow) =>
        flow
          .stream('in', { key: text, value: Item })
          .dedupe('once')
          .project('copies', { row: Item, identity: 'once', fold: (_row, value) => value, deleted: () => undefined }),
      'projection "copies" says what a deletion is, and nothing that comes to it deletes',
    ],
    [
      'a gate that has a version for it, where nothing deletes',
      (flow) =>
        flow
          .stream('in', { key: text, value: Item })
          .project('copies', { row: Item, gate: { version: () => 1, deleted: () => 1 }, fold: (_row, value) => value }),
      'the gate of projection "copies" says what a deletion is, and nothing that comes to it deletes',
    ],
  ]
  test.each(refused)('is asked about where a topology is written: %s is refused', (_what, define, message) => {
    expect(() =>
      topology('refused', (flow) => {
        define(flow)
        return []
      }),
    ).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message }))
  })
})
