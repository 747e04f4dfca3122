/**
 * ListOffsets 7 and DeleteRecords 2: where partitions begin and end, and moving the beginning. Leaders are asked with the epoch under which
 * we know them, so a deposed one never answers; a partition that moved is asked for again until a deadline.
 */
import { TidemarkError } from '../../base/errors.ts'
import { type OffsetAt, type PartitionName, type Positions, partitionName, topicPartition } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import { askLeaders } from './leaders.ts'
import { deleteRecords } from './wire/delete-records.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { EARLIEST, LATEST, listOffsets } from './wire/list-offsets.ts'
import { READ_COMMITTED, READ_UNCOMMITTED } from './wire/parts.ts'

/** @throws TidemarkError TOPIC_UNKNOWN, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
export async function offsetsAt(cluster: Cluster, partitions: readonly PartitionName[], at: OffsetAt): Promise<Positions> {
  const isolationLevel = at === 'stable' ? READ_COMMITTED : READ_UNCOMMITTED
  const timestamp = at === 'start' ? EARLIEST : at === 'high' || at === 'stable' ? LATEST : at.time
  const found = await askLeaders(cluster, partitions, 'look up offsets of', 'describe', async (node, asked) => {
    const topics = [...Map.groupBy(asked, ({ topic }) => topic)].map(([topic, of]) => ({
      topic,
      partitions: of.map(({ partition, leader }) => ({ partition, currentLeaderEpoch: leader.epoch, timestamp })),
    }))
    const answer = await cluster.send(node, listOffsets, { isolationLevel, topics })
    return answer.topics.flatMap(({ topic, partitions: of }) =>
      of.map(({ partition, error, offset }) => ({ name: partitionName(topic, partition), error, value: offset })),
    )
  })
  const late = [...found].filter(([, offset]) => offset < 0).map(([name]) => name)
  // Nothing is as young as the time that was asked for: the answer is the end.
  if (late.length > 0) for (const [name, offset] of await offsetsAt(cluster, late, 'high')) found.set(name, offset)
  return new Map(partitions.map((name) => [name, found.get(name) as number]))
}

/** @throws TidemarkError TOPIC_UNKNOWN, OPTION_INVALID, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
export async function trim(cluster: Cluster, name: PartitionName, before: number): Promise<void> {
  if (!Number.isSafeInteger(before) || before < 0) throw new TypeError(`records are trimmed before an offset, not ${before}`)
  const { topic, partition } = topicPartition(name)
  const stable = (await offsetsAt(cluster, [name], 'stable')).get(name) as number
  if (before > stable) throw undecided(name, before, stable)
  await askLeaders(cluster, [name], 'remove records of', 'delete', async (node) => {
    const topics = [{ topic, partitions: [{ partition, offset: before }] }]
    const answer = await cluster.send(node, deleteRecords, { topics, timeoutMs: 10_000 }, { timeoutMs: 15_000 })
    const error = answer.topics[0]?.partitions[0]?.error ?? E.NONE
    // The log begins behind it already.
    return [{ name, error: error === E.OFFSET_OUT_OF_RANGE ? E.NONE : error, value: before }]
  })
}

function undecided(name: PartitionName, before: number, stable: number): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `partition ${name} cannot be trimmed to what is not decided yet`, {
    detail: `It is decided up to offset ${stable}; ${before} was asked for.`,
  })
}
