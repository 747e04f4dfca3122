/**
 * A simulated cluster as it truly is, as a log to read from: for whoever watches a simulated world. It asks no broker and goes over no network,
 * so nothing of the driver is between, and it knows how a transaction was decided although no partition has been told yet. Filtering is by
 * that decision, not by markers and lists of aborted transactions: those are what is to be checked.
 */
import { TidemarkError } from '../../base/errors.ts'
import { KAFKA_MANIFEST } from '../../drivers/kafka/client.ts'
import { type Fetched, type Log, type PartitionName, type Positions, type Reader, topicPartition } from '../../ports/log.ts'
import type { SimKafka } from './cluster.ts'
import type { Partition } from './partition.ts'

export function eyeOf(kafka: SimKafka): Log {
  const partitionOf = (name: PartitionName): Partition => {
    const { topic, partition } = topicPartition(name)
    const found = kafka.partition(topic, partition)
    if (found === undefined) throw new TidemarkError('TOPIC_UNKNOWN', `topic "${topic}" does not exist`)
    return found
  }
  const only = (): never => {
    throw new TypeError('this is for looking only')
  }
  return {
    manifest: KAFKA_MANIFEST,
    describe: async (names = [...kafka.topics.keys()]) =>
      names.flatMap((name) => {
        const topic = kafka.topics.get(name)
        if (topic === undefined) return []
        const { id, partitions, configs } = topic
        return {
          name,
          id,
          partitions: partitions.length,
          cleanup: configs.get('cleanup.policy') === 'compact' ? 'compact' : 'delete',
          retentionMs: Number(configs.get('retention.ms')),
          tombstoneMs: Number(configs.get('delete.retention.ms')),
        }
      }),
    offsets: async (partitions, at) =>
      new Map(
        partitions.map((name) => {
          const partition = partitionOf(name)
          return [name, at === 'start' ? 0 : at === 'stable' ? partition.decided : partition.end]
        }),
      ),
    reader: () => new Eye(partitionOf),
    committed: async (group, partitions): Promise<Positions | 'unstable'> => {
      const { positions, undecided } = kafka.group(group).offsets.truth
      if (partitions.some((name) => undecided.has(name))) return 'unstable'
      return new Map([...positions].filter(([name]) => partitions.includes(name)))
    },
    ensure: only,
    join: only,
    writer: only,
    plainWriter: only,
    fence: only,
    hanging: only,
    commitPositions: only,
    trim: only,
    close: async () => {},
  }
}

class Eye implements Reader {
  readonly #partitionOf: (name: PartitionName) => Partition
  #positions: Map<PartitionName, number> = new Map()

  constructor(partitionOf: (name: PartitionName) => Partition) {
    this.#partitionOf = partitionOf
  }

  assign(positions: Positions): void {
    this.#positions = new Map(positions)
  }

  pause(): void {}

  async poll(): Promise<Fetched[]> {
    return [...this.#positions].flatMap(([name, position]): Fetched[] => {
      const partition = this.#partitionOf(name)
      const { decided } = partition
      if (position >= decided) return []
      this.#positions.set(name, decided)
      const batches = partition.visible(position, decided)
      return [{ kind: 'batches', partition: name, batches, next: decided, high: partition.end, stable: decided, logStart: 0 }]
    })
  }

  async close(): Promise<void> {}
}
