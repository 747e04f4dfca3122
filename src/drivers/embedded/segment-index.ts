/**
 * Where in a segment a batch lies, to within a stretch of some kilobytes: base offset and byte of one batch a stretch, and the largest
 * timestamp in it. A help for finding, never an authority: whoever follows it checks the batch that it finds there.
 */
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'

/** Bytes of batches that share an entry. */
const STRETCH_BYTES = 32 * 1024
const FORMAT = 1

export interface IndexEntry {
  readonly offset: number
  readonly position: number
}

export class SegmentIndex {
  /** Bytes of the segment, from its start, that it knows. */
  covered = 0
  private readonly offsets: number[] = []
  private readonly positions: number[] = []
  /** The largest timestamp from this entry to the next. */
  private readonly timestamps: number[] = []

  /** The largest timestamp of all, -Infinity for an empty segment. */
  get maxTimestamp(): number {
    return this.timestamps.reduce((most, each) => Math.max(most, each), -Infinity)
  }

  /** Adds the batch that begins where the index ends. */
  add(offset: number, bytes: number, maxTimestamp: number): void {
    const last = this.positions.length - 1
    if (last < 0 || this.covered - (this.positions[last] as number) >= STRETCH_BYTES) {
      this.offsets.push(offset)
      this.positions.push(this.covered)
      this.timestamps.push(maxTimestamp)
    } else if (maxTimestamp > (this.timestamps[last] as number)) this.timestamps[last] = maxTimestamp
    this.covered += bytes
  }

  /** The last entry at or before an offset. */
  before(offset: number): IndexEntry | undefined {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.offsets[middle] as number) <= offset) low = middle + 1
      else high = middle
    }
    return this.entry(low - 1)
  }

  /** The first stretch with a record not older than a time. */
  since(timestamp: number): IndexEntry | undefined {
    return this.entry(this.timestamps.findIndex((each) => each >= timestamp))
  }

  encode(codecs: Codecs): Buffer {
    const into = new ByteWriter(16 + this.offsets.length * 8)
    into.u32(0).u8(FORMAT).uvarint(this.covered).uvarint(this.offsets.length)
    for (let i = 0; i < this.offsets.length; i++) {
      into.uvarint(this.offsets[i] as number).uvarint(this.positions[i] as number)
      into.varint(this.timestamps[i] as number)
    }
    const bytes = into.view()
    bytes.writeUInt32BE(codecs.crc32c(bytes.subarray(4)), 0)
    return bytes
  }

  /** Undefined when the bytes are not an index, or damaged. */
  static decode(bytes: Buffer, codecs: Codecs): SegmentIndex | undefined {
    if (bytes.length < 5 || codecs.crc32c(bytes.subarray(4)) !== bytes.readUInt32BE(0)) return undefined
    const from = new ByteReader(bytes, 4)
    if (from.u8() !== FORMAT) return undefined
    const index = new SegmentIndex()
    index.covered = from.uvarint()
    const count = from.uvarint()
    for (let i = 0; i < count && !from.bad; i++) {
      index.offsets.push(from.uvarint())
      index.positions.push(from.uvarint())
      index.timestamps.push(from.varint())
    }
    return from.bad ? undefined : index
  }

  private entry(i: number): IndexEntry | undefined {
    const offset = this.offsets[i]
    return offset === undefined ? undefined : { offset, position: this.positions[i] as number }
  }
}
