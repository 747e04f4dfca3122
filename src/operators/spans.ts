/**
 * Sets of whole numbers as spans, such as 4-7, 9: what a key has seen, or holds, beyond the numbers that came in order. Almost always
 * empty, and short however many numbers it covers. `[4, 7, 9, 9]`: pairs of first and last, ascending, not touching.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'

export type Spans = readonly number[]

export function hasSpan(spans: Spans, n: number): boolean {
  for (let i = 0; i < spans.length; i += 2) if (n >= (spans[i] as number) && n <= (spans[i + 1] as number)) return true
  return false
}

/** The spans with `n` added; joins neighbours. */
export function withNumber(spans: Spans, n: number): Spans {
  const joined: number[] = []
  let first = n
  let last = n
  let placed = false
  for (let i = 0; i < spans.length; i += 2) {
    const from = spans[i] as number
    const to = spans[i + 1] as number
    if (to < first - 1) joined.push(from, to)
    else if (from > last + 1) {
      if (!placed) joined.push(first, last)
      placed = true
      joined.push(from, to)
    } else {
      first = Math.min(first, from)
      last = Math.max(last, to)
    }
  }
  if (!placed) joined.push(first, last)
  return joined
}

/** How many numbers the spans cover. */
export function spanCount(spans: Spans): number {
  let count = 0
  for (let i = 0; i < spans.length; i += 2) count += (spans[i + 1] as number) - (spans[i] as number) + 1
  return count
}

/** Written as gaps and lengths, so that small holes take two bytes. */
export function writeSpans(spans: Spans, base: number, into: ByteWriter): void {
  into.uvarint(spans.length / 2)
  let at = base
  for (const bound of spans) {
    into.uvarint(bound - at)
    at = bound
  }
}

export function readSpans(base: number, bytes: ByteReader): Spans {
  const spans: number[] = []
  let at = base
  for (let left = bytes.uvarint() * 2; left > 0 && !bytes.bad; left--) {
    at += bytes.uvarint()
    spans.push(at)
  }
  return spans
}
