/**
 * Operators that are not in the vocabulary yet, written on the kernel as an operator file would be: what does not fit here would be a reason to
 * change the kernel. Semantics are Kafka Streams', but for the defects that one must not copy.
 */
import { Stream, schema } from '#tidemark'
import { ByteReader, ByteWriter, binary } from '../../src/base/bytes.ts'
import { process } from '../../src/operators/process.ts'
import type { RowFormat, Scope } from '../../src/topology/node.ts'

export const Word = schema<{ text: string }>({ type: 'record', name: 'Word', fields: [{ name: 'text', type: 'string' }] })
export const Windowed = schema<{ start: number; end: number; count: number; final: boolean }>({
  type: 'record',
  name: 'Windowed',
  fields: [
    { name: 'start', type: 'long' },
    { name: 'end', type: 'long' },
    { name: 'count', type: 'int' },
    { name: 'final', type: 'boolean' },
  ],
})
export const Joined = schema<{ left: string | null; right: string | null }>({
  type: 'record',
  name: 'Joined',
  fields: [
    { name: 'left', type: ['null', 'string'] },
    { name: 'right', type: ['null', 'string'] },
  ],
})

/** Any JSON, for the rows of these operators. */
const json: RowFormat = {
  write: (value, into) => void into.put(Buffer.from(JSON.stringify(value))),
  read: (bytes) => JSON.parse(bytes.take(bytes.end - bytes.at).toString()) as unknown,
}

/** Times as sub-keys that sort as numbers do. */
export const timeSub = (ms: number): string =>
  binary(
    new ByteWriter(8)
      .u32(Math.floor(ms / 2 ** 32))
      .u32(ms >>> 0)
      .view(),
  )
const timeOf = (sub: string, at = 0): number => {
  const from = new ByteReader(Buffer.from(sub, 'latin1'), at)
  return from.u32() * 2 ** 32 + from.u32()
}

/** Counts in windows of `sizeMs` every `advanceMs`; each update goes out, and once more as final when the window closes. */
export function hoppingCount<K>(
  stream: Stream<K, unknown, never>,
  step: string,
  sizeMs: number,
  advanceMs: number,
  graceMs: number,
): Stream<K, { start: number; end: number; count: number; final: boolean }, never> {
  return stream.process<number, { start: number; end: number; count: number; final: boolean }>(step, {
    rows: json,
    value: Windowed,
    run: (incoming, scope, out, count) => {
      let taken = false
      for (let start = Math.floor(incoming.at / advanceMs) * advanceMs; start > incoming.at - sizeMs; start -= advanceMs) {
        if (start < 0) continue
        const end = start + sizeMs
        // One boundary for both: a window that has closed takes nothing more, and one that takes something has not closed.
        if (end + graceMs <= scope.streamTime) continue
        taken = true
        const sub = timeSub(start)
        const next = ((scope.get(sub) as number | undefined) ?? 0) + 1
        if (next === 1) scope.wakeAt(end + graceMs, sub)
        scope.put(next, sub)
        out.value({ start, end, count: next, final: false })
      }
      if (!taken) count('late')
    },
    wake: ({ sub }, scope, out) => {
      const start = timeOf(sub)
      out.value({ start, end: start + sizeMs, count: scope.get(sub) as number, final: true })
      scope.delete(sub)
    },
  })
}

/** Counts in sessions that end after `gapMs` without a record. A record that joins two sessions makes one of them. */
export function sessionCount<K>(
  stream: Stream<K, unknown, never>,
  step: string,
  gapMs: number,
  graceMs: number,
): Stream<K, { start: number; end: number; count: number; final: boolean }, never> {
  type Session = { start: number; end: number; count: number }
  return stream.process<Session, { start: number; end: number; count: number; final: boolean }>(step, {
    rows: json,
    ranged: true,
    value: Windowed,
    run: (incoming, scope, out) => {
      let merged: Session = { start: incoming.at, end: incoming.at, count: 1 }
      for (const [sub, value] of scope.range()) {
        const session = value as Session
        if (session.end < incoming.at - gapMs || session.start > incoming.at + gapMs) continue
        scope.delete(sub)
        merged = {
          start: Math.min(merged.start, session.start),
          end: Math.max(merged.end, session.end),
          count: merged.count + session.count,
        }
      }
      scope.put(merged, timeSub(merged.end))
      scope.wakeAt(merged.end + gapMs + graceMs + 1, timeSub(merged.end))
      out.value({ ...merged, final: false })
    },
    wake: ({ sub }, scope, out) => {
      const session = scope.get(sub) as Session | undefined
      // The session may have grown since, and closes later then.
      if (session === undefined) return
      scope.delete(sub)
      out.value({ ...session, final: true })
    },
  })
}

/** Joins two tables on their key, outer: a row on either side makes a result, and its deletion another. */
export function tableJoin(
  left: Stream<string, { text: string }, never>,
  right: Stream<string, { text: string }, never>,
  step: string,
): Stream<string, { left: string | null; right: string | null }, never> {
  const SIDES = ['l', 'r'] as const
  return Stream.at(
    process(
      [left.tip, right.tip],
      step,
      {
        rows: Word,
        value: Joined,
        run: (incoming, scope, out) => {
          const side = SIDES[incoming.input] as 'l' | 'r'
          if (incoming.empty) scope.delete(side)
          else scope.put(incoming.value, side)
          const textOf = (each: 'l' | 'r'): string | null => (scope.get(each) as { text: string } | undefined)?.text ?? null
          out.value({ left: textOf('l'), right: textOf('r') })
        },
      },
      [],
    ),
  )
}

export const Order = schema<{ customer: string; item: string }>({
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'customer', type: 'string' },
    { name: 'item', type: 'string' },
  ],
})
/** What an order tells the task of its customer. */
export const Subscription = schema<{ order: string; item: string | null }>({
  type: 'record',
  name: 'Subscription',
  fields: [
    { name: 'order', type: 'string' },
    { name: 'item', type: ['null', 'string'] },
  ],
})

/** First half of a foreign-key join: an order's change goes to the task of its customer, and a farewell to that of its former one. */
export function subscribe(
  orders: Stream<string, { customer: string; item: string }, never>,
  step: string,
): Stream<string, { order: string; item: string | null }, never> {
  return orders.process<{ customer: string }, { order: string; item: string | null }>(step, {
    rows: json,
    value: Subscription,
    rekeys: true,
    run: (incoming, scope, out) => {
      const before = scope.get() as { customer: string } | undefined
      const now = incoming.empty ? undefined : (incoming.value as { customer: string; item: string })
      const order = incoming.key as string
      if (before !== undefined && before.customer !== now?.customer) out.fact(before.customer, { order, item: null })
      if (now === undefined) scope.delete()
      else {
        scope.put({ customer: now.customer })
        out.fact(now.customer, { order, item: now.item })
      }
    },
  })
}

/** Second half: a customer with all its orders under one key. A change of either side tells each order that is concerned. */
export function foreignKeyJoin(
  subscriptions: Stream<string, { order: string; item: string | null }, never>,
  customers: Stream<string, { text: string }, never>,
  step: string,
): Stream<string, { left: string | null; right: string | null }, never> {
  const results = (
    scope: Scope,
    send: (order: string, item: string | null, customer: string | null) => void,
    rows: readonly (readonly [string, unknown])[],
  ): void => {
    const customer = (scope.get() as { text: string } | undefined)?.text ?? null
    for (const [sub, item] of rows) if (sub.startsWith('o/')) send(sub.slice(2), (item as { text: string }).text, customer)
  }
  return Stream.at(
    process(
      [subscriptions.tip, customers.tip],
      step,
      {
        rows: Word,
        ranged: true,
        value: Joined,
        rekeys: true,
        run: (incoming, scope, out) => {
          if (incoming.input === 0) {
            const { order, item } = incoming.value as { order: string; item: string | null }
            if (item === null) scope.delete(`o/${order}`)
            else scope.put({ text: item }, `o/${order}`)
            out.fact(order, { left: item, right: (scope.get() as { text: string } | undefined)?.text ?? null })
            return
          }
          if (incoming.empty) scope.delete()
          else scope.put(incoming.value)
          results(scope, (order, left, right) => out.fact(order, { left, right }), scope.range('o/', 'o0'))
        },
      },
      [],
    ),
  )
}

/** The same, for customers with more orders than are loaded at once: page by page. */
export function announcePaged(
  customers: Stream<string, { text: string }, never>,
  subscriptions: Stream<string, { order: string; item: string | null }, never>,
  step: string,
): Stream<string, { left: string | null; right: string | null }, never> {
  return Stream.at(
    process(
      [subscriptions.tip, customers.tip],
      step,
      {
        rows: Word,
        value: Joined,
        rekeys: true,
        run: (incoming, scope) => {
          if (incoming.input === 0) {
            const { order, item } = incoming.value as { order: string; item: string }
            scope.put({ text: item }, `o/${order}`)
            return
          }
          scope.put(incoming.value)
          scope.page('o/')
        },
        page: (rows, next, scope, out) => {
          for (const [sub, item] of rows)
            out.fact(sub.slice(2), { left: (item as { text: string }).text, right: (scope.get() as { text: string }).text })
          if (next !== undefined) scope.page(next)
        },
      },
      [],
    ),
  )
}

/** Lets the last value of a key out once no more than every `everyMs` of stream time. */
export function suppress(
  stream: Stream<string, { text: string }, never>,
  step: string,
  everyMs: number,
): Stream<string, { text: string }, never> {
  return stream.process<{ text: string }, { text: string }>(step, {
    rows: Word,
    value: Word,
    run: (incoming, scope) => {
      // The first value sets the time, later ones only replace it.
      if (scope.get() === undefined) scope.wakeAt(incoming.at + everyMs)
      scope.put(incoming.value)
    },
    wake: (_timer, scope, out) => {
      out.value(scope.get())
      scope.delete()
    },
  })
}
