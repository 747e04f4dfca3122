/**
 * The input of workload W1 of the benchmark kit, and the rows that must come out of it.
 *
 * Promises: the stream is a pure function of the options, byte for byte the one that the kit's other implementation makes (digests of
 * both are pinned in the tests), so that figures of different systems are about the same input. Records are made while they are read;
 * only 12 bytes an event are held. It does not write to a log, and it checks nothing but its options.
 *
 * Run directly it prints the shape of a stream, and with `--digest` what it takes to compare it with another implementation:
 *   bench/w1/workload.ts --n 100000 --k 10000 --seed 1 [--uniform] [--clean] [--t0 MS] [--digest]
 *
 * The order of the random draws is part of the definition: a draw that is added, left out or moved makes another stream.
 */
import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { ByteWriter } from '../../src/base/bytes.ts'
import { messageOf, TidemarkError } from '../../src/base/errors.ts'
import { EventContent, EventWriter, KINDS } from './event.ts'
import { GOLDEN, SplitMix64, type Word, wordOf } from './splitmix64.ts'

/** The events of one order lie within about so many records; a stream that is not much longer than this is denser in its middle. */
const SPAN = 20_000
/** A duplicate follows its original within so many records (a few more when several are due at once). */
const DUPLICATE_WITHIN = 2_000
const DUPLICATES = 0.05
const SWAPS = 0.05
/** So that the sort key of a pending duplicate, a place times the number of events, stays exact in a double. */
const RECORDS_MAX = 50_000_000
/** Keys from `o-9000000` on are left to probes. */
const KEYS_MAX = 9_000_000

export interface WorkloadOptions {
  /** Records of the stream, duplicates included: 1 to 50 million. */
  readonly records: number
  /** Orders, each with at least one event: 1 to 9 million, and never more than `records` (more are not made). */
  readonly keys: number
  /** Another seed, another stream: a whole number, negative too. Default 1. */
  readonly seed?: number
  /** Spread the events of each order over the whole stream: the worst case for caches. Default false. */
  readonly uniform?: boolean
  /** Nothing sent twice and nothing out of order. Default false. */
  readonly clean?: boolean
  /** Time of the first event, ms since 1970; each later event is 1 ms younger. */
  readonly t0: number
}

export interface InputRecord {
  /** The order's id, `o-` and seven digits. */
  readonly key: string
  /** An `OrderEvent` in the wire format. No later record overwrites it, but it is a view: copy it to keep a few of many. */
  readonly value: Buffer
  /** When the event occurred, ms since 1970. Not ascending, but in a clean stream. */
  readonly timestamp: number
}

/** A row of the projection; `OrderView.avsc` says what the fields mean. */
export interface View {
  readonly orderId: string
  readonly version: number
  readonly status: string
  readonly lines: number
  readonly units: number
  readonly amountMinor: number
  readonly updatedAt: number
}

/**
 * One stream and its outcome.
 * @throws TidemarkError OPTION_INVALID when an option is not in its range
 * @example
 * const workload = new Workload({ records: 1_000_000, keys: 100_000, t0: 1_700_000_000_000 })
 * for (const { key, value, timestamp } of workload.records()) send(key, value, timestamp)
 * const expected = workload.model()
 */
export class Workload {
  /** Records that `records()` gives. */
  readonly size: number
  /** Orders, and so rows of the model. */
  readonly keys: number
  /** Events that differ; the other records are duplicates. */
  readonly distinct: number
  readonly t0: number
  private readonly seed: Word
  /** `seed` times the golden ratio: what the content of every event derives from. */
  private readonly root: Word
  // By an event's rank, which is its place among the distinct events in the order in which they occurred.
  private readonly orderOf: Int32Array
  private readonly seqOf: Int32Array
  /** The rank of the event that is the first of its kind to arrive at each place: itself, but for swapped ones. */
  private readonly rankAt: Int32Array

  constructor({ records, keys, seed = 1, uniform = false, clean = false, t0 }: WorkloadOptions) {
    this.size = within('records', records, 1, RECORDS_MAX)
    this.keys = Math.min(within('keys', keys, 1, KEYS_MAX), records)
    this.t0 = within('t0', t0, 0, 2 ** 51)
    this.seed = wordOf(BigInt(within('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)))
    this.root = wordOf(BigInt(seed) * GOLDEN)
    this.distinct = clean ? records : Math.max(this.keys, Math.round(records * (1 - DUPLICATES)))
    this.orderOf = new Int32Array(this.distinct)
    this.seqOf = new Int32Array(this.distinct)
    this.rankAt = new Int32Array(this.distinct)
    const random = new SplitMix64(this.seed)
    this.place(random, uniform)
    this.number(random, clean)
  }

  /** Gives each event its order and its rank. */
  private place(random: SplitMix64, uniform: boolean): void {
    const { keys, distinct } = this
    const order = new Int32Array(distinct)
    const place = new Int32Array(distinct)
    const next = new Int32Array(distinct + 1)
    for (let i = 0; i < distinct; i++) {
      const o = i < keys ? i : random.below(keys)
      const start = Math.floor((o * Math.max(0, distinct - SPAN)) / keys)
      const at = uniform ? random.below(distinct) : start + random.below(Math.min(SPAN, distinct))
      order[i] = o
      place[i] = at
      next[at + 1] = (next[at + 1] as number) + 1
    }
    // A counting sort: events that drew the same place keep the order in which they were drawn.
    for (let at = 1; at <= distinct; at++) next[at] = (next[at] as number) + (next[at - 1] as number)
    for (let i = 0; i < distinct; i++) {
      const rank = next[place[i] as number] as number
      next[place[i] as number] = rank + 1
      this.orderOf[rank] = order[i] as number
    }
  }

  /** Numbers the events of each order, and swaps the arrival of some with the event of the same order before them. */
  private number(random: SplitMix64, clean: boolean): void {
    const count = new Int32Array(this.keys)
    const last = new Int32Array(this.keys).fill(-1)
    for (let rank = 0; rank < this.distinct; rank++) {
      const order = this.orderOf[rank] as number
      const before = last[order] as number
      count[order] = (count[order] as number) + 1
      this.seqOf[rank] = count[order]
      this.rankAt[rank] = rank
      last[order] = rank
      const swap = before >= 0 && random.unit() < SWAPS
      if (!swap || clean) continue
      this.rankAt[rank] = before
      this.rankAt[before] = rank
      // One that was swapped is not swapped again, so no event arrives more than one event of its order late.
      last[order] = -1
    }
  }

  /** The stream, in the order in which it is to be sent. Every call gives the same records anew. */
  *records(): Generator<InputRecord, void, undefined> {
    const { size, distinct } = this
    const random = new SplitMix64({ hi: this.seed.hi ^ 0x5, lo: this.seed.lo ^ 0xdeece66d })
    const events = new EventWriter(this.root)
    // Duplicates that are still to come as `due place * distinct + rank`, the next one last. About 50 at a time.
    const pending: number[] = []
    let duplicatesLeft = size - distinct
    for (let out = 0, arrived = 0; out < size; out++) {
      const nextDue = pending.at(-1)
      let rank: number
      if (nextDue !== undefined && (arrived === distinct || nextDue < (out + 1) * distinct)) {
        pending.pop()
        rank = nextDue % distinct
      } else {
        rank = this.rankAt[arrived] as number
        // Each event left is chosen with the probability that makes the total come out exactly.
        if (duplicatesLeft > 0 && random.below(distinct - arrived) < duplicatesLeft) {
          insertDescending(pending, (out + 1 + random.below(DUPLICATE_WITHIN)) * distinct + rank)
          duplicatesLeft--
        }
        arrived++
      }
      const order = this.orderOf[rank] as number
      const timestamp = this.t0 + rank
      yield { key: keyOf(order), value: events.write(order, this.seqOf[rank] as number, timestamp), timestamp }
    }
  }

  /** The row that every order must end with, by key, in ascending order of keys. */
  model(): Map<string, View> {
    const content = new EventContent(this.root)
    const rows = Array.from({ length: this.keys }, (_, order) => ({
      orderId: keyOf(order),
      version: 0,
      status: '',
      lines: 0,
      units: 0,
      amountMinor: 0,
      updatedAt: 0,
    }))
    for (let rank = 0; rank < this.distinct; rank++) {
      const order = this.orderOf[rank] as number
      const row = rows[order] as (typeof rows)[number]
      row.version = this.seqOf[rank] as number
      content.of(order, row.version)
      const sign = content.kind === 1 ? 1 : content.kind === 2 ? -1 : 0
      if (sign === 0) row.status = KINDS[content.kind] as string
      row.lines += sign
      row.units += sign * content.qty
      row.amountMinor += sign * content.qty * content.price
      row.updatedAt = this.t0 + rank
    }
    return new Map(rows.map((row) => [row.orderId, row]))
  }
}

/** 00:00 UTC of the day of `now` (ms since 1970) less 2 h: young enough for a day's retention by wall clock, and the same all day. */
export function startOfToday(now: number): number {
  return now - (now % 86_400_000) - 7_200_000
}

/** The fields of a row with tabs between them: how a row is shown, and what the model's digest is made of. */
export function viewLine(view: View): string {
  return [view.orderId, view.version, view.status, view.lines, view.units, view.amountMinor, view.updatedAt].join('\t')
}

/** SHA-256 over key, value (each after its length as four bytes) and timestamp (eight bytes) of each record, big-endian, in hex. */
export function streamDigest(records: Iterable<InputRecord>): string {
  const hash = createHash('sha256')
  const chunk = new ByteWriter(1 << 16)
  for (const { key, value, timestamp } of records) {
    chunk.u32(key.length).put(Buffer.from(key)).u32(value.length).put(value)
    chunk.u32(Math.floor(timestamp / 2 ** 32)).u32(timestamp)
    if (chunk.at < 60_000) continue
    hash.update(chunk.view())
    chunk.at = 0
  }
  return hash.update(chunk.view()).digest('hex')
}

/** SHA-256 over the lines of all rows, each with a line feed, in hex. */
export function modelDigest(model: ReadonlyMap<string, View>): string {
  const hash = createHash('sha256')
  for (const view of model.values()) hash.update(`${viewLine(view)}\n`)
  return hash.digest('hex')
}

function keyOf(order: number): string {
  return `o-${String(order).padStart(7, '0')}`
}

function insertDescending(list: number[], value: number): void {
  let at = list.length
  while (at > 0 && (list[at - 1] as number) < value) at--
  list.splice(at, 0, value)
}

function within(option: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new TidemarkError('OPTION_INVALID', `${option} is not a whole number in its range`, {
    detail: `It is ${value}, and must be from ${min} to ${max}.`,
  })
}

// Command line ------------------------------------------------------------------------------------------------------------------

/** `--seed -3` as `--seed=-3`: a number behind a name is its value, and not another flag. */
function joined(args: readonly string[]): string[] {
  const whole: string[] = []
  for (const arg of args) {
    const name = whole.at(-1)
    if (/^-\d/.test(arg) && name !== undefined && /^--[^=]+$/.test(name)) whole[whole.length - 1] = `${name}=${arg}`
    else whole.push(arg)
  }
  return whole
}

function main(): void {
  const { values } = parseArgs({
    args: joined(process.argv.slice(2)),
    options: {
      n: { type: 'string', default: '1000000' },
      k: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
      t0: { type: 'string', default: String(startOfToday(Date.now())) },
      uniform: { type: 'boolean', default: false },
      clean: { type: 'boolean', default: false },
      digest: { type: 'boolean', default: false },
    },
  })
  const number = (option: 'n' | 'k' | 'seed' | 't0'): number => {
    if (/^-?\d[\d_]*$/.test(values[option])) return Number(values[option].replaceAll('_', ''))
    throw new TidemarkError('OPTION_INVALID', `--${option} is not a whole number`, { detail: `It is "${values[option]}".` })
  }
  const { uniform, clean } = values
  const begin = performance.now()
  const workload = new Workload({
    records: number('n'),
    keys: number('k'),
    seed: number('seed'),
    t0: number('t0'),
    uniform,
    clean,
  })
  let bytes = 0
  for (const { value } of workload.records()) bytes += value.length
  const model = workload.model()
  const seconds = (performance.now() - begin) / 1_000
  console.log(`records=${workload.size} distinct=${workload.distinct} keys=${workload.keys} t0=${workload.t0}`)
  console.log(
    `valueBytes=${(bytes / workload.size).toFixed(1)} seconds=${seconds.toFixed(2)} rssMaxMB=${Math.ceil(process.resourceUsage().maxRSS / 1024)}`,
  )
  if (!values.digest) return
  console.log(`stream=${streamDigest(workload.records())}`)
  console.log(`model=${modelDigest(model)}`)
}

if (process.argv[1] !== undefined && pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url) {
  try {
    main()
  } catch (error) {
    console.error(error instanceof TidemarkError ? error.explain() : messageOf(error))
    console.error('usage: workload.ts [--n RECORDS] [--k KEYS] [--seed NUMBER] [--t0 MS] [--uniform] [--clean] [--digest]')
    process.exitCode = 2
  }
}
