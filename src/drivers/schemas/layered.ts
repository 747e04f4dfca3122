/** Several schema sources as one: what is shipped with the code, then what a registry knows. */
import type { AvroSchema } from '../../base/avro.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { SchemaStore } from '../../ports/serde.ts'

/**
 * Asks each source in turn and registers in the last writable one. One that cannot answer is not passed over: the answer of the next
 * could be of another schema. Ids must not mean two things, so one that a registration gives must be new to the other sources.
 * @example layeredSchemas([schemaCatalogue({ file: 'schemas/catalogue.json', writable: false }), memorySchemas({ firstId: 1_000_000 })])
 */
export function layeredSchemas(sources: readonly SchemaStore[]): SchemaStore {
  const target = sources.findLast((source) => source.writable) ?? sources.at(-1)
  if (target === undefined) throw new TypeError('layeredSchemas needs a source')

  async function find(subject: string, schema: AvroSchema): Promise<number | undefined> {
    for (const source of sources) {
      const id = await source.find(subject, schema)
      if (id !== undefined) return id
    }
    return undefined
  }

  return {
    writable: target.writable,
    find,
    async byId(id) {
      for (const source of sources) {
        const schema = await source.byId(id)
        if (schema !== undefined) return schema
      }
      return undefined
    },
    async idOf(subject, schema) {
      const known = await find(subject, schema)
      if (known !== undefined) return known
      const id = await target.idOf(subject, schema)
      for (const source of sources) {
        if (source !== target && (await source.byId(id)) !== undefined) {
          throw new TidemarkError('SCHEMA_SOURCE_FAILED', `schema id ${id} means two things`, {
            detail: `It was given to "${subject}", and another layer has another schema of this id.`,
            hint: 'Give the layer that registers a "firstId" above the ids of the others.',
          })
        }
      }
      return id
    },
  }
}
