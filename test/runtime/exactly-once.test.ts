/** The promises of the commit, through the front door: facts in, rows out, the process killed in between. */
import { describe, expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { CRASH, harness } from '#tidemark/testing'
import { TidemarkError } from '../../src/base/errors.ts'
import type { CommitOutcome, Log, Writer } from '../../src/ports/log.ts'
import { billing, Consent, consents, optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Item, item } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

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

/** Nothing in it would drop what comes twice. */
const passing = topology('passing', (flow) => {
  flow.stream('in', { key: text, value: Item }, { partitions: 2 }).to('out-step', 'out', { partitions: 1 })
  return []
})
/** A log whose writers' commits go through `commit`. */
const committing = (log: Log, commit: (writer: Writer, positions: Parameters<Writer['commit']>[0]) => Promise<CommitOutcome>): Log => {
  const wrapped = Object.create(log) as Log
  wrapped.writer = async (id) => {
    const writer = await log.writer(id)
    return {
      id: writer.id,
      append: (partition, batch) => writer.append(partition, batch),
      commit: (positions) => commit(writer, positions),
      abort: () => writer.abort(),
      close: () => writer.close(),
    }
  }
  return wrapped
}
const numbersIn = async (cluster: Cluster): Promise<number[]> => (await cluster.values('out', Item)).map(([, { n }]) => n)

describe('a commit', () => {
  const outcomes: Record<string, (writer: Writer, positions: Parameters<Writer['commit']>[0]) => Promise<CommitOutcome>> = {
    'that the log aborted is made again': async (writer) => {
      await writer.abort()
      return { kind: 'aborted', error: new TidemarkError('COMMIT_ABORTED', 'the log aborted it') }
    },
    'that nobody knows of, and that was lost, is made again': async (writer) => {
      await writer.abort()
      return { kind: 'in-doubt', error: new TidemarkError('COMMIT_IN_DOUBT', 'no answer') }
    },
    'that nobody knows of, and that went through, is not made again': async (writer, positions) => {
      await writer.commit(positions)
      return { kind: 'in-doubt', error: new TidemarkError('COMMIT_IN_DOUBT', 'no answer') }
    },
    'whose answer is an error, although it went through, is not made again': async (writer, positions) => {
      await writer.commit(positions)
      throw new TidemarkError('LOG_IO', 'the connection broke')
    },
  }
  test.each(Object.keys(outcomes))('%s: every record is there once', async (name) => {
    const cluster = await Cluster.open()
    let failures = 0
    const over = (log: Log): Log =>
      committing(log, async (writer, positions) => {
        if (failures === 3 || positions.length === 0) return writer.commit(positions)
        failures += 1
        return (outcomes[name] as (typeof outcomes)[string])(writer, positions)
      })
    await cluster.start(passing, 'w', { over })
    await cluster.settle()
    for (let n = 1; n <= 6; n++) {
      await cluster.put('in', Item, [['k', item(n)]])
      await cluster.settle()
    }
    expect(failures).toBe(3)
    expect(await numbersIn(cluster)).toEqual([1, 2, 3, 4, 5, 6])
    await cluster.close()
  })

  test('of a worker that the group has replaced is refused by its generation, also where nobody fenced its writer', async () => {
    const cluster = await Cluster.open()
    const unfencing = (log: Log): Log => {
      const wrapped = Object.create(log) as Log
      wrapped.fence = async () => {}
      return wrapped
    }
    await cluster.start(passing, 'w0', { over: unfencing })
    await cluster.settle()
    let wake = (): void => {}
    const slept = new Promise<void>((resolve) => {
      wake = resolve
    })
    let began = false
    let paused = false
    let outcome: CommitOutcome | undefined
    await cluster.start(passing, 'w1', {
      over: (log) =>
        committing(log, async (writer, positions) => {
          if (!began || paused) return writer.commit(positions)
          paused = true
          await slept
          outcome = await writer.commit(positions)
          return outcome
        }),
    })
    await cluster.settle()
    began = true
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`)
    await cluster.put(
      'in',
      Item,
      keys.map((key, i) => [key, item(i)] as const),
    )
    await cluster.until(() => paused)
    cluster.members.get('w1')?.stop()
    const survivor = cluster.members.get('w0')?.app
    await cluster.until(() => survivor?.tasks.length === 2 && survivor.ready && survivor.lag() === 0)
    await cluster.rest()
    wake()
    await cluster.turns(300)
    expect(outcome).toMatchObject({ kind: 'rejected', error: { code: 'COMMIT_REJECTED' } })
    cluster.kill('w1')
    await cluster.settle()
    expect((await numbersIn(cluster)).sort((a, b) => a - b)).toEqual(keys.map((_, i) => i))
    await cluster.close()
  })
})

test.each(['commit.before-decision', 'commit.after-decision', 'commit.after-stores'])(
  'a crash at %s, with half of a batch behind the commit and half before it, repeats none of its records and loses none',
  async (at) => {
    const cluster = await Cluster.open()
    let commits = 0
    const hang: { at?: string; hit: () => void } = { hit: () => undefined }
    const count = (log: Log): Log =>
      committing(log, (writer, positions) => {
        commits += 1
        // The process dies within its second commit of the batch.
        if (commits === 2) hang.at = at
        return writer.commit(positions)
      })
    let dead = false
    hang.hit = () => {
      dead = true
    }
    // A record a commit.
    const settings = { turnRecords: 1, commitBytes: 1 } as const
    await cluster.start(passing, 'w', { ...settings, hang, over: count })
    await cluster.settle()
    commits = 0
    const records = Array.from({ length: 8 }, (_, i) => ['k', item(i + 1)] as const)
    await cluster.put('in', Item, records, 'plainly')
    await cluster.until(() => dead)
    expect(commits).toBeLessThan(5)
    cluster.kill('w')
    await cluster.start(passing, 'w', settings)
    await cluster.settle()
    expect(await numbersIn(cluster)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    await cluster.close()
  },
)
