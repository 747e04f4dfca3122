/** Small parts of the runtime, each with its own promise: counts, waits, what an error means, what a commit lets go of, time buckets. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type RowFormat, text } from '#tidemark'
import { ERROR_CODES, type ErrorCode, messageOf, TidemarkError } from '../../src/base/errors.ts'
import { Lifecycle } from '../../src/base/lifecycle.ts'
import { keyCodec } from '../../src/contract/key.ts'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { memoryState } from '../../src/drivers/memory/index.ts'
import { readBatches, stampBatch } from '../../src/ports/record-batch/index.ts'
import { Bell } from '../../src/runtime/bell.ts'
import { asFailure, backoffMs, isFinal, verdictOn, verdictOnRead } from '../../src/runtime/failure.ts'
import { BATCH_BYTES, Outbox } from '../../src/runtime/outbox.ts'
import { type Flavour, Rec } from '../../src/runtime/record.ts'
import { NodeScope } from '../../src/runtime/scope.ts'
import { Sealer } from '../../src/runtime/seal.ts'
import { TaskState } from '../../src/runtime/state.ts'
import { StoreState } from '../../src/runtime/store-state.ts'
import { Tally } from '../../src/runtime/tally.ts'
import { manualClock } from '../../src/testing/index.ts'

describe('a tally', () => {
  test('gives what was counted once, and begins again', () => {
    const tally = new Tally('step')
    tally.count('applied')
    tally.count('applied')
    tally.count('dead', 'STEP_FAILED')
    tally.add('records_in', 7)
    expect(tally.take()).toEqual([
      ['step', 'records_in', undefined, 7],
      ['step', 'applied', undefined, 2],
      ['step', 'dead', 'STEP_FAILED', 1],
    ])
    expect(tally.take()).toEqual([])
  })

  test('knows a hundred values of all counters together, and counts the rest without their value', () => {
    const tally = new Tally('step')
    for (let i = 0; i < 1_000; i++) tally.count('ignored', `reason ${i}`)
    const counts = tally.take()
    expect(counts).toHaveLength(101)
    expect(counts.reduce((sum, [, , , by]) => sum + by, 0)).toBe(1_000)
  })
})

test('a partition that the log asks for again by itself costs its task nothing; a disk that failed reopens it; all else that keeps it from being read halts it', () => {
  const verdict = (code: ErrorCode): string => verdictOnRead(new TidemarkError(code, 'it cannot be read'))
  expect([verdict('PARTITION_UNREADABLE'), verdict('LOG_IO'), verdict('LOG_CORRUPT'), verdict('NOT_AUTHORIZED')]).toEqual([
    'again',
    'reopen',
    'halt',
    'halt',
  ])
})

describe('a bell', () => {
  test('that rang while nobody waited is heard by the next who waits', async () => {
    const bell = new Bell()
    bell.ring()
    await bell.wait(manualClock(), 1_000_000)
  })
  test('wakes who waits, and lets them go when their time is over', async () => {
    const clock = manualClock()
    const bell = new Bell()
    const order: string[] = []
    const first = bell.wait(clock, 1_000_000).then(() => order.push('rung'))
    bell.ring()
    await first
    const second = bell.wait(clock, 50).then(() => order.push('over'))
    await clock.advance(100)
    await second
    expect(order).toEqual(['rung', 'over'])
  })
})

describe('what an error means', () => {
  const policy = { retry: 2, then: 'park', unknownEvents: 'dead-letter' } as const
  test('a thrown function is tried again as often as its step says, and then answered as it says', () => {
    expect([1, 2, 3].map((attempt) => verdictOn(new Error('x'), attempt, policy))).toEqual(['again', 'again', 'park'])
    expect(verdictOn('a text', 3, { ...policy, then: 'halt' })).toBe('halt')
  })
  test.each(Object.keys(ERROR_CODES) as ErrorCode[])('%s has one meaning, and what is below a record is never its fault', (code) => {
    const error = new TidemarkError(code, 'x')
    const verdict = verdictOn(error, 1, policy)
    const belowTheRecord = /^(STORE_(LOCKED|CORRUPT|IO|FOREIGN)|LOG_.*|SCHEMA_SOURCE_FAILED|WRITER_FENCED|APP_CLOSED)$/.test(code)
    const hopeless =
      /^(SCHEMA_(UNKNOWN|INVALID|INCOMPATIBLE)|FRAMING_INVALID|VALUE_INVALID|KEY_INVALID|ENVELOPE_INVALID|EVENT_UNKNOWN|SOURCE_FOREIGN|REASON_UNKNOWN|PARTITION_MISMATCH|STEP_REJECTED|FACT_FOREIGN|BATCH_LIMIT)$/.test(
        code,
      )
    expect(verdict).toBe(belowTheRecord ? 'reopen' : code === 'TASK_HALTED' ? 'halt' : hopeless ? 'park' : 'again')
  })
  test('an unknown event is dropped where its contract says ignore', () => {
    expect(verdictOn(new TidemarkError('EVENT_UNKNOWN', 'x'), 1, { ...policy, unknownEvents: 'ignore' })).toBe('drop')
  })
  test('whatever was thrown becomes an error with a code and a sentence', () => {
    expect(asFailure(new RangeError('too far'), 'sieve')).toMatchObject({
      code: 'STEP_FAILED',
      message: 'step "sieve" threw',
      detail: 'RangeError: too far',
    })
    expect(asFailure(undefined, 's').detail).toBe('It threw undefined.')
    expect(asFailure(Object.create(null), 's').detail).toBe('It threw something that cannot be written.')
    expect(messageOf(Symbol('x'))).toBe('Symbol(x)')
    const own = new TidemarkError('KEY_INVALID', 'x')
    expect(asFailure(own, 's')).toBe(own)
  })
  test('what has no code is final, and waits between tries are bounded, whatever the chance', () => {
    expect([
      isFinal(new Error('a defect')),
      isFinal(new TidemarkError('LOG_IO', 'x')),
      isFinal(new TidemarkError('DEAD_LETTER_FAILED', 'x')),
    ]).toEqual([true, false, true])
    fc.assert(
      fc.property(fc.nat({ max: 100_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, unit) => {
        const ms = backoffMs(attempt, unit)
        expect(ms >= 0 && ms <= 10_000 && ms <= 100 * 2 ** attempt).toBe(true)
      }),
    )
  })
})

test('a life cycle moves as its table says and no other way, and tells who waits', async () => {
  const seen: string[] = []
  const life = new Lifecycle<'a' | 'b' | 'c'>('thing', 'a', { a: ['b'], b: ['c'], c: [] }, (state) => seen.push(state))
  const waited = life.reached('c')
  expect(() => life.to('c')).toThrow('thing cannot go from a to c')
  life.to('a')
  life.to('b')
  life.to('c')
  expect([await waited, await life.reached('c', 'a'), seen, life.may('a')]).toEqual(['c', 'c', ['b', 'c'], false])
})

describe('an outbox', () => {
  test('keeps the order of each partition over as many batches as it takes, and is empty when it was sealed', () => {
    const outbox = new Outbox(nativeCodecs)
    expect([outbox.empty, outbox.bytes]).toEqual([true, 0])
    const value = Buffer.alloc(300_000, 'x')
    for (let i = 0; i < 10; i++) outbox.put(i % 2 === 0 ? 'even' : 'odd', 0, i, Buffer.from(`${i}`), value, Buffer.from([0]))
    expect(outbox.empty).toBe(false)
    const sealed = outbox.seal()
    const keys = (topic: string): string[] =>
      sealed
        .filter(({ partition }) => partition === `${topic}/0`)
        .flatMap(({ batch }) => {
          stampBatch(batch, { producerId: 1, producerEpoch: 0, baseSequence: 0, transactional: false }, nativeCodecs)
          const { batches } = readBatches(batch.bytes, nativeCodecs)
          return batches.flatMap((each) => Array.from({ length: each.count }, (_, i) => each.key(i)?.toString() ?? ''))
        })
    expect([keys('even'), keys('odd')]).toEqual([
      ['0', '2', '4', '6', '8'],
      ['1', '3', '5', '7', '9'],
    ])
    for (const { batch } of sealed) expect(batch.bytes.length).toBeLessThanOrEqual(BATCH_BYTES)
    expect([outbox.empty, outbox.seal()]).toEqual([true, []])
  })
})

describe('a store', () => {
  const textFormat: RowFormat = {
    write: (value, into) => void into.put(Buffer.from(value as string)),
    read: (from) => from.take(from.end - from.at).toString(),
  }
  const spec = (more: object = {}) => ({
    name: 's',
    rows: textFormat,
    ranged: false,
    expires: undefined,
    marks: false,
    view: undefined,
    revision: 1,
    ...more,
  })
  const plan = { id: 1, step: 's', name: 's', kind: 'rows', fingerprint: '', revision: 1 } as const

  test('keeps few of a key’s rows in memory once they are on disk, and reads the others again', async () => {
    const db = await memoryState().open({ app: 'a', stage: 's', generation: 1, partition: 0 })
    const store = new StoreState(plan, spec(), 0, { kind: 'format', format: textFormat, view: false })
    const state = new TaskState(db, [store], { first: 4, most: 4, shared: { left: 0 } })
    const sealer = new Sealer(state, new Outbox(nativeCodecs), nativeCodecs, 'a', 0, new Map())
    const scope = new NodeScope(state, store, false)
    const slot = state.slots.of(Buffer.from('hot'), 0, 3)
    const cause = new Rec()
    for (let round = 0; round < 3; round++) {
      scope.begin(slot, cause)
      for (let i = 0; i < 1_000; i++) scope.put(`${round}`, `sub-${i}`)
      scope.end()
      const sealed = sealer.seal(1, () => ({
        generation: 1,
        positions: new Map(),
        recorded: new Map(),
        topicIds: new Map(),
        schemas: [],
        stores: new Map([[1, store.meta()]]),
        heard: new Map(),
      }))
      // Written again while the first commit is on its way: that one is newer than disk, and stays.
      scope.begin(slot, cause)
      scope.put('newer', 'sub-7')
      scope.end()
      await db.write(sealed.writes.batch())
      for (const row of sealed.rows) state.settled(row)
      expect(slot.subs[0]?.size).toBeLessThanOrEqual(64)
      expect(scope.get('sub-7')).toBe('newer')
      expect(scope.get('sub-999')).toBe(`${round}`)
    }
    expect(slot.pins).toBe(1)
  })

  test('takes back where a row of a projection came from with everything else of an invocation that fails (K09)', async () => {
    const db = await memoryState().open({ app: 'a', stage: 's', generation: 1, partition: 0 })
    const view = { owner: undefined, windows: {}, decisions: {}, publish: 'state', safety: ['once'] }
    const store = new StoreState(plan, spec({ view }), 0, { kind: 'format', format: textFormat, view: true })
    const state = new TaskState(db, [store], { first: 4, most: 4, shared: { left: 0 } })
    const scope = new NodeScope(state, store, false)
    const slot = state.slots.of(Buffer.from('k'), 0, 1)
    const flavour: Flavour = {
      key: keyCodec(text),
      value: undefined,
      language: undefined,
      source: '/a',
      type: undefined,
      inbox: false,
      admit: undefined,
    }
    const causeAt = (offset: number): Rec => {
      const cause = new Rec()
      const place = { topic: 'in', partition: 1, offset }
      cause.awake(`cause ${offset}`, offset, slot, place, place, flavour)
      return cause
    }
    const told = (): unknown => {
      const { value, exists, version, at, topic, partition, offset, causeId, correlationId } = state.row(slot, store, '')
      return { value, exists, version, at, topic, partition, offset, causeId, correlationId }
    }
    scope.begin(slot, causeAt(3))
    scope.put('three', '', { version: 1, at: 3 })
    scope.end()
    const three = told()
    expect(three).toMatchObject({ value: 'three', topic: 'in', offset: 3, causeId: 'cause 3', correlationId: 'cause 3' })
    for (const change of [() => scope.put('four', '', { version: 2, at: 4 }), () => scope.delete('', { version: 2, at: 4 })]) {
      scope.begin(slot, causeAt(4))
      change()
      expect(told()).toMatchObject({ version: 2, offset: 4, causeId: 'cause 4' })
      scope.undo()
      expect(told()).toEqual(three)
    }
    await db.close()
  })

  test('has at most three buckets alive, the present one among them, and every id that is within its horizon in one of them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200_000 }),
        fc.array(fc.integer({ min: -1_000, max: 400_000 }), { minLength: 1, maxLength: 30 }),
        (keepMs, times) => {
          const store = new StoreState(plan, spec({ expires: { keepMs } }), 0, { kind: 'format', format: textFormat, view: false })
          const seen: { at: number; bucket: number }[] = []
          for (const time of times) {
            store.streamTime = Math.max(store.streamTime, time)
            const { buckets, bucket } = store
            expect(buckets.length).toBeLessThanOrEqual(4)
            expect(buckets.at(-1)).toBe(bucket)
            expect(buckets).toEqual([...buckets].sort((a, b) => a - b))
            // The first byte of a bucket is never zero: a timer's key begins so.
            expect(bucket).toBeGreaterThanOrEqual(0x80000000)
            for (const { at, bucket: then } of seen) if (store.streamTime - at <= keepMs && at >= 0) expect(buckets).toContain(then)
            seen.push({ at: store.streamTime, bucket })
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
