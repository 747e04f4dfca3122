/** Who runs which task: each has one worker, the load is even, little moves, and nothing depends on who asks or in which order. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assignTasks, type Claim, type Claimant, type TaskPlan } from '../../src/plan/tasks.ts'
import { assignMembers, decodeMember, encodeMember, liveWriters } from '../../src/runtime/assignment.ts'

const tasks = fc.integer({ min: 0, max: 24 }).map((count) => Array.from({ length: count }, (_, i) => `stage-${i % 3}/${i}`))
const members = fc.uniqueArray(fc.stringMatching(/^[a-f]{1,3}$/), { minLength: 1, maxLength: 7 })

const owning = (member: string, names: readonly string[]): Claimant => ({
  member,
  owned: new Map(names.map((task) => [task, { generation: 1, reached: undefined }])),
  kept: new Map(),
})
const claim = fc.record({ generation: fc.integer({ min: -1, max: 1_000 }), reached: fc.option(fc.nat(), { nil: undefined }) })
const claimsOf = fc.array(fc.tuple(fc.string(), claim), { maxLength: 10 }).map((entries) => new Map<string, Claim>(entries))

test('every task has one member, and loads differ by one at most, whatever members claim', () => {
  fc.assert(
    fc.property(tasks, members, fc.array(fc.array(fc.nat({ max: 30 }), { maxLength: 30 }), { maxLength: 7 }), (names, who, claims) => {
      const claimed = (i: number): Map<string, Claim> =>
        new Map(
          (claims[i] ?? []).map((at) => [
            names[at] ?? `gone-${at}`,
            { generation: at % 3, reached: at % 2 === 0 ? at * 5_000 : undefined },
          ]),
        )
      const claimants: Claimant[] = who.map((member, i) => ({ member, owned: claimed(i), kept: claimed(i + 1) }))
      const given = assignTasks(names, claimants)
      expect([...given.values()].flat().sort()).toEqual([...names].sort())
      const loads = [...given.values()].map(({ length }) => length)
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      // The order of the members is not looked at.
      expect(assignTasks(names.toReversed(), claimants.toReversed())).toEqual(given)
    }),
    { numRuns: 300 },
  )
})

test('who asks again with what it was given gets the same, and one more member moves only what it takes', () => {
  fc.assert(
    fc.property(tasks, members, (names, who) => {
      const first = assignTasks(
        names,
        who.map((member) => owning(member, [])),
      )
      const claimants = who.map((member) => owning(member, first.get(member) ?? []))
      expect(assignTasks(names, claimants)).toEqual(first)
      const joined = assignTasks(names, [...claimants, owning('newcomer', [])])
      for (const member of who) for (const task of joined.get(member) ?? []) expect(first.get(member)).toContain(task)
      const [, ...rest] = claimants
      if (rest.length === 0) return
      const left = assignTasks(names, rest)
      for (const { member, owned } of rest) for (const task of owned.keys()) expect(left.get(member)).toContain(task)
    }),
    { numRuns: 300 },
  )
})

describe('what members tell each other', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), claimsOf, claimsOf, (plan, writer, owned, kept) => {
        const wellFormed = [plan, writer, ...owned.keys(), ...kept.keys()].every((each) => each.isWellFormed())
        if (wellFormed) expect(decodeMember(encodeMember({ plan, writer, owned, kept }))).toEqual({ plan, writer, owned, kept })
      }),
    )
  })

  test('may be anything, for any client may join: it is read as nothing, and costs nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const says = decodeMember(bytes)
        expect(says === undefined || says.owned.size + says.kept.size <= 60).toBe(true)
      }),
      { numRuns: 1_000 },
    )
    const liar = Buffer.concat([Buffer.from([1, 0, 0]), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])])
    expect(decodeMember(liar)).toBeUndefined()
    expect(liveWriters(Buffer.from('?'))).toEqual(new Set())
  })
})

test('strangers and members of another plan are given nothing, and are told who is alive', () => {
  const plans = [0, 1].map(
    (partition) => ({ name: `s/${partition}`, partition, inputs: [{ topic: 't', step: 's' }] }) as unknown as TaskPlan,
  )
  const member = (name: string, plan: string): { member: string; instance: undefined; userData: Uint8Array } => ({
    member: name,
    instance: undefined,
    userData: encodeMember({ plan, writer: `app-${name}`, owned: new Map(), kept: new Map() }),
  })
  const assigned = assignMembers(plans, 'this-plan', [
    member('a', 'this-plan'),
    member('b', 'another'),
    { member: 'c', instance: undefined, userData: Buffer.from('hello') },
  ])
  expect([...assigned].map(([name, { partitions }]) => [name, partitions.length])).toEqual([
    ['a', 2],
    ['b', 0],
    ['c', 0],
  ])
  for (const { userData } of assigned.values()) expect(liveWriters(userData)).toEqual(new Set(['app-a']))
})

describe('of those who claim a task', () => {
  const one = (member: string, owned: Record<string, Claim>, kept: Record<string, Claim> = {}): Claimant => ({
    member,
    owned: new Map(Object.entries(owned)),
    kept: new Map(Object.entries(kept)),
  })
  const ownerOf = (task: string, claimants: readonly Claimant[], all: readonly string[] = [task]): string | undefined =>
    [...assignTasks(all, claimants)].find(([, own]) => own.includes(task))?.[0]

  test('the newer claim counts: a member that was given up and has not heard of it takes nothing from the new owner', () => {
    const expelled = one('a', { x: { generation: 5, reached: 1_000 } })
    const owner = one('b', { x: { generation: 6, reached: 1_003 } })
    expect(ownerOf('x', [expelled, owner])).toBe('b')
    // Whatever their names are.
    expect(ownerOf('x', [{ ...expelled, member: 'c' }, owner])).toBe('b')
  })

  test('the warmer one has it, when the newer owner still has a great deal to restore', () => {
    const warm = one('a', { x: { generation: 5, reached: 900_000 } })
    expect(ownerOf('x', [warm, one('b', { x: { generation: 6, reached: 20_000 } })])).toBe('a')
    expect(ownerOf('x', [warm, one('b', { x: { generation: 6, reached: 899_000 } })])).toBe('b')
  })

  test('a copy that was left behind brings a task whose owner is gone, and takes it from none that runs it', () => {
    const copies = { x: { generation: 2, reached: 500_000 } }
    expect(ownerOf('x', [one('a', {}), one('b', {}, copies)])).toBe('b')
    expect(ownerOf('x', [one('a', { x: { generation: 7, reached: 505_000 } }), one('b', {}, copies)])).toBe('a')
    // What it runs stays with it, although copies of other tasks would fill its share.
    const busy = one('b', { z: { generation: 7, reached: 1 } }, { x: { generation: 2, reached: 5 }, y: { generation: 2, reached: 5 } })
    expect(ownerOf('z', [one('a', {}), busy, one('c', {})], ['x', 'y', 'z'])).toBe('b')
  })

  test('one of an earlier version, which says nothing of itself, is read, and keeps what it runs', () => {
    // As the version before wrote it.
    const before = Buffer.from('01017001770203732f3003732f31', 'hex')
    const says = decodeMember(before)
    expect(says).toEqual({
      plan: 'p',
      writer: 'w',
      owned: new Map(['s/0', 's/1'].map((task) => [task, { generation: -1, reached: undefined }])),
      kept: new Map(),
    })
    const old = { member: 'b', ...(says as NonNullable<typeof says>) }
    expect(ownerOf('s/1', [one('a', {}, { 's/1': { generation: 4, reached: 10 } }), old], ['s/0', 's/1', 's/2'])).toBe('b')
    expect(liveWriters(before)).toEqual(new Set(['s/0', 's/1']))
  })

  test('and what comes behind what this version knows is left to later ones', () => {
    const later = Buffer.from('0101700177 0103732f30 63ffffff'.replaceAll(' ', ''), 'hex')
    expect([...(decodeMember(later)?.owned.keys() ?? [])]).toEqual(['s/0'])
  })
})
