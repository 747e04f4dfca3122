/** Who runs which task: each has one worker, the load is even, little moves, and nothing depends on who asks or in which order. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assignTasks, type Claimant, type TaskPlan } from '../../src/plan/tasks.ts'
import { assignMembers, decodeMember, encodeMember, liveWriters } from '../../src/runtime/assignment.ts'

const tasks = fc.integer({ min: 0, max: 24 }).map((count) => Array.from({ length: count }, (_, i) => `stage-${i % 3}/${i}`))
const members = fc.uniqueArray(fc.stringMatching(/^[a-f]{1,3}$/), { minLength: 1, maxLength: 7 })

test('every task has one member, and loads differ by one at most, whatever members claim', () => {
  fc.assert(
    fc.property(tasks, members, fc.array(fc.array(fc.nat({ max: 30 }), { maxLength: 30 }), { maxLength: 7 }), (names, who, claims) => {
      const claimants: Claimant[] = who.map((member, i) => ({
        member,
        owned: new Set((claims[i] ?? []).map((at) => names[at] ?? `gone-${at}`)),
      }))
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
        who.map((member) => ({ member, owned: new Set<string>() })),
      )
      const claimants = who.map((member) => ({ member, owned: new Set(first.get(member)) }))
      expect(assignTasks(names, claimants)).toEqual(first)
      const joined = assignTasks(names, [...claimants, { member: 'newcomer', owned: new Set() }])
      for (const member of who) for (const task of joined.get(member) ?? []) expect(first.get(member)).toContain(task)
      const [, ...rest] = claimants
      if (rest.length === 0) return
      const left = assignTasks(names, rest)
      for (const { member, owned } of rest) for (const task of owned) expect(left.get(member)).toContain(task)
    }),
    { numRuns: 300 },
  )
})

describe('what members tell each other', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.array(fc.string(), { maxLength: 20 }), (plan, writer, owned) => {
        const wellFormed = [plan, writer, ...owned].every((each) => each.isWellFormed())
        if (wellFormed) expect(decodeMember(encodeMember({ plan, writer, tasks: owned }))).toEqual({ plan, writer, tasks: owned })
      }),
    )
  })

  test('may be anything, for any client may join: it is read as nothing, and costs nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const says = decodeMember(bytes)
        expect(says === undefined || says.tasks.length <= 60).toBe(true)
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
    userData: encodeMember({ plan, writer: `app-${name}`, tasks: [] }),
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
