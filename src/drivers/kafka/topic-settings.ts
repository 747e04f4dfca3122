/**
 * How a topic must be: the settings with which one is made, and what of one that exists is not as it must be. Kafka's own names and values, so
 * that a person can look for them; what a difference does, and whether it can be set right without harm to what the topic holds.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { TopicDescription, TopicSpec } from '../../ports/log.ts'
import type { NewTopic } from './wire/create-topics.ts'

export const TOMBSTONE_MS_DEFAULT: number = 7 * 86_400_000
/** The largest number that Kafka knows. */
const TIMES_ANY_MS = String(2n ** 63n - 1n)
/** org.apache.kafka.common.internals.Topic */
const NAME = /^[a-zA-Z0-9._-]{1,249}$/

const CLEANUP = 'cleanup.policy'
const RETENTION_MS = 'retention.ms'
const RETENTION_BYTES = 'retention.bytes'
const TOMBSTONE_MS = 'delete.retention.ms'
const TIMESTAMP_TYPE = 'message.timestamp.type'
const AFTER_MS = 'message.timestamp.after.max.ms'
const BEFORE_MS = 'message.timestamp.before.max.ms'
/** Settings beside those that every log has. Brokers have the last two since 3.6. */
export const MORE_SETTINGS: readonly string[] = [RETENTION_BYTES, TIMESTAMP_TYPE, AFTER_MS, BEFORE_MS]

/** The settings with which a topic is made. */
export function newTopic(spec: TopicSpec, replication: number): NewTopic {
  const { name, partitions, cleanup, retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT } = spec
  const configs = [
    { name: CLEANUP, value: cleanup },
    { name: RETENTION_MS, value: String(retentionMs) },
    // A broker may have a bound of its own, under which what is kept for ever is not.
    ...(retentionMs < 0 ? [{ name: RETENTION_BYTES, value: '-1' }] : []),
    { name: TOMBSTONE_MS, value: String(tombstoneMs) },
    // Times are the facts' own; the broker must not write its clock over them.
    { name: TIMESTAMP_TYPE, value: 'CreateTime' },
    // Nor refuse the ones that its clock calls the future, as brokers do since 4.0 from an hour on: a fact that says so, or a worker whose clock
    // is wrong, could never be committed. The past is as it was.
    { name: AFTER_MS, value: TIMES_ANY_MS },
    { name: BEFORE_MS, value: TIMES_ANY_MS },
  ]
  return { name, partitions, replicationFactor: replication, configs }
}

/** @throws TidemarkError NAME_INVALID, OPTION_INVALID */
export function checkSpec({ name, partitions, cleanup, retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT }: TopicSpec): void {
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

/** What a broker's list of policies means; it says them in any order. */
export function cleanupOf(policy: string): TopicDescription['cleanup'] {
  const policies = policy.split(',').map((each) => each.trim())
  if (!policies.includes('compact')) return 'delete'
  return policies.includes('delete') ? 'compact,delete' : 'compact'
}

/** One thing in which a topic is not as it must be. */
export interface TopicDifference {
  /** As Kafka calls it; `partitions` for their number. */
  readonly setting: string
  readonly is: string
  readonly wanted: string
  /** `alter`: it can be set, and nothing that the topic holds is harmed. `none`: what it may have done cannot be undone by setting it. */
  readonly remedy: 'alter' | 'none'
  /** Whether what was recorded is at stake, so that nobody may go on with it. */
  readonly grave: boolean
}

/** What of an existing topic is not as it must be; empty when it fits. */
export function differences(topic: TopicDescription, spec: TopicSpec): TopicDifference[] {
  const differ: TopicDifference[] = []
  const grave = (setting: string, is: string, wanted: string, remedy: TopicDifference['remedy']): void =>
    void differ.push({ setting, is, wanted, remedy, grave: true })
  if (topic.partitions !== spec.partitions) grave('partitions', String(topic.partitions), String(spec.partitions), 'none')
  // Compaction has removed facts by then, or retention rows.
  if (topic.cleanup !== spec.cleanup) grave(CLEANUP, topic.cleanup, spec.cleanup, 'none')
  if (spec.owner === 'theirs') return differ
  const { retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT } = spec
  const { settings = {} } = topic
  if (spec.cleanup === 'delete') {
    if (isLess(topic.retentionMs, retentionMs)) grave(RETENTION_MS, String(topic.retentionMs), String(retentionMs), 'alter')
    const bytes = settings[RETENTION_BYTES] ?? '-1'
    if (retentionMs < 0 && Number(bytes) >= 0) grave(RETENTION_BYTES, bytes, '-1', 'alter')
  } else if (topic.tombstoneMs < tombstoneMs) grave(TOMBSTONE_MS, String(topic.tombstoneMs), String(tombstoneMs), 'alter')
  const type = settings[TIMESTAMP_TYPE] ?? 'CreateTime'
  if (type !== 'CreateTime') grave(TIMESTAMP_TYPE, type, 'CreateTime', 'alter')
  for (const setting of [AFTER_MS, BEFORE_MS]) {
    const is = settings[setting] ?? TIMES_ANY_MS
    // A record that it keeps out ends a worker, and is told then; nothing that is there is at stake.
    if (is !== TIMES_ANY_MS) differ.push({ setting, is, wanted: TIMES_ANY_MS, remedy: 'alter', grave: false })
  }
  return differ
}

/** Of two times for which something is kept; -1 is for ever. */
function isLess(ms: number, wanted: number): boolean {
  return ms >= 0 && (wanted < 0 || ms < wanted)
}

/** The difference as the end of a sentence about "it". */
export function differenceText({ setting, is, wanted }: TopicDifference): string {
  if (setting === 'partitions') return `it has ${is} partitions instead of ${wanted}`
  return setting === CLEANUP ? `its ${setting} is "${is}" instead of "${wanted}"` : `its ${setting} is ${is} instead of ${wanted}`
}

/** A topic that nobody may go on with as it is. */
export function mismatch(name: string, differ: readonly TopicDifference[]): TidemarkError {
  return new TidemarkError('TOPIC_MISMATCH', `topic "${name}" exists with other properties`, {
    detail: `${differ.map(differenceText).join(', and ')}.`.replace(/^i/, 'I'),
    hint: remedyOf(differ),
  })
}

/** What to do about topics that differ. */
export function remedyOf(differ: readonly TopicDifference[]): string {
  if (differ.every(({ remedy }) => remedy === 'alter')) {
    return '"tidemark topics apply <topology>" sets it right. What the topic has removed by then is gone: where it was an inbox, compare with "tidemark replay" before you trust it.'
  }
  if (differ.some(({ setting }) => setting === CLEANUP)) {
    return 'Use another topic, or another generation of the stage that owns it: what was removed under the other policy does not come back by changing it. A source that is compacted on purpose says so ("cleanup", or a contract with exchange "state").'
  }
  return 'Use another topic, or another generation of the stage that owns it. Records cannot be moved to another number of partitions in place.'
}
