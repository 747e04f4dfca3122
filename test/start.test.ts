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

test.each<[given: unknown[], message: string]>([
  [['failing'], 'what start() is given is "failing", where a topology is meant'],
  [[failing, null], 'start() is null, where options are meant'],
  [[failing, { dir: 5 }], 'dir of start() is 5, where a text is meant'],
  [[failing, { guarantee: 'exactly once' }], 'guarantee of start() is "exactly once"'],
  [[failing, { membership: 'statik' }], 'membership of start() is "statik"'],
  [[failing, { instance: 1 }], 'instance of start() is 1, where a text is meant'],
  [[failing, { fsync: true }], 'fsync of start() is true'],
  [[failing, { cacheKeys: '3072' }], 'cacheKeys of start() is "3072"'],
  [[failing, { cacheKeys: Number.NaN }], 'cacheKeys of start() is NaN'],
  [[failing, { instance: '' }], '"" is no name for a worker'],
  [[failing, { freezeRows: 'no' }], 'freezeRows of start() is "no"'],
  [[failing, { commitInterval: -4 }], 'commitInterval is not a duration'],
  [[failing, { session: 'soon' }], 'session is not a duration'],
  [[failing, { commitBytes: 0 }], 'commitBytes of start() is 0'],
  [[failing, { log: 'kafka' }], 'log of start() is "kafka", where a log driver is meant'],
  [[failing, { state: {} }], 'state of start() is {}, where a state driver is meant'],
  [[failing, { schemas: 'schemas/catalogue.json' }], 'schemas of start() is "schemas/catalogue.json", where a store of schemas is meant'],
  [[failing, { telemetry: console.log }], 'telemetry of start() is a function (log), where a telemetry is meant'],
])('what start() is given wrong is refused in words, before anything is made: %#', async ([topology, options], message) => {
  const home = mkdtempSync(join(tmpdir(), 'tidemark-start-'))
  const dir = join(home, 'dir')
  try {
    const asked = options === undefined || options === null ? options : { dir, ...options }
    await expect(start(topology as never, asked as never)).rejects.toMatchObject({
      name: 'TidemarkError',
      code: 'OPTION_INVALID',
      message,
      hint: expect.any(String) as string,
    })
    expect(existsSync(dir)).toBe(false)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
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

test('a log driver is told what it is given wrong', () => {
  const said = (message: string): Error => expect.objectContaining({ code: 'OPTION_INVALID', message }) as Error
  expect(() => embedded(undefined as never)).toThrow(said('embedded() is undefined, where options are meant'))
  expect(() => embedded({ dir: 'x', fsink: 'never' } as never)).toThrow(said('embedded() has no option "fsink"'))
  expect(() => embedded({ dir: 5 } as never)).toThrow(said('dir of embedded() is 5, where a text is meant'))
  expect(() => embedded({ dir: 'x', fsync: 'always' } as never)).toThrow(said('fsync of embedded() is "always"'))
  expect(() => kafka({ brokers: '127.0.0.1:9092' } as never)).toThrow(
    said('brokers of kafka() is "127.0.0.1:9092", where a list of texts is meant'),
  )
  expect(() => kafka({ brokers: ['127.0.0.1:9092'], replication: { of: 3 } } as never)).toThrow(said('replication is {"of":3}'))
  expect(() => kafka({ brokers: ['127.0.0.1:9092'], transactionMs: '10s' } as never)).toThrow(said('transactionMs is "10s"'))
  expect(() => kafka({ brokers: ['127.0.0.1'] })).toThrow(said('"127.0.0.1" is no address of a broker'))
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
