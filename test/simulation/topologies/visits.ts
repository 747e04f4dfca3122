/**
 * Everything that hangs on stream time: ids that are forgotten after a while, a hole that is waited for and then skipped, windows that close
 * and say so once. The model keeps the clock of each step, as the steps must.
 */
import type { Stream } from '#tidemark'
import { context, contract, schema, text, topology } from '#tidemark'
import { type Expected, fed, type Recorded } from '../../../src/testing/simulate.ts'
import { timeSub, Windowed } from '../../kernel/operators.ts'
import { BEGIN_MS, below, type Case, factId, sequenceOf } from './case.ts'

const KEEP_MS = 4_000
const HOLD_MS = 3_000
const SIZE_MS = 4_000
const ADVANCE_MS = 2_000
const GRACE_MS = 1_000

const web = context('web', { owner: 'web-team' })
const Seen = schema<{ page: string }>({ type: 'record', name: 'Seen', namespace: 'web', fields: [{ name: 'page', type: 'string' }] })
const Visits = schema<{ count: number; last: string }>({
  type: 'record',
  name: 'Visits',
  namespace: 'web',
  fields: [
    { name: 'count', type: 'int' },
    { name: 'last', type: 'string' },
  ],
})

const seen = contract('seen', {
  owner: web,
  version: 1,
  topic: 'web.seen.v1',
  partitions: 2,
  key: text,
  sequence: 'per key',
  meaning: 'which page a visitor has seen',
  events: { Seen },
})

interface Window {
  readonly start: number
  readonly end: number
  readonly count: number
  readonly final: boolean
}

/** Counts in windows; each count goes out, and once more as final when stream time has closed the window. */
function counted<Facts extends string>(stream: Stream<string, { readonly type: 'Seen' }, Facts>): Stream<string, Window, Facts> {
  return stream.process<{ start: number; count: number }, Window>('seen-per-window', {
    rows: {
      write: (value, into) => void into.put(Buffer.from(JSON.stringify(value))),
      read: (bytes) => JSON.parse(bytes.take(bytes.end - bytes.at).toString()) as unknown,
    },
    value: Windowed,
    run: (incoming, scope, out, count) => {
      let taken = false
      for (let start = Math.floor(incoming.at / ADVANCE_MS) * ADVANCE_MS; start > incoming.at - SIZE_MS; start -= ADVANCE_MS) {
        const end = start + SIZE_MS
        if (end + GRACE_MS <= scope.streamTime) continue
        taken = true
        const sub = timeSub(start)
        const row = (scope.get(sub) as { start: number; count: number } | undefined) ?? { start, count: 0 }
        if (row.count === 0) scope.wakeAt(end + GRACE_MS, sub)
        scope.put({ start, count: row.count + 1 }, sub)
        out.value({ start, end, count: row.count + 1, final: false })
      }
      if (!taken) count('late')
    },
    wake: ({ sub }, scope, out) => {
      const { start, count } = scope.get(sub) as { start: number; count: number }
      out.value({ start, end: start + SIZE_MS, count, final: true })
      scope.delete(sub)
    },
  })
}

const visits = topology('visits', (flow) => {
  const ordered = flow
    .source(seen)
    .dedupe('seen-once', { by: 'id', keep: KEEP_MS })
    .order('seen-in-sequence', { gap: { hold: HOLD_MS, then: 'skip' } })
  counted(ordered).to('windows', 'web.windows.v1')
  return [
    ordered.project('visits', {
      row: Visits,
      owner: web,
      identity: 'seen-in-sequence',
      windows: { seen: { target: '5s', max: '1m' } },
      fold: { Seen: (row, { page }) => ({ count: (row?.count ?? 0) + 1, last: page }) },
    }),
  ]
})

const bytewise = (a: string, b: string): number => Buffer.from(a).compare(Buffer.from(b))

/** Each id once, as long as it is remembered: in buckets of half the time to keep, the present one and those that have not died. */
class Once {
  private now = Number.NEGATIVE_INFINITY
  private readonly marks = new Map<string, number>()

  passes({ key = '', at, headers }: Recorded): boolean {
    this.now = Math.max(this.now, at)
    const bucketOf = (time: number): number => Math.floor(time / (KEEP_MS / 2))
    const mark = `${key} ${headers.ce_id ?? ''}`
    const marked = this.marks.get(mark)
    if (marked !== undefined && marked >= bucketOf(this.now - KEEP_MS)) return false
    this.marks.set(mark, bucketOf(this.now))
    return true
  }
}

/** In sequence a key; a hole is waited for from when it shows, and skipped when time has passed. */
class InSequence {
  private now = Number.NEGATIVE_INFINITY
  private readonly keys = new Map<string, { next: number; held: Map<number, Recorded>; until: number }>()

  take(record: Recorded): Recorded[] {
    const passed = this.advance(record.at)
    const { key = '' } = record
    const n = sequenceOf(record) as number
    const state = this.keys.get(key) ?? { next: 1, held: new Map<number, Recorded>(), until: Number.POSITIVE_INFINITY }
    this.keys.set(key, state)
    if (n < state.next || state.held.has(n)) return passed
    if (n > state.next) {
      if (state.held.size === 0) state.until = this.now + HOLD_MS
      state.held.set(n, record)
      return passed
    }
    state.next += 1
    passed.push(record, ...this.release(state))
    return passed
  }

  private advance(at: number): Recorded[] {
    if (at <= this.now) return []
    this.now = at
    const due = [...this.keys].filter(([, { until }]) => until <= at).sort(([a, x], [b, y]) => x.until - y.until || bytewise(a, b))
    return due.flatMap(([, state]) => {
      state.next = Math.min(...state.held.keys())
      return this.release(state)
    })
  }

  private release(state: { next: number; held: Map<number, Recorded>; until: number }): Recorded[] {
    const released: Recorded[] = []
    for (let due = state.held.get(state.next); due !== undefined; due = state.held.get(state.next)) {
      state.held.delete(state.next)
      state.next += 1
      released.push(due)
    }
    state.until = state.held.size === 0 ? Number.POSITIVE_INFINITY : this.now + HOLD_MS
    return released
  }
}

class Windows {
  private now = Number.NEGATIVE_INFINITY
  private readonly open: { readonly key: string; readonly start: number; count: number }[] = []

  take({ key = '', at }: Recorded): Expected[] {
    const said = this.advance(at)
    for (let start = Math.floor(at / ADVANCE_MS) * ADVANCE_MS; start > at - SIZE_MS; start -= ADVANCE_MS) {
      if (start + SIZE_MS + GRACE_MS <= this.now) continue
      let window = this.open.find((each) => each.key === key && each.start === start)
      if (window === undefined) {
        window = { key, start, count: 0 }
        this.open.push(window)
      }
      window.count += 1
      said.push({ lane: key, text: `${start} ${window.count}` })
    }
    return said
  }

  private advance(at: number): Expected[] {
    if (at <= this.now) return []
    this.now = at
    const due = this.open
      .filter(({ start }) => start + SIZE_MS + GRACE_MS <= at)
      .sort((a, b) => a.start - b.start || bytewise(a.key, b.key))
    for (const window of due) this.open.splice(this.open.indexOf(window), 1)
    return due.map(({ key, start, count }) => ({ lane: key, text: `${start} ${count} final` }))
  }
}

function passed(records: readonly Recorded[]): Recorded[] {
  const once = new Once()
  const order = new InSequence()
  return records.flatMap((record) => (once.passes(record) ? order.take(record) : []))
}

export const visitsCase: Case = {
  name: 'visits',
  about: 'ids with a short memory, holes that are skipped after a while, windows with timers',
  topology: visits,
  feed: (random) => {
    const numbers = new Map<string, number>()
    let at = BEGIN_MS
    return Array.from({ length: 30 + below(random, 40) }, (_, i) => {
      // Mostly a steady stream, sometimes a silence that closes everything, sometimes a fact that is older than those before it.
      at += random.unit() < 0.08 ? 9_000 : below(random, 700)
      const key = `v-${below(random, 4)}`
      const sequence = (numbers.get(key) ?? 0) + (random.unit() < 0.08 ? 2 : 1)
      numbers.set(key, sequence)
      return fed(seen, seen.make.Seen(key, { page: `p-${i}` }), {
        at: at - (random.unit() < 0.15 ? below(random, 6_000) : 0),
        id: factId('seen', key, sequence),
        sequence,
      })
    })
  },
  oracle: {
    rows: {
      visits: (records) => {
        const rows = new Map<string, { count: number; last: string }>()
        for (const { key = '', value } of passed(records))
          rows.set(key, { count: (rows.get(key)?.count ?? 0) + 1, last: (value as { page: string }).page })
        return rows
      },
    },
    outputs: [
      {
        from: seen.topic,
        to: 'web.windows.v1',
        read: ({ key = '', value }) => {
          const { start, count, final } = value as Window
          return { lane: key, text: `${start} ${count}${final ? ' final' : ''}` }
        },
        fold: (records) => {
          const windows = new Windows()
          return passed(records).flatMap((record) => windows.take(record))
        },
      },
    ],
    account: (count) => {
      const entered = count('records_in', 'seen') - count('dead', 'seen') - count('duplicate', 'seen-once')
      const waits = count('gap', 'seen-in-sequence') + count('held', 'seen-in-sequence') - count('released', 'seen-in-sequence')
      const dropped = count('duplicate', 'seen-in-sequence') + count('stale', 'seen-in-sequence')
      const applied = count('applied', 'visits')
      return entered === applied + waits + dropped
        ? undefined
        : `${entered} facts entered, ${applied} were applied, ${waits} wait, ${dropped} were dropped`
    },
  },
}
