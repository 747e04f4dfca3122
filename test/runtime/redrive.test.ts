/** Redrive: a dead letter goes on where it failed, once, and as the fact that it was. */
import { describe, expect, test } from 'vitest'
import { contract, text, topology } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'
import { derivedId } from '../../src/contract/envelope.ts'
import { deadTopic } from '../../src/plan/naming.ts'
import { type Letter, letterTopics, readLetters } from '../../src/runtime/letters.ts'
import { type Redriven, type RedriveOptions, Redriver } from '../../src/runtime/redrive.ts'
import { Consent, consents, crm, EmailOptIn, optIn, preferences } from '../fixtures/crm.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

type Any = Harness<readonly unknown[]>

/** Redrives every letter of a step, or of all, and says what became of each. */
async function redrive(
  run: Any,
  graph: Parameters<typeof letterTopics>[1],
  options: Partial<RedriveOptions> = {},
  step?: string,
): Promise<Redriven[]> {
  return run.offline(async (world) => {
    const redriver = await Redriver.open(graph, world, { alone: true, ...options })
    const outcomes: Redriven[] = []
    try {
      for (const of of await letterTopics(world.log, graph)) {
        if (step !== undefined && of.step !== step) continue
        for await (const letter of readLetters(world.log, of)) outcomes.push(await redriver.redrive(letter))
      }
    } finally {
      await redriver.close()
    }
    return outcomes
  })
}

function letters(run: Any, graph: Parameters<typeof letterTopics>[1]): Promise<Letter[]> {
  return run.offline(async (world) => {
    const all: Letter[] = []
    for (const of of await letterTopics(world.log, graph)) for await (const letter of readLetters(world.log, of)) all.push(letter)
    return all
  })
}

interface Faults {
  /** Versions of opt-ins that the translation cannot stand. */
  readonly translating?: readonly number[]
  /** Versions that the projection cannot. */
  readonly folding?: readonly number[]
}

/** Contacts become consents: two stages, with an inbox between. */
const billing = ({ translating = [], folding = [] }: Faults = {}) =>
  topology('billing', (flow) => [
    flow
      .inbox('consents', [
        flow
          .source(preferences)
          .dedupe('once')
          .order('in-sequence')
          .translate('as-consent', consents, {
            EmailOptIn: (event, fact) => {
              if (translating.includes(event.version)) throw new RangeError(`version ${event.version} is cursed`)
              return consents.make.ConsentGranted(fact.key, { version: event.version })
            },
            EmailOptOut: 'ignore',
          }),
      ])
      .project('consent', {
        row: Consent,
        identity: 'once',
        windows: { 'contact-preferences': { target: '5s', max: '1m' } },
        fold: {
          ConsentGranted: (row, event) => {
            if (folding.includes(event.version)) throw new RangeError('no such version')
            return { mayInvoiceByEmail: true, changes: (row?.changes ?? 0) + event.version }
          },
          ConsentWithdrawn: (row) => ({ mayInvoiceByEmail: false, changes: row?.changes ?? 0 }),
        },
      }),
  ])
const FACTS = [optIn('a', 1, { id: 'a1' }), optIn('a', 2, { id: 'a2' }), optIn('a', 3, { id: 'a3' }), optIn('b', 1, { id: 'b1' })]

test('what a translation refused goes on behind dedupe and order, with the id that it would have had, and only once', async () => {
  const broken = harness(billing({ translating: [2] }))
  await broken.feed(preferences, FACTS)
  const run = harness(billing(), { after: broken })
  await broken.close()
  expect(await redrive(run, billing().graph)).toEqual([{ kind: 'redriven' }])
  expect(await redrive(run, billing().graph)).toEqual([{ kind: 'already' }])
  await run.settle()
  expect(await run.rows('consent')).toEqual({ a: { mayInvoiceByEmail: true, changes: 6 }, b: { mayInvoiceByEmail: true, changes: 1 } })
  const inbox = (await run.topic('billing-consents-g1-inbox')).filter(({ key }) => key === 'a')
  expect(inbox.map(({ headers }) => headers.ce_id)).toEqual(['a1', 'a3', 'a2'].map((id) => derivedId(id, 'as-consent', 0)))
  const source = (await run.topic('crm.preferences.v1')).find(({ headers }) => headers.ce_id === 'a2')
  // Whence it came is what it was, not the topic of dead letters.
  expect(inbox[2]?.headers).toMatchObject({ tm_origin: `crm.preferences.v1/${source?.partition}@${source?.offset}`, ce_causationid: 'a2' })
  expect(inbox[2]?.headers).not.toHaveProperty('tm_step')
  expect(await run.replay('consent')).toMatchObject({ equal: true })
  await run.close()
})

test('what a projection refused is applied to its row, and a rebuild, which reads it where it was, comes to the same', async () => {
  const broken = harness(billing({ folding: [2] }))
  await broken.feed(preferences, FACTS)
  expect(await broken.rows('consent')).toMatchObject({ a: { changes: 4 } })
  const run = harness(billing(), { after: broken })
  await broken.close()
  expect(await redrive(run, billing().graph)).toEqual([{ kind: 'redriven' }])
  expect(await run.rows('consent')).toMatchObject({ a: { changes: 6 }, b: { changes: 1 } })
  expect(await redrive(run, billing().graph)).toEqual([{ kind: 'already' }])
  expect(await run.replay('consent')).toMatchObject({ equal: true, switched: true })
  expect(await run.rows('consent')).toMatchObject({ a: { changes: 6 }, b: { changes: 1 } })
  await run.close()
})

test('a letter of a generation that is gone is refused: the rebuild has read the record, and has a letter of its own where that failed again', async () => {
  const broken = harness(billing({ folding: [2] }))
  await broken.feed(preferences, FACTS)
  expect(await broken.replay('consent')).toMatchObject({ switched: true })
  const before = await letters(broken, billing().graph)
  expect(before.map(({ step, generation, id }) => [step, generation, id])).toEqual(
    [1, 2].map((generation) => ['consent', generation, derivedId('a2', 'as-consent', 0)]),
  )
  const run = harness(billing(), { after: broken })
  const outcomes = await redrive(run, billing().graph)
  expect(outcomes).toMatchObject([
    { kind: 'refused', error: { code: 'REDRIVE_REFUSED', message: expect.stringContaining('2 is live') } },
    { kind: 'redriven' },
  ])
  expect(await run.rows('consent')).toMatchObject({ a: { changes: 6 } })
  await run.close()
})

test('a letter that fails again, there or in a step behind, leaves nothing, and can be redriven later', async () => {
  const flow = (bad: (n: number) => boolean) =>
    topology('two', (flow) => {
      flow
        .stream('in', { key: text, value: Item }, { partitions: 1 })
        .filter('first', ({ n }) => {
          if (bad(n)) throw new Error('not yet')
          return true
        })
        .flatMap('split', ({ n }) => [item(n), item(n + 1)], { value: Item })
        .filter('second', ({ n }) => {
          if (bad(n)) throw new Error('not yet either')
          return true
        })
        .to('out-step', 'out')
      return []
    })
  const broken = harness(flow((n) => n >= 5))
  await broken.put('in', Item, [
    ['k', item(1)],
    ['k', item(5)],
  ])
  await broken.close()
  // Now 5 passes the first step, and of what it is split into, 6 does not pass the second.
  const half = harness(
    flow((n) => n >= 6),
    { after: broken },
  )
  const { graph } = flow(() => false)
  expect(await redrive(half, flow((n) => n >= 6).graph)).toMatchObject([
    { kind: 'fails', error: { code: 'STEP_FAILED', detail: 'Error: not yet either' } },
  ])
  expect(await half.topic('out')).toHaveLength(2)
  expect(await half.dead('second')).toEqual([])
  const mended = harness(
    flow(() => false),
    { after: half },
  )
  await half.close()
  expect(await redrive(mended, graph)).toEqual([{ kind: 'redriven' }])
  expect(await mended.topic('out')).toHaveLength(4)
  await mended.close()
})

test('a dry run says what would happen, and changes nothing', async () => {
  const broken = harness(billing({ translating: [2], folding: [3] }))
  await broken.feed(preferences, FACTS)
  const before = await broken.rows('consent')
  const run = harness(billing({ folding: [3] }), { after: broken })
  await broken.close()
  const { graph } = billing({ folding: [3] })
  for (let again = 0; again < 2; again++)
    expect(await redrive(run, graph, { dryRun: true })).toMatchObject([
      { kind: 'redriven' },
      { kind: 'fails', error: { detail: 'RangeError: no such version' } },
    ])
  expect(await run.rows('consent')).toEqual(before)
  await run.close()
})

test('where somebody else may run the application, only steps that keep nothing are entered, and what to do instead is said', async () => {
  const broken = harness(billing({ translating: [2], folding: [3] }))
  await broken.feed(preferences, FACTS)
  const run = harness(billing(), { after: broken })
  await broken.close()
  const outcomes = await redrive(run, billing().graph, { alone: false })
  expect(outcomes).toMatchObject([
    { kind: 'redriven' },
    { kind: 'refused', error: { code: 'REDRIVE_REFUSED', detail: expect.stringContaining('tidemark replay') } },
  ])
  await run.close()
})

test('what was refused at the door of a stage comes in through it, past dedupe and order, and with them its successor that was held', async () => {
  const open = (sources: readonly string[]) => {
    const facts = contract('contact-preferences', {
      owner: crm,
      version: 1,
      topic: 'crm.preferences.v1',
      partitions: 2,
      key: text,
      sequence: 'per key',
      sources,
      meaning: 'how a contact wants to be reached',
      events: { EmailOptIn },
    })
    const door = topology('door', (flow) => {
      flow.source(facts).dedupe('once').order('in-sequence').to('out-step', 'out')
      return []
    })
    return { facts, door }
  }
  const closed = open(['/crm'])
  const broken = harness(closed.door)
  await broken.app()
  const value = await broken.encode(EmailOptIn, { version: 1, theme: 'dark' })
  const from = (source: string, sequence: number) => ({
    key: 'c',
    value,
    headers: Object.entries({ ce_id: `id-${sequence}`, ce_source: source, ce_type: 'crm.EmailOptIn', ce_sequence: `${sequence}` }).map(
      ([name, text]) => ({ name, value: Buffer.from(text) }),
    ),
  })
  await broken.send('crm.preferences.v1', [from('/partner', 1), from('/crm', 2)])
  expect(await broken.topic('out')).toEqual([])
  const opened = open(['/crm', '/partner'])
  const run = harness(opened.door, { after: broken })
  await broken.close()
  expect(await redrive(run, opened.door.graph)).toEqual([{ kind: 'redriven' }])
  expect((await run.topic('out')).map(({ headers }) => headers.ce_id)).toEqual(['id-1', 'id-2'])
  await run.close()
})

describe('what cannot be put back is refused with its reason:', () => {
  const plain = topology('plain', (flow) => [
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .filter('sieve', ({ n }) => n > 0)
      .project('sum', { row: Sum, gate: { version: (v) => v.n }, fold: (row, v) => summed(row, v) }),
  ])

  test('a value that was too large to be kept', async () => {
    const run = harness(plain)
    await run.app()
    await run.send('in', [{ key: 'k', value: Buffer.alloc(1_000_000, 'x') }])
    expect(await redrive(run, plain.graph)).toMatchObject([
      {
        kind: 'refused',
        error: { message: 'a dead letter cannot be put back: its value could not be kept', detail: 'The record is at in/0@0.' },
      },
    ])
    await run.close()
  })

  test('a record that is none of tidemark’s letters', async () => {
    const run = harness(plain)
    await run.app()
    await run.send(deadTopic('plain', 'sieve', 1), [{ key: 'k', value: Buffer.from('v') }])
    expect(await redrive(run, plain.graph)).toMatchObject([
      { kind: 'refused', error: { message: expect.stringContaining('no dead letter') } },
    ])
    await run.close()
  })
})

test('a letter is read as it was: the record’s own headers, also those that are called like ours, and what was noted beside them', async () => {
  const broken = harness(billing({ folding: [2] }))
  await broken.feed(preferences, FACTS)
  const [source] = (await broken.topic('billing-consents-g1-inbox')).filter(({ headers }) => headers.ce_causationid === 'a2')
  const [letter] = await letters(broken, billing().graph)
  expect(Object.fromEntries((letter as Letter).headers.map(({ name, value }) => [name, value?.toString()]))).toEqual(source?.headers)
  expect(letter).toMatchObject({
    step: 'consent',
    generation: 1,
    offset: 0,
    origin: { topic: 'billing-consents-g1-inbox', partition: source?.partition, offset: source?.offset },
    code: 'STEP_FAILED',
    detail: 'RangeError: no such version',
    attempts: 1,
    id: derivedId('a2', 'as-consent', 0),
    type: 'billing.ConsentGranted',
    lacks: [],
  })
  expect(letter?.key?.toString()).toBe('a')
  expect(letter?.value?.equals(source?.value as Buffer)).toBe(true)
  await broken.close()
})

test('a crash at any moment of a redrive leaves it done or not begun', async () => {
  for (const point of [
    'commit.before-outputs',
    'commit.after-outputs',
    'commit.after-changelogs',
    'commit.before-decision',
    'commit.after-decision',
    'commit.after-stores',
  ]) {
    const broken = harness(billing({ folding: [2] }))
    await broken.feed(preferences, FACTS)
    const run = harness(billing(), { after: broken })
    await broken.close()
    const { graph } = billing()
    await run.offline(async (world) => {
      const dying = {
        ...world,
        failpoint: {
          hit: (name: string) => (name === point ? Promise.reject(new Error('dies here')) : undefined),
          armed: (name: string) => name === point,
        },
      }
      const redriver = await Redriver.open(graph, dying, { alone: true })
      for (const of of await letterTopics(world.log, graph))
        for await (const letter of readLetters(world.log, of)) await expect(redriver.redrive(letter)).rejects.toThrow('dies here')
      await redriver.close()
    })
    const [again] = await redrive(run, graph)
    const decided = point === 'commit.after-decision' || point === 'commit.after-stores'
    expect([point, again?.kind]).toEqual([point, decided ? 'already' : 'redriven'])
    expect(await run.rows('consent')).toMatchObject({ a: { changes: 6 }, b: { changes: 1 } })
    expect(await run.replay('consent')).toMatchObject({ equal: true })
    await run.close()
  }
})
