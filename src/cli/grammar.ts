/** What the grammars of several commands are made of. */
import { type Command, type CommanderError, InvalidArgumentError, Option } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'
import { shown } from '../base/options.ts'

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

/** The parser's sentence as an error of ours: what is wrong, and what was meant. @param argv the words after `tidemark`; none for other tools */
export function usageError({ message }: CommanderError, argv?: readonly string[]): TidemarkError {
  const [, sentence = message, meant] = /^(?:error: )?([\s\S]*?)(?:\s*\((Did you mean [\s\S]*)\))?$/.exec(message) ?? []
  // A value that its option cannot have: the option by its name, the value as it came, and then what the option may have.
  const [, option, value, why = ''] =
    /^option '(?:-\w, )?(--[\w-]+)[^']*' argument '([\s\S]*)' is invalid\.?\s*([\s\S]*)$/.exec(sentence) ?? []
  if (option !== undefined) {
    const detail = why === '' ? undefined : why
    return new TidemarkError('OPTION_INVALID', `${option} cannot be ${shown(value)}`, { detail, hint: meant?.trim() ?? 'Look at --help.' })
  }
  const [, unknown = ''] = /^unknown option '(--\w+)'/.exec(sentence) ?? []
  return new TidemarkError('OPTION_INVALID', sentence.replace(/\.$/, ''), {
    hint: (argv === undefined ? undefined : insteadOf(unknown, argv[0])) ?? meant?.trim() ?? 'Look at --help.',
  })
}

/** How JSON is asked for where these words do not do it. */
function insteadOf(option: string, command: string | undefined): string | undefined {
  if (option === '--format') return 'For JSON say --json.'
  if (option !== '--json') return undefined
  switch (command) {
    case 'export':
      return 'Leave it out: what is printed is JSON, a line a row.'
    case 'topics':
      return 'Say what is to be done with them, and --json behind it: tidemark topics verify topologies/retail --json.'
    case 'dead':
      return 'Say what is to be done with them, and --json behind it: tidemark dead list --json.'
    default:
      return 'It goes behind a command: tidemark plan topologies/retail --json.'
  }
}

/** What a command prints that has `--format` and, as all others do, `--json`. @throws TidemarkError OPTION_INVALID where these contradict each other */
export function formatOf<F extends string>({
  format,
  json = false,
}: {
  readonly format?: F
  readonly json?: boolean
}): F | 'text' | 'json' {
  if (!json) return format ?? 'text'
  if (format === undefined || format === 'json') return 'json'
  throw new TidemarkError('OPTION_INVALID', `--json and --format ${format} contradict each other`, { hint: 'Leave out one of them.' })
}
