/**
 * InitProducerId 4: a producer's id and epoch. With a transactional id it fences every earlier holder and ends what that one left open.
 *
 *   request  => transactionalId:string? transactionTimeoutMs:int32 producerId:int64 producerEpoch:int16
 *   response => throttleMs:int32 error:int16 producerId:int64 producerEpoch:int16
 */
import { type Api, api } from './api.ts'
import { int16, int32, int64, nullableString, struct } from './shape.ts'

export interface InitProducerIdRequest {
  /** Null for a producer that is idempotent only. */
  readonly transactionalId: string | null
  readonly transactionTimeoutMs: number
  /** -1 to begin; the own id and epoch to go on after an error (KIP-360). */
  readonly producerId: number
  readonly producerEpoch: number
}
export interface InitProducerIdResponse {
  readonly throttleMs: number
  /** 51 while the transaction left open is being ended. */
  readonly error: number
  readonly producerId: number
  readonly producerEpoch: number
}

export const initProducerId: Api<InitProducerIdRequest, InitProducerIdResponse> = api({
  key: 22,
  name: 'InitProducerId',
  versions: [4, 4],
  request: struct<InitProducerIdRequest>({
    transactionalId: nullableString,
    transactionTimeoutMs: int32,
    producerId: int64,
    producerEpoch: int16,
  }),
  response: struct<InitProducerIdResponse>({ throttleMs: int32, error: int16, producerId: int64, producerEpoch: int16 }),
})
