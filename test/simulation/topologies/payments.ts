/** What fails: bytes that are none, schemas that nobody knows, records without an envelope, functions that throw; dead-lettered or parked. */
import { context, contract, schema, text, topology } from '#tidemark'
import { deadTopic } from '../../../src/plan/naming.ts'
import { type Expected, type Fed, fed, type OutputModel, type Recorded } from '../../../src/testing/simulate.ts'
import { BEGIN_MS, below, type Case, factId, inSequence, isPoison } from './case.ts'

const FRAUD = 666
const UNLUCKY = 13

const billing = context('billing', { owner: 'finance' })
const Paid = schema<{ cents: number }>({ type: 'record', name: 'Paid', namespace: 'billing', fields: [{ name: 'cents', type: 'int' }] })
const Ledger = schema<{ cents: number }>({
  type: 'record',
  name: 'Ledger',
  namespace: 'billing',
  fields: [{ name: 'cents', type: 'long' }],
})

const payments = contract('payments', {
  owner: billing,
  version: 1,
  topic: 'billing.payments.v1',
  partitions: 2,
  key: text,
  sequence: 'per key',
  meaning: 'what a customer has paid',
  events: { Paid },
})

const ledger = topology('payments-ledger', (flow) => [
  flow
    .source(payments)
    .dedupe('payments-once')
    .order('payments-in-sequence')
    .filter('honest', ({ cents }) => {
      if (cents === FRAUD) throw new Error('this is fraud')
      return cents > 0
    })
    .project('ledger', {
      row: Ledger,
      owner: billing,
      identity: 'payments-once',
      windows: { payments: { target: '5s', max: '1m' } },
      onError: 'park',
      fold: {
        Paid: (row, { cents }) => {
          if (cents === UNLUCKY) throw new Error('this one brings bad luck')
          return { cents: (row?.cents ?? 0) + cents }
        },
      },
    }),
])

const isBare = ({ headers }: Recorded): boolean => headers.ce_id === undefined
const centsOf = ({ value }: Recorded): number => (value as { cents: number }).cents

/** A dead letter, as it must be: where it came from, why it is dead, and every byte of it. */
const letter = ({ topic, partition, offset, bytes, headers }: Recorded, code: string): Expected => ({
  lane: `${topic}/${partition}`,
  text: `${offset} ${code} ${bytes?.toString('hex') ?? 'nothing'} sent as ${headers.sim_send ?? '?'}`,
})

const readLetter = ({ bytes, headers }: Recorded): Expected => {
  const [place = '', offset = ''] = (headers.tm_origin ?? '').split('@')
  return {
    lane: place,
    text: `${offset} ${headers.tm_code ?? '?'} ${bytes?.toString('hex') ?? 'nothing'} sent as ${headers.sim_send ?? '?'}`,
  }
}

const whyDead = (record: Recorded): string | undefined => {
  const { bytes } = record
  if (isPoison(record)) return bytes === null || bytes.length < 5 || bytes[0] !== 0 ? 'FRAMING_INVALID' : 'SCHEMA_UNKNOWN'
  return centsOf(record) === FRAUD ? 'STEP_FAILED' : undefined
}

const lettersOf = (step: string, fold: OutputModel['fold']): OutputModel & { readonly to: string } => ({
  from: payments.topic,
  to: deadTopic('payments-ledger', step, 1),
  read: readLetter,
  fold,
})

export const paymentsCase: Case = {
  name: 'payments',
  about: 'poison, unknown schemas, missing envelopes and throwing functions: dead-lettered, or parked with their successors',
  topology: ledger,
  feed: (random) => {
    const numbers = new Map<string, number>()
    return Array.from({ length: 30 + below(random, 40) }, (_, i): Fed => {
      const key = `c-${below(random, 6)}`
      const common = { at: BEGIN_MS + i * 300, id: factId('payment', key, i) }
      const cents = random.unit() < 0.06 ? FRAUD : random.unit() < 0.04 ? UNLUCKY : random.unit() < 0.1 ? 0 : 20 + below(random, 500)
      const fact = payments.make.Paid(key, { cents })
      if (random.unit() < 0.06) return fed(payments, fact, { ...common, bare: true })
      const sequence = (numbers.get(key) ?? 0) + 1
      numbers.set(key, sequence)
      if (random.unit() < 0.08) return fed(payments, fact, { ...common, sequence, raw: Buffer.from(`poison ${i}`) })
      if (random.unit() < 0.08) return fed(payments, fact, { ...common, sequence, raw: Buffer.from([0, 0, 0, 0x27, below(random, 4), i]) })
      return fed(payments, fact, { ...common, sequence })
    })
  },
  oracle: {
    rows: {
      ledger: (records) => {
        const rows = new Map<string, { cents: number }>()
        const parked = new Set<string>()
        for (const record of inSequence(records)) {
          const { key = '' } = record
          if (whyDead(record) !== undefined || parked.has(key) || centsOf(record) <= 0) continue
          if (centsOf(record) === UNLUCKY) parked.add(key)
          else rows.set(key, { cents: (rows.get(key)?.cents ?? 0) + centsOf(record) })
        }
        return rows
      },
    },
    outputs: [
      lettersOf('payments', (records) => records.filter(isBare).map((record) => letter(record, 'ENVELOPE_INVALID'))),
      lettersOf('honest', (records) =>
        inSequence(records.filter((record) => !isBare(record))).flatMap((record) => {
          const code = whyDead(record)
          return code === undefined ? [] : [letter(record, code)]
        }),
      ),
    ],
    account: (count) => {
      const entered = count('records_in', 'payments') - count('dead', 'payments') - count('duplicate', 'payments-once')
      const waits = count('gap', 'payments-in-sequence') + count('held', 'payments-in-sequence') - count('released', 'payments-in-sequence')
      const arrived = entered - waits - count('duplicate', 'payments-in-sequence') - count('stale', 'payments-in-sequence')
      const left = count('dead', 'honest') + count('applied', 'ledger') + count('parked', 'ledger') + count('held', 'ledger')
      // A filter says nothing of what it drops, so what is missing is that.
      return arrived >= left ? undefined : `${arrived} facts passed in sequence, ${left} were applied, dead, parked or held`
    },
  },
}
