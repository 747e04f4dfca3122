/** What a partition remembers of a producer, and which batch may follow. The numbers were measured on Kafka 4.3.1. */
import { KAFKA_ERROR as E } from '../../drivers/kafka/wire/errors.ts'

export interface Producer {
  readonly epoch: number
  /** The last ones of this epoch; none after a marker that raised it. */
  readonly batches: readonly { readonly first: number; readonly last: number; readonly base: number }[]
}

const SEQUENCE_MAX = 2 ** 31 - 1

/** Why a batch may not follow; 0 when it may. A producer that the partition has never heard of may begin anywhere. */
export function sequenceError(known: Producer | undefined, epoch: number, sequence: number): number {
  if (known === undefined) return E.NONE
  if (epoch < known.epoch) return E.INVALID_PRODUCER_EPOCH
  if (epoch > known.epoch) return sequence === 0 ? E.NONE : E.OUT_OF_ORDER_SEQUENCE_NUMBER
  const last = known.batches.at(-1)?.last ?? -1
  const next = last === SEQUENCE_MAX ? 0 : last + 1
  return sequence === next ? E.NONE : E.OUT_OF_ORDER_SEQUENCE_NUMBER
}
