/** A value type with its Avro schema. `schemas/<context>/*.avsc` is the truth; `tidemark types` writes one of these for each file. */
import type { AvroSchema } from '../base/avro.ts'
import { readSchema } from '../base/avro-read.ts'
import { TidemarkError } from '../base/errors.ts'
import { isRecord, refuse } from '../base/options.ts'

/**
 * @typeParam T what a value of this schema is in TypeScript
 */
export interface Schema<T> {
  /** The record's full name, such as `orders.OrderPlaced`. */
  readonly name: string
  readonly avro: AvroSchema
  /** Carries `T` for the compiler; never set. */
  readonly _type?: T
}

export type TypeOf<S> = S extends Schema<infer T> ? T : never

declare const brand: unique symbol

/**
 * A value that the compiler keeps apart from all others of its kind: allocatable stock is not physical stock, though both are numbers.
 * It is an ordinary `T` at run time. Arithmetic gives a plain `T` again, and `as` says what the result means.
 * @example
 * type PhysicalQuantity = Branded<number, 'PhysicalQuantity'>
 * const counted = 12 as PhysicalQuantity
 */
export type Branded<T, Name extends string> = T & { readonly [brand]: Name }

/**
 * Makes a schema value from an Avro record schema. Usually generated.
 * @throws TidemarkError SCHEMA_INVALID when it is not a named record, or when it is one that a hostile record could abuse
 * @example const Reserved = schema<{ quantity: number }>({ type: 'record', name: 'Reserved', fields: [{ name: 'quantity', type: 'int' }] })
 */
export function schema<T>(avro: AvroSchema): Schema<T> {
  const type = readSchema(avro)
  if (type.kind !== 'record') {
    throw new TidemarkError('SCHEMA_INVALID', 'a schema must be an Avro record with a name', {
      detail: `It is of type "${type.kind}".`,
      hint: "Wrap it: { type: 'record', name: 'Price', fields: [{ name: 'cents', type: 'long' }] }.",
    })
  }
  return Object.freeze({ name: type.name, avro })
}

/**
 * A schema where one is meant; by its shape, because another copy of tidemark may have made it.
 * @param what whose schema it is, such as `row of projection "stock"`
 * @throws TidemarkError OPTION_INVALID
 */
export function checkedSchema<T>(given: Schema<T>, what: string): Schema<T> {
  if (isSchema(given)) return given
  return refuse(
    given,
    what,
    'a schema',
    'Make one of an Avro record, schema({ type: "record", ... }), or take one that "tidemark types" has written.',
  )
}

export function isSchema(value: unknown): value is Schema<unknown> {
  return isRecord(value) && typeof value.name === 'string' && isRecord(value.avro)
}
