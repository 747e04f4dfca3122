/**
 * TypeScript for Avro schemas: the texts of `.avsc` files in, the text of one module a context out. Reads and writes nothing.
 *
 * Promised: the same files give the same text, laid out as biome does it; every record becomes an interface and a `Schema` of the same
 * name, so that `import { OrderPlaced } from './schemas/orders/index.ts'` gives both. A file may use the types of other files by their
 * full names; each schema is written whole, because other languages and registries must be able to read it alone.
 */
import { type AvroSchema, type AvroType, shortName } from '../base/avro.ts'
import { plainSchema } from '../base/avro-canonical.ts'
import { readSchema, type SchemaProblem, schemaProblem } from '../base/avro-read.ts'
import { lineOf, parseJson } from '../base/json.ts'
import { Library } from './schema-library.ts'
import { type ModuleType, type NamedType, printModule } from './type-text.ts'

export interface SchemaFile {
  /** For messages and order, such as `orders/OrderPlaced.avsc`. */
  readonly path: string
  readonly context: string
  readonly text: string
}

/** What is wrong with a file, for an editor to jump to. */
export interface SchemaFileProblem {
  readonly path: string
  readonly line: number
  readonly message: string
  readonly hint: string | undefined
}

export interface GeneratedModule {
  readonly context: string
  readonly text: string
}

/** A record that has a `Schema`, and by which name and JSON it is registered. */
export interface NamedSchema {
  readonly subject: string
  readonly schema: AvroSchema
  readonly path: string
}

export interface Generated {
  /** When there is one, modules and schemas are incomplete and must not be used. */
  readonly problems: readonly SchemaFileProblem[]
  readonly modules: readonly GeneratedModule[]
  readonly schemas: readonly NamedSchema[]
}

/** The first line of each module, by which an old one is known to be ours. */
export const HEADER = '// Made by "tidemark types" from the .avsc files beside it. Change those and run it again.'

/**
 * @param importFrom what the modules import `schema` from, such as `tidemark`
 * @example generateModules([{ path: 'orders/OrderPlaced.avsc', context: 'orders', text }], 'tidemark').modules[0]?.text
 */
export function generateModules(files: readonly SchemaFile[], importFrom: string): Generated {
  const problems: SchemaFileProblem[] = []
  const parsed: { readonly file: SchemaFile; readonly json: unknown }[] = []
  for (const file of files) {
    const json = parseJson(file.text)
    if ('problem' in json) problems.push({ path: file.path, line: json.line, message: `it is not JSON: ${json.problem}`, hint: undefined })
    else parsed.push({ file, json: json.value })
  }
  const library = new Library()
  for (const { file, json } of parsed) {
    const other = library.add(json, file.path)
    if (other !== undefined)
      problems.push({ path: file.path, line: 1, message: `its type is defined in ${other} too`, hint: 'Give one of them another name.' })
  }
  const schemas: NamedSchema[] = []
  const contexts = new Map<string, ModuleType[]>()
  for (const { file, json } of parsed) {
    const schema = library.whole(json)
    const problem = schemaProblem(schema) ?? problemOf(readSchema(schema))
    if (problem !== undefined) {
      problems.push({ path: file.path, line: lineOf(file.text, problem.path), message: problem.message, hint: problem.hint })
      continue
    }
    const type = readSchema(schema) as NamedType
    if (type.kind === 'record') schemas.push({ subject: type.name, schema: schema as AvroSchema, path: file.path })
    const types = contexts.get(file.context)
    const entry: ModuleType = { type, schema: schema as AvroSchema, path: file.path }
    if (types === undefined) contexts.set(file.context, [entry])
    else types.push(entry)
  }
  const modules: GeneratedModule[] = []
  for (const [context, types] of contexts) {
    const clashes = clashesOf(types)
    problems.push(...clashes)
    if (clashes.length === 0) modules.push({ context, text: `${HEADER}\n${printModule(types, importFrom)}` })
  }
  return { problems, modules, schemas }
}

/** What Avro allows and TypeScript or an event does not. */
function problemOf(type: AvroType): SchemaProblem | undefined {
  if (type.kind !== 'record' && type.kind !== 'enum' && type.kind !== 'fixed')
    return { path: [], message: `a file must define a record, an enum or a fixed, not a type "${type.kind}"`, hint: undefined }
  if (type.kind === 'record') {
    const index = type.fields.findIndex(({ name }) => name === 'type')
    if (index >= 0) {
      const hint = 'Name it otherwise and keep what others write: {"name": "kind", "aliases": ["type"], ...}.'
      return { path: ['fields', index, 'name'], message: 'a field must not be named "type", which tells events apart in code', hint }
    }
  }
  return decimalIn(type, [], new Set())
}

function decimalIn(type: AvroType, path: readonly (string | number)[], seen: Set<AvroType>): SchemaProblem | undefined {
  if (seen.has(type)) return undefined
  seen.add(type)
  if ('logical' in type && type.logical === 'decimal') {
    const hint = 'Use a long of the smallest unit ("cents"), or a string.'
    return { path, message: 'a decimal has no exact counterpart in JavaScript', hint }
  }
  if (type.kind === 'array') return decimalIn(type.items, [...path, 'items'], seen)
  if (type.kind === 'map') return decimalIn(type.values, [...path, 'values'], seen)
  const within =
    type.kind === 'union'
      ? type.branches.map((branch, i) => decimalIn(branch, [...path, i], seen))
      : type.kind === 'record'
        ? type.fields.map((field, i) => decimalIn(field.type, [...path, 'fields', i, 'type'], seen))
        : []
  return within.find((problem) => problem !== undefined)
}

/** Names that the module cannot give to a type, because it uses them or because TypeScript does not allow them. */
const TAKEN: ReadonlySet<string> = new Set(
  (
    'Branded Schema schema Readonly Record Uint8Array any await bigint boolean break case catch class const continue debugger default delete ' +
    'do else enum export extends false finally for function if implements import in instanceof interface let never new null number object ' +
    'package private protected public return static string super switch symbol this throw true try type typeof undefined unknown var void ' +
    'while with yield'
  ).split(' '),
)

/** Names that mean two things in one module, or that no type may have. */
function clashesOf(types: readonly ModuleType[]): SchemaFileProblem[] {
  const problems: SchemaFileProblem[] = []
  const meanings = new Map<string, { readonly meaning: string; readonly path: string }>()
  for (const { type, path } of types) {
    for (const { name, meaning } of namesIn(type)) {
      const other = meanings.get(name)
      if (TAKEN.has(name)) {
        const hint = 'Name it otherwise, and keep this name as an alias.'
        problems.push({ path, line: 1, message: `"${name}" cannot be the name of a type in TypeScript`, hint })
      } else if (other === undefined) meanings.set(name, { meaning, path })
      else if (other.meaning !== meaning) {
        const where = other.path === path ? 'in the same file' : `in ${other.path}`
        const hint = 'The types and brands of one context need names of their own.'
        problems.push({ path, line: 1, message: `"${name}" means something else ${where}`, hint })
      }
    }
  }
  return problems
}

/** The names that a type brings into its module, and what each means. */
function namesIn(type: AvroType): { readonly name: string; readonly meaning: string }[] {
  const found: { readonly name: string; readonly meaning: string }[] = []
  const seen = new Set<string>()
  const visit = (type: AvroType): void => {
    if ('brand' in type && type.brand !== undefined)
      found.push({ name: type.brand, meaning: `a brand of ${'name' in type ? type.name : type.kind}` })
    if (type.kind === 'array') visit(type.items)
    else if (type.kind === 'map') visit(type.values)
    else if (type.kind === 'union') type.branches.forEach(visit)
    else if ('name' in type && !seen.has(type.name)) {
      seen.add(type.name)
      found.push({ name: shortName(type.name), meaning: JSON.stringify(plainSchema(type, { big: true })) })
      if (type.kind === 'record') for (const field of type.fields) visit(field.type)
    }
  }
  visit(type)
  return found
}
