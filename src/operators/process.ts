/**
 * process: the kernel's stateful node, as it is. For what the vocabulary lacks; everything the other operators rest on holds here too:
 * what it writes and sends takes effect only when it returns, its rows are committed with its position, its stream time survives restarts.
 */
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needFunction, refuse, refuseUnknown, shown } from '../base/options.ts'
import { checkedSchema, isSchema, type Schema } from '../contract/schema.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Count, Incoming, Out, RowFormat, Scope } from '../topology/node.ts'
import { checkedRevision, mayFunction, needOptions, readsOf } from './given.ts'
import { plainValue, shapeOf } from './shapes.ts'

export interface ProcessTerms<Row = unknown, Value = unknown> extends StepOptions {
  /** How its rows are written. */
  readonly rows: Schema<Row> | RowFormat
  /** Load all rows under a key before its records, so that `scope.range` answers at once. Default false. */
  readonly ranged?: boolean
  /** Keep rows in time buckets that die so long after their end. Sub-keys then start with the four bytes of a bucket. */
  readonly expires?: { readonly keepMs: number }
  /** Whether it sends on its input's values as they are (`out.same`, `out.kept`). Default false. */
  readonly passes?: boolean
  /** How the values that it makes are written; undefined where they stay in memory. */
  readonly value?: Schema<Value>
  /** Whether it keeps whole records (`incoming.keep()`). Default false. */
  readonly keeps?: boolean
  /** Whether it asks to be woken by wall time. Default false. */
  readonly wall?: boolean
  /** Whether it sends facts under other keys than the one at hand (`out.fact`). State behind it then needs an inbox. Default false. */
  readonly rekeys?: boolean
  /** The only fields of `incoming.value` that it reads: the others are then not decoded, and not there. Default: all. */
  readonly reads?: readonly string[]
  /** Raise it when the meaning of the rows changes. Default 1. */
  readonly revision?: number
  readonly run: (incoming: Incoming, scope: Scope, out: Out, count: Count) => void
  readonly wake?: (timer: { readonly at: number; readonly sub: string }, scope: Scope, out: Out, count: Count) => void
  readonly page?: (
    rows: readonly (readonly [sub: string, value: unknown])[],
    next: string | undefined,
    scope: Scope,
    out: Out,
    count: Count,
  ) => void
}

export function process(tips: readonly Tip[], step: string, terms: ProcessTerms, facts: readonly string[]): Tip {
  const [first] = tips
  if (first === undefined) throw new TypeError('process() needs a stream')
  needOptions(terms, `step "${step}"`)
  const { rows, value, wake, page } = terms
  if (!isSchema(rows) && !(isRecord(rows) && typeof rows.write === 'function' && typeof rows.read === 'function'))
    refuse(rows, `rows of step "${step}"`, 'a schema', 'Say how rows are written: what schema() made, or { write, read }.')
  if (value !== undefined) checkedSchema(value, `value of step "${step}"`)
  needFunction(terms.run, `run of step "${step}"`, 'Write run: (incoming, scope, out) => { ... }.')
  mayFunction(wake, `wake of step "${step}"`, 'Write wake: (timer, scope, out) => { ... }.')
  mayFunction(page, `page of step "${step}"`, 'Write page: (rows, next, scope, out) => { ... }.')
  if (terms.expires !== undefined) refuseUnknown(terms.expires, ['keepMs'], `expires of step "${step}"`)
  if (terms.expires !== undefined && terms.ranged === true) {
    throw new TidemarkError('OPTION_INVALID', `step "${step}" wants ranges of rows that expire`, {
      hint: 'Rows in time buckets do not lie together by key. Choose one of the two.',
    })
  }
  if (terms.expires !== undefined && !(terms.expires.keepMs > 0)) {
    throw new TidemarkError('OPTION_INVALID', `step "${step}" keeps rows for ${shown(terms.expires.keepMs)} ms`, {
      hint: 'Keep them longer than 0 ms, or leave out expires.',
    })
  }
  return first.draft.add(
    step,
    {
      kind: 'keyed',
      operator: 'process',
      from: tips.map((tip) => tip.from),
      emits:
        terms.passes === true
          ? first.shape
          : shapeOf(first.shape.key, terms.value === undefined ? undefined : plainValue(terms.value), undefined, first.shape.deletes),
      keeps: terms.keeps ?? false,
      wall: terms.wall ?? false,
      makes: true,
      rekeys: terms.rekeys ?? false,
      identity: false,
      reads: readsOf(step, terms),
      passes: terms.passes ?? false,
      store: {
        name: step,
        rows: terms.rows,
        ranged: terms.ranged ?? false,
        expires: terms.expires,
        marks: false,
        view: undefined,
        revision: checkedRevision(terms.revision, `step "${step}"`),
        code: [terms.run, terms.wake, terms.page].map(String).join('\n'),
      },
      run: terms.run,
      wake: terms.wake,
      page: terms.page,
      holding: undefined,
    },
    terms,
    facts,
  )
}
