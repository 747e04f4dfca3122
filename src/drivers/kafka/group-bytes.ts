/** What members of a group tell each other, in the layout of Kafka's own consumers, so that its tools can show who has what. */
import type { Assignment, GroupMember, TopicPartition } from '../../ports/log.ts'
import { decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from './wire/consumer-protocol.ts'
import type { JoinGroupMember } from './wire/join-group.ts'

/** In front of every member's user data: a number that makes it differ whenever a rebalance is wanted. */
const NONCE_BYTES = 4

/** What a member tells the leader. */
export function subscriptionBytes(nonce: number, userData: Uint8Array): Buffer {
  return encodeSubscription({
    topics: [],
    userData: Buffer.concat([nonceBytes(nonce), userData]),
    ownedPartitions: [],
    generationId: -1,
    rackId: null,
  })
}

/** What the leader gave a member; nothing where it gave none. */
export function assignmentOf(bytes: Buffer): { partitions: readonly TopicPartition[]; userData: Uint8Array } {
  if (bytes.length === 0) return { partitions: [], userData: Buffer.alloc(0) }
  const { topics, userData } = decodeAssignment(bytes)
  const partitions = topics.flatMap(({ topic, partitions: of }) => of.map((partition) => ({ topic, partition })))
  return { partitions, userData: userData ?? Buffer.alloc(0) }
}

function nonceBytes(nonce: number): Buffer {
  const bytes = Buffer.alloc(NONCE_BYTES)
  bytes.writeUInt32BE(nonce % 2 ** 32)
  return bytes
}

/** A member as the leader sees it. */
export function toMember({ memberId, instanceId, metadata }: JoinGroupMember): GroupMember {
  const { userData } = decodeSubscription(metadata)
  return {
    member: memberId,
    instance: instanceId ?? undefined,
    userData: userData === null ? Buffer.alloc(0) : userData.subarray(NONCE_BYTES),
  }
}

/** What the leader gives a member. */
export function assignmentBytes({ partitions, userData }: Assignment): Buffer {
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, of]) => ({
    topic,
    partitions: of.map(({ partition }) => partition),
  }))
  return encodeAssignment({ topics, userData: Buffer.from(userData) })
}
