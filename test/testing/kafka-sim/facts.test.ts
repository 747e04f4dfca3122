/**
 * Facts of transactions that were measured on real brokers and that a driver which behaves never meets, held against the simulated ones: were
 * they kinder, the simulator could not find who does not behave.
 */
import { describe, expect, test } from 'vitest'
import { KAFKA_ERROR as E } from '../../../src/drivers/kafka/wire/errors.ts'
import { sequenceError } from '../../../src/testing/kafka-sim/producers.ts'
import type { Timeline } from '../../../src/testing/kafka-sim/timeline.ts'
import { type Mark, Transactions } from '../../../src/testing/kafka-sim/transactions.ts'

/** Time that stands still until it is moved. */
function stillTimeline(): Timeline & { advance(ms: number): void } {
  let now = 0
  let due: { at: number; run: () => void }[] = []
  return {
    get now() {
      return now
    },
    wall: () => now,
    after: (ms, _, run) => {
      const event = { at: now + ms, run }
      due.push(event)
      return () => {
        due = due.filter((each) => each !== event)
      }
    },
    advance: (ms) => {
      now += ms
      for (const { run } of due.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at)) run()
      due = due.filter(({ at }) => at > now)
    },
  }
}

const MARKER_MS = 5
const NEW = { producerId: -1, producerEpoch: -1 }
const TIMEOUT_MS = 10_000

function coordinator(epochMax = 32_766) {
  const timeline = stillTimeline()
  const markers: string[] = []
  const mark: Mark = ({ producerEpoch }, kind) => void markers.push(`${kind} ${producerEpoch}`)
  const options = { timeline, markerMs: () => MARKER_MS, cleanupMs: () => 0, awake: () => true, timeoutMsMax: 900_000, epochMax }
  return { timeline, markers, parts: new Map([['t/0', mark]]), of: new Transactions(options) }
}

describe('under protocol 2', () => {
  test('each transaction has an epoch of its own, its marker too, and its end may be asked for again', () => {
    const { of, parts, timeline, markers } = coordinator()
    const { error: _, ...ids } = of.open('w', TIMEOUT_MS, NEW)
    expect(of.add('w', ids, parts)).toBe(E.NONE)
    const next = { error: E.NONE, producerId: ids.producerId, producerEpoch: ids.producerEpoch + 1 }
    expect(of.end('w', ids, true, true)).toEqual(next)
    expect(of.end('w', ids, true, true).error).toBe(E.CONCURRENT_TRANSACTIONS)
    expect(of.add('w', next, parts)).toBe(E.CONCURRENT_TRANSACTIONS)
    timeline.advance(MARKER_MS)
    expect(markers).toEqual(['commit 1'])
    expect(of.end('w', ids, true, true)).toEqual(next)
    expect(of.end('w', ids, false, true).error).toBe(E.INVALID_TXN_STATE)
  })

  test('what comes late in the next transaction is refused', () => {
    const { of, parts, timeline } = coordinator()
    const ids = of.open('w', TIMEOUT_MS, NEW)
    of.add('w', ids, parts)
    const next = of.end('w', ids, true, true)
    timeline.advance(MARKER_MS)
    expect(of.add('w', next, parts)).toBe(E.NONE)
    expect(of.end('w', ids, true, true).error).toBe(E.PRODUCER_FENCED)
    expect(of.add('w', ids, parts)).toBe(E.PRODUCER_FENCED)
  })

  test('a commit of nothing is refused; an abort of nothing costs an epoch', () => {
    const { of } = coordinator()
    const ids = of.open('w', TIMEOUT_MS, NEW)
    expect(of.end('w', ids, true, true).error).toBe(E.INVALID_TXN_STATE)
    expect(of.end('w', ids, false, true)).toMatchObject({ error: E.NONE, producerEpoch: ids.producerEpoch + 1 })
  })

  test('behind the last epoch comes another producer id, also for who asks again', () => {
    const { of, parts, timeline } = coordinator(0)
    const ids = of.open('w', TIMEOUT_MS, NEW)
    of.add('w', ids, parts)
    const next = of.end('w', ids, true, true)
    expect(next).toMatchObject({ error: E.NONE, producerEpoch: 0 })
    expect(next.producerId).not.toBe(ids.producerId)
    timeline.advance(MARKER_MS)
    expect(of.end('w', ids, true, true)).toEqual(next)
    expect(of.add('w', ids, parts)).toBe(E.INVALID_PRODUCER_ID_MAPPING)
  })

  test('after its time a transaction is aborted: its commit is refused, its abort was done', () => {
    const { of, parts, timeline, markers } = coordinator()
    const ids = of.open('w', TIMEOUT_MS, NEW)
    of.add('w', ids, parts)
    timeline.advance(TIMEOUT_MS)
    timeline.advance(MARKER_MS)
    expect(markers).toEqual(['abort 1'])
    expect(of.end('w', ids, true, true).error).toBe(E.INVALID_TXN_STATE)
    expect(of.end('w', ids, false, true).error).toBe(E.NONE)
  })
})

describe('under protocol 1', () => {
  test('a late end ends the next transaction of the same epoch', () => {
    const { of, parts, timeline } = coordinator()
    const ids = of.open('w', TIMEOUT_MS, NEW)
    for (const _ of [1, 2]) {
      expect(of.add('w', ids, parts)).toBe(E.NONE)
      expect(of.end('w', ids, true, false).error).toBe(E.NONE)
      timeline.advance(MARKER_MS)
    }
  })

  test('a partition that was not added is not written to', () => {
    const { of, parts } = coordinator()
    const ids = of.open('w', TIMEOUT_MS, NEW)
    expect(of.verify('w', ids, 't/0')).toBe(E.INVALID_TXN_STATE)
    of.add('w', ids, parts)
    expect(of.verify('w', ids, 't/0')).toBe(E.NONE)
    expect(of.verify('w', ids, 't/1')).toBe(E.INVALID_TXN_STATE)
  })
})

test('who opens an id anew ends what is open, waits for that, and is one epoch further', () => {
  const { of, parts, timeline, markers } = coordinator()
  const ids = of.open('w', TIMEOUT_MS, NEW)
  of.add('w', ids, parts)
  expect(of.open('w', TIMEOUT_MS, NEW).error).toBe(E.CONCURRENT_TRANSACTIONS)
  expect(of.open('w', TIMEOUT_MS, NEW).error).toBe(E.CONCURRENT_TRANSACTIONS)
  timeline.advance(MARKER_MS)
  expect(markers).toEqual(['abort 1'])
  expect(of.open('w', TIMEOUT_MS, NEW)).toMatchObject({ error: E.NONE, producerEpoch: 2 })
  expect(of.end('w', ids, true, true).error).toBe(E.PRODUCER_FENCED)
})

test('sequences: gaps and older epochs are refused, a newer epoch begins at 0, and the largest number is followed by 0', () => {
  const last = (sequence: number) => ({ epoch: 3, batches: [{ first: sequence, last: sequence, base: 0 }] })
  expect(sequenceError(undefined, 0, 17)).toBe(E.NONE)
  expect(sequenceError(last(4), 3, 5)).toBe(E.NONE)
  expect(sequenceError(last(4), 3, 6)).toBe(E.OUT_OF_ORDER_SEQUENCE_NUMBER)
  expect(sequenceError(last(4), 2, 5)).toBe(E.INVALID_PRODUCER_EPOCH)
  expect(sequenceError(last(4), 4, 5)).toBe(E.OUT_OF_ORDER_SEQUENCE_NUMBER)
  expect(sequenceError(last(4), 4, 0)).toBe(E.NONE)
  expect(sequenceError(last(2 ** 31 - 1), 3, 0)).toBe(E.NONE)
})
