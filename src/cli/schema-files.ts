/**
 * `tidemark types`: keeps the generated modules and the schema catalogue in step with the `.avsc` files, or tells where they are not.
 *
 * Promised: nothing is written when any file has a problem; a file whose text is right already is not touched; `check` writes nothing.
 * Only `index.ts` files that start with the generator's header are ever replaced or removed.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { schemaCatalogue } from '../drivers/schemas/index.ts'
import { generateModules, HEADER, type NamedSchema, type SchemaFile, type SchemaFileProblem } from './generate-types.ts'

export interface TypesOptions {
  /** Usually `schemas`: a folder a context in it, and the catalogue. */
  readonly folder: string
  /** What the modules import `schema` from. Default `tidemark`. */
  readonly importFrom?: string
  /** Change nothing, only report. Default false. */
  readonly check?: boolean
}

/** A file that was not as the schemas say. Without `check` it now is. */
export interface SchemaDrift {
  /** Below the folder, with `/`. */
  readonly path: string
  /** `stale`: a module without schemas. `unregistered`: a schema without an entry in the catalogue. */
  readonly kind: 'missing' | 'different' | 'stale' | 'unregistered'
  readonly message: string
}

export interface TypesReport {
  /** Mistakes in `.avsc` files. Where there is one, nothing else was done. */
  readonly problems: readonly SchemaFileProblem[]
  readonly drift: readonly SchemaDrift[]
  /** Schemas with an entry in the catalogue, new ones included. */
  readonly schemas: number
  /** Modules, one a context. */
  readonly modules: number
}

const CATALOGUE = 'catalogue.json'

/**
 * @throws TidemarkError INPUT_INVALID when the folder cannot be read or a module's place is taken; SCHEMA_SOURCE_FAILED when the
 * catalogue is damaged or another process is writing it
 * @example const { problems, drift } = await generateTypes({ folder: 'schemas', check: true })
 */
export async function generateTypes({ folder, importFrom = 'tidemark', check = false }: TypesOptions): Promise<TypesReport> {
  const { files, stray, contexts } = await schemaFiles(folder)
  const { problems, modules, schemas } = generateModules(files, importFrom)
  if (problems.length + stray.length > 0) return { problems: [...stray, ...problems], drift: [], schemas: 0, modules: 0 }
  const texts = new Map(modules.map(({ context, text }) => [context, text]))
  const wrong: { readonly context: string; readonly drift: SchemaDrift }[] = []
  for (const context of contexts) {
    const drift = await driftOf(folder, context, texts.get(context))
    if (drift !== undefined) wrong.push({ context, drift })
  }
  const unregistered = await register(folder, schemas, check)
  if (!check) for (const { context } of wrong) await settle(folder, context, texts.get(context))
  return { problems: [], drift: [...unregistered, ...wrong.map(({ drift }) => drift)], schemas: schemas.length, modules: modules.length }
}

async function schemaFiles(folder: string): Promise<{ files: SchemaFile[]; stray: SchemaFileProblem[]; contexts: string[] }> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw new TidemarkError('INPUT_INVALID', 'the folder of schemas cannot be read', {
      detail: `${folder}: ${messageOf(error)}.`,
      hint: 'Put the schemas of each context into a folder of its name there, such as schemas/orders/OrderPlaced.avsc.',
      cause: error,
    })
  })
  const inOrder = entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  const stray = inOrder
    .filter((entry) => entry.isFile() && entry.name.endsWith('.avsc'))
    .map(({ name }) => ({
      path: name,
      line: 1,
      message: 'it is not in the folder of a context',
      hint: `Move it, for example to orders/${name}.`,
    }))
  const contexts = inOrder.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name)
  const files: SchemaFile[] = []
  for (const context of contexts) {
    const names = (await readdir(join(folder, context))).filter((name) => name.endsWith('.avsc')).sort()
    for (const name of names) {
      const text = await readFile(join(folder, context, name), 'utf8')
      files.push({ path: `${context}/${name}`, context, text: text.replace(/^\uFEFF/, '') })
    }
  }
  return { files, stray, contexts }
}

async function register(folder: string, schemas: readonly NamedSchema[], check: boolean): Promise<SchemaDrift[]> {
  const catalogue = schemaCatalogue({ file: join(folder, CATALOGUE), writable: true })
  const drift: SchemaDrift[] = []
  for (const { subject, schema, path } of schemas) {
    if ((await catalogue.find(subject, schema)) !== undefined) continue
    const now = check ? 'is not' : `is now, with id ${await catalogue.idOf(subject, schema)},`
    drift.push({ path, kind: 'unregistered', message: `${subject} ${now} in ${CATALOGUE}` })
  }
  return drift
}

/** What is wrong with a context's module, or undefined. `text` is what it should be; undefined where there should be none. */
async function driftOf(folder: string, context: string, text: string | undefined): Promise<SchemaDrift | undefined> {
  const path = `${context}/index.ts`
  const found = await readFile(join(folder, path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return text === undefined ? undefined : { path, kind: 'missing', message: 'it does not exist yet' }
  const ours = found.startsWith(HEADER)
  if (text === undefined) return ours ? { path, kind: 'stale', message: 'its schemas are gone' } : undefined
  if (!ours) {
    throw new TidemarkError('INPUT_INVALID', `${path} is not a generated file`, {
      detail: `${join(folder, path)} stands where the types of "${context}" belong, and does not start with the line that generated files have.`,
      hint: 'Move it elsewhere.',
    })
  }
  // Line ends are the business of whoever checked the file out.
  return found.replaceAll('\r\n', '\n') === text ? undefined : { path, kind: 'different', message: 'it is not what its schemas make now' }
}

async function settle(folder: string, context: string, text: string | undefined): Promise<void> {
  const file = join(folder, context, 'index.ts')
  if (text === undefined) return rm(file)
  await mkdir(join(folder, context), { recursive: true })
  return writeFile(file, text)
}
