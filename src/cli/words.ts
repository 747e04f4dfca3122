/** Words of the command line that both its grammar and its commands know. */

/** How `plan` prints. */
export const FORMATS = ['text', 'json', 'mermaid'] as const
/** When `replay` makes what it built the live one. */
export const SWITCHES = ['equal', 'always', 'never'] as const
/** The first port that `dev` tries. */
export const DEFAULT_PORT = 8080
/** Where schemas lie. */
export const DEFAULT_SCHEMAS = 'schemas'

/** A word as a shell takes it for one. @example quoted("my data") // "'my data'" */
export function quoted(word: string): string {
  return /^[\w@%+=:,./#-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
