/**
 * The part of the store suite that plays random runs against a sorted map. A run is decided by its seed alone, and a failure names the
 * seed and the step, so the same call plays it again.
 */
import { expect } from 'vitest'
import type { StateDriver, StateId } from '../ports/store.ts'

const bytes = (value: string): Buffer => Buffer.from(value, 'latin1')
const readable = ([key, value]: readonly [Buffer, Buffer]): string => `${key.toString('latin1')}=${value.toString('latin1')}`

/** Plays one seeded run against a driver and against a map. Each check is named by its seed and its place in the run. */
export async function compareWithMap(driver: StateDriver, id: StateId, seed: number): Promise<void> {
  const next = randomBelow(seed)
  // Few bytes and short keys, so that keys collide, extend each other, and sit at the ends of the order.
  const anyKey = (): string => Array.from({ length: next(4) }, () => ['\x00', '\x01', 'a', 'b', '\xfe', '\xff'][next(6)]).join('')
  let store = await driver.open(id)
  let model = new Map<string, string>()
  try {
    for (let place = 0; place < 60; place++) {
      const at = `seed ${seed}, step ${place}`
      const choice = next(20)
      if (choice < 9) {
        const pairs = Array.from({ length: next(40) }, () => [anyKey(), next(3) === 0 ? null : `${place}.${next(1000)}`] as const)
        for (const [key, value] of pairs) {
          if (value === null) model.delete(key)
          else model.set(key, value)
        }
        await store.write(
          { keys: pairs.map(([key]) => bytes(key)), values: pairs.map(([, value]) => (value === null ? null : bytes(value))) },
          { durable: next(10) === 0 },
        )
      } else if (choice < 12) {
        const key = anyKey()
        expect(store.get(bytes(key))?.toString('latin1'), `${at}: get`).toBe(model.get(key))
      } else if (choice < 18) {
        const from = anyKey()
        const to = next(3) === 0 ? undefined : anyKey()
        const limit = next(2) === 0 ? 1000 : next(8)
        const wanted = [...model.keys()].filter((key) => key >= from && (to === undefined || key < to)).sort()
        const found = await store.range({ from: bytes(from), to: to === undefined ? undefined : bytes(to), limit })
        expect(found.map(readable), `${at}: range`).toEqual(wanted.slice(0, limit).map((key) => `${key}=${model.get(key)}`))
      } else {
        await store.close()
        if (choice === 19 && next(3) === 0) {
          await (next(2) === 0 ? driver.destroy(id) : driver.quarantine(id))
          model = new Map()
        }
        store = await driver.open(id)
      }
    }
  } finally {
    await store.close()
  }
}

/** Numbers that a seed decides: mulberry32 by Tommy Ettinger (public domain). Gives whole numbers from 0 to below `end`. */
function randomBelow(seed: number): (end: number) => number {
  let state = Math.imul(seed, 0x9e3779b9)
  return (end) => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * end)
  }
}
