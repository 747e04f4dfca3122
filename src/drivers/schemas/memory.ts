/** Schemas that live as long as the process: for tests, and for logs that do too. */
import type { AvroSchema } from '../../base/avro.ts'
import type { SchemaStore } from '../../ports/serde.ts'
import { entryKey } from './file.ts'

export interface MemorySchemasOptions {
  /** The first id that it gives. Default 1; above the ids of the layers below it when it is one of several. */
  readonly firstId?: number
}

/** @example const id = await memorySchemas().idOf('orders.OrderPlaced', OrderPlaced.avro) // 1 */
export function memorySchemas({ firstId = 1 }: MemorySchemasOptions = {}): SchemaStore {
  const schemas = new Map<number, AvroSchema>()
  const ids = new Map<string, number>()
  return {
    writable: true,
    byId: async (id) => schemas.get(id),
    find: async (subject, schema) => ids.get(entryKey(subject, schema)),
    async idOf(subject, schema) {
      const key = entryKey(subject, schema)
      const known = ids.get(key)
      if (known !== undefined) return known
      const id = firstId + schemas.size
      ids.set(key, id)
      schemas.set(id, schema)
      return id
    },
  }
}
