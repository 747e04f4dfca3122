/**
 * Whether a run of workload W1 ended with the right rows: the last row of every key against the workload's own model.
 *
 * Promises: `ok` only when every key has exactly the row that it must have, no other key has one, no key lies in two partitions and
 * every row could be read. It reads no log: whoever calls it hands over the committed rows of the output in the order of each partition.
 * A figure of a run that is not `ok` is void.
 */
import { asBuffer, ByteReader } from '../../src/base/bytes.ts'
import { messageOf, TidemarkError } from '../../src/base/errors.ts'
import { type View, viewLine } from './workload.ts'

/** The id of `OrderView.avsc` in the wire format: a zero byte, the id as four bytes, Avro. */
export const VIEW_SCHEMA_ID = 2
/** Keys from here on belong to probes and are left out. */
const PROBES = 'o-9000000'
const DIFFERENCES_SHOWN = 10

export interface OutputRow {
  readonly partition: number
  readonly key: string
  /** Null for a tombstone, which no order of the workload ends with. */
  readonly value: Uint8Array | null
}

export interface Verdict {
  readonly ok: boolean
  /** Keys of the model. */
  readonly keys: number
  /** Keys whose last row is another than the model's. */
  readonly mismatched: number
  /** Keys without a row. */
  readonly missing: number
  /** Keys with a row that the model does not have. */
  readonly extra: number
  readonly keysInTwoPartitions: number
  /** Rows that are no `OrderView` in the wire format. */
  readonly unreadable: number
  /** Rows taken, but for probes. */
  readonly rows: number
  /** Rows whose version is not above that of their key's row before: allowed, and worth knowing. */
  readonly rowsNotNewer: number
  /** The first ten differences, one a line or two. */
  readonly differences: readonly string[]
}

/**
 * Takes rows one by one, so that the output need not fit in memory.
 * @example
 * const verifier = new Verifier(workload.model())
 * for (const row of rows) verifier.take(row)
 * console.log(verdictText(verifier.verdict()))
 */
export class Verifier {
  private readonly model: ReadonlyMap<string, View>
  private readonly last = new Map<string, View>()
  private readonly partitionOf = new Map<string, number>()
  private readonly strays = new Set<string>()
  private readonly unreadable: string[] = []
  private rows = 0
  private unreadableRows = 0
  private rowsNotNewer = 0

  constructor(model: ReadonlyMap<string, View>) {
    this.model = model
  }

  take({ partition, key, value }: OutputRow): void {
    if (key >= PROBES) return
    this.rows++
    if ((this.partitionOf.get(key) ?? partition) !== partition) this.strays.add(key)
    this.partitionOf.set(key, partition)
    if (value === null) {
      this.last.delete(key)
      return
    }
    try {
      const view = decodeView(value)
      if (view.version <= (this.last.get(key)?.version ?? Number.NEGATIVE_INFINITY)) this.rowsNotNewer++
      this.last.set(key, view)
    } catch (error) {
      this.unreadableRows++
      if (this.unreadable.length < DIFFERENCES_SHOWN) this.unreadable.push(`a row of ${key} is unreadable: ${messageOf(error)}`)
    }
  }

  /** What the rows taken so far amount to. */
  verdict(): Verdict {
    const differences = [...this.unreadable]
    let mismatched = 0
    let missing = 0
    let found = 0
    for (const want of this.model.values()) {
      const got = this.last.get(want.orderId)
      if (got !== undefined) found++
      if (got !== undefined && viewLine(got) === viewLine(want)) continue
      if (got === undefined) missing++
      else mismatched++
      if (differences.length < DIFFERENCES_SHOWN)
        differences.push(`want ${viewLine(want)}\n got ${got === undefined ? 'nothing' : viewLine(got)}`)
    }
    const extra = this.last.size - found
    for (const key of this.strays) if (differences.length < DIFFERENCES_SHOWN) differences.push(`${key} lies in more than one partition`)
    if (extra > 0) {
      for (const key of this.last.keys()) {
        if (differences.length >= DIFFERENCES_SHOWN) break
        if (!this.model.has(key)) differences.push(`${key} is no key of the workload`)
      }
    }
    return {
      ok: mismatched + missing + extra + this.strays.size + this.unreadableRows === 0,
      keys: this.model.size,
      mismatched,
      missing,
      extra,
      keysInTwoPartitions: this.strays.size,
      unreadable: this.unreadableRows,
      rows: this.rows,
      rowsNotNewer: this.rowsNotNewer,
      differences,
    }
  }
}

/** The differences, if any, and then one line: `OK keys=... mismatched=0 missing=0 ...`, or the same behind `FAILED`. */
export function verdictText(verdict: Verdict): string {
  const { ok, differences, ...counts } = verdict
  const figures = Object.entries(counts).map(([name, count]) => `${name}=${count}`)
  return [...differences, `${ok ? 'OK' : 'FAILED'} ${figures.join(' ')}`].join('\n')
}

const reader = new ByteReader()

/**
 * An `OrderView` from the wire format, by hand: a check that used the codec under test would prove less.
 * @throws TidemarkError FRAMING_INVALID when the first five bytes are not those of an `OrderView`, VALUE_INVALID when the rest is none
 */
export function decodeView(bytes: Uint8Array): View {
  reader.reset(asBuffer(bytes))
  const magic = reader.u8()
  const id = reader.u32()
  if (reader.bad || magic !== 0 || id !== VIEW_SCHEMA_ID) {
    throw new TidemarkError('FRAMING_INVALID', 'it does not start like an OrderView in the wire format', {
      detail: `Its first bytes are ${asBuffer(bytes).subarray(0, 5).toString('hex')}.`,
    })
  }
  const view = {
    orderId: text(),
    version: reader.varint(),
    status: text(),
    lines: reader.varint(),
    units: reader.varint(),
    amountMinor: reader.varint(),
    updatedAt: reader.varint(),
  }
  if (!reader.bad && reader.at === reader.end) return view
  throw new TidemarkError('VALUE_INVALID', reader.bad ? 'its bytes are no OrderView' : 'bytes follow after the OrderView', {
    detail: `It has ${bytes.length} bytes.`,
  })
}

/** Avro's texts have a signed length. */
function text(): string {
  return reader.take(reader.varint()).toString('utf8')
}
