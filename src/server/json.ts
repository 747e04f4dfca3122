/** Values as JSON, whatever a row may hold: a bigint as its digits in a text, bytes in base64, what is not there as null. */

/**
 * @param indent spaces a level; 0 for one line
 * @example jsonText({ cents: 12n }) // '{"cents":"12"}'
 */
export function jsonText(value: unknown, indent = 0): string {
  return JSON.stringify(value, plain, indent) ?? 'null'
}

// `JSON.stringify` asks a value's toJSON first, and Buffer has one: `this[name]` is the value before that.
function plain(this: unknown, name: string, value: unknown): unknown {
  const before = (this as Readonly<Record<string, unknown>>)[name]
  if (before instanceof Uint8Array) return Buffer.from(before.buffer, before.byteOffset, before.byteLength).toString('base64')
  return typeof value === 'bigint' ? value.toString() : value
}
