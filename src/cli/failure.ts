/** Errors on the command line: which exit code they end with, and how they are printed. */
import { codeOf, type ErrorCode, messageOf, TidemarkError } from '../base/errors.ts'
import { jsonText } from '../server/json.ts'
import { type Painter, paint } from './render.ts'
import { EXIT, Interrupted, type Shell } from './shell.ts'

const CODES: { readonly [Code in ErrorCode]?: number } = {
  OPTION_INVALID: EXIT.usage,
  VIEW_UNKNOWN: EXIT.usage,
  APP_RUNNING: EXIT.temporary,
  LOG_LOCKED: EXIT.temporary,
  STORE_LOCKED: EXIT.temporary,
  CONTRACT_INVALID: EXIT.configuration,
  INPUT_CHANGED: EXIT.configuration,
  INPUT_INVALID: EXIT.configuration,
  NAME_INVALID: EXIT.configuration,
  PLAN_CHANGED: EXIT.configuration,
  PLAN_LOCK_INVALID: EXIT.configuration,
  PLAN_REFUSED: EXIT.configuration,
  SCHEMA_INVALID: EXIT.configuration,
  SCHEMA_UNREGISTERED: EXIT.configuration,
  STORE_FOREIGN: EXIT.configuration,
  TOPIC_MISMATCH: EXIT.configuration,
  TOPOLOGY_INVALID: EXIT.configuration,
}

/** The exit code of a command that an error ended. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return EXIT.interrupted
  const code = codeOf(error)
  return (code === undefined ? undefined : CODES[code]) ?? EXIT.failed
}

/** An error as data. */
export function errorData(error: unknown): Readonly<Record<string, string | undefined>> {
  if (!(error instanceof TidemarkError)) return { code: undefined, message: messageOf(error) }
  const { code, message, detail, hint } = error
  return { code, message, detail, hint }
}

/** An error in words. One that is none of ours is a defect, of the topology's code or of tidemark: its stack is what helps. */
export function errorText(error: unknown, color: Painter): string {
  if (error instanceof TidemarkError) {
    const [first = '', ...rest] = error.explain().split('\n')
    return [color.bad(first), ...rest, ...thrownAt(error)].join('\n')
  }
  if (error instanceof Interrupted) return error.message
  return color.bad(error instanceof Error ? (error.stack ?? error.message) : messageOf(error))
}

/** Where a function of the user's threw. */
function thrownAt(error: TidemarkError): string[] {
  if (error.code !== 'STEP_FAILED' || !(error.cause instanceof Error)) return []
  const place = error.cause.stack?.split('\n').find((line) => line.startsWith('    at '))
  return place === undefined ? [] : [place.trim().replace('file://', '')]
}

/** Prints an error, for people and where `json` says so for programs too, and gives the exit code. */
export async function fail(error: unknown, shell: Shell, json: boolean): Promise<number> {
  await shell.err.write(`${errorText(error, paint(shell.err, shell.env))}\n`)
  if (json) await shell.out.write(`${jsonText({ error: errorData(error) })}\n`)
  return exitCodeOf(error)
}
