/** Shapes that several APIs share. */
import { array, int8, int16, int32, int64, nullableString, type Shape, string, struct } from './shape.ts'

/** Partitions of one topic, by number. */
export interface TopicPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}
export const topicPartitions: Shape<TopicPartitions> = struct<TopicPartitions>({ topic: string, partitions: array(int32) })

/** Who leads a partition, as a broker that no longer does knows it. -1 for both when it does not know. */
export interface CurrentLeader {
  readonly leaderId: number
  readonly leaderEpoch: number
}
export const currentLeader: Shape<CurrentLeader> = struct<CurrentLeader>({ leaderId: int32, leaderEpoch: int32 })

/** `isolationLevel` of ListOffsets and Fetch: read everything, or only what is decided. */
export const READ_UNCOMMITTED = 0
export const READ_COMMITTED = 1
export const isolationLevel: Shape<number> = int8

/** `replicaId` of whoever is not a broker. */
export const CLIENT_REPLICA = -1

/** How a request ended for one partition. */
export interface PartitionResult {
  readonly partition: number
  readonly error: number
}
export interface TopicResults {
  readonly topic: string
  readonly partitions: readonly PartitionResult[]
}
export const topicResults: Shape<TopicResults> = struct<TopicResults>({
  topic: string,
  partitions: array(struct<PartitionResult>({ partition: int32, error: int16 })),
})

/** Positions of a group in one topic. */
export interface CommittedPartition {
  readonly partition: number
  /** The offset of the next record to be read. */
  readonly committedOffset: number
  /** Epoch of the last record read; -1 when unknown. */
  readonly committedLeaderEpoch: number
  readonly metadata: string | null
}
export interface CommittedTopic {
  readonly topic: string
  readonly partitions: readonly CommittedPartition[]
}
export const committedTopic: Shape<CommittedTopic> = struct<CommittedTopic>({
  topic: string,
  partitions: array(
    struct<CommittedPartition>({ partition: int32, committedOffset: int64, committedLeaderEpoch: int32, metadata: nullableString }),
  ),
})
