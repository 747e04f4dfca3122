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
