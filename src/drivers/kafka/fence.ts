/**
 * ListTransactions 2 or 1, then InitProducerId 4: ends the open transactions of writers that are gone. Without it, those who read behind them
 * would wait for the brokers to time them out.
 */
import type { Cluster } from './cluster.ts'
import { brokerError, isCoordinatorMoved, LinkLost } from './failures.ts'
import { openSession } from './transactions.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'
import { listTransactions } from './wire/list-transactions.ts'

const OPEN_STATES = ['Ongoing']
const TRIES = 10

/** @throws TidemarkError NOT_AUTHORIZED, BROKER_UNREACHABLE, BROKER_ERROR */
export async function fenceWriters(cluster: Cluster, prefix: string, live: ReadonlySet<string>, transactionMs: number): Promise<void> {
  await cluster.look([])
  const found = await Promise.all(cluster.nodeIds.map((node) => openTransactions(cluster, node, prefix)))
  const dead = [...new Set(found.flat())].filter((id) => id.startsWith(prefix) && !live.has(id))
  await Promise.all(dead.map((id) => openSession(cluster, id, transactionMs)))
}

/** Ids of the transactions that one broker coordinates and that are open. */
async function openTransactions(cluster: Cluster, node: number, prefix: string): Promise<string[]> {
  const request = {
    stateFilters: OPEN_STATES,
    producerIdFilters: [],
    durationFilterMs: -1,
    transactionalIdPattern: null,
  }
  for (let attempt = 0; ; attempt++) {
    try {
      const { error, transactions } = await cluster.send(node, listTransactions, request)
      if (error === E.NONE) return transactions.map(({ transactionalId }) => transactionalId).filter((id) => id.startsWith(prefix))
      if (!isCoordinatorMoved(error) || attempt >= TRIES) throw brokerError('list open transactions', error)
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error
      cluster.live()
      // A broker that is gone coordinates nothing: its transactions are another's by now, or will be, and end by their timeout at the latest.
      if (attempt >= 2) return []
    }
    await cluster.pause(attempt + 2)
  }
}
