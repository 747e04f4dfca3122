/** `tidemark check`: everything that can be known to be wrong before anything runs. */
import { existsSync } from 'node:fs'
import { summary } from '../../plan/explain.ts'
import { formerNames } from '../../plan/lock.ts'
import { jsonText } from '../../server/json.ts'
import { errorData, errorText } from '../failure.ts'
import { loadTopology } from '../load.ts'
import { changeLines, changesOf, type Planned, planned } from '../locks.ts'
import { paint } from '../render.ts'
import { generateTypes, type TypesReport } from '../schema-files.ts'
import { EXIT, type Shell } from '../shell.ts'
import { importedIn, typesCode, typesLines } from './types.ts'

export interface CheckOptions {
  /** The folder of schemas; one that does not exist is not checked. */
  readonly schemas: string
  readonly json: boolean
}

/** Prints what it finds, errors included: 1 for errors, 2 for what differs from what was agreed on or generated. */
export async function check(name: string, options: CheckOptions, shell: Shell): Promise<number> {
  const errors: unknown[] = []
  const made = await caught(async () => planned(await loadTopology(name, shell.folder)), errors)
  const types = existsSync(options.schemas)
    ? await caught(() => generateTypes({ folder: options.schemas, importFrom: importedIn(options.schemas), check: true }), errors)
    : undefined
  if (options.json) await shell.out.write(`${jsonText(asData(made, types, errors))}\n`)
  else await print(name, options, { made, types, errors }, shell)
  if (errors.length > 0) return EXIT.failed
  const drift = types === undefined ? EXIT.ok : typesCode(types, true)
  if (drift !== EXIT.ok) return drift
  return made !== undefined && changesOf(made).length > 0 ? EXIT.differences : EXIT.ok
}

/** The one command that goes on after an error: the next thing may be wrong as well. */
async function caught<T>(work: () => Promise<T>, errors: unknown[]): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    errors.push(error)
    return undefined
  }
}

interface Findings {
  readonly made: Planned | undefined
  readonly types: TypesReport | undefined
  readonly errors: readonly unknown[]
}

async function print(name: string, { schemas }: CheckOptions, { made, types, errors }: Findings, shell: Shell): Promise<void> {
  const color = paint(shell.err, shell.env)
  for (const error of errors) await shell.err.write(`${errorText(error, color)}\n`)
  for (const warning of made?.plan.warnings ?? []) await shell.err.write(`${color.warn(`warning: ${warning}`)}\n`)
  if (made !== undefined) {
    await shell.out.write(`${summary(made.plan, made.facts)}\n`)
    const changes = changesOf(made)
    if (made.lock === undefined) await shell.out.write(`lock: none yet; make it with "tidemark plan ${name} --write"\n`)
    else if (changes.length === 0) await shell.out.write(`lock: ${made.file} is this plan\n`)
    else for (const change of changes) await shell.out.write(`lock: ${changeLines(change).join('\n  ')}\n`)
    for (const sentence of made.lock === undefined ? [] : formerNames(made.lock)) await shell.out.write(`lock: ${sentence}\n`)
  }
  if (types !== undefined) for (const line of typesLines(types, { folder: schemas, check: true })) await shell.out.write(`types: ${line}\n`)
}

function asData(made: Planned | undefined, types: TypesReport | undefined, errors: readonly unknown[]): unknown {
  return {
    errors: errors.map(errorData),
    warnings: made?.plan.warnings ?? [],
    lock: made?.lock === undefined ? null : { changes: changesOf(made), formerly: formerNames(made.lock) },
    types: types ?? null,
  }
}
