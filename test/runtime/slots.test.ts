/** Keys in memory: found by their bytes whatever comes and goes, never let go of while something needs them, and known to be gone after that. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { partitionOf } from '../../src/base/murmur.ts'
import { type KeySlot, KeySlots, keyHash, type Room, Row, SubRows } from '../../src/runtime/slots.ts'

const room = (first: number, most = first, left = Infinity): Room => ({ first, most, shared: { left } })
const slotOf = (slots: KeySlots, key: string): KeySlot => slots.of(Buffer.from(`<${key}>`), 1, key.length + 1)

test('against a map: keys are found, pinned ones stay, others may go, and none is ever two', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('of' as const), key: fc.integer({ min: 0, max: 40 }).map(String) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pin' as const), key: fc.integer({ min: 0, max: 40 }).map(String) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('unpin' as const), key: fc.integer({ min: 0, max: 40 }).map(String) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle' as const), key: fc.constant('') }) },
  )
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 8, max: 30 }),
      fc.array(step, { maxLength: 300 }),
      (capacity, most, steps) => {
        const slots = new KeySlots(1, room(capacity, most))
        const pinned = new Map<string, KeySlot>()
        const last = new Map<string, KeySlot>()
        for (const { kind, key } of steps) {
          if (kind === 'settle') {
            slots.settle()
            expect(slots.capacity).toBeLessThanOrEqual(most)
            expect(slots.size).toBeLessThanOrEqual(Math.max(slots.capacity, pinned.size))
          } else if (kind === 'unpin') {
            const slot = pinned.get(key)
            if (slot !== undefined) slot.pins -= 1
            pinned.delete(key)
          } else {
            const slot = slotOf(slots, key)
            expect(slot.key.toString()).toBe(key)
            expect(slot.gone).toBe(false)
            // The slot of before, or another one because that had to go, and says so.
            const before = last.get(key)
            expect(before === undefined || before === slot || before.gone).toBe(true)
            last.set(key, slot)
            if (kind === 'pin' && !pinned.has(key)) {
              slot.pins += 1
              pinned.set(key, slot)
            }
          }
          for (const [each, slot] of pinned) {
            expect(slots.peek(Buffer.from(each))).toBe(slot)
            expect(slot.gone).toBe(false)
          }
        }
      },
    ),
    { numRuns: 150 },
  )
})

test('keys that have one hash, or one beginning, are told apart', () => {
  const slots = new KeySlots(1, room(10_000))
  const made = new Map<string, KeySlot>()
  for (let i = 0; i < 5_000; i++) made.set(`key-${i}`, slotOf(slots, `key-${i}`))
  for (const [key, slot] of made) expect(slotOf(slots, key)).toBe(slot)
  expect(slotOf(slots, '')).not.toBe(slotOf(slots, '\u0000'))
})

test('keys of one partition spread over the table, although the partition was chosen by the same hash', () => {
  const buckets = new Set<number>()
  for (let i = 0, kept = 0; kept < 512; i++) {
    const key = Buffer.from(`key-${i}`)
    if (partitionOf(key, 64) !== 5) continue
    buckets.add(keyHash(key) & 1023)
    kept += 1
  }
  // 512 keys in 1,024 places: by chance about 403 of them are taken.
  expect(buckets.size).toBeGreaterThan(350)
})

test('what is used all the time has to go far more seldom than its turn would be', () => {
  const slots = new KeySlots(1, room(8))
  let hot = slotOf(slots, 'hot')
  let went = 0
  for (let i = 0; i < 800; i++) {
    slotOf(slots, `cold-${i}`)
    const found = slotOf(slots, 'hot')
    if (found !== hot) went += 1
    hot = found
  }
  // First in, first out would make it go every eighth time: a hundred times.
  expect(went).toBeLessThan(60)
})

test('rows under sub-keys are kept and let go one by one', () => {
  const slot = slotOf(new KeySlots(1, room(4)), 'k')
  const rows = new SubRows()
  const made = ['a', 'b', 'c'].map((sub) => new Row(slot, 0, sub))
  for (const row of made) rows.add(row)
  expect([rows.size, [...rows].map(({ sub }) => sub)]).toEqual([3, ['a', 'b', 'c']])
  rows.drop(made[0] as Row)
  expect([rows.get('a'), rows.get('b'), rows.size]).toEqual([undefined, made[1], 2])
  // Another row of the same name is not it.
  rows.drop(new Row(slot, 0, 'b'))
  expect(rows.get('b')).toBe(made[1])
  const again = new Row(slot, 0, 'a')
  rows.add(again)
  expect([rows.get('a'), rows.size]).toEqual([again, 3])
})

/** Rounds over `keys` keys, with a commit after each tenth. */
function rounds(slots: KeySlots, count: number, keys: number): void {
  for (let round = 0; round < count; round++) {
    for (let key = 0; key < keys; key++) {
      slotOf(slots, `key-${key}`)
      if (key % 10 === 0) slots.settle()
    }
  }
}

test('where a few more keys are in use than there are places, the places become enough, and then none has to go', () => {
  const slots = new KeySlots(1, room(64, 1_024))
  rounds(slots, 8, 100)
  const kept = slotOf(slots, 'key-0')
  rounds(slots, 3, 100)
  expect([slots.capacity, slotOf(slots, 'key-0') === kept]).toEqual([128, true])
})

test('keys that are done with take no more places, however many they are', () => {
  const slots = new KeySlots(1, room(64, 1_024))
  for (let key = 0; key < 20_000; key++) {
    // Each has its time: ten records, and between them those of its neighbours.
    for (let times = 0; times < 10; times++) slotOf(slots, `key-${key + times}`)
    slots.settle()
  }
  expect([slots.capacity, slots.size]).toEqual([64, 64])
})

test('keys that come back when far more others have come than there may be places take none either', () => {
  const slots = new KeySlots(1, room(64, 256))
  rounds(slots, 4, 20_000)
  expect(slots.capacity).toBe(64)
})

test('all tasks of a process share what they take beyond their first places, and give it back', () => {
  const shared = { left: 100 }
  const [one, two] = [new KeySlots(1, { first: 64, most: 1_024, shared }), new KeySlots(1, { first: 64, most: 1_024, shared })]
  rounds(one, 8, 100)
  rounds(two, 8, 110)
  expect([one.capacity, two.capacity, shared.left]).toEqual([128, 100, 0])
  one.close()
  rounds(two, 8, 110)
  expect([two.capacity, shared.left]).toEqual([164, 0])
  two.close()
  expect(shared.left).toBe(100)
})
