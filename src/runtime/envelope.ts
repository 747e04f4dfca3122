/**
 * The envelope as bytes. Reading walks the headers of a record once and notes where each known one lies; texts are made only when somebody
 * asks. Writing is one pass into a reused writer. Names and formats are in `contract/envelope.ts`.
 */
import { ByteWriter, EMPTY, utf8 } from '../base/bytes.ts'
import { sha256Hex128 } from '../base/sha256.ts'
import { HEADER, originText, putTime, SEQUENCE_DIGITS, SPEC_VERSION, sequenceText, TIME_BYTES } from '../contract/envelope.ts'
import { HeaderCursor } from '../ports/record-batch/index.ts'

type Field = Exclude<keyof typeof HEADER, 'specVersion' | 'partitionKey' | 'time'>
const FIELDS: readonly Field[] = [
  'id',
  'type',
  'source',
  'recordedTime',
  'sequence',
  'correlationId',
  'causationId',
  'contractVersion',
  'origin',
  'kind',
]
const NAMES: readonly Buffer[] = FIELDS.map((field) => Buffer.from(HEADER[field]))
const INDEX = Object.fromEntries(FIELDS.map((field, i) => [field, i])) as Record<Field, number>
/** For a name's length, the fields whose names are so long: two at most. */
const BY_LENGTH: readonly (readonly number[])[] = Array.from({ length: 32 }, (_, length) =>
  NAMES.flatMap((name, i) => (name.length === length ? [i] : [])),
)

const cursor = new HeaderCursor()

/** Where a record lies. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

const AT = '@'.charCodeAt(0)
const SLASH = '/'.charCodeAt(0)
const origin = { topic: '', partition: 0, offset: 0 }
let topicBytes: Buffer = EMPTY
let read = 0

/** Where the envelope of one record lies. Reused for record after record. */
export class Envelope {
  payload: Buffer = EMPTY
  /** Begin and end of each field's value, by pairs; begin 0 where there is none. */
  readonly places: Int32Array = new Int32Array(FIELDS.length * 2)

  /** Notes the fields among `count` headers in `payload[at, end)`. A field that comes twice is taken from its last header. */
  read(payload: Buffer, at: number, end: number, count: number): void {
    this.payload = payload
    this.places.fill(0)
    if (count === 0) return
    cursor.reset(payload, at, end, count)
    while (cursor.next()) {
      const { nameAt, nameEnd, valueAt } = cursor
      if (valueAt < 0) continue
      const candidates = BY_LENGTH[nameEnd - nameAt]
      if (candidates === undefined) continue
      for (const field of candidates) {
        if (!same(payload, nameAt, NAMES[field] as Buffer)) continue
        this.places[field * 2] = valueAt
        this.places[field * 2 + 1] = cursor.valueEnd
        break
      }
    }
  }

  has(field: Field): boolean {
    return this.places[INDEX[field] * 2] !== 0
  }

  text(field: Field): string | undefined {
    const at = this.places[INDEX[field] * 2] as number
    return at === 0 ? undefined : utf8(this.payload, at, this.places[INDEX[field] * 2 + 1])
  }

  /** Whether a field is one of some texts; false when it is absent. */
  isOneOf(field: Field, texts: readonly Buffer[]): boolean {
    const at = this.places[INDEX[field] * 2] as number
    const length = (this.places[INDEX[field] * 2 + 1] as number) - at
    if (at === 0) return false
    for (const text of texts) if (text.length === length && same(this.payload, at, text)) return true
    return false
  }

  /** Where `tm_origin` says that a record lies; undefined where it does not. The place is reused: copy what you keep. */
  origin(): Place | undefined {
    const at = this.places[INDEX.origin * 2] as number
    if (at === 0) return undefined
    const { payload } = this
    const behindPartition = this.#number(this.places[INDEX.origin * 2 + 1] as number, at)
    origin.offset = read
    const end = payload[behindPartition] === AT ? this.#number(behindPartition, at) : at
    if (end === at || payload[end] !== SLASH) return undefined
    origin.partition = read
    // Mostly the topic of the record before.
    if (end - at !== topicBytes.length || !same(payload, at, topicBytes)) {
      topicBytes = Buffer.from(payload.subarray(at, end))
      origin.topic = utf8(topicBytes)
    }
    return origin
  }

  /** Reads the digits that end at `end` into `read`; where what stands before them lies, or `from` when there are none. */
  #number(end: number, from: number): number {
    read = 0
    let at = end - 1
    for (let scale = 1; at >= from; at--, scale *= 10) {
      const digit = (this.payload[at] as number) - 48
      if (digit < 0 || digit > 9) break
      read += digit * scale
    }
    return at === end - 1 ? from : Math.max(at, from)
  }

  /** A field of digits as a number; undefined when it is absent, NaN when it is not a whole number below 10^16. */
  digits(field: Field): number | undefined {
    const at = this.places[INDEX[field] * 2] as number
    if (at === 0) return undefined
    const end = this.places[INDEX[field] * 2 + 1] as number
    if (end === at || end - at > 16) return Number.NaN
    let value = 0
    for (let i = at; i < end; i++) {
      const digit = (this.payload[i] as number) - 48
      if (digit < 0 || digit > 9) return Number.NaN
      value = value * 10 + digit
    }
    return value
  }
}

function same(payload: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i++) if (payload[at + i] !== text[i]) return false
  return true
}

const NAME_BYTES = Object.fromEntries(Object.values(HEADER).map((name) => [name, Buffer.from(name)])) as Record<string, Buffer>

/** Where the headers of a record lie. */
export interface Carrier {
  readonly payload: Buffer
  readonly headersAt: number
  readonly headersEnd: number
  readonly headerCount: number
}

const others = new HeaderCursor()
/** So many the count of headers tells in one byte. */
const COUNT_MAX = 63
/** Bytes of headers up to which those of somebody else are added: a reader takes 64 KiB. */
const OTHERS_MAX = 60 * 1024

/** Whether a header's name begins with `ce_` or `tm_`. */
function isOwn(payload: Buffer, at: number, end: number): boolean {
  return end - at >= 3 && (same(payload, at, CE) || same(payload, at, TM))
}

const CE = Buffer.from('ce_')
const TM = Buffer.from('tm_')

/** Collects headers as `BatchBuilder.add` takes them. Reused: `bytes()` is valid until the next `begin`. */
export class HeaderWriter {
  readonly #writer = new ByteWriter(1024)
  #count = 0

  begin(): this {
    // The count comes first and is one byte up to 63 headers, which tidemark never exceeds by itself.
    this.#writer.at = 1
    this.#count = 0
    return this
  }

  /** Adds a header; one without a value is left out. */
  add(name: string, value: string | undefined): this {
    if (value === undefined) return this
    const bytes = NAME_BYTES[name] ?? Buffer.from(name)
    this.#writer.varint(bytes.length).put(bytes)
    if (!this.#writer.ascii(value)) {
      const length = Buffer.byteLength(value)
      this.#writer.varint(length).reserve(length)
      this.#writer.at += this.#writer.buffer.write(value, this.#writer.at)
    }
    this.#count += 1
    return this
  }

  /** Adds a header of a text and a whole number from 0 behind it, with zeros to `width` digits: no text is made of the two. */
  addNumbered(name: string, text: string, number: number, width = 1): this {
    const bytes = NAME_BYTES[name] as Buffer
    const { at } = this.#writer
    this.#writer.varint(bytes.length).put(bytes)
    if (this.#writer.ascii(text, number, width)) this.#count += 1
    else {
      this.#writer.at = at
      this.add(name, text + String(number).padStart(width, '0'))
    }
    return this
  }

  /** Adds a time; one that has no text is left out. */
  addTime(name: string, ms: number): this {
    const bytes = NAME_BYTES[name] as Buffer
    const { at } = this.#writer
    this.#writer.varint(bytes.length).put(bytes).varint(TIME_BYTES).reserve(TIME_BYTES)
    if (putTime(this.#writer.buffer, this.#writer.at, ms)) {
      this.#writer.at += TIME_BYTES
      this.#count += 1
    } else this.#writer.at = at
    return this
  }

  /** Adds what else a record carries: its headers but those of an envelope and tidemark's own, as many as fit. */
  addOthers({ payload, headersAt, headersEnd, headerCount }: Carrier): this {
    if (headersAt < 0) return this
    others.reset(payload, headersAt, headersEnd, headerCount)
    while (others.next() && this.#count < COUNT_MAX) {
      const { nameAt, nameEnd, valueAt, valueEnd } = others
      if (isOwn(payload, nameAt, nameEnd)) continue
      const value = valueAt < 0 ? undefined : payload.subarray(valueAt, valueEnd)
      if (this.#writer.at + nameEnd - nameAt + (value?.length ?? 0) > OTHERS_MAX) continue
      this.#writer.varint(nameEnd - nameAt).put(payload.subarray(nameAt, nameEnd))
      if (value === undefined) this.#writer.varint(-1)
      else this.#writer.varint(value.length).put(value)
      this.#count += 1
    }
    return this
  }

  bytes(): Buffer {
    this.#writer.buffer[0] = this.#count << 1
    return this.#writer.view()
  }
}

/** A fact as its envelope describes it. */
export interface Enveloped {
  readonly id: string
  /** `<context>.<Event>`; undefined for plain values. */
  readonly eventType: string | undefined
  readonly source: string
  /** The text of its key; undefined where it has none. */
  readonly partitionKey?: string | undefined
  readonly at: number
  readonly recordedAt: number
  readonly sequence: number | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  readonly contractVersion: number
}

const writer = new HeaderWriter()

/**
 * Characters of a text in an envelope. Texts of producers and keys may be as long as a record, some of them are in an envelope twice, and a reader
 * refuses batches whose headers are too large: one such fact would end the reading of a topic.
 */
const TEXT_MAX = 2_000

/** An id that is too long is told by what it hashes to: the same everywhere, and still nobody else's. */
function idText(id: string | undefined): string | undefined {
  return id === undefined || id.length <= TEXT_MAX ? id : sha256Hex128(id)
}

function shortText(text: string | undefined): string | undefined {
  return text === undefined || text.length <= TEXT_MAX ? text : undefined
}

/**
 * The headers of a fact. For an inbox the business time is left to the record's timestamp, the partition key to its key, and the origin is added; on
 * other topics the fact is described in full. Valid until the next call.
 * @param from the record whose other headers go on with the fact
 */
export function envelopeBytes(fact: Enveloped, origin: Place | undefined, from?: Carrier): Buffer {
  writer
    .begin()
    .add(HEADER.specVersion, SPEC_VERSION)
    .add(HEADER.id, idText(fact.id))
    .add(HEADER.type, shortText(fact.eventType))
    .add(HEADER.source, shortText(fact.source))
  if (origin === undefined) writer.addTime(HEADER.time, fact.at)
  writer.addTime(HEADER.recordedTime, fact.recordedAt)
  if (origin === undefined) writer.add(HEADER.partitionKey, shortText(fact.partitionKey))
  const { sequence } = fact
  // What came as no number is passed on as none.
  if (sequence !== undefined) {
    if (Number.isSafeInteger(sequence) && sequence >= 0) writer.addNumbered(HEADER.sequence, '', sequence, SEQUENCE_DIGITS)
    else writer.add(HEADER.sequence, sequenceText(sequence))
  }
  writer.add(HEADER.correlationId, idText(fact.correlationId)).add(HEADER.causationId, idText(fact.causationId))
  if (fact.contractVersion > 0) writer.addNumbered(HEADER.contractVersion, '', fact.contractVersion)
  if (origin !== undefined) writer.add(HEADER.origin, originText(origin.topic, origin.partition, origin.offset))
  if (from !== undefined) writer.addOthers(from)
  return writer.bytes()
}
