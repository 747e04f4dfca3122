/**
 * The envelope: identity, times and origin of a fact as CloudEvents headers (binary mode of the Kafka binding), plus tidemark's own.
 * Names and texts are fixed here, once; `runtime/envelope.ts` reads and writes them as bytes.
 */
import { sha256Hex128 } from '../base/sha256.ts'

/** Header names. Business time is the record's timestamp as well, which is what drives stream time. */
export const HEADER = {
  specVersion: 'ce_specversion',
  id: 'ce_id',
  /** `<context>.<Event>` */
  type: 'ce_type',
  /** `/<context>` */
  source: 'ce_source',
  /** Business time, RFC 3339. */
  time: 'ce_time',
  /** When the source committed the fact, RFC 3339: ages count from here. */
  recordedTime: 'ce_recordedtime',
  partitionKey: 'ce_partitionkey',
  /** Sixteen digits with zeros in front, because the CloudEvents extension orders them as texts. */
  sequence: 'ce_sequence',
  correlationId: 'ce_correlationid',
  causationId: 'ce_causationid',
  contractVersion: 'ce_contractversion',
  /** On inbox records: the source record behind them, `topic/partition@offset`. */
  origin: 'tm_origin',
  /** On control records of an inbox: progress, decision or cut. */
  kind: 'tm_kind',
} as const

export const SPEC_VERSION = '1.0'

/** Sequences are whole numbers below 10^16. */
export const SEQUENCE_DIGITS = 16
const ZEROS = '0'.repeat(SEQUENCE_DIGITS)

export function sequenceText(sequence: number): string {
  const digits = String(sequence)
  return digits.length < SEQUENCE_DIGITS ? ZEROS.slice(digits.length) + digits : digits
}

/** RFC 3339 writes years with four digits. */
const YEAR_1_MS = -62_135_596_800_000
const YEAR_10000_MS = 253_402_300_800_000

const DAY_MS = 86_400_000
let lastDay = Number.NaN
/** `2010-12-01T` */
let dayText = ''

/** Bytes that `putTime` writes. */
export const TIME_BYTES = 24

/**
 * Milliseconds as RFC 3339 in UTC, as bytes: as `toISOString` says it, but no text is made of a time that no other fact has, and the times of
 * neighbouring facts mostly share their day. False, and nothing, outside the years that it can write.
 */
export function putTime(to: Uint8Array, at: number, ms: number): boolean {
  if (!(ms >= YEAR_1_MS && ms < YEAR_10000_MS)) return false
  const whole = Math.trunc(ms)
  const day = Math.floor(whole / DAY_MS)
  if (day !== lastDay) {
    dayText = new Date(whole).toISOString().slice(0, 11)
    lastDay = day
  }
  for (let i = 0; i < 11; i++) to[at + i] = dayText.charCodeAt(i)
  const rest = whole - day * DAY_MS
  const seconds = Math.floor(rest / 1_000)
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  putTwo(to, at + 11, hours)
  to[at + 13] = COLON
  putTwo(to, at + 14, minutes - hours * 60)
  to[at + 16] = COLON
  putTwo(to, at + 17, seconds - minutes * 60)
  to[at + 19] = POINT
  const ms3 = rest - seconds * 1_000
  const tens = Math.floor(ms3 / 10)
  putTwo(to, at + 20, tens)
  to[at + 22] = ZERO + ms3 - tens * 10
  to[at + 23] = ZULU
  return true
}

const [ZERO, COLON, POINT, ZULU] = [48, 58, 46, 90] as const

function putTwo(to: Uint8Array, at: number, number: number): void {
  const tens = Math.floor(number / 10)
  to[at] = ZERO + tens
  to[at + 1] = ZERO + number - tens * 10
}

/** The inverse of `putTime`, for any RFC 3339 time; undefined when it is none, or beyond the years that `putTime` can write. */
export function parseTime(text: string): number | undefined {
  const ms = Date.parse(text)
  return ms >= YEAR_1_MS && ms < YEAR_10000_MS ? ms : undefined
}

/** The id of the `index`-th fact that a step makes of a cause: the first 128 bits of SHA-256, hex. The same in every replay. */
export function derivedId(causeId: string, step: string, index: number): string {
  return sha256Hex128(`${causeId}/${step}/${index}`)
}

/** Where a record lies, as people write it. */
export function originText(topic: string, partition: number, offset: number): string {
  return `${topic}/${partition}@${offset}`
}
