/**
 * The command line: which words mean what. Parses, loads what a command needs, runs it, and turns whatever happens into an exit code.
 * The options of a feed become options of `dev`, so its module is loaded before the words are judged. Commands are loaded when they are
 * used, because most of them bring the whole runtime.
 */
import { Command, CommanderError, Option } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { SECTIONS } from '../plan/explain.ts'
import type { DevOptions } from './commands/dev.ts'
import type { PlanOptions } from './commands/plan.ts'
import type { ReplayOptions } from './commands/replay.ts'
import { addDead } from './dead-grammar.ts'
import { fail } from './failure.ts'
import { choice, type Ends, examples, formatOf, JSON_ABOUT, namesOf, portOf, usageError } from './grammar.ts'
import {
  addAcl,
  addRun,
  addRunOptions,
  addTopics,
  type MaybeKafkaWords,
  maybeKafka,
  maybeKafkaOptions,
  type RunWords,
} from './kafka-grammar.ts'
import { type Loaded, loadTopology } from './load.ts'
import type { WantedAnywhere } from './offline.ts'
import type { Wanted } from './place.ts'
import { COLORS, paint } from './render.ts'
import { EXIT, type Shell } from './shell.ts'
import { DEFAULT_PORT, DEFAULT_SCHEMAS, FORMATS, SWITCHES } from './words.ts'

/** What a command line comes to. */
interface Outcome {
  code: number
}

/**
 * Runs one command line and resolves with its exit code; never rejects.
 * @param argv the words after `tidemark`
 */
export async function run(argv: readonly string[], shell: Shell): Promise<number> {
  const json = argv.includes('--json') || /(^|\n)--format(=|\n)json(\n|$)/.test(argv.join('\n'))
  try {
    const outcome: Outcome = { code: EXIT.ok }
    const program = programOf(shell, await topologyOf(argv, shell), outcome)
    await program.parseAsync([...argv], { from: 'user' })
    return outcome.code
  } catch (error) {
    if (!(error instanceof CommanderError)) return await fail(error, shell, json)
    if (error.exitCode === 0) return EXIT.ok
    // Without a command the help has been printed, and says more than a sentence would.
    return error.code === 'commander.help' ? EXIT.usage : await fail(usageError(error, argv), shell, json)
  }
}

function programOf(shell: Shell, loaded: Loaded | undefined, outcome: Outcome): Command {
  const program = new Command('tidemark')
    .description('Keeps the many models of one business in sync, and proves it.')
    .version(shell.version, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print help; also after a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void shell.out.write(text),
      writeErr: (text) => void shell.err.write(text),
      outputError: () => {},
      getOutHelpWidth: () => shell.out.columns,
      getErrHelpWidth: () => shell.err.columns,
      getOutHasColors: () => paint(shell.out, shell.env) === COLORS,
      getErrHasColors: () => paint(shell.err, shell.env) === COLORS,
    })
  const ends =
    <Args extends unknown[]>(action: (...args: Args) => Promise<number>) =>
    async (...args: Args): Promise<void> => {
      outcome.code = await action(...args)
    }
  addDev(program, shell, loaded, ends)
  const run = addRun(program)
  const feeding = addFeedOptions(run, 'run', loaded)
  run.action(
    ends(async (_topology: string, _options: unknown, own: Command) => {
      const { runOnKafka } = await import('./commands/run.ts')
      // As with `dev`, these very words have loaded it.
      return await runOnKafka(loaded as Loaded, own.opts<RunWords>(), feeding(own), shell)
    }),
  )
  addTopics(program, shell, ends)
  addAcl(program, shell, ends)
  addPlan(program, shell, ends)
  addCheck(program, shell, ends)
  addTypes(program, shell, ends)
  addExport(program, shell, ends)
  addReplay(program, shell, ends)
  addDead(program, shell, ends)
  addVerify(program, shell, ends)
  return program.addHelpText('after', EXITS)
}

const EXITS = `
Exit codes:
  0 done   1 failed   2 something differs   3 not everything could be applied   64 wrong usage
  75 somebody uses it, try later   78 wrong configuration   130 interrupted

Begin with:
  tidemark dev topologies/retail`

function addDev(program: Command, shell: Shell, loaded: Loaded | undefined, ends: Ends): void {
  const command = program
    .command('dev')
    .description('run a topology on the embedded log, with its feed, and show it live')
    .argument('<topology>', 'folder or file of its module')
  addDevOptions(command)
  const feeding = addFeedOptions(command, 'dev', loaded)
  examples(command, [
    ['tidemark dev topologies/retail', 'at its own pace, views on http://127.0.0.1:8080/views'],
    [
      'tidemark dev topologies/retail --once --json',
      'as fast as it goes; exit code 0 when everything was applied, 3 when something could not be',
    ],
    ['tidemark dev topologies/retail --help', 'the options of its feed as well'],
  ])
  command.action(
    ends(async (_topology: string, _options: unknown, own: Command) => {
      const { dir, port, once = false, json = false } = own.opts<Partial<DevOptions>>()
      // The topology was loaded to learn the feed's options, from these very words.
      const [{ dev }, { prepared }] = await Promise.all([import('./commands/dev.ts'), import('./prepared.ts')])
      const feed = feeding(own)
      const ready = await prepared(loaded as Loaded, { unpaced: once, options: feed })
      return await dev(ready, { dir, port, once, json, feed }, shell)
    }),
  )
}

/** Adds the options of a topology's feed, and gives what reads their values from a parsed command. */
function addFeedOptions(
  command: Command,
  name: string,
  loaded: Loaded | undefined,
): (own: Command) => Readonly<Record<string, string | true | undefined>> {
  const feed = Object.entries(loaded?.feed?.options ?? {})
  if (feed.length > 0) command.optionsGroup('Options of its feed:')
  for (const [option, { value, about, default: preset }] of feed) {
    if (!/^[a-z][a-z0-9-]*$/.test(option) || command.options.some(({ long }) => long === `--${option}`) || option === 'help') {
      throw new TidemarkError('INPUT_INVALID', `the feed of "${loaded?.name}" has an option that cannot be one`, {
        detail: `It is "${option}".`,
        hint: `Options are lower-case words with dashes, and none that "tidemark ${name}" has itself.`,
      })
    }
    command.option(
      value === undefined ? `--${option}` : `--${option} ${value}`,
      preset === undefined ? about : `${about} (default: ${preset})`,
    )
  }
  return (own) =>
    Object.fromEntries(
      feed.map(([option]) => [option, own.getOptionValue(new Option(`--${option}`).attributeName()) as string | true | undefined]),
    )
}

function addDevOptions(command: Command): Command {
  return command
    .option('--dir <folder>', 'where log and state lie (default: .tidemark/<topology>)')
    .addOption(
      new Option('--port <number>', `first port to try for the views, 0 for any (default: ${DEFAULT_PORT}; none with --once)`).argParser(
        portOf,
      ),
    )
    .option(
      '--once',
      'as fast as it goes, and end: exit code 0 when everything was applied, 3 when rows were unreadable or records are dead',
    )
    .option('--json', 'one JSON object on stdout at the end, errors included, and nothing else there')
}

/**
 * The topology that a line with a feed means (`dev`, `run`), loaded; undefined where none is named, which the parser then says. Options of the
 * feed are not known yet, and neither is which of them takes a value: so the topology is looked for before the first unknown option.
 */
async function topologyOf(argv: readonly string[], shell: Shell): Promise<Loaded | undefined> {
  const [name] = argv
  if (name !== 'dev' && name !== 'run') return undefined
  const probe = (name === 'dev' ? addDevOptions(new Command('dev')) : addRunOptions(new Command('run')))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  const [topology] = probe.parseOptions(argv.slice(1)).operands
  if (topology !== undefined) return await loadTopology(topology, shell.folder)
  const words = argv.slice(1).filter((word) => !['-h', '--help'].includes(word))
  if (words.length === 0) return undefined
  throw new TidemarkError('OPTION_INVALID', 'the topology is not named', {
    detail: `"tidemark ${name}" was given: ${words.join(' ')}.`,
    hint: `Name it first, and the options of its feed after it: tidemark ${name} topologies/retail.`,
  })
}

function addPlan(program: Command, shell: Shell, ends: Ends): void {
  const command = program
    .command('plan')
    .description('print what a topology will run: stages, topics, stores, tasks')
    .argument('<topology>', 'folder or file of its module')
    .addOption(choice('--stage <pass>', 'one pass only', SECTIONS))
    .addOption(choice('--format <format>', 'how to print it (default: text)', FORMATS))
    .option('--json', `${JSON_ABOUT}: the same as --format json`)
    .option('--check', 'compare with <topology>/<name>.plan.json: exit code 2 when it differs')
    .option('--write', 'write that file, and so agree to the plan')
    .option('--give-up <state>', 'with --write: state that may be left behind, as stage/store or a stage, with commas between', namesOf)
  examples(command, [
    ['tidemark plan topologies/retail', 'everything, in words'],
    ['tidemark plan topologies/retail --stage topics', 'the topics only'],
    ['tidemark plan topologies/retail --format mermaid', 'the picture for a README'],
    ['tidemark plan topologies/retail --check', 'in CI: has the plan changed, and what would that do to state?'],
    ['tidemark plan topologies/retail --write --give-up stock/old-name', 'the state of a step that is gone may go too'],
  ])
  command.action(
    ends(async (name: string, options: Partial<PlanOptions> & { json?: boolean }) => {
      const { stage, check: compare = false, write = false, giveUp = [] } = options
      const format = formatOf(options)
      const { plan } = await import('./commands/plan.ts')
      return await plan(await loadTopology(name, shell.folder), { stage, format, check: compare, write, giveUp }, shell)
    }),
  )
}

function addCheck(program: Command, shell: Shell, ends: Ends): void {
  const command = program
    .command('check')
    .description('refuse what cannot be right: topology, plan, plan lock and generated types')
    .argument('<topology>', 'folder or file of its module')
    .option('--schemas <folder>', 'folder of the schemas', DEFAULT_SCHEMAS)
    .option('--json', JSON_ABOUT)
  examples(command, [['tidemark check topologies/retail', 'exit code 1 for errors, 2 for what differs']])
  command.action(
    ends(async (name: string, { schemas = DEFAULT_SCHEMAS, json = false }: { schemas?: string; json?: boolean }) => {
      const { check } = await import('./commands/check.ts')
      return await check(name, { schemas, json }, shell)
    }),
  )
}

function addTypes(program: Command, shell: Shell, ends: Ends): void {
  const command = program
    .command('types')
    .description('write typed TypeScript beside the .avsc files of each context')
    .option('--schemas <folder>', 'folder of the schemas', DEFAULT_SCHEMAS)
    .option('--import <module>', 'what the modules import tidemark from (default: what they do now, else tidemark)')
    .option('--check', 'write nothing: exit code 2 when something is not as the schemas say')
    .option('--json', JSON_ABOUT)
  examples(command, [
    ['tidemark types', 'after a change of a schema'],
    ['tidemark types --check', 'in CI'],
  ])
  command.action(
    ends(async (options: { schemas?: string; import?: string; check?: boolean; json?: boolean }) => {
      const { schemas = DEFAULT_SCHEMAS, import: importFrom, check: compare = false, json = false } = options
      const { types } = await import('./commands/types.ts')
      return await types({ schemas, importFrom, check: compare, json }, shell)
    }),
  )
}

function addExport(program: Command, shell: Shell, ends: Ends): void {
  const command = maybeKafkaOptions(
    program
      .command('export')
      .description('print the rows of a view as JSON lines, from a folder that nobody has open, or from Kafka')
      .argument('<view>', 'its name, such as allocatable-stock')
      .option('--prefix <text>', 'only rows whose key begins so'),
  )
  examples(command, [
    ['tidemark export allocatable-stock', 'of what ran here last'],
    [`tidemark export allocatable-stock --prefix 85123A | jq .value`, 'some rows, to another program'],
    ['tidemark export allocatable-stock --kafka --topology topologies/retail', 'as its changelog has them now, while workers run'],
  ])
  command.action(
    ends(async (view: string, { dir, topology, prefix, ...words }: Wanted & MaybeKafkaWords & { prefix?: string }) => {
      const { exportView } = await import('./commands/export.ts')
      return await exportView(view, { dir, topology, prefix, ...onKafka(words) }, shell)
    }),
  )
}

function addReplay(program: Command, shell: Shell, ends: Ends): void {
  const command = maybeKafkaOptions(
    program
      .command('replay')
      .description('make a projection again from its log, compare it with the live one, and switch to it, while nobody runs it')
      .argument('<projection>', 'its name, such as allocatable-stock')
      .addOption(choice('--switch <when>', 'when the new one becomes the live one', SWITCHES).default('equal'))
      .option('--json', JSON_ABOUT),
  )
  examples(command, [
    ['tidemark replay allocatable-stock --switch never', 'only compare: exit code 2 when they differ'],
    ['tidemark replay allocatable-stock --switch always', 'after the meaning of its fold changed'],
    ['tidemark replay allocatable-stock --kafka --topology topologies/retail', 'on Kafka, while no worker runs'],
  ])
  command.action(
    ends(async (projection: string, options: Partial<ReplayOptions> & MaybeKafkaWords) => {
      const { dir, topology, switch: when = 'equal', json = false, ...words } = options
      const { replayProjection } = await import('./commands/replay.ts')
      return await replayProjection(projection, { dir, topology, switch: when, json, ...onKafka(words) }, shell)
    }),
  )
}

function addVerify(program: Command, shell: Shell, ends: Ends): void {
  const command = maybeKafkaOptions(
    program
      .command('verify')
      .description('read all state and the whole log, and compare them with their checksums')
      .option('--repair', 'move damaged state aside: the next start restores it')
      .option('--json', JSON_ABOUT),
  )
  examples(command, [
    ['tidemark verify --dir .tidemark/retail', 'exit code 1 when something is damaged'],
    ['tidemark verify --kafka --topology topologies/retail', 'state as the changelogs have it, and the log, while workers run'],
    ['tidemark verify --instance 0 --repair', 'the state of a worker on Kafka that does not run'],
  ])
  command.action(
    ends(
      async ({
        dir,
        topology,
        repair = false,
        json = false,
        ...words
      }: Wanted & MaybeKafkaWords & { repair?: boolean; json?: boolean }) => {
        const { verifyFolder } = await import('./commands/verify.ts')
        return await verifyFolder({ dir, topology, repair, json, ...onKafka(words) }, shell)
      },
    ),
  )
}

/** Nothing where a line means a folder. */
function onKafka(words: MaybeKafkaWords): Pick<WantedAnywhere, 'kafka'> {
  const kafka = maybeKafka(words)
  return kafka === undefined ? {} : { kafka }
}
