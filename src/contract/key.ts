/**
 * Keys: what a record is about, as a value, as bytes and as text. The bytes decide the partition; the text is the same in URLs, on the
 * command line and in logs. Text keys are UTF-8; compound keys join their parts by `|`, with `\` and `|` escaped by `\`.
 */
import { binary } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needTexts, refuse } from '../base/options.ts'
import { checkedSchema, type Schema } from './schema.ts'

export interface Key<K> {
  readonly kind: 'text' | 'compound' | 'avro'
  /** Names of the parts, in order; empty for keys that have none. */
  readonly parts: readonly string[]
  /** The schema of an Avro key. */
  readonly schema: Schema<K> | undefined
  /** Carries `K` for the compiler; never set. */
  readonly _key?: K
}

/** A key that is one text. */
export const text: Key<string> = Object.freeze({ kind: 'text', parts: [], schema: undefined })

/**
 * A key of several texts, in the order given.
 * @throws TidemarkError OPTION_INVALID without parts, for one that is no text, or when one is named twice
 * @example compound('sku', 'region') // { sku: '85123A', region: 'EU' } is "85123A|EU"
 */
export function compound<const Parts extends readonly string[]>(...parts: Parts): Key<{ readonly [P in Parts[number]]: string }> {
  const hint = 'Name each part once, such as compound("sku", "region").'
  needTexts(parts, 'what compound() is given', hint)
  if (parts.length === 0) throw new TidemarkError('OPTION_INVALID', 'compound() needs the name of at least one part', { hint })
  if (new Set(parts).size !== parts.length)
    throw new TidemarkError('OPTION_INVALID', `compound() names a part twice: ${parts.join(', ')}`, { hint })
  return Object.freeze({ kind: 'compound', parts: Object.freeze([...parts]), schema: undefined })
}

/**
 * A key that is a record, in Confluent's wire format. Its bytes hold a schema id, so all who write the topic must share one schema source.
 * @throws TidemarkError OPTION_INVALID for what is no schema
 */
export function avroKey<K>(schema: Schema<K>): Key<K> {
  return Object.freeze({ kind: 'avro', parts: [], schema: checkedSchema(schema, 'what avroKey() is given') })
}

const KINDS: ReadonlySet<unknown> = new Set<Key<unknown>['kind']>(['text', 'compound', 'avro'])

/**
 * A key where one is meant; by its shape, because another copy of tidemark may have made it.
 * @param what whose key it is, such as `key of contract "orders"`
 * @throws TidemarkError OPTION_INVALID
 */
export function checkedKey<K>(key: Key<K>, what: string): Key<K> {
  if (isRecord(key) && KINDS.has(key.kind) && Array.isArray(key.parts)) return key
  return refuse(
    key,
    what,
    'a key',
    'A key is a value that tidemark exports: text (without quotes), compound("sku", "region") or avroKey(schema).',
  )
}

/** Bytes and text of the keys of one `Key`. */
export interface KeyCodec<K> {
  /** @throws TidemarkError KEY_INVALID */
  encode(key: K): Buffer
  /** @throws TidemarkError KEY_INVALID */
  decode(bytes: Buffer, start: number, end: number): K
  /** For people and URLs. */
  toText(key: K): string
  /** @throws TidemarkError KEY_INVALID */
  fromText(text: string): K
}

// A mark at the beginning that other programs take for one of byte order is a part of the key like any other.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text and compound keys need nothing from outside. Avro keys are wrapped by whoever has the serdes. */
export function keyCodec(key: Key<unknown>): KeyCodec<unknown> {
  return key.kind === 'text' ? textCodec : compoundCodec(key.parts)
}

const textCodec: KeyCodec<unknown> = {
  encode: (key) => {
    if (typeof key !== 'string')
      throw invalid(`a text key must be a string, not ${kindOf(key)}`, 'Give the text itself, or declare the key compound() or avroKey().')
    return bytesOf(key)
  },
  decode: readText,
  toText: (key) => key as string,
  fromText: (written) => written,
}

/** Half a character has no bytes of its own: all halves would become the same ones, and two keys one. */
function bytesOf(key: string): Buffer {
  if (!key.isWellFormed())
    throw invalid(
      'a key has half a character (a lone surrogate)',
      'A text was cut within a character: cut it by characters, not by its length.',
    )
  return Buffer.from(key, 'utf8')
}

function readText(bytes: Buffer, start: number, end: number): string {
  // Keys are short and mostly ASCII: latin1 is the fast path, and wrong only where a byte is above 0x7f.
  for (let i = start; i < end; i++) {
    if ((bytes[i] as number) < 0x80) continue
    try {
      return decoder.decode(bytes.subarray(start, end))
    } catch {
      throw invalid('a key is not valid UTF-8', 'Whoever writes the topic has keys of another kind: declare what they are.')
    }
  }
  return binary(bytes, start, end)
}

function compoundCodec(parts: readonly string[]): KeyCodec<unknown> {
  const asObject = `Such as { ${parts.map((part) => `${part}: '...'`).join(', ')} }.`
  const asText = `As a text it is ${parts.join('|')}, and "|" and "\\" within a part have a "\\" before them. In a URL "|" is %7C and "\\" is %5C.`
  const join = (key: unknown): string => {
    if (typeof key !== 'object' || key === null)
      throw invalid(`a compound key must be an object with ${parts.join(', ')}, not ${kindOf(key)}`, asObject)
    const values: string[] = []
    for (const part of parts) {
      const value = (key as Record<string, unknown>)[part]
      if (typeof value !== 'string') throw invalid(`part "${part}" of a compound key must be a string, not ${kindOf(value)}`, asObject)
      values.push(/[\\|]/.test(value) ? value.replace(/[\\|]/g, '\\$&') : value)
    }
    return values.join('|')
  }
  const split = (written: string): unknown => {
    const values: string[] = []
    let value = ''
    for (let i = 0; i < written.length; i++) {
      const char = written[i] as string
      if (char === '\\') {
        i += 1
        const escaped = written[i]
        if (escaped !== '\\' && escaped !== '|') throw invalid('a compound key escapes something else than \\ or |', asText)
        value += escaped
      } else if (char === '|') {
        values.push(value)
        value = ''
      } else value += char
    }
    values.push(value)
    if (values.length !== parts.length) {
      throw invalid(`a compound key has ${values.length} parts instead of ${parts.length} (${parts.join('|')})`, asText)
    }
    return Object.fromEntries(parts.map((part, i) => [part, values[i]]))
  }
  return {
    encode: (key) => bytesOf(join(key)),
    decode: (bytes, start, end) => split(readText(bytes, start, end)),
    toText: join,
    fromText: split,
  }
}

function invalid(sentence: string, hint: string): TidemarkError {
  return new TidemarkError('KEY_INVALID', sentence, { hint })
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}
