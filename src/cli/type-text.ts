/** TypeScript text for Avro types: one module with the brands, interfaces and schemas of a context. */
import { type AvroField, type AvroSchema, type AvroType, IN_JAVASCRIPT, shortName } from '../base/avro.ts'
import { printJson, textIn } from '../base/json.ts'

/** A type that a file defines. */
export interface ModuleType {
  readonly type: NamedType
  readonly schema: AvroSchema
  readonly path: string
}

export type NamedType = Extract<AvroType, { readonly name: string }>

/** Columns of a line, as the formatter is set. */
const WIDTH = 140

/** The module below its header. Types come in the order of their files, each after those that only it brings. */
export function printModule(types: readonly ModuleType[], importFrom: string): string {
  const ofFiles = new Set(types.map(({ type }) => type.name))
  const done = new Set<string>()
  const brands = new Map<string, string>()
  const blocks: string[] = []
  const declare = (type: NamedType): void => {
    if (done.has(type.name)) return
    done.add(type.name)
    for (const inner of innerTypes(type)) {
      if ('brand' in inner && inner.brand !== undefined) brands.set(inner.brand, baseText(inner))
      if ('name' in inner && !ofFiles.has(inner.name)) declare(inner)
    }
    blocks.push(declaration(type))
  }
  for (const { type, schema } of types) {
    declare(type)
    if (type.kind === 'record') blocks.push(schemaText(shortName(type.name), schema))
  }
  const names = [
    ...(brands.size > 0 ? ['type Branded'] : []),
    ...(types.some(({ type }) => type.kind === 'record') ? ['type Schema', 'schema'] : []),
  ]
  const imports = names.length > 0 ? [`import { ${names.join(', ')} } from ${textIn(importFrom, 'typescript')}\n`] : []
  const brandTypes = [...brands].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, base]) => brandText(name, base))
  return [...imports, ...brandTypes, ...blocks].join('\n')
}

function brandText(name: string, base: string): string {
  return `export type ${name} = Branded<${base}, '${name}'>\n`
}

function schemaText(name: string, schema: AvroSchema): string {
  const start = `export const ${name}: Schema<${name}> = schema(`
  return `${start}${printJson(schema, 'typescript', 0, start.length + 1)})\n`
}

function declaration(type: NamedType): string {
  const doc = docText(type.doc, '')
  const name = shortName(type.name)
  if (type.kind === 'fixed') return `${doc}export type ${name} = Uint8Array\n`
  if (type.kind === 'enum') {
    const symbols = type.symbols.map((symbol) => textIn(symbol, 'typescript'))
    return `${doc}${oneOf(`export type ${name} =`, symbols, '')}\n`
  }
  // An interface without members accepts every value, so linters refuse it; this says the same of objects.
  if (type.fields.length === 0) return `${doc}export type ${name} = object\n`
  return `${doc}export interface ${name} {\n${type.fields.map(fieldText).join('\n')}\n}\n`
}

function fieldText(field: AvroField): string {
  const doc = docText(field.doc ?? unitOf(field.type), '  ')
  const members = field.type.kind === 'union' ? unionMembers(field.type.branches) : [typeText(field.type)]
  return doc + oneOf(`  readonly ${field.name}:`, members, '  ')
}

/** Alternatives on one line where they fit, else one a line, as the formatter breaks them. */
function oneOf(start: string, members: readonly string[], indent: string): string {
  const line = `${start} ${members.join(' | ')}`
  return line.length <= WIDTH || members.length < 2 ? line : [start, ...members.map((member) => `${indent}  | ${member}`)].join('\n')
}

function docText(doc: string | undefined, indent: string): string {
  const lines = (doc ?? '')
    .replaceAll('*/', '*\\/')
    .split('\n')
    .map((line) => line.trim())
  while (lines.at(-1) === '') lines.pop()
  while (lines[0] === '') lines.shift()
  if (lines.length === 0) return ''
  const line = `${indent}/** ${lines[0]} */\n`
  if (lines.length === 1 && line.length <= WIDTH + 1) return line
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */\n`].join('\n')
}

/** What a number counts, where its schema says so only by its logical type. */
const UNITS: Readonly<Record<string, string>> = {
  date: 'Days since 1970.',
  'time-millis': 'Milliseconds since midnight.',
  'time-micros': 'Microseconds since midnight.',
  'timestamp-millis': 'Milliseconds since 1970 (UTC).',
  'timestamp-micros': 'Microseconds since 1970 (UTC).',
  'local-timestamp-millis': 'Milliseconds since 1970, in a time zone that is not said.',
  'local-timestamp-micros': 'Microseconds since 1970, in a time zone that is not said.',
}

function unitOf(type: AvroType): string | undefined {
  if (type.kind === 'union') return type.branches.map(unitOf).find((unit) => unit !== undefined)
  return 'logical' in type && type.logical !== undefined ? UNITS[type.logical] : undefined
}

function typeText(type: AvroType): string {
  if (type.kind === 'union') return unionMembers(type.branches).join(' | ')
  if (type.kind === 'array') {
    const items = typeText(type.items)
    return type.items.kind === 'union' && type.items.branches.length > 1
      ? `readonly (${items})[]`
      : `readonly ${grouped(type.items, items)}[]`
  }
  if (type.kind === 'map') return `Readonly<Record<string, ${typeText(type.values)}>>`
  return ('brand' in type ? type.brand : undefined) ?? baseText(type)
}

/** `readonly` binds to one pair of brackets, so a list of lists needs parentheses. */
function grouped(type: AvroType, text: string): string {
  return type.kind === 'array' ? `(${text})` : text
}

function baseText(type: AvroType): string {
  if ('name' in type) return shortName(type.name)
  if (type.kind === 'bytes') return 'Uint8Array'
  if (type.kind === 'long' && type.big) return 'bigint'
  return IN_JAVASCRIPT[type.kind]
}

/** The alternatives of a union, null last. Those that look alike in JavaScript come wrapped, as in Avro's JSON encoding. */
function unionMembers(branches: readonly AvroType[]): string[] {
  const kinds = branches.map((type) => (type.kind === 'long' && type.big ? 'bigint' : IN_JAVASCRIPT[type.kind]))
  const told = new Set(kinds).size === kinds.length
  const values = branches.filter(({ kind }) => kind !== 'null')
  const members = values.map((type) => (told ? typeText(type) : `{ readonly ${branchName(type)}: ${typeText(type)} }`))
  return values.length < branches.length ? [...members, 'null'] : members
}

function branchName(type: AvroType): string {
  return 'name' in type && type.name.includes('.') ? `'${type.name}'` : 'name' in type ? type.name : type.kind
}

/** Every type in a type's own text: of its fields, in their lists, maps and unions, itself included where it has a brand. */
function innerTypes(type: NamedType): AvroType[] {
  const found: AvroType[] = type.kind === 'record' ? [] : [type]
  const visit = (type: AvroType): void => {
    if (type.kind === 'array') visit(type.items)
    else if (type.kind === 'map') visit(type.values)
    else if (type.kind === 'union') type.branches.forEach(visit)
    else found.push(type)
  }
  if (type.kind === 'record') for (const field of type.fields) visit(field.type)
  return found
}
