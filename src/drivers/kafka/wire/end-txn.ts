/**
 * EndTxn 3 to 5: ends a transaction. Under 5 the answer carries the id and epoch of the next one, and the same request may be sent again
 * until it is answered; under 3 and 4 a late one could end half of the next transaction, so a lost answer is a failure.
 *
 *   request  => transactionalId:string producerId:int64 producerEpoch:int16 committed:bool
 *   response => throttleMs:int32 error:int16 producerId:int64 (5) producerEpoch:int16 (5)
 */
import { type Api, api } from './api.ts'
import { bool, int16, int32, int64, since, string, struct } from './shape.ts'

export interface EndTxnRequest {
  readonly transactionalId: string
  readonly producerId: number
  readonly producerEpoch: number
  readonly committed: boolean
}
export interface EndTxnResponse {
  readonly throttleMs: number
  readonly error: number
  /** -1 before version 5. */
  readonly producerId: number
  /** -1 before version 5. */
  readonly producerEpoch: number
}

export const endTxn: Api<EndTxnRequest, EndTxnResponse> = api({
  key: 26,
  name: 'EndTxn',
  versions: [3, 5],
  request: struct<EndTxnRequest>({ transactionalId: string, producerId: int64, producerEpoch: int16, committed: bool }),
  response: struct<EndTxnResponse>({
    throttleMs: int32,
    error: int16,
    producerId: since(5, int64, -1),
    producerEpoch: since(5, int16, -1),
  }),
})
