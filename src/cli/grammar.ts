/** What the grammars of several commands are made of. */
import { type Command, type CommanderError, InvalidArgumentError, Option } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'

/** Makes an action of a command out of a function that gives its exit code. */
export type Ends = <Args extends unknown[]>(action: (...args: Args) => Promise<number>) => (...args: Args) => Promise<void>

export const JSON_ABOUT = 'print one JSON object, errors included'

export function choice(flags: string, about: string, names: readonly string[]): Option {
  return new Option(flags, about).choices(names).argParser((given: string) => {
    if (names.includes(given)) return given
    const meant = nearest(given, names)
    throw new InvalidArgumentError(meant === undefined ? `It is one of ${names.join(', ')}.` : `(Did you mean ${meant}?)`)
  })
}

export function portOf(given: string): number {
  const port = Number(given)
  if (/^\d+$/.test(given) && port <= 65_535) return port
  throw new InvalidArgumentError('A port is a number from 0 to 65535.')
}

/** Names with commas between. */
export function namesOf(given: string): string[] {
  const names = given.split(',').map((name) => name.trim())
  if (names.every((name) => name !== '')) return names
  throw new InvalidArgumentError('It is one name or several, with commas between.')
}

export function examples(command: Command, lines: readonly (readonly [command: string, about: string])[]): void {
  const width = Math.max(...lines.map(([words]) => words.length))
  command.addHelpText('after', ['', 'Examples:', ...lines.map(([words, about]) => `  ${words.padEnd(width)}   ${about}`)].join('\n'))
}

/** The parser's sentence as an error of ours: what is wrong, and what was meant. */
export function usageError({ message }: CommanderError): TidemarkError {
  const [, sentence = message, meant] = /^(?:error: )?([\s\S]*?)(?:\s*\((Did you mean [\s\S]*)\))?$/.exec(message) ?? []
  return new TidemarkError('OPTION_INVALID', sentence.replace(/\.$/, ''), { hint: meant?.trim() ?? 'Look at --help.' })
}
