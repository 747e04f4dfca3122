/**
 * order: lets a key's facts pass in the order of their sequence, 1, 2, 3. What comes early is held as bytes under its key, so a restart
 * changes nothing and a thousand held facts cost disk, not memory.
 *
 * Not promised: any order between keys. There is no global order in tidemark.
 */
import { TidemarkError } from '../base/errors.ts'
import { oneOf, refuseUnknown, shown } from '../base/options.ts'
import { type Duration, durationMs } from '../base/time.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Count, Fact, Out, RowFormat, Scope } from '../topology/node.ts'
import { sequenceOf } from './dedupe.ts'
import { mayFunction } from './given.ts'
import { hasSpan, readSpans, type Spans, spanCount, withNumber, writeSpans } from './spans.ts'

export interface OrderOptions<V, K> extends StepOptions {
  /** Where the sequence is, for streams whose contract has none. */
  readonly sequence?: (value: V, fact: Fact<K>) => number
  /**
   * What to do about a hole. `hold` bounds the wait, in stream time or in facts held for the key; then the key is parked (it goes on
   * holding, is reported, and releases itself when the missing fact comes), the hole is skipped, or the task halts.
   * Default `{ hold: { records: 1000 }, then: 'park' }`.
   */
  readonly gap?: { readonly hold: Duration | { readonly records: number }; readonly then: 'park' | 'skip' | 'halt' }
}

interface Waiting {
  readonly next: number
  readonly held: Spans
  /** Stream time at which the wait for `next` ends; undefined where the bound is a count, and once it has ended. */
  readonly until: number | undefined
  readonly parked: boolean
}
/** The next number expected, or that and what is held. */
type State = number | Waiting

const MAIN = 0
const HELD = 1
const format: RowFormat = {
  write: (value, into) => {
    if (value instanceof Uint8Array) {
      into.u8(HELD).put(value)
      return
    }
    const state = value as State
    const { next, held, until, parked } = typeof state === 'number' ? { next: state, held: [], until: undefined, parked: false } : state
    into.u8(MAIN).uvarint(next)
    writeSpans(held, next, into)
    if (held.length > 0) into.u8((parked ? 1 : 0) | (until === undefined ? 0 : 2)).varint(until ?? 0)
  },
  read: (bytes) => {
    if (bytes.u8() === HELD) return Buffer.from(bytes.take(bytes.end - bytes.at))
    const next = bytes.uvarint()
    const held = readSpans(next, bytes)
    if (held.length === 0) return next
    const flags = bytes.u8()
    const until = bytes.varint()
    return { next, held, until: (flags & 2) === 0 ? undefined : until, parked: (flags & 1) === 1 }
  },
}

export function order(tip: Tip, step: string, options: OrderOptions<unknown, unknown>, reads: readonly string[] | undefined): Tip {
  mayFunction(options.sequence, `sequence of step "${step}"`, 'Say where it is: sequence: (value) => value.number.')
  const gap = options.gap ?? { hold: { records: 1_000 }, then: 'park' }
  refuseUnknown(gap, ['hold', 'then'], `gap of step "${step}"`)
  oneOf(gap.then, ['park', 'skip', 'halt'], `then, in the gap of step "${step}",`)
  if (typeof gap.hold === 'object') refuseUnknown(gap.hold, ['records'], `hold of step "${step}"`)
  const holdMs = typeof gap.hold === 'object' ? undefined : durationMs(gap.hold, `hold of step "${step}"`)
  // To hold for no time is to hold nothing.
  const holdMax = typeof gap.hold === 'object' ? gap.hold.records : holdMs === 0 ? 0 : undefined
  if (holdMax !== undefined && (!Number.isInteger(holdMax) || holdMax < 0)) {
    throw new TidemarkError('OPTION_INVALID', `step "${step}" holds ${shown(holdMax)} records`, { hint: 'Hold 0 records or more.' })
  }

  /** The wait for `state.next` is over: act as the options say, and write the state. */
  const giveUp = (state: Waiting, scope: Scope, out: Out, count: Count): void => {
    switch (gap.then) {
      case 'halt':
        throw new TidemarkError('TASK_HALTED', `step "${step}" gave up waiting for number ${state.next} of a key`, {
          detail: `${spanCount(state.held)} later facts are held.`,
          hint: 'Find out why the fact is missing; the step says that a gap halts.',
        })
      case 'park':
        if (!state.parked) count('parked')
        scope.put({ ...state, until: undefined, parked: true })
        return
      case 'skip': {
        const first = state.held[0] as number
        count('skipped')
        release({ ...state, next: first, until: undefined }, scope, out, count)
      }
    }
  }

  /** Lets pass what is held in sequence from `state.next` on, and waits for the next hole where one is left. */
  const release = (state: Waiting, scope: Scope, out: Out, count: Count): void => {
    let { next } = state
    let held = state.held
    while (held[0] === next) {
      const last = held[1] as number
      for (; next <= last; next++) {
        const sub = heldSub(next)
        const kept = scope.get(sub) as Buffer | undefined
        // No fact is to blame: a damaged key or index reads as a missing row.
        if (kept === undefined) {
          throw new TidemarkError('STORE_CORRUPT', `step "${step}" does not find a record that it held`, {
            detail: `It is number ${next} of a key, of which the state says that it is held.`,
          })
        }
        out.kept(kept)
        scope.delete(sub)
        count('released')
      }
      held = held.slice(2)
    }
    if (state.parked) count('unparked')
    if (held.length === 0) {
      scope.put(next)
      return
    }
    wait({ next, held, until: undefined, parked: false }, scope, out, count)
  }

  /** Begins to wait for `state.next`, or gives up at once where too much is held already. */
  const wait = (state: Waiting, scope: Scope, out: Out, count: Count): void => {
    if (holdMax !== undefined && spanCount(state.held) > holdMax) {
      giveUp(state, scope, out, count)
      return
    }
    const until = holdMs === undefined ? undefined : scope.streamTime + holdMs
    if (until !== undefined) scope.wakeAt(until)
    scope.put({ ...state, until })
  }

  return tip.draft.add(
    step,
    {
      kind: 'keyed',
      operator: 'order',
      from: [tip.from],
      emits: tip.shape,
      keeps: true,
      wall: false,
      makes: false,
      rekeys: false,
      identity: true,
      reads: options.sequence === undefined ? [] : reads,
      passes: true,
      store: { name: step, rows: format, ranged: false, expires: undefined, marks: true, view: undefined, revision: 1 },
      page: undefined,
      holding: (row) => {
        if (typeof row === 'number') return undefined
        const { next, held, parked } = row as Waiting
        return { facts: spanCount(held), parked: parked ? `waits for number ${next}` : undefined }
      },
      run: (incoming, scope, out, count) => {
        const n = sequenceOf(incoming, options.sequence)
        const state = (scope.get() ?? 1) as State
        const next = typeof state === 'number' ? state : state.next
        if (n === next) {
          out.same()
          if (typeof state === 'number') scope.put(n + 1)
          else {
            if (state.until !== undefined) scope.cancelWake(state.until)
            release({ ...state, next: n + 1 }, scope, out, count)
          }
          return
        }
        const held = typeof state === 'number' ? [] : state.held
        if (n < next) count(n === next - 1 ? 'duplicate' : 'stale')
        else if (hasSpan(held, n)) count('duplicate')
        else {
          count(held.length === 0 ? 'gap' : 'held')
          scope.put(incoming.keep(), heldSub(n))
          const more = withNumber(held, n)
          if (typeof state === 'number') wait({ next, held: more, until: undefined, parked: false }, scope, out, count)
          else if (!state.parked && holdMax !== undefined && spanCount(more) > holdMax) giveUp({ ...state, held: more }, scope, out, count)
          else scope.put({ ...state, held: more })
        }
      },
      wake: ({ at }, scope, out, count) => {
        const state = scope.get() as State | undefined
        // The hole may have been filled, and another one waited for, since this timer was set.
        if (typeof state === 'object' && state.until === at) giveUp(state, scope, out, count)
      },
    },
    options,
    tip.facts,
  )
}

/** `!p` is the sub-space of what is held and parked. */
function heldSub(n: number): string {
  const high = Math.floor(n / 2 ** 32)
  return `!p${String.fromCharCode((high >>> 24) & 255, (high >>> 16) & 255, (high >>> 8) & 255, high & 255, (n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)}`
}
