/**
 * Transactions that hang: DescribeProducers 0 of the leaders says what is open in a partition, ListTransactions and DescribeTransactions 0 of the
 * coordinators what is open at all. What a partition has open and no coordinator will end, hangs; so judges Kafka's own tool, too.
 *
 * How they come about: a coordinator that begins its work, after all brokers were killed, while its own broker does not know all partitions
 * yet, takes those that it does not find for deleted, and notes that the transaction has ended without a marker in them.
 */
import { type HangingTransaction, type PartitionName, partitionName } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import { LinkLost, unreachable } from './failures.ts'
import { listedTransactions } from './fence.ts'
import { askLeaders } from './leaders.ts'
import { TRANSACTION } from './transactions.ts'
import { describeProducers } from './wire/describe-producers.ts'
import { type DescribedTransaction, describeTransactions } from './wire/describe-transactions.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'

/** What a partition has open. */
export interface OpenTransaction {
  readonly partition: PartitionName
  readonly offset: number
  readonly producerId: number
  readonly producerEpoch: number
}

/** What a coordinator says of a writer. */
export interface Coordinated {
  readonly writer: string
  readonly state: string
  readonly producerId: number
  readonly producerEpoch: number
  /** Where its transaction is open, or still has to be ended. */
  readonly partitions: ReadonlySet<PartitionName>
}

const POSITIONS_TOPIC = '__consumer_offsets'

/** @throws TidemarkError TOPIC_UNKNOWN, BROKER_UNREACHABLE, BROKER_ERROR */
export async function hangingTransactions(
  cluster: Cluster,
  partitions: readonly PartitionName[],
  group: string,
): Promise<readonly HangingTransaction[]> {
  const positions = await positionsPartition(cluster, group)
  const asked = positions === undefined ? partitions : [...partitions, positions]
  const open = await openTransactions(cluster, asked)
  if (open.length === 0) return []
  const suspects = hangingAmong(open, await coordinated(cluster, new Set(open.map(({ producerId }) => producerId))))
  if (suspects.length === 0) return []
  // One that ended while its coordinator was asked is none.
  const still = await openTransactions(
    cluster,
    suspects.map(({ partition }) => partition),
  )
  return suspects.filter((one) => still.some((other) => isSame(one, other)))
}

/** Which of what is open nobody will end. */
export function hangingAmong(open: readonly OpenTransaction[], known: readonly Coordinated[]): HangingTransaction[] {
  return open.flatMap((each) => {
    // Whatever its epoch: the end of what a writer has open in a partition ends everything that it has open there.
    const of = known.filter(({ producerId }) => producerId === each.producerId)
    return of.some(({ partitions }) => partitions.has(each.partition)) ? [] : [{ ...each, writer: of[0]?.writer }]
  })
}

function isSame(one: OpenTransaction, other: OpenTransaction): boolean {
  return (
    one.partition === other.partition &&
    one.offset === other.offset &&
    one.producerId === other.producerId &&
    one.producerEpoch === other.producerEpoch
  )
}

/** What some partitions have open. Those that this user may not read are passed over. */
export async function openTransactions(cluster: Cluster, partitions: readonly PartitionName[]): Promise<OpenTransaction[]> {
  const found = await askLeaders<OpenTransaction[]>(cluster, partitions, 'look for open transactions of', 'read', async (node, asked) => {
    const topics = [...Map.groupBy(asked, ({ topic }) => topic)].map(([topic, of]) => ({
      topic,
      partitions: of.map(({ partition }) => partition),
    }))
    const answer = await cluster.send(node, describeProducers, { topics })
    return answer.topics.flatMap(({ topic, partitions: of }) =>
      of.map(({ partition, error, activeProducers }) => {
        const name = partitionName(topic, partition)
        const value = activeProducers
          .filter(({ currentTransactionStartOffset }) => currentTransactionStartOffset >= 0)
          .map(({ producerId, producerEpoch, currentTransactionStartOffset: offset }) => ({
            partition: name,
            offset,
            producerId,
            producerEpoch,
          }))
        return { name, error: error === E.TOPIC_AUTHORIZATION_FAILED ? E.NONE : error, value }
      }),
    )
  })
  return [...found.values()].flat()
}

/** What coordinators know of some producers. Of a writer that this user may not see they say nothing. */
async function coordinated(cluster: Cluster, producerIds: ReadonlySet<number>): Promise<Coordinated[]> {
  const writers = new Set(await listedTransactions(cluster, { producerIds: [...producerIds] }))
  const described = await Promise.all([...writers].map((writer) => coordinatedOf(cluster, writer)))
  return described.filter((each) => each !== undefined)
}

/** What its coordinator knows of a writer; undefined when it knows nothing, or does not say. @throws TidemarkError BROKER_UNREACHABLE */
export async function coordinatedOf(cluster: Cluster, writer: string): Promise<Coordinated | undefined> {
  const answer = await cluster
    .askCoordinator(TRANSACTION, writer, {
      api: describeTransactions,
      request: { transactionalIds: [writer] },
      errorOf: ({ transactions }) => transactions[0]?.error ?? E.NONE,
      again: true,
    })
    .catch((lost: unknown) =>
      Promise.reject(lost instanceof LinkLost ? unreachable(`look at writer "${writer}"`, 'its coordinator', lost) : lost),
    )
  const found = answer.transactions[0]
  return found === undefined || found.error !== E.NONE ? undefined : asCoordinated(found)
}

function asCoordinated({ transactionalId, state, producerId, producerEpoch, topics }: DescribedTransaction): Coordinated {
  const names = topics.flatMap(({ topic, partitions }) => partitions.map((partition) => partitionName(topic, partition)))
  return { writer: transactionalId, state, producerId, producerEpoch, partitions: new Set(names) }
}

/** Where the positions of a group are kept; undefined where this user may not know. */
export async function positionsPartition(cluster: Cluster, group: string): Promise<PartitionName | undefined> {
  const [topic] = await cluster.look([POSITIONS_TOPIC])
  if (topic === undefined || topic.error !== E.NONE || topic.partitions.length === 0) return undefined
  // As Java hashes strings, which is how brokers choose it.
  let hash = 0
  for (let i = 0; i < group.length; i++) hash = (Math.imul(hash, 31) + group.charCodeAt(i)) | 0
  return partitionName(POSITIONS_TOPIC, (hash === -(2 ** 31) ? 0 : Math.abs(hash)) % topic.partitions.length)
}
