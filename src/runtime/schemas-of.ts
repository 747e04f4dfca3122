/** Which schemas a batch needs before its values can be read. */
import { codeOf } from '../base/errors.ts'
import type { Columns } from '../ports/record-batch/index.ts'
import type { ValueCodec } from '../ports/serde.ts'
import type { Input } from './input.ts'
import type { Interpreter } from './interpreter.ts'

/**
 * The schema ids among the values of a batch that must be asked for first. Where there are none, it notes which ids there are, because
 * records that are kept are read after a restart, and counts the values with fields that their reader does not know.
 */
export function schemasOf(
  input: Input,
  columns: Columns,
  parts: { readonly schemas: Set<number>; readonly interpreter: Interpreter },
): readonly number[] {
  const codec = input.parts.flavour.value
  if (codec === undefined) return []
  const { payload, valueAt, valueEnd, count } = columns
  const unknown = new Set<number>()
  const known = new Set<number>()
  let last = -1
  let lastUnknownFields = 0
  let unknownFields = 0
  for (let i = input.at; i < count; i++) {
    const at = valueAt[i] as number
    if (at < 0 || (valueEnd[i] as number) - at < 5 || payload[at] !== 0) continue
    const id = payload.readUInt32BE(at + 1)
    if (id !== last) {
      last = id
      lastUnknownFields = 0
      if (!codec.knows(id)) unknown.add(id)
      else {
        const fields = unknownFieldsOf(codec, payload, at, valueEnd[i] as number)
        if (fields !== undefined) known.add(id)
        lastUnknownFields = fields ?? 0
      }
    }
    if (lastUnknownFields > 0) unknownFields += 1
  }
  if (unknown.size > 0) return [...unknown]
  for (const id of known) parts.schemas.add(id)
  if (unknownFields > 0) parts.interpreter.tally(input.parts.log).add('unknown_fields', unknownFields)
  return []
}

/** Undefined for an id that nobody knows. What else keeps a value from being read is answered by the step that reads it. */
function unknownFieldsOf(codec: ValueCodec, payload: Buffer, at: number, end: number): number | undefined {
  try {
    return codec.unknownFields(payload, at, end)
  } catch (error) {
    return codeOf(error) === 'SCHEMA_UNKNOWN' ? undefined : 0
  }
}
