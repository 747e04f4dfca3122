/**
 * Rows of a projection as they lie in the stores of its tasks, page by page in the order of their keys' bytes. Shared by views of a running
 * application and by tools that read one that does not run.
 */
import { needText, refuse, refuseUnknown } from '../base/options.ts'
import type { KeyCodec } from '../contract/key.ts'
import type { TaskStore } from '../ports/store.ts'
import { afterPrefix, decodeRow, escapeInto, type RowCodec, RowWriter, storePrefix, unescapeKey } from './rows.ts'
import { KeySlot, Row } from './slots.ts'

export interface Page<K, Row> {
  readonly rows: readonly { readonly key: K; readonly text: string; readonly value: Row }[]
  /** Where the next page begins; undefined after the last. */
  readonly next: string | undefined
}

export interface PageOptions {
  /** Only keys whose text begins so. */
  readonly prefix?: string
  /** Only keys behind this one: the `next` of the page before. */
  readonly after?: string
  /** Rows at most. 1 to 1,000, default 100. */
  readonly limit?: number
}

/** Where and how the rows of one projection lie. */
export interface Shelf {
  /** The number of its store. */
  readonly store: number
  readonly key: KeyCodec<unknown>
  readonly codec: RowCodec
}

/** A store to read, and who is to know when that fails. */
export interface Readable {
  readonly range: TaskStore['range']
  readonly onFailure?: (error: unknown) => void
}

const PAGE_MAX = 1_000

interface Found {
  /** The whole key in the store: what rows are ordered by. */
  readonly bytes: Buffer
  readonly key: Buffer
  readonly value: unknown
}

/**
 * One page over the stores of all tasks together.
 * @throws TidemarkError OPTION_INVALID, KEY_INVALID when `after` is no key, STORE_CORRUPT, STORE_IO
 */
export async function pageOf(shelf: Shelf, stores: readonly Readable[], options: PageOptions = {}): Promise<Page<unknown, unknown>> {
  refuseUnknown(options, ['prefix', 'after', 'limit'], 'page()')
  if (options.prefix !== undefined) needText(options.prefix, 'prefix of page()', 'It is what the text of a key begins with.')
  if (options.after !== undefined) needText(options.after, 'after of page()', 'It is the "next" of the page before.')
  if (options.limit !== undefined && !Number.isInteger(options.limit))
    refuse(options.limit, 'limit of page()', 'a number of rows', 'Ask for 1 to 1000.')
  const limit = Math.max(1, Math.min(options.limit ?? 100, PAGE_MAX))
  const first = prefixOf(shelf, options.prefix ?? '')
  const from = options.after === undefined ? first : later(first, behind(shelf, options.after))
  const found: Found[] = []
  for (const store of stores) {
    // One row more than is asked for tells whether there is a next page.
    let left = limit + 1
    for await (const rows of liveRows(shelf, store, from, afterPrefix(first))) {
      found.push(...rows.slice(0, left))
      left -= rows.length
      if (left <= 0) break
    }
  }
  found.sort((a, b) => a.bytes.compare(b.bytes))
  const rows = found.slice(0, limit).map(({ key, value }) => {
    const decoded = shelf.key.decode(key, 0, key.length)
    return { key: decoded, text: shelf.key.toText(decoded), value }
  })
  return { rows, next: found.length > limit ? rows.at(-1)?.text : undefined }
}

/** How many live rows there are. @throws TidemarkError STORE_CORRUPT, STORE_IO */
export async function countOf(shelf: Shelf, stores: readonly Readable[]): Promise<number> {
  let count = 0
  const first = prefixOf(shelf, '')
  for (const store of stores) for await (const rows of liveRows(shelf, store, first, afterPrefix(first))) count += rows.length
  return count
}

/** Rows of one task in a range, some at a time; tombstones and operators' rows left out. */
async function* liveRows(shelf: Shelf, store: Readable, from: Buffer, to: Buffer | undefined): AsyncGenerator<Found[]> {
  try {
    yield* readRows(shelf, store, from, to)
  } catch (error) {
    store.onFailure?.(error)
    throw error
  }
}

async function* readRows(shelf: Shelf, store: Readable, from: Buffer, to: Buffer | undefined): AsyncGenerator<Found[]> {
  const strip = storePrefix(shelf.store).length
  let at = from
  for (;;) {
    if (to !== undefined && at.compare(to) >= 0) return
    const page = await store.range({ from: at, to, limit: PAGE_MAX })
    const rows: Found[] = []
    for (const [bytes, value] of page) {
      const place = unescapeKey(bytes, strip)
      if (place === undefined || place.sub !== '') continue
      const row = new Row(new KeySlot(place.key, 0, 0), 0, '')
      decodeRow(row, bytes, value, shelf.codec)
      if (row.exists) rows.push({ bytes, key: place.key, value: row.value })
    }
    yield rows
    if (page.length < PAGE_MAX) return
    at = Buffer.concat([(page.at(-1) as readonly [Buffer, Buffer])[0], Buffer.from([0])])
  }
}

function prefixOf(shelf: Shelf, prefix: string): Buffer {
  const bytes = Buffer.from(prefix)
  const escaped = Buffer.alloc(bytes.length * 2)
  return storePrefix(shelf.store, escaped.subarray(0, escapeInto(escaped, 0, bytes)))
}

function behind(shelf: Shelf, after: string): Buffer {
  const key = shelf.key.encode(shelf.key.fromText(after))
  return Buffer.concat([new RowWriter().key(shelf.store, key, '', false), Buffer.from([0])])
}

function later(a: Buffer, b: Buffer): Buffer {
  return a.compare(b) < 0 ? b : a
}
