/**
 * An event of workload W1 of the benchmark kit: what it says, and its bytes.
 * The content depends on the seed, the order and the place in the order only, so the model is folded without making the bytes.
 */
import { writeVarint } from '../../src/base/bytes.ts'
import { mixSum, remainder, type Word } from './splitmix64.ts'

/** The id of `OrderEvent.avsc` in the wire format: a zero byte, the id as four bytes, Avro. */
export const EVENT_SCHEMA_ID = 1
/** Names of the kinds, by their Avro number. */
export const KINDS: readonly string[] = ['PLACED', 'LINE_ADDED', 'LINE_REMOVED', 'PAID', 'SHIPPED', 'CANCELLED']

/** What an event says, from nothing but the seed, its order and its place in the order. The fields are valid until the next `of`. */
export class EventContent {
  /** A place in `KINDS`. */
  kind = 0
  qty = 0
  price = 0
  /** The random word that all of it derives from. */
  readonly base: Word = { hi: 0, lo: 0 }
  private readonly root: Word

  constructor(root: Word) {
    this.root = root
  }

  /** Seq 1 is PLACED; of the others 60 % add a line, 15 % remove one, 10 % each are PAID and SHIPPED, 5 % CANCELLED. */
  of(order: number, seq: number): void {
    const { base } = this
    mixSum(base, this.root, order, seq)
    const percent = remainder(base, 0, 100)
    this.kind = seq === 1 ? 0 : percent < 60 ? 1 : percent < 75 ? 2 : percent < 85 ? 3 : percent < 95 ? 4 : 5
    this.qty = 1 + remainder(base, 8, 20)
    this.price = 100 + remainder(base, 16, 100_000)
  }
}

/** No event is longer: its texts take at most 150 bytes and its numbers 23. */
const EVENT_BYTES_MAX = 173
const CHUNK_BYTES = 1 << 16
const HEX = Buffer.from('0123456789abcdef')
const NOTE = Buffer.from('please leave the parcel with the neighbour at number twelve or behind the green gate, thank you')

/** Writes events in the wire format, one behind the other into chunks that are never written twice. */
export class EventWriter {
  private chunk = Buffer.alloc(0)
  private at = 0
  private readonly content: EventContent
  private readonly id: Word = { hi: 0, lo: 0 }
  private readonly extra: Word = { hi: 0, lo: 0 }

  constructor(root: Word) {
    this.content = new EventContent(root)
  }

  /** The event, as a view on its chunk. */
  write(order: number, seq: number, occurredAt: number): Buffer {
    const { content, id, extra } = this
    if (this.at + EVENT_BYTES_MAX > this.chunk.length) {
      this.chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
      this.at = 0
    }
    const start = this.at
    content.of(order, seq)
    mixSum(id, content.base, 0, 1)
    mixSum(extra, content.base, 0, 2)
    this.chunk[this.at] = 0
    this.at = this.chunk.writeUInt32BE(EVENT_SCHEMA_ID, this.at + 1)
    this.long(32)
    this.hex(id)
    mixSum(id, content.base, 0, 3)
    this.hex(id)
    this.name('o-', order, 7)
    this.long(seq)
    this.long(content.kind)
    this.name('sku-', remainder(extra, 10, 100_000), 5)
    this.long(content.qty)
    this.long(content.price)
    this.name('wh-', (extra.hi >>> 8) % 100, 2) // the word from bit 40 on
    this.long(occurredAt)
    this.note(extra)
    return this.chunk.subarray(start, this.at)
  }

  /** A quarter of the events has none; the others have 30 to 89 characters. */
  private note(extra: Word): void {
    if ((extra.lo & 3) === 0) {
      this.long(0)
      return
    }
    const length = 30 + remainder(extra, 2, 60)
    this.long(1)
    this.long(length)
    this.at += NOTE.copy(this.chunk, this.at, 0, length)
  }

  private long(value: number): void {
    this.at = writeVarint(this.chunk, this.at, value)
  }

  private hex({ hi, lo }: Word): void {
    for (let shift = 28; shift >= 0; shift -= 4) {
      this.chunk[this.at + 8] = HEX[(lo >>> shift) & 15] as number
      this.chunk[this.at++] = HEX[(hi >>> shift) & 15] as number
    }
    this.at += 8
  }

  /** A text: `prefix` and `value` in `digits` digits. */
  private name(prefix: string, value: number, digits: number): void {
    this.long(prefix.length + digits)
    for (let i = 0; i < prefix.length; i++) this.chunk[this.at++] = prefix.charCodeAt(i)
    for (let i = digits - 1, rest = value; i >= 0; i--, rest = (rest / 10) | 0) this.chunk[this.at + i] = 0x30 + (rest % 10)
    this.at += digits
  }
}
