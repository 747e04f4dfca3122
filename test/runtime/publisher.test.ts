/** The producing side: a context publishes what it owns, numbered without holes, whatever happens in between. */
import { describe, expect, test } from 'vitest'
import { compound, contract, publisher, Transaction, text, topology } from '#tidemark'
import { type Harness, harness } from '#tidemark/testing'
import type { Log, Writer } from '../../src/ports/log.ts'
import { billing, consents, crm, EmailOptIn, EmailOptOut, optIn, optOut, preferences } from '../fixtures/crm.ts'

const following = topology('following', (flow) => {
  flow.source(preferences).order('in-sequence').to('out-step', 'out')
  return []
})
type Run = Harness<readonly []>
const sequences = async (run: Run, key = 'c'): Promise<number[]> =>
  (await run.topic('crm.preferences.v1')).filter((each) => each.key === key).map(({ headers }) => Number(headers.ce_sequence))

describe('a publisher', () => {
  test('refuses facts of a context that it does not speak for', async () => {
    const run = harness(following)
    const log = await run.access()
    expect(() => publisher(preferences, { as: billing, log })).toThrow(
      expect.objectContaining({ code: 'FACT_FOREIGN', message: 'context "billing" does not own contract "contact-preferences"' }),
    )
    await run.close()
  })

  test('numbers the facts of each key from 1, and a new one goes on where the last one stopped', async () => {
    const run = harness(following)
    await run.feed(preferences, [optIn('c', 1), optIn('d', 1), optOut('c', 2)])
    await run.restart()
    await run.feed(preferences, [optIn('c', 3), optIn('e', 1)])
    expect([await sequences(run), await sequences(run, 'd'), await sequences(run, 'e')]).toEqual([[1, 2, 3], [1], [1]])
    expect(await run.topic('out')).toHaveLength(5)
    await run.close()
  })

  test('takes a number that it is given, and counts on from the greatest', async () => {
    const run = harness(following)
    const events = publisher(preferences, { as: crm, log: await run.access() })
    await events.publish(preferences.make.EmailOptIn('c', { version: 1, theme: 'dark' }))
    await events.publish(preferences.make.EmailOptIn('c', { version: 5, theme: 'dark' }), { sequence: 5 })
    await events.publish(preferences.make.EmailOptIn('c', { version: 6, theme: 'dark' }))
    await events.close()
    expect(await sequences(run)).toEqual([1, 5, 6])
    await run.close()
  })

  test('keeps the order of its calls, though nobody waits for them', async () => {
    const run = harness(following)
    const events = publisher(preferences, { as: crm, log: await run.access() })
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        events.publish(preferences.make.EmailOptIn('c', { version: i, theme: 'dark' }), { id: `id-${i}` }),
      ),
    )
    await events.close()
    expect((await run.topic('crm.preferences.v1')).map(({ headers }) => headers.ce_id)).toEqual(
      Array.from({ length: 20 }, (_, i) => `id-${i}`),
    )
    expect(await sequences(run)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    await run.close()
  })

  test.each<[what: string, fact: unknown, about: object, code: string]>([
    ['an event that the contract does not have', { key: 'c', value: { type: 'SmsOptIn', version: 1 } }, {}, 'EVENT_UNKNOWN'],
    ['an event named as every object has something', { key: 'c', value: { type: 'toString' } }, {}, 'EVENT_UNKNOWN'],
    ['a value that does not fit', { key: 'c', value: { type: 'EmailOptIn', version: 'one', theme: 'x' } }, {}, 'VALUE_INVALID'],
    ['a key of another kind', { key: 7, value: { type: 'EmailOptIn', version: 1, theme: 'x' } }, {}, 'KEY_INVALID'],
    ['sequence 0', preferences.make.EmailOptIn('c', { version: 1, theme: 'x' }), { sequence: 0 }, 'OPTION_INVALID'],
    ['half a sequence', preferences.make.EmailOptIn('c', { version: 1, theme: 'x' }), { sequence: 1.5 }, 'OPTION_INVALID'],
    ['a time that is none', preferences.make.EmailOptIn('c', { version: 1, theme: 'x' }), { at: Number.NaN }, 'OPTION_INVALID'],
  ])('refuses %s, and numbers the next fact as if that had not been', async (_what, fact, about, code) => {
    const run = harness(following)
    const events = publisher(preferences, { as: crm, log: await run.access() })
    await expect(events.publish(fact as never, about)).rejects.toMatchObject({ code })
    await events.publish(preferences.make.EmailOptIn('c', { version: 1, theme: 'dark' }))
    await events.close()
    await run.settle()
    expect([await sequences(run), (await run.topic('out')).length]).toEqual([[1], 1])
    await run.close()
  })

  test.each<[what: string, given: (log: object) => unknown[], message: string]>([
    [
      'a contract by its name',
      (log) => ['contact-preferences', { as: crm, log }],
      'what publisher() is given is "contact-preferences", where a contract is meant',
    ],
    ['no options', () => [preferences], 'the publisher of "contact-preferences" is undefined, where options are meant'],
    [
      'a context by its name',
      (log) => [preferences, { as: 'crm', log }],
      'as, of the publisher of "contact-preferences", is "crm", where a context is meant',
    ],
    [
      'no log',
      () => [preferences, { as: crm }],
      'log, of the publisher of "contact-preferences", is undefined, where access to a log is meant',
    ],
    [
      'a log of another kind',
      () => [preferences, { as: crm, log: 'kafka' }],
      'log, of the publisher of "contact-preferences", is "kafka", where access to a log is meant',
    ],
    [
      'a transaction by its name',
      (log) => [preferences, { as: crm, log, within: 'feed-1' }],
      'within, of the publisher of "contact-preferences", is "feed-1", where a transaction is meant',
    ],
  ])('is told what it is given wrong: %s', async (_what, given, message) => {
    const run = harness(following)
    const args = given(await run.access()) as Parameters<typeof publisher>
    expect(() => publisher(...args)).toThrow(
      expect.objectContaining({ name: 'TidemarkError', code: 'OPTION_INVALID', message, hint: expect.stringMatching(/\.$/) }),
    )
    await run.close()
  })

  test('refuses an option that it does not know with the one that was meant, also about a fact', async () => {
    const run = harness(following)
    const log = await run.access()
    expect(() => publisher(preferences, { as: crm, log, witin: 'x' } as never)).toThrow(
      expect.objectContaining({
        message: 'the publisher of "contact-preferences" has no option "witin"',
        hint: 'Did you mean "within"? It has as, log, within.',
      }),
    )
    expect(() => new Transaction(undefined as never, 'feed-1')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => new Transaction(log, 5 as never)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    const events = publisher(preferences, { as: crm, log })
    const fact = preferences.make.EmailOptIn('c', { version: 1, theme: 'dark' })
    for (const [given, about, message] of [
      [fact, { sequnce: 2 }, 'what is said about a fact of "contact-preferences" has no option "sequnce"'],
      [fact, { id: 5 }, 'id of a fact of "contact-preferences" is 5, where a text is meant'],
      [fact, { raw: 'bytes' }, 'raw, of a fact of "contact-preferences", is "bytes", where a Uint8Array is meant'],
      [fact, { at: '2025' }, 'a fact of "contact-preferences" cannot be of time "2025"'],
      [undefined, {}, 'what is published to "contact-preferences" is undefined, where a fact is meant'],
      [
        fact.value,
        {},
        'what is published to "contact-preferences" is {"version":1,"theme":"dark","type":"EmailOptIn"}, where a fact is meant',
      ],
    ] as const)
      await expect(events.publish(given as never, about as never), message).rejects.toMatchObject({ code: 'OPTION_INVALID', message })
    await events.close()
    await run.close()
  })

  test('says of a value or a key that does not fit which event of which contract it is, and under which key', async () => {
    const run = harness(following)
    const events = publisher(preferences, { as: crm, log: await run.access() })
    await expect(events.publish({ key: 'c-7', value: { type: 'EmailOptIn', version: 'one', theme: 'x' } } as never)).rejects.toMatchObject({
      code: 'VALUE_INVALID',
      message: 'event "EmailOptIn" of contract "contact-preferences" cannot be published: a value does not fit its schema (crm.EmailOptIn)',
      detail: expect.stringMatching(/^Field "version" .*\. Its key is "c-7"\.$/) as string,
      hint: expect.any(String) as string,
    })
    await expect(events.publish({ key: 7, value: { type: 'EmailOptIn', version: 1, theme: 'x' } } as never)).rejects.toMatchObject({
      code: 'KEY_INVALID',
      message: 'event "EmailOptIn" of contract "contact-preferences" cannot be published: a text key must be a string, not number',
      hint: expect.any(String) as string,
    })
    await events.close()
    await run.close()
  })

  /** A log whose writers fail as told: `refuse` before the commit, `doubt` behind it, when nobody knows. */
  const unreliable = (log: Log, plan: ('refuse' | 'doubt' | 'work')[]): Log => {
    const wrapped = Object.create(log) as Log
    ;(wrapped as { writer: Log['writer'] }).writer = async (id): Promise<Writer> => {
      const writer = await log.writer(id)
      return {
        id: writer.id,
        append: (partition, batch) => writer.append(partition, batch),
        commit: async (positions) => {
          const fate = plan.shift() ?? 'work'
          if (fate === 'refuse') {
            await writer.abort()
            throw new Error('the broker is away')
          }
          const outcome = await writer.commit(positions)
          if (fate === 'doubt') throw new Error('no answer')
          return outcome
        },
        abort: () => writer.abort(),
        close: () => writer.close(),
      }
    }
    return wrapped
  }
  test.each<[what: string, plan: ('refuse' | 'doubt' | 'work')[], numbers: number[]]>([
    ['that was refused leaves no hole', ['work', 'refuse', 'work', 'work'], [1, 2, 3]],
    [
      'that nobody knows of, and that went through, is not followed by its own number again',
      ['work', 'doubt', 'work', 'work'],
      [1, 2, 3, 4],
    ],
  ])('a fact %s', async (_what, plan, numbers) => {
    const run = harness(following)
    const access = await run.access()
    const events = publisher(preferences, { as: crm, log: { ...access, log: unreliable(access.log, plan) } })
    const outcomes: string[] = []
    for (let i = 0; i < 4; i++) {
      const done = events.publish(preferences.make.EmailOptIn('c', { version: i, theme: 'dark' }))
      outcomes.push(
        await done.then(
          () => 'done',
          () => 'failed',
        ),
      )
    }
    await events.close()
    await run.settle()
    expect(outcomes).toEqual(['done', 'failed', 'done', 'done'])
    expect(await sequences(run)).toEqual(numbers)
    expect(await run.topic('out')).toHaveLength(numbers.length)
    await run.close()
  })
})

describe('a transaction', () => {
  test('shows facts of several contracts together, with the position of their author, or none of them', async () => {
    const run = harness(following)
    const access = await run.access()
    const transaction = new Transaction(access, 'feed-1')
    const one = publisher(preferences, { as: crm, log: access, within: transaction })
    const other = publisher(consents, { as: billing, log: access, within: transaction })
    await one.publish(preferences.make.EmailOptIn('c', { version: 1, theme: 'dark' }))
    await other.publish(consents.make.ConsentGranted('c', { version: 1 }))
    expect([await run.topic('crm.preferences.v1'), await run.topic('billing.consent.v1')]).toEqual([[], []])
    await transaction.commit({ name: 'feed', positions: new Map([['crm.preferences.v1/0', 42]]) })
    expect([(await run.topic('crm.preferences.v1')).length, (await run.topic('billing.consent.v1')).length]).toEqual([1, 1])
    expect(await access.log.committed('feed', ['crm.preferences.v1/0'])).toEqual(new Map([['crm.preferences.v1/0', 42]]))
    await transaction.close()
    await run.close()
  })

  test('of the same author fences the earlier one, which then commits nothing', async () => {
    const run = harness(following)
    const access = await run.access()
    const first = new Transaction(access, 'feed-1')
    const events = publisher(preferences, { as: crm, log: access, within: first })
    await first.open()
    await events.publish(preferences.make.EmailOptIn('c', { version: 1, theme: 'dark' }))
    const second = new Transaction(access, 'feed-1')
    await second.open()
    await expect(first.commit()).rejects.toMatchObject({ code: 'WRITER_FENCED' })
    expect(await run.topic('crm.preferences.v1')).toEqual([])
    await second.close()
    await run.close()
  })
})

test('a compound key is published under the text that URLs have, and found under it', async () => {
  const pairs = contract('pairs', {
    owner: crm,
    version: 1,
    topic: 'crm.pairs',
    partitions: 3,
    key: compound('a', 'b'),
    meaning: 'pairs',
    events: { EmailOptIn },
  })
  const run = harness(
    topology('paired', (flow) => {
      flow.source(pairs).dedupe('once').to('out-step', 'out')
      return []
    }),
  )
  await run.feed(pairs, [pairs.make.EmailOptIn({ a: 'x|y', b: '\\' }, { version: 1, theme: 'dark' })])
  expect((await run.topic('crm.pairs', pairs.key))[0]).toMatchObject({ key: 'x\\|y|\\\\', headers: { ce_partitionkey: 'x\\|y|\\\\' } })
  expect(await run.topic('out')).toHaveLength(1)
  await run.close()
})

test('a publisher makes the topic of its contract where it is missing, as the contract says', async () => {
  const fresh = contract('fresh', {
    owner: crm,
    version: 1,
    topic: 'crm.fresh',
    partitions: 7,
    key: text,
    exchange: 'state',
    meaning: 'new',
    events: { EmailOptOut },
  })
  const run = harness(following)
  const log = await run.access()
  const events = publisher(fresh, { as: crm, log })
  await events.publish(fresh.make.EmailOptOut('c', { version: 1, reason: 'r' }))
  await events.close()
  expect(await log.log.describe(['crm.fresh'])).toMatchObject([{ partitions: 7, cleanup: 'compact' }])
  await run.close()
})
