/**
 * Whether a tormented W1 ended right: every row of its output is the fold of the input at that version, each key's versions only rise, and the
 * last row of every key is the model's. The input is folded here, by hand, from the bytes that were sent; the output is read by Kafka's own client.
 */

import { KINDS } from '../../bench/w1/event.ts'
import { decodeView } from '../../bench/w1/verify.ts'
import { type View, viewLine, type Workload } from '../../bench/w1/workload.ts'
import { ByteReader } from '../../src/base/bytes.ts'
import { readCommitted } from './java.ts'

export interface W1Verdict {
  readonly records: number
  /** Committed rows. */
  readonly rows: number
  /** Keys whose last row is older than the model's, or missing. */
  readonly lost: number
  /** Rows that do not follow the row before: the same version again, or an older one. */
  readonly twice: number
  /** Rows that are not what the fold has at their version. */
  readonly wrong: number
  readonly first: string | undefined
}

interface Event {
  readonly kind: string
  readonly qty: number
  readonly price: number
  readonly at: number
}

/** What one key's rows are checked against, moving from version to version. */
interface Cursor {
  readonly events: (Event | undefined)[]
  row: View
}

/** @param fed how many records of the workload went in */
export async function judgeW1(brokers: readonly string[], topic: string, workload: Workload, fed: number): Promise<W1Verdict> {
  const cursors = foldable(workload, fed)
  let [rows, twice, wrong, lost] = [0, 0, 0, 0]
  let first: string | undefined
  for await (const { partition, offset, key, value } of readCommitted(brokers, topic)) {
    rows += 1
    const name = String(key)
    const where = `${topic}/${partition} at ${offset}, ${name}`
    const cursor = cursors.get(name)
    if (cursor === undefined || value === null) {
      wrong += 1
      first ??= `${where}: ${value === null ? 'a tombstone' : 'a key that never came in'}`
      continue
    }
    const got = decodeView(value)
    if (got.version <= cursor.row.version) {
      twice += 1
      first ??= `${where}: version ${got.version} after ${cursor.row.version}`
      continue
    }
    advance(cursor, got.version)
    if (viewLine(got) === viewLine(cursor.row)) continue
    wrong += 1
    first ??= `${where}: ${viewLine(got)}, and the fold has ${viewLine(cursor.row)}`
  }
  for (const [key, { events, row }] of cursors) {
    // What came before its predecessor waits for it, and may wait for ever when the input ends there.
    const hole = Array.from(events).indexOf(undefined)
    const last = hole < 0 ? events.length : hole
    if (row.version === last) continue
    lost += 1
    first ??= `${key}: the last row is of version ${row.version}, and there are ${last}`
  }
  return { records: fed, rows, lost, twice, wrong, first }
}

function foldable(workload: Workload, fed: number): Map<string, Cursor> {
  const cursors = new Map<string, Cursor>()
  let taken = 0
  const from = new ByteReader()
  const text = (): string => from.take(from.varint()).toString('utf8')
  for (const { key, value } of workload.records()) {
    if (taken++ === fed) break
    from.reset(value)
    from.take(5)
    text()
    text()
    const seq = from.varint()
    const kind = KINDS[from.varint()] ?? ''
    text()
    const [qty, price] = [from.varint(), from.varint()]
    text()
    const event = { kind, qty, price, at: from.varint() }
    if (from.bad) throw new Error('an event of the workload cannot be read')
    let cursor = cursors.get(key)
    if (cursor === undefined) {
      const row = { orderId: key, version: 0, status: '', lines: 0, units: 0, amountMinor: 0, updatedAt: 0 }
      cursor = { events: [], row }
      cursors.set(key, cursor)
    }
    // One that comes twice says the same.
    cursor.events[seq - 1] = event
  }
  return cursors
}

function advance(cursor: Cursor, version: number): void {
  for (let next = cursor.row.version; next < version; next++) {
    const event = cursor.events[next]
    if (event === undefined) return
    const { kind, qty, price, at } = event
    const sign = kind === 'LINE_ADDED' ? 1 : kind === 'LINE_REMOVED' ? -1 : 0
    const { row } = cursor
    cursor.row = {
      orderId: row.orderId,
      version: next + 1,
      status: sign === 0 ? kind : row.status,
      lines: row.lines + sign,
      units: row.units + sign * qty,
      amountMinor: row.amountMinor + sign * qty * price,
      updatedAt: Math.max(row.updatedAt, at),
    }
  }
}
