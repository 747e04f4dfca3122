/** A contract with a sequence, folded directly from its source: each fact once, in order, added up, and published. */

import { context, contract, schema, text, topology } from '#tidemark'
import { fed, type Recorded } from '../../../src/testing/simulate.ts'
import { BEGIN_MS, below, type Case, factId, inSequence } from './case.ts'

const till = context('till', { owner: 'shop-floor' })
const Sold = schema<{ cents: number }>({ type: 'record', name: 'Sold', namespace: 'till', fields: [{ name: 'cents', type: 'int' }] })
const Returned = schema<{ cents: number }>({
  type: 'record',
  name: 'Returned',
  namespace: 'till',
  fields: [{ name: 'cents', type: 'int' }],
})
const Takings = schema<{ cents: number; facts: number; last: number }>({
  type: 'record',
  name: 'Takings',
  namespace: 'till',
  fields: [
    { name: 'cents', type: 'long' },
    { name: 'facts', type: 'int' },
    { name: 'last', type: 'int' },
  ],
})

const receipts = contract('receipts', {
  owner: till,
  version: 1,
  topic: 'till.receipts.v1',
  partitions: 2,
  key: text,
  sequence: 'per key',
  meaning: 'what a till has taken and given back',
  events: { Sold, Returned },
})

const counting = topology('counting', (flow) => [
  flow
    .source(receipts)
    .dedupe('receipts-once')
    .order('receipts-in-sequence')
    .project('takings', {
      row: Takings,
      owner: till,
      identity: 'receipts-once',
      publish: 'till.takings.v1',
      windows: { receipts: { target: '5s', max: '1m' } },
      fold: {
        Sold: (row, { cents }) => ({ cents: (row?.cents ?? 0) + cents, facts: (row?.facts ?? 0) + 1, last: cents }),
        Returned: (row, { cents }) => ({ cents: (row?.cents ?? 0) - cents, facts: (row?.facts ?? 0) + 1, last: -cents }),
      },
    }),
])

const rows = (records: readonly Recorded[]): Map<string, { cents: number; facts: number; last: number }> => {
  const takings = new Map<string, { cents: number; facts: number; last: number }>()
  for (const { key = '', value } of inSequence(records)) {
    const { type, cents } = value as { type: string; cents: number }
    const signed = type === 'Sold' ? cents : -cents
    const before = takings.get(key) ?? { cents: 0, facts: 0, last: 0 }
    takings.set(key, { cents: before.cents + signed, facts: before.facts + 1, last: signed })
  }
  return takings
}

export const countingCase: Case = {
  name: 'counting',
  about: 'a contract with a sequence: deduped, ordered, added up from its source, published',
  topology: counting,
  feed: (random) => {
    const numbers = new Map<string, number>()
    return Array.from({ length: 30 + below(random, 40) }, (_, i) => {
      const key = `till-${below(random, 5)}`
      const sequence = (numbers.get(key) ?? 0) + 1
      numbers.set(key, sequence)
      const cents = 1 + below(random, 1_000)
      const fact = random.unit() < 0.8 ? receipts.make.Sold(key, { cents }) : receipts.make.Returned(key, { cents })
      return fed(receipts, fact, { at: BEGIN_MS + i * 250, id: factId('receipt', key, sequence), sequence })
    })
  },
  oracle: {
    rows: { takings: rows },
    account: (count) => {
      const entered = count('records_in', 'receipts') - count('dead', 'receipts') - count('duplicate', 'receipts-once')
      const waits = count('gap', 'receipts-in-sequence') + count('held', 'receipts-in-sequence') - count('released', 'receipts-in-sequence')
      const dropped = count('duplicate', 'receipts-in-sequence') + count('stale', 'receipts-in-sequence')
      const applied = count('applied', 'takings')
      return entered === applied + waits + dropped
        ? undefined
        : `${entered} facts entered, ${applied} were applied, ${waits} wait, ${dropped} were dropped`
    },
  },
}
