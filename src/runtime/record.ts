/**
 * A record on its way through a stage. One object is reused for many records, so nothing is allocated for a record that only passes: texts,
 * keys and values are made when a function first asks for them, and at most once.
 *
 * A record has one of four origins, and its identity follows from that:
 *   wire      read from a batch, or from bytes that a step kept: identity from its envelope
 *   reshaped  another value in place of one: an event of its own, still the fact of that number among its key's
 *   rekeyed   the same value under another key: an event of its own, still said by who said it; it has no number there
 *   derived   a new fact that a step made
 * What is made here has an id derived from that of what it was made from, which is its cause, and its conversation is that of the record of the log.
 */
import { ByteWriter, EMPTY } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { hash64 } from '../base/murmur.ts'
import type { AnyContract } from '../contract/contract.ts'
import { derivedId, originText, parseTime } from '../contract/envelope.ts'
import { type Columns, NO_HEADERS } from '../ports/record-batch/index.ts'
import type { ValueCodec } from '../ports/serde.ts'
import type { Incoming } from '../topology/node.ts'
import { checkRoom, encodeValue } from './encode.ts'
import { Envelope, envelopeBytes, type Place } from './envelope.ts'
import type { Flavour } from './flavour.ts'
import { readKept, writeKept } from './kept.ts'
import type { KeySlot } from './slots.ts'

export type { Flavour } from './flavour.ts'

/** Who makes a record: a step, and which of the records of one invocation it is. */
export interface Maker {
  readonly step: string
  readonly index: number
}

type Origin = 'wire' | 'reshaped' | 'rekeyed' | 'derived'

const NOTHING = Symbol('not decoded yet')
const VERSION_MAX = 0xffffffff

export class Rec implements Incoming {
  input = 0
  topic = ''
  partition = 0
  offset = 0
  /** Of a timer, and of what it made: where the record lies that moved time to it, if one did. */
  private movedBy: Place | undefined
  /** Business time: the record's timestamp, unless its contract finds it in the value. */
  at = 0
  /** The record's timestamp. */
  stampedAt = 0
  origin: Origin = 'wire'
  flavour: Flavour | undefined
  parent: Rec | undefined
  /** Of what was made here: by which step, and which of those of one invocation it is. */
  private step = ''
  private index = 0
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
    Object.assign(this, readKept(bytes))
    this.topic = topic
    this.movedBy = undefined
    this.origin = 'wire'
    this.flavour = flavour
    this.parent = undefined
    this.payload = bytes
    this.keyAt = -1
    this.keyEnd = -1
    this.forget(under)
  }

  /** Becomes the cause of what a timer or a page does: an empty record at its time. The id must be the same in every replay. */
  awake(
    id: string,
    at: number,
    under: KeySlot,
    log: Pick<Place, 'topic' | 'partition'>,
    movedBy: Place | undefined,
    flavour: Flavour,
  ): void {
    this.topic = log.topic
    this.partition = log.partition
    this.offset = -1
    this.movedBy = movedBy
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

  /** Becomes another value in place of `parent`'s; NOTHING for a deletion. */
  reshape(parent: Rec, flavour: Flavour, by: Maker, value: unknown = NOTHING): void {
    this.follow(parent, flavour, 'reshaped', by)
    this.forget(parent.slot)
    this.keyAt = parent.keyAt
    this.keyEnd = parent.keyEnd
    this.payload = parent.payload
    this.keyValue = parent.keyValue
    this.valueAt = -1
    this.valueValue = value
  }

  /** Becomes the same value under another key: decoded or not, its bytes stay those that came. */
  rekey(parent: Rec, flavour: Flavour, by: Maker, key: unknown): void {
    this.follow(parent, flavour, 'rekeyed', by)
    this.forget(undefined)
    this.valueAt = -1
    this.takeKey(key)
  }

  /** Becomes a new fact that `step` made of `parent`. */
  derive(parent: Rec, flavour: Flavour, by: Maker, fact: { key: unknown; value: unknown; at: number }): void {
    this.follow(parent, flavour, 'derived', by)
    this.forget(undefined)
    this.at = fact.at
    this.valueAt = -1
    this.valueValue = fact.value
    this.takeKey(fact.key)
  }

  private takeKey(key: unknown): void {
    this.payload = (this.flavour as Flavour).key.encode(key)
    this.keyAt = 0
    this.keyEnd = this.payload.length
    this.keyValue = key
  }

  private follow(parent: Rec, flavour: Flavour, origin: Origin, { step, index }: Maker): void {
    this.topic = parent.topic
    this.partition = parent.partition
    this.offset = parent.offset
    this.movedBy = parent.movedBy
    this.at = parent.at
    this.origin = origin
    this.flavour = flavour
    this.parent = parent
    this.step = step
    this.index = index
  }

  private forget(slot: KeySlot | undefined): void {
    this.slot = slot
    this.enveloped = false
    this.keyValue = NOTHING
    this.valueValue = NOTHING
    this.idText = undefined
  }

  /** What came over the wire, or from a timer: itself, or for records made in this stage, what they descend from; with its envelope read. */
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

  /**
   * Where the record of the source lies that this one comes from, also where it came through an inbox; of what a timer made, the one that moved time
   * to it. Its offset is -1 where there is none. Valid until the next call for any record.
   */
  place(): Place {
    if (this.offset < 0) return this.movedBy ?? this
    return (this.flavour as Flavour).inbox ? (this.open().origin() ?? this) : this
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
    return this.origin === 'rekeyed' ? (this.parent as Rec).empty : this.valueAt < 0 && this.valueValue === NOTHING
  }

  get value(): unknown {
    if (this.origin === 'rekeyed') return (this.parent as Rec).value
    if (this.valueValue !== NOTHING) return this.valueValue
    if (this.valueAt < 0)
      throw new TidemarkError('VALUE_INVALID', 'a record has no value where one is needed', {
        hint: 'A null value deletes in a topic that is kept by key: a contract of exchange "state", a stream of cleanup "compact".',
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
    this.idText = this.origin === 'wire' ? this.wireId() : derivedId((this.parent as Rec).id, this.step, this.index)
    return this.idText
  }

  /** Where a record's envelope has no id, its contract may find one in the value; a plain record is known by its place. */
  private wireId(): string {
    const fromHeader = this.open().text('id')
    if (fromHeader !== undefined) return fromHeader
    const fromValue = this.fieldsInValue?.id
    return fromValue === undefined ? originText(this.topic, this.partition, this.offset) : fromValue(this.value as never)
  }

  /** What finds fields of the envelope in the value, where the contract has them there. A deletion has no value: its headers are asked. */
  private get fieldsInValue(): AnyContract['envelope'] | undefined {
    const { language } = this.flavour as Flavour
    return language?.exchange === 'state' && this.empty ? undefined : language?.envelope
  }

  get source(): string {
    if (this.origin === 'rekeyed') return (this.parent as Rec).source
    const { source } = this.flavour as Flavour
    return this.origin === 'wire' ? (this.open().text('source') ?? source) : source
  }

  get recordedAt(): number {
    const wire = this.wire()
    const text = wire.envelope.text('recordedTime')
    return (text === undefined ? undefined : parseTime(text)) ?? wire.stampedAt
  }

  get sequence(): number | undefined {
    if (this.origin === 'reshaped') return (this.parent as Rec).sequence
    if (this.origin !== 'wire') return undefined
    const fromValue = this.fieldsInValue?.sequence
    return fromValue === undefined ? this.open().digits('sequence') : fromValue(this.value as never)
  }

  get correlationId(): string | undefined {
    const wire = this.wire()
    // A fact that begins a conversation is known by its own id from then on.
    return wire.envelope.text('correlationId') ?? (wire === this ? undefined : wire.id)
  }

  get causationId(): string | undefined {
    return this.origin === 'wire' ? this.open().text('causationId') : (this.parent as Rec).id
  }

  get contractVersion(): number {
    if (this.origin === 'rekeyed') return (this.parent as Rec).contractVersion
    const { language } = this.flavour as Flavour
    if (language === undefined) return 0
    const written = this.origin === 'wire' ? this.open().digits('contractVersion') : undefined
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
    if (this.origin === 'rekeyed') return (this.parent as Rec).valueBytes()
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

  /**
   * Headers as they lie in a record, for an inbox, for a topic that others read, or for the record itself where it is read again. What came over
   * the wire and was not changed has those that it came with; what was made here gets an envelope, and keeps what else its value came with.
   */
  headerBytes(to: 'inbox' | 'topic' | 'itself'): Buffer {
    const { inbox } = this.flavour as Flavour
    if (to === 'inbox') return envelopeBytes(this, this.place())
    if (this.origin !== 'wire') {
      const from = this.origin === 'derived' ? undefined : this.wire()
      return envelopeBytes(this, to === 'itself' && inbox ? this.place() : undefined, from)
    }
    // An inbox leaves to the record what others expect in its headers.
    if (to === 'topic' && inbox) return envelopeBytes(this, undefined)
    return this.headersAt < 0 ? NO_HEADERS : this.payload.subarray(this.headersAt, this.headersEnd)
  }

  /** The text of the key, which CloudEvents has as an attribute; undefined where there is none, and where it is empty or cannot be read. */
  get partitionKey(): string | undefined {
    if (this.keyAt < 0 && this.slot === undefined) return undefined
    try {
      return (this.flavour as Flavour).key.toText(this.key) || undefined
    } catch {
      return undefined
    }
  }

  /** `<context>.<Event>`: of a fact of a contract by its value; else as it came, or as the application calls what it makes. */
  get eventType(): string | undefined {
    const { language, value: codec, type } = this.flavour as Flavour
    if (this.origin === 'rekeyed') return (this.parent as Rec).eventType ?? type
    if (language === undefined || this.empty) return this.origin === 'wire' ? this.open().text('type') : type
    const event =
      this.valueAt >= 0 && this.valueValue === NOTHING && codec !== undefined
        ? codec.typeOf(this.payload, this.valueAt, this.valueEnd)
        : (this.value as { type: string }).type
    return `${language.owner.name}.${event}`
  }

  /** The whole record but its key, as bytes. @throws TidemarkError BATCH_LIMIT when no log would take them as a row under the key */
  keep(): Buffer {
    // Headers may be written into the writer that the value's bytes lie in, so they are copied before.
    const headers = Buffer.from(this.headerBytes('itself'))
    return writeKept(this, this.wire().stampedAt, headers, this.valueBytes(), this.keyBytes()?.length ?? 0)
  }
}
