/**
 * Cuts the bytes of a CSV file into records. csv-parse reads the records; this file says where to go on when it refuses one.
 *
 * Promised: a record that cannot be read costs its first line and nothing else, while the parser by itself would go on behind whatever a
 * stray quote has swallowed; the records do not depend on how the bytes were cut into blocks; memory does not grow with the file.
 */
import { CsvError } from 'csv-parse'
import { parse } from 'csv-parse/sync'

/** The fields of a record, or why it has none; and the line that it begins on, from 1. */
export type Split = { readonly line: number; readonly fields: readonly string[] } | { readonly line: number; readonly problem: string }

/** A longer record is refused. It bounds what one quote that is never closed makes the parser look through. */
const RECORD_BYTES_MAX = 64 * 1024

const BAD_QUOTE = 'a quote in it is misplaced or never closed'
const LF = 0x0a
const CR = 0x0d

export class Splitter {
  /** What lies behind the last whole record, and the line that it begins on. */
  #rest: Buffer = Buffer.alloc(0)
  #line = 1
  /** Within a line that was refused and whose end has not come yet. */
  #skipping = false
  readonly #bytesMax: number

  constructor(recordBytesMax = RECORD_BYTES_MAX) {
    this.#bytesMax = recordBytesMax
  }

  /** The records that are whole with this block. */
  take(block: Buffer): Split[] {
    return this.#split(this.#rest.length === 0 ? block : Buffer.concat([this.#rest, block]), false)
  }

  /** The record that the end of the file makes whole, if there is one. */
  end(): Split[] {
    return this.#split(this.#rest, true)
  }

  #split(bytes: Buffer, last: boolean): Split[] {
    const found: Split[] = []
    this.#rest = bytes
    if (this.#skipping) this.#skipLine()
    for (;;) {
      const end = this.#parse(last ? this.#rest.length : this.#rest.lastIndexOf(LF) + 1, found)
      const unfinished = !last && end !== 'refused' && this.#rest.length <= this.#bytesMax
      if (unfinished || this.#rest.length === 0) return found
      const tooLong = this.#firstLine() > this.#bytesMax
      found.push({ line: this.#line, problem: tooLong ? `it is longer than ${this.#bytesMax} bytes` : BAD_QUOTE })
      this.#skipLine()
    }
  }

  /** Takes the records in the first bytes of what is left: all of them, or all up to one that has no end there, or up to one that is none. */
  #parse(length: number, found: Split[]): 'all' | 'open' | 'refused' {
    if (length === 0) return 'all'
    const bytes = this.#rest.subarray(0, length)
    let at = 0
    let end: 'all' | 'open' | 'refused' = 'all'
    try {
      parse(bytes, {
        bom: this.#line === 1,
        record_delimiter: ['\r\n', '\n'],
        relax_column_count: true,
        skip_empty_lines: true,
        on_record: (fields: readonly string[], { bytes: to }) => {
          const from = afterBlankLines(bytes, at)
          if (to - from > this.#bytesMax) throw new RangeError('a record is too long')
          found.push({ line: this.#line + lineFeeds(bytes, at, from), fields })
          this.#line += lineFeeds(bytes, at, to)
          at = to
          return null
        },
      })
    } catch (error) {
      if (!(error instanceof CsvError || error instanceof RangeError)) throw error
      end = 'code' in error && error.code === 'CSV_QUOTE_NOT_CLOSED' ? 'open' : 'refused'
    }
    const next = end === 'all' ? length : afterBlankLines(bytes, at)
    this.#line += lineFeeds(bytes, at, next)
    this.#rest = this.#rest.subarray(next)
    return end
  }

  #firstLine(): number {
    const end = this.#rest.indexOf(LF)
    return end < 0 ? this.#rest.length : end
  }

  #skipLine(): void {
    const end = this.#rest.indexOf(LF)
    this.#skipping = end < 0
    this.#rest = this.#rest.subarray(end < 0 ? this.#rest.length : end + 1)
    if (!this.#skipping) this.#line += 1
  }
}

function afterBlankLines(bytes: Buffer, from: number): number {
  let at = from
  for (;;) {
    if (bytes[at] === LF) at += 1
    else if (bytes[at] === CR && bytes[at + 1] === LF) at += 2
    else return at
  }
}

function lineFeeds(bytes: Buffer, from: number, to: number): number {
  let count = 0
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < to; at = bytes.indexOf(LF, at + 1)) count += 1
  return count
}
