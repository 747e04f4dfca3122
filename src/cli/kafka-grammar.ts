/** The commands that talk to Kafka, and the options by which all of them find it. */
import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import type { AclOptions } from './commands/acl.ts'
import type { TopicsOptions } from './commands/topics.ts'
import { choice, type Ends, examples, formatOf, JSON_ABOUT, portOf } from './grammar.ts'
import { DEFAULT_BROKERS, type KafkaWords, MECHANISMS } from './kafka.ts'
import { loadTopology } from './load.ts'
import type { Shell } from './shell.ts'
import { DEFAULT_PORT } from './words.ts'

/** What a `run` line may say. */
export interface RunWords extends KafkaWords {
  readonly instance?: string
  readonly dynamic?: boolean
  readonly session?: string
  readonly dir?: string
  readonly port?: number
  readonly feed?: boolean
  readonly once?: boolean
  readonly json?: boolean
}

export function addRunOptions(command: Command): Command {
  return kafkaOptions(
    command
      .option('--instance <name>', 'name of this worker among those of the topology; it keeps its tasks over restarts (default: 0)')
      .option('--dynamic', 'be a worker without a name, of which there may be any number; its tasks move when it stops')
      .option('--session <duration>', 'how long others wait for a worker that is silent or restarts, before they take over (default: 10s)')
      .option('--dir <folder>', 'where state lies (default: .tidemark/kafka/<topology>/<instance>; the first free one for --dynamic)')
      .addOption(new Option('--port <number>', `first port to try for the views, 0 for any (default: ${DEFAULT_PORT})`).argParser(portOf))
      .option('--feed', "run the topology's feed as well; one worker of all may")
      .option('--once', 'end when all is processed: exit code 0 when everything was applied, 3 when records are dead')
      .option('--json', 'one JSON object on stdout at the end, errors included, and nothing else there'),
  )
}

export function addRun(program: Command): Command {
  const command = addRunOptions(
    program.command('run').description('run one worker of a topology on Kafka').argument('<topology>', 'folder or file of its module'),
  )
  examples(command, [
    ['tidemark run topologies/retail --feed', `on ${DEFAULT_BROKERS}, with the feed that plays its sources`],
    ['tidemark run topologies/retail --instance 1 --brokers kafka-1:9092', 'another worker, which takes over a part of the tasks'],
    ['tidemark run topologies/retail --dynamic', 'one more, without a name'],
  ])
  return command
}

export function addTopics(program: Command, shell: Shell, ends: Ends): void {
  const topics = program.command('topics').description('make and verify the topics of a topology on Kafka')
  const about = {
    plan: 'print what "apply" would do',
    apply: 'make the topics that are missing, sources as well, and verify the others',
    verify: 'compare: exit code 2 when a topic is missing or has other properties',
  } as const
  for (const what of ['plan', 'apply', 'verify'] as const) {
    const command = kafkaOptions(
      topics.command(what).description(about[what]).argument('<topology>', 'folder or file of its module'),
    ).option('--json', JSON_ABOUT)
    examples(command, [[`tidemark topics ${what} topologies/retail`, `on ${DEFAULT_BROKERS}`]])
    command.action(
      ends(async (name: string, options: Partial<TopicsOptions>) => {
        const module = await import('./commands/topics.ts')
        return await module.topics(what, await loadTopology(name, shell.folder), options, shell)
      }),
    )
  }
  examples(topics, [
    ['tidemark topics plan topologies/retail', 'what would be made, and what is there'],
    ['tidemark topics apply topologies/retail --brokers kafka-1:9092', 'make what is missing, before the first worker'],
    ['tidemark topics verify topologies/retail', 'in CI: exit code 2 when a topic is not as the topology says'],
  ])
}

export function addAcl(program: Command, shell: Shell, ends: Ends): void {
  const command = program
    .command('acl')
    .description('print the rights that a topology needs on Kafka, and nothing more than these')
    .argument('<topology>', 'folder or file of its module')
    .option('--principal <principal>', 'who is granted them (default: User:<topology>)')
    .addOption(choice('--format <format>', 'a table, or commands for kafka-acls (default: text)', ['text', 'commands', 'json']))
    .option('--json', `${JSON_ABOUT}: the same as --format json`)
  examples(command, [
    ['tidemark acl topologies/retail', 'who may do what with what, and why'],
    ['tidemark acl topologies/retail --principal User:retail --format commands', 'to be run by an administrator'],
  ])
  command.action(
    ends(async (name: string, { principal, ...options }: Partial<AclOptions> & { json?: boolean }) => {
      const format = formatOf(options)
      const { acl } = await import('./commands/acl.ts')
      return await acl(await loadTopology(name, shell.folder), { principal, format }, shell)
    }),
  )
}

/** What a line says about Kafka that may mean a folder as well. */
export interface MaybeKafkaWords extends KafkaWords {
  readonly kafka?: boolean
  readonly instance?: string
}

/**
 * Adds what commands take that work on a folder, and on Kafka as well.
 * @param state whether the command looks at state, or makes it: then a worker's folder may be named, and topics may be made
 */
export function maybeKafkaOptions(command: Command, { state }: { readonly state: boolean } = { state: true }): Command {
  command
    .option('--dir <folder>', 'where the topology ran (default: the only one below .tidemark; on Kafka none)')
    .option('--topology <module>', 'its module (default: the one that was noted where it ran)')
    .optionsGroup('On Kafka:')
    .option('--kafka', 'what runs on Kafka, and not in a folder; every option below implies it')
  if (state)
    command.option('--instance <name>', 'look at the state in the folder of this worker, which must not run (default: at the changelogs)')
  return kafkaOptions(command, { makes: state })
}

/** The words about Kafka, or undefined where there are none. */
export function maybeKafka({ kafka, instance, ...words }: MaybeKafkaWords): (KafkaWords & { instance?: string }) | undefined {
  const { brokers, replication, tls, tlsCa, tlsCert, tlsKey, sasl, saslUsername, saslPasswordFile, saslWithoutTls } = words
  const said = { brokers, replication, tls, tlsCa, tlsCert, tlsKey, sasl, saslUsername, saslPasswordFile, saslWithoutTls, instance }
  const given = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
  return kafka === true || Object.keys(given).length > 0 ? given : undefined
}

/**
 * Where Kafka is and how it is spoken to. Secrets are named by where they are, never written down.
 * @param makes whether the command may make topics
 */
export function kafkaOptions(command: Command, { makes }: { readonly makes: boolean } = { makes: true }): Command {
  command.option('--brokers <list>', `host:port, with commas between (default: $TIDEMARK_BROKERS, else ${DEFAULT_BROKERS})`)
  if (makes) {
    command.addOption(new Option('--replication <n>', "copies of topics that are made (default: the brokers' own)").argParser(copiesOf))
  }
  return command
    .option('--tls', 'speak TLS, and trust the authorities that Node trusts')
    .option('--tls-ca <file>', 'speak TLS, and trust these authorities (PEM)')
    .option('--tls-cert <file>', 'our own certificate (PEM)')
    .option('--tls-key <file>', 'its key (PEM)')
    .addOption(choice('--sasl <mechanism>', 'log in', MECHANISMS))
    .option('--sasl-username <name>', 'who logs in')
    .option('--sasl-password-file <file>', 'where the password is (default: $TIDEMARK_SASL_PASSWORD)')
    .option('--sasl-without-tls', 'send the password of --sasl plain where others can read it: the way there is safe by itself')
}

function copiesOf(given: string): number {
  const copies = Number(given)
  if (Number.isSafeInteger(copies) && copies > 0) return copies
  throw new InvalidArgumentError('It is a whole number from 1.')
}
