/**
 * What consumers put into JoinGroup and SyncGroup, so that Kafka's own tools can show who reads what. The bytes are classic, and begin with
 * their version. We write version 3 of both, as Kafka's own client does, and read every version: a later one may only add fields at the end, which are
 * left alone.
 *
 *   subscription => version:int16 topics:[string] userData:bytes? owned:[topic:string [partition:int32]] (1) generationId:int32 (2)
 *                   rackId:string? (3)
 *   assignment   => version:int16 [topic:string [partition:int32]] userData:bytes?
 */
import { WireReader, WireWriter } from './bytes.ts'
import { type TopicPartitions, topicPartitions } from './parts.ts'
import { array, int32, nullableBytes, nullableString, type Shape, since, string, struct } from './shape.ts'

export const CONSUMER_PROTOCOL_TYPE = 'consumer'
const SUBSCRIPTION_VERSION = 3
/** Its versions differ in number only. */
const ASSIGNMENT_VERSION = 3

export interface Subscription {
  readonly topics: readonly string[]
  readonly userData: Buffer | null
  /** What the member holds. */
  readonly ownedPartitions: readonly TopicPartitions[]
  /** The generation in which it got that; -1 when it holds nothing. */
  readonly generationId: number
  readonly rackId: string | null
}
export interface ConsumerAssignment {
  readonly topics: readonly TopicPartitions[]
  readonly userData: Buffer | null
}

const NONE: readonly TopicPartitions[] = []
const subscription: Shape<Subscription> = struct<Subscription>({
  topics: array(string),
  userData: nullableBytes,
  ownedPartitions: since(1, array(topicPartitions), NONE),
  generationId: since(2, int32, -1),
  rackId: since(3, nullableString, null),
})
const assignment: Shape<ConsumerAssignment> = struct<ConsumerAssignment>({ topics: array(topicPartitions), userData: nullableBytes })

export function encodeSubscription(value: Subscription): Buffer {
  return encode(subscription, SUBSCRIPTION_VERSION, value)
}

/** @throws TidemarkError WIRE_INVALID */
export function decodeSubscription(bytes: Buffer): Subscription {
  return decode(subscription, bytes, 'a subscription')
}

export function encodeAssignment(value: ConsumerAssignment): Buffer {
  return encode(assignment, ASSIGNMENT_VERSION, value)
}

/**
 * No bytes at all are what a member gets to which the leader gave nothing: no partitions.
 * @throws TidemarkError WIRE_INVALID
 */
export function decodeAssignment(bytes: Buffer): ConsumerAssignment {
  return bytes.length === 0 ? { topics: [], userData: null } : decode(assignment, bytes, 'an assignment')
}

function encode<T>(shape: Shape<T>, version: number, value: T): Buffer {
  const writer = new WireWriter()
  writer.flexible = false
  writer.version = version
  writer.int16(version)
  shape.write(writer, value)
  return writer.bytes()
}

function decode<T>(shape: Shape<T>, bytes: Buffer, what: string): T {
  const reader = new WireReader(bytes)
  reader.message = what
  reader.flexible = false
  reader.version = reader.int16()
  if (reader.version < 0) reader.fail(`it has version ${reader.version}`)
  return shape.read(reader)
}
