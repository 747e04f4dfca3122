/** Words of the command line that both its grammar and its commands know. */

/** How `plan` prints. */
export const FORMATS = ['text', 'json', 'mermaid'] as const
/** When `replay` makes what it built the live one. */
export const SWITCHES = ['equal', 'always', 'never'] as const
/** The first port that `dev` tries. */
export const DEFAULT_PORT = 8080
/** Where schemas lie. */
export const DEFAULT_SCHEMAS = 'schemas'
