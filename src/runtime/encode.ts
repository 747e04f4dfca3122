/** Values to bytes where nobody has a buffer for them: one is kept here. */
import type { ValueCodec } from '../ports/serde.ts'

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
