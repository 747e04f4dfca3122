/**
 * A record as bytes, to be a row under its key until it goes on: parked, or held behind a gap.
 *
 *   varint bytes of the value, -1 for none | uvarint partition | varint offset | varint event time | varint distance of the log's own time
 *   uvarint count of the headers | uvarint bytes of the headers | headers | value
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { checkRoom } from './encode.ts'

const frame = new ByteWriter(512)
const reader = new ByteReader()

/** What is kept beside key, value and headers. */
interface Place {
  readonly partition: number
  readonly offset: number
  readonly at: number
}

/**
 * @param headers as they lie in a record, their count first
 * @throws TidemarkError BATCH_LIMIT when no log would take the row
 */
export function writeKept(place: Place, stampedAt: number, headers: Buffer, value: Buffer | null, keyBytes: number): Buffer {
  frame.at = 0
  frame
    .varint(value === null ? -1 : value.length)
    .uvarint(place.partition)
    .varint(place.offset)
    .varint(place.at)
    // Nearly always the same: one byte.
    .varint(stampedAt - place.at)
  frame.uvarint(headerCountOf(headers)).uvarint(headers.length).put(headers)
  if (value !== null) frame.put(value)
  // The key of a row has the record's key in it, escaped.
  checkRoom('a record is too large to be kept', frame.at, 2 * keyBytes)
  return frame.bytes()
}

/** A kept record, by where its parts lie in its bytes; a value at -1 is none. */
export interface Kept extends Place {
  readonly stampedAt: number
  readonly headerCount: number
  readonly headersAt: number
  readonly headersEnd: number
  readonly valueAt: number
  readonly valueEnd: number
}

export function readKept(bytes: Buffer): Kept {
  reader.reset(bytes)
  const valueLength = reader.varint()
  const partition = reader.uvarint()
  const offset = reader.varint()
  const at = reader.varint()
  const stampedAt = at + reader.varint()
  const headerCount = reader.uvarint()
  const headersEnd = reader.uvarint() + reader.at
  const none = valueLength < 0
  return {
    partition,
    offset,
    at,
    stampedAt,
    headerCount,
    headersAt: reader.at,
    headersEnd,
    valueAt: none ? -1 : headersEnd,
    valueEnd: none ? -1 : headersEnd + valueLength,
  }
}

/** The count that headers begin with. tidemark reads it here only for headers that passed the batch's checks or were written by it. */
function headerCountOf(headers: Buffer): number {
  reader.reset(headers)
  return reader.varint()
}
