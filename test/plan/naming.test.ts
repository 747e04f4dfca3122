/** Names on the log: what belongs to one application is no other's. */
import { expect, test } from 'vitest'
import { deadStepOf, deadTopic, rebuilderId, rebuildersOf, redriverId, writerId, writersOf } from '../../src/plan/naming.ts'

const APPS = ['retail', 'retail-eu', 'retail-worker', 'retail-rebuild', 'retail-worker-rebuild', 'r']

test('whoever ends the open transactions of an application ends no other application’s', () => {
  for (const app of APPS) {
    for (const other of APPS.filter((each) => each !== app)) {
      for (const instance of ['0', 'eu-0', 'worker', 'worker/0']) {
        for (const id of [writerId(other, instance), rebuilderId(other, instance), redriverId(other)]) {
          expect([writersOf(app), rebuildersOf(app)].filter((prefix) => id.startsWith(prefix))).toEqual([])
        }
      }
    }
  }
})

test('a rebuild outlives the start of a worker', () => {
  expect(rebuilderId('retail', 'stock').startsWith(writersOf('retail'))).toBe(false)
})

test('two applications never write under one id, whatever their instances are called', () => {
  expect(writerId('retail', 'eu-0')).not.toBe(writerId('retail-eu', '0'))
})

test('all of it lies under the one prefix that an access rule names', () => {
  expect([writerId('retail', '0'), rebuilderId('retail', 'stock'), redriverId('retail')].every((id) => id.startsWith('retail-'))).toBe(true)
})

test('a topic of dead letters tells its step and generation, and no other topic does', () => {
  const steps = new Set(['stock', 'a-g1-dead'])
  expect(deadStepOf('retail', deadTopic('retail', 'stock', 12), steps)).toEqual({ step: 'stock', generation: 12 })
  expect(deadStepOf('retail', deadTopic('retail', 'a-g1-dead', 2), steps)).toEqual({ step: 'a-g1-dead', generation: 2 })
  for (const topic of [
    deadTopic('retail-eu', 'stock', 1),
    deadTopic('retail', 'other', 1),
    'retail-stock-g1-inbox',
    'retail-stock-g1-dead-x',
  ])
    expect(deadStepOf('retail', topic, steps)).toBeUndefined()
})
