/** The promises of the commit, through the front door: facts in, rows out, the process killed in between. */
import { expect, test } from 'vitest'
import { topology } from '#tidemark'
import { CRASH, harness } from '#tidemark/testing'
import { billing, Consent, consents, optIn, optOut, preferences } from '../fixtures/crm.ts'

const crmToBilling = topology('crm-to-billing', (flow) => {
  const facts = flow
    .source(preferences)
    .dedupe('preferences-once')
    .order('preferences-in-sequence')
    .translate('preferences-as-consent', consents, {
      EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
      EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
    })
  return [
    flow.inbox('consent-changes', [facts]).project('consent', {
      row: Consent,
      owner: billing,
      identity: 'preferences-once',
      publish: 'billing.consent.state.v1',
      windows: { 'contact-preferences': { target: '5s', max: '1m' } },
      fold: {
        ConsentGranted: (row) => ({ mayInvoiceByEmail: true, changes: (row?.changes ?? 0) + 1 }),
        ConsentWithdrawn: (row) => ({ mayInvoiceByEmail: false, changes: (row?.changes ?? 0) + 1 }),
      },
    }),
  ]
})

const rowsOf = async (items: Parameters<ReturnType<typeof harness<typeof crmToBilling.projections>>['feed']>[1]): Promise<unknown> => {
  const run = harness(crmToBilling)
  await run.feed(preferences, items as never)
  const rows = await run.rows('consent')
  await run.close()
  return rows
}

test('facts become rows', async () => {
  expect(await rowsOf([optIn('c-1', 1), optIn('c-2', 1), optOut('c-1', 2)])).toEqual({
    'c-1': { mayInvoiceByEmail: false, changes: 2 },
    'c-2': { mayInvoiceByEmail: true, changes: 1 },
  })
})

test('a fact that comes twice is applied once', async () => {
  const run = harness(crmToBilling)
  await run.feed(preferences, [optIn('c-1', 1, { sequence: 1 }), optIn('c-1', 1, { sequence: 1 }), optOut('c-1', 2, { sequence: 2 })])
  expect(await run.rows('consent')).toEqual({ 'c-1': { mayInvoiceByEmail: false, changes: 2 } })
  expect(run.count('duplicate', 'preferences-once')).toBe(1)
  await run.close()
})

test('a late fact waits for its predecessor, through a restart', async () => {
  const run = harness(crmToBilling)
  await run.feed(preferences, [optOut('c-1', 2, { sequence: 2 })])
  expect(await run.rows('consent')).toEqual({})
  await run.restart()
  await run.feed(preferences, [optIn('c-1', 1, { sequence: 1 })])
  expect(await run.rows('consent')).toEqual({ 'c-1': { mayInvoiceByEmail: false, changes: 2 } })
  await run.close()
})

for (const [point, crash] of Object.entries(CRASH)) {
  test(`a crash at ${point} applies every fact once`, async () => {
    const run = harness(crmToBilling)
    await run.feed(preferences, [optIn('c-1', 1), crash, optOut('c-1', 2), crash, optIn('c-2', 1), crash, optIn('c-1', 3)])
    expect(await run.rows('consent')).toEqual({
      'c-1': { mayInvoiceByEmail: true, changes: 3 },
      'c-2': { mayInvoiceByEmail: true, changes: 1 },
    })
    expect((await run.topic('crm-to-billing-consent-changes-g1-inbox')).filter(({ key }) => key !== undefined)).toHaveLength(4)
    await run.close()
  })
}

test('the state topic ends with the same rows as the view', async () => {
  const run = harness(crmToBilling)
  await run.feed(preferences, [optIn('c-1', 1), CRASH.afterDecision, optOut('c-1', 2)])
  const published = await run.values('billing.consent.state.v1', Consent)
  expect(Object.fromEntries(published.map(([key, value]) => [key, value]))).toEqual(await run.rows('consent'))
  await run.close()
})

test('a projection rebuilt from its inbox has the state hash of the live one, and goes on from there', async () => {
  const run = harness(crmToBilling)
  await run.feed(preferences, [optIn('c-1', 1), optOut('c-1', 2), optIn('c-2', 1)])
  const before = await run.stateHash('consent')
  const replayed = await run.replay('consent')
  expect(replayed).toMatchObject({
    equal: true,
    switched: true,
    generation: { live: 1, rebuilt: 2 },
    projections: [{ name: 'consent', live: before, rebuilt: before }],
  })
  expect(await run.stateHash('consent')).toBe(before)
  await run.feed(preferences, [optIn('c-1', 3)])
  expect(await run.rows('consent')).toEqual({
    'c-1': { mayInvoiceByEmail: true, changes: 3 },
    'c-2': { mayInvoiceByEmail: true, changes: 1 },
  })
  await run.close()
})

test('verify finds nothing where nothing is wrong', async () => {
  const run = harness(crmToBilling)
  await run.feed(preferences, [optIn('c-1', 1), optOut('c-1', 2, { sequence: 3 }), optIn('c-2', 1)])
  const verified = await run.verify()
  expect(verified.problems).toEqual([])
  expect(verified.rows).toBeGreaterThan(4)
  await run.close()
})
