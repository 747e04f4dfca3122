/** JSON files that people edit: where in the text a mistake is, and a layout that the usual formatters leave as it is. */

/** What a text holds, or on which line it stops being JSON. Lines count from 1. */
export type ParsedJson = { readonly value: unknown } | { readonly line: number; readonly problem: string }

/** @example parseJson('{\n "a": }') // { line: 2, problem: "Unexpected token '}'" } */
export function parseJson(text: string): ParsedJson {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    const message = (error as Error).message
    const position = /at position (\d+)/.exec(message)?.[1]
    const problem = message.replace(/( in JSON at position|, "|, \.\.\.").*/s, '')
    return { line: lineAt(text, position === undefined ? unexpectedAt(text) : Number(position)), problem }
  }
}

/** Where a token stands that the engine did not expect, which is the one mistake whose place it does not tell; else the end. */
function unexpectedAt(text: string): number {
  const token = /[{}[\],:]|"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null/y
  for (let before = ''; ; ) {
    const at = blanks(text, token.lastIndex)
    token.lastIndex = at
    const found = token.exec(text)?.[0]
    if (found === undefined) return at
    if (['', ':', ',', '['].includes(before) && '}],:'.includes(found) && !(before === '[' && found === ']')) return at
    before = found
  }
}

/**
 * The line on which the value at the end of `path` starts, in a text that is JSON; where the path leaves the text, as far as it goes.
 * @example lineOf('{\n "a": [1,\n 2] }', ['a', 1]) // 3
 */
export function lineOf(text: string, path: readonly (string | number)[]): number {
  let at = blanks(text, 0)
  for (const step of path) {
    const next = memberAt(text, at, step)
    if (next === undefined) break
    at = next
  }
  return lineAt(text, at)
}

function lineAt(text: string, at: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++
  return line
}

/** Where the member `step` of the object or list at `at` starts. */
function memberAt(text: string, at: number, step: string | number): number | undefined {
  const list = text[at] === '['
  if (!list && text[at] !== '{') return undefined
  let i = blanks(text, at + 1)
  for (let index = 0; i < text.length && text[i] !== ']' && text[i] !== '}'; index++) {
    let name: string | number = index
    if (!list) {
      const end = textEnd(text, i)
      name = JSON.parse(text.slice(i, end)) as string
      i = blanks(text, blanks(text, end) + 1)
    }
    if (name === step) return i
    i = blanks(text, valueEnd(text, i))
    if (text[i] === ',') i = blanks(text, i + 1)
  }
  return undefined
}

function blanks(text: string, at: number): number {
  while (at < text.length && ' \t\r\n'.includes(text[at] as string)) at++
  return at
}

function textEnd(text: string, at: number): number {
  let i = at + 1
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1
  return i + 1
}

function valueEnd(text: string, at: number): number {
  if (text[at] === '"') return textEnd(text, at)
  let open = 0
  let i = at
  for (; i < text.length; i++) {
    const char = text[i] as string
    if (char === '"') i = textEnd(text, i) - 1
    else if ('[{'.includes(char)) open++
    else if (']}'.includes(char) && --open <= 0) return open < 0 ? i : i + 1
    else if (char === ',' && open === 0) return i
  }
  return i
}

/** How values are written: as a JSON file, or as TypeScript in this project's style. */
export type Notation = 'json' | 'typescript'

/** Columns of a line, as the formatters are set. */
const WIDTH = 140

/**
 * A JSON value on one line where it fits, else one member a line: the layout that biome and prettier leave alone.
 * @param indent spaces before the lines after the first
 * @param taken columns that the first line has already, and needs behind the value
 */
export function printJson(value: unknown, notation: Notation, indent = 0, taken = 0): string {
  const line = inline(value, notation)
  if (indent + taken + line.length <= WIDTH && !mustBreak(value)) return line
  if (typeof value !== 'object' || value === null) return line
  const list = Array.isArray(value)
  const members: [string, unknown][] = list
    ? value.map((item): [string, unknown] => ['', item])
    : Object.entries(value).map(([name, member]): [string, unknown] => [`${nameIn(name, notation)}: `, member])
  if (members.length === 0) return line
  const pad = ' '.repeat(indent + 2)
  const lines = members.map(([name, member]) => pad + name + printJson(member, notation, indent + 2, name.length + 1))
  const end = notation === 'typescript' ? ',' : ''
  return `${list ? '[' : '{'}\n${lines.join(',\n')}${end}\n${' '.repeat(indent)}${list ? ']' : '}'}`
}

/** Formatters always break a list of several objects of several members, and what contains one. */
function mustBreak(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const members: unknown[] = Object.values(value)
  if (Array.isArray(value) && members.length > 1) {
    const size = (item: unknown): number => (typeof item === 'object' && item !== null ? Object.keys(item).length : 0)
    if (members.every((item) => size(item) > 1 && Array.isArray(item) === Array.isArray(members[0]))) return true
  }
  return members.some(mustBreak)
}

function inline(value: unknown, notation: Notation): string {
  if (Array.isArray(value)) return `[${value.map((item) => inline(item, notation)).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([name, member]) => `${nameIn(name, notation)}: ${inline(member, notation)}`)
    return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
  }
  // Formatters drop the plus of an exponent.
  return typeof value === 'string' ? textIn(value, notation) : JSON.stringify(value).replace('e+', 'e')
}

function nameIn(name: string, notation: Notation): string {
  return notation === 'typescript' && /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(name) ? name : textIn(name, notation)
}

/** @example textIn("it's", 'typescript') // '"it\'s"', because that needs no escape */
export function textIn(text: string, notation: Notation): string {
  const json = JSON.stringify(text)
  if (notation === 'json') return json
  const doubles = text.split('"').length
  const singles = text.split("'").length
  if (singles > doubles) return json
  return `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}
