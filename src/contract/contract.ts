/**
 * Contracts: what a fact's data means, who owns it, how it travels. A contract is a frozen value that both sides import.
 */
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needFunction, needText, needTexts, refuse as refuseOther, refuseUnknown, shown } from '../base/options.ts'
import { type Duration, durationMs } from '../base/time.ts'
import { checkedKey, type Key } from './key.ts'
import { checkedSchema, type Schema, type TypeOf } from './schema.ts'

/** A bounded context: a part of the business with its own language, which owns facts. */
export interface Context {
  readonly name: string
  /** The team that answers for it. */
  readonly owner: string
}

/**
 * @throws TidemarkError NAME_INVALID, OPTION_INVALID
 * @example const orders = context('orders', { owner: 'order-platform' })
 */
export function context(name: string, about: { readonly owner: string }): Context {
  checkedName(name, 'context')
  refuseUnknown(about, ['owner'], `context "${name}"`)
  needText(about.owner, `owner of context "${name}"`, 'Name the team that answers for it: { owner: "order-platform" }.')
  return Object.freeze({ name, owner: about.owner })
}

/**
 * A context where one is meant; by its shape, because another copy of tidemark may have made it.
 * @param what whose context it is, such as `owner of contract "orders"`
 * @throws TidemarkError OPTION_INVALID
 */
export function checkedContext(given: Context, what: string): Context {
  if (isRecord(given) && typeof given.name === 'string' && typeof given.owner === 'string') return given
  return refuseOther(given, what, 'a context', 'Give what context() made: const orders = context("orders", { owner: "order-platform" }).')
}

/**
 * A contract where one is meant; by its shape, because another copy of tidemark may have made it.
 * @param what who is given it, such as `what flow.source() reads`
 * @throws TidemarkError OPTION_INVALID
 */
export function checkedContract<C>(given: C, what: string): C {
  const fits =
    isRecord(given) &&
    [given.name, given.topic].every((each) => typeof each === 'string') &&
    [given.key, given.events, given.owner].every(isRecord)
  return fits
    ? given
    : refuseOther(given, what, 'a contract', 'Give the value that contract() made, not its name: import it from where it is declared.')
}

const NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/

/** Names become topics, folders and URLs, so they are narrow: lower-case letters, digits and inner dashes. */
export function checkedName(name: string, what: string): string {
  if (typeof name !== 'string') throw noText(name, `a ${what}`, 'Give its name first, such as "orders-once".')
  if (NAME.test(name) && name.length <= 100) return name
  throw new TidemarkError('NAME_INVALID', `"${name}" is not a name for a ${what}`, {
    hint: 'Use lower-case letters, digits and dashes, such as "orders-once" (at most 100).',
  })
}

/** A contract's topic may have dots as well, as Kafka's may; it has no slash, because `topic/partition` is a key everywhere. */
export function checkedTopic(topic: string): string {
  if (typeof topic !== 'string') throw noText(topic, 'a topic', 'Give its name; the one of a contract is contract.topic.')
  if (/^[a-zA-Z0-9._-]{1,200}$/.test(topic) && topic !== '.' && topic !== '..') return topic
  throw new TidemarkError('NAME_INVALID', `"${topic}" is not a name for a topic`, {
    hint: 'Use letters, digits, dots, dashes and underscores (at most 200).',
  })
}

/** Only a program that no compiler has seen gets here. */
function noText(given: unknown, what: string, hint: string): TidemarkError {
  return new TidemarkError('NAME_INVALID', `${what} is named by a text, and this is ${shown(given)}`, { hint })
}

export type Events = { readonly [type: string]: Schema<unknown> }
type Fields<S> = S extends Schema<infer T> ? T : never
/** `{ OrderPlaced: Schema<P> }` becomes `{ type: 'OrderPlaced' } & P`, so that a switch on `type` is exhaustive. */
export type EventOf<E extends Events> = { [T in keyof E & string]: { readonly type: T } & Fields<E[T]> }[keyof E & string]
/** A fact on its way to a contract: its key and its event. */
export interface Translated<K, V> {
  readonly key: K
  readonly value: V
}
/** One maker an event type: `stock.make.Reserved(key, fields)`. */
export type Make<K, E extends Events> = {
  readonly [T in keyof E & string]: (key: K, fields: Fields<E[T]>) => Translated<K, { readonly type: T } & TypeOf<E[T]>>
}

/** Envelope fields that are read from the value, for producers that send no CloudEvents headers. */
export interface EnvelopeFields<V> {
  readonly id?: (event: V) => string
  /** Business time, ms since 1970. */
  readonly time?: (event: V) => number
  readonly sequence?: (event: V) => number
}

export interface Contract<Name extends string, K, V, M = unknown> {
  readonly name: Name
  readonly owner: Context
  readonly meaning: string
  readonly version: number
  readonly topic: string
  readonly partitions: number
  readonly key: Key<K>
  readonly events: Events
  /** `events`: every fact counts, the topic is kept by time. `state`: the last fact of a key counts, the topic is compacted. */
  readonly exchange: 'events' | 'state'
  readonly sequence: 'per key' | 'none'
  readonly envelope: EnvelopeFields<V>
  readonly sources: readonly string[]
  readonly reasons: { readonly [type: string]: { readonly field: string; readonly codes: readonly string[] } }
  readonly unknownEvents: 'dead-letter' | 'ignore'
  /** ms; -1 keeps records for ever. */
  readonly retentionMs: number
  readonly make: M
  readonly _value?: V
}

/** Any contract, where its types do not matter. */
export type AnyContract = Contract<string, unknown, { readonly type: string }>

export interface ContractTerms<E extends Events, K> {
  /** The context whose facts these are; no other may publish them. */
  readonly owner: Context
  /** One sentence that both sides agree on. */
  readonly meaning: string
  /** The version of the meaning: a whole number from 1. */
  readonly version: number
  readonly topic: string
  /** Partitions of the topic where tidemark makes it. Default 4. */
  readonly partitions?: number
  readonly key: Key<K>
  readonly events: E
  /** Default `events`. */
  readonly exchange?: 'events' | 'state'
  /** How the topic is kept; follows from `exchange` and may only repeat it. */
  readonly cleanup?: 'delete' | 'compact'
  /** `per key`: each key's facts are numbered 1, 2, 3 without holes. Default `none`. */
  readonly sequence?: 'per key' | 'none'
  readonly envelope?: EnvelopeFields<EventOf<E>>
  /** Values of `ce_source` that are accepted. Default `/<owner>`. */
  readonly sources?: readonly string[]
  /** Closed lists of reason codes: for an event type, the field that holds the reason and the codes that it may have. */
  readonly reasons?: { readonly [T in keyof E]?: { readonly field: string; readonly codes: readonly string[] } }
  /** What happens to an event of a type that is not in `events`. Default `dead-letter`. */
  readonly unknownEvents?: 'dead-letter' | 'ignore'
  /** How long records stay in the topic. Default: for ever. */
  readonly retention?: Duration | 'forever'
}

const TERMS: readonly (keyof ContractTerms<Events, unknown>)[] = [
  'owner',
  'meaning',
  'version',
  'topic',
  'partitions',
  'key',
  'events',
  'exchange',
  'cleanup',
  'sequence',
  'envelope',
  'sources',
  'reasons',
  'unknownEvents',
  'retention',
]
const ENVELOPE: readonly (keyof EnvelopeFields<unknown>)[] = ['id', 'time', 'sequence']

/**
 * Declares a contract.
 * @throws TidemarkError CONTRACT_INVALID, NAME_INVALID, OPTION_INVALID
 * @example
 * const orderLifecycle = contract('order-lifecycle', {
 *   owner: orders, version: 1, topic: 'orders.lifecycle.v1', key: text, sequence: 'per key',
 *   meaning: 'what a customer has committed to, and what ended it', events: { OrderPlaced, OrderCancelled },
 * })
 */
export function contract<const Name extends string, E extends Events, K>(
  name: Name,
  terms: ContractTerms<E, K>,
): Contract<Name, K, EventOf<E>, Make<K, E>> {
  const refuse = (problem: string, hint: string): never => {
    throw new TidemarkError('CONTRACT_INVALID', `contract "${name}" ${problem}`, { hint })
  }
  checkedName(name, 'contract')
  refuseUnknown(terms, TERMS, `contract "${name}"`)
  refuseUnknown(terms.envelope ?? {}, ENVELOPE, `envelope of contract "${name}"`)
  checkKinds(name, terms)
  const exchange = terms.exchange ?? 'events'
  const sequence = terms.sequence ?? 'none'
  const unknownEvents = terms.unknownEvents ?? 'dead-letter'
  if (!['events', 'state'].includes(exchange)) refuse(`exchanges ${shown(exchange)}`, 'It is "events" or "state".')
  if (!['per key', 'none'].includes(sequence)) refuse(`has sequence ${shown(sequence)}`, 'It is "per key" or "none".')
  if (!['dead-letter', 'ignore'].includes(unknownEvents))
    refuse(`has unknownEvents ${shown(unknownEvents)}`, 'It is "dead-letter" or "ignore".')
  if (!['delete', 'compact', undefined].includes(terms.cleanup))
    refuse(`has cleanup ${shown(terms.cleanup)}`, 'It is "delete" or "compact", and follows from exchange: leave it out.')
  if (terms.key === undefined) refuse('has no key', 'Say what its facts are about: key: text, or key: compound("sku", "region").')
  checkedKey(terms.key, `key of contract "${name}"`)
  if (!Number.isInteger(terms.version) || terms.version < 1)
    refuse(`has version ${shown(terms.version)}`, 'Versions of a meaning are 1, 2, 3.')
  if (exchange === 'events' && terms.cleanup === 'compact') {
    refuse('carries events on a compacted topic', 'Compaction would drop events of a key. Carry the state instead (exchange: "state").')
  }
  if (exchange === 'state' && terms.cleanup === 'delete') {
    refuse(
      'carries state on a topic that is not compacted',
      'Retention would drop keys that did not change lately. Leave out cleanup: "delete".',
    )
  }
  const partitions = terms.partitions ?? 4
  if (!Number.isInteger(partitions) || partitions < 1) refuse(`has ${shown(partitions)} partitions`, 'A topic has 1 partition or more.')
  const types = Object.keys(terms.events)
  if (types.length === 0) refuse('has no events', 'Name at least one event with its schema.')
  for (const type of types) checkedEvent(name, type, terms.events[type] as Schema<unknown>, refuse)
  for (const [type, closed] of Object.entries(terms.reasons ?? {})) {
    if (!types.includes(type)) refuse(`lists reasons for "${type}", which is none of its events`, `Its events are ${types.join(', ')}.`)
    refuseUnknown(closed as object, ['field', 'codes'], `reasons of "${type}" in contract "${name}"`)
    checkedReasons(type, closed as { field: string; codes: readonly string[] }, terms.events[type] as Schema<unknown>, refuse)
  }
  if (terms.sources?.length === 0)
    refuse('accepts facts of nobody', 'Name at least one source, or leave sources out: then it is the owner.')
  // The type comes last: the fields may be another event, which has a type of its own.
  const make = Object.fromEntries(
    types.map((type) => [type, (key: K, fields: object) => ({ key, value: { ...fields, type } })]),
  ) as unknown as Make<K, E>
  return Object.freeze({
    name,
    owner: terms.owner,
    meaning: terms.meaning,
    version: terms.version,
    topic: checkedTopic(terms.topic),
    partitions,
    key: terms.key,
    events: Object.freeze({ ...terms.events }),
    exchange,
    sequence,
    envelope: Object.freeze({ ...terms.envelope }),
    sources: Object.freeze([...(terms.sources ?? [`/${terms.owner.name}`])]),
    reasons: Object.freeze({ ...terms.reasons }) as Contract<Name, K, EventOf<E>>['reasons'],
    unknownEvents,
    retentionMs: terms.retention === undefined || terms.retention === 'forever' ? -1 : durationMs(terms.retention, 'retention'),
    make: Object.freeze(make),
  })
}

/** What only a program without the compiler gets wrong: values of another kind than the terms are. */
type Kinds = Pick<ContractTerms<Events, unknown>, 'owner' | 'meaning' | 'events' | 'sources'> & {
  readonly envelope?: unknown
  readonly reasons?: unknown
}
function checkKinds(name: string, terms: Kinds): void {
  const of = `of contract "${name}"`
  checkedContext(terms.owner, `owner ${of}`)
  needText(terms.meaning, `meaning ${of}`, 'Say in one sentence what both sides agree on.')
  if (!isRecord(terms.events))
    refuseOther(terms.events, `events ${of}`, 'an object', 'Give each event with its schema: events: { OrderPlaced, OrderCancelled }.')
  for (const [field, read] of Object.entries(terms.envelope ?? {}))
    if (read !== undefined)
      needFunction(read, `${field}, in the envelope ${of},`, `Say where an event has it: ${field}: (event) => event.${field}.`)
  if (terms.sources !== undefined) needTexts(terms.sources, `sources ${of}`, 'List values of ce_source: sources: ["/orders"].')
  if (terms.reasons !== undefined && !isRecord(terms.reasons))
    refuseOther(
      terms.reasons,
      `reasons ${of}`,
      'an object',
      'Say for an event where its reason is: reasons: { Cancelled: { field: "reason", codes: ["late"] } }.',
    )
}

function checkedReasons(
  type: string,
  { field, codes }: { readonly field: string; readonly codes: readonly string[] },
  schema: Schema<unknown>,
  refuse: (problem: string, hint: string) => never,
): void {
  const names = fieldsOf(schema)
  needTexts(codes, `codes of the reasons of "${type}"`, 'List the codes that are allowed: codes: ["late", "lost"].')
  if (!names.includes(field))
    refuse(`looks for the reason of "${type}" in "${field}", which it does not have`, `Its fields are ${names.join(', ')}.`)
  if (codes.length === 0) refuse(`closes the list of reasons of "${type}" with none in it`, 'Name the codes that are allowed.')
}

function fieldsOf({ avro }: Schema<unknown>): unknown[] {
  return ((avro as { fields?: readonly { name?: unknown }[] }).fields ?? []).map(({ name }) => name)
}

function checkedEvent(name: string, type: string, given: Schema<unknown>, refuse: (problem: string, hint: string) => never): void {
  const schema = checkedSchema(given, `event "${type}" of contract "${name}"`)
  const short = schema.name.slice(schema.name.lastIndexOf('.') + 1)
  if (short !== type)
    refuse(`calls "${short}" by another name, "${type}"`, 'An event is known by the name of its Avro record on the wire: use the same one.')
  if (fieldsOf(schema).includes('type')) {
    refuse(
      `has an event "${type}" with a field named "type"`,
      '"type" tells events apart in code. Name the field for what it is, such as "orderType".',
    )
  }
}
