/** What simulated brokers answer to, by the number of the API. */
import type { Handler } from './handler.ts'
import { GROUP_HANDLERS } from './serve-groups.ts'
import { READ_HANDLERS } from './serve-reads.ts'
import { TOPIC_HANDLERS } from './serve-topics.ts'
import { WRITE_HANDLERS } from './serve-writes.ts'

export const HANDLERS: ReadonlyMap<number, Handler> = new Map([...TOPIC_HANDLERS, ...READ_HANDLERS, ...WRITE_HANDLERS, ...GROUP_HANDLERS])
