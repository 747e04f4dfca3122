/**
 * AddOffsetsToTxn 3, for transaction protocol 1: tells the coordinator that a transaction will carry positions of a group.
 *
 *   request  => transactionalId:string producerId:int64 producerEpoch:int16 groupId:string
 *   response => throttleMs:int32 error:int16
 */
import { type Api, api } from './api.ts'
import { int16, int32, int64, string, struct } from './shape.ts'

export interface AddOffsetsToTxnRequest {
  readonly transactionalId: string
  readonly producerId: number
  readonly producerEpoch: number
  readonly groupId: string
}
export interface AddOffsetsToTxnResponse {
  readonly throttleMs: number
  readonly error: number
}

export const addOffsetsToTxn: Api<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse> = api({
  key: 25,
  name: 'AddOffsetsToTxn',
  versions: [3, 3],
  request: struct<AddOffsetsToTxnRequest>({ transactionalId: string, producerId: int64, producerEpoch: int16, groupId: string }),
  response: struct<AddOffsetsToTxnResponse>({ throttleMs: int32, error: int16 }),
})
