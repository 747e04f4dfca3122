import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  type AbortedTransaction,
  CommittedFilter,
  controlBatch,
  placeBatch,
  type RecordBatch,
  readBatches,
} from '../../../src/ports/record-batch/index.ts'
import { compacted, encode, only, type Sample, sample, TIME } from './sample.ts'

/** One partition, written as a broker writes it: batches one after the other, and an index of the transactions that were aborted. */
class Partition {
  next = 0
  readonly batches: RecordBatch[] = []
  /** In the order in which they ended, which is the order in which a broker lists them. */
  readonly aborted: (AbortedTransaction & { lastOffset: number })[] = []
  private readonly begun = new Map<number, number>()

  /** Appends records of a transaction; without a producer, plain ones. */
  data(producerId: number | undefined, ...records: Sample[]): this {
    const stamp = {
      producerId: producerId ?? -1,
      producerEpoch: producerId === undefined ? -1 : 0,
      baseSequence: producerId === undefined ? -1 : 0,
    }
    if (producerId !== undefined && !this.begun.has(producerId)) this.begun.set(producerId, this.next)
    return this.append(encode(records, { stamp: { ...stamp, transactional: producerId !== undefined } }))
  }

  end(kind: 'commit' | 'abort', producerId: number): this {
    const firstOffset = this.begun.get(producerId)
    this.begun.delete(producerId)
    if (kind === 'abort' && firstOffset !== undefined) this.aborted.push({ producerId, firstOffset, lastOffset: this.next })
    return this.append(controlBatch(kind, { producerId, producerEpoch: 0, timestamp: TIME, coordinatorEpoch: 0 }, nativeCodecs))
  }

  /** What a Fetch answers: the batches in [from, to), and the aborted transactions that overlap them. */
  fetch(from: number, to: number): { batches: RecordBatch[]; aborted: AbortedTransaction[] } {
    return {
      batches: this.batches.filter(({ baseOffset, lastOffset }) => lastOffset >= from && baseOffset < to),
      aborted: this.aborted.filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to),
    }
  }

  private append(bytes: Buffer): this {
    placeBatch(bytes, this.next, 0)
    const batch = only(bytes)
    this.batches.push(batch)
    this.next = batch.lastOffset + 1
    return this
  }
}

function text(batches: readonly RecordBatch[]): string[] {
  return batches.flatMap((batch) => Array.from({ length: batch.count }, (_, i) => String(batch.value(i))))
}

const v = (value: string): Sample => sample('k', value)

describe('a reader of committed records', () => {
  test('sees plain and committed records, and nothing of an aborted transaction nor the control batches', () => {
    const partition = new Partition()
      .data(1, v('aborted'))
      .data(undefined, v('plain'))
      .end('abort', 1)
      .data(1, v('committed'))
      .end('commit', 1)
    const { batches, aborted } = partition.fetch(0, 100)
    const filter = new CommittedFilter()
    expect(filter.next).toBe(undefined)
    expect(text(filter.filter(batches, aborted))).toEqual(['plain', 'committed'])
    expect(filter.next).toBe(partition.next)
  })

  test('sees neither of two transactions that one producer aborted in one fetch', () => {
    const partition = new Partition()
      .data(1, v('a'))
      .end('abort', 1)
      .data(1, v('b'))
      .end('abort', 1)
      .data(1, v('committed'))
      .end('commit', 1)
    const { batches, aborted } = partition.fetch(0, 100)
    expect(aborted).toHaveLength(2)
    expect(text(new CommittedFilter().filter(batches, aborted))).toEqual(['committed'])
  })

  test.each(['once', 'with every fetch'])('sees nothing of an aborted transaction that is larger than a fetch, named %s', (named) => {
    const partition = new Partition()
      .data(1, v('a'))
      .data(1, v('b'))
      .data(1, v('c'))
      .end('abort', 1)
      .data(1, v('committed'))
      .end('commit', 1)
    const filter = new CommittedFilter()
    const seen: string[] = []
    for (let from = 0; from < partition.next; from = filter.next ?? 0) {
      const { batches, aborted } = partition.fetch(from, from + 1)
      seen.push(...text(filter.filter(batches, named === 'once' && from > 0 ? [] : aborted)))
    }
    expect(seen).toEqual(['committed'])
  })

  test('sees nothing of aborted transactions that overlap, listed in the order in which they ended', () => {
    const partition = new Partition().data(1, v('a')).data(2, v('b')).data(1, v('a')).end('abort', 2).data(1, v('a')).end('abort', 1)
    const { batches, aborted } = partition.data(2, v('committed')).end('commit', 2).fetch(0, 100)
    expect(aborted.map(({ firstOffset }) => firstOffset)).toEqual([1, 0])
    expect(text(new CommittedFilter().filter(batches, aborted))).toEqual(['committed'])
  })

  test('may begin anywhere, also inside two transactions that were aborted', () => {
    const partition = new Partition().data(1, v('a')).data(2, v('b')).data(1, v('a')).data(2, v('b')).end('abort', 1).end('abort', 2)
    partition.data(1, v('c1')).data(2, v('c2')).end('commit', 2).end('commit', 1)
    for (let from = 0; from < partition.next; from++) {
      const { batches, aborted } = partition.fetch(from, 100)
      const expected = ['c1', 'c2'].slice(from > 6 ? from - 6 : 0)
      expect(text(new CommittedFilter().filter(batches, aborted)), `from ${from}`).toEqual(expected)
    }
  })

  test('takes no record for a control record: a key of four zero bytes is data', () => {
    const zeros = { ...v('aborted'), key: Buffer.alloc(4) }
    const partition = new Partition().data(1, zeros, v('aborted')).data(1, v('aborted')).end('abort', 1).data(1, zeros).end('commit', 1)
    const { batches, aborted } = partition.fetch(0, 100)
    const visible = new CommittedFilter().filter(batches, aborted)
    expect(visible.map(({ baseOffset }) => baseOffset)).toEqual([4])
  })

  test('comes to the end of a partition whose last batch compaction emptied, and of one whose tail it removed', () => {
    const partition = new Partition().data(1, v('a'), v('b'), v('c')).end('commit', 1).data(undefined, v('d'), v('e'))
    const [first, marker, last] = partition.batches as [RecordBatch, RecordBatch, RecordBatch]
    const tailGone = compacted(first, (i) => i === 0)
    const emptied = compacted(last, () => false)
    const { batches } = readBatches(Buffer.concat([tailGone, marker.bytes, emptied]), nativeCodecs)
    const filter = new CommittedFilter()
    expect(text(filter.filter(batches.slice(0, 1), []))).toEqual(['a'])
    expect(filter.next).toBe(3)
    const rest = filter.filter(batches.slice(1), [])
    expect([rest.length, text(rest)]).toEqual([1, []])
    expect(filter.next).toBe(partition.next)
  })

  test('sees more than 200,000 records of one fetch', () => {
    const partition = new Partition()
    const many = Array.from({ length: 50_000 }, () => sample(null, null))
    for (let i = 0; i < 5; i++) partition.data(7, ...many).data(8, ...many)
    const { batches, aborted } = partition.end('abort', 8).end('commit', 7).fetch(0, 1_000_000)
    expect(new CommittedFilter().filter(batches, aborted).reduce((sum, { count }) => sum + count, 0)).toBe(250_000)
  })

  test('is told again of a transaction that is over without hiding the next one', () => {
    const partition = new Partition().data(1, v('a')).end('abort', 1).data(1, v('b')).data(1, v('c')).end('commit', 1)
    const filter = new CommittedFilter()
    const { aborted } = partition.fetch(0, 100)
    const seen = [0, 1, 2, 3, 4].flatMap((offset) => filter.filter(partition.fetch(offset, offset + 1).batches, aborted))
    expect(text(seen)).toEqual(['b', 'c'])
  })

  test('notices a step back, and needs to be told of a step ahead', () => {
    const partition = new Partition().data(1, v('a')).data(1, v('a')).end('abort', 1).data(1, v('b')).end('commit', 1)
    const filter = new CommittedFilter()
    const read = (from: number, to: number): string[] => {
      const { batches, aborted } = partition.fetch(from, to)
      return text(filter.filter(batches, aborted))
    }
    expect(read(0, 100)).toEqual(['b'])
    expect(read(1, 100)).toEqual(['b'])
    expect(read(0, 1)).toEqual([])
    filter.reset()
    expect(filter.next).toBe(undefined)
    expect(read(3, 100)).toEqual(['b'])
  })
})

/** What happens to a partition next: a batch of a producer, or the end of its transaction. */
type Event = { readonly producer: number; readonly kind: 'data' | 'plain' | 'commit' | 'abort'; readonly records: number }

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.record({
    producer: fc.integer({ min: 1, max: 4 }),
    kind: fc.constantFrom('data', 'data', 'data', 'plain', 'commit', 'abort'),
    records: fc.integer({ min: 1, max: 3 }),
  }),
  { maxLength: 60 },
)

const anyListing = fc.constantFrom('broker', 'reversed', 'ahead')

test('any history of transactions, fetched in any pieces from anywhere, shows exactly what was committed', () => {
  fc.assert(
    fc.property(events, fc.nat(), fc.infiniteStream(fc.integer({ min: 1, max: 12 })), anyListing, (history, start, sizes, listing) => {
      const partition = new Partition()
      const open = new Map<number, string[]>()
      const committed = new Set<string>()
      let written = 0
      for (const { producer, kind, records } of history) {
        const values = Array.from({ length: records }, () => `${written++}`)
        if (kind === 'plain') {
          partition.data(undefined, ...values.map(v))
          for (const value of values) committed.add(value)
        } else if (kind === 'data') {
          partition.data(producer, ...values.map(v))
          open.set(producer, [...(open.get(producer) ?? []), ...values])
        } else if (open.has(producer)) {
          partition.end(kind, producer)
          if (kind === 'commit') for (const value of open.get(producer) ?? []) committed.add(value)
          open.delete(producer)
        }
      }
      for (const [producer, values] of open) {
        partition.end('commit', producer)
        for (const value of values) committed.add(value)
      }

      const from = partition.next === 0 ? 0 : start % partition.next
      const filter = new CommittedFilter()
      const seen: string[] = []
      let position = from
      while (position < partition.next) {
        const { batches, aborted } = partition.fetch(position, position + (sizes.next().value as number))
        // A broker names what overlaps, in the order of the ends; another log may name all that is to come, and that only once.
        const ahead = position === from ? partition.fetch(from, partition.next).aborted : []
        const named = { broker: aborted, reversed: aborted.toReversed(), ahead }[listing]
        seen.push(...text(filter.filter(batches, named)))
        position = filter.next as number
      }
      // Batches are whole, so the first may begin before the position.
      const all = partition.batches.filter(({ control, lastOffset }) => !control && lastOffset >= from)
      expect(seen).toEqual(text(all).filter((value) => committed.has(value)))
      expect(position).toBe(partition.next)
    }),
    { numRuns: 150 },
  )
})
