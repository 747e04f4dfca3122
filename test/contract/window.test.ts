/** Synchronization windows and decisions, as they are declared. */
import { expect, test } from 'vitest'
import { type Duration, durationMs, readableMs } from '../../src/base/time.ts'
import { checkedDecision, checkedWindow } from '../../src/contract/window.ts'

test('a window is read in milliseconds, with 0.99 as the share that is promised unless it says another', () => {
  expect(checkedWindow({ target: '5s', max: '1.5m' }, 'w')).toEqual({ targetMs: 5_000, quantile: 0.99, maxMs: 90_000 })
  expect(checkedWindow({ target: 5, max: 5, quantile: 0.5 }, 'w')).toEqual({ targetMs: 5, quantile: 0.5, maxMs: 5 })
})

test.each<[what: string, window: object]>([
  ['a target beyond its maximum', { target: '2m', max: '1m' }],
  ['a share of all', { target: '1s', max: '1m', quantile: 1 }],
  ['a share of nothing', { target: '1s', max: '1m', quantile: 0 }],
  ['a share that is no number', { target: '1s', max: '1m', quantile: Number.NaN }],
  ['a target that is no duration', { target: '5 seconds', max: '1m' }],
  ['no maximum', { target: '5s' }],
  ['a negative target', { target: -1, max: '1m' }],
])('a window with %s is refused and named', (_what, window) => {
  expect(() => checkedWindow(window as never, 'window of "stock" for "orders"')).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining('window of "stock" for "orders"') as string }),
  )
})

test('a decision has a duration and one of four policies', () => {
  for (const otherwise of ['proceed', 'refuse', 'ask-authority', 'degrade'] as const)
    expect(checkedDecision({ maxStaleness: '1m', otherwise }, 'd')).toEqual({ maxStaleness: '1m', otherwise })
  expect(() => checkedDecision({ maxStaleness: '1m', otherwise: 'hope' as never }, 'decision "d"')).toThrow(
    'decision "d": otherwise is "hope"',
  )
  expect(() => checkedDecision({ maxStaleness: 'x' as never, otherwise: 'refuse' }, 'decision "d"')).toThrow(
    'decision "d": maxStaleness is not a duration',
  )
})

test.each<[duration: Duration, ms: number]>([
  [0, 0],
  ['0s', 0],
  ['1.5h', 5_400_000],
  ['250ms', 250],
  ['7d', 604_800_000],
  [0.4, 0],
])('%s is %i ms', (duration, ms) => {
  expect(durationMs(duration)).toBe(ms)
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, '', '5', '5 s', '-5s', 's', '1e3s', '5S', null, undefined, {}])(
  '%j is no duration',
  (duration) => {
    expect(() => durationMs(duration as never, 'hold')).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: 'hold is not a duration' }),
    )
  },
)

test('durations are shown as people say them', () => {
  expect([0, 999, 1_000, 1_500, 119_999, 120_000, 7_199_999, 7_200_000, 172_800_000].map(readableMs)).toEqual([
    '0 ms',
    '999 ms',
    '1 s',
    '1.5 s',
    '120 s',
    '2 min',
    '120 min',
    '2 h',
    '2 d',
  ])
})
