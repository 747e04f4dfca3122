/**
 * An answer to Fetch as the port gives it: whole batches whose checksums hold, in order, nothing aborted, no control batches. For committed
 * records the filter is made anew from the aborted transactions that the broker names with each answer, so no answer depends on another.
 */
import { codeOf, messageOf, TidemarkError } from '../../base/errors.ts'
import type { FetchedBatches, Isolation, PartitionName } from '../../ports/log.ts'
import { type Codecs, CommittedFilter, type Limits, type RecordBatch, readBatches } from '../../ports/record-batch/index.ts'
import type { FetchPartition } from './wire/fetch.ts'

export interface DecodeOptions {
  readonly isolation: Isolation
  readonly codecs: Codecs
  readonly limits: Limits
}

/** The partition cannot be read on. */
export class FetchBroken extends Error {
  readonly failure: TidemarkError
  constructor(failure: TidemarkError) {
    super(failure.message)
    this.failure = failure
  }
}

export interface Decoded {
  readonly fetched: FetchedBatches
  /** Of every batch, also of those that are not shown: behind which offset it ends, and under which leader it was written. */
  readonly leaders: readonly { readonly end: number; readonly epoch: number }[]
}

/**
 * What came, or undefined for nothing.
 * @throws FetchBroken for a batch that is damaged, beyond a limit, or of an unknown format
 */
export function decodeFetched(
  at: { readonly name: PartitionName; readonly position: number },
  answer: FetchPartition,
  { isolation, codecs, limits }: DecodeOptions,
): Decoded | undefined {
  const { records } = answer
  if (records === null || records.length === 0) return undefined
  let batches: readonly RecordBatch[]
  try {
    batches = readBatches(records, codecs, limits).batches
    const last = batches.at(-1)
    if (last === undefined) return undefined
    const visible =
      isolation === 'committed'
        ? new CommittedFilter().filter(batches, answer.abortedTransactions ?? [])
        : batches.filter(({ control }) => !control)
    const fetched: FetchedBatches = {
      kind: 'batches',
      partition: at.name,
      batches: visible.filter(({ count, lastOffset }) => count > 0 && lastOffset >= at.position),
      next: Math.max(at.position, last.lastOffset + 1),
      high: answer.highWatermark,
      stable: answer.lastStableOffset,
      logStart: answer.logStartOffset,
    }
    return { fetched, leaders: batches.map(({ lastOffset, leaderEpoch }) => ({ end: lastOffset + 1, epoch: leaderEpoch })) }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    throw new FetchBroken(codeOf(error) === 'BATCH_CORRUPT' ? damaged(at.name, at.position, error) : error)
  }
}

/** @param cause what was found wrong here, or what the broker calls it that found it */
export function damaged(name: PartitionName, position: number, cause: TidemarkError | string): TidemarkError {
  const found = typeof cause === 'string' ? `the broker says ${cause}` : messageOf(cause)
  const more = typeof cause === 'string' ? '' : (cause.detail ?? '')
  return new TidemarkError('LOG_CORRUPT', `partition ${name} is damaged at the broker, or on the way from it`, {
    detail: `At offset ${position}: ${found}. ${more}`.trimEnd(),
    hint: 'Let another replica lead the partition, or have the topic made anew from its sources. Other partitions can still be read.',
    ...(typeof cause === 'string' ? {} : { cause }),
  })
}
