/**
 * The door of a stage: what is asked of a record before any step sees it. Facts of a contract must carry the envelope that it needs, come
 * from a source that it accepts, and lie in the partition that their key demands. Plain records are asked nothing.
 */
import { TidemarkError } from '../base/errors.ts'
import { partitionOf } from '../base/murmur.ts'
import { plausibleTime } from '../base/time.ts'
import type { AnyContract } from '../contract/contract.ts'
import { HEADER } from '../contract/envelope.ts'
import type { Rec } from './record.ts'
import type { Tally } from './tally.ts'
import type { Variety } from './variety.ts'

/** Checks one record of a contract's topic. @throws TidemarkError ENVELOPE_INVALID, SOURCE_FOREIGN, KEY_INVALID, PARTITION_MISMATCH, EVENT_UNKNOWN, FRAMING_INVALID, SCHEMA_* */
export type Entry = (rec: Rec) => void

export function entryOf(contract: AnyContract, partitions: number, tally: Tally, variety: Variety): Entry {
  const sources = contract.sources.map((source) => Buffer.from(source))
  const types = new Set(Object.keys(contract.events).map((type) => `${contract.owner.name}.${type}`))
  const needsId = contract.envelope.id === undefined
  const needsSequence = contract.sequence === 'per key' && contract.envelope.sequence === undefined
  const timeOf = contract.envelope.time
  return (rec) => {
    const envelope = rec.open()
    if (rec.keyAt < 0)
      throw new TidemarkError('KEY_INVALID', `a fact of "${contract.name}" has no key`, {
        hint: 'Its producer has to send one: the key is what the fact is about.',
      })
    // The source is who answers for a fact, so what says where it comes from must come from where it may.
    if (envelope.has('source')) {
      if (!envelope.isOneOf('source', sources)) {
        throw new TidemarkError('SOURCE_FOREIGN', `contract "${contract.name}" does not accept facts of "${envelope.text('source')}"`, {
          detail: `It accepts ${contract.sources.join(', ')}.`,
          hint: 'Only the context that owns a fact may publish it. If that one may, add it to the sources of the contract.',
        })
      }
    } else if (needsId) throw missing(rec, contract, HEADER.source)
    if (needsId && !envelope.has('id')) throw missing(rec, contract, HEADER.id)
    if (needsSequence) {
      const sequence = envelope.digits('sequence')
      if (sequence === undefined) throw missing(rec, contract, HEADER.sequence)
      if (!(Number.isSafeInteger(sequence) && sequence >= 1))
        throw new TidemarkError('ENVELOPE_INVALID', `a fact of "${contract.name}" has a sequence that is no whole number from 1`, {
          hint: 'Its producer numbers the facts of a key 1, 2, 3. Where it cannot, the contract has sequence: "none".',
        })
    }
    const type = envelope.text('type')
    if (type !== undefined && !types.has(type) && contract.unknownEvents === 'dead-letter') {
      throw new TidemarkError('EVENT_UNKNOWN', `contract "${contract.name}" has no event "${type}"`, {
        hint: 'Add it to the contract, or say unknownEvents: "ignore".',
        type,
      })
    }
    const wanted = partitionOf(rec.payload, partitions, rec.keyAt, rec.keyEnd)
    if (wanted !== rec.partition) {
      throw new TidemarkError(
        'PARTITION_MISMATCH',
        `a fact of "${contract.name}" lies in partition ${rec.partition} and its key belongs to ${wanted}`,
        {
          detail: `Partitions are chosen by murmur2 over the key's bytes, as Kafka's Java client does; the topic has ${partitions}.`,
          hint: 'Its producer uses another partitioner: facts of one key would be processed by several tasks.',
        },
      )
    }
    // A deletion has no value that could tell its time.
    if (timeOf !== undefined && !(contract.exchange === 'state' && rec.empty)) {
      const at = timeOf(rec.value as never)
      if (!plausibleTime(at))
        throw new TidemarkError('ENVELOPE_INVALID', `a fact of "${contract.name}" gives ${at} as its time`, {
          hint: 'envelope: { time } of the contract gives milliseconds since 1970.',
        })
      rec.at = at
    }
    const { contractVersion } = rec
    tally.count(
      'contract_version',
      contractVersion === contract.version ? contractVersion : variety.of(tally.step, 'contract_version', String(contractVersion)),
    )
  }
}

function missing(rec: Rec, contract: AnyContract, header: string): unknown {
  // Who sends bytes that nobody can read rarely sends an envelope, and then the bytes are the reason that helps.
  const unreadable = rec.empty ? undefined : attempt(() => rec.value)
  if (unreadable !== undefined) return unreadable
  return new TidemarkError('ENVELOPE_INVALID', `a fact of "${contract.name}" has no ${header}`, {
    hint: `Send the header, or say in the contract where the value has it: envelope: { ... }.`,
  })
}

/** What a call throws, or undefined. */
function attempt(call: () => unknown): unknown {
  try {
    call()
    return undefined
  } catch (error) {
    return error
  }
}
