/** Values to bytes where nobody has a buffer for them: one is kept here. */
import { TidemarkError } from '../base/errors.ts'
import { DEFAULT_LIMITS } from '../ports/record-batch/index.ts'
import type { ValueCodec } from '../ports/serde.ts'

/** Room for a record's own fields beside key, value and headers. */
const RECORD_ROOM = 4 * 1024

let scratch = Buffer.allocUnsafe(4 * 1024)

/** The framed bytes of a value; valid until the next call. @throws TidemarkError VALUE_INVALID */
export function encodeValue(codec: ValueCodec | undefined, value: unknown): Buffer {
  if (codec === undefined) throw new TypeError('a value of a stream without schema was to be written')
  let end = codec.encode(value, scratch, 0)
  if (end < 0) {
    scratch = Buffer.allocUnsafe(Math.max(-end, scratch.length * 2))
    end = codec.encode(value, scratch, 0)
  }
  return scratch.subarray(0, end)
}

/** Refuses bytes for which a record of a log has no room beside `taken` others. @throws TidemarkError BATCH_LIMIT, with `problem` as its sentence */
export function checkRoom(problem: string, bytes: number, taken: number): void {
  const bytesMax = DEFAULT_LIMITS.recordBytesMax - RECORD_ROOM - taken
  if (bytes <= bytesMax) return
  throw new TidemarkError('BATCH_LIMIT', problem, { detail: `It has ${bytes} bytes, and there is room for ${bytesMax}.` })
}
