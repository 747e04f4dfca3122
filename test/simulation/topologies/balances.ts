/** A projection that replaces: the version in its facts decides, and closing an account deletes its row. Nothing is deduped or ordered before it. */
import { context, contract, schema, text, topology } from '#tidemark'
import { fed, type Recorded } from '../../../src/testing/simulate.ts'
import { BEGIN_MS, below, type Case, factId, sequenceOf } from './case.ts'

const bank = context('bank', { owner: 'accounts' })
const Opened = schema<{ holder: string; cents: number }>({
  type: 'record',
  name: 'Opened',
  namespace: 'bank',
  fields: [
    { name: 'holder', type: 'string' },
    { name: 'cents', type: 'long' },
  ],
})
const Closed = schema<{ why: string }>({ type: 'record', name: 'Closed', namespace: 'bank', fields: [{ name: 'why', type: 'string' }] })
const Balance = schema<{ holder: string; cents: number }>({
  type: 'record',
  name: 'Balance',
  namespace: 'bank',
  fields: [
    { name: 'holder', type: 'string' },
    { name: 'cents', type: 'long' },
  ],
})

const accounts = contract('accounts', {
  owner: bank,
  version: 1,
  topic: 'bank.accounts.v1',
  partitions: 3,
  key: text,
  sequence: 'per key',
  meaning: 'how an account stands',
  events: { Opened, Closed },
})

const balances = topology('balances', (flow) => [
  flow.source(accounts).project('balances', {
    row: Balance,
    owner: bank,
    gate: { version: (_event, { sequence }) => sequence ?? 0 },
    publish: 'bank.balances.v1',
    windows: { accounts: { target: '5s', max: '1m' } },
    fold: {
      Opened: (_row, { holder, cents }) => ({ holder, cents }),
      Closed: () => undefined,
    },
  }),
])

type Row = { holder: string; cents: number }

export const balancesCase: Case = {
  name: 'balances',
  about: 'a projection that replaces by version, with deletes, and nothing before it',
  topology: balances,
  feed: (random) => {
    const numbers = new Map<string, number>()
    return Array.from({ length: 40 + below(random, 40) }, (_, i) => {
      const key = `account-${below(random, 6)}`
      // Some versions are never sent, and some are claimed by two different facts.
      const sequence = Math.max(1, (numbers.get(key) ?? 0) + (random.unit() < 0.1 ? 2 : random.unit() < 0.1 ? 0 : 1))
      numbers.set(key, sequence)
      const fact =
        random.unit() < 0.75
          ? accounts.make.Opened(key, { holder: `h-${below(random, 9)}`, cents: below(random, 100_000) })
          : accounts.make.Closed(key, { why: 'asked' })
      return fed(accounts, fact, { at: BEGIN_MS + i * 200, id: factId('account', key, i), sequence })
    })
  },
  oracle: {
    rows: {
      balances: (records: readonly Recorded[]) => {
        const rows = new Map<string, Row>()
        const versions = new Map<string, number>()
        for (const record of records) {
          const { key = '', value } = record
          const version = sequenceOf(record) ?? 0
          if (version <= (versions.get(key) ?? 0)) continue
          versions.set(key, version)
          const { type, holder, cents } = value as Row & { type: string }
          if (type === 'Closed') rows.delete(key)
          else rows.set(key, { holder, cents })
        }
        return rows
      },
    },
    account: (count) => {
      const entered = count('records_in', 'accounts') - count('dead', 'accounts')
      const [applied, stale, same, conflict] = (['applied', 'stale', 'duplicate', 'conflict'] as const).map((name) =>
        count(name, 'balances'),
      )
      const left = (applied ?? 0) + (stale ?? 0) + (same ?? 0) + (conflict ?? 0)
      return entered === left ? undefined : `${entered} facts entered, ${left} were applied, stale, the same or in conflict`
    },
  },
}
