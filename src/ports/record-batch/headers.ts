/**
 * Record headers: a list of names and values, in order, that may hold a name twice, an empty name or a null value.
 * Headers are bytes until someone asks for them: encoded once, they go from record to record as they are.
 */
import { EMPTY } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { readVarint, varint32Length, varintEnd, writeVarint32 } from './varint.ts'

export interface Header {
  readonly name: string
  readonly value: Uint8Array | null
}

/** No headers, as they lie in a record. */
export const NO_HEADERS: Buffer = Buffer.from([0])

/**
 * Headers as they lie in a record, their count first: what `BatchBuilder.add` takes, and what lies between `headersAt` and `headersEnd`
 * of the columns.
 * @example builder.add(time, key, value, encodeHeaders([{ name: 'ce_id', value: Buffer.from('7') }]))
 */
export function encodeHeaders(headers: readonly Header[]): Buffer {
  if (headers.length === 0) return NO_HEADERS
  let size = varint32Length(headers.length)
  for (const { name, value } of headers) {
    const nameBytes = Buffer.byteLength(name)
    size += varint32Length(nameBytes) + nameBytes + (value === null ? 1 : varint32Length(value.length) + value.length)
  }
  const bytes = Buffer.allocUnsafe(size)
  let at = writeVarint32(bytes, 0, headers.length)
  for (const { name, value } of headers) {
    at = writeVarint32(bytes, at, Buffer.byteLength(name))
    at += bytes.write(name, at, 'utf8')
    at = writeVarint32(bytes, at, value === null ? -1 : value.length)
    if (value === null) continue
    bytes.set(value, at)
    at += value.length
  }
  return bytes
}

/**
 * Walks the headers of a record without making objects: one cursor is kept and set to record after record.
 * The headers of `Columns` were checked when they were decoded, so a walk over them never throws.
 * @example
 * cursor.reset(columns.payload, columns.headersAt[i], columns.headersEnd[i], columns.headerCount[i])
 * while (cursor.next()) if (cursor.valueAt >= 0) use(utf8(payload, cursor.nameAt, cursor.nameEnd), payload.subarray(cursor.valueAt, cursor.valueEnd))
 */
export class HeaderCursor {
  /** Where the name of the current header begins and ends in the payload. */
  nameAt = 0
  nameEnd = 0
  /** Where its value begins, -1 when it is null, and ends. */
  valueAt = -1
  valueEnd = -1
  private payload: Buffer = EMPTY
  private at = 0
  private end = 0
  private left = 0

  /** Stands before the first of `count` headers, which lie in `payload[at, end)` with their count first. */
  reset(payload: Buffer, at: number, end: number, count: number): void {
    this.payload = payload
    this.end = end
    this.left = count
    // The count is known; its varint is passed over by its bytes, because a writer may have padded it.
    let first = at
    while (first < end && (payload[first] as number) >= 0x80) first++
    this.at = first + 1
  }

  /**
   * Moves to the next header; false after the last.
   * @throws TidemarkError BATCH_CORRUPT when the bytes are not headers
   */
  next(): boolean {
    if (this.left <= 0) return false
    const { payload, end } = this
    const nameLength = readVarint(payload, this.at, end)
    const nameAt = varintEnd
    if (nameLength < 0 || nameLength > end - nameAt) throw notHeaders()
    const nameEnd = nameAt + nameLength
    const valueLength = readVarint(payload, nameEnd, end)
    const at = varintEnd
    if (valueLength < -1 || at > end || valueLength > end - at) throw notHeaders()
    this.nameAt = nameAt
    this.nameEnd = nameEnd
    this.valueAt = valueLength < 0 ? -1 : at
    this.valueEnd = valueLength < 0 ? -1 : at + valueLength
    this.at = valueLength < 0 ? at : at + valueLength
    this.left--
    return true
  }
}

function notHeaders(): TidemarkError {
  return new TidemarkError('BATCH_CORRUPT', 'bytes are not the headers of a record', {
    detail: 'A name or value reaches beyond their end.',
  })
}

/**
 * The place after `count` headers that begin at `at`, or -1 when one has no name or reaches beyond `end`. For the decoder, which walks
 * the headers of every record once so that nobody after it needs to doubt them.
 */
export function skipHeaders(payload: Uint8Array, at: number, end: number, count: number): number {
  for (let i = 0; i < count; i++) {
    const nameLength = readVarint(payload, at, end)
    at = varintEnd
    if (nameLength < 0 || nameLength > end - at) return -1
    const valueLength = readVarint(payload, at + nameLength, end)
    at = varintEnd
    if (valueLength < -1 || valueLength > end - at) return -1
    if (valueLength > 0) at += valueLength
  }
  return at
}
