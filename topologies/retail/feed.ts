/**
 * The feed of the retail topology: plays orders and warehouse from a file of real invoices.
 *
 * Promised: a feed that was killed at any moment goes on where it was, with the same facts and the same faults, and sends nothing twice but
 * what the seed says. It is one transaction after the other, and each carries the feed's own position. Not promised: any order between keys.
 */
import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Access,
  type Feed,
  type FeedCheck,
  type FeedSettings,
  type FeedSubject,
  publisher,
  type RunningFeed,
  TidemarkError,
  Transaction,
} from '#tidemark'
import { compare } from './check.ts'
import { isStockCode, orderLifecycle, orders, stockMovements, warehouse } from './contracts.ts'
import { readInvoices } from './csv.ts'
import { type Delivery, Faults, NO_FAULTS } from './faults.ts'
import { Invoices, type Upstream } from './invoices.ts'
import { gapBetween, Pace, waitMs } from './pace.ts'
import { readPosition, writePosition } from './position.ts'
import { recompute } from './recompute.ts'

export const feed: Feed = {
  options: {
    csv: {
      value: '<file>',
      about: 'invoices to feed, plain or gzip, in the columns of the UCI "Online Retail" data set',
      default: 'ten thousand real rows',
    },
    seed: {
      value: '<n>',
      about: 'send some facts twice, some late, and some bytes that nobody can read, as this whole number from 0 decides',
      default: 'none',
    },
    pace: {
      value: '<factor>',
      about: 'feed so many times faster than it happened, with no wait longer than a second',
      default: 'what takes about three minutes',
    },
  },
  prepare,
  open: async (access, settings, prepared) => {
    const { seed, factor, source } = (prepared as Prepared | undefined) ?? (await prepare(settings))
    const { unpaced } = settings
    const opened = new RetailFeed(access, source, seed, unpaced ? undefined : (factor ?? source.pace.factorFor(LASTS_MS)))
    try {
      await opened.resume()
      return opened
    } catch (error) {
      await opened.close()
      throw error
    }
  },
}

/** Options as they are meant, and the file that was gone through. */
interface Prepared {
  readonly seed: number | undefined
  readonly factor: number | undefined
  readonly source: Source
}

/** @throws TidemarkError OPTION_INVALID, INPUT_INVALID */
async function prepare({ options }: Pick<FeedSettings, 'options'>): Promise<Prepared> {
  const seed = numberIn(options, 'seed', Number.isSafeInteger, 'a whole number from 0', '7')
  const factor = numberIn(options, 'pace', (pace) => pace > 0, 'a number above 0', '2000')
  return { seed, factor, source: await survey(textIn(options, 'csv', 'invoices.csv') ?? fileURLToPath(SHIPPED)) }
}

const SHIPPED = new URL('data/online-retail-2010-12.csv.gz', import.meta.url)
const LASTS_MS = 180_000
const COMMIT_RECORDS = 300
const COMMIT_MS = 250
const BUSIEST = 5

class RetailFeed implements RunningFeed {
  readonly total: number
  readonly problems: readonly string[]
  readonly #access: Access
  readonly #source: Source
  readonly #seed: number | undefined
  /** undefined: as fast as the log takes it. */
  readonly #factor: number | undefined
  readonly #transaction: Transaction
  readonly #publish: (
    upstream: Upstream,
    about: { readonly id: string; readonly raw?: Buffer; readonly sequence?: number },
  ) => Promise<void>
  /** Ids of the poison so far, that of earlier runs as well. */
  readonly broken: Set<string> = new Set()
  readonly #busy = new Map<string, { units: number; description: string }>()
  #done = 0

  constructor(access: Access, source: Source, seed: number | undefined, factor: number | undefined) {
    this.#access = access
    this.#source = source
    this.#seed = seed
    this.#factor = factor
    this.total = source.rows
    this.problems = source.problems
    const within = new Transaction(access, 'feed-retail')
    const orderEvents = publisher(orderLifecycle, { as: orders, log: access, within })
    const movements = publisher(stockMovements, { as: warehouse, log: access, within })
    this.#transaction = within
    this.#publish = ({ contract, fact, at }, about) =>
      contract === 'order-lifecycle' ? orderEvents.publish(fact, { at, ...about }) : movements.publish(fact, { at, ...about })
  }

  get done(): number {
    return this.#done
  }

  /**
   * How many records were sent before. An earlier feed of this directory that is still at work ends here.
   * @throws TidemarkError INPUT_CHANGED when they came from another file or another seed
   */
  async resume(): Promise<number> {
    await this.#transaction.open()
    const position = await readPosition(this.#access)
    if (position === undefined) return 0
    const { hash } = this.#source
    const seed = this.#seed ?? null
    if (position.file === hash && position.seed === seed) return position.records
    const told = (name: string, file: string, seed: number | null): string =>
      `${name} (SHA-256 ${file.slice(0, 16)}...) ${seed === null ? 'without a seed' : `with seed ${seed}`}`
    throw new TidemarkError('INPUT_CHANGED', 'this directory was filled from another input', {
      detail: `It was fed ${told(position.name, position.file, position.seed)}; now it would be ${told(this.#source.name, hash, seed)}.`,
      hint: 'Give the same --csv and --seed to go on, or another --dir to begin again.',
    })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#access
    const before = await this.resume()
    this.#busy.clear()
    let records = 0
    let committed = before
    let committedAt = clock.mono()
    let begun: number | undefined
    const commit = async (): Promise<void> => {
      if (records <= committed) return
      const { hash: file, name } = this.#source
      writePosition(this.#transaction, { records, rows: this.#done, file, name, seed: this.#seed ?? null }, clock.now())
      await this.#transaction.commit()
      committed = records
      committedAt = clock.mono()
    }
    for await (const { delivery, rows, dueMs } of deliveries(this.#source, this.#seed, this.#factor)) {
      if (signal.aborted) break
      if (records >= before) {
        begun ??= clock.mono() - dueMs
        const wait = Math.max(0, begun + dueMs - clock.mono())
        if (records - committed >= COMMIT_RECORDS || clock.mono() + wait - committedAt >= COMMIT_MS) await commit()
        if (wait >= 1 && !(await slept(this.#access, wait, signal))) break
        await this.#send(delivery)
      }
      // What was sent before is gone through again: what follows depends on it, and so do the busiest SKUs.
      records += 1
      this.#done = rows
      if (delivery.kind === 'poison') this.broken.add(delivery.id)
      this.#note(delivery)
    }
    await commit()
    if (!signal.aborted) this.#done = this.total
  }

  #send(delivery: Delivery): Promise<void> {
    const { upstream } = delivery
    return delivery.kind === 'poison'
      ? this.#publish(upstream, { id: delivery.id, raw: delivery.bytes })
      : this.#publish(upstream, { id: upstream.id, sequence: upstream.sequence })
  }

  #note({ kind, upstream: { fact } }: Delivery): void {
    if (kind !== 'fact' || (fact.value.type !== 'OrderPlaced' && fact.value.type !== 'OrderLinesAdded')) return
    for (const { sku, quantity, description } of fact.value.lines) {
      if (!isStockCode(sku)) continue
      const known = this.#busy.get(sku)
      if (known !== undefined) known.units += quantity
      else this.#busy.set(sku, { units: quantity, description: description ?? '' })
    }
  }

  highlights(): readonly string[] {
    const busiest = [...this.#busy].sort(([, a], [, b]) => b.units - a.units).slice(0, BUSIEST)
    return busiest.map(([sku, { units, description }], i) => {
      // A file may hold anything, and these lines go to a terminal.
      const words = description.replaceAll(/\p{Cc}+/gu, ' ')
      return `${i === 0 ? 'busiest:' : ''.padEnd(8)} ${sku.padEnd(8)} ${units.toLocaleString('en').padStart(8)} units  ${words}`.trimEnd()
    })
  }

  async check(subject: FeedSubject): Promise<FeedCheck> {
    const { file, hash, name } = this.#source
    const now = createHash('sha256')
    const expected = await recompute(readInvoices(file, now))
    if (now.digest('hex') !== hash) {
      throw new TidemarkError('INPUT_CHANGED', `${name} is no longer the file that was fed`, {
        detail: `${file} was written since the feed began.`,
        hint: 'Put the file back and check again, or begin again in another --dir.',
      })
    }
    return compare(subject, expected)
  }

  close(): Promise<void> {
    return this.#transaction.close()
  }
}

/** Waits; false when the signal ended it. */
async function slept({ clock }: Access, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal)
    return true
  } catch (error) {
    if (signal.aborted) return false
    throw error
  }
}

/** All records of a file in the order in which they are sent, with the rows gone through by then and when they are due, ms after the first. */
async function* deliveries(
  { file, hash }: Source,
  seed: number | undefined,
  factor: number | undefined,
): AsyncGenerator<{ readonly delivery: Delivery; readonly rows: number; readonly dueMs: number }> {
  const invoices = new Invoices(hash)
  const faults = seed === undefined ? NO_FAULTS : new Faults(seed)
  let rows = 0
  let dueMs = 0
  let last: number | undefined
  for await (const some of readInvoices(file)) {
    for (const row of some) {
      rows += 1
      if ('problem' in row) continue
      if (factor !== undefined) dueMs += waitMs(gapBetween(last, row.at), factor)
      last = row.at
      for (const upstream of invoices.take(row)) for (const delivery of faults.take(upstream)) yield { delivery, rows, dueMs }
    }
  }
  for (const upstream of invoices.end()) for (const delivery of faults.take(upstream)) yield { delivery, rows, dueMs }
  for (const delivery of faults.end()) yield { delivery, rows, dueMs }
}

/** What a first look through the file told. */
interface Source {
  readonly file: string
  readonly name: string
  /** SHA-256 of the file, unpacked, hex. */
  readonly hash: string
  readonly rows: number
  /** One for each row that cannot be read. */
  readonly problems: readonly string[]
  readonly pace: Pace
}

/** @throws TidemarkError INPUT_INVALID */
async function survey(file: string): Promise<Source> {
  const hash = createHash('sha256')
  const pace = new Pace()
  const problems: string[] = []
  let rows = 0
  for await (const some of readInvoices(file, hash)) {
    rows += some.length
    for (const row of some) {
      if ('problem' in row) problems.push(`line ${row.line} is left out: ${row.problem}`)
      else pace.note(row.at)
    }
  }
  return { file, name: basename(file), hash: hash.digest('hex'), rows, problems, pace }
}

type Options = Readonly<Record<string, string | true | undefined>>

/** @param such a value that it may have, for who has given none */
function textIn(options: Options, name: string, such: string): string | undefined {
  const value = options[name]
  if (value === true || value === '') {
    throw new TidemarkError('OPTION_INVALID', `--${name} needs a value`, { hint: `Write --${name} ${such}, or leave it out.` })
  }
  return value
}

function numberIn(options: Options, name: string, fits: (value: number) => boolean, what: string, such: string): number | undefined {
  const text = textIn(options, name, such)
  if (text === undefined) return undefined
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (fits(value)) return value
  throw new TidemarkError('OPTION_INVALID', `--${name} is not ${what}`, {
    detail: `It is "${text}".`,
    hint: `Write --${name} ${such}, or leave it out.`,
  })
}
