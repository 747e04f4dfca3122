/**
 * The sequence rules of one partition, as a Kafka broker has them (ProducerStateManager): what a producer sends twice is written once, and
 * what it sends out of order is refused. Kept in memory: every producer ends with the process, and the next one has another epoch.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { BatchHeader } from './header.ts'

export interface Appended {
  readonly base: number
  readonly next: number
}

interface Sent {
  readonly first: number
  readonly last: number
  readonly result: Promise<Appended>
}

/** Batches of a producer that are remembered, as many as a Kafka producer may have in flight. */
const REMEMBERED = 5
const SEQUENCES = 2 ** 31

export class Producers {
  private readonly known = new Map<number, { epoch: number; sent: Sent[] }>()

  /**
   * The result of the same batch when it was here before, undefined for a new one.
   * @throws TidemarkError WRITER_FENCED for an older epoch, SEQUENCE_BROKEN for a gap or a batch that is too old to be told apart
   */
  earlier(header: BatchHeader): Promise<Appended> | undefined {
    const producer = this.known.get(header.producerId)
    if (producer === undefined) return undefined
    const { producerEpoch: epoch, baseSequence: first } = header
    if (epoch < producer.epoch) {
      throw new TidemarkError('WRITER_FENCED', 'a batch comes from a producer that was taken over', {
        detail: `Producer ${header.producerId} has epoch ${producer.epoch} by now; the batch has ${epoch}.`,
      })
    }
    if (epoch > producer.epoch) {
      if (first !== 0) throw broken(header, 0)
      return undefined
    }
    const last = lastSequence(header)
    const same = producer.sent.find((sent) => sent.first === first && sent.last === last)
    if (same !== undefined) return same.result
    const expected = ((producer.sent.at(-1) as Sent).last + 1) % SEQUENCES
    if (first !== expected) throw broken(header, expected)
    return undefined
  }

  add(header: BatchHeader, result: Promise<Appended>): void {
    const { producerId, producerEpoch: epoch, baseSequence: first } = header
    let producer = this.known.get(producerId)
    if (producer?.epoch !== epoch) {
      producer = { epoch, sent: [] }
      this.known.set(producerId, producer)
    }
    producer.sent.push({ first, last: lastSequence(header), result })
    if (producer.sent.length > REMEMBERED) producer.sent.shift()
    // A batch that could not be written leaves no trace: the next one of its producer may begin anywhere.
    result.catch(() => this.forget(producerId))
  }

  forget(producerId: number): void {
    this.known.delete(producerId)
  }
}

/** The sequence number after `count` records from `first` on. */
export function nextSequence(first: number, count: number): number {
  return (first + count) % SEQUENCES
}

function lastSequence(header: BatchHeader): number {
  return nextSequence(header.baseSequence, header.count - 1)
}

function broken(header: BatchHeader, expected: number): TidemarkError {
  return new TidemarkError('SEQUENCE_BROKEN', 'a batch does not follow the one before it', {
    detail: `Producer ${header.producerId} of epoch ${header.producerEpoch} sent sequence ${header.baseSequence}; ${expected} was expected.`,
    hint: 'A batch in between was lost, or one came again too late to be recognized. The writer must be opened anew.',
  })
}
