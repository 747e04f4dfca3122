/** `tidemark types`: typed modules beside the schemas, or whether they are as the schemas say. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { jsonText } from '../../server/json.ts'
import { HEADER } from '../generate-types.ts'
import { paint } from '../render.ts'
import { generateTypes, type TypesReport } from '../schema-files.ts'
import { EXIT, type Shell } from '../shell.ts'

export interface TypesCommandOptions {
  /** Default `schemas`. */
  readonly schemas: string
  /** What modules import `schema` from. Default: what they do now, else `tidemark`. */
  readonly importFrom: string | undefined
  readonly check: boolean
  readonly json: boolean
}

/** @throws TidemarkError INPUT_INVALID, SCHEMA_SOURCE_FAILED */
export async function types(options: TypesCommandOptions, shell: Shell): Promise<number> {
  const { schemas, importFrom, check, json } = options
  const report = await generateTypes({ folder: schemas, importFrom: importFrom ?? importedIn(schemas), check })
  if (json) await shell.out.write(`${jsonText(report)}\n`)
  else {
    for (const line of typesLines(report, { folder: schemas, check })) await shell.out.write(`${line}\n`)
    if (check && report.drift.length > 0)
      await shell.err.write(`${paint(shell.err, shell.env).warn('Make them again with "tidemark types", and commit them.')}\n`)
  }
  return typesCode(report, check)
}

/** Mistakes fail; what is merely not generated yet is a difference. */
export function typesCode({ problems, drift }: TypesReport, check: boolean): number {
  if (problems.length > 0) return EXIT.failed
  return check && drift.length > 0 ? EXIT.differences : EXIT.ok
}

export function typesLines({ problems, drift, schemas, modules }: TypesReport, about: { folder: string; check: boolean }): string[] {
  if (problems.length > 0) {
    return problems.flatMap(({ path, line, message, hint }) => [
      `${join(about.folder, path)}:${line}: ${message}`,
      ...(hint === undefined ? [] : [`  hint: ${hint}`]),
    ])
  }
  const state = `${schemas} schemas, ${modules} modules`
  if (drift.length === 0) return [`${state}: all as they should be`]
  const verb = about.check ? 'is not as the schemas say' : 'is made anew'
  return [
    ...drift.map(({ path, kind, message }) => (kind === 'unregistered' ? `${path}: ${message}` : `${path} ${verb}: ${message}`)),
    state,
  ]
}

/** What the modules that are there import from, so that a check needs no option. */
export function importedIn(folder: string): string {
  const contexts = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : []
  for (const { name } of contexts) {
    const file = join(folder, name, 'index.ts')
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const found = text.startsWith(HEADER) ? /^import .* from '([^']+)'/m.exec(text)?.[1] : undefined
    if (found !== undefined) return found
  }
  return 'tidemark'
}
