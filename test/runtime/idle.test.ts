/** What a read says of its age when nothing happens: silence of a source that answers is not lag. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { NOTHING_KNOWN, planOf } from '../../src/plan/planner.ts'
import type { Fetched, Reader } from '../../src/ports/log.ts'
import { Fetcher } from '../../src/runtime/fetcher.ts'
import { Frontier } from '../../src/runtime/frontier.ts'
import { Stages } from '../../src/runtime/stages.ts'
import { DEFAULT_OPTIONS } from '../../src/runtime/world.ts'
import { openWorld } from '../../src/start.ts'
import { billing, Consent, consents, optIn, preferences } from '../fixtures/crm.ts'

const quietBusiness = topology('quiet-business', (flow) => [
  flow
    .inbox('consent-changes', [
      flow
        .source(preferences)
        .dedupe('preferences-once')
        .translate('preferences-as-consent', consents, {
          EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
          EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
        }),
    ])
    .project('consent', {
      row: Consent,
      owner: billing,
      identity: 'preferences-once',
      windows: { 'contact-preferences': { target: '5s', max: '1m' } },
      fold: {
        ConsentGranted: (row) => ({ mayInvoiceByEmail: true, changes: (row?.changes ?? 0) + 1 }),
        ConsentWithdrawn: (row) => ({ mayInvoiceByEmail: false, changes: (row?.changes ?? 0) + 1 }),
      },
    }),
])

test('an idle source is not stale: ten minutes later its projection is as fresh as when the last fact came', async () => {
  const run = harness(quietBusiness)
  await run.feed(preferences, [optIn('c-1', 1)])
  await run.advance('10m')
  const { freshness } = await (await run.view('consent')).get('c-1')
  expect(freshness).toMatchObject({ state: 'fresh' })
  expect('ageMs' in freshness && freshness.ageMs).toBeLessThan(5_000)
  await run.close()
})

test('an idle partition is known to be idle although its neighbour always has something', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'tidemark-'))
  const opened = await openWorld({ dir })
  const { world } = opened
  const stages = await Stages.make(planOf(quietBusiness.graph), NOTHING_KNOWN, world, DEFAULT_OPTIONS)
  const plans = stages.tasks.filter(({ stage }) => stage.name === 'contact-preferences')
  const signal = new AbortController().signal
  const tasks = await Promise.all(plans.map((plan) => stages.open(plan, signal, () => {})))
  const frontier = new Frontier(new Set([preferences.topic]))
  for (const [i, task] of tasks.entries()) {
    task.life.to('running')
    frontier.opened(plans[i] as (typeof plans)[number], task)
  }
  const busy: Fetched = { kind: 'batches', partition: `${preferences.topic}/0`, batches: [], next: 0, high: 0, stable: 0, logStart: 0 }
  const reader: Reader = { assign: () => {}, pause: () => {}, poll: async () => [busy], close: async () => {} }
  const stopped = (): never => expect.unreachable('nothing fails here')
  const fetcher = new Fetcher({
    world,
    options: DEFAULT_OPTIONS,
    frontier,
    reader,
    signal,
    onStopped: stopped,
    onBroken: stopped,
    onAnswer: () => {},
  })
  fetcher.fetch(tasks)
  await fetcher.settled()
  const now = world.clock.now()
  expect(now - (frontier.reachedAt(`${preferences.topic}/1`, now) ?? 0)).toBeLessThan(60_000)
  for (const task of tasks) await task.close()
  await opened.close()
  await rm(dir, { recursive: true })
})
