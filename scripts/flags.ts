/**
 * Flags of the tools beside the command line (`npm run simulate`, `kafka`, `kafka-faults`, `crash-test`, `bench`): usage with examples, and what is
 * wrong in the words that `tidemark` has for it, because it is the same parser and the same sentences.
 */
import process from 'node:process'
import { Command, CommanderError } from 'commander'
import { nearest } from '../src/base/nearest.ts'
import { examples, usageError } from '../src/cli/grammar.ts'
import { EXIT } from '../src/cli/shell.ts'

interface Flag {
  /** What the value is called, such as `<n>`; a flag without one is on or off. */
  readonly value?: string
  readonly about: string
  readonly default?: string
}
type Flags = Readonly<Record<string, Flag>>
/** The value of each flag: a text, undefined where it was not said and has no default, and true or false where it takes none. */
type Given<F extends Flags> = {
  readonly [N in keyof F]: F[N] extends { readonly value: string }
    ? F[N] extends { readonly default: string }
      ? string
      : string | undefined
    : boolean
}

export interface Tool<F extends Flags> {
  /** Its name among the scripts of package.json. */
  readonly script: string
  readonly about: string
  readonly flags: F
  /** What is written behind the script's name, and what it does. */
  readonly examples: readonly (readonly [flags: string, about: string])[]
  /** What else its help says, such as exit codes. */
  readonly after?: string
}

/** Reads the flags of this process. `--help` prints and ends it with 0, what cannot be meant with 64. */
export function flagsOf<const F extends Flags>(tool: Tool<F>): Given<F> {
  const command = new Command(`npm run ${tool.script} --`)
    .description(tool.about)
    .helpOption('-h, --help', 'print help')
    .exitOverride()
    .configureOutput({ outputError: () => {} })
  const flags = Object.entries(tool.flags)
  for (const [name, { value, about, default: preset }] of flags)
    command.option(value === undefined ? `--${name}` : `--${name} ${value}`, about, preset)
  examples(
    command,
    tool.examples.map(([words, about]) => [words === '' ? `npm run ${tool.script}` : `npm run ${tool.script} -- ${words}`, about]),
  )
  if (tool.after !== undefined) command.addHelpText('after', `\n${tool.after}`)
  try {
    command.parse(process.argv.slice(2), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) process.exit(EXIT.ok)
    console.error(usageError(error).explain())
    process.exit(EXIT.usage)
  }
  const given = command.opts<Readonly<Record<string, string | true | undefined>>>()
  return Object.fromEntries(flags.map(([name, { value }]) => [name, value === undefined ? given[name] === true : given[name]])) as Given<F>
}

/** Ends the process because of a value that cannot be meant. */
export function refuse(sentence: string): never {
  console.error(sentence)
  process.exit(EXIT.usage)
}

/** Ends the process where a name is none of those that there are. */
export function requireName(what: string, name: string, names: readonly string[]): void {
  if (names.includes(name)) return
  const meant = nearest(name, names)
  refuse(`There is no ${what} "${name}". ${meant === undefined ? `There are ${names.join(', ')}.` : `Did you mean ${meant}?`}`)
}
