/**
 * `tidemark acl`: the rights that a worker of a topology needs on Kafka. READ and WRITE imply DESCRIBE, so it is not among them; nothing is
 * needed on the cluster itself.
 */
import { TidemarkError } from '../../base/errors.ts'
import { quoted } from '../../base/shell-word.ts'
import { groupOf } from '../../plan/naming.ts'
import type { TopicPlan } from '../../plan/plan.ts'
import { jsonText } from '../../server/json.ts'
import type { Loaded } from '../load.ts'
import { planned } from '../locks.ts'
import { table } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'

export interface AclOptions {
  readonly principal: string | undefined
  readonly format: string
}

export interface Right {
  readonly resource: 'topic' | 'group' | 'transactional-id'
  readonly name: string
  readonly pattern: 'literal' | 'prefixed'
  readonly operations: readonly string[]
  readonly why: string
}

/** @throws TidemarkError OPTION_INVALID for a principal without a type, as kafka-acls refuses it */
export async function acl(loaded: Loaded, { principal, format }: AclOptions, shell: Shell): Promise<number> {
  const who = principal ?? `User:${loaded.topology.name}`
  if (!/^[A-Za-z]+:./.test(who))
    throw new TidemarkError('OPTION_INVALID', `principal "${who}" has no type, or no name`, {
      detail: 'Kafka knows principals as type:name, and takes no other.',
      hint: `For a login or a certificate: --principal ${/:/.test(who) || who === '' ? 'User:NAME' : quoted(`User:${who}`)}`,
    })
  const rights = rightsOf(loaded.topology.name, planned(loaded).plan.topics)
  if (format === 'json') await shell.out.write(`${jsonText({ principal: who, rights })}\n`)
  else if (format === 'commands') for (const right of rights) await shell.out.write(`${commandOf(who, right)}\n`)
  else {
    await shell.out.write(`${who} needs:\n`)
    const rows = rights.map(({ resource, name, pattern, operations, why }) => [
      `  ${resource}`,
      pattern === 'prefixed' ? `${name}*` : name,
      operations.join(', '),
      why,
    ])
    for (const line of table(rows)) await shell.out.write(`${line}\n`)
  }
  return EXIT.ok
}

/** The shortest list under which everything works. */
export function rightsOf(app: string, topics: readonly TopicPlan[]): Right[] {
  const own = `${app}-`
  const literal = (name: string, operations: readonly string[], why: string): Right => ({
    resource: 'topic',
    name,
    pattern: 'literal',
    operations,
    why,
  })
  return [
    {
      resource: 'topic',
      name: own,
      pattern: 'prefixed',
      operations: ['READ', 'WRITE', 'CREATE', 'DESCRIBE_CONFIGS'],
      why: 'changelogs, inboxes, dead letters and decisions, which it makes itself',
    },
    ...topics
      .filter(({ name, role }) => role === 'source' && !name.startsWith(own))
      .map(({ name }) => literal(name, ['READ', 'DESCRIBE_CONFIGS'], 'a source')),
    ...topics
      .filter(({ name, role }) => (role === 'sink' || role === 'state') && !name.startsWith(own))
      .map(({ name, role }) =>
        literal(
          name,
          // Without the right to read it works, and does not see what a transaction of its own left open there.
          ['READ', 'WRITE', 'DESCRIBE_CONFIGS'],
          `${role === 'sink' ? 'what it publishes' : 'rows that it publishes'}; READ to see that no transaction hangs there`,
        ),
      ),
    { resource: 'group', name: groupOf(app), pattern: 'literal', operations: ['READ'], why: 'its workers, and how far they are' },
    { resource: 'group', name: own, pattern: 'prefixed', operations: ['READ'], why: 'a projection that is made again beside the live one' },
    { resource: 'transactional-id', name: own, pattern: 'prefixed', operations: ['WRITE'], why: 'exactly once' },
  ]
}

function commandOf(principal: string, { resource, name, pattern, operations }: Right): string {
  const of = operations.map((operation) => `--operation ${operation}`).join(' ')
  return `kafka-acls --bootstrap-server "$BROKERS" --add --allow-principal ${quoted(principal)} ${of} --resource-pattern-type ${pattern} --${resource} ${quoted(name)}`
}
