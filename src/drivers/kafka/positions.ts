/**
 * OffsetFetch 8 and OffsetCommit 8: the positions of a group. While a transaction that carries positions is open or being ended, the group
 * answers "unstable" instead of the old ones: a new owner that took these would do work twice.
 */
import { TidemarkError } from '../../base/errors.ts'
import { type GroupPositions, type PartitionName, type Positions, partitionName, topicPartition } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import type { CoordinatorKind } from './coordinator.ts'
import type { Epochs } from './epochs.ts'
import { groupError, isExpelled, topicError, unreachable } from './failures.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'
import { GROUP_COORDINATOR } from './wire/find-coordinator.ts'
import { offsetCommit } from './wire/offset-commit.ts'
import { offsetFetch } from './wire/offset-fetch.ts'
import type { CommittedTopic, TopicResults } from './wire/parts.ts'

export const GROUP: CoordinatorKind = { keyType: GROUP_COORDINATOR, error: (group, error) => groupError('find', group, error) }

/**
 * That there is no position is asked twice. The coordinator of brokers up to 3.9 looks first whether it is one and then at what it remembers: one
 * that is deposed in between has forgotten all, and says "none" where there are positions. The second question finds it deposed.
 * @throws TidemarkError NOT_AUTHORIZED, TOPIC_UNKNOWN, BROKER_UNREACHABLE, BROKER_ERROR
 */
export async function committedPositions(
  cluster: Cluster,
  group: string,
  partitions: readonly PartitionName[],
): Promise<Positions | 'unstable'> {
  const said = await positionsSaid(cluster, group, partitions)
  if (said === 'unstable') return said
  const without = await positionsSaid(
    cluster,
    group,
    partitions.filter((name) => !said.has(name)),
  )
  return without === 'unstable' ? without : new Map([...said, ...without])
}

async function positionsSaid(cluster: Cluster, group: string, partitions: readonly PartitionName[]): Promise<Positions | 'unstable'> {
  if (partitions.length === 0) return new Map()
  const byTopic = Map.groupBy(partitions.map(topicPartition), ({ topic }) => topic)
  const topics = [...byTopic].map(([topic, of]) => ({ topic, partitions: of.map(({ partition }) => partition) }))
  const answer = await cluster
    .askCoordinator(GROUP, group, {
      api: offsetFetch,
      request: { groups: [{ groupId: group, topics }], requireStable: true },
      errorOf: ({ groups }) => groups[0]?.error ?? E.NONE,
      again: true,
    })
    .catch((error: unknown) => Promise.reject(asUnreachable(`read positions of group "${group}"`, error)))
  const found = answer.groups[0]
  if (found === undefined) throw groupError('read positions of', group, -1)
  if (found.error === E.UNSTABLE_OFFSET_COMMIT) return 'unstable'
  if (found.error !== E.NONE) throw groupError('read positions of', group, found.error)
  const positions = new Map<PartitionName, number>()
  for (const { topic, partitions: of } of found.topics) {
    for (const { partition, committedOffset, committedLeaderEpoch, error } of of) {
      if (error === E.UNSTABLE_OFFSET_COMMIT) return 'unstable'
      if (error !== E.NONE) throw topicError('read the position of', 'describe', topic, error)
      if (committedOffset < 0) continue
      positions.set(partitionName(topic, partition), committedOffset)
      cluster.epochs.noteCommitted(partitionName(topic, partition), committedOffset, committedLeaderEpoch)
    }
  }
  return positions
}

/**
 * `onLost` is called when an answer was lost, so that the request may still come into effect, also after this has ended.
 * @throws TidemarkError COMMIT_REJECTED, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR
 */
export async function commitPositions(
  cluster: Cluster,
  { group, identity, positions }: GroupPositions,
  onLost?: () => void,
): Promise<void> {
  if (positions.size === 0) return
  const answer = await cluster
    .askCoordinator(GROUP, group, {
      api: offsetCommit,
      request: {
        groupId: group,
        generationId: identity?.generation ?? -1,
        memberId: identity?.member ?? '',
        instanceId: identity?.instance ?? null,
        topics: committedTopics(positions, cluster.epochs),
      },
      errorOf: ({ topics }) => firstError(topics),
      // The same positions once more change nothing: whoever may commit them now owned them before.
      again: true,
      ...(onLost === undefined ? {} : { onLost }),
    })
    .catch((error: unknown) => Promise.reject(asUnreachable(`commit positions of group "${group}"`, error)))
  const error = firstError(answer.topics)
  if (error === E.NONE) return
  if (isExpelled(error) || error === E.REBALANCE_IN_PROGRESS) throw commitRejected({ group, identity, positions }, error)
  throw positionsError(group, answer.topics, error)
}

/** Positions as the wire wants them, with what is known of the records before them. */
export function committedTopics(positions: Positions, epochs: Epochs): CommittedTopic[] {
  const entries = [...positions].map(([name, position]) => ({ ...topicPartition(name), position }))
  return [...Map.groupBy(entries, ({ topic }) => topic)].map(([topic, of]) => ({
    topic,
    partitions: of.map(({ partition, position }) => ({
      partition,
      committedOffset: position,
      committedLeaderEpoch: epochs.of(partitionName(topic, partition), position),
      metadata: null,
    })),
  }))
}

/** The first number that says what is wrong. That something was not even tried, because of something else, says nothing while that is there. */
export function firstError(topics: readonly TopicResults[]): number {
  let found: number = E.NONE
  for (const { partitions } of topics) {
    for (const { error } of partitions) {
      if (error !== E.NONE && error !== E.OPERATION_NOT_ATTEMPTED) return error
      if (error !== E.NONE) found = error
    }
  }
  return found
}

/** A group that does not take positions for a reason that has nothing to do with membership. */
export function positionsError(group: string, topics: readonly TopicResults[], error: number): TidemarkError {
  const topic = topics.find(({ partitions }) => partitions.some((each) => each.error === error))?.topic
  const ofTopic = topic !== undefined && (error === E.TOPIC_AUTHORIZATION_FAILED || error === E.UNKNOWN_TOPIC_OR_PARTITION)
  return ofTopic ? topicError('commit a position of', 'read', topic, error) : groupError('commit positions of', group, error)
}

export function commitRejected({ group, identity }: GroupPositions, error: number): TidemarkError {
  const who = identity === undefined ? 'A commit without a member' : `Member ${identity.member} of generation ${identity.generation}`
  return new TidemarkError('COMMIT_REJECTED', `group "${group}" refuses a commit of a former owner`, {
    detail: `${who}: the broker answered ${kafkaError(error).name}.`,
  })
}

function asUnreachable(doing: string, error: unknown): unknown {
  return error instanceof TidemarkError ? error : unreachable(doing, 'the coordinator', error)
}
