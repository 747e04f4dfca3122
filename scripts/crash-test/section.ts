/** What a scenario has to say in the end: for the terminal, and as a chapter of the report. */

export interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly (string | number)[])[]
}

export interface Section {
  readonly title: string
  /** What was done, and what had to hold. */
  readonly about: string
  readonly tables: readonly Table[]
  /** What must never be, in words. Empty when all promises held. */
  readonly wrong: readonly string[]
}

/** A section as Markdown, which is how it is printed too. */
export function markdownOf({ title, about, tables, wrong }: Section): string {
  const verdict = wrong.length === 0 ? '**All promises held.**' : `**${wrong.length} promises broken:**\n\n${wrong.map(bullet).join('\n')}`
  return [`## ${title}`, about, ...tables.map(tableOf), verdict].join('\n\n')
}

function tableOf({ head, rows }: Table): string {
  const texts = [head, head.map(() => '---'), ...rows].map((row) => row.map((cell) => String(cell)))
  const widths = head.map((_, column) => Math.max(...texts.map((row) => (row[column] ?? '').length)))
  return texts.map((row) => `| ${row.map((cell, column) => pad(cell, widths[column] ?? 0)).join(' | ')} |`).join('\n')
}

/** A rule is as long as its column, a number stands at the right of it. */
function pad(cell: string, width: number): string {
  if (/^-+$/.test(cell)) return '-'.repeat(width)
  return /^[\d,.]+( ms)?$/.test(cell) ? cell.padStart(width) : cell.padEnd(width)
}

function bullet(sentence: string): string {
  return `- ${sentence.replaceAll('\n', '\n  ')}`
}

/** The middle one of some numbers, the mean of the two in the middle when they are even in number; NaN of none. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[half] as number) : ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2
}
