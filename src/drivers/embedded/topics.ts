/** What a topic may be called and hold, and whether an existing one is what was asked for. */
import { TidemarkError } from '../../base/errors.ts'
import type { TopicDescription, TopicSpec } from '../../ports/log.ts'
import type { NewTopic, TopicState } from './state.ts'

const TOMBSTONE_MS_DEFAULT = 7 * 86_400_000
/** Kafka's own limits (org.apache.kafka.common.internals.Topic). */
const NAME = /^[a-zA-Z0-9._-]{1,249}$/
const PARTITIONS_MAX = 10_000

/** @throws TidemarkError NAME_INVALID, OPTION_INVALID */
export function newTopic(spec: TopicSpec, id: string): NewTopic {
  const { name, partitions, cleanup, retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT } = spec
  if (!NAME.test(name) || name === '.' || name === '..') {
    throw new TidemarkError('NAME_INVALID', `"${name}" is no name for a topic`, {
      hint: 'Use up to 249 letters, digits, dots, dashes and underscores.',
    })
  }
  const wrong =
    !Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX
      ? `partitions is ${partitions}; 1 to ${PARTITIONS_MAX} are possible.`
      : cleanup !== 'compact' && cleanup !== 'delete'
        ? `cleanup is ${JSON.stringify(cleanup)}; it is "compact" or "delete".`
        : !Number.isSafeInteger(retentionMs) || retentionMs < -1
          ? `retentionMs is ${retentionMs}; it is a number of milliseconds, or -1 to keep everything.`
          : !Number.isSafeInteger(tombstoneMs) || tombstoneMs < 0
            ? `tombstoneMs is ${tombstoneMs}; it is a number of milliseconds.`
            : undefined
  if (wrong !== undefined) throw new TidemarkError('OPTION_INVALID', `topic "${name}" cannot be made`, { detail: wrong })
  return { name, id, partitions, cleanup, retentionMs, tombstoneMs }
}

/** @throws TidemarkError TOPIC_MISMATCH */
export function checkTopic(topic: TopicState, spec: TopicSpec): void {
  const differ: string[] = []
  if (topic.partitions.length !== spec.partitions) differ.push(`it has ${topic.partitions.length} partitions instead of ${spec.partitions}`)
  if (topic.cleanup !== spec.cleanup) differ.push(`its cleanup is "${topic.cleanup}" instead of "${spec.cleanup}"`)
  else if (spec.owner !== 'theirs') {
    const { retentionMs, tombstoneMs = TOMBSTONE_MS_DEFAULT } = spec
    const kept = topic.retentionMs < 0 || (retentionMs >= 0 && topic.retentionMs >= retentionMs)
    if (topic.cleanup === 'delete' && !kept) differ.push(`it keeps records for ${topic.retentionMs} ms instead of ${keptFor(retentionMs)}`)
    if (topic.cleanup === 'compact' && topic.tombstoneMs < tombstoneMs) {
      differ.push(`it keeps tombstones for ${topic.tombstoneMs} ms instead of ${keptFor(tombstoneMs)}`)
    }
  }
  if (differ.length === 0) return
  throw new TidemarkError('TOPIC_MISMATCH', `topic "${spec.name}" exists with other properties`, {
    detail: `${differ.join(', and ')}.`.replace(/^i/, 'I'),
    hint: 'Use another topic, or another generation of the stage that owns it. Records cannot be moved to another number of partitions in place.',
  })
}

function keptFor(ms: number): string {
  return ms < 0 ? 'for ever' : `${ms} ms`
}

export function describeTopic(topic: TopicState): TopicDescription {
  const { name, id, partitions, cleanup, retentionMs, tombstoneMs } = topic
  return { name, id, partitions: partitions.length, cleanup, retentionMs, tombstoneMs }
}
