/**
 * Topics: Metadata 12, DescribeConfigs 4, CreateTopics 7. A topic is made with the settings that the plan needs and verified when it exists;
 * one whose partitions or cleanup differ is refused. No topic is ever made by a broker on its own.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { TopicDescription, TopicSpec } from '../../ports/log.ts'
import { type Cluster, PATIENCE_MS } from './cluster.ts'
import { brokerError, missingRight, topicError } from './failures.ts'
import { createTopics, type NewTopic } from './wire/create-topics.ts'
import { describeConfigs, TOPIC_RESOURCE } from './wire/describe-configs.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import type { MetadataTopic } from './wire/metadata.ts'

const TOMBSTONE_MS_DEFAULT = 7 * 86_400_000
/** The largest number that Kafka knows. */
const TIMES_ANY_MS = String(2n ** 63n - 1n)
/** org.apache.kafka.common.internals.Topic */
const NAME = /^[a-zA-Z0-9._-]{1,249}$/
const CONFIGS = ['cleanup.policy', 'retention.ms', 'delete.retention.ms']

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
      // With "compact,delete" records go that are the last of their keys: for us that is no compacted topic.
      cleanup: value('cleanup.policy') === 'compact' ? 'compact' : 'delete',
      retentionMs: Number(value('retention.ms') || -1),
      tombstoneMs: Number(value('delete.retention.ms') || TOMBSTONE_MS_DEFAULT),
    })
  }
  return described
}

/**
 * @param replication copies of each partition; -1 for the brokers' default
 * @throws TidemarkError TOPIC_MISMATCH, NAME_INVALID, OPTION_INVALID, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR
 */
export async function ensureTopics(cluster: Cluster, specs: readonly TopicSpec[], replication: number): Promise<TopicDescription[]> {
  for (const spec of specs) checkSpec(spec)
  const names = specs.map(({ name }) => name)
  const until = cluster.clock.mono() + PATIENCE_MS
  for (let attempt = 0; ; attempt++) {
    const existing = new Map((await describeTopics(cluster, names)).map((topic) => [topic.name, topic]))
    for (const spec of specs) {
      const topic = existing.get(spec.name)
      if (topic !== undefined) checkTopic(topic, spec)
    }
    const missing = specs.filter(({ name }) => !existing.has(name))
    if (missing.length === 0 && led(cluster, specs)) return specs.map(({ name }) => existing.get(name) as TopicDescription)
    if (cluster.clock.mono() >= until) throw notReady(missing[0]?.name ?? (names[0] as string))
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

/** The settings with which a topic is made. */
export function newTopic(spec: TopicSpec, replication: number): NewTopic {
  const { name, partitions, cleanup, retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT } = spec
  const configs = [
    { name: 'cleanup.policy', value: cleanup },
    { name: 'retention.ms', value: String(retentionMs) },
    { name: 'delete.retention.ms', value: String(tombstoneMs) },
    // Times are the facts' own; the broker must not write its clock over them.
    { name: 'message.timestamp.type', value: 'CreateTime' },
    // Nor refuse the ones that its clock calls the future, as brokers do since 4.0 from an hour on: a fact that says so, or a worker whose clock
    // is wrong, could never be committed.
    { name: 'message.timestamp.after.max.ms', value: TIMES_ANY_MS },
  ]
  return { name, partitions, replicationFactor: replication, configs }
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

function checkSpec({ name, partitions, cleanup, retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT }: TopicSpec): void {
  if (!NAME.test(name) || name === '.' || name === '..') {
    throw new TidemarkError('NAME_INVALID', `"${name}" is no name for a topic`, {
      hint: 'Use up to 249 letters, digits, dots, dashes and underscores.',
    })
  }
  const wrong =
    !Number.isInteger(partitions) || partitions < 1
      ? `partitions is ${partitions}; it is a number from 1.`
      : cleanup !== 'compact' && cleanup !== 'delete'
        ? `cleanup is ${JSON.stringify(cleanup)}; it is "compact" or "delete".`
        : !Number.isSafeInteger(retentionMs) || retentionMs < -1
          ? `retentionMs is ${retentionMs}; it is a number of milliseconds, or -1 to keep everything.`
          : !Number.isSafeInteger(tombstoneMs) || tombstoneMs < 0
            ? `tombstoneMs is ${tombstoneMs}; it is a number of milliseconds.`
            : undefined
  if (wrong !== undefined) throw new TidemarkError('OPTION_INVALID', `topic "${name}" cannot be made`, { detail: wrong })
}

/** What of an existing topic is not as it must be; empty when it fits. */
export function differences(topic: TopicDescription, spec: TopicSpec): string[] {
  const differ: string[] = []
  if (topic.partitions !== spec.partitions) differ.push(`it has ${topic.partitions} partitions instead of ${spec.partitions}`)
  if (topic.cleanup !== spec.cleanup) differ.push(`its cleanup.policy is "${topic.cleanup}" instead of "${spec.cleanup}"`)
  return differ
}

function checkTopic(topic: TopicDescription, spec: TopicSpec): void {
  const differ = differences(topic, spec)
  if (differ.length === 0) return
  throw new TidemarkError('TOPIC_MISMATCH', `topic "${spec.name}" exists with other properties`, {
    detail: `${differ.join(', and ')}.`.replace(/^i/, 'I'),
    hint: 'Use another topic, or another generation of the stage that owns it. Records cannot be moved to another number of partitions in place.',
  })
}
