/** Commands that people copy into a shell. */

/** A word as a shell takes it for one. @example quoted("my data") // "'my data'" */
export function quoted(word: string): string {
  return /^[\w@%+=:,./#-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
