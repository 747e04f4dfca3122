/** One partition of a producer: what of it is not acknowledged, and how it stands with its broker. */
import { type PartitionName, topicPartition } from '../../ports/log.ts'
import type { EncodedBatch } from '../../ports/record-batch/index.ts'

export interface Appended {
  readonly base: number
  readonly next: number
}

/** As whom batches are sent. */
export interface Session {
  readonly producerId: number
  readonly producerEpoch: number
}

export interface Outgoing {
  readonly batch: EncodedBatch
  readonly guard: (() => void) | undefined
  readonly resolve: (appended: Appended) => void
  readonly reject: (error: unknown) => void
  stamped: boolean
  onWire: boolean
}

export interface Track {
  readonly name: PartitionName
  readonly topic: string
  readonly partition: number
  session: Session | undefined
  /** The sequence of the next record that is stamped. */
  sequence: number
  introduced: boolean
  /** Something was sent in this transaction. */
  begun: boolean
  /** How much the cluster had lost when the partition was admitted. */
  admittedAt: number
  /** Not acknowledged, in order. */
  readonly pending: Outgoing[]
  onWire: number
  /** Something failed: nothing is sent before everything was answered, and `notBefore`. */
  recovering: boolean
  /** Something is asked for that must be known before anything can be sent. */
  preparing: boolean
  failures: number
  failingSince: number
  /** Somebody else may lead it by now. */
  moved: boolean
  /** The producer id of the batch that was acknowledged last: the partition knows it, and with it where its sequences go on. */
  knownAs: number
}

const IN_FLIGHT_MAX = 5
/**
 * A partition that has never heard of a producer takes any of its batches as the first one. When the very first is refused for a moment, as
 * happens on a topic that was just made, the second would be taken before it: so it waits until the first is acknowledged.
 */
const IN_FLIGHT_FIRST = 1

export function newTrack(name: PartitionName): Track {
  const { topic, partition } = topicPartition(name)
  const session = { session: undefined, sequence: 0, introduced: false, begun: false, admittedAt: -1, knownAs: -1 }
  const trouble = { recovering: false, preparing: false, failures: 0, failingSince: 0, moved: false }
  return { name, topic, partition, pending: [], onWire: 0, ...session, ...trouble }
}

export function isFull({ onWire, session, knownAs }: Track): boolean {
  return onWire >= (session?.producerId === knownAs ? IN_FLIGHT_MAX : IN_FLIGHT_FIRST)
}
