/**
 * ListTransactions, then InitProducerId 4: ends the open transactions of writers that are gone. Without it, those who read behind them
 * would wait for the brokers to time them out.
 */
import type { Cluster } from './cluster.ts'
import { brokerError, isCoordinatorMoved, LinkLost } from './failures.ts'
import { openSession } from './transactions.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { type ListTransactionsRequest, listTransactions } from './wire/list-transactions.ts'

const OPEN_STATES = ['Ongoing']
const TRIES = 10

/** @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
export async function fenceWriters(cluster: Cluster, prefix: string, live: ReadonlySet<string>, transactionMs: number): Promise<void> {
  const found = await listedTransactions(cluster, { states: OPEN_STATES })
  const dead = [...new Set(found)].filter((id) => id.startsWith(prefix) && !live.has(id))
  await Promise.all(dead.map((id) => openSession(cluster, id, transactionMs)))
}

/** Ids of the transactions that brokers coordinate and this user may see: in some states, or of some producers. */
export async function listedTransactions(
  cluster: Cluster,
  of: { readonly states?: readonly string[]; readonly producerIds?: readonly number[] },
): Promise<readonly string[]> {
  await cluster.look([])
  const { states = [], producerIds = [] } = of
  const request = { stateFilters: states, producerIdFilters: producerIds, durationFilterMs: -1, transactionalIdPattern: null }
  const found = await Promise.all(cluster.nodeIds.map((node) => listedBy(cluster, node, request)))
  return found.flat()
}

async function listedBy(cluster: Cluster, node: number, request: ListTransactionsRequest): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    try {
      const { error, transactions } = await cluster.send(node, listTransactions, request)
      if (error === E.NONE) return transactions.map(({ transactionalId }) => transactionalId)
      if (!isCoordinatorMoved(error) || attempt >= TRIES) throw brokerError('list transactions', error)
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error
      cluster.live()
      // A broker that is gone coordinates nothing: its transactions are another's by now, or will be, and end by their timeout at the latest.
      if (attempt >= 2) return []
    }
    await cluster.pause(attempt + 2)
  }
}
