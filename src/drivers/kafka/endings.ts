/**
 * How transactions of writers ended, and what brokers lost of that. A broker that was killed may forget to write the end of a transaction into
 * some of its partitions (see `hanging.ts`). What is written there next by the same producer would share the fate of what is open: records of a
 * transaction that was aborted become visible with the next commit, those of one that was committed vanish with the next abort.
 *
 * So a writer looks before it writes, wherever it has not written since something was lost: that nothing of its own is open there. What is, and
 * hangs, is refused with TRANSACTION_HANGING. The next writer of that id mends it, when it is known how the transaction ended: it ends it once
 * more, in the same way, in the partitions where the end is missing. Only under transaction protocol 2, where every transaction has an epoch of
 * its own, is that known for sure.
 */
import { TidemarkError } from '../../base/errors.ts'
import { type PartitionName, topicPartition } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import { unreachable } from './failures.ts'
import { type Coordinated, coordinatedOf, type OpenTransaction, openTransactions } from './hanging.ts'
import type { Session } from './producer-track.ts'
import type { Transactions } from './transactions.ts'

/** Transactions of a writer whose end is remembered: what hangs was found soon, or long ago. */
const REMEMBERED = 64
/** How long the end of a transaction may take to arrive in its partitions, ms. */
const ENDING_MS = 30_000

interface Remains extends OpenTransaction {
  /** Set for the positions of a group, which are no partition of ours. */
  readonly group: string | undefined
}

export class Endings {
  readonly #ends = new Map<string, Map<string, 'commit' | 'abort'>>()
  readonly #remains = new Map<string, Map<PartitionName, Remains>>()

  /** A transaction of protocol 2 has ended. */
  note(writer: string, { producerId, producerEpoch }: Session, how: 'commit' | 'abort'): void {
    const ends = this.#ends.get(writer) ?? new Map<string, 'commit' | 'abort'>()
    this.#ends.set(writer, ends)
    ends.set(`${producerId}/${producerEpoch}`, how)
    if (ends.size > REMEMBERED) ends.delete(ends.keys().next().value as string)
  }

  /** Looks how the last transaction of a writer ended, or is about to. To be asked under protocol 2 only. */
  async look(cluster: Cluster, writer: string): Promise<void> {
    const found = await coordinatedOf(cluster, writer)
    const how = found && endOf(found)
    // The end raised the epoch.
    if (found && how) this.note(writer, { producerId: found.producerId, producerEpoch: found.producerEpoch - 1 }, how)
  }

  /** How a transaction ended; undefined when nobody here knows. */
  of(writer: string, { producerId, producerEpoch }: Session): 'commit' | 'abort' | undefined {
    return this.#ends.get(writer)?.get(`${producerId}/${producerEpoch}`)
  }

  /** A transaction hangs. */
  leave(writer: string, open: OpenTransaction, group?: string): void {
    const remains = this.#remains.get(writer) ?? new Map<PartitionName, Remains>()
    this.#remains.set(writer, remains)
    remains.set(open.partition, { ...open, group })
  }

  /**
   * Ends what hangs of a writer and whose end is known, in the way in which it ended. Before the writer begins its first transaction.
   * @returns the session to go on with
   */
  async mend(cluster: Cluster, transactions: Transactions, writer: string, session: Session): Promise<Session> {
    const remains = this.#remains.get(writer)
    if (remains === undefined) return session
    // Another producer's are not ended by us, nor touched by what we write.
    const own = [...remains.values()].filter(({ producerId }) => producerId === session.producerId)
    const open = await openTransactions(
      cluster,
      own.map(({ partition }) => partition),
    )
    const still = own.filter((one) => open.some((other) => other.partition === one.partition && other.offset === one.offset))
    let current = session
    for (const how of ['commit', 'abort'] as const) {
      const same = still.filter((each) => this.of(writer, each) === how)
      if (same.length === 0) continue
      const names = same.filter(({ group }) => group === undefined).map(({ partition }) => partition)
      const refused = names.length > 0 ? await transactions.addPartitions(current, names) : new Map<string, Error>()
      for (const error of refused.values()) throw error
      for (const { group } of same) if (group !== undefined) await transactions.addGroup(current, group)
      const ended = await transactions.end(current, how === 'commit')
      if (ended.kind !== 'ended') throw ended.error
      current = ended.session
    }
    // What is left of them is found again before anything is written there.
    this.#remains.delete(writer)
    return current
  }

  /**
   * Waits until nothing of a writer is open in partitions in which it has not begun to write. Those that it may not read are passed over.
   * @throws TidemarkError TRANSACTION_HANGING, BROKER_UNREACHABLE
   */
  async require(cluster: Cluster, writer: string, { producerId }: Session, names: readonly PartitionName[]): Promise<void> {
    const own = async (): Promise<OpenTransaction[]> =>
      (await openTransactions(cluster, names)).filter((each) => each.producerId === producerId)
    const until = cluster.clock.mono() + ENDING_MS
    for (let attempt = 0; ; attempt++) {
      if ((await own()).length === 0) return
      const coordinated = await coordinatedOf(cluster, writer)
      if (coordinated?.state.startsWith('Prepare') !== true) break
      if (cluster.clock.mono() >= until) {
        throw unreachable(`end a transaction of writer "${writer}"`, 'the leaders of its partitions', new Error(coordinated.state))
      }
      await cluster.pause(attempt)
    }
    // Asked once more, because the end may have come between the two questions.
    const [left, ...more] = await own()
    if (left === undefined) return
    for (const each of [left, ...more]) this.leave(writer, each)
    throw hangs(writer, left, this.of(writer, left))
  }
}

/** How a transaction ended that has; undefined for one that may still end either way, and for none. */
function endOf({ state }: Coordinated): 'commit' | 'abort' | undefined {
  if (state === 'PrepareCommit' || state === 'CompleteCommit') return 'commit'
  if (state === 'PrepareAbort' || state === 'CompleteAbort') return 'abort'
  return undefined
}

function hangs(
  writer: string,
  { partition, offset, producerId, producerEpoch }: OpenTransaction,
  how: 'commit' | 'abort' | undefined,
): TidemarkError {
  const { topic, partition: number } = topicPartition(partition)
  const end = how === undefined ? 'How it ended nobody knows any more.' : `It ended with ${how}, and the brokers lost that there.`
  return new TidemarkError(
    'TRANSACTION_HANGING',
    `a transaction of writer "${writer}" was left without an end in ${partition} at offset ${offset}`,
    {
      detail: `Producer ${producerId}, epoch ${producerEpoch}. ${end} What is written behind it would share its fate, so nothing is.`,
      hint:
        how === undefined
          ? `Ended by hand it goes on: kafka-transactions.sh --bootstrap-server ... abort --topic ${topic} --partition ${number} --start-offset ${offset}`
          : 'The next writer of this id ends it in the same way.',
    },
  )
}
