/** What a program gets that only says `start`. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { context, contract, embedded, publisher, type StartOptions, schema, silent, start, text, topology } from '#tidemark'
import { kafka } from '#tidemark/drivers/kafka'
import { memoryState } from '#tidemark/drivers/memory'
import { memorySchemas } from '#tidemark/drivers/schemas'

const shop = context('shop', { owner: 'web-team' })
const Bought = schema<{ total: number }>({ type: 'record', name: 'Bought', fields: [{ name: 'total', type: 'int' }] })
const purchases = contract('purchases', {
  owner: shop,
  version: 1,
  topic: 'shop.purchases.v1',
  key: text,
  sequence: 'per key',
  meaning: 'what a customer has bought',
  events: { Bought },
})
const failing = topology('failing', (flow) => [
  flow
    .source(purchases)
    .dedupe('once')
    .project('spending', {
      row: Bought,
      identity: 'once',
      windows: { purchases: { target: '5s', max: '1m' } },
      fold: {
        Bought: () => {
          throw new Error('boom')
        },
      },
    }),
])

afterEach(() => {
  vi.restoreAllMocks()
})

for (const [who, telemetry, told] of [
  ['nobody listens', undefined, 1],
  ['somebody listens', silent, 0],
] as const) {
  test(`a record that is put aside is told once on stderr where ${who}: ${told === 1 ? 'yes' : 'no'}`, async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => {})
    const dir = mkdtempSync(join(tmpdir(), 'tidemark-start-'))
    try {
      const app = await start(failing, { dir, fsync: 'never', ...(telemetry === undefined ? {} : { telemetry }) })
      const events = publisher(purchases, { as: shop, log: app.access })
      for (const total of [1, 2]) await events.publish(purchases.make.Bought('ann', { total }))
      await app.settled()
      await events.close()
      await app.close()
      const lines = said.mock.calls.map(([line]) => String(line))
      expect(lines).toHaveLength(told)
      for (const line of lines) {
        expect(line).toMatch(/step "spending" dead-lettered a record \(STEP_FAILED\)/)
        // In words that can be run.
        expect(line).toContain(
          `"tidemark dead list --dir ${dir} --topology <its module>" shows it and says why, when this program has ended.`,
        )
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
}

test('an option that says nothing is refused before anything is made, also one of the log', async () => {
  const dir = join(tmpdir(), 'tidemark-start-never-made')
  await expect(start(failing, { dir, commitIntervall: '1s' } as StartOptions)).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: 'start() has no option "commitIntervall"',
    hint: expect.stringContaining('commitInterval'),
  })
  expect(existsSync(dir)).toBe(false)
  for (const [options, said] of [
    [{ brokers: ['127.0.0.1:9092'], broker: '' }, 'kafka() has no option "broker"'],
    [{ brokers: ['127.0.0.1:9092'], ssl: { ca: '' } }, 'ssl of kafka() has no option "ca"'],
    [
      { brokers: ['127.0.0.1:9092'], sasl: { mechanism: 'plain', username: 'x', password: 'x' } },
      'sasl of kafka() has no option "password"',
    ],
  ] as const)
    expect(() => kafka(options as never)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID', message: said }))
})

test.each([
  [{ guarantee: 'exactly_once' }, 'guarantee is "exactly_once"'],
  [{ membership: 'stat' }, 'membership is "stat"'],
  [{ instance: '' }, '"" is no name for a worker'],
  [{ instance: 7 }, '7 is no name for a worker'],
  [{ cacheKeys: -1 }, 'cacheKeys is -1'],
  [{ cacheKeys: Number.NaN }, 'cacheKeys is NaN'],
  [{ commitBytes: '1MB' }, 'commitBytes is "1MB"'],
  [{ freezeRows: 'no' }, 'freezeRows is "no"'],
  [{ commitInterval: -4 }, 'commitInterval is not a duration'],
  [{ session: 'soon' }, 'session is not a duration'],
  [{ fsync: 'always' }, 'fsync is "always"'],
])('a value that an option cannot have is refused before anything is made: %j', async (options, said) => {
  const dir = join(tmpdir(), 'tidemark-start-never-made')
  await expect(start(failing, { dir, ...options } as never)).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: said,
    // What it may be, in the hint.
    hint: expect.any(String),
  })
  expect(existsSync(dir)).toBe(false)
})

test('an option that would do nothing beside another is refused before anything is made', async () => {
  const dir = join(tmpdir(), 'tidemark-start-never-made')
  const log = kafka({ brokers: ['127.0.0.1:9092'] })
  await expect(start(failing, { dir, log, fsync: 'commit' })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: 'fsync does nothing beside a log of your own',
    detail: expect.stringContaining('"kafka"'),
    hint: expect.stringContaining('embedded({ dir, fsync })'),
  })
  await expect(start(failing, { dir, log, state: memoryState(), schemas: memorySchemas() })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: 'dir does nothing beside a log, a state and schemas of your own',
    hint: expect.any(String),
  })
  expect(existsSync(dir)).toBe(false)
})

test('a folder beside a log and state holds the schemas, and syncs beside state are the log’s', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-start-'))
  try {
    const app = await start(failing, { dir, log: embedded({ dir: join(dir, 'elsewhere'), fsync: 'never' }), state: memoryState() })
    await app.close()
    expect(existsSync(join(dir, 'elsewhere'))).toBe(true)
    expect(existsSync(join(dir, 'state'))).toBe(false)
    const other = await start(failing, { dir, fsync: 'never', state: memoryState() })
    await other.close()
    expect(existsSync(join(dir, 'log'))).toBe(true)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test.each([
  [{ brokers: '127.0.0.1:9092' }, '"brokers" is "127.0.0.1:9092", where a list is meant'],
  [{}, '"brokers" is undefined, where a list is meant'],
  [{ brokers: [] }, '"brokers" names no broker'],
  [{ brokers: ['127.0.0.1'] }, '"127.0.0.1" is no address of a broker'],
  [{ brokers: ['127.0.0.1:9092'], replication: 0 }, 'replication is 0'],
  [{ brokers: ['127.0.0.1:9092'], transactionMs: '10s' }, 'transactionMs is "10s"'],
])('a value that an option of the Kafka driver cannot have is refused: %j', (options, said) => {
  expect(() => kafka(options as never)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: said, hint: expect.any(String) }),
  )
})

test('a plan lock that is none is refused before anything is made', async () => {
  const dir = join(tmpdir(), 'tidemark-start-never-made')
  await expect(start(failing, { dir, lock: { stores: {} } as never })).rejects.toMatchObject({
    code: 'PLAN_LOCK_INVALID',
    message: 'the lock given to start() is not a plan lock',
    detail: 'It has no "lockVersion".',
  })
  expect(existsSync(dir)).toBe(false)
})

test.each([
  ['a file', 'taken', 'taken'],
  ['a folder below a file', 'taken/deep/er', 'taken'],
  ['a name that is empty', '', undefined],
])('a folder that is %s is refused before anything is made', async (_what, name, inTheWay) => {
  const home = mkdtempSync(join(tmpdir(), 'tidemark-start-'))
  try {
    writeFileSync(join(home, 'taken'), 'a file')
    await expect(start(failing, { dir: name === '' ? '' : join(home, name) })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      hint: expect.any(String),
      ...(inTheWay === undefined ? {} : { detail: `${join(home, inTheWay)} is a file.` }),
    })
    expect(readdirSync(home)).toEqual(['taken'])
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
