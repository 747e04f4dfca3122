/** State by key needs all records of a key in one task: what the planner proves, and what it refuses. */
import { describe, expect, test } from 'vitest'
import { compound, type Flow, text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import type { Plan, PlanFacts } from '../../src/plan/plan.ts'
import { NOTHING_KNOWN, planOf } from '../../src/plan/planner.ts'
import { preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const plan = (define: (flow: Flow) => unknown, facts: PlanFacts = NOTHING_KNOWN): (() => Plan) => {
  const { graph } = topology('planned', (flow) => {
    define(flow)
    return []
  })
  return () => planOf(graph, facts)
}
const items = (flow: Flow, topic: string, partitions: number) => flow.stream(topic, { key: text, value: Item }, { partitions })
type Items = ReturnType<typeof items>
const count = { rows: Item, run: () => {} }

describe('a key that changed on the way', () => {
  test.each<[what: string, define: (flow: Flow) => unknown, by: string]>([
    [
      'by keyBy',
      (flow) =>
        items(flow, 'in', 2)
          .keyBy('rekeyed', text, (v) => v.note)
          .process('count', count),
      'rekeyed',
    ],
    [
      'by keyBy, with steps between',
      (flow) =>
        items(flow, 'in', 2)
          .keyBy('rekeyed', text, (v) => v.note)
          .filter('odd', () => true)
          .process('count', count),
      'rekeyed',
    ],
    [
      'on one side of a merge',
      (flow) => {
        const stream = items(flow, 'in', 2)
        stream
          .merge(
            'both',
            stream.keyBy('rekeyed', text, (v) => v.note),
          )
          .process('count', count)
      },
      'rekeyed',
    ],
    [
      'by a step that keeps state itself',
      (flow) =>
        items(flow, 'in', 2)
          .process('sender', { ...count, value: Item, rekeys: true })
          .process('count', count),
      'sender',
    ],
    [
      'before a step that parks',
      (flow) =>
        items(flow, 'in', 2)
          .keyBy('rekeyed', text, (v) => v.note)
          .filter('count', () => true, { onError: 'park' }),
      'rekeyed',
    ],
  ])('%s needs an inbox before state by the new one', (_what, define, by) => {
    expect(plan(define)).toThrow(
      expect.objectContaining({
        code: 'PLAN_REFUSED',
        message: `step "count" keeps state by key, but "${by}" changed the key before it`,
        hint: "Put an inbox between them: flow.inbox('a-name', [stream]).",
      }),
    )
  })

  test('by a translation: a projection under another key than its source needs that said, by an inbox (D16)', () => {
    const direct = (flow: Flow) =>
      flow
        .source(preferences)
        .dedupe('once')
        .keyBy('by-pair', compound('a', 'b'), (_event, fact) => ({ a: fact.key, b: '' }))
    const projected = {
      row: Sum,
      identity: 'once',
      windows: { 'contact-preferences': { target: '1s', max: '2s' } },
      fold: () => undefined,
    } as const
    expect(plan((flow) => direct(flow).project('p', projected))).toThrow(expect.objectContaining({ code: 'PLAN_REFUSED' }))
    expect(plan((flow) => flow.inbox('all', [direct(flow)]).project('p', projected))).not.toThrow()
  })
})

describe('logs of different partition counts', () => {
  const join = (flow: Flow) =>
    items(flow, 'one', 2)
      .merge('both', items(flow, 'other', 3))
      .process('count', count)

  test('may not meet in a step that keeps state by key', () => {
    expect(plan(join)).toThrow(
      expect.objectContaining({
        code: 'PLAN_REFUSED',
        message: 'step "count" reads logs of different partition counts',
        detail: '"one" has 2, "other" has 3.',
      }),
    )
  })
  test('are what the topics have, where they exist already', () => {
    expect(plan(join, { ...NOTHING_KNOWN, partitionsOf: () => 5 })).not.toThrow()
    expect(
      plan(
        (flow) =>
          items(flow, 'one', 2)
            .merge('both', items(flow, 'other', 2))
            .process('count', count),
        { ...NOTHING_KNOWN, partitionsOf: (topic) => (topic === 'one' ? 7 : undefined) },
      ),
    ).toThrow(expect.objectContaining({ detail: '"one" has 7, "other" has 2.' }))
  })
  test('may meet without state, and in an inbox, which has a count of its own', async () => {
    expect(
      plan((flow) =>
        items(flow, 'one', 2)
          .merge('both', items(flow, 'other', 3))
          .to('out-step', 'out'),
      ),
    ).not.toThrow()
    const run = harness(
      topology('meeting', (flow) => [
        flow
          .inbox('all', [items(flow, 'one', 2), items(flow, 'other', 5)])
          .dedupe('once', { id: (v) => v.note })
          .project('sums', { row: Sum, identity: 'once', fold: summed }),
      ]),
    )
    const keys = Array.from({ length: 12 }, (_, i) => `k${i}`)
    await run.put(
      'one',
      Item,
      keys.map((key) => [key, item(1, 'a')] as const),
    )
    await run.put(
      'other',
      Item,
      keys.map((key) => [key, item(2, 'b')] as const),
    )
    expect(new Set(Object.values(await run.rows('sums')).map(({ total }) => total))).toEqual(new Set([3]))
    expect(Object.keys(await run.rows('sums'))).toHaveLength(12)
    await run.close()
  })
})

describe('the proof', () => {
  const proof = (define: (flow: Flow) => unknown, facts?: PlanFacts) => plan(define, facts)().coPartitioning
  const parks = { onError: 'park' } as const

  test('names what is kept by key, the logs whose keys those are, and the count that these share', () => {
    const joined = proof((flow) =>
      items(flow, 'one', 3)
        .merge('both', items(flow, 'other', 3))
        .filter('odd', () => true, parks)
        .process('count', count),
    )
    const reads = ['one', 'other']
    expect(joined).toEqual([
      {
        stage: 'one',
        groups: [
          {
            logs: reads,
            partitions: 3,
            because: [
              { step: 'odd', keeps: 'parked', reads },
              { step: 'count', keeps: 'rows', reads },
            ],
          },
        ],
      },
    ])
  })

  test('binds logs over steps that share one, and leaves alone what nothing is kept by', () => {
    const [stage, ...others] = proof((flow) => {
      const [a, b, c, free] = ['a', 'b', 'c', 'free'].map((topic) => items(flow, topic, topic === 'free' ? 5 : 2)) as [
        Items,
        Items,
        Items,
        Items,
      ]
      a.merge('ab', b).process('count-ab', count)
      b.merge('bc', c).process('count-bc', count)
      free.merge('all', a).to('out-step', 'out')
    })
    expect(others).toEqual([])
    expect(stage?.groups.map(({ logs, partitions, because }) => [logs, partitions, because.map(({ step }) => step)])).toEqual([
      [['a', 'b', 'c'], 2, ['count-ab', 'count-bc']],
      [['free'], 5, []],
    ])
  })

  test('asks nothing of a step that only leads records on, also where the topology parks by default', () => {
    const { graph } = topology(
      'leading',
      (flow) => {
        items(flow, 'one', 2)
          .merge('both', items(flow, 'other', 3))
          .to('out-step', 'out')
        return []
      },
      parks,
    )
    expect(planOf(graph).coPartitioning[0]?.groups.map(({ partitions, because }) => [partitions, because])).toEqual([
      [2, []],
      [3, []],
    ])
  })

  test('is of the counts that topics have, where they exist already', () => {
    const counted = proof((flow) => items(flow, 'one', 2).process('count', count), { ...NOTHING_KNOWN, partitionsOf: () => 7 })
    expect(counted[0]?.groups[0]?.partitions).toBe(7)
  })
})

test('an inbox has as many partitions as the widest log that feeds it, unless it says another count', () => {
  const partitions = (define: (flow: Flow) => unknown): number | undefined =>
    plan(define)().topics.find(({ role }) => role === 'inbox')?.partitions
  expect(partitions((flow) => flow.inbox('all', [items(flow, 'one', 2), items(flow, 'other', 5)]))).toBe(5)
  expect(partitions((flow) => flow.inbox('all', [items(flow, 'one', 2)], { partitions: 9 }))).toBe(9)
})

test('a projection that follows merged logs is refused: only a recorded order can be replayed', () => {
  expect(
    plan((flow) =>
      items(flow, 'one', 2)
        .merge('both', items(flow, 'other', 2))
        .dedupe('once', { id: (v) => v.note })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ),
  ).toThrow(expect.objectContaining({ code: 'PLAN_REFUSED', message: 'projection "sums" follows several logs that were merged before it' }))
})

test('a projection in one stage with wall time is refused', () => {
  expect(
    plan((flow) =>
      flow
        .inbox('all', [items(flow, 'one', 2)])
        .process('waiter', { rows: Item, passes: true, wall: true, run: () => {} })
        .dedupe('once', { id: (v) => v.note })
        .project('sums', { row: Sum, identity: 'once', fold: summed }),
    ),
  ).toThrow(
    expect.objectContaining({
      code: 'PLAN_REFUSED',
      message: 'projection "sums" is in one stage with "waiter", which depends on wall time',
    }),
  )
})

test('a topic is read by one step and has one use', () => {
  expect(
    plan((flow) => [flow.stream('in', { key: text, value: Item }), flow.stream('in', { key: text, value: Item }, { step: 'again' })]),
  ).toThrow(expect.objectContaining({ code: 'PLAN_REFUSED', message: 'topic "in" is read by two steps, "in" and "again"' }))
  expect(plan((flow) => items(flow, 'in', 2).to('out-step', 'in'))).toThrow(
    expect.objectContaining({ code: 'PLAN_REFUSED', message: 'topic "in" has two uses in this topology' }),
  )
})
