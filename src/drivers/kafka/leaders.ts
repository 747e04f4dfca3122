/** Questions about partitions that only their leaders answer: asked together, and again of the next leader until a deadline. */
import { type PartitionName, topicPartition } from '../../ports/log.ts'
import { type Cluster, PATIENCE_MS, type PartitionLeader } from './cluster.ts'
import { LinkLost, topicError, unreachable } from './failures.ts'
import { type ReadVerdict, readVerdict } from './reading.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'

export interface Asked {
  readonly name: PartitionName
  readonly topic: string
  readonly partition: number
  readonly leader: PartitionLeader
}
/** What may be answered otherwise a little later, here or by another broker. */
const PASSING: ReadonlySet<ReadVerdict> = new Set(['moved', 'again'])

export interface Answered<Value> {
  readonly name: PartitionName
  readonly error: number
  readonly value: Value
}

/**
 * Asks the leader of each partition, and the next one where it moved.
 * @param doing for the sentence of an error, such as "look up offsets of"
 * @param right the right that is missing where the answer says that one is
 * @throws TidemarkError TOPIC_UNKNOWN, NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR
 */
export async function askLeaders<Value>(
  cluster: Cluster,
  names: readonly PartitionName[],
  doing: string,
  right: string,
  call: (node: number, asked: readonly Asked[]) => Promise<Answered<Value>[]>,
): Promise<Map<PartitionName, Value>> {
  const until = cluster.clock.mono() + PATIENCE_MS
  const found = new Map<PartitionName, Value>()
  let open = [...new Set(names)]
  for (let attempt = 0; open.length > 0; attempt++) {
    cluster.live()
    await cluster.know(open)
    const asked = open.map((name): Asked => {
      const { topic, partition } = topicPartition(name)
      return { name, topic, partition, leader: cluster.leader(topic, partition) as PartitionLeader }
    })
    const lost: unknown[] = []
    const moved = new Map<PartitionName, number>()
    await Promise.all(
      [...Map.groupBy(asked, ({ leader }) => leader.node)].map(async ([node, of]) => {
        try {
          for (const { name, error, value } of await call(node, of)) {
            if (error === E.NONE) found.set(name, value)
            else if (PASSING.has(readVerdict(error))) moved.set(name, error)
            else throw topicError(doing, right, topicPartition(name).topic, error)
          }
        } catch (error) {
          if (!(error instanceof LinkLost)) throw error
          lost.push(error)
        }
      }),
    )
    open = open.filter((name) => !found.has(name))
    const first = open[0]
    if (first === undefined) break
    if (cluster.clock.mono() >= until) {
      if (moved.has(first)) throw topicError(doing, right, topicPartition(first).topic, moved.get(first) as number)
      throw unreachable(`${doing} ${first}`, 'the leader of the partition', lost[0])
    }
    await cluster.pause(attempt)
    await cluster.refresh(open.map((name) => topicPartition(name).topic))
  }
  return found
}
