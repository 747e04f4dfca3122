/**
 * A record on its way through a stage. One object is reused for many records, so nothing is allocated for a record that only passes: texts,
 * keys and values are made when a function first asks for them, and at most once.
 *
 * A record has one of three origins, and its identity follows from that:
 *   wire      read from a batch, or from bytes that a step kept: identity from its envelope
 *   reshaped  another value or key for the record it was made from: that one's identity
 *   derived   a new fact that a step made: an id derived from the cause's, which is the causation too
 */
import { ByteReader, ByteWriter, EMPTY } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { hash64 } from '../base/murmur.ts'
import type { AnyContract } from '../contract/contract.ts'
import { derivedId, originText, parseTime } from '../contract/envelope.ts'
import type { KeyCodec } from '../contract/key.ts'
import { type Columns, NO_HEADERS } from '../ports/record-batch/index.ts'
import type { ValueCodec } from '../ports/serde.ts'
import type { Incoming } from '../topology/node.ts'
import { checkRoom, encodeValue } from './encode.ts'
import { Envelope, envelopeBytes } from './envelope.ts'
import type { KeySlot } from './slots.ts'

/** What all records of one edge share. */
export interface Flavour {
  readonly key: KeyCodec<unknown>
  readonly value: ValueCodec | undefined
  readonly language: AnyContract | undefined
  /** `/<context>` of derived facts. */
  readonly source: string
  /** Refuses a decoded value that breaks its contract. */
  readonly admit: ((value: unknown) => void) | undefined
}

type Origin = 'wire' | 'reshaped' | 'derived'

const NOTHING = Symbol('not decoded yet')
const VERSION_MAX = 0xffffffff
const frame = new ByteWriter(512)
const reader = new ByteReader()

export class Rec implements Incoming {
  input = 0
  topic = ''
  partition = 0
  offset = 0
  /** Of a timer, and of what it made: the offset of the record that moved time to it, -1 where none did. */
  movedBy = -1
  /** Business time: the record's timestamp, unless its contract finds it in the value. */
  at = 0
  /** The record's timestamp. */
  stampedAt = 0
  origin: Origin = 'wire'
  flavour: Flavour | undefined
  parent: Rec | undefined
  /** Of a derived fact: which step made it, and which of its facts it is. */
  step = ''
  index = 0
  /** Where key, value and headers lie. For reshaped and derived records only what they did not get anew. */
  payload: Buffer = EMPTY
  keyAt = -1
  keyEnd = -1
  valueAt = -1
  valueEnd = -1
  headersAt = -1
  headersEnd = -1
  headerCount = 0
  /** State under this record's key in this task, once a step asked for it. */
  slot: KeySlot | undefined
  readonly envelope: Envelope = new Envelope()
  /** Bytes of a key and a value that were made here. */
  private readonly own = new ByteWriter(256)
  private enveloped = false
  /** The value is the parent's: for a record under another key. */
  private inherits = false
  private keyValue: unknown = NOTHING
  private valueValue: unknown = NOTHING
  private idText: string | undefined

  /** Becomes the record at place `i` of a batch. */
  read(columns: Columns, i: number, topic: string, partition: number, flavour: Flavour): void {
    // What all records of a batch share is set once: a payload belongs to one batch, and no other origin leaves a batch's under 'wire'.
    if (this.payload !== columns.payload || this.origin !== 'wire') {
      this.topic = topic
      this.partition = partition
      this.origin = 'wire'
      this.flavour = flavour
      this.parent = undefined
      this.payload = columns.payload
    }
    this.offset = columns.offsets[i] as number
    this.at = columns.timestamps[i] as number
    this.stampedAt = this.at
    this.keyAt = columns.keyAt[i] as number
    this.keyEnd = columns.keyEnd[i] as number
    this.valueAt = columns.valueAt[i] as number
    this.valueEnd = columns.valueEnd[i] as number
    this.headersAt = columns.headersAt[i] as number
    this.headersEnd = columns.headersEnd[i] as number
    this.headerCount = columns.headerCount[i] as number
    this.forget(undefined)
  }

  /** Becomes a record that was kept as bytes, under the key of `under`. */
  restore(kept: Uint8Array, under: KeySlot, topic: string, flavour: Flavour): void {
    const bytes = Buffer.from(kept)
    reader.reset(bytes)
    const valueLength = reader.varint()
    this.topic = topic
    this.partition = reader.uvarint()
    this.offset = reader.varint()
    this.movedBy = -1
    this.at = reader.varint()
    this.stampedAt = this.at + reader.varint()
    this.headerCount = reader.uvarint()
    this.headersEnd = reader.uvarint() + reader.at
    this.headersAt = reader.at
    this.origin = 'wire'
    this.flavour = flavour
    this.parent = undefined
    this.payload = bytes
    this.valueAt = valueLength < 0 ? -1 : this.headersEnd
    this.valueEnd = valueLength < 0 ? -1 : this.headersEnd + valueLength
    this.keyAt = -1
    this.keyEnd = -1
    this.forget(under)
  }

  /** Becomes the cause of what a timer or a page does: an empty record at its time. The id must be the same in every replay. */
  awake(id: string, at: number, under: KeySlot, place: { topic: string; partition: number; offset: number }, flavour: Flavour): void {
    this.topic = place.topic
    this.partition = place.partition
    this.offset = -1
    this.movedBy = place.offset
    this.at = at
    this.stampedAt = at
    this.origin = 'wire'
    this.flavour = flavour
    this.parent = undefined
    this.payload = EMPTY
    this.keyAt = -1
    this.valueAt = -1
    this.headersAt = -1
    this.headerCount = 0
    this.forget(under)
    this.idText = id
  }

  /** Becomes another value for `parent`, under its identity. */
  reshape(parent: Rec, flavour: Flavour, value: unknown): void {
    this.follow(parent, flavour, 'reshaped')
    this.forget(parent.slot)
    this.keyAt = parent.keyAt
    this.keyEnd = parent.keyEnd
    this.payload = parent.payload
    this.keyValue = parent.keyValue
    this.valueAt = -1
    this.valueValue = value
  }

  /** Becomes the same value under another key: decoded or not, its bytes stay those that came. */
  rekey(parent: Rec, flavour: Flavour, key: unknown): void {
    this.reshape(parent, flavour, NOTHING)
    this.inherits = true
    this.slot = undefined
    this.payload = flavour.key.encode(key)
    this.keyAt = 0
    this.keyEnd = this.payload.length
    this.keyValue = key
  }

  /** Becomes a new fact that `step` made of `parent`. */
  derive(parent: Rec, flavour: Flavour, step: string, index: number, fact: { key: unknown; value: unknown; at: number }): void {
    this.follow(parent, flavour, 'derived')
    this.forget(undefined)
    this.step = step
    this.index = index
    this.at = fact.at
    this.payload = flavour.key.encode(fact.key)
    this.keyAt = 0
    this.keyEnd = this.payload.length
    this.keyValue = fact.key
    this.valueAt = -1
    this.valueValue = fact.value
  }

  private follow(parent: Rec, flavour: Flavour, origin: Origin): void {
    this.topic = parent.topic
    this.partition = parent.partition
    this.offset = parent.offset
    this.movedBy = parent.movedBy
    this.at = parent.at
    this.origin = origin
    this.flavour = flavour
    this.parent = parent
  }

  private forget(slot: KeySlot | undefined): void {
    this.slot = slot
    this.enveloped = false
    this.inherits = false
    this.keyValue = NOTHING
    this.valueValue = NOTHING
    this.idText = undefined
  }

  /** The envelope as it came over the wire; for records made in this stage, that of the record they descend from. */
  private wire(): Rec {
    if (this.origin !== 'wire') return (this.parent as Rec).wire()
    if (!this.enveloped) {
      this.envelope.read(this.payload, this.headersAt, this.headersEnd, this.headerCount)
      this.enveloped = true
    }
    return this
  }

  /** Reads the envelope now; for sources, which check it. */
  open(): Envelope {
    return this.wire().envelope
  }

  get key(): unknown {
    if (this.keyValue !== NOTHING) return this.keyValue
    const { key } = this.flavour as Flavour
    if (this.keyAt >= 0) this.keyValue = key.decode(this.payload, this.keyAt, this.keyEnd)
    else if (this.slot !== undefined) this.keyValue = key.decode(this.slot.key, 0, this.slot.key.length)
    else throw new TidemarkError('KEY_INVALID', 'a record has no key')
    return this.keyValue
  }

  get empty(): boolean {
    return this.inherits ? (this.parent as Rec).empty : this.valueAt < 0 && this.valueValue === NOTHING
  }

  get value(): unknown {
    if (this.inherits) return (this.parent as Rec).value
    if (this.valueValue !== NOTHING) return this.valueValue
    if (this.valueAt < 0)
      throw new TidemarkError('VALUE_INVALID', 'a record has no value where one is needed', {
        hint: 'A null value deletes; only tables read it so.',
      })
    const { value: codec, admit } = this.flavour as Flavour
    if (codec === undefined) throw new TypeError('a value of a stream without schema was asked for as bytes')
    const value = codec.decode(this.payload, this.valueAt, this.valueEnd)
    admit?.(value)
    this.valueValue = value
    return value
  }

  get id(): string {
    if (this.idText !== undefined) return this.idText
    this.idText =
      this.origin === 'derived'
        ? derivedId((this.parent as Rec).id, this.step, this.index)
        : this.origin === 'reshaped'
          ? (this.parent as Rec).id
          : this.wireId()
    return this.idText
  }

  /** Where a record's envelope has no id, its contract may find one in the value; a plain record is known by its place. */
  private wireId(): string {
    const fromHeader = this.open().text('id')
    if (fromHeader !== undefined) return fromHeader
    const fromValue = (this.flavour as Flavour).language?.envelope.id
    return fromValue === undefined ? originText(this.topic, this.partition, this.offset) : fromValue(this.value as never)
  }

  get source(): string {
    if (this.origin === 'derived') return (this.flavour as Flavour).source
    return this.wire().envelope.text('source') ?? (this.flavour as Flavour).source
  }

  get recordedAt(): number {
    const wire = this.wire()
    const text = wire.envelope.text('recordedTime')
    return (text === undefined ? undefined : parseTime(text)) ?? wire.stampedAt
  }

  get sequence(): number | undefined {
    if (this.origin === 'derived') return undefined
    const wire = this.wire()
    const fromValue = wire.flavour?.language?.envelope.sequence
    return fromValue === undefined ? wire.envelope.digits('sequence') : fromValue(wire.value as never)
  }

  get correlationId(): string | undefined {
    const wire = this.wire()
    // A fact that begins a conversation is known by its own id from then on.
    return wire.envelope.text('correlationId') ?? (this.origin === 'derived' ? wire.id : undefined)
  }

  get causationId(): string | undefined {
    return this.origin === 'derived' ? (this.parent as Rec).id : this.wire().envelope.text('causationId')
  }

  get contractVersion(): number {
    const { language } = this.flavour as Flavour
    if (language === undefined) return 0
    const written = this.origin === 'derived' ? undefined : this.wire().envelope.digits('contractVersion')
    // What is no version is as good as none: it is stored with rows, and no fact depends on it.
    return written !== undefined && written >= 1 && written <= VERSION_MAX ? written : language.version
  }

  hashValue(): void {
    const bytes = this.valueBytes()
    // The schema id in front is left out: the same fact written under a newer schema is still the same where its bytes are.
    if (bytes === null) hash64(EMPTY)
    else hash64(bytes, Math.min(5, bytes.length))
  }

  /** The value as it is written; null where there is none. Valid until the next call for any record. */
  valueBytes(): Buffer | null {
    if (this.valueAt >= 0) return this.payload.subarray(this.valueAt, this.valueEnd)
    if (this.inherits) return (this.parent as Rec).valueBytes()
    if (this.valueValue === NOTHING) return null
    return encodeValue((this.flavour as Flavour).value, this.valueValue)
  }

  /**
   * Writes a value that was made here into bytes, where a successor will need them: within the invocation that made it, so that a value
   * which does not fit its schema fails the step that made it.
   * @throws TidemarkError VALUE_INVALID
   */
  write(): void {
    if (this.valueAt >= 0 || this.valueValue === NOTHING) return
    const { own } = this
    const key = this.keyBytes()
    const keyLength = key?.length ?? 0
    own.at = 0
    if (key !== null) own.put(key)
    const codec = (this.flavour as Flavour).value as ValueCodec
    let end = codec.encode(this.valueValue, own.buffer, keyLength)
    if (end < 0) {
      own.reserve(-end)
      end = codec.encode(this.valueValue, own.buffer, keyLength)
    }
    checkRoom('a value is larger than a log takes', end - keyLength, keyLength)
    this.payload = own.buffer
    this.keyAt = key === null ? -1 : 0
    this.keyEnd = key === null ? -1 : keyLength
    this.valueAt = keyLength
    this.valueEnd = end
  }

  keyBytes(): Buffer | null {
    if (this.keyAt >= 0) return this.payload.subarray(this.keyAt, this.keyEnd)
    return this.slot?.key ?? null
  }

  /** Headers as they lie in a record: those it came with, or the envelope that a fact made here is given. */
  headerBytes(forInbox: boolean): Buffer {
    if (forInbox) return envelopeBytes(this, this)
    if (this.origin === 'derived') return envelopeBytes(this, undefined)
    const wire = this.wire()
    return wire.headersAt < 0 ? NO_HEADERS : wire.payload.subarray(wire.headersAt, wire.headersEnd)
  }

  /** The text of the key, which CloudEvents has as an attribute. It cannot be empty there. */
  get partitionKey(): string | undefined {
    return (this.flavour as Flavour).key.toText(this.key) || undefined
  }

  /** `<context>.<Event>` of a fact of a contract. */
  get eventType(): string | undefined {
    const { language, value: codec } = this.flavour as Flavour
    if (language === undefined) return undefined
    if (this.inherits) return (this.parent as Rec).eventType
    const type =
      this.valueAt >= 0 && this.valueValue === NOTHING && codec !== undefined
        ? codec.typeOf(this.payload, this.valueAt, this.valueEnd)
        : (this.value as { type: string }).type
    return `${language.owner.name}.${type}`
  }

  /** The record as bytes, to be a row under its key. @throws TidemarkError BATCH_LIMIT when no log would take that row */
  keep(): Buffer {
    // Headers may be written into the writer that the value's bytes lie in, so each is copied as it comes.
    const headers = Buffer.from(this.headerBytes(false))
    const value = this.valueBytes()
    frame.at = 0
    frame
      .varint(value === null ? -1 : value.length)
      .uvarint(this.partition)
      .varint(this.offset)
      .varint(this.at)
      // Nearly always the same: one byte.
      .varint(this.wire().stampedAt - this.at)
    frame.uvarint(headerCountOf(headers)).uvarint(headers.length).put(headers)
    if (value !== null) frame.put(value)
    // The key of a row has the record's key in it, escaped.
    checkRoom('a record is too large to be kept', frame.at, 2 * (this.keyBytes()?.length ?? 0))
    return frame.bytes()
  }
}

/** The count that headers begin with. tidemark reads it here only for headers that passed the batch's checks or were written by it. */
function headerCountOf(headers: Buffer): number {
  reader.reset(headers)
  return reader.varint()
}
