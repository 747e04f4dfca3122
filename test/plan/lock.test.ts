/** The plan lock: what is agreed on stays so, and every difference is told with what it does to state. */
import { describe, expect, test } from 'vitest'
import { compareLocks, factsOf, lockOf, lossesBetween, type PlanLock, withoutGivenUp } from '../../src/plan/lock.ts'
import { checkedLock, lockText, parseLock } from '../../src/plan/lock-text.ts'
import { planOf } from '../../src/plan/planner.ts'
import { shop } from '../fixtures/shop/index.ts'
import { shopWith } from '../fixtures/shop/parts.ts'

const lock = lockOf(planOf(shop.graph))
/** The lock with some part changed, as JSON lets one. */
function changed(change: (lock: { -readonly [K in keyof PlanLock]: Record<string, Record<string, unknown>> }) => void): PlanLock {
  const copy = JSON.parse(lockText(lock)) as never
  change(copy)
  return copy
}
const effects = (before: PlanLock, after: PlanLock): string[] => compareLocks(before, after).map(({ effect, what }) => `${effect}: ${what}`)

describe('a lock', () => {
  test('is the same text for the same plan, and reads as what was written', () => {
    expect(lockText(lockOf(planOf(shopWith().graph)))).toBe(lockText(lock))
    expect(parseLock(lockText(lock), 'the lock')).toEqual(lock)
    expect(compareLocks(lock, parseLock(lockText(lock), 'the lock'))).toEqual([])
  })

  test('sorts its names, so that moved code is no difference', () => {
    for (const part of [lock.stages, lock.stores, lock.topics]) expect(Object.keys(part)).toEqual(Object.keys(part).sort())
  })

  test('keeps the number of a store that it knows, whatever comes before it', () => {
    const numbered = changed(({ stores }) => {
      ;(stores['demand-by-sku'] as { id: number }).id = 9
    })
    const again = planOf(shop.graph, factsOf(numbered))
    expect(again.stages.flatMap(({ stores }) => stores.map(({ name, id }) => [name, id]))).toContainEqual(['demand-by-sku', 9])
    // What is new goes behind all that is taken.
    const renamed = planOf(shopWith({ projection: 'wanted-by-sku' }).graph, factsOf(numbered))
    expect(renamed.stages.flatMap(({ stores }) => stores.map(({ id }) => id))).toEqual([1, 2, 3])
  })

  test.each([
    ['not JSON', '{', 'It is not JSON: '],
    ['nothing', 'null', 'It is not an object.'],
    ['of another version', '{"lockVersion": 2}', 'It has "lockVersion" 2, which is not 1.'],
    ['without stores', '{"lockVersion": 1, "app": "shop", "stages": {}, "topics": {}}', 'It has no "stores".'],
    ['of nobody', '{"lockVersion": 1, "stages": {}, "stores": {}, "topics": {}}', 'It has no "app".'],
  ])('that is %s is refused, with what to do', (_, text, detail) => {
    expect(() => parseLock(text, 'the lock')).toThrowError(
      expect.objectContaining({
        code: 'PLAN_LOCK_INVALID',
        detail: expect.stringContaining(detail),
        hint: expect.stringContaining('--write'),
      }),
    )
  })

  test.each<[string, (copy: { [part: string]: Record<string, unknown> }) => void, string]>([
    [
      'a renamed step that has nothing but the old name',
      (copy) => void Object.assign(copy.stores as object, { 'wanted-by-sku': { was: 'demand-by-sku' } }),
      'Store "wanted-by-sku" has no "id".',
    ],
    [
      'a store that was called as it is',
      (copy) => void Object.assign(copy.stores?.['orders-once'] as object, { was: 'orders-once' }),
      'Store "orders-once" has "was" "orders-once", which is its own name.',
    ],
    [
      'two stores that were called the same',
      (copy) =>
        Object.keys(copy.stores as object)
          .slice(0, 2)
          .forEach((name) => void Object.assign(copy.stores?.[name] as object, { was: 'old-name' })),
      'both have "was" "old-name", and only one can keep its state.',
    ],
    ['a store that is a text', (copy) => void Object.assign(copy.stores as object, { more: 'none' }), 'Store "more" is not an object.'],
    [
      'a number that is none',
      (copy) => void Object.assign(copy.stores?.['orders-once'] as object, { id: '1' }),
      'Store "orders-once" has "id" "1", which is not a whole number from 1.',
    ],
    [
      'a word that says nothing',
      (copy) => void Object.assign(copy.stores?.['orders-once'] as object, { wos: 'x' }),
      'Store "orders-once" has "wos", which says nothing. Known are id, stage, fingerprint, revision, was.',
    ],
    [
      'a stage of no kind',
      (copy) => void Object.assign(copy.stages?.demand as object, { class: 'folds' }),
      'Stage "demand" has "class" "folds", which is not "fold" or "ingest".',
    ],
    [
      'a topic without partitions',
      (copy) => void Object.assign(copy.topics?.['orders.v1'] as object, { partitions: 0 }),
      'Topic "orders.v1" has "partitions" 0',
    ],
    ['a part that it does not have', (copy) => void Object.assign(copy, { shops: {} }), 'It has "shops", which says nothing.'],
    [
      'something given up that is no name',
      (copy) => void Object.assign(copy, { givenUp: [1] }),
      'It has "givenUp" [1], which is not a list of texts.',
    ],
  ])('that has %s is refused, and says where', (_, change, detail) => {
    const copy = JSON.parse(lockText(lock)) as { [part: string]: Record<string, unknown> }
    change(copy)
    for (const read of [() => parseLock(JSON.stringify(copy), 'the lock'), () => checkedLock(copy, 'the lock')])
      expect(read).toThrowError(
        expect.objectContaining({
          code: 'PLAN_LOCK_INVALID',
          detail: expect.stringContaining(detail),
          hint: expect.stringContaining('committed'),
        }),
      )
  })

  test('that gives state up keeps its numbers from others, and everything else as it is', () => {
    const later = planOf(shopWith({ projection: 'wanted-by-sku' }).graph)
    const losses = lossesBetween(lock, lockOf(later))
    expect(losses).toEqual(['demand/demand-by-sku'])
    const left = withoutGivenUp(lock, losses)
    expect(left).toMatchObject({ spent: [3], stages: lock.stages, topics: lock.topics })
    const again = planOf(shopWith({ projection: 'wanted-by-sku' }).graph, factsOf(left))
    expect(again.stages.flatMap(({ stores }) => stores.map(({ name, id }) => [name, id]))).toContainEqual(['wanted-by-sku', 4])
    expect(lockOf(again).spent).toEqual([3])
    expect(withoutGivenUp(lock, ['demand'])).toMatchObject({ spent: [3], stages: { orders: lock.stages.orders } })
    expect(withoutGivenUp(lock, ['demand/other'])).toBe(lock)
  })

  test('whose numbers contradict each other is refused by the planner', () => {
    for (const id of [2, 0, 1.5]) {
      const broken = changed(({ stores }) => {
        ;(stores['orders-once'] as { id: number }).id = id
      })
      const twice = id === 2
      expect(() => planOf(shop.graph, factsOf(broken)), `number ${id}, twice: ${twice}`).toThrowError(
        expect.objectContaining({ code: 'PLAN_LOCK_INVALID' }),
      )
    }
  })
})

describe('a difference', () => {
  test.each<[string, PlanLock, string]>([
    [
      'of the name of the application',
      changed((each) => void Object.assign(each, { app: 'store' })),
      'refused: the application was "shop" and is "store"',
    ],
    [
      'of partitions',
      changed(({ stages }) => void Object.assign(stages.demand as object, { partitions: 8 })),
      'refused: stage "demand" had 2 partitions and has 8',
    ],
    [
      'of a number',
      changed(({ stores }) => void Object.assign(stores['orders-once'] as object, { id: 7 })),
      'refused: store "orders-once" had number 1 and has 7',
    ],
    [
      'of a topic',
      changed(({ topics }) => void Object.assign(topics['orders.v1'] as object, { cleanup: 'compact' })),
      'refused: topic "orders.v1" had 2 partitions (delete) and would have 2 (compact)',
    ],
    [
      'of a revision',
      changed(({ stores }) => void Object.assign(stores['demand-by-sku'] as object, { revision: 2 })),
      'rebuild: store "demand-by-sku" goes from revision 1 to 2',
    ],
    [
      'of a schema',
      changed(({ stores }) => void Object.assign(stores['demand-by-sku'] as object, { fingerprint: 'x' })),
      'rebuild: rows of store "demand-by-sku" have another schema',
    ],
    [
      'of a stage',
      changed(({ stores }) => void Object.assign(stores['orders-once'] as object, { stage: 'demand' })),
      'rebuild: store "orders-once" moved from stage "orders" to "demand"',
    ],
    [
      'of a generation',
      changed(({ stages }) => void Object.assign(stages.demand as object, { generation: 2 })),
      'safe: stage "demand" goes from generation 1 to 2',
    ],
    [
      'of a class',
      changed(({ stages }) => void Object.assign(stages.demand as object, { class: 'ingest' })),
      'safe: stage "demand" was fold and is ingest',
    ],
  ])('%s is told', (_, after, told) => {
    expect(effects(lock, after)).toEqual([told])
  })

  test('of what is gone loses state, and of what is new does not', () => {
    const less = changed(({ stores, stages, topics }) => {
      delete stores['demand-by-sku']
      delete stages.demand
      delete topics['inventory.demand.v1']
    })
    expect(effects(lock, less)).toEqual([
      'rebuild: stage "demand" is gone',
      'rebuild: store "demand-by-sku" is gone',
      'safe: topic "inventory.demand.v1" is not used any more',
    ])
    expect(effects(less, lock)).toEqual([
      'safe: stage "demand" is new',
      'safe: store "demand-by-sku" is new',
      'safe: topic "inventory.demand.v1" (state) is new',
    ])
  })

  test('of a name that a store had before is no loss', () => {
    const renamed = changed(({ stores }) => {
      stores['wanted-by-sku'] = { ...(stores['demand-by-sku'] as Record<string, unknown>), was: 'demand-by-sku' }
      delete stores['demand-by-sku']
    })
    expect(effects(lock, renamed)).toEqual(['safe: store "wanted-by-sku" is new'])
  })

  test('of several is told worst first', () => {
    const all = changed(({ stages, stores }) => {
      Object.assign(stages.demand as object, { partitions: 8 })
      Object.assign(stores['demand-by-sku'] as object, { revision: 2 })
      Object.assign(stages.orders as object, { generation: 2 })
    })
    expect(compareLocks(lock, all).map(({ effect }) => effect)).toEqual(['refused', 'rebuild', 'safe'])
  })
})
