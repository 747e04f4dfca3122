/**
 * The producing side of a contract: publishes what a context owns, typed, with identity, times and sequence, and refuses what it does not own.
 * Feeds, tests and users' services use this one.
 */

import { binary } from '../base/bytes.ts'
import { codeOf, TidemarkError } from '../base/errors.ts'
import { partitionOf } from '../base/murmur.ts'
import { isRecord, needText, refuse, refuseUnknown, shown } from '../base/options.ts'
import { plausibleTime } from '../base/time.ts'
import { type AnyContract, type Context, type Contract, checkedContext, checkedContract, type Translated } from '../contract/contract.ts'
import { type Log, type Positions, partitionName, type Writer } from '../ports/log.ts'
import { encodeValue } from './encode.ts'
import { Envelope, envelopeBytes } from './envelope.ts'
import { flavourOf } from './flavours.ts'
import { Outbox } from './outbox.ts'
import type { Flavour } from './record.ts'
import { specOf } from './stages.ts'
import type { World } from './world.ts'

/** What publishing needs of the world. An application has one: `app.access`. */
export type Access = Pick<World, 'log' | 'serdes' | 'codecs' | 'clock' | 'random'>

export interface About {
  /** Business time, ms since 1970. Default: now. */
  readonly at?: number
  /** The fact's number among its key's. Default: the next one, for contracts that number them. */
  readonly sequence?: number
  /** Default: one that nobody else has. Give it where the same fact must have the same id again. */
  readonly id?: string
  readonly correlationId?: string
  readonly causationId?: string
  /** Bytes to send in place of the encoded value: for feeds that play broken producers. */
  readonly raw?: Uint8Array
}

export interface Publisher<K, V> {
  /** Resolves when the fact is in the log; within a transaction, when it waits for the transaction's commit. */
  publish(fact: Translated<K, V>, about?: About): Promise<void>
  close(): Promise<void>
}

export interface PublisherOptions {
  /** The context that speaks. It must own the contract. */
  readonly as: Context
  readonly log: Access
  /** Publish as a part of this transaction. */
  readonly within?: Transaction
}

const OPTIONS: readonly (keyof PublisherOptions)[] = ['as', 'log', 'within']
const TEXTS = ['id', 'correlationId', 'causationId'] as const
const ABOUT: readonly (keyof About)[] = ['at', 'sequence', ...TEXTS, 'raw']

/**
 * @throws TidemarkError FACT_FOREIGN when the context does not own the contract, OPTION_INVALID
 * @example
 * const events = publisher(orderLifecycle, { as: orders, log: app.access })
 * await events.publish(orderLifecycle.make.OrderPlaced('o-1', { lines: [] }))
 */
export function publisher<K, V>(contract: Contract<string, K, V>, options: PublisherOptions): Publisher<K, V> {
  checkedContract(contract, 'what publisher() is given')
  const of = `the publisher of "${contract.name}"`
  refuseUnknown(options, OPTIONS, of)
  checkedContext(options.as, `as, of ${of},`)
  checkAccess(options.log, `log, of ${of},`)
  const { within } = options
  if (within !== undefined && !(isRecord(within) && typeof within.commit === 'function'))
    refuse(within, `within, of ${of},`, 'a transaction', 'Make one: new Transaction(app.access, "feed-orders").')
  if (options.as.name !== contract.owner.name) {
    throw new TidemarkError('FACT_FOREIGN', `context "${options.as.name}" does not own contract "${contract.name}"`, {
      detail: `Its owner is "${contract.owner.name}".`,
      hint: 'Only the owner of a fact publishes it. Others translate it and publish facts of their own.',
    })
  }
  return new ContractPublisher(contract as unknown as AnyContract, options) as Publisher<K, V>
}

/** @throws TidemarkError OPTION_INVALID for what nothing can be published through */
function checkAccess(given: unknown, what: string): void {
  const parts = isRecord(given) ? [given.log, given.serdes, given.codecs, given.clock, given.random] : []
  if (parts.length === 0 || !parts.every(isRecord))
    refuse(given, what, 'access to a log', 'Give app.access of a started application, or await run.access() of a harness.')
}

class ContractPublisher implements Publisher<unknown, { readonly type: string }> {
  readonly #contract: AnyContract
  readonly #access: Access
  readonly #transaction: Transaction
  /** Alone, every fact is a transaction of its own; within one, its owner commits. */
  readonly #alone: boolean
  #flavour: Promise<Flavour> | undefined
  #partitions = 0
  /** The greatest number of each key: as the topic has it, once somebody asked, and as this publisher has given it out since. */
  #sequences = new Numbers()
  #tail: Promise<void> = Promise.resolve()

  constructor(contract: AnyContract, options: PublisherOptions) {
    this.#contract = contract
    this.#access = options.log
    this.#alone = options.within === undefined
    this.#transaction = options.within ?? new Transaction(options.log, `publisher-${contract.name}-${options.log.random.id()}`)
  }

  publish(fact: Translated<unknown, { readonly type: string }>, about: About = {}): Promise<void> {
    // One after the other, so that the order of calls is the order in the log.
    const done = this.#tail.then(() => this.#publish(fact, about))
    this.#tail = done.catch(() => {})
    return done
  }

  async #publish(fact: Translated<unknown, { readonly type: string }>, about: About): Promise<void> {
    const contract = this.#contract
    checkFact(contract, fact, about)
    this.#flavour ??= this.#open()
    const flavour = await this.#flavour
    if (!Object.hasOwn(contract.events, fact.value.type)) {
      throw new TidemarkError('EVENT_UNKNOWN', `contract "${contract.name}" has no event "${fact.value.type}"`, {
        hint: `It has ${Object.keys(contract.events).join(', ')}.`,
      })
    }
    const [key, value] = this.#encoded(flavour, fact, about)
    const now = this.#access.clock.now()
    const at = about.at ?? now
    if (!plausibleTime(at))
      throw new TidemarkError('OPTION_INVALID', `a fact of "${contract.name}" cannot be of time ${shown(at)}`, {
        hint: 'at is milliseconds since 1970, such as 1735689600000.',
      })
    const sequence = about.raw === undefined ? await this.#sequence(key, about.sequence) : about.sequence
    const headers = envelopeBytes(
      {
        id: about.id ?? this.#access.random.id(),
        eventType: `${contract.owner.name}.${fact.value.type}`,
        source: `/${contract.owner.name}`,
        partitionKey: flavour.key.toText(fact.key) || undefined,
        at,
        recordedAt: now,
        sequence,
        correlationId: about.correlationId,
        causationId: about.causationId,
        contractVersion: contract.version,
      },
      undefined,
    )
    this.#transaction.outbox.put(contract.topic, partitionOf(key, this.#partitions), at, key, value, headers)
    // Given out only now: a fact that was refused takes no number with it, for its successors would wait for it for ever.
    if (sequence !== undefined) this.#sequences.give(binary(key), sequence)
    if (this.#alone) await this.#transaction.commit()
  }

  /** @throws TidemarkError KEY_INVALID, VALUE_INVALID; which event it is, and of which key */
  #encoded(flavour: Flavour, fact: Translated<unknown, { readonly type: string }>, { raw }: About): [key: Buffer, value: Buffer] {
    const event = `event "${fact.value.type}" of contract "${this.#contract.name}"`
    try {
      const key = flavour.key.encode(fact.key)
      return [key, raw === undefined ? encodeValue(flavour.value, fact.value) : Buffer.from(raw)]
    } catch (cause) {
      const code = codeOf(cause)
      if (code !== 'KEY_INVALID' && code !== 'VALUE_INVALID') throw cause
      const { message, detail, hint } = cause as TidemarkError
      if (code === 'KEY_INVALID') throw new TidemarkError(code, `${event} cannot be published: ${message}`, { detail, hint, cause })
      throw new TidemarkError(code, `${event} cannot be published: ${message}`, {
        detail: `${detail ?? ''} Its key is ${shown(fact.key)}.`.trimStart(),
        hint: 'Give its fields as the schema has them. Nothing of it was sent, and it has taken no number.',
        cause,
      })
    }
  }

  async #open(): Promise<Flavour> {
    const { topic, partitions, exchange, retentionMs, key, events } = this.#contract
    const cleanup = exchange === 'state' ? 'compact' : 'delete'
    const [described] = await this.#access.log.describe([topic])
    const [there] =
      described === undefined
        ? await this.#access.log.ensure([specOf({ name: topic, role: 'source', partitions, cleanup, retentionMs, step: undefined })])
        : [described]
    this.#partitions = (there as { partitions: number }).partitions
    const shape = { key, value: { readers: events, tagged: true }, language: this.#contract, contexts: [] }
    return flavourOf(shape, this.#access.serdes, `${this.#contract.owner.name}.${this.#contract.name}`, 'writes')
  }

  /**
   * The number of a key's next fact. A publisher that was not told counts on from what the topic has. It reads that once, and once more after
   * a commit that failed, because it may have succeeded all the same.
   */
  async #sequence(key: Buffer, given: number | undefined): Promise<number | undefined> {
    if (this.#sequences.failures !== this.#transaction.failures) this.#sequences = new Numbers(this.#transaction.failures)
    if (given !== undefined) {
      if (Number.isSafeInteger(given) && given >= 1) return given
      throw new TidemarkError('OPTION_INVALID', `a fact of "${this.#contract.name}" cannot have number ${shown(given)}`, {
        hint: 'Numbers are whole, from 1.',
      })
    }
    if (this.#contract.sequence !== 'per key') return undefined
    const sequences = this.#sequences
    if (!sequences.read) {
      // What an earlier life left undecided is decided by that.
      await this.#transaction.open()
      const last = await lastSequences(this.#access.log, this.#contract.topic, this.#partitions)
      for (const [name, number] of last) sequences.give(name, number)
      sequences.read = true
    }
    return sequences.after(binary(key))
  }

  async close(): Promise<void> {
    await this.#tail
    if (this.#alone) await this.#transaction.close()
  }
}

/** @throws TidemarkError OPTION_INVALID for what is no fact, and for words about it that say nothing */
function checkFact({ name, events }: AnyContract, fact: unknown, about: About): void {
  if (!isRecord(fact) || !isRecord(fact.value) || !('key' in fact))
    refuse(fact, `what is published to "${name}"`, 'a fact', `Make one with the contract: make.${Object.keys(events)[0]}(key, { ... }).`)
  refuseUnknown(about, ABOUT, `what is said about a fact of "${name}"`)
  for (const word of TEXTS)
    if (about[word] !== undefined)
      needText(about[word], `${word} of a fact of "${name}"`, 'Ids are texts, at best such as nobody else gives.')
  if (about.raw !== undefined && !((about.raw as unknown) instanceof Uint8Array))
    refuse(about.raw, `raw, of a fact of "${name}",`, 'a Uint8Array', 'It is sent in place of the encoded value.')
}

/** The greatest number of each key. */
class Numbers {
  /** How often the transaction had failed when they were begun. */
  readonly failures: number
  /** Whether those of the topic are among them. */
  read = false
  readonly #greatest = new Map<string, number>()

  constructor(failures = 0) {
    this.failures = failures
  }

  after(key: string): number {
    return (this.#greatest.get(key) ?? 0) + 1
  }

  give(key: string, number: number): void {
    this.#greatest.set(key, Math.max(this.#greatest.get(key) ?? 0, number))
  }
}

/** The greatest sequence of each key that a topic has. */
async function lastSequences(log: Log, topic: string, partitions: number): Promise<Map<string, number>> {
  const sequences = new Map<string, number>()
  const names = Array.from({ length: partitions }, (_, partition) => partitionName(topic, partition))
  const ends = await log.offsets(names, 'stable')
  const positions = new Map(await log.offsets(names, 'start'))
  const envelope = new Envelope()
  const reader = log.reader('committed')
  try {
    reader.assign(positions)
    while (names.some((name) => (positions.get(name) as number) < (ends.get(name) as number))) {
      for (const fetched of await reader.poll({ bytes: 4 * 1024 * 1024, waitMs: 100 })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap')
          throw new TidemarkError('POSITION_GAP', `records of ${fetched.partition} are gone`, {
            hint: 'Give the sequence with each fact: the topic no longer tells it.',
          })
        positions.set(fetched.partition, fetched.next)
        for (const { columns } of fetched.batches) {
          const { payload, keyAt, keyEnd, headersAt, headersEnd, headerCount, count } = columns
          for (let i = 0; i < count; i++) {
            if ((keyAt[i] as number) < 0) continue
            envelope.read(payload, headersAt[i] as number, headersEnd[i] as number, headerCount[i] as number)
            const sequence = envelope.digits('sequence') ?? 0
            const key = binary(payload, keyAt[i], keyEnd[i])
            if (sequence > (sequences.get(key) ?? 0)) sequences.set(key, sequence)
          }
        }
      }
    }
    return sequences
  } finally {
    await reader.close()
  }
}

/**
 * Facts, of several contracts perhaps, that become visible together, with positions of their author.
 * @example
 * const feed = new Transaction(app.access, 'feed-retail')
 * await orderEvents.publish(fact) // a publisher within it
 * await feed.commit()
 */
export class Transaction {
  readonly outbox: Outbox
  /** Commits that did not say that they succeeded. What they had is gone from here; whether it is in the log is decided by the next opening. */
  failures = 0
  readonly #access: Access
  readonly #id: string
  #writer: Promise<Writer> | undefined

  /**
   * @param id names the author for good: a second one under the same id fences the first. It must not begin with an application's name.
   * @throws TidemarkError OPTION_INVALID
   */
  constructor(access: Access, id: string) {
    checkAccess(access, 'what a Transaction is given')
    needText(id, 'the name of a transaction', 'Name its author for good: new Transaction(app.access, "feed-orders").')
    this.#access = access
    this.#id = id
    this.outbox = new Outbox(access.codecs)
  }

  /** Fences an earlier author of this id and ends what it left open; the first commit does so otherwise. */
  async open(): Promise<void> {
    this.#writer ??= this.#access.log.writer(this.#id)
    const opening = this.#writer
    try {
      await opening
    } catch (error) {
      // The next call tries again.
      if (this.#writer === opening) this.#writer = undefined
      throw error
    }
  }

  /** @throws TidemarkError WRITER_FENCED, COMMIT_* ; then nothing of it is visible, or (COMMIT_IN_DOUBT) the next author's opening decides */
  async commit(group?: { readonly name: string; readonly positions: Positions }): Promise<void> {
    await this.open()
    const writer = await (this.#writer as Promise<Writer>)
    try {
      await Promise.all(this.outbox.seal().map(({ partition, batch }) => writer.append(partition, batch)))
      const outcome = await writer.commit(
        group === undefined ? [] : [{ group: group.name, identity: undefined, positions: group.positions }],
      )
      if (outcome.kind !== 'committed') throw outcome.error
    } catch (error) {
      // A writer that failed once is dead; the next commit opens a fresh one.
      this.#writer = undefined
      this.failures += 1
      await writer.close().catch(() => {})
      throw error
    }
  }

  async close(): Promise<void> {
    const writer = await this.#writer?.catch(() => undefined)
    await writer?.close()
  }
}
