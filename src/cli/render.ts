/** How things look: numbers, durations, tables, colours. Texts in, texts out; what the terminal can do is asked of the output. */
import type { Output } from './shell.ts'

/** Marks texts by what they mean; without colours it gives them back as they are. */
export interface Painter {
  readonly strong: (text: string) => string
  readonly faint: (text: string) => string
  readonly good: (text: string) => string
  readonly warn: (text: string) => string
  readonly bad: (text: string) => string
}

const plain = (text: string): string => text
/** No colours. */
export const PLAIN: Painter = { strong: plain, faint: plain, good: plain, warn: plain, bad: plain }

const ESC = '\u001b'
const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    text === '' ? '' : `${ESC}[${on}m${text}${ESC}[${off}m`
/** Colours that every terminal has. */
export const COLORS: Painter = { strong: sgr(1, 22), faint: sgr(2, 22), good: sgr(32, 39), warn: sgr(33, 39), bad: sgr(31, 39) }

/** Colours on a terminal, unless NO_COLOR (no-color.org) or a terminal without them says otherwise. */
export function paint(output: Output, env: Readonly<Record<string, string | undefined>>): Painter {
  const wanted = output.terminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
  return wanted ? COLORS : PLAIN
}

/** @example grouped(1234567) // '1,234,567' */
export function grouped(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Time since the start as minutes and seconds, with hours where there are any. @example clockTime(65_000) // '01:05' */
export function clockTime(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const two = (n: number): string => String(n).padStart(2, '0')
  const hours = Math.floor(seconds / 3_600)
  return `${hours === 0 ? '' : `${hours}:`}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

/** A share as a bar of `width` characters. @example bar(0.5, 4) // '██░░' */
export function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

const ESCAPES = new RegExp(`${ESC}\\[[0-9;]*m`, 'g')
const segmenter = new Intl.Segmenter()

/** A text as what people see as characters. */
function characters(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment)
}

/** Columns that a text takes, colours not counted. Wide characters count as one. */
export function widthOf(text: string): number {
  return characters(text.replaceAll(ESCAPES, '')).length
}

/** A text cut to a width, with its colours ended. @example clipped('abcdef', 4) // 'abc…' */
export function clipped(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let left = Math.max(0, width - 1)
  let kept = ''
  let at = 0
  for (const match of [...text.matchAll(ESCAPES), undefined]) {
    const until = match?.index ?? text.length
    const run = characters(text.slice(at, until))
    kept += run.slice(0, left).join('')
    left = Math.max(0, left - run.length)
    if (match === undefined) break
    kept += match[0]
    at = until + match[0].length
  }
  return width < 1 ? '' : `${kept}…`
}

/** A text without colours on lines of a width at most, broken between words; a word that is longer stays whole. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line === '' || widthOf(longer) <= width) line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

/** Rows of texts as lines, each column as wide as its widest text; numbers to the right. */
export function table(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, widthOf(cell))
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const pad = ' '.repeat((widths[i] as number) - widthOf(cell))
        if (/^[\d,.]+$/.test(cell.replaceAll(ESCAPES, ''))) return pad + cell
        return i === row.length - 1 ? cell : cell + pad
      })
      .join(gap),
  )
}
