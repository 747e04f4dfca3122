/**
 * The fluent face: `topology('retail', (flow) => ...)`. Each method is one operator of its own file; this file only gives them types, and
 * the types carry what must not be forgotten: the events that need a case, the facts that need a window, the names of views and decisions.
 */
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needFunction, needText, oneOf, refuse, refuseUnknown } from '../base/options.ts'
import type { Duration } from '../base/time.ts'
import { type AnyContract, type Context, type Contract, checkedContract, checkedTopic, type Translated } from '../contract/contract.ts'
import { checkedKey, type Key } from '../contract/key.ts'
import { checkedSchema, type Schema } from '../contract/schema.ts'
import type { Decision, Window } from '../contract/window.ts'
import { Draft, type StepOptions, type Tip } from '../topology/builder.ts'
import type { Fact, Graph, OnError } from '../topology/node.ts'
import { validate } from '../topology/validate.ts'
import { type DedupeOptions, dedupe } from './dedupe.ts'
import { needOptions, readsOf, tipOf } from './given.ts'
import { type OrderOptions, order } from './order.ts'
import { type ProcessTerms, process } from './process.ts'
import { type ProjectTerms, project } from './project.ts'
import { eventValues, jointShape, plainValue, sameShape, shapeOf } from './shapes.ts'
import { branch, conform, factsOf, filter, flatMap, keyBy, map, merge, shapesDiffer } from './stateless.ts'
import { type Ignored, type Rejection, type TranslateTerms, translate } from './translate.ts'

/**
 * What a function sees of a value when its step says which fields it `reads`: those, and of an event its `type`. With `reads: []` it sees nothing,
 * and the value is not decoded at all.
 */
export type Reading<V, R extends string> = [R] extends [never]
  ? undefined
  : string extends R
    ? V
    : V extends unknown
      ? Pick<V, Extract<keyof V, R | 'type'>>
      : never
/** The same for a function that is chosen by the event's `type`, and so is never without that. */
type ReadingEvent<V, R extends string> = string extends R ? V : V extends unknown ? Pick<V, Extract<keyof V, R | 'type'>> : never
interface Reads<R extends string> {
  /** The only fields of the value that the functions of this step read: the others are then not decoded. */
  readonly reads?: readonly R[]
}
type FieldOf<V> = V extends unknown ? Extract<keyof V, string> : never

type Outcome<K, V> = Translated<K, V> | Rejection | Ignored | readonly (Translated<K, V> | Ignored)[]
export type Cases<V extends { readonly type: string }, K, Out, R extends string = string> = {
  readonly [T in V['type']]: ((event: ReadingEvent<Extract<V, { readonly type: T }>, R>, fact: Fact<K>) => Out) | 'ignore'
}
export type Fold<V, K, Row> =
  | ((row: Row | undefined, value: V, fact: Fact<K>) => Row | undefined)
  | ([V] extends [{ readonly type: string }]
      ? { readonly [T in V['type']]: (row: Row | undefined, event: Extract<V, { readonly type: T }>, fact: Fact<K>) => Row | undefined }
      : never)

interface Terms<K, V, Row, D extends string> extends StepOptions {
  /** The schema of a row. */
  readonly row: Schema<Row>
  /** One function, or one case an event type; `undefined` deletes the row. Pure: it returns another row and leaves its arguments alone. */
  readonly fold: Fold<V, K, Row>
  /** What a deletion does, where facts come from a topic that is kept by key. Default: it deletes the row. */
  readonly deleted?: (row: Row | undefined, fact: Fact<K>) => Row | undefined
  /** The context that owns the projection; facts of another context must be translated, or conformed to, before. */
  readonly owner?: Context
  readonly decisions?: { readonly [N in D]: Decision }
  /** A compacted state topic to which each row is published, the last one of a commit where there are several. */
  readonly publish?: string
  /** Raise it when the fold changes its meaning; the plan lock then says that the projection must be rebuilt. Default 1. */
  readonly revision?: number
}
declare const why: unique symbol
/** Nothing is one: where a program gives something all the same, the compiler's message shows the reason. */
interface Refused<Reason extends string> {
  readonly [why]: Reason
}
type Safety<V, K> =
  | {
      /** For folds that replace: a fact's version, from 1; and a deletion's, where there are deletions. */
      readonly gate: { readonly version: (value: V, fact: Fact<K>) => number; readonly deleted?: (fact: Fact<K>) => number | undefined }
      readonly identity?: Refused<'versions make this fold safe, so it names no identity'>
    }
  | {
      /** For folds that accumulate: the dedupe or order steps that let each fact pass once. */ readonly identity:
        | string
        | readonly string[]
      readonly gate?: Refused<'its identity makes this fold safe, so it has no gate'>
    }
type Windows<Facts extends string> = [Facts] extends [never]
  ? { readonly windows?: never }
  : { /** How long the projection may lag each fact that it descends from. */ readonly windows: { readonly [F in Facts]: Window } }

/** A projection as a type: what views of it read. */
export interface Projection<Name extends string, K, Row, D extends string> {
  readonly name: Name
  readonly _?: readonly [K, Row, D]
}

/** Facts on their way. `Facts` is the set of contracts that they descend from: a projection needs a window for each. */
export class Stream<K, V, Facts extends string> {
  readonly #tip: Tip
  declare readonly _value: readonly [K, V, Facts]

  private constructor(tip: Tip) {
    this.#tip = tip
  }

  /** Wraps a place in a graph that is being built: for operators of your own. */
  static at<K, V, Facts extends string>(tip: Tip): Stream<K, V, Facts> {
    return new Stream(tip)
  }
  /** The place in the graph, for operators of your own. */
  get tip(): Tip {
    return this.#tip
  }

  /** Drops what has been seen before: `operators/dedupe.ts`. */
  dedupe<R extends FieldOf<V> | (string & {}) = string>(
    step: string,
    options: DedupeOptions<Reading<V, R>, K> & Reads<R> = {},
  ): Stream<K, V, Facts> {
    return new Stream(dedupe(this.#tip, step, options as DedupeOptions<unknown, unknown>, readsOf(step, options)))
  }
  /** Lets the facts of a key pass in sequence: `operators/order.ts`. */
  order<R extends string = string>(step: string, options: OrderOptions<Reading<V, R>, K> & Reads<R> = {}): Stream<K, V, Facts> {
    return new Stream(order(this.#tip, step, options as OrderOptions<unknown, unknown>, readsOf(step, options)))
  }
  /** Turns foreign facts into facts of another contract: `operators/translate.ts`. */
  translate<Name extends string, K2, V2 extends { readonly type: string }, R extends FieldOf<V> | (string & {}) = string>(
    step: string,
    to: Contract<Name, K2, V2>,
    cases: [V] extends [{ readonly type: string }] ? Cases<V, K, NoInfer<Outcome<K2, V2>>, R> : never,
    options: StepOptions &
      Reads<R> & {
        /** What a deletion becomes, where facts come from a topic that is kept by key. */
        readonly deleted?: ((fact: Fact<K>) => NoInfer<Outcome<K2, V2>>) | 'ignore'
      } = {},
  ): Stream<K2, V2, Facts> {
    const terms = options as TranslateTerms
    return new Stream(translate(this.#tip, step, to as unknown as AnyContract, cases as never, terms, readsOf(step, options)))
  }
  /** Takes over another context's language, with a reason. */
  conform(step: string, to: Context, about: { readonly why: string }): Stream<K, V, Facts> {
    refuseUnknown(about, ['why'], `step "${step}"`)
    return new Stream(conform(this.#tip, step, to, about.why))
  }
  filter<R extends string = string>(
    step: string,
    keep: (value: Reading<V, R>, fact: Fact<K>) => boolean,
    options: StepOptions & Reads<R> = {},
  ): Stream<K, V, Facts> {
    return new Stream(filter(this.#tip, step, keep as never, options, readsOf(step, options)))
  }
  /** With `value`, the schema of what it makes: needed where the result is stored, ordered or sent. */
  map<V2, R extends string = string>(
    step: string,
    to: (value: Reading<V, R>, fact: Fact<K>) => V2,
    options: StepOptions & Reads<R> & { readonly value?: Schema<V2> } = {},
  ): Stream<K, V2, Facts> {
    return new Stream(map(this.#tip, step, to as never, options, readsOf(step, options)))
  }
  /** None, one or several values for each; every one has an identity of its own, derived from the fact's. */
  flatMap<V2, R extends string = string>(
    step: string,
    to: (value: Reading<V, R>, fact: Fact<K>) => readonly V2[],
    options: StepOptions & Reads<R> & { readonly value?: Schema<V2> } = {},
  ): Stream<K, V2, Facts> {
    return new Stream(flatMap(this.#tip, step, to as never, options, readsOf(step, options)))
  }
  /** Another key. State by that key needs an inbox in between. */
  keyBy<K2, R extends string = string>(
    step: string,
    key: Key<K2>,
    to: (value: Reading<V, R>, fact: Fact<K>) => K2,
    options: StepOptions & Reads<R> = {},
  ): Stream<K2, V, Facts> {
    return new Stream(keyBy(this.#tip, step, key, to as never, options, readsOf(step, options)))
  }
  /** One stream a question; a record goes to the first that says yes. */
  branch<const Names extends string, R extends string = string>(
    step: string,
    branches: { readonly [N in Names]: (value: Reading<V, R>, fact: Fact<K>) => boolean },
    options: StepOptions & Reads<R> = {},
  ): { readonly [N in Names]: Stream<K, V, Facts> } {
    const tips = branch(this.#tip, step, branches as never, options, readsOf(step, options))
    return Object.fromEntries(Object.entries(tips).map(([name, tip]) => [name, new Stream(tip)])) as never
  }
  /** Both streams as one, in no promised order. In front of a projection use an inbox instead. */
  merge<F2 extends string>(step: string, other: Stream<K, V, F2>): Stream<K, V, Facts | F2> {
    return new Stream(merge([this.#tip, tipOf(other, `what step "${step}" merges`)], step))
  }
  /** The stateful kernel node as it is: `operators/process.ts`. */
  process<Row, V2 = V>(step: string, terms: ProcessTerms<Row, V2> & { readonly reads?: readonly FieldOf<V>[] }): Stream<K, V2, Facts> {
    return new Stream(process([this.#tip], step, terms, this.#tip.facts))
  }
  /** Folds facts into a queryable view: `operators/project.ts`. */
  project<const Name extends string, Row, const D extends string = never, R extends string = string>(
    step: Name,
    terms: Terms<K, Reading<V, R>, Row, D> & Reads<R> & Safety<Reading<V, R>, K> & Windows<Facts>,
  ): Projection<Name, K, Row, D> {
    project(this.#tip, step, terms as unknown as ProjectTerms, readsOf(step, terms))
    return Object.freeze({ name: step })
  }
  /** Writes every fact to a topic, in order. */
  to(step: string, topic: string, options: SinkOptions = {}): void {
    const { draft, from, shape, facts } = this.#tip
    needOptions(options, `step "${step}"`)
    const { partitions, cleanup = 'delete' } = options
    oneOf(cleanup, CLEANUPS, `cleanup of step "${step}"`)
    draft.add(
      step,
      { kind: 'sink', operator: 'to', from: [from], emits: shape, topic: checkedTopic(topic), partitions, cleanup, reads: [] },
      options,
      facts,
    )
  }
}

const CLEANUPS = ['compact', 'delete'] as const
const WHY_TWICE = 'Say why a fact that comes twice does no harm.'

export interface SinkOptions extends StepOptions {
  /** Partitions of the topic where tidemark makes it. Default: those of what is written. */
  readonly partitions?: number
  /** Whether the topic keeps every record (`delete`), or the last of each key (`compact`). Default `delete`. */
  readonly cleanup?: 'compact' | 'delete'
}

export interface SourceOptions extends StepOptions {
  /** The step's name. Default: the contract's. */
  readonly step?: string
  /** Why redelivered facts do no harm, although no step drops them; `tidemark plan` prints it. Without it, `check` wants a dedupe, an order or a gate behind every source. */
  readonly noDedupe?: string
}

export interface PlainStreamOptions extends StepOptions {
  /** Partitions of the topic where tidemark makes it. Default 4. */
  readonly partitions?: number
  /** The step's name. Default: the topic's, in lower case and with dashes. */
  readonly step?: string
  readonly cleanup?: 'compact' | 'delete'
}

/** Where streams begin. */
export class Flow {
  readonly #draft: Draft
  constructor(draft: Draft) {
    this.#draft = draft
  }

  /** The facts of a contract, from the first record kept in its topic on. */
  source<Name extends string, K, V>(contract: Contract<Name, K, V>, options: SourceOptions = {}): Stream<K, V, Name> {
    const language = checkedContract(contract, 'what flow.source() reads') as unknown as AnyContract
    needOptions(options, `source "${contract.name}"`)
    if (options.noDedupe !== undefined) needText(options.noDedupe, `noDedupe of source "${contract.name}"`, WHY_TWICE)
    if (options.noDedupe?.trim() === '') {
      throw new TidemarkError('TOPOLOGY_INVALID', `source "${contract.name}" goes without dedupe and gives no reason`, {
        hint: WHY_TWICE,
      })
    }
    return Stream.at(
      this.#draft.add(
        options.step ?? contract.name,
        {
          kind: 'source',
          operator: 'source',
          from: [],
          topic: contract.topic,
          partitions: contract.partitions,
          contract: language,
          noDedupe: options.noDedupe,
          retentionMs: contract.retentionMs,
          cleanup: contract.exchange === 'state' ? 'compact' : 'delete',
          emits: shapeOf(contract.key, eventValues(language), language, contract.exchange === 'state'),
        },
        options,
        [contract.name],
      ),
    )
  }

  /** A plain stream: no contract, no envelope, no window. */
  stream<K, V>(
    topic: string,
    serdes: { readonly key: Key<K>; readonly value: Schema<V> },
    options: PlainStreamOptions = {},
  ): Stream<K, V, never> {
    const name = checkedTopic(topic)
    needOptions(options, `stream "${name}"`)
    const step =
      options.step ??
      name
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, '-')
        .replaceAll(/^-|-$/g, '')
    const { cleanup = 'delete' } = options
    oneOf(cleanup, CLEANUPS, `cleanup of step "${step}"`)
    refuseUnknown(serdes, ['key', 'value'], `stream "${step}"`)
    checkedKey(serdes.key, `key of stream "${step}"`)
    checkedSchema(serdes.value, `value of stream "${step}"`)
    return Stream.at(
      this.#draft.add(
        step,
        {
          kind: 'source',
          operator: 'stream',
          from: [],
          topic: name,
          partitions: options.partitions ?? 4,
          contract: undefined,
          noDedupe: undefined,
          retentionMs: -1,
          cleanup,
          emits: shapeOf(serdes.key, plainValue(serdes.value), undefined, cleanup === 'compact'),
        },
        options,
        [],
      ),
    )
  }

  /** One recorded, re-keyed topic that several streams are written to, and the only input of what follows: replaying it replays what follows. */
  inbox<K, V, F extends string>(
    step: string,
    streams: readonly Stream<K, V, F>[],
    options: StepOptions & { readonly partitions?: number } = {},
  ): Stream<K, V, F> {
    if (!Array.isArray(streams))
      refuse(streams, `what inbox "${step}" is given`, 'a list of streams', 'Write flow.inbox(step, [stream, another]).')
    needOptions(options, `inbox "${step}"`)
    const tips = streams.map((stream) => tipOf(stream, `a stream of inbox "${step}"`))
    const [first] = tips
    if (first === undefined)
      throw new TidemarkError('TOPOLOGY_INVALID', `inbox "${step}" has no streams`, { hint: 'Give it at least one.' })
    for (const tip of tips) if (!sameShape(first.shape, tip.shape)) throw shapesDiffer(step, 'receives')
    return Stream.at(
      this.#draft.add(
        step,
        {
          kind: 'repartition',
          operator: 'inbox',
          from: tips.map((tip) => tip.from),
          emits: jointShape(tips.map(({ shape }) => shape)),
          partitions: options.partitions,
          reads: [],
          passes: true,
        },
        options,
        factsOf(tips),
      ),
    )
  }
}

const PROJECTIONS = 'Return what project() gave: [flow.source(orders)...project(...)], and [] where nothing is projected.'

type AnyProjection = Projection<string, unknown, unknown, string>
/** A topology: a frozen value. `start` runs it, `plan` explains it, `harness` tests it. */
export interface Topology<P extends readonly unknown[] = readonly unknown[]> {
  readonly name: string
  readonly graph: Graph
  readonly projections: P
}

export interface TopologyOptions {
  /** What happens to a record that fails in a step that does not say so itself. Default `dead-letter`. */
  readonly onError?: OnError
}

/**
 * Defines a topology. The function runs once and returns the projections whose views are wanted.
 * @throws TidemarkError TOPOLOGY_INVALID, NAME_INVALID, OPTION_INVALID
 * @example
 * const counts = topology('counts', (flow) => [
 *   flow.stream('clicks', { key: text, value: Click })
 *     .dedupe('once', { id: (click) => click.id })
 *     .project('clicks-per-user', { row: Count, identity: 'once', fold: (row) => ({ clicks: (row?.clicks ?? 0) + 1 }) }),
 * ])
 */
export function topology<const P extends readonly Projection<string, never, never, never>[] | readonly AnyProjection[]>(
  name: string,
  define: (flow: Flow) => P,
  options: TopologyOptions = {},
): Topology<P> {
  refuseUnknown(options, ['onError'], `topology "${name}"`)
  const draft = new Draft(name, options.onError ?? 'dead-letter')
  needFunction(define, `what defines topology "${name}"`, 'Write topology(name, (flow) => [...]).')
  const projections = define(new Flow(draft))
  const returned = `what the function of topology "${name}" returns`
  if (!Array.isArray(projections)) refuse(projections, returned, 'a list of projections', PROJECTIONS)
  for (const each of projections as readonly unknown[])
    if (!isRecord(each) || typeof each.name !== 'string') refuse(each, `an entry of ${returned}`, 'a projection', PROJECTIONS)
  const graph = draft.graph()
  validate(graph)
  return Object.freeze({ name, graph, projections })
}

/** The views of a topology, by name. */
export type ViewOf<P> =
  P extends Projection<infer Name, infer K, infer Row, infer D>
    ? { readonly name: Name; readonly key: K; readonly row: Row; readonly decision: D }
    : never
export type { Duration }
