/**
 * dedupe: drops what this key has already brought. Its mark, the effects behind it and the position are committed together, so a crash
 * never leaves a mark without its effect: that order is what loses events in systems that mark first.
 *
 * Two identities, because they cost differently:
 *  - a sequence per key keeps one number a key (and spans while there are holes) and needs no horizon;
 *  - an id keeps 16 bytes an id for `keep` of stream time, as chunks of up to 64 under the record's key and time bucket. They lie with
 *    the key's other state, so they are cached, committed and restored with it.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { oneOf, shown } from '../base/options.ts'
import { sha256 } from '../base/sha256.ts'
import { type Duration, durationMs } from '../base/time.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Fact, Incoming, KeyedNode, RowFormat, Shape, StoreSpec } from '../topology/node.ts'
import { mayFunction } from './given.ts'
import { hasSpan, readSpans, type Spans, withNumber, writeSpans } from './spans.ts'

export interface DedupeOptions<V, K> extends StepOptions {
  /**
   * What makes two facts the same: their event `id`, or their key and `sequence`.
   * Default: `sequence` where the contract numbers the facts of a key and none of the steps before gave them another, else `id`.
   */
  readonly by?: 'id' | 'sequence'
  /** An identity of your own, instead of `by`. */
  readonly id?: (value: V, fact: Fact<K>) => string
  /** A sequence of your own, for streams without a contract. */
  readonly sequence?: (value: V, fact: Fact<K>) => number
  /** How long an id is remembered after it was first seen, in stream time. Default '1d'. Sequences need none. */
  readonly keep?: Duration
}

export function dedupe(tip: Tip, step: string, options: DedupeOptions<unknown, unknown>, reads: readonly string[] | undefined): Tip {
  const { shape } = tip
  mayFunction(options.id, `id of step "${step}"`, 'Say where it is: id: (value) => value.id.')
  mayFunction(options.sequence, `sequence of step "${step}"`, 'Say where it is: sequence: (value) => value.number.')
  if (options.by !== undefined) oneOf(options.by, ['id', 'sequence'], `by of step "${step}"`)
  const numbered = shape.language?.sequence === 'per key' && !shape.rekeyed
  const bySequence =
    options.sequence !== undefined || (options.id === undefined && (options.by ?? (numbered ? 'sequence' : 'id')) === 'sequence')
  const custom = options.id ?? options.sequence
  const keepMs = durationMs(options.keep ?? '1d', `keep of step "${step}"`)
  if (keepMs === 0) {
    throw new TidemarkError('OPTION_INVALID', `step "${step}" would remember ids for 0 ms`, {
      hint: 'Remember them for as long as a producer may take to send a fact again, such as "1d".',
    })
  }
  const node = bySequence ? seenBySequence(step, options.sequence) : seenById(step, identityOf(options.id, shape), keepMs)
  return tip.draft.add(
    step,
    {
      ...node,
      kind: 'keyed',
      operator: 'dedupe',
      from: [tip.from],
      emits: shape,
      keeps: false,
      wall: false,
      makes: false,
      rekeys: false,
      identity: true,
      wake: undefined,
      page: undefined,
      reads: custom === undefined ? [] : reads,
      passes: true,
    },
    options,
    tip.facts,
  )
}

/** A deletion has no value to take an identity of one's own from: it is known by its id. */
function identityOf(id: DedupeOptions<unknown, unknown>['id'], { deletes }: Shape): (incoming: Incoming) => string {
  if (id === undefined) return (incoming) => incoming.id
  if (deletes) return (incoming) => (incoming.empty ? incoming.id : id(incoming.value, incoming))
  return (incoming) => id(incoming.value, incoming)
}

type Parts = Pick<KeyedNode, 'store' | 'run' | 'holding'>

const store = (step: string, rows: RowFormat, keepMs: number | undefined): StoreSpec => ({
  name: step,
  rows,
  ranged: false,
  expires: keepMs === undefined ? undefined : { keepMs },
  marks: true,
  view: undefined,
  revision: 1,
})

// --- by sequence ---------------------------------------------------------------------------------------------------------------

/** All numbers up to a number, or that and spans beyond it. */
type Seen = number | { readonly through: number; readonly spans: Spans }

/** Holes in one key's sequence that are remembered one by one; a source with more is broken, and its records are answered as failures. */
const HOLES_MAX = 1_000

const seenFormat: RowFormat = {
  write: (value, into) => {
    const seen = value as Seen
    const through = typeof seen === 'number' ? seen : seen.through
    into.uvarint(through)
    writeSpans(typeof seen === 'number' ? [] : seen.spans, through, into)
  },
  read: (bytes): Seen => {
    const through = bytes.uvarint()
    const spans = readSpans(through, bytes)
    return spans.length === 0 ? through : { through, spans }
  },
}

function seenBySequence(step: string, sequence: ((value: unknown, fact: Fact) => number) | undefined): Parts {
  return {
    store: store(step, seenFormat, undefined),
    holding: undefined,
    run: (incoming, scope, out, count) => {
      const n = sequenceOf(incoming, sequence)
      const seen = (scope.get() ?? 0) as Seen
      const through = typeof seen === 'number' ? seen : seen.through
      const spans = typeof seen === 'number' ? [] : seen.spans
      if (n <= through || hasSpan(spans, n)) {
        count('duplicate')
        return
      }
      if (n === through + 1 && spans.length === 0) scope.put(n)
      else {
        const joined = withNumber(spans, n)
        if (joined.length > 2 * HOLES_MAX) {
          throw new TidemarkError('SCOPE_TOO_LARGE', `a key's sequence has more than ${HOLES_MAX} holes`, {
            detail: `Step "${step}" met number ${n} after ${through}.`,
            hint: 'Its producer does not number the facts of a key 1, 2, 3. Drop repeats by their id instead: by: "id".',
          })
        }
        // What has become contiguous is one number again.
        scope.put(joined[0] === through + 1 ? settle(joined) : { through, spans: joined })
      }
      out.same()
    },
  }
}

function settle(spans: Spans): Seen {
  const through = spans[1] as number
  return spans.length === 2 ? through : { through, spans: spans.slice(2) }
}

/** @throws TidemarkError ENVELOPE_INVALID */
export function sequenceOf(incoming: Incoming, sequence: ((value: unknown, fact: Fact) => number) | undefined): number {
  const n = sequence === undefined ? incoming.sequence : sequence(incoming.value, incoming)
  if (n !== undefined && Number.isSafeInteger(n) && n >= 1) return n
  throw new TidemarkError('ENVELOPE_INVALID', n === undefined ? 'a fact has no sequence' : `a fact has sequence ${shown(n)}`, {
    detail: 'Sequences are whole numbers from 1.',
    hint: 'Send it in the header ce_sequence, or say where it is: envelope: { sequence } of the contract, or sequence of the step.',
  })
}

// --- by id ---------------------------------------------------------------------------------------------------------------------

const CHUNK_MAX = 64

/**
 * Up to 64 ids of 128 bits, four words each. Grows in place: the step that adds an id does nothing afterwards that could fail. A plain array,
 * because small typed arrays cost more to make than to fill.
 */
class Marks {
  readonly words: number[] = []

  has(a: number, b: number, c: number, d: number): boolean {
    const { words } = this
    for (let i = 0; i < words.length; i += 4) {
      if (words[i] === a && words[i + 1] === b && words[i + 2] === c && words[i + 3] === d) return true
    }
    return false
  }

  get full(): boolean {
    return this.words.length >= CHUNK_MAX * 4
  }
}

const marksFormat: RowFormat = {
  write: (value, into: ByteWriter) => {
    const { words } = value as Marks
    into.reserve(words.length * 4)
    for (let i = 0; i < words.length; i++) into.at = into.buffer.writeInt32BE(words[i] as number, into.at)
  },
  read: (bytes: ByteReader) => {
    const marks = new Marks()
    while (bytes.at < bytes.end) marks.words.push(bytes.u32() | 0)
    return marks
  },
}

function seenById(step: string, idOf: (incoming: Incoming) => string, keepMs: number): Parts {
  // A store gives out the same list until its buckets change: their sub-keys are made once for all records in between.
  let buckets: readonly number[] = []
  let firsts: readonly string[] = []
  return {
    store: store(step, marksFormat, keepMs),
    holding: undefined,
    run: (incoming, scope, out, count) => {
      fingerprint(idOf(incoming))
      const a = print[0] as number
      const b = print[1] as number
      const c = print[2] as number
      const d = print[3] as number
      if (scope.buckets !== buckets) {
        buckets = scope.buckets
        firsts = buckets.map(bucketSub)
      }
      let last: Marks | undefined
      let lastSub = ''
      for (let bucket = 0; bucket < firsts.length; bucket++) {
        lastSub = firsts[bucket] as string
        for (let chunk = 1; ; chunk++) {
          last = scope.get(lastSub) as Marks | undefined
          if (last === undefined) break
          if (last.has(a, b, c, d)) {
            count('duplicate')
            return
          }
          if (!last.full) break
          lastSub = `${firsts[bucket]}${String.fromCharCode(chunk >>> 8, chunk & 255)}`
        }
      }
      // The present bucket is the last of the list, so this is its last chunk, or where its next one will lie.
      last ??= new Marks()
      last.words.push(a, b, c, d)
      scope.put(last, lastSub)
      out.same()
    },
  }
}

function bucketSub(bucket: number): string {
  return String.fromCharCode((bucket >>> 24) & 255, (bucket >>> 16) & 255, (bucket >>> 8) & 255, bucket & 255)
}

/** The identity last fingerprinted, as four signed words. */
const print = new Int32Array(4)

/** 128 bits of an identity: a hex id or a UUID as it is, anything else by SHA-256. */
function fingerprint(id: string): void {
  if (id.length === 32 && hexWords(id)) return
  if (id.length === 36 && DASHES.every((at) => id[at] === '-') && hexWords(id.replaceAll('-', ''))) return
  print.set(sha256(Buffer.from(id, 'utf8')).subarray(0, 4))
}

/**
 * Values of hex digits by character code, -1 for all else. Lower case only: an upper-case id is another text, so it must not become the same
 * fingerprint by this path.
 */
const HEX = new Int8Array(128).fill(-1)
for (let digit = 0; digit < 16; digit++) HEX[digit.toString(16).charCodeAt(0)] = digit

/** Where a UUID has its dashes: with other places it is another text, and may not become the same fingerprint. */
const DASHES = [8, 13, 18, 23]

function hexWords(id: string): boolean {
  if (id.length !== 32) return false
  for (let word = 0; word < 4; word++) {
    let value = 0
    for (let i = word * 8; i < word * 8 + 8; i++) {
      const code = id.charCodeAt(i)
      const digit = code < 128 ? (HEX[code] as number) : -1
      if (digit < 0) return false
      value = (value << 4) | digit
    }
    print[word] = value
  }
  return true
}

/** For tests and tools: an identity as it is stored. */
export function fingerprintOf(id: string): Buffer {
  fingerprint(id)
  const bytes = Buffer.alloc(16)
  for (let i = 0; i < 4; i++) bytes.writeInt32BE(print[i] as number, i * 4)
  return bytes
}
