/**
 * The kernel: the few kinds of node that the planner and the interpreter know. Every operator is made of these.
 *
 *   source      reads a topic that somebody else writes
 *   step        a synchronous function of one record, without state
 *   keyed       the one stateful node: a function of (record, rows under its key), which may also wake at a time
 *   merge       several streams as one
 *   repartition an internal topic, the inbox: re-keys and merges by recording
 *   sink        writes a topic that others read
 *
 * Nodes are frozen values. They hold functions but nothing that runs: what lives in time is in `runtime/`.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { AnyContract, Context } from '../contract/contract.ts'
import type { Key } from '../contract/key.ts'
import type { Schema } from '../contract/schema.ts'
import type { Decision, WindowMs } from '../contract/window.ts'
import type { Counter } from '../ports/telemetry.ts'

export type NodeId = string

/** An edge: which output of which node. Most nodes have one output, 0. */
export interface From {
  readonly id: NodeId
  readonly port: number
}

/** What travels with a value: its identity, its times, where it came from. Valid during the call only: copy what you keep. */
export interface Fact<K = unknown> {
  /** The same in every replay. */
  readonly id: string
  readonly key: K
  /** Who says so, such as `/orders`. */
  readonly source: string
  /** Business time, ms since 1970: drives stream time. */
  readonly at: number
  /** When the source committed it, ms since 1970: ages and windows count from here. */
  readonly recordedAt: number
  readonly sequence: number | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  /** The record it arrived in, in this stage. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** A record as a kernel function sees it: the fact, and its value decoded at first use. */
export interface Incoming extends Fact {
  /** @throws TidemarkError FRAMING_INVALID, SCHEMA_UNKNOWN, EVENT_UNKNOWN, VALUE_INVALID, REASON_UNKNOWN */
  readonly value: unknown
  /** Whether the value is null: in a topic that is kept by key, a deletion. Then `value` throws. */
  readonly empty: boolean
  /** Which of the node's inputs it came through. */
  readonly input: number
  /** The whole record but its key, as bytes that `Out.kept` takes back after a restart. */
  keep(): Buffer
  /** A 64-bit hash of the value as it lies on the wire, as two signed halves in `base/murmur.ts` `hashed`. */
  hashValue(): void
}

/** Where a kernel function puts what goes on. Nothing leaves before the function has returned: if it throws, nothing does. */
export interface Out {
  /** The record itself. */
  same(port?: number): void
  /** Another value under the same key: an event of its own, caused by the record at hand and with its number. */
  value(value: unknown, port?: number): void
  /** A deletion under the same key: an event of its own, as with `value`. */
  empty(): void
  /** The same value under another key: an event of its own, caused by the record at hand; under that key it has no number. */
  keyed(key: unknown): void
  /** A new fact, whose id is derived from the record at hand, the step and its index: a replay makes the same one. */
  fact(key: unknown, value: unknown, at?: number): void
  /** A record that was kept as bytes, under the key at hand. */
  kept(bytes: Uint8Array): void
}

/** A row and what is stored with it. `exists` is false for a row that was never written and for a tombstone; a tombstone remembers its version. */
export interface RowView {
  readonly value: unknown
  readonly exists: boolean
  readonly version: number
  readonly at: number
  /** Hash of the fact that wrote the row, where the writer left one. */
  readonly markHigh: number
  readonly markLow: number
}

/** The rows of one store under the key at hand. Sub-keys are strings of one byte a character (`base/bytes.ts` `binary`); '' is the main row. */
export interface Scope {
  readonly key: unknown
  /** The greatest time of any record this node has seen, the one at hand included. Survives restarts. */
  readonly streamTime: number
  get(sub?: string): unknown
  /** What is stored with a row; valid until the next call. */
  row(sub?: string): RowView
  put(value: unknown, sub?: string, about?: { version: number; at: number }): void
  /** Leaves the fact's hash with the row, for `RowView.markHigh` and `markLow`. Call it after `put`. */
  mark(high: number, low: number, sub?: string): void
  /** Removes a row; with a version, a tombstone stays that remembers it. */
  delete(sub?: string, about?: { version: number; at: number }): void
  /** Rows with `from <= sub < to`, in byte order. Only in stores declared `ranged`. @throws TidemarkError SCOPE_TOO_LARGE */
  range(from?: string, to?: string): readonly (readonly [sub: string, value: unknown])[]
  /** Asks for rows from `from` on, page by page: the node's `page` is called after the record at hand and before the next one. */
  page(from: string): void
  /**
   * Asks to be woken when stream time reaches `at`, before the record that takes it there. Asking twice wakes once. What a timer sets must come
   * after it, in time or else in the order of `sub`. @throws TypeError for a moment that is over, or is none
   */
  wakeAt(at: number, sub?: string): void
  cancelWake(at: number, sub?: string): void
  /** Asks to be woken when wall time reaches `at`. Refused in fold stages. */
  wakeAtWall(at: number, sub?: string): void
  /**
   * Time buckets of an expiring store that may still hold live rows, oldest first and the present one last: `sub` then starts with four bytes of
   * the bucket. The same list until they change.
   */
  readonly buckets: readonly number[]
}

/** Why a key's facts are held instead of passing, and how many are. */
export interface Parked {
  readonly reason: string
  readonly held: number
}

/** What a step holds of a key instead of letting it pass. */
export interface Holding {
  /** Facts that are held. */
  readonly facts: number
  /** Why the key is parked; undefined where its facts only wait for their turn. */
  readonly parked: string | undefined
}

export type Count = (counter: Counter, value?: string | number) => void

/** How rows that are not Avro are written: for the state of operators. */
export interface RowFormat {
  write(value: unknown, into: ByteWriter): void
  /** `bytes.end` is the end of the row. @throws when the bytes are none of its own */
  read(bytes: ByteReader): unknown
}

export interface StoreSpec {
  /** Also the name of its step. */
  readonly name: string
  readonly rows: RowFormat | Schema<unknown>
  /** Its sub-keys are loaded at the batch's edge, so that `range` is synchronous. */
  readonly ranged: boolean
  /** Rows live in time buckets and die `keepMs` of stream time after their bucket ended. */
  readonly expires: { readonly keepMs: number } | undefined
  /** Made durable after other stores where commits are not atomic, because they say "this was done already". */
  readonly marks: boolean
  readonly view: ViewSpec | undefined
  /** Raised by the user when the meaning of the rows changed, so that the plan lock sees it. */
  readonly revision: number
  /** Source text of the user's functions that make the rows: `dev` warns when it changed and `revision` did not. Never run, never locked. */
  readonly code?: string
}

/** What makes a store a projection. */
export interface ViewSpec {
  readonly owner: Context | undefined
  /** By contract name. */
  readonly windows: { readonly [fact: string]: WindowMs }
  readonly decisions: { readonly [name: string]: Decision }
  readonly publish: string | undefined
  /** Versions decide (a fold that replaces), or the named dedupe and order steps make adding up safe (a fold that accumulates). */
  readonly safety: 'gate' | readonly string[]
}

/** How values of a stream are written; undefined for values that live in memory only. */
export interface ValueSpec {
  /** Reader schemas by name: the event type, or '' for a plain value. */
  readonly readers: { readonly [name: string]: Schema<unknown> }
  readonly tagged: boolean
}

/** What flows along an edge. */
export interface Shape {
  readonly key: Key<unknown>
  readonly value: ValueSpec | undefined
  /** Whose language the values speak. */
  readonly language: AnyContract | undefined
  /** Contexts in which that language may be used as it is: its owner's, and those that conform to it. */
  readonly contexts: readonly string[]
  /** The key is another than the one that the language has: the facts of a key are not numbered. */
  readonly rekeyed: boolean
  /** A null value deletes: it comes from a topic that is kept by key, a contract's of exchange `state` or a stream's of cleanup `compact`. */
  readonly deletes: boolean
}

export type Failure = 'dead-letter' | 'park' | 'halt'
/**
 * What happens to a record that fails in a step. `retry` runs the invocation so many times more, each after a wait: up to 100 ms, then up to
 * twice as long each time, at most 10 s, and how long within that is chance. The record's partition waits with it, so that its order is kept;
 * others go on. What cannot be mended by that, such as bytes that are no value, is not run again.
 */
export type OnError = Failure | { readonly retry: number; readonly then: Failure }

interface Common {
  /** The step's name, given by the user. */
  readonly id: NodeId
  readonly from: readonly From[]
  readonly emits: Shape
  /** Which operator made it, for people: nothing in the planner or the interpreter asks. */
  readonly operator: string
  readonly onError: { readonly retry: number; readonly then: Failure }
  /** Top-level fields of the input's value that the node reads; undefined for all, empty for none. */
  readonly reads: readonly string[] | undefined
  /** Whether the input's value goes on unchanged, so that later nodes read it too. */
  readonly passes: boolean
}

export interface SourceNode extends Common {
  readonly kind: 'source'
  readonly topic: string
  /** Partitions where tidemark makes the topic. */
  readonly partitions: number
  readonly contract: AnyContract | undefined
  readonly retentionMs: number
  readonly cleanup: 'compact' | 'delete'
  /** Why redelivered facts do no harm although nothing drops them; undefined where something must. */
  readonly noDedupe: string | undefined
}
export interface StepNode extends Common {
  readonly kind: 'step'
  /** The key may change: no keyed node may follow before a repartition. */
  readonly rekeys: boolean
  /** What it does: make something of a record, or only let it pass or not, for which nothing needs to be collected. */
  readonly does: { readonly run: (incoming: Incoming, out: Out, count: Count) => void } | { readonly keep: (incoming: Incoming) => boolean }
}
export interface KeyedNode extends Common {
  readonly kind: 'keyed'
  readonly store: StoreSpec
  /** Keeps whole records, so its input needs a schema. */
  readonly keeps: boolean
  /** Depends on wall time: not in a fold stage. */
  readonly wall: boolean
  /** Makes values of its own, beside those that it may pass on. */
  readonly makes: boolean
  /** Sends facts under other keys than the one at hand: no keyed node may follow before a repartition. */
  readonly rekeys: boolean
  /** Lets each fact pass once, so that a fold behind it may add up (`ViewSpec.safety`). */
  readonly identity: boolean
  /**
   * Reads from a main row what is held of its key; undefined for nothing. Asked of every main row that is written, so it must cost nothing where
   * nothing is held. Undefined for a node that never holds anything.
   */
  readonly holding: ((row: unknown) => Holding | undefined) | undefined
  readonly run: (incoming: Incoming, scope: Scope, out: Out, count: Count) => void
  readonly wake: ((timer: { readonly at: number; readonly sub: string }, scope: Scope, out: Out, count: Count) => void) | undefined
  /** Takes a page that `Scope.page` asked for; `next` is where to ask on, undefined after the last page. */
  readonly page:
    | ((rows: readonly (readonly [sub: string, value: unknown])[], next: string | undefined, scope: Scope, out: Out, count: Count) => void)
    | undefined
}
export interface MergeNode extends Common {
  readonly kind: 'merge'
}
export interface RepartitionNode extends Common {
  readonly kind: 'repartition'
  /** undefined: as many as the widest of the logs it is fed from. */
  readonly partitions: number | undefined
}
export interface SinkNode extends Common {
  readonly kind: 'sink'
  readonly topic: string
  readonly partitions: number | undefined
  readonly cleanup: 'compact' | 'delete'
}

export type Node = SourceNode | StepNode | KeyedNode | MergeNode | RepartitionNode | SinkNode

/** A topology: a frozen value, in the order its nodes were appended, so that inputs come before outputs. */
export interface Graph {
  readonly name: string
  readonly nodes: readonly Node[]
}

/** The nodes that begin a stage: they read a log. */
export function readsLog(node: Node): node is SourceNode | RepartitionNode {
  return node.kind === 'source' || node.kind === 'repartition'
}

/** The store a node keeps, if it keeps one. */
export function storeOf(node: Node): StoreSpec | undefined {
  return node.kind === 'keyed' ? node.store : undefined
}
