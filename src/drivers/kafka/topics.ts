/**
 * Topics: Metadata 12, DescribeConfigs 4, CreateTopics 7, IncrementalAlterConfigs 1. A topic is made with the settings that the plan needs and
 * verified when it exists; `topic-settings.ts` says what of it must fit. No topic is ever made by a broker on its own.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { TopicDescription, TopicSpec } from '../../ports/log.ts'
import { type Cluster, PATIENCE_MS } from './cluster.ts'
import { brokerError, missingRight, topicError } from './failures.ts'
import {
  checkSpec,
  cleanupOf,
  differences,
  MORE_SETTINGS,
  mismatch,
  newTopic,
  TOMBSTONE_MS_DEFAULT,
  type TopicDifference,
} from './topic-settings.ts'
import { createTopics } from './wire/create-topics.ts'
import { describeConfigs, TOPIC_RESOURCE } from './wire/describe-configs.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { incrementalAlterConfigs, SET_CONFIG } from './wire/incremental-alter-configs.ts'
import type { MetadataTopic } from './wire/metadata.ts'

const CONFIGS = ['cleanup.policy', 'retention.ms', 'delete.retention.ms', ...MORE_SETTINGS]

/** @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
export async function describeTopics(cluster: Cluster, names?: readonly string[]): Promise<TopicDescription[]> {
  if (names?.length === 0) return []
  const found: (MetadataTopic & { readonly name: string })[] = []
  for (const topic of await cluster.look(names)) {
    const { name, error, internal } = topic
    if (name === null || error === E.UNKNOWN_TOPIC_OR_PARTITION || error === E.INVALID_TOPIC_EXCEPTION) continue
    if (names === undefined && (internal || error !== E.NONE)) continue
    if (error !== E.NONE && error !== E.LEADER_NOT_AVAILABLE) throw topicError('look up', 'describe', name, error)
    found.push({ ...topic, name })
  }
  if (found.length === 0) return []
  const answer = await cluster.ask(describeConfigs, {
    resources: found.map(({ name }) => ({ resourceType: TOPIC_RESOURCE, resourceName: name, configurationKeys: CONFIGS })),
    includeSynonyms: false,
    includeDocumentation: false,
  })
  const configs = new Map(answer.results.map((result) => [result.resourceName, result]))
  const described: TopicDescription[] = []
  for (const { name, topicId, partitions } of found) {
    const result = configs.get(name)
    // Deleted since.
    if (result === undefined || result.error === E.UNKNOWN_TOPIC_OR_PARTITION) continue
    if (result.error === E.TOPIC_AUTHORIZATION_FAILED) {
      // A list of everything leaves out what is not this user's business.
      if (names === undefined) continue
      throw missingRight('describe_configs', `topic "${name}"`)
    }
    if (result.error !== E.NONE) throw topicError('read the settings of', 'describe_configs', name, result.error, result.errorMessage)
    const value = (key: string): string => result.configs.find((config) => config.name === key)?.value ?? ''
    described.push({
      name,
      id: topicId,
      partitions: partitions.length,
      cleanup: cleanupOf(value('cleanup.policy')),
      retentionMs: Number(value('retention.ms') || -1),
      tombstoneMs: Number(value('delete.retention.ms') || TOMBSTONE_MS_DEFAULT),
      settings: Object.fromEntries(MORE_SETTINGS.flatMap((key) => (value(key) === '' ? [] : [[key, value(key)]]))),
    })
  }
  return described
}

/**
 * @param replication copies of each partition; -1 for the brokers' default
 * @param altering whether to set right what can be, instead of refusing it
 * @throws TidemarkError TOPIC_MISMATCH, NAME_INVALID, OPTION_INVALID, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR
 */
export async function ensureTopics(
  cluster: Cluster,
  specs: readonly TopicSpec[],
  { replication, altering }: { readonly replication: number; readonly altering: boolean },
): Promise<TopicDescription[]> {
  for (const spec of specs) checkSpec(spec)
  const names = specs.map(({ name }) => name)
  const until = cluster.clock.mono() + PATIENCE_MS
  for (let attempt = 0; ; attempt++) {
    const existing = new Map((await describeTopics(cluster, names)).map((topic) => [topic.name, topic]))
    const differing = specs.flatMap((spec) => {
      const topic = existing.get(spec.name)
      const differ = topic === undefined ? [] : differences(topic, spec)
      return differ.length === 0 ? [] : [{ name: spec.name, differ }]
    })
    // Before anything is changed.
    for (const { name, differ } of differing) {
      const refused = differ.filter(({ remedy, grave }) => (altering ? remedy === 'none' : grave))
      if (refused.length > 0) throw mismatch(name, refused)
    }
    // What was altered may be read back a moment later.
    if (altering && attempt === 0) for (const { name, differ } of differing) await alter(cluster, name, differ)
    const missing = specs.filter(({ name }) => !existing.has(name))
    const settled = !altering || differing.length === 0
    if (missing.length === 0 && settled && led(cluster, specs)) return specs.map(({ name }) => existing.get(name) as TopicDescription)
    if (cluster.clock.mono() >= until) {
      const [first] = differing
      throw settled || first === undefined ? notReady(missing[0]?.name ?? (names[0] as string)) : mismatch(first.name, first.differ)
    }
    if (missing.length > 0) await create(cluster, missing, replication)
    await cluster.pause(attempt)
  }
}

async function create(cluster: Cluster, specs: readonly TopicSpec[], replication: number): Promise<void> {
  const topics = specs.map((spec) => newTopic(spec, replication))
  const answer = await cluster.ask(createTopics, { topics, timeoutMs: 15_000, validateOnly: false })
  for (const { name, error, errorMessage } of answer.topics) {
    // Another worker was quicker: the next look verifies what it made.
    if (error === E.NONE || error === E.TOPIC_ALREADY_EXISTS) continue
    if (error === E.REQUEST_TIMED_OUT || error === E.NOT_CONTROLLER || error === E.THROTTLING_QUOTA_EXCEEDED) continue
    if (error === E.TOPIC_AUTHORIZATION_FAILED || error === E.CLUSTER_AUTHORIZATION_FAILED) throw missingRight('create', `topic "${name}"`)
    if (error === E.INVALID_REPLICATION_FACTOR) {
      throw new TidemarkError(
        'OPTION_INVALID',
        `topic "${name}" cannot have ${replication < 0 ? 'the default number of' : replication} copies`,
        {
          detail: errorMessage ?? undefined,
          hint: 'Set "replication" to at most the number of brokers.',
        },
      )
    }
    throw brokerError(`make topic "${name}"`, error, errorMessage)
  }
}

/** Whether every partition has a leader: until then nothing can be read or written. */
function led(cluster: Cluster, specs: readonly TopicSpec[]): boolean {
  return specs.every(({ name }) => cluster.topic(name)?.partitions.every(({ node }) => node >= 0) === true)
}

function notReady(name: string): TidemarkError {
  return new TidemarkError('BROKER_ERROR', `topic "${name}" was made and does not become ready`, {
    detail: `Not all of its partitions have a leader after ${PATIENCE_MS / 1000} s.`,
    hint: 'Are enough brokers running for its replication?',
  })
}

/** Sets right what can be. @throws TidemarkError TOPIC_MISMATCH NOT_AUTHORIZED BROKER_* */
async function alter(cluster: Cluster, name: string, differ: readonly TopicDifference[]): Promise<void> {
  const configs = differ.map(({ setting, wanted }) => ({ name: setting, operation: SET_CONFIG, value: wanted }))
  const resources = [{ resourceType: TOPIC_RESOURCE, resourceName: name, configs }]
  const answer = await cluster.ask(incrementalAlterConfigs, { resources, validateOnly: false })
  const { error, errorMessage } = answer.resources[0] ?? { error: E.NONE, errorMessage: null }
  if (error !== E.NONE) throw topicError('alter the settings of', 'alter_configs', name, error, errorMessage)
}
