/** What becomes of a member when its group cannot be asked or does not let it in: it comes back by itself, or it is told why it never will. */
import { afterEach, describe, expect, test } from 'vitest'
import { type Flow, text, topology } from '#tidemark'
import { ERROR_CODES, type ErrorCode, TidemarkError } from '../../../src/base/errors.ts'
import { avroSerdes } from '../../../src/drivers/avro/index.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { isFinal as isFinalForMember } from '../../../src/drivers/kafka/group-ends.ts'
import { KAFKA_ERROR as E } from '../../../src/drivers/kafka/wire/errors.ts'
import type { JoinGroupResponse } from '../../../src/drivers/kafka/wire/join-group.ts'
import { memoryState } from '../../../src/drivers/memory/index.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import { memorySchemas } from '../../../src/drivers/schemas/index.ts'
import type { JoinOptions, Log, Membership } from '../../../src/ports/log.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import type { TelemetryEvent } from '../../../src/ports/telemetry.ts'
import { App } from '../../../src/runtime/app.ts'
import { isFinal as isFinalForWorker } from '../../../src/runtime/failure.ts'
import type { World } from '../../../src/runtime/world.ts'
import { refusedJoin } from '../../../src/testing/kafka-sim/member.ts'
import { Item, Sum, summed } from '../../fixtures/plain.ts'
import type { Tap } from '../../simulation/kafka-tap.ts'
import { eventually, type Simulated, simulatedKafka } from './simulated.ts'

const SESSION_MS = 600
const counting = topology('counting', (flow: Flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.n}` })
    .project('counted', { row: Sum, identity: 'once', fold: (row, value) => summed(row, { ...value, note: '' }) }),
])

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

interface Working {
  readonly app: App
  readonly log: Log
  readonly events: TelemetryEvent[]
}

async function worker({ connect }: Simulated, tap: Tap, sessionMs: number = SESSION_MS): Promise<Working> {
  const log = await connect(tap)
  open.push(() => log.close())
  await log.ensure([{ name: 'in', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
  const events: TelemetryEvent[] = []
  const world: World = {
    log,
    state: memoryState(),
    serdes: avroSerdes(memorySchemas(), { now: () => nodeClock.mono() }),
    codecs: nativeCodecs,
    clock: nodeClock,
    random: nodeRandom,
    telemetry: { count: () => {}, event: (event) => void events.push(event) },
    failpoint: { hit: () => undefined },
  }
  const app = await App.start(counting.graph, world, { sessionMs })
  open.push(() => app.close().catch(() => {}))
  return { app, log, events }
}

const warnings = (events: readonly TelemetryEvent[]): TidemarkError[] =>
  events.flatMap((event) => (event.kind === 'warning' ? [event.error] : []))

/** Adds a record that the topology puts aside, which moves its position like any other. */
async function feed(log: Log): Promise<void> {
  const writer = await log.plainWriter()
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  builder.add(Date.now(), Buffer.from('key'), Buffer.from('?'))
  await writer.append('in/0', builder.finish())
  await writer.close()
}

describe('a worker whose group has no coordinator for longer than its session', () => {
  test('works again when there is one, and says meanwhile why it does not', async () => {
    const sim = simulatedKafka()
    let away = false
    const { app, log, events } = await worker(sim, {
      answers: {
        FindCoordinator: ({ keyType, keys }: { keyType: number; keys: string[] }) =>
          away && keyType === 0
            ? {
                throttleMs: 0,
                coordinators: keys.map((key) => ({
                  key,
                  nodeId: -1,
                  host: '',
                  port: -1,
                  error: E.COORDINATOR_NOT_AVAILABLE,
                  errorMessage: '',
                })),
              }
            : undefined,
        Heartbeat: () => (away ? { throttleMs: 0, error: E.NOT_COORDINATOR } : undefined),
      },
    })
    await eventually(() => app.ready, 'a worker')
    away = true
    await nodeClock.sleep(4_000)
    expect(app.failure).toBeUndefined()
    // Once, not with every try.
    expect(warnings(events).map(({ code, message }) => [code, message])).toEqual([
      ['BROKER_ERROR', 'a broker refused to find group "counting": COORDINATOR_NOT_AVAILABLE'],
    ])
    away = false
    await feed(log)
    await eventually(() => app.caughtUp(), 'the worker to go on')
    expect(app.ready).toBe(true)
  }, 30_000)
})

test('a heartbeat whose answer cannot be read is one that was not answered, and nothing is given up for it', async () => {
  const sim = simulatedKafka()
  let unreadable = 0
  const { app, log, events } = await worker(sim, {
    answers: { Heartbeat: () => (unreadable-- > 0 ? Buffer.from([0]) : undefined) },
  })
  await eventually(() => app.ready, 'a worker')
  unreadable = 1
  await eventually(() => unreadable < 0, 'heartbeats')
  await feed(log)
  await eventually(() => app.caughtUp(), 'the worker to go on')
  expect(events.filter((event) => event.kind === 'worker').map(({ state }) => state)).toEqual(['running'])
}, 30_000)

describe('start() rejects, and says what to do', () => {
  const refusing =
    (error: number) =>
    ({ memberId }: { memberId: string }): JoinGroupResponse =>
      refusedJoin(error, memberId)

  test.each([
    [
      'when the group has room for no more, a session after it was asked first',
      E.GROUP_MAX_SIZE_REACHED,
      'GROUP_REFUSED',
      /group\.max\.size/,
    ],
    ['when the group belongs to another program', E.INCONSISTENT_GROUP_PROTOCOL, 'GROUP_REFUSED', /another name/],
    ['when it may not be a member', E.GROUP_AUTHORIZATION_FAILED, 'NOT_AUTHORIZED', /tidemark acl/],
    ['when its session is too short or too long', E.INVALID_SESSION_TIMEOUT, 'OPTION_INVALID', /group\.min\.session\.timeout\.ms/],
  ])('%s', async (_, error, code, hint) => {
    const began = performance.now()
    const { app } = await worker(simulatedKafka(), { answers: { JoinGroup: refusing(error) } })
    await expect(app.running()).rejects.toMatchObject({ code, hint: expect.stringMatching(hint) })
    if (error === E.GROUP_MAX_SIZE_REACHED) expect(performance.now() - began).toBeGreaterThan(SESSION_MS)
  })

  test('and a member that takes the room of one that died waits for it as long as a session lasts', async () => {
    let room = false
    const { app } = await worker(simulatedKafka(), {
      answers: { JoinGroup: (request: { memberId: string }) => (room ? undefined : refusing(E.GROUP_MAX_SIZE_REACHED)(request)) },
    })
    await nodeClock.sleep(SESSION_MS / 3)
    room = true
    await app.running()
  })
})

test('a group whose record its broker cannot write is told of, with the setting that bounds it, and joined when it can', async () => {
  let fails = true
  const seen = new Set<string>()
  const tap: Tap = {
    sends: {
      JoinGroup: (request: { memberId: string }) => {
        seen.add(request.memberId)
        return request
      },
    },
    answers: {
      SyncGroup: () =>
        fails
          ? { throttleMs: 0, error: E.UNKNOWN_SERVER_ERROR, protocolType: null, protocolName: null, assignment: Buffer.alloc(0) }
          : undefined,
    },
  }
  const { app, events } = await worker(simulatedKafka(), tap, 5_000)
  await eventually(() => warnings(events).length > 0, 'a word about it')
  expect(warnings(events)[0]).toMatchObject({ code: 'MEMBER_LOST', hint: expect.stringContaining('"max.message.bytes"') })
  fails = false
  await app.running()
  // None, and the one that it was given: others would wait for each that it left behind.
  expect(seen.size).toBe(2)
}, 30_000)

describe('there is nothing between passing and final:', () => {
  test.each((Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) => isFinalForMember(new TidemarkError(code, 'x'))))(
    'a membership that ends with %s ends its worker',
    (code) => {
      expect(isFinalForWorker(new TidemarkError(code, 'x'))).toBe(true)
    },
  )

  test('a worker ends with whatever its membership ended with', async () => {
    const { connect } = simulatedKafka()
    const log = await connect()
    open.push(() => log.close())
    const ended = new TidemarkError('BROKER_ERROR', 'no more')
    const over: Membership = {
      next: () => Promise.reject(ended),
      heartbeatAge: () => 0,
      confirm: () => Promise.reject(ended),
      rejoin: () => {},
      leave: () => Promise.resolve(),
    }
    const { app } = await worker({ ...simulatedKafka(), connect: () => Promise.resolve(joinedBy(log, () => over)) }, {})
    await expect(app.running()).rejects.toBe(ended)
  })
})

function joinedBy(log: Log, join: (options: JoinOptions) => Membership): Log {
  const other = Object.create(log) as Log
  other.join = (_, options) => Promise.resolve(join(options))
  return other
}
