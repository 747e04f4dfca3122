/** The planner: what it makes of a topology, and what it refuses before anything runs. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compound, context, contract, schema, text, topology } from '#tidemark'
import type { Plan, PlanFacts } from '../../src/plan/plan.ts'
import { NOTHING_KNOWN, planOf } from '../../src/plan/planner.ts'
import { assignTasks, type Claimant, tasksOf } from '../../src/plan/tasks.ts'
import { shop } from '../fixtures/shop/index.ts'

const Thing = schema<{ n: number }>({ type: 'record', name: 'Thing', fields: [{ name: 'n', type: 'int' }] })
const things = { key: text, value: Thing }
const project = { row: Thing, identity: 'once', fold: (row: { n: number } | undefined): { n: number } => ({ n: (row?.n ?? 0) + 1 }) }

const stage = (plan: Plan, name: string): Plan['stages'][number] => plan.stages.find((each) => each.name === name) as Plan['stages'][number]
const partitionsKnown = (known: Record<string, number>): PlanFacts => ({ ...NOTHING_KNOWN, partitionsOf: (topic) => known[topic] })

describe('a plan', () => {
  test('cuts at the inbox: ingest before it, fold behind it', () => {
    const plan = planOf(shop.graph)
    expect(plan.stages.map(({ name, class: kind }) => [name, kind])).toEqual([
      ['orders', 'ingest'],
      ['demand', 'fold'],
    ])
    expect(plan.stages.map(({ inboxes }) => inboxes)).toEqual([['demand'], []])
  })

  test('has the generation of what was rebuilt in every internal name of its stage, and in no other', () => {
    const plan = planOf(shop.graph, {
      ...NOTHING_KNOWN,
      generationOf: (_, name) => (name === 'demand-by-sku' || name === 'demand' ? 3 : 1),
    })
    expect(stage(plan, 'demand').changelog).toBe('shop-demand-g3-changelog')
    expect(stage(plan, 'orders').changelog).toBe('shop-orders-g1-changelog')
  })

  test('compacts rows and decisions, and keeps facts for ever', () => {
    const kept = planOf(shop.graph).topics.map(({ role, cleanup, retentionMs }) => `${role} ${cleanup} ${retentionMs}`)
    expect(new Set(kept)).toEqual(
      new Set([
        'source delete -1',
        'dead delete -1',
        'changelog compact -1',
        'inbox delete -1',
        'state compact -1',
        'decisions compact -1',
      ]),
    )
  })

  test('keeps what is written to a topic whole, or only the last of each key, as its step says', () => {
    const sinks = topology('sinks', (flow) => {
      const stream = flow.stream('in', things, { partitions: 3 })
      stream.to('all', 'history')
      stream.to('last', 'state', { cleanup: 'compact', partitions: 2 })
      return []
    })
    const topics = planOf(sinks.graph).topics.filter(({ role }) => role === 'sink')
    expect(topics.map(({ name, cleanup, partitions }) => [name, cleanup, partitions])).toEqual([
      ['history', 'delete', 3],
      ['state', 'compact', 2],
    ])
  })

  test('takes partitions from topics that exist, and gives an inbox those of its widest source', () => {
    const two = topology('two', (flow) => {
      const both = flow.inbox('both', [flow.stream('one.in', things), flow.stream('two.in', things, { partitions: 2 })])
      return [both.dedupe('once').project('counts', project)]
    })
    const plan = planOf(two.graph, partitionsKnown({ 'one.in': 6 }))
    expect(plan.stages.map(({ name, partitions }) => [name, partitions])).toEqual([
      ['one-in', 6],
      ['two-in', 2],
      ['both', 6],
    ])
    expect(tasksOf(plan, NOTHING_KNOWN)).toHaveLength(14)
  })

  test('is frozen: nobody changes it on its way', () => {
    const plan = planOf(shop.graph)
    for (const value of [plan, plan.stages, plan.stages[0], plan.topics, plan.topics[0], plan.warnings])
      expect(Object.isFrozen(value)).toBe(true)
  })

  test('warns of a topic that several contexts feed', () => {
    const shared = contract('shared', {
      owner: context('one', { owner: 'tests' }),
      version: 1,
      topic: 'shared.v1',
      key: text,
      meaning: 'anything',
      events: { Thing },
      sources: ['/one', '/two'],
    })
    const warned = topology('warned', (flow) => {
      flow.source(shared, { noDedupe: 'only counted' }).to('out', 'shared.out')
      return []
    })
    const plan = planOf(warned.graph)
    expect(plan.warnings).toEqual([expect.stringContaining('topic "shared.v1" is fed by 2 contexts (/one, /two)')])
  })
})

describe('the planner refuses', () => {
  const refused =
    (define: Parameters<typeof topology>[1], facts?: PlanFacts): (() => unknown) =>
    () =>
      planOf(topology('refused', define).graph, facts)

  test('state behind a change of key, and says which step changed it', () => {
    const rekeyed = refused((flow) => [
      flow
        .stream('things', things)
        .keyBy('by-other', compound('a'), () => ({ a: 'x' }))
        .dedupe('once')
        .project('counts', project),
    ])
    expect(rekeyed).toThrowError(
      expect.objectContaining({
        code: 'PLAN_REFUSED',
        message: expect.stringContaining('"by-other" changed the key'),
        hint: expect.stringContaining('inbox'),
      }),
    )
  })

  test('records of a changed key to be parked by it', () => {
    const parked = refused((flow) => {
      flow
        .stream('things', things)
        .keyBy('by-other', compound('a'), () => ({ a: 'x' }))
        .map('next', (thing) => thing, { value: Thing, onError: 'park' })
        .to('out', 'things.out')
      return []
    })
    expect(parked).toThrowError(expect.objectContaining({ code: 'PLAN_REFUSED' }))
  })

  test('logs of different partition counts in front of one state, and names the counts', () => {
    const merged = refused(
      (flow) => {
        const one = flow.stream('one.in', things)
        one.merge('both', flow.stream('two.in', things)).dedupe('once').to('out', 'things.out')
        return []
      },
      partitionsKnown({ 'one.in': 3, 'two.in': 5 }),
    )
    expect(merged).toThrowError(expect.objectContaining({ code: 'PLAN_REFUSED', detail: '"one-in" has 3, "two-in" has 5.' }))
  })

  test('a projection that follows several logs without an inbox', () => {
    const folded = refused((flow) => [
      flow.stream('one.in', things).merge('both', flow.stream('two.in', things)).dedupe('once').project('counts', project),
    ])
    expect(folded).toThrowError(
      expect.objectContaining({
        code: 'PLAN_REFUSED',
        message: expect.stringContaining('several logs'),
        hint: expect.stringContaining('inbox'),
      }),
    )
  })

  test('wall time in the stage of a projection', () => {
    const walled = refused((flow) => [
      flow
        .stream('things', things)
        .process('later', { rows: Thing, wall: true, passes: true, run: (_, __, out) => out.same() })
        .dedupe('once')
        .project('counts', project),
    ])
    expect(walled).toThrowError(expect.objectContaining({ code: 'PLAN_REFUSED', message: expect.stringContaining('wall time') }))
  })

  test('two readers of one topic, and a topic of two uses', () => {
    const twice = refused((flow) => {
      flow.stream('things', things, { step: 'one' }).to('out', 'things.out')
      flow.stream('things', things, { step: 'two' }).to('out-too', 'things.too')
      return []
    })
    expect(twice).toThrowError(
      expect.objectContaining({ code: 'PLAN_REFUSED', message: expect.stringContaining('read by two steps, "one" and "two"') }),
    )
    const circle = refused((flow) => {
      flow.stream('things', things).to('out', 'things')
      return []
    })
    expect(circle).toThrowError(expect.objectContaining({ code: 'PLAN_REFUSED', message: 'topic "things" has two uses in this topology' }))
  })
})

describe('tasks are given to members', () => {
  const owning = (member: string, tasks: readonly string[]): Claimant => ({
    member,
    owned: new Map(tasks.map((task) => [task, { generation: 1, reached: undefined }])),
    kept: new Map(),
  })

  const names = fc.uniqueArray(
    fc.integer({ min: 0, max: 99 }).map((n) => `task/${n}`),
    { maxLength: 40 },
  )
  const claims = fc.uniqueArray(fc.record({ member: fc.string({ minLength: 1, maxLength: 4 }), owned: names }), {
    minLength: 1,
    maxLength: 6,
    selector: ({ member }) => member,
  })

  test('each to one, loads differing by one at most, in whatever order they are named', () => {
    fc.assert(
      fc.property(names, claims, (tasks, members) => {
        const claimants = members.map(({ member, owned }) => owning(member, owned))
        const given = assignTasks(tasks, claimants)
        expect([...given.values()].flat().sort()).toEqual([...tasks].sort())
        const loads = [...given.values()].map((own) => own.length)
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
        expect(assignTasks(tasks.toReversed(), claimants.toReversed())).toEqual(given)
      }),
      { seed: 11 },
    )
  })

  test('and stay where they are when nothing changed, or only as many move as must', () => {
    fc.assert(
      fc.property(names, claims, (tasks, members) => {
        const first = assignTasks(
          tasks,
          members.map(({ member }) => owning(member, [])),
        )
        const owners = [...first].map(([member, own]) => owning(member, own))
        expect(assignTasks(tasks, owners)).toEqual(first)
        // One more member takes its share, and nobody else gets anything.
        const grown = assignTasks(tasks, [...owners, owning('newcomer', [])])
        for (const { member, owned } of owners) for (const task of grown.get(member) ?? []) expect(owned.has(task)).toBe(true)
      }),
      { seed: 12 },
    )
  })

  test('unless there is nobody', () => {
    expect(assignTasks(['a/0'], [])).toEqual(new Map())
  })
})
