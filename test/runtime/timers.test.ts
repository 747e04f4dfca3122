/** Timers: due in the order of time, key and sub-key, set once however often, and gone when taken back. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TIME_MAX_MS } from '../../src/base/time.ts'
import { TimerQueue } from '../../src/runtime/timers.ts'

const anyTime = fc.oneof(fc.integer({ min: -100, max: 100 }), fc.constantFrom(-TIME_MAX_MS, TIME_MAX_MS, Date.UTC(9999, 0, 1)))
const anyTimer = fc.record({
  at: anyTime,
  key: fc.uint8Array({ maxLength: 3, max: 2 }),
  sub: fc.string({ unit: fc.constantFrom('\u0000', '\u0001', 'a', '\u00ff'), maxLength: 3 }),
})
type Timer = { readonly at: number; readonly key: Uint8Array; readonly sub: string }

const order = (a: Timer, b: Timer): number =>
  a.at - b.at || Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || (a.sub < b.sub ? -1 : a.sub > b.sub ? 1 : 0)
const nameOf = ({ at, key, sub }: Timer): string =>
  `${at}/${Buffer.from(key).toString('hex')}/${Buffer.from(sub, 'latin1').toString('hex')}`

test('against a sorted list: whatever is set and taken back, what is due comes in order, once', () => {
  const step = fc.record({ set: fc.boolean(), timer: anyTimer })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), anyTime, (steps, now) => {
      const queue = new TimerQueue(3, 'stream')
      const model = new Map<string, Timer>()
      for (const { set, timer } of steps) {
        const name = queue.nameOf(timer.at, timer.key, timer.sub)
        const known = model.has(nameOf(timer))
        if (set) {
          expect(queue.set(name)).toBe(!known)
          model.set(nameOf(timer), timer)
        } else {
          expect(queue.cancel(name)).toBe(known)
          model.delete(nameOf(timer))
        }
        expect(queue.size).toBe(model.size)
      }
      const sorted = [...model.values()].sort(order)
      expect(queue.next()).toBe(sorted[0]?.at ?? Number.POSITIVE_INFINITY)
      const due = sorted.filter(({ at }) => at <= now)
      const keys = new Set(due.map(({ key }) => Buffer.from(key).toString('hex')))
      expect(new Set([...queue.keysDue(now)].map((key) => key.toString('hex')))).toEqual(keys)
      const woken: string[] = []
      for (let name = queue.due(now); name !== undefined; name = queue.due(now)) {
        woken.push(nameOf(queue.timerOf(name)))
        queue.cancel(name)
      }
      expect(woken).toEqual(due.map(nameOf))
    }),
    { numRuns: 300 },
  )
})

test('a timer that was taken back and set again is due once', () => {
  const queue = new TimerQueue(1, 'wall')
  const name = queue.nameOf(5, Buffer.from('k'), '')
  for (let i = 0; i < 3; i++) {
    queue.set(name)
    queue.cancel(name)
  }
  queue.set(name)
  expect(queue.due(5)).toBe(name)
  queue.cancel(name)
  expect([queue.due(5), queue.next(), queue.size]).toEqual([undefined, Number.POSITIVE_INFINITY, 0])
})

test('timers of the stream and of the wall lie apart, and those of two stores as well', () => {
  const names = [new TimerQueue(1, 'stream'), new TimerQueue(1, 'wall'), new TimerQueue(2, 'stream')].map((queue) =>
    queue.nameOf(7, Buffer.from('k'), 's'),
  )
  expect(new Set(names).size).toBe(3)
})
