/**
 * ListTransactions 0 to 2: the transactions that one coordinator knows; ask every broker. Version 1 (brokers from 3.8 on) filters by how long
 * they run, version 2 (from 4.1 on) by a pattern of ids.
 *
 *   request  => stateFilters:[string] producerIdFilters:[int64] durationFilterMs:int64 (1) transactionalIdPattern:string? (2)
 *   response => throttleMs:int32 error:int16 unknownStateFilters:[string] [transactionalId:string producerId:int64 state:string]
 */
import { type Api, api } from './api.ts'
import { array, int16, int32, int64, nullableString, since, string, struct } from './shape.ts'

export interface ListTransactionsRequest {
  /** `Ongoing`, `PrepareCommit`, `Empty`, ...; none means all. */
  readonly stateFilters: readonly string[]
  readonly producerIdFilters: readonly number[]
  /** Only transactions that run for longer; -1 for all, and in version 0. */
  readonly durationFilterMs: number
  /** A regular expression (RE2) that the whole id must match; null for all, and before version 2. */
  readonly transactionalIdPattern: string | null
}

export interface ListedTransaction {
  readonly transactionalId: string
  readonly producerId: number
  readonly state: string
}
export interface ListTransactionsResponse {
  readonly throttleMs: number
  readonly error: number
  readonly unknownStateFilters: readonly string[]
  readonly transactions: readonly ListedTransaction[]
}

export const listTransactions: Api<ListTransactionsRequest, ListTransactionsResponse> = api({
  key: 66,
  name: 'ListTransactions',
  versions: [0, 2],
  request: struct<ListTransactionsRequest>({
    stateFilters: array(string),
    producerIdFilters: array(int64),
    durationFilterMs: since(1, int64, -1),
    transactionalIdPattern: since(2, nullableString, null),
  }),
  response: struct<ListTransactionsResponse>({
    throttleMs: int32,
    error: int16,
    unknownStateFilters: array(string),
    transactions: array(struct<ListedTransaction>({ transactionalId: string, producerId: int64, state: string })),
  }),
})
