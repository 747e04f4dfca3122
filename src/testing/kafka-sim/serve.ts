/** What simulated brokers answer to, by the number of the API. */
import { readRequestHeader } from '../../drivers/kafka/wire/framing.ts'
import type { SimKafka } from './cluster.ts'
import type { Handler } from './handler.ts'
import type { Brokers } from './line.ts'
import { GROUP_HANDLERS } from './serve-groups.ts'
import { READ_HANDLERS } from './serve-reads.ts'
import { TOPIC_HANDLERS } from './serve-topics.ts'
import { TRANSACTION_HANDLERS } from './serve-transactions.ts'
import { WRITE_HANDLERS } from './serve-writes.ts'

const HANDLERS: ReadonlyMap<number, Handler> = new Map([
  ...TOPIC_HANDLERS,
  ...READ_HANDLERS,
  ...WRITE_HANDLERS,
  ...TRANSACTION_HANDLERS,
  ...GROUP_HANDLERS,
])

/** A cluster as sockets lead to it. A request that it does not know closes the socket, as with real brokers. */
export function served(kafka: SimKafka): Brokers {
  return {
    timeline: kafka.timeline,
    at: (address) => kafka.at(address),
    life: (node) => kafka.life(node),
    onDown: (node, hear) => kafka.onDown(node, hear),
    handle: async (node, frame) => await HANDLERS.get(readRequestHeader(frame).header.key)?.(kafka, node, frame),
  }
}
