/** project: folds that replace are guarded by a version, folds that add up by what stands before them; deleted rows remember; rows say where they come from. */
import { describe, expect, test } from 'vitest'
import { type Flow, type Topology, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { optIn, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const items = (flow: Flow) => flow.inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 1 })])

/** The last version wins; a note of "gone" deletes. */
const latest = topology('latest', (flow) => [
  items(flow).project('last', {
    row: Sum,
    gate: { version: (value) => value.n },
    publish: 'last-state',
    fold: (_row, value) => (value.note === 'gone' ? undefined : { total: value.n, notes: value.note }),
  }),
])
const adding = (revision = 1) =>
  topology('adding', (flow) => [
    items(flow)
      .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
      .project('sums', {
        row: Sum,
        identity: 'once',
        revision,
        publish: 'sums-state',
        fold: (row, value) => {
          const next = summed(row, value)
          return value.note === 'gone' ? undefined : revision === 1 ? next : { ...next, total: next.total * 100 }
        },
      }),
  ])

const outcomes = (run: Harness<typeof latest.projections>): Record<string, number> =>
  Object.fromEntries(
    (['applied', 'duplicate', 'stale', 'conflict', 'gap'] as const).map((counter) => [counter, run.count(counter, 'last')]),
  )

describe('a fold that replaces', () => {
  test('applies what is newer: v1, then v7, then late v3 stays v7 (G15) (S2)', async () => {
    const run = harness(latest)
    await run.put('in', Item, [
      ['k', item(1, 'one')],
      ['k', item(7, 'seven')],
      ['k', item(3, 'three')],
    ])
    await run.restart()
    await run.put('in', Item, [['k', item(6, 'six')]])
    expect(await run.rows('last')).toEqual({ k: { total: 7, notes: 'seven' } })
    expect((await (await run.view('last')).get('k')).row).toMatchObject({ version: 7 })
    await run.close()
  })

  test('tells duplicate, stale, conflict and gap apart, through a restart, and dead-letters none of them (G17) (S12)', async () => {
    const run = harness(latest)
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'b')],
    ])
    await run.restart()
    await run.put('in', Item, [
      ['k', item(2, 'b')],
      ['k', item(2, 'another b')],
      ['k', item(1, 'a')],
      ['k', item(5, 'e')],
    ])
    expect(outcomes(run)).toEqual({ applied: 3, duplicate: 1, conflict: 1, stale: 1, gap: 1 })
    expect(await run.dead('last')).toEqual([])
    expect(await run.rows('last')).toEqual({ k: { total: 5, notes: 'e' } })
    await run.close()
  })

  test('takes the first version that it meets, whichever that is, and calls it no gap (S9)', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(41, 'x')]])
    expect([await run.rows('last'), outcomes(run)]).toEqual([
      { k: { total: 41, notes: 'x' } },
      { applied: 1, duplicate: 0, stale: 0, conflict: 0, gap: 0 },
    ])
    await run.close()
  })

  test('remembers the version of what was deleted: a late fact does not bring it back, a newer one does (S8)', async () => {
    const run = harness(latest)
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(3, 'gone')],
    ])
    await run.restart()
    await run.put('in', Item, [
      ['k', item(2, 'late')],
      ['k', item(3, 'gone')],
      ['k', item(3, 'gone differently')],
    ])
    expect(await run.rows('last')).toEqual({})
    expect(await (await run.view('last')).get('k')).toMatchObject({ value: undefined, row: { version: 3 } })
    expect(outcomes(run)).toEqual({ applied: 2, duplicate: 1, stale: 1, conflict: 1, gap: 1 })
    expect(await run.replay('last')).toMatchObject({ equal: true, switched: true })
    await run.put('in', Item, [['k', item(2, 'late again')]])
    expect(await run.rows('last')).toEqual({})
    await run.put('in', Item, [['k', item(4, 'back')]])
    expect(await run.rows('last')).toEqual({ k: { total: 4, notes: 'back' } })
    await run.close()
  })

  test('a deletion that comes before anything else is remembered, too', async () => {
    const run = harness(latest)
    await run.put('in', Item, [
      ['k', item(5, 'gone')],
      ['k', item(4, 'late')],
    ])
    expect(await run.rows('last')).toEqual({})
    expect(outcomes(run)).toMatchObject({ applied: 1, stale: 1 })
    await run.close()
  })

  test.each([undefined, null, 0, -3, 1.5, Number.NaN, '7', 2 ** 53])(
    'a version of %s is an error that says so, and not an update that is silently refused (S5)',
    async (version) => {
      const run = harness(
        topology('versionless', (flow) => [
          items(flow).project('last', {
            row: Sum,
            gate: { version: () => version as number },
            fold: (_row, value) => ({ total: value.n, notes: '' }),
          }),
        ]),
      )
      await run.put('in', Item, [['k', item(1)]])
      expect((await run.dead('last')).map(({ headers }) => headers.tm_code)).toEqual(['ENVELOPE_INVALID'])
      await run.close()
    },
  )
})

describe('a fold that adds up', () => {
  test('names what makes it safe, in one way', () => {
    const build = (safety: object): (() => Topology) => {
      return () =>
        topology('unsafe', (flow) => [
          items(flow)
            .dedupe('once', { id: (v) => v.note })
            .project('sums', { row: Sum, fold: summed, ...safety } as never),
        ])
    }
    const message = 'projection "sums" must say what makes its fold safe, in one way'
    expect(build({})).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message }))
    expect(build({ identity: [] })).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message }))
    expect(build({ identity: 'once', gate: { version: () => 1 } })).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message }))
    expect(build({ identity: 'once' })).not.toThrow()
  })

  test('may only rely on steps that let a fact pass once, and that stand on every way to it', () => {
    const build = (define: (flow: Flow) => unknown): (() => Topology) => {
      return () =>
        topology('relying', (flow) => {
          define(flow)
          return []
        })
    }
    const terms = (identity: string) => ({ row: Sum, fold: summed, identity }) as const
    const one = (flow: Flow) => flow.stream('one', { key: text, value: Item })
    const other = (flow: Flow) => flow.stream('other', { key: text, value: Item })
    expect(
      build((flow) =>
        one(flow)
          .filter('sieve', () => true)
          .project('sums', terms('sieve')),
      ),
    ).toThrow(
      expect.objectContaining({
        code: 'TOPOLOGY_INVALID',
        message: 'projection "sums" relies on "sieve", which lets nothing pass once',
        detail: 'It is a filter.',
      }),
    )
    expect(build((flow) => one(flow).project('sums', terms('nowhere')))).toThrow(
      expect.objectContaining({ detail: 'There is no such step.' }),
    )
    expect(
      build((flow) => {
        const guarded = one(flow).dedupe('once', { id: (v) => v.note })
        flow.inbox('all', [guarded, other(flow)]).project('sums', terms('once'))
      }),
    ).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'facts reach projection "sums" from "other" without passing "once"' }),
    )
    expect(
      build((flow) => {
        const stream = one(flow)
        const guarded = stream.dedupe('once', { id: (v) => v.note })
        flow.inbox('all', [guarded.merge('both', stream)]).project('sums', terms('once'))
      }),
    ).toThrow(expect.objectContaining({ message: 'facts reach projection "sums" from "one" without passing "once"' }))
    expect(
      build((flow) => {
        const first = one(flow).dedupe('once', { id: (v) => v.note })
        const second = other(flow).order('in-sequence', { sequence: (v) => v.n })
        flow.inbox('all', [first, second]).project('sums', { ...terms('once'), identity: ['once', 'in-sequence'] })
      }),
    ).not.toThrow()
  })

  test('counts on after it deleted its row: versions go on, and the row begins anew', async () => {
    const run = harness(adding())
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'gone')],
    ])
    await run.restart()
    expect(await run.rows('sums')).toEqual({})
    await run.put('in', Item, [['k', item(4, 'c')]])
    expect(await (await run.view('sums')).get('k')).toMatchObject({ value: { total: 4, notes: 'c' }, row: { version: 3 } })
    await run.close()
  })

  test('that changes its row in place is found in the harness, by the fact that does it', async () => {
    const run = harness(
      topology('mutating', (flow) => [
        items(flow)
          .dedupe('once', { id: (v) => v.note })
          .project('sums', {
            row: Sum,
            identity: 'once',
            fold: (row, value) => {
              if (row === undefined) return summed(row, value)
              ;(row as { total: number }).total += value.n
              return row
            },
          }),
      ]),
    )
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['k', item(2, 'b')],
    ])
    expect(await run.rows('sums')).toEqual({ k: { total: 1, notes: 'a' } })
    expect(await run.dead('sums')).toMatchObject([
      {
        headers: {
          tm_code: 'STEP_FAILED',
          tm_detail: expect.stringMatching(/^TypeError: Cannot assign to read only property 'total'/) as string,
        },
      },
    ])
    await run.close()
  })
})

describe('what is published', () => {
  test('is the last row of each key in a commit, with its version; what `to` sends is everything', async () => {
    const run = harness(
      topology('published', (flow) => {
        const facts = flow
          .stream('in', { key: text, value: Item }, { partitions: 1 })
          .dedupe('once', { id: (v, fact) => `${fact.key}${v.note}` })
        facts.to('out-step', 'out')
        return [flow.inbox('all', [facts]).project('sums', { row: Sum, identity: 'once', publish: 'sums-state', fold: summed })]
      }),
    )
    const { log, codecs } = await run.access()
    const { BatchBuilder } = await import('../../src/ports/record-batch/index.ts')
    // One batch, so that it goes into one commit.
    const batch = new BatchBuilder({ codecs })
    for (let i = 1; i <= 5; i++) batch.add(1_000 + i, Buffer.from('k'), await run.encode(Item, item(i, `${i}`)))
    const writer = await log.plainWriter()
    await writer.append('in/0', batch.finish())
    await writer.close()
    await run.settle()
    expect(await run.topic('out')).toHaveLength(5)
    const states = await run.topic('sums-state')
    expect(states).toHaveLength(1)
    expect(states).toMatchObject([
      { key: 'k', at: 1_005, headers: { ce_sequence: '0000000000000005', ce_source: '/published', ce_specversion: '1.0' } },
    ])
    expect((await run.values('sums-state', Sum)).map(([, value]) => value)).toEqual([{ total: 15, notes: '12345' }])
    await run.close()
  })

  test('is a null value for a deleted row, and goes on after crashes as the view does', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]], CRASH.afterAppend)
    await run.put('in', Item, [['k', item(2, 'gone')]], CRASH.afterDecision)
    await run.put('in', Item, [['l', item(1, 'b')]], CRASH.afterStore)
    expect((await run.values('last-state', Sum)).map(([key, value]) => [key, value])).toEqual([
      ['k', { total: 1, notes: 'a' }],
      ['k', null],
      ['l', { total: 1, notes: 'b' }],
    ])
    await run.close()
  })

  test('is not published again by a replay', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]])
    await run.replay('last')
    await run.app()
    expect(await run.topic('last-state')).toHaveLength(1)
    await run.close()
  })
})

test('a row says where it comes from and when, after a restart, a lost disk and a rebuild (K09)', async () => {
  const run = harness(
    topology('origins', (flow) => [
      flow
        .source(preferences)
        .dedupe('once')
        .project('versions', {
          row: Item,
          identity: 'once',
          windows: { 'contact-preferences': { target: '5s', max: '1m' } },
          fold: { EmailOptIn: (_row, event) => item(event.version), EmailOptOut: (_row, event) => item(event.version) },
        }),
    ]),
  )
  const at = Date.UTC(2020, 1, 2)
  const appliedAt = run.clock.now()
  await run.feed(preferences, [optIn('c', 1), optIn('c', 2, { at })])
  const [, second] = await run.topic('crm.preferences.v1')
  const info = {
    version: 2,
    at,
    appliedAt,
    source: { topic: 'crm.preferences.v1', partition: second?.partition, offset: second?.offset },
    contractVersion: 1,
  }
  const read = async (): Promise<unknown> => (await (await run.view('versions')).get('c')).row
  expect(await read()).toEqual(info)
  await run.restart()
  expect(await read()).toEqual(info)
  await run.stop()
  for (const id of await run.state.list('origins')) await run.state.destroy(id)
  expect(await read()).toEqual(info)
  await run.stop()
  await run.clock.advance('1h')
  expect(await run.replay('versions')).toMatchObject({ equal: true, switched: true })
  const rebuiltAt = run.clock.now()
  expect(await read()).toEqual({ ...info, appliedAt: rebuiltAt })
  await run.close()
})

test('a projection whose meaning changed is refused until it is rebuilt, and then goes on by its new meaning', async () => {
  const before = harness(adding(1))
  await before.put('in', Item, [
    ['k', item(1, 'a')],
    ['k', item(2, 'b')],
  ])
  await before.close()
  const after = harness(adding(2), { after: before })
  await expect(after.app()).rejects.toMatchObject({
    code: 'PLAN_CHANGED',
    detail: '- store "sums" goes from revision 1 to 2',
    hint: 'Its rows mean something else now. Rebuild it: tidemark replay sums.',
  })
  // Its state hash differs, so it is not switched to unless that is said.
  expect(await after.replay('sums')).toMatchObject({ equal: false, switched: false })
  await expect(after.app()).rejects.toMatchObject({ code: 'PLAN_CHANGED' })
  expect(await after.replay('sums', { switch: 'always' })).toMatchObject({ equal: false, switched: true })
  expect(await after.rows('sums')).toEqual({ k: { total: (100 + 2) * 100, notes: 'ab' } })
  await after.put('in', Item, [['k', item(3, 'c')]])
  expect(await after.rows('sums')).toEqual({ k: { total: (10_200 + 3) * 100, notes: 'abc' } })
  await after.close()
  const back = harness(adding(1), { after })
  await expect(back.app()).rejects.toMatchObject({ code: 'PLAN_CHANGED' })
  await back.close()
})

test('records that were there before the first start are read: nobody begins at the end (J23) (S10)', async () => {
  const first = harness(
    topology('earlier', (flow) => {
      flow.stream('in', { key: text, value: Item }, { partitions: 1 }).to('out-step', 'out')
      return []
    }),
  )
  await first.put('in', Item, [
    ['k', item(1, 'a')],
    ['k', item(2, 'b')],
  ])
  await first.close()
  const second = harness(adding(), { after: first })
  expect(await second.rows('sums')).toEqual({ k: { total: 3, notes: 'ab' } })
  await second.close()
})

test('folding the same inbox twice gives the same state, byte for byte (J11)', async () => {
  const hashes: string[] = []
  for (const seed of [1, 2, 3]) {
    const run = harness(adding(), { seed })
    await run.put('in', Item, [
      ['k', item(1, 'a')],
      ['l', item(2, 'b')],
      ['k', item(3, 'gone')],
      ['k', item(5, 'd')],
    ])
    const live = await run.stateHash('sums')
    const [rebuilt] = (await run.replay('sums')).projections
    expect(rebuilt).toMatchObject({ live, rebuilt: live })
    hashes.push(live)
    await run.close()
  }
  expect(new Set(hashes).size).toBe(1)
})

test.each<[what: string, terms: object]>([
  ['a decision that tolerates no duration', { decisions: { d: { maxStaleness: 'soon', otherwise: 'proceed' } } }],
  ['a decision without a policy', { decisions: { d: { maxStaleness: '1m', otherwise: 'hope' } } }],
  ['a topic to publish to that is none', { publish: 'no/such topic' }],
  ['a revision that is no whole number from 1', { revision: 0.5 }],
])('%s is refused where it is written', (_what, terms) => {
  expect(() =>
    topology('bad', (flow) => [items(flow).project('last', { row: Sum, gate: { version: () => 1 }, fold: () => undefined, ...terms })]),
  ).toThrow(expect.objectContaining({ name: 'TidemarkError' }))
})
