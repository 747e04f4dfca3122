/** What flows along an edge, made from what the user gave: contracts and schemas. */
import { TidemarkError } from '../base/errors.ts'
import type { AnyContract } from '../contract/contract.ts'
import type { Key } from '../contract/key.ts'
import type { Schema } from '../contract/schema.ts'
import type { Incoming, Shape, ValueSpec } from '../topology/node.ts'

export function eventValues(contract: AnyContract): ValueSpec {
  return Object.freeze({ readers: contract.events, tagged: true })
}

export function plainValue(schema: Schema<unknown>): ValueSpec {
  return Object.freeze({ readers: Object.freeze({ '': schema }), tagged: false })
}

export function shapeOf(key: Key<unknown>, value: ValueSpec | undefined, language: AnyContract | undefined, deletes = false): Shape {
  return Object.freeze({ key, value, language, contexts: language === undefined ? [] : [language.owner.name], rekeyed: false, deletes })
}

/** Whether two streams can share a topic: the same key and the same values. */
export function sameShape(a: Shape, b: Shape): boolean {
  const schemasOf = (shape: Shape): string =>
    JSON.stringify(Object.entries(shape.value?.readers ?? {}).map(([name, schema]) => [name, schema.avro]))
  return (
    a.language === b.language &&
    a.key.kind === b.key.kind &&
    a.key.parts.join('|') === b.key.parts.join('|') &&
    (a.value === undefined) === (b.value === undefined) &&
    schemasOf(a) === schemasOf(b)
  )
}

/** What several streams are as one. They are of the same key and values, and what holds of their facts must hold of those of each. */
export function jointShape(shapes: readonly Shape[]): Shape {
  return Object.freeze({
    ...(shapes[0] as Shape),
    rekeyed: shapes.some(({ rekeyed }) => rekeyed),
    deletes: shapes.some(({ deletes }) => deletes),
  })
}

/**
 * What a step says of deletions says something only where there are some.
 * @throws TidemarkError TOPOLOGY_INVALID
 */
export function refuseDeletions(said: unknown, { deletes }: Shape, what: string): void {
  if (said === undefined || deletes) return
  throw new TidemarkError('TOPOLOGY_INVALID', `${what} says what a deletion is, and nothing that comes to it deletes`, {
    hint: 'Deletions come from topics that are kept by key: of a contract with exchange: "state", or of a stream with cleanup: "compact".',
  })
}

/** What a function is given as the value: nothing, where its step says that it reads no field, so that nothing is decoded for it. */
export function valueFor(reads: readonly string[] | undefined): (incoming: Incoming) => unknown {
  return reads?.length === 0 ? () => undefined : (incoming) => incoming.value
}

/**
 * A case for an event that never comes is a mistyped name, and the events of the right one would go another way.
 * @throws TidemarkError TOPOLOGY_INVALID
 */
export function refuseOtherEvents(cases: object, { language }: Shape, what: string): void {
  if (language === undefined) return
  const other = Object.keys(cases).find((type) => !Object.hasOwn(language.events, type))
  if (other === undefined) return
  throw new TidemarkError('TOPOLOGY_INVALID', `${what} has a case for "${other}", which is no event of contract "${language.name}"`, {
    hint: `Its events are ${Object.keys(language.events).join(', ')}.`,
  })
}
