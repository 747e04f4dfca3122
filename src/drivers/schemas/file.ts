/** The text of a schema catalogue: read with care, because people merge it, and written in one layout. */
import type { AvroSchema } from '../../base/avro.ts'
import { canonicalSchema } from '../../base/avro-canonical.ts'
import { schemaProblem } from '../../base/avro-read.ts'
import { TidemarkError } from '../../base/errors.ts'
import { lineOf, parseJson, printJson } from '../../base/json.ts'

export interface CatalogueEntry {
  readonly id: number
  readonly subject: string
  readonly schema: AvroSchema
}

/** An id is four bytes on the wire, and Confluent's registry and its clients take them as signed. */
export const ID_MAX = 2_147_483_647

/** By what an entry is the same as another: one subject and one canonical schema. */
export function entryKey(subject: string, schema: AvroSchema): string {
  return `${subject}\n${canonicalSchema(schema)}`
}

/**
 * Reads a catalogue.
 * @throws TidemarkError SCHEMA_SOURCE_FAILED naming the file, the line and what is wrong there
 */
export function readCatalogue(file: string, text: string): CatalogueEntry[] {
  const corrupt = (line: number, problem: string, hint?: string): TidemarkError =>
    new TidemarkError('SCHEMA_SOURCE_FAILED', 'the schema catalogue cannot be read', { detail: `${file}:${line}: ${problem}.`, hint })
  const parsed = parseJson(text)
  if ('problem' in parsed) {
    const merged = /^(<{7}|={7}|>{7})/m.test(text)
    throw corrupt(
      parsed.line,
      parsed.problem,
      merged ? 'Keep the entries of both sides of the merge, and run "tidemark types" for those whose ids clash.' : undefined,
    )
  }
  const { format, schemas } = (parsed.value ?? {}) as { readonly format?: unknown; readonly schemas?: unknown }
  if (format !== 1)
    throw corrupt(1, 'it is not of format 1', format === undefined ? undefined : 'It was written by another version of tidemark.')
  if (!Array.isArray(schemas)) throw corrupt(1, 'it has no list of schemas')
  const keys = new Map<string, number>()
  let last = 0
  return schemas.map((entry: unknown, i) => {
    const line = lineOf(text, ['schemas', i])
    const { id, subject, schema } = (entry ?? {}) as { readonly id?: unknown; readonly subject?: unknown; readonly schema?: unknown }
    if (!Number.isInteger(id) || (id as number) < 1 || (id as number) > ID_MAX)
      throw corrupt(line, `the id of entry ${i + 1} is not an integer from 1 to ${ID_MAX}`)
    if ((id as number) <= last)
      throw corrupt(line, `id ${id as number} comes after id ${last}`, 'Ids rise, and none is used twice: data names its schema by them.')
    last = id as number
    if (typeof subject !== 'string' || subject === '') throw corrupt(line, `entry ${last} has no subject`)
    const problem = schemaProblem(schema)
    if (problem !== undefined) {
      throw corrupt(
        lineOf(text, ['schemas', i, 'schema', ...problem.path]),
        `the schema of entry ${last} is refused: ${problem.message}`,
        problem.hint,
      )
    }
    const key = entryKey(subject, schema as AvroSchema)
    const same = keys.get(key)
    if (same !== undefined) throw corrupt(line, `entry ${last} repeats entry ${same}`, 'Keep the one whose id data was written with.')
    keys.set(key, last)
    return { id: last, subject, schema: schema as AvroSchema }
  })
}

export function printCatalogue(entries: readonly CatalogueEntry[]): string {
  const lines = entries.map(({ id, subject, schema }) => `    ${printJson({ id, subject, schema }, 'json', 4, 1)}`)
  if (entries.length < 2) return `${printJson({ format: 1, schemas: entries }, 'json')}\n`
  return `{\n  "format": 1,\n  "schemas": [\n${lines.join(',\n')}\n  ]\n}\n`
}
