import { expect, it } from 'vitest'
import type { AvroSchema } from '../../src/base/avro.ts'
import { schema } from '../../src/contract/schema.ts'

it.each<[AvroSchema, string]>([
  [{ type: 'record', name: 'Reserved', fields: [] }, 'Reserved'],
  [{ type: 'record', name: 'Reserved', namespace: 'inventory', fields: [] }, 'inventory.Reserved'],
  [{ type: 'record', name: 'inventory.Reserved', namespace: 'other', fields: [] }, 'inventory.Reserved'],
])('a schema of %j is known as %s', (avro, name) => {
  expect(schema(avro)).toEqual({ name, avro })
})

it.each<[AvroSchema, string]>([
  ['string', 'a schema must be an Avro record with a name'],
  [['null', 'string'], 'a schema must be an Avro record with a name'],
  [{ type: 'record', fields: [] }, 'a record must have a name'],
  [
    { type: 'record', name: 'R', fields: [{ name: 'x', type: { type: 'array', items: 'null' } }] },
    'an array must not have items that take no bytes',
  ],
])('a schema of %j is refused where it is written, not where it is used', (avro, message) => {
  expect(() => schema(avro)).toThrow(expect.objectContaining({ code: 'SCHEMA_INVALID', message }))
})
