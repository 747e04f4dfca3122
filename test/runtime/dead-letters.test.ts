/** A dead letter holds the input of the step that failed, byte for byte, and says where, why, and by which program. */
import { describe, expect, test } from 'vitest'
import { type Topology, text, topology } from '#tidemark'
import { harness, type RawRecord } from '#tidemark/testing'
import { TidemarkError } from '../../src/base/errors.ts'
import { sha256Hex128 } from '../../src/base/sha256.ts'
import { derivedId } from '../../src/contract/envelope.ts'
import type { Log, Writer } from '../../src/ports/log.ts'
import { consents, EmailOptIn, optIn, optOut, preferences } from '../fixtures/crm.ts'
import { Item, item } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

const failing = (bad = 2) =>
  topology('failing', (flow) => {
    flow
      .source(preferences)
      .order('in-sequence')
      .translate('as-consent', consents, {
        EmailOptIn: (event, fact) => {
          if (event.version === bad) throw new RangeError(`version ${event.version} of ${fact.key} is cursed`)
          return consents.make.ConsentGranted(fact.key, { version: event.version })
        },
        EmailOptOut: (event, fact) => consents.make.ConsentWithdrawn(fact.key, { version: event.version }),
      })
      .filter('granted', (event) => {
        if (event.type === 'ConsentWithdrawn') throw new Error('no withdrawals')
        return true
      })
      .to('out-step', 'out')
    return []
  })

test('carries the record as it came, and beside it origin, step, code, reason, attempts, stack, plan, contract version and sequence (I04)', async () => {
  const run = harness(failing())
  await run.feed(preferences, [
    optIn('c', 1, { id: 'one' }),
    { ...optIn('c', 2, { id: 'two', at: 5_000 }), correlationId: 'talk' },
    optIn('c', 3, { id: 'three' }),
  ])
  const source = (await run.topic('crm.preferences.v1'))[1]
  const [letter, ...others] = await run.dead('as-consent')
  expect(others).toEqual([])
  expect(letter).toMatchObject({ key: source?.key, at: 5_000 })
  expect(letter?.value?.equals(source?.value as Buffer)).toBe(true)
  expect(letter?.headers).toEqual({
    ...source?.headers,
    tm_origin: `crm.preferences.v1/${source?.partition}@${source?.offset}`,
    tm_step: 'as-consent',
    tm_code: 'STEP_FAILED',
    tm_reason: 'step "as-consent" threw',
    tm_detail: 'RangeError: version 2 of c is cursed',
    tm_attempts: '1',
    tm_stack: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    tm_plan: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    tm_contractversion: '1',
    tm_sequence: '2',
    tm_failedat: String(run.clock.now()),
  })
  // The key goes on behind it.
  expect((await run.topic('out')).map(({ headers }) => headers.ce_causationid)).toEqual(['one', 'three'])
  await run.close()
})

test('failures at one place in the code have one stack, whatever they say, and at another place another; the plan is the same', async () => {
  const run = harness(failing())
  await run.feed(preferences, [optIn('c', 2), optIn('d', 2), optOut('e', 1)])
  const translated = (await run.dead('as-consent')).map(({ headers }) => headers)
  const filtered = (await run.dead('granted')).map(({ headers }) => headers)
  expect(new Set(translated.map(({ tm_detail }) => tm_detail)).size).toBe(2)
  expect(new Set(translated.map(({ tm_stack }) => tm_stack)).size).toBe(1)
  expect(filtered[0]?.tm_stack).not.toBe(translated[0]?.tm_stack)
  expect(new Set([...translated, ...filtered].map(({ tm_plan }) => tm_plan)).size).toBe(1)
  await run.close()
})

test('of a value that was made on the way is that value, with the identity that it was given', async () => {
  const run = harness(failing())
  await run.feed(preferences, [optOut('c', 7, { id: 'cause' })])
  const [letter] = await run.dead('granted')
  expect(letter).toMatchObject({
    key: 'c',
    headers: {
      ce_id: derivedId('cause', 'as-consent', 0),
      ce_type: 'billing.ConsentWithdrawn',
      ce_source: '/billing',
      ce_causationid: 'cause',
      tm_step: 'granted',
      tm_contractversion: '1',
    },
  })
  const { serdes } = await run.access()
  const codec = await serdes.values('x', {
    readers: new Map([['ConsentWithdrawn', consents.events.ConsentWithdrawn?.avro as never]]),
    tagged: true,
    fields: undefined,
  })
  const value = letter?.value as Buffer
  await codec.prepare([value.readUInt32BE(1)])
  expect(codec.decode(value, 0, value.length)).toEqual({ type: 'ConsentWithdrawn', version: 7 })
  await run.close()
})

test('put back on its topic, it is the fact that it was: the mended program takes it (I04)', async () => {
  const run = harness(failing())
  await run.feed(preferences, [optIn('c', 1), optIn('d', 2, { id: 'cursed' })])
  const [letter] = await run.dead('as-consent')
  await run.close()
  // Through the step that failed, not through the ones before it, which have seen it: here as a program of one step.
  const redrive = harness(
    topology('redrive', (flow) => {
      flow
        .source(preferences, { noDedupe: 'each letter is put back once' })
        .translate('as-consent', consents, {
          EmailOptIn: (event, fact) => consents.make.ConsentGranted(fact.key, { version: event.version }),
          EmailOptOut: 'ignore',
        })
        .to('out-step', 'redriven')
      return []
    }),
    { schemas: run.schemas },
  )
  await redrive.app()
  const own = Object.entries(letter?.headers ?? {}).filter(([name]) => !name.startsWith('tm_'))
  await redrive.send('crm.preferences.v1', [
    { key: letter?.key ?? null, value: letter?.value ?? null, headers: own.map(([name, value]) => ({ name, value: Buffer.from(value) })) },
  ])
  expect((await redrive.topic('redriven')).map(({ key, headers }) => [key, headers.ce_id])).toEqual([
    ['d', derivedId('cursed', 'as-consent', 0)],
  ])
  await redrive.close()
})

describe('what is too large for a topic is cut, and says so', () => {
  const plain = topology('plain', (flow) => {
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .filter('sieve', () => {
        throw new Error('none passes')
      })
      .to('out-step', 'out')
    return []
  })
  const letterOf = async (record: RawRecord) => {
    const run = harness(plain)
    await run.app()
    await run.send('in', [record])
    const [letter] = await run.dead('sieve')
    expect(run.events.filter(({ kind }) => kind === 'failure')).toEqual([])
    await run.close()
    return letter
  }

  test('a value keeps its beginning, with its length and hash', async () => {
    const value = Buffer.alloc(1_000_000, 'x')
    const letter = await letterOf({ key: 'k', value })
    expect(letter?.value).toHaveLength(64 * 1024)
    expect(letter?.headers.tm_truncated).toBe(`1000000 ${sha256Hex128(value.toString())}`)
  })

  test('a value just below is whole', async () => {
    const letter = await letterOf({ key: 'k', value: Buffer.alloc(800 * 1024, 'x') })
    expect(letter?.value).toHaveLength(800 * 1024)
    expect(letter?.headers.tm_truncated).toBeUndefined()
  })

  test('a key keeps its beginning, with its length and hash', async () => {
    const key = Buffer.alloc(1024 * 1024, 'k')
    const letter = await letterOf({ key, value: Buffer.from('v') })
    expect(letter?.key).toHaveLength(64 * 1024)
    expect(letter?.headers.tm_truncatedkey).toBe(`1048576 ${sha256Hex128(key.toString())}`)
  })

  test('headers without number are kept in one', async () => {
    const headers = Array.from({ length: 120 }, (_, i) => ({ name: `h${i}`, value: Buffer.from(`${i}`) }))
    const letter = await letterOf({ key: 'k', value: Buffer.from('v'), headers })
    expect(letter?.headers.h0).toBeUndefined()
    expect(letter?.headers.tm_headers?.length).toBeGreaterThan(500)
  })

  test('long messages are cut, whatever characters they have', async () => {
    const run = harness(
      topology('verbose', (flow) => {
        flow
          .stream('in', { key: text, value: Item }, { partitions: 1 })
          .filter('sieve', () => {
            throw new Error('\u{1f4a5}'.repeat(5_000))
          })
          .to('out-step', 'out')
        return []
      }),
    )
    await run.put('in', Item, [['k', item(1)]])
    expect((await run.dead('sieve'))[0]?.headers.tm_detail?.length).toBeLessThanOrEqual(2_000)
    await run.close()
  })
})

test('a value that has no schema is shown as JSON, because it has no bytes', async () => {
  const run = harness(
    topology('bare', (flow) => {
      flow
        .stream('in', { key: text, value: Item }, { partitions: 1 })
        .map('bare', (value) => ({ deep: { n: value.n }, big: 5n }))
        .filter('sieve', () => {
          throw new Error('no')
        })
      return []
    }),
  )
  await run.put('in', Item, [['k', item(4)]])
  expect(await run.dead('sieve')).toMatchObject([{ key: 'k', value: undefined, headers: { tm_unwritten: '{"deep":{"n":4},"big":"5"}' } }])
  await run.close()
})

test('is written once, whatever crash comes between, and in the order of its failures', async () => {
  for (const crash of ['commit.after-outputs', 'commit.after-changelogs', 'commit.after-decision', 'commit.after-stores']) {
    const run = harness(failing())
    await run.feed(preferences, [optIn('a', 2, { id: 'a' }), { crash }, optIn('b', 2, { id: 'b' }), { crash }, optIn('a', 2, { id: 'c' })])
    expect((await run.dead('as-consent')).map(({ headers }) => headers.ce_id)).toEqual(['a', 'b', 'c'])
    await run.close()
  }
})

test('the failure of one record costs no other: one poison key among a hundred, and ninety-nine are there (I01) (S11)', async () => {
  const run = harness(failing())
  await run.app()
  const good = await run.encode(EmailOptIn, { version: 1, theme: 'dark' })
  const headers = (id: string): RawRecord['headers'] =>
    Object.entries({ ce_id: id, ce_source: '/crm', ce_type: 'crm.EmailOptIn', ce_sequence: '1' }).map(([name, value]) => ({
      name,
      value: Buffer.from(value),
    }))
  await run.send(
    'crm.preferences.v1',
    Array.from({ length: 100 }, (_, i) => ({
      key: `c${i}`,
      value: i === 50 ? Buffer.from('poison') : good,
      headers: headers(`id-${i}`) ?? [],
    })),
  )
  expect(await run.topic('out')).toHaveLength(99)
  expect((await run.dead('as-consent')).map(({ key }) => key)).toEqual(['c50'])
  await run.close()
})

test('where the dead-letter topic cannot be written the worker stops, and loses nothing: it goes on when the topic takes letters again', async () => {
  const cluster = await Cluster.open()
  let refused: TidemarkError | undefined
  const refusing = overWriters((writer) => ({
    append: (partition, batch) => {
      if (!isLetter(partition)) return writer.append(partition, batch)
      refused = new TidemarkError('LOG_IO', 'the topic takes nothing')
      return Promise.reject(refused)
    },
    commit: async (positions) => (refused === undefined ? writer.commit(positions) : { kind: 'aborted', error: refused }),
  }))
  const app = await cluster.start(stubborn(), 'w', { over: refusing })
  await cluster.settle()
  await cluster.put('in', Item, [
    ['a', item(1)],
    ['a', item(2)],
    ['a', item(3)],
  ])
  await cluster.until(() => app.failure !== undefined)
  expect(app.failure).toMatchObject({ code: 'DEAD_LETTER_FAILED', message: 'dead letters cannot be written to stubborn-sieve-g1-dead/0' })
  await expect(app.ended()).rejects.toMatchObject({ code: 'DEAD_LETTER_FAILED' })
  expect(await cluster.values('out', Item)).toEqual([])
  cluster.kill('w')
  await cluster.start(stubborn(), 'w')
  await cluster.settle()
  expect((await cluster.values('out', Item)).map(([, { n }]) => n)).toEqual([1, 3])
  expect((await cluster.values('stubborn-sieve-g1-dead', Item)).map(([, { n }]) => n)).toEqual([2])
  await cluster.close()
})

test('a worker that is fenced while a letter is on its way is fenced, and does not take the dead-letter topic for one that cannot be written', async () => {
  const cluster = await Cluster.open()
  let struck = false
  const fencing = overWriters((writer, log) => ({
    append: async (partition, batch) => {
      if (isLetter(partition) && !struck) {
        struck = true
        await (await log.writer(writer.id)).close()
      }
      return writer.append(partition, batch)
    },
  }))
  const app = await cluster.start(stubborn(), 'w', { over: fencing })
  await cluster.settle()
  await cluster.put('in', Item, [
    ['a', item(1)],
    ['a', item(2)],
  ])
  await cluster.settle()
  expect(struck).toBe(true)
  expect(app.failure).toBe(undefined)
  expect((await cluster.values('out', Item)).map(([, { n }]) => n)).toEqual([1])
  expect((await cluster.values('stubborn-sieve-g1-dead', Item)).map(([, { n }]) => n)).toEqual([2])
  await cluster.close()
})

test.for([
  ['an outage, wherever it was met', new TidemarkError('BROKER_UNREACHABLE', 'no broker answered to write to out/0')],
  ['the end of its transaction, which something else failed in', new TidemarkError('COMMIT_ABORTED', 'the transaction was aborted')],
  ['a membership that was lost meanwhile', new TidemarkError('MEMBER_LOST', 'the group has not been heard from for half a session')],
  ['a transaction that hangs in some partition', new TidemarkError('TRANSACTION_HANGING', 'a transaction hangs in out/0')],
] as const)('a letter that is lost to %s is no reason to stop: the batch is taken again', async ([, failure]) => {
  const cluster = await Cluster.open()
  let lost = 0
  const failing = overWriters((writer) => {
    let dead = false
    return {
      append: (partition, batch) => {
        if (!isLetter(partition) || lost === 3) return writer.append(partition, batch)
        lost++
        dead = true
        return Promise.reject(failure)
      },
      commit: async (positions) => (dead ? { kind: 'aborted', error: failure } : writer.commit(positions)),
    }
  })
  const app = await cluster.start(stubborn(), 'w', { over: failing })
  await cluster.settle()
  await cluster.put('in', Item, [
    ['a', item(1)],
    ['a', item(2)],
    ['a', item(3)],
  ])
  await cluster.settle()
  expect(app.failure).toBe(undefined)
  expect(lost).toBe(3)
  expect((await cluster.values('out', Item)).map(([, { n }]) => n)).toEqual([1, 3])
  expect((await cluster.values('stubborn-sieve-g1-dead', Item)).map(([, { n }]) => n)).toEqual([2])
  await cluster.close()
})

test('what a commit failed of is told, and not that a letter was lost with it', async () => {
  const cluster = await Cluster.open()
  let asked = false
  const refusing = overWriters((writer) => ({
    append: (partition, batch) => {
      if (!isLetter(partition)) return writer.append(partition, batch)
      asked = true
      return Promise.reject(new TidemarkError('COMMIT_ABORTED', 'the transaction was aborted'))
    },
    commit: async (positions) =>
      asked ? { kind: 'aborted', error: new TidemarkError('NOT_AUTHORIZED', 'no right to commit') } : writer.commit(positions),
  }))
  const app = await cluster.start(stubborn(), 'w', { over: refusing })
  await cluster.settle()
  await cluster.put('in', Item, [['a', item(2)]])
  await cluster.until(() => app.failure !== undefined)
  expect(app.failure).toMatchObject({ code: 'NOT_AUTHORIZED' })
  cluster.kill('w')
  await cluster.close()
})

const isLetter = (partition: string): boolean => partition.startsWith('stubborn-sieve-g1-dead/')

/** Puts something between a worker and its writers, which are otherwise what they were. */
function overWriters(change: (writer: Writer, log: Log) => Partial<Writer>): (log: Log) => Log {
  return (log) => {
    const over = Object.create(log) as Log
    ;(over as { writer: Log['writer'] }).writer = async (id) => {
      const writer = await log.writer(id)
      const same: Writer = {
        id: writer.id,
        append: (partition, batch) => writer.append(partition, batch),
        commit: (positions) => writer.commit(positions),
        abort: () => writer.abort(),
        close: () => writer.close(),
      }
      return { ...same, ...change(writer, log) }
    }
    return over
  }
}

/** A topology whose one step refuses every second item. */
function stubborn(): Topology<readonly []> {
  return topology('stubborn', (flow) => {
    flow
      .stream('in', { key: text, value: Item }, { partitions: 1 })
      .filter('sieve', ({ n }) => {
        if (n === 2) throw new Error('no')
        return true
      })
      .to('out-step', 'out')
    return []
  })
}
