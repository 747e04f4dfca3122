/** What an answer to Produce means: whether the same bytes may be sent again, and if not, what a person should know. */
import { TidemarkError } from '../../base/errors.ts'
import { brokerError, fencedError, isFenced, isMoved, topicError } from './failures.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'

/** What a broker said of a batch. */
export interface Refused {
  readonly error: number
  readonly message: string | null
  /** Of its records, ms. */
  readonly maxTimestamp: number
}

/** Why the broker did not take a batch. */
export function refusal(
  track: { readonly name: string; readonly topic: string },
  transactionalId: string | null,
  { error, message, maxTimestamp }: Refused,
): TidemarkError {
  if (isFenced(error) && transactionalId !== null) return fencedError(transactionalId, error)
  switch (error) {
    case E.MESSAGE_TOO_LARGE:
    case E.RECORD_LIST_TOO_LARGE:
      return new TidemarkError('BATCH_LIMIT', `a batch for ${track.name} is larger than the broker takes`, {
        detail: message ?? undefined,
        hint: 'Raise "max.message.bytes" of the topic, or make smaller commits.',
      })
    case E.INVALID_RECORD:
      if (/without key/i.test(message ?? '')) {
        return new TidemarkError('KEY_INVALID', 'a record for a compacted topic has no key', {
          detail: `${track.name}: ${message}`,
          hint: 'A compacted topic keeps the last value of each key. Give every record a key, or use cleanup "delete".',
        })
      }
      return brokerError(`take a record for ${track.name}`, error, message)
    case E.INVALID_TIMESTAMP:
      return new TidemarkError('TIMESTAMP_REFUSED', `a record for ${track.name} has a time that the broker does not take`, {
        detail: `The latest time of its batch is ${maxTimestamp}${inWords(maxTimestamp)}. ${message ?? ''}`.trimEnd(),
        hint: `Brokers refuse what their clock calls too far ahead, or too long ago: set "message.timestamp.after.max.ms" (and "before") of topic "${track.topic}" to what its facts may say ("tidemark topics apply" does it for the application's own), look at the clocks, or mend the time where the fact comes from.`,
      })
    case E.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case E.UNKNOWN_PRODUCER_ID:
      return new TidemarkError('SEQUENCE_BROKEN', `a batch for ${track.name} does not follow the one before it`, {
        detail: message ?? undefined,
      })
    case E.INVALID_TXN_STATE:
    case E.TRANSACTION_ABORTABLE:
      return new TidemarkError('COMMIT_ABORTED', `the broker ended the transaction that ${track.name} was written in`, {
        detail: message ?? undefined,
        hint: 'A transaction that is open for longer than its timeout is aborted.',
      })
    case E.UNSUPPORTED_VERSION:
      return brokerError(`write to ${track.name}`, error, message)
    default:
      return topicError('write to', 'write', track.topic, error, message)
  }
}

/** A time as a date, where it is one. */
function inWords(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? '' : ` (${date.toISOString()})`
}

/** Whether the same bytes may be taken later, here or by another broker. */
export function isRetriable(error: number): boolean {
  return (
    isMoved(error) ||
    error === E.CONCURRENT_TRANSACTIONS ||
    error === E.NOT_ENOUGH_REPLICAS ||
    error === E.NOT_ENOUGH_REPLICAS_AFTER_APPEND ||
    error === E.REQUEST_TIMED_OUT ||
    error === E.COORDINATOR_LOAD_IN_PROGRESS ||
    error === E.COORDINATOR_NOT_AVAILABLE ||
    error === E.NOT_COORDINATOR ||
    error === E.NETWORK_EXCEPTION
  )
}
