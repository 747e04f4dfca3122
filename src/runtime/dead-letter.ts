/**
 * Dead letters: a failed step's input, byte for byte, with where it came from, where it failed and why. Nothing about the record is
 * changed, so that redriving it is reading it.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { TidemarkError } from '../base/errors.ts'
import { sha256, sha256Hex128 } from '../base/sha256.ts'
import { plausibleTime } from '../base/time.ts'
import { originText } from '../contract/envelope.ts'
import type { Outbox } from './outbox.ts'
import type { Rec } from './record.ts'

/** Headers that a dead letter has beside those of its record. */
export const DEAD_HEADER = {
  origin: 'tm_origin',
  step: 'tm_step',
  code: 'tm_code',
  reason: 'tm_reason',
  detail: 'tm_detail',
  attempts: 'tm_attempts',
  /** Hash of the error's stack: equal for failures at one place in the code. */
  stack: 'tm_stack',
  plan: 'tm_plan',
  contractVersion: 'tm_contractversion',
  sequence: 'tm_sequence',
  failedAt: 'tm_failedat',
  /** Length and SHA-256/128 of a value that was too long; the value is then its first bytes. */
  truncated: 'tm_truncated',
  /** The same of a key. */
  truncatedKey: 'tm_truncatedkey',
  /** A value that has no schema, as JSON. */
  unwritten: 'tm_unwritten',
  /** All headers of the record, where it had too many to carry more. */
  headers: 'tm_headers',
} as const

const VALUE_MAX = 800 * 1024
const VALUE_HEAD = 64 * 1024
const KEY_MAX = 64 * 1024
const HEADERS_MAX = 100
const HEADER_BYTES_MAX = 32 * 1024

export interface DeadLetter {
  readonly rec: Rec
  readonly step: string
  readonly topic: string
  readonly error: TidemarkError
  readonly attempts: number
  /** Which plan was running: a hash of it. */
  readonly plan: string
  readonly now: number
}

const reader = new ByteReader()

export function sendDeadLetter(outbox: Outbox, letter: DeadLetter): void {
  const { rec, error } = letter
  const extra: [name: string, value: Buffer][] = []
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) extra.push([name, Buffer.from(value.slice(0, 2_000))])
  }
  const { value, note } = valueToKeep(rec)
  if (note !== undefined) extra.push(note)
  let key = rec.keyBytes()
  if (key !== null && key.length > KEY_MAX) {
    extra.push([DEAD_HEADER.truncatedKey, lengthAndHash(key)])
    key = key.subarray(0, KEY_MAX)
  }
  add(DEAD_HEADER.origin, originText(rec.topic, rec.partition, rec.offset))
  add(DEAD_HEADER.step, letter.step)
  add(DEAD_HEADER.code, error.code)
  add(DEAD_HEADER.reason, error.message)
  add(DEAD_HEADER.detail, error.detail)
  add(DEAD_HEADER.attempts, String(letter.attempts))
  add(DEAD_HEADER.stack, stackHash(error))
  add(DEAD_HEADER.plan, letter.plan)
  add(
    DEAD_HEADER.contractVersion,
    attempt(() => String(rec.contractVersion)),
  )
  add(
    DEAD_HEADER.sequence,
    attempt(() => rec.sequence?.toString()),
  )
  add(DEAD_HEADER.failedAt, String(letter.now))
  const headers = withHeaders(
    attempt(() => rec.headerBytes('itself')),
    extra,
  )
  // A timestamp that no clock shows may be what failed, and no batch could take it.
  outbox.put(letter.topic, 0, plausibleTime(rec.at) ? rec.at : letter.now, key, value, headers)
}

/** The value's bytes, shortened where no log would take them. */
function valueToKeep(rec: Rec): { value: Buffer | null; note: [string, Buffer] | undefined } {
  let bytes: Buffer | null
  try {
    bytes = rec.valueBytes()
  } catch {
    // A value that was made in memory and cannot be written is what failed; JSON shows at least what it was.
    const json = attempt(() => JSON.stringify(rec.value, (_name, each: unknown) => (typeof each === 'bigint' ? each.toString() : each)))
    return { value: null, note: [DEAD_HEADER.unwritten, Buffer.from((json ?? 'not even as JSON').slice(0, 16_000))] }
  }
  if (bytes === null || bytes.length <= VALUE_MAX) return { value: bytes === null ? null : Buffer.from(bytes), note: undefined }
  return { value: Buffer.from(bytes.subarray(0, VALUE_HEAD)), note: [DEAD_HEADER.truncated, lengthAndHash(bytes)] }
}

function lengthAndHash(bytes: Buffer): Buffer {
  const hash = [...sha256(bytes).subarray(0, 4)].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  return Buffer.from(`${bytes.length} ${hash}`)
}

/** The record's own headers followed by ours, as headers lie in a record. */
function withHeaders(own: Buffer | undefined, extra: [name: string, value: Buffer][]): Buffer {
  let count = 0
  let rest: Buffer | undefined
  if (own !== undefined) {
    reader.reset(own)
    count = reader.varint()
    rest = own.subarray(reader.at)
    if (count > HEADERS_MAX || own.length > HEADER_BYTES_MAX) {
      extra.push([DEAD_HEADER.headers, Buffer.from(own.subarray(0, HEADER_BYTES_MAX))])
      count = 0
      rest = undefined
    }
  }
  const to = new ByteWriter(1024).varint(count + extra.length)
  if (rest !== undefined) to.put(rest)
  for (const [name, value] of extra) to.varint(name.length).put(Buffer.from(name)).varint(value.length).put(value)
  return to.bytes()
}

/** Where in the code it happened, without what it happened to: the message is left out. */
function stackHash(error: TidemarkError): string {
  const { stack } = error.cause instanceof Error ? error.cause : error
  const frames = (stack ?? '')
    .split('\n')
    .filter((line) => /^\s*at /.test(line))
    .slice(0, 8)
    .join('\n')
  return sha256Hex128(frames)
}

/** A field that may itself be what is broken. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
