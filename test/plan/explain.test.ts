/** A plan in words, as data and as a picture: every pass can be read, and the same plan is always told in the same way. */
import { describe, expect, test } from 'vitest'
import { schema, text, topology } from '#tidemark'
import { explain, explainJson, SECTIONS, type Section } from '../../src/plan/explain.ts'
import { mermaid } from '../../src/plan/mermaid.ts'
import { picture } from '../../src/plan/pictures.ts'
import { NOTHING_KNOWN, planOf } from '../../src/plan/planner.ts'
import { preferences } from '../fixtures/crm.ts'
import { shop } from '../fixtures/shop/index.ts'

const plan = planOf(shop.graph)

describe('in words', () => {
  test('a plan is told pass by pass, for somebody who has not seen one', () => {
    expect(explain(plan, NOTHING_KNOWN)).toBe(`shop: 6 steps, 2 stages, 12 topics, 3 stores, 4 tasks

Topology: every step with its name, and what it reads ("<-").
  source orders (orders.v1)
  dedupe orders-once <- orders [store]
  order orders-in-order <- orders-once [store]
  translate orders-as-wants <- orders-in-order
  inbox demand <- orders-as-wants
  project demand-by-sku <- demand [store]

Sub-topologies: the graph, cut where records go through a topic. What stays connected runs together, in memory.
  1. orders, orders-once, orders-in-order, orders-as-wants; it writes inbox demand
  2. demand, demand-by-sku

Stages: what lies between two recorded logs, and how it can be made again.
  orders: an ingest stage of generation 1, in 2 tasks.
    reads   orders.v1
    runs    orders, orders-once, orders-in-order, orders-as-wants
    writes  shop-demand-g1-inbox
    aside   records that fail, as they came, into 4 dead-letter topics, one a step
    keeps   orders-once (store 1), orders-in-order (store 2); every change is in shop-orders-g1-changelog
    again   What it decides is recorded in what it writes, so nothing behind it depends on when it ran.

  demand: a fold stage of generation 1, in 2 tasks.
    reads   shop-demand-g1-inbox
    runs    demand, demand-by-sku
    writes  inventory.demand.v1
    aside   records that fail, as they came, into 2 dead-letter topics, one a step
    keeps   demand-by-sku (store 3); every change is in shop-demand-g1-changelog
    again   It reads one log, and nothing else decides: reading that log again gives the same rows, byte for byte.
            Made again and compared by: tidemark replay demand-by-sku

Co-partitioning: inputs that must have equal partition counts, so that one task sees all records of a key. No step changes the key on the way.
  orders: orders.v1, 2 partitions
    orders-once      keeps rows by the keys of orders.v1
    orders-in-order  keeps rows by the keys of orders.v1
  demand: shop-demand-g1-inbox, 2 partitions
    demand-by-sku  keeps rows by the keys of shop-demand-g1-inbox

Topics: every topic that is read or written; those that are missing are made at the start.
  source     orders.v1                     2 partitions  kept for ever                      facts from outside
  inbox      shop-demand-g1-inbox          2 partitions  kept for ever                      translated facts, keyed as their projection needs them
  state      inventory.demand.v1           2 partitions  keeps the last record of each key  each row of demand-by-sku, for others
  changelog  shop-orders-g1-changelog      2 partitions  keeps the last record of each key  each row of the stores, for a disk that is lost
  changelog  shop-demand-g1-changelog      2 partitions  keeps the last record of each key  each row of the stores, for a disk that is lost
  dead       shop-orders-g1-dead           1 partition   kept for ever                      records that failed in orders
  dead       shop-orders-once-g1-dead      1 partition   kept for ever                      records that failed in orders-once
  dead       shop-orders-in-order-g1-dead  1 partition   kept for ever                      records that failed in orders-in-order
  dead       shop-orders-as-wants-g1-dead  1 partition   kept for ever                      records that failed in orders-as-wants
  dead       shop-demand-g1-dead           1 partition   kept for ever                      records that failed in demand
  dead       shop-demand-by-sku-g1-dead    1 partition   kept for ever                      records that failed in demand-by-sku
  decisions  shop-decisions                1 partition   keeps the last record of each key  which plan and which generations are live

Stores: what steps remember, by key. A number stays with its name for good: rows lie under it.
  1  orders-once      in stage orders  what dedupe remembers
  2  orders-in-order  in stage orders  what order remembers
  3  demand-by-sku    in stage demand  rows of the projection, revision 1

Tasks: a stage on one partition; the unit that moves between workers.
  orders/0 to 1  each reads its partition of orders.v1
  demand/0 to 1  each reads its partition of shop-demand-g1-inbox
`)
  })

  test('each pass stands alone', () => {
    const all = explain(plan, NOTHING_KNOWN)
    for (const section of SECTIONS) expect(all).toContain(explain(plan, NOTHING_KNOWN, [section]).trimEnd())
  })

  test('what has to be warned of is told at the end', () => {
    const warned = { ...plan, warnings: ['something is odd'] }
    expect(explain(warned, NOTHING_KNOWN)).toMatch(/\n\nWarnings\n {2}something is odd\n$/)
  })
})

test('a source that nothing deduplicates says why, in words and as data (G03)', () => {
  const why = 'its readers take the last one,\nalways'
  const { graph } = topology('open', (flow) => {
    flow.source(preferences, { noDedupe: why }).to('out-step', 'out')
    return []
  })
  const open = planOf(graph)
  const line = 'source contact-preferences (crm.preferences.v1), not deduplicated: "its readers take the last one,\\nalways"'
  expect(explain(open, NOTHING_KNOWN, ['topology'])).toContain(`\n  ${line}\n`)
  expect(explain(open, NOTHING_KNOWN)).toContain(line)
  expect(explainJson(open, NOTHING_KNOWN, ['topology'])).toMatchObject({
    topology: [{ step: 'contact-preferences', noDedupe: why }, { noDedupe: undefined }],
  })
  expect(explain(plan, NOTHING_KNOWN)).not.toContain('deduplicated')
})

test('as data, every pass is a list of its own, and nothing is lost on the way to JSON', () => {
  const data = JSON.parse(JSON.stringify(explainJson(plan, NOTHING_KNOWN))) as Record<string, unknown[]>
  expect(Object.keys(data)).toEqual(['app', ...SECTIONS, 'warnings'])
  expect(data.topology?.[1]).toEqual({
    step: 'orders-once',
    operator: 'dedupe',
    from: [{ id: 'orders', port: 0 }],
    store: 'orders-once',
    onError: { retry: 0, then: 'dead-letter' },
  })
  expect(data.stages).toMatchObject([
    { class: 'ingest', writes: ['shop-demand-g1-inbox'] },
    { class: 'fold', projections: ['demand-by-sku'] },
  ])
  expect(data['co-partitioning']?.[1]).toEqual({
    stage: 'demand',
    groups: [
      {
        reads: ['shop-demand-g1-inbox'],
        partitions: 2,
        because: [{ step: 'demand-by-sku', keeps: 'rows', reads: ['shop-demand-g1-inbox'] }],
      },
    ],
  })
  expect(data.topics).toHaveLength(12)
  expect(data.tasks).toHaveLength(4)
  expect(Object.keys(explainJson(plan, NOTHING_KNOWN, ['tasks']))).toEqual(['app', 'tasks', 'warnings'])
})

describe('as a picture', () => {
  test('a box is a stage, a cylinder remembers, and what travels between stages lies between them', () => {
    expect(mermaid(plan)).toBe(`flowchart LR
  step_orders[/"orders<br/>orders.v1"/]:::topic
  step_demand[["inbox<br/>demand"]]:::inbox
  topic_demand_by_sku[/"inventory.demand.v1"/]:::topic
  subgraph stage_orders["orders: ingest, recorded in what it writes"]
    step_orders_once[("dedupe<br/>orders-once")]:::store
    step_orders_in_order[("order<br/>orders-in-order")]:::store
    step_orders_as_wants["translate<br/>orders-as-wants"]:::step
  end
  subgraph stage_demand["demand: fold, can be replayed"]
    step_demand_by_sku[("project<br/>demand-by-sku")]:::projection
  end
  step_orders --> step_orders_once
  step_orders_once --> step_orders_in_order
  step_orders_in_order --> step_orders_as_wants
  step_orders_as_wants --> step_demand
  step_demand --> step_demand_by_sku
  step_demand_by_sku --> topic_demand_by_sku
  classDef topic fill:#dbeafe,stroke:#2563eb,color:#1e293b
  classDef inbox fill:#ede9fe,stroke:#7c3aed,color:#1e293b
  classDef step fill:#f8fafc,stroke:#64748b,color:#1e293b
  classDef store fill:#fef3c7,stroke:#d97706,color:#1e293b
  classDef projection fill:#dcfce7,stroke:#16a34a,color:#1e293b
`)
  })

  test('a step of several outputs numbers them, and a stage that only passes on has no box', () => {
    const Thing = schema<{ n: number }>({ type: 'record', name: 'Thing', fields: [{ name: 'n', type: 'int' }] })
    const sorted = topology('sorted', (flow) => {
      const { even, odd } = flow
        .stream('things', { key: text, value: Thing })
        .branch('by-parity', { even: ({ n }) => n % 2 === 0, odd: () => true })
      even.to('evens', 'even.things')
      odd.to('odds', 'odd.things')
      flow.stream('end', { key: text, value: Thing }).to('copies', 'end.copy')
      return []
    })
    const drawn = mermaid(planOf(sorted.graph))
    expect(drawn).toContain('step_by_parity -- 1 --> step_evens\n')
    expect(drawn).toContain('step_by_parity -- 2 --> step_odds\n')
    expect(drawn).not.toContain('subgraph stage_end')
    // "end" ends a box in mermaid, so no name may be that alone.
    expect(drawn).toContain('step_end[/"end"/]:::topic\n')
  })

  describe('every pass has one of its own', () => {
    const drawn = (section: Section): string[] =>
      picture(plan, NOTHING_KNOWN, section)
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '' && !line.startsWith('classDef'))

    test.each(SECTIONS)('%s: each arrow leads from something drawn to something drawn, and no name is drawn twice', (section) => {
      const [first, ...lines] = drawn(section)
      expect(first).toBe('flowchart LR')
      const named = lines.flatMap((line) => /^(?:subgraph )?(\w+)[[(]/.exec(line)?.[1] ?? [])
      expect(new Set(named).size).toBe(named.length)
      const arrows = lines.flatMap((line) => {
        const [, from, to] = /^(\w+) -(?:->|- .* -->|\. .* \.->) (\w+)$/.exec(line) ?? []
        return from === undefined ? [] : [from, to]
      })
      expect(arrows.length).toBeGreaterThan(0)
      expect(arrows.filter((name) => !named.includes(name as string))).toEqual([])
      // A line is a shape, an arrow, or begins or ends a box.
      expect(lines.filter((line) => !/^(\w+[[(].*|\w+ -.*|subgraph .*|end)$/.test(line))).toEqual([])
      expect(lines.filter((line) => line.startsWith('subgraph '))).toHaveLength(lines.filter((line) => line === 'end').length)
    })

    test('the proof of co-partitioning leads from inputs to what is kept by their keys', () => {
      expect(drawn('co-partitioning')).toEqual([
        'flowchart LR',
        'subgraph equal_orders_1["orders: 2 partitions"]',
        'step_orders[/"orders.v1"/]:::topic',
        'step_orders_once[("dedupe<br/>orders-once")]:::store',
        'step_orders_in_order[("order<br/>orders-in-order")]:::store',
        'end',
        'step_orders -- rows by key --> step_orders_once',
        'step_orders -- rows by key --> step_orders_in_order',
        'subgraph equal_demand_1["demand: 2 partitions"]',
        'step_demand[/"shop-demand-g1-inbox"/]:::topic',
        'step_demand_by_sku[("project<br/>demand-by-sku")]:::projection',
        'end',
        'step_demand -- rows by key --> step_demand_by_sku',
      ])
    })

    test('topics are all there, with who reads and writes them, and tasks that read alike are one', () => {
      const topics = drawn('topics')
      for (const { name } of plan.topics) expect(topics.filter((line) => line.includes(`<br/>${name}"`))).toHaveLength(1)
      expect(topics).toEqual(
        expect.arrayContaining(['topic_1 --> stage_orders', 'topic_1[/"source, 2 partitions<br/>orders.v1"/]:::topic']),
      )
      expect(topics.find((line) => line.includes('changes'))).toMatch(/^stage_orders -\. changes \.-> topic_\d+$/)
      expect(drawn('tasks')).toContain('tasks_1_stage_orders["tasks orders/0 to 1<br/>each its partition"]:::step')
      expect(drawn('stores')).toContain('store_3[("3<br/>demand-by-sku")]:::store')
    })
  })
})
