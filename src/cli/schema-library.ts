/**
 * The types that schema files define for each other. Avro itself knows one schema at a time, so a type of another file is written into
 * the schema that uses it, where it is used first; a schema then means the same without its neighbours.
 * Anything that is not understood is left as it is: the lint that follows names it.
 */

type Json = { readonly [attribute: string]: unknown }

const NAMED: ReadonlySet<unknown> = new Set(['record', 'enum', 'fixed'])

/** Deeper than any schema that the lint lets pass. */
const DEPTH_MAX = 256

export class Library {
  private readonly types = new Map<string, { readonly json: Json; readonly path: string }>()

  /** Takes in the type that a file defines. Returns the path of the file that defined it before, if any. */
  add(json: unknown, path: string): string | undefined {
    const name = fullName(json, '')
    if (name === undefined) return undefined
    const other = this.types.get(name)
    if (other === undefined) this.types.set(name, { json: { ...(json as Json), name }, path })
    return other?.path
  }

  /** A schema with the types of other files written into it. */
  whole(json: unknown): unknown {
    return this.expand(json, '', new Set(), 0)
  }

  private expand(json: unknown, namespace: string, defined: Set<string>, depth: number): unknown {
    if (depth > DEPTH_MAX) return json
    const within = (part: unknown, inner = namespace): unknown => this.expand(part, inner, defined, depth + 1)
    if (typeof json === 'string') return this.reference(json, namespace, defined, depth)
    if (Array.isArray(json)) return json.map((branch) => within(branch))
    if (typeof json !== 'object' || json === null) return json
    const schema = json as Json
    const name = fullName(json, namespace)
    if (name !== undefined) {
      defined.add(name)
      if (schema.type !== 'record' || !Array.isArray(schema.fields)) return json
      const inner = name.slice(0, Math.max(0, name.lastIndexOf('.')))
      const fields = schema.fields.map((field: unknown) =>
        typeof field === 'object' && field !== null && 'type' in field ? { ...field, type: within(field.type, inner) } : field,
      )
      return { ...schema, fields }
    }
    if (schema.type === 'array') return { ...schema, items: within(schema.items) }
    if (schema.type === 'map') return { ...schema, values: within(schema.values) }
    return 'type' in schema ? { ...schema, type: within(schema.type) } : json
  }

  private reference(name: string, namespace: string, defined: Set<string>, depth: number): unknown {
    const full = name.includes('.') || namespace === '' ? name : `${namespace}.${name}`
    const other = this.types.get(full)
    if (other === undefined || defined.has(full)) return name
    // Its name is a full one, so the namespace around it here does not matter; an own `namespace` beside it would say the same twice.
    const { namespace: _own, ...json } = other.json
    return this.expand(json, '', defined, depth + 1)
  }
}

function fullName(json: unknown, namespace: string): string | undefined {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined
  const { type, name, namespace: own } = json as Json
  if (!NAMED.has(type) || typeof name !== 'string') return undefined
  const space = typeof own === 'string' ? own : namespace
  return name.includes('.') || space === '' ? name : `${space}.${name}`
}
