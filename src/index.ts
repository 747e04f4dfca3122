/** tidemark: keeps the many models of one business in sync, and proves it. */
export { ERROR_CODES, type ErrorCode, TidemarkError } from './base/errors.ts'
export type { Duration } from './base/time.ts'
export {
  type AnyContract,
  type Context,
  type Contract,
  type ContractTerms,
  context,
  contract,
  type EnvelopeFields,
  type EventOf,
  type Make,
  type Translated,
} from './contract/contract.ts'
export { avroKey, compound, type Key, text } from './contract/key.ts'
export { type Branded, type Schema, schema, type TypeOf } from './contract/schema.ts'
export type { Decision, Freshness, Otherwise, Window } from './contract/window.ts'
export type { DedupeOptions } from './operators/dedupe.ts'
export type { OrderOptions } from './operators/order.ts'
export type { ProcessTerms } from './operators/process.ts'
export { Flow, type Projection, Stream, type Topology, type TopologyOptions, topology } from './operators/stream.ts'
export { type Ignored, ignore, type Rejection, reject } from './operators/translate.ts'
export type { PlanLock } from './plan/lock.ts'
export type { LogDriver } from './ports/log.ts'
export type { SchemaSource, SchemaStore } from './ports/serde.ts'
export { COUNTERS, type Counter, type Labels, silent, type Telemetry, type TelemetryEvent } from './ports/telemetry.ts'
export type { Feed, FeedCheck, FeedOption, FeedSettings, FeedSubject, RunningFeed } from './runtime/feed.ts'
export { type About, type Access, type Publisher, type PublisherOptions, publisher, Transaction } from './runtime/publisher.ts'
export type { Answer, Decided, Page, RowInfo, View } from './runtime/view.ts'
export { embedded, type Running, type StartOptions, start } from './start.ts'
export type { Fact, Incoming, OnError, Out, Parked, RowFormat, Scope } from './topology/node.ts'
