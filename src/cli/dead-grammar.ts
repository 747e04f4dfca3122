/** The words of `tidemark dead`. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Ends } from './grammar.ts'
import { examples, JSON_ABOUT } from './grammar.ts'
import { type MaybeKafkaWords, maybeKafka, maybeKafkaOptions } from './kafka-grammar.ts'
import type { WantedAnywhere } from './offline.ts'
import type { Wanted } from './place.ts'
import type { Shell } from './shell.ts'

interface Words extends Wanted, MaybeKafkaWords {
  readonly json?: boolean
  readonly step?: string
  readonly offset?: string
  readonly limit?: number
  readonly all?: boolean
  readonly dryRun?: boolean
}

const LIMIT = 20

export function addDead(program: Command, shell: Shell, ends: Ends): void {
  const dead = program.command('dead').description('list, show and redrive dead letters: records that failed in a step')

  const list = placed(dead.command('list').description('print how many dead letters each step has, why, and how many were redriven'))
  examples(list, [
    ['tidemark dead list', 'of what ran here last, and has stopped'],
    ['tidemark dead list --brokers kafka-1:9092 --topology topologies/retail', 'on Kafka, while it runs'],
  ])
  list.action(
    ends(async (words: Words) => {
      const { deadList } = await import('./commands/dead.ts')
      return await deadList(common(words), shell)
    }),
  )

  const show = placed(
    selecting(dead.command('show').description('print dead letters, oldest first: the record, where it came from, and why it failed')),
  )
  show.option('--limit <n>', `so many at most (default: ${LIMIT})`, count)
  examples(show, [
    ['tidemark dead show --step orders-as-sales --limit 5', 'the oldest of one step'],
    ['tidemark dead show --step orders-as-sales --offset 0@12 --json', 'one of them, with all its headers'],
  ])
  show.action(
    ends(async (words: Words) => {
      const { deadShow } = await import('./commands/dead.ts')
      return await deadShow({ ...common(words), step: words.step, offset: words.offset, limit: words.limit ?? LIMIT }, shell)
    }),
  )

  const redrive = placed(
    selecting(
      dead
        .command('redrive')
        .description('put dead letters back into the step where they failed, each once and in one transaction with what comes of it'),
    ),
  )
    .option('--all', 'every letter of every step')
    .option('--dry-run', 'run them and write nothing: would they go on now?')
  examples(redrive, [
    ['tidemark dead redrive --step orders-as-sales --dry-run', 'after the step was mended: exit code 2 when one would still fail'],
    ['tidemark dead redrive --step orders-as-sales', 'for good; a second time nothing is left to do'],
  ])
  redrive.action(
    ends(async (words: Words) => {
      const { step, offset, all = false, dryRun = false } = words
      const { deadRedrive } = await import('./commands/dead.ts')
      return await deadRedrive({ ...common(words), step, offset, all, dryRun }, shell)
    }),
  )

  examples(dead, [
    ['tidemark dead list', 'how many there are, by step and reason'],
    ['tidemark dead show --step orders-as-sales --limit 5', 'the oldest of one step, with what failed'],
    ['tidemark dead redrive --step orders-as-sales --dry-run', 'whether they would go on now, before they do'],
  ])
}

function common(words: Words): { json: boolean } & WantedAnywhere {
  const { json = false, dir, topology } = words
  const kafka = maybeKafka(words)
  return { json, dir, topology, ...(kafka === undefined ? {} : { kafka }) }
}

function selecting(command: Command): Command {
  return command
    .option('--step <step>', 'only of this step')
    .option('--offset <partition@offset>', 'only this one, as "dead show" names it; needs --step')
}

function placed(command: Command): Command {
  return maybeKafkaOptions(command.option('--json', JSON_ABOUT), { state: false }).optionsGroup('Options:')
}

function count(given: string): number {
  const limit = Number(given)
  if (Number.isSafeInteger(limit) && limit > 0) return limit
  throw new InvalidArgumentError('It is a whole number from 1.')
}
