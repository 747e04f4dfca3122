import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import avro from 'avsc'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SplitMix64, wordOf } from '../../bench/w1/splitmix64.ts'
import { decodeView, type OutputRow, type Verdict, Verifier, verdictText } from '../../bench/w1/verify.ts'
import { modelDigest, streamDigest, type View, Workload, type WorkloadOptions } from '../../bench/w1/workload.ts'
import { codeOf } from '../../src/base/errors.ts'

interface OrderEvent {
  readonly eventId: string
  readonly orderId: string
  readonly seq: number
  readonly kind: string
  readonly sku: string
  readonly qty: number
  readonly unitPriceMinor: number
  readonly warehouse: string
  readonly occurredAt: number
  readonly note: { readonly string: string } | string | null
}

const T0 = 1_700_000_000_000
const schema = (name: string) =>
  avro.Type.forSchema(JSON.parse(readFileSync(new URL(`../../bench/w1/${name}.avsc`, import.meta.url), 'utf8')) as avro.Schema)
const eventType = schema('OrderEvent')
const viewType = schema('OrderView')

function eventOf(value: Buffer): OrderEvent {
  expect(value.subarray(0, 5).toString('hex')).toBe('0000000001')
  return eventType.fromBuffer(value.subarray(5)) as OrderEvent
}

function encodeView(view: View): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), viewType.toBuffer(view)])
}

describe('the stream', () => {
  // Computed by the benchmark kit's own implementation. A change here means that figures can no longer be compared with others'.
  const pinned: readonly (readonly [options: WorkloadOptions, stream: string, model: string])[] = [
    [
      { records: 100_000, keys: 10_000, seed: 1, t0: T0 },
      'e1c79e28250f30c6c003e6c4b5329759353979f9178aabde0d47b89d8f824e8c',
      'e4aacf0de5ab7d26aa71714fb5089a3001ea4269012b45e70fdb87946a6d5c04',
    ],
    [
      { records: 20_000, keys: 2_000, seed: 42, uniform: true, t0: T0 },
      '723a220d02d7d3792262693493949ac22f7ea2dcfa6ea41540b203e25c84a5d5',
      'feaed540ca122746394572529cfb3a663764ec8d8d69921530c895c89851ee28',
    ],
    [
      { records: 20_000, keys: 2_000, seed: 7, clean: true, t0: T0 },
      'aaac3c57999554fc0d67c573ab76dd55c892bb12b6ff174b211541a053ae030e',
      'b2bbce494cd015080ebf116b499b602724622cd821f1944248c10e6f61fbd307',
    ],
    [
      { records: 20_000, keys: 19_999, seed: Number.MIN_SAFE_INTEGER, t0: 0 },
      '049d69c6dfbbbb450685b9ed285e1501fd8d2181b657ea85abdcb0883c2517fb',
      '5f47c44d91874f4695c916e788ed8211ffde15ec00ffdb9dd7054df3101b4851',
    ],
    [
      { records: 30_000, keys: 5, seed: Number.MAX_SAFE_INTEGER, uniform: true, clean: true, t0: 1 },
      '7b5cfdbf60fb271cf558e71674c4e8f1a0d78f3455b635f34f40a30da406fcb5',
      '11af28315f23e5dfa8a2415a698f35773ae19aeeb955b1bb77af1ae826a079d9',
    ],
    [
      { records: 5_000, keys: 1, seed: -1, t0: T0 },
      'c15703d98cd8049a358b14f72aeaa66f4d9f637b05b48fa77d71e66c48a700c6',
      '3d16cac8c6f22e93bc53d421d12b8da2ef9b4be686104af092ebca6039ad25b3',
    ],
    [
      { records: 1, keys: 100, seed: 0, t0: 0 },
      'b4113dfee7ceef1ea2e10b1dbf673d47a785fd59da02f7ee647eed356522dba6',
      '4462d5b91e5befdec304e612d5971cf642fe4fd22a405770214bc1fe98541a24',
    ],
  ]
  test.each(pinned)('is byte for byte that of the benchmark kit, and so is the model: %o', (options, stream, model) => {
    const workload = new Workload(options)
    expect(streamDigest(workload.records())).toBe(stream)
    expect(modelDigest(workload.model())).toBe(model)
  })

  test('is the same at every reading, with seed 1 unless told otherwise', () => {
    const workload = new Workload({ records: 1_000, keys: 100, t0: T0 })
    const digest = streamDigest(workload.records())
    expect(streamDigest(workload.records())).toBe(digest)
    expect(streamDigest(new Workload({ records: 1_000, keys: 100, seed: 1, t0: T0 }).records())).toBe(digest)
    expect(streamDigest(new Workload({ records: 1_000, keys: 100, seed: 2, t0: T0 }).records())).not.toBe(digest)
  })

  test('gives values that later records do not overwrite', () => {
    const records = [...new Workload({ records: 5_000, keys: 500, t0: T0 }).records()]
    expect(streamDigest(records)).toBe(streamDigest(new Workload({ records: 5_000, keys: 500, t0: T0 }).records()))
  })

  test.each([{}, { uniform: true }, { clean: true }])(
    'folds into the model once duplicates are dropped and seqs are sorted: %o',
    (mode) => {
      const workload = new Workload({ records: 20_000, keys: 2_000, t0: T0, ...mode })
      const orders = new Map<string, Map<number, OrderEvent>>()
      for (const { key, value, timestamp } of workload.records()) {
        const event = eventOf(value)
        expect([event.orderId, event.occurredAt]).toEqual([key, timestamp])
        expect(`${event.eventId} ${event.orderId} ${event.sku} ${event.warehouse}`).toMatch(/^[0-9a-f]{32} o-\d{7} sku-\d{5} wh-\d\d$/)
        expect(event.qty >= 1 && event.qty <= 20).toBe(true)
        const events = orders.get(key) ?? new Map<number, OrderEvent>()
        orders.set(key, events.set(event.seq, event))
      }
      const folded = new Map<string, View>()
      for (const key of [...orders.keys()].sort()) folded.set(key, fold(key, orders.get(key) as Map<number, OrderEvent>))
      expect(folded.size).toBe(workload.keys)
      expect([...workload.model()]).toEqual([...folded])
    },
  )

  test('sends a twentieth of its records a second time, byte for byte and soon after the first', () => {
    const workload = new Workload({ records: 20_000, keys: 2_000, t0: T0 })
    const firsts = new Map<string, { at: number; bytes: string }>()
    let again = 0
    let at = 0
    for (const { value } of workload.records()) {
      const { eventId } = eventOf(value)
      const first = firsts.get(eventId)
      if (first === undefined) firsts.set(eventId, { at, bytes: value.toString('hex') })
      else {
        again++
        expect(value.toString('hex')).toBe(first.bytes)
        expect(at - first.at).toBeLessThan(2_400)
      }
      at++
    }
    expect([at, again, firsts.size]).toEqual([20_000, 1_000, workload.distinct])
  })

  test('swaps about a twentieth of the events with their successor, and none further', () => {
    const workload = new Workload({ records: 20_000, keys: 2_000, t0: T0 })
    const seen = new Set<string>()
    const highest = new Map<string, number>()
    let late = 0
    for (const { key, value } of workload.records()) {
      const { eventId, seq } = eventOf(value)
      if (seen.has(eventId)) continue
      seen.add(eventId)
      const high = highest.get(key) ?? 0
      if (seq < high) late++
      expect(seq).toBeGreaterThanOrEqual(high - 1)
      expect(seq).toBeLessThanOrEqual(high + 2)
      highest.set(key, Math.max(high, seq))
    }
    expect(late / workload.distinct).toBeGreaterThan(0.03)
    expect(late / workload.distinct).toBeLessThan(0.06)
  })

  test('has no duplicate and no disorder when it is clean', () => {
    const workload = new Workload({ records: 20_000, keys: 2_000, clean: true, t0: T0 })
    const seqs = new Map<string, number>()
    let at = 0
    for (const { key, value, timestamp } of workload.records()) {
      expect(timestamp).toBe(T0 + at++)
      expect(eventOf(value).seq).toBe((seqs.get(key) ?? 0) + 1)
      seqs.set(key, (seqs.get(key) ?? 0) + 1)
    }
    expect(at).toBe(workload.distinct)
  })

  test('keeps the events of an order close together, and spreads them over the whole stream when it is uniform', () => {
    const widest = (uniform: boolean): number => {
      const first = new Map<string, number>()
      let widest = 0
      for (const { key, timestamp } of new Workload({ records: 100_000, keys: 5_000, uniform, t0: 0 }).records()) {
        if (!first.has(key)) first.set(key, timestamp)
        widest = Math.max(widest, timestamp - (first.get(key) ?? 0))
      }
      return widest
    }
    // Orders start in the first 75,000 of 95,000 places, so the middle of the stream is that much denser: 20,000 * 95 / 75.
    expect(widest(false)).toBeLessThan(26_000)
    expect(widest(true)).toBeGreaterThan(80_000)
  })

  test.each([
    { records: 0 },
    { records: 1.5 },
    { records: Number.NaN },
    { records: 50_000_001 },
    { keys: 0 },
    { keys: 9_000_001 },
    { seed: 0.5 },
    { seed: 2 ** 53 },
    { t0: -1 },
    { t0: Number.POSITIVE_INFINITY },
  ])('is refused with OPTION_INVALID for %o', (wrong) => {
    expect(thrownCode(() => new Workload({ records: 10, keys: 5, t0: T0, ...wrong }))).toBe('OPTION_INVALID')
  })
})

test('splitmix64 on halves draws what 64-bit arithmetic draws', () => {
  fc.assert(
    fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed, n) => {
      const random = new SplitMix64(wordOf(seed))
      const first = reference(seed + GOLDEN)
      const second = reference(seed + 2n * GOLDEN)
      expect(random.below(n)).toBe(Number(((first >> 33n) * BigInt(n)) >> 31n))
      expect(random.unit()).toBe(Number(second >> 11n) * 2 ** -53)
    }),
    { numRuns: 1_000 },
  )
})

describe('run directly', () => {
  const lastLines = (text: string): string => text.slice(text.indexOf('\nstream='))
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [fileURLToPath(new URL('../../bench/w1/workload.ts', import.meta.url)), ...args], { encoding: 'utf8' })

  test('it prints both digests of the stream that its options name', () => {
    const workload = new Workload({ records: 2_000, keys: 100, seed: 3, uniform: true, clean: true, t0: 7 })
    const { status, stdout } = run('--n', '2_000', '--k', '100', '--seed', '3', '--uniform', '--clean', '--t0', '7', '--digest')
    expect(stdout).toContain('records=2000 distinct=2000 keys=100 t0=7\n')
    expect(stdout).toContain(`\nstream=${streamDigest(workload.records())}\nmodel=${modelDigest(workload.model())}\n`)
    expect(status).toBe(0)
  })

  test('a seed below 0 is one like any other, with or without a sign between', () => {
    const { status, stdout } = run('--n', '20', '--k', '5', '--seed', '-3', '--t0', '7', '--digest')
    expect([status, stdout]).toEqual([
      0,
      expect.stringContaining(`\nstream=${streamDigest(new Workload({ records: 20, keys: 5, seed: -3, t0: 7 }).records())}\n`),
    ])
    expect(lastLines(run('--n', '20', '--k', '5', '--seed=-3', '--t0', '7', '--digest').stdout)).toBe(lastLines(stdout))
  })

  test.each([
    [['--n', 'many'], 'OPTION_INVALID: --n is not a whole number\nIt is "many".'],
    [['--k', '0'], 'OPTION_INVALID: keys is not a whole number in its range'],
    [['--n', '-3'], 'OPTION_INVALID: records is not a whole number in its range\nIt is -3, and must be from 1 to 50000000.'],
    [['--sede', '1'], "Unknown option '--sede'"],
  ])('it says what is wrong with %o and fails', (args, message) => {
    const { status, stderr } = run(...args)
    expect(stderr).toContain(message)
    expect(stderr).toContain('usage: ')
    expect(status).toBe(2)
  })
})

describe('the verifier', () => {
  const model = new Workload({ records: 100, keys: 10, t0: T0 }).model()
  const key = 'o-0000003'
  const want = model.get(key) as View
  const right: readonly OutputRow[] = [...model].map(([key, view]) => ({ partition: Number(key.at(-1)) % 4, key, value: encodeView(view) }))
  const verdictOf = (rows: Iterable<OutputRow>): Verdict => {
    const verifier = new Verifier(model)
    for (const row of rows) verifier.take(row)
    return verifier.verdict()
  }
  const [partition, value] = [3, encodeView(want)]

  test('says OK when every key ends with the row of the model', () => {
    const verdict = verdictOf([{ partition, key, value: encodeView({ ...want, version: want.version - 1, lines: 77 }) }, ...right])
    expect(verdictText(verdict)).toBe('OK keys=10 mismatched=0 missing=0 extra=0 keysInTwoPartitions=0 unreadable=0 rows=11 rowsNotNewer=0')
  })

  test.each(Object.keys(want) as (keyof View)[])('finds a row that differs in nothing but its %s', (field) => {
    const wrong = { ...want, [field]: typeof want[field] === 'number' ? want[field] + 1 : `${want[field]}x` }
    const verdict = verdictOf([...right, { partition, key, value: encodeView(wrong) }])
    expect(verdict).toMatchObject({ ok: false, mismatched: 1, missing: 0 })
    expect(verdictText(verdict)).toMatch(/^want o-0000003\t.*\n got o-0000003.*\nFAILED keys=10 mismatched=1 missing=0 /)
  })

  test.each<[string, readonly OutputRow[], Partial<Verdict>, string]>([
    ['a key without a row', right.slice(1), { missing: 1 }, 'got nothing'],
    ['a key whose last row is a tombstone', [...right, { partition, key, value: null }], { missing: 1 }, 'got nothing'],
    ['a key that the model does not have', [...right, { partition, key: 'o-0000010', value }], { extra: 1 }, 'o-0000010 is no key'],
    ['a key in two partitions', [{ partition: 0, key, value }, ...right], { keysInTwoPartitions: 1 }, 'in more than one partition'],
    ['a row that is an event', [...right, { partition, key, value: Buffer.from([0, 0, 0, 0, 1, 2]) }], { unreadable: 1 }, 'unreadable'],
    ['an empty row', [...right, { partition, key, value: Buffer.alloc(0) }], { unreadable: 1 }, 'unreadable'],
  ])('finds %s', (_, rows, counts, difference) => {
    const verdict = verdictOf(rows)
    const none = { mismatched: 0, missing: 0, extra: 0, keysInTwoPartitions: 0, unreadable: 0 }
    expect(verdict).toMatchObject({ ok: false, ...none, ...counts })
    expect(verdictText(verdict)).toContain(difference)
  })

  test('counts a row that is not newer than the one before, and leaves probes out', () => {
    const probe = { partition: 1, key: 'o-9000000', value: Buffer.from('anything') }
    expect(verdictOf([...right, { partition, key, value }, probe])).toMatchObject({ ok: true, rows: 11, rowsNotNewer: 1 })
  })

  test('shows ten differences, however many there are', () => {
    const verifier = new Verifier(new Workload({ records: 1_000, keys: 500, t0: T0 }).model())
    expect(verifier.verdict()).toMatchObject({ ok: false, missing: 500, keys: 500 })
    expect(verifier.verdict().differences).toHaveLength(10)
  })

  test('reads what Avro writes', () => {
    const whole = fc.integer({ min: -(2 ** 51), max: 2 ** 51 })
    const views = fc.record({
      orderId: fc.string({ unit: 'grapheme' }),
      version: whole,
      status: fc.string(),
      lines: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      units: whole,
      amountMinor: whole,
      updatedAt: whole,
    })
    fc.assert(
      fc.property(views, (view) => {
        expect(decodeView(encodeView(view))).toEqual(view)
      }),
    )
  })

  test('refuses every cut and every lengthening of a row', () => {
    for (let length = 0; length < value.length; length++) {
      expect(thrownCode(() => decodeView(value.subarray(0, length)))).toBe(length < 5 ? 'FRAMING_INVALID' : 'VALUE_INVALID')
    }
    expect(thrownCode(() => decodeView(Buffer.concat([value, Buffer.alloc(1)])))).toBe('VALUE_INVALID')
  })

  test('is never broken by bytes, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const row = { partition, key, value: Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), bytes]) }
        expect(verdictOf([...right, row]).ok).toBe(false)
      }),
    )
  })
})

const GOLDEN = 0x9e3779b97f4a7c15n

/** The output function of splitmix64, as its paper gives it. */
function reference(state: bigint): bigint {
  let z = BigInt.asUintN(64, state)
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
  return z ^ (z >> 31n)
}

/** The workload's three steps on one order, in the plainest way. */
function fold(orderId: string, events: ReadonlyMap<number, OrderEvent>): View {
  const view = { orderId, version: 0, status: '', lines: 0, units: 0, amountMinor: 0, updatedAt: 0 }
  while (events.has(view.version + 1)) {
    const event = events.get(view.version + 1) as OrderEvent
    view.version = event.seq
    view.updatedAt = Math.max(view.updatedAt, event.occurredAt)
    if (event.kind === 'LINE_ADDED' || event.kind === 'LINE_REMOVED') {
      const sign = event.kind === 'LINE_ADDED' ? 1 : -1
      view.lines += sign
      view.units += sign * event.qty
      view.amountMinor += sign * event.qty * event.unitPriceMinor
    } else view.status = event.kind
  }
  expect(view.version).toBe(events.size)
  return view
}

function thrownCode(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return codeOf(error)
  }
  return 'nothing was thrown'
}
